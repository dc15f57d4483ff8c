"""What every ``tierproxy.ports.Catalogue`` does. Subclass in a test file and say how one is opened:

    class TestSqliteCatalogue(CatalogueContract):
        def opened(self):
            return sqlite_catalogue(...)

After every test the catalogue's own ``check`` must find nothing.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tierproxy.errors import BucketExists, BucketNotEmpty, NoSuchBucket, NoSuchUpload, StaleGeneration
from tierproxy.model import (
    BucketRow,
    JobKind,
    KnownKey,
    Listed,
    ListRequest,
    ObjectName,
    State,
    Totals,
)
from tierproxy.ports import Catalogue
from tierproxy.testing.contracts.catalogue_counting import CountingContract, ShadowContract
from tierproxy.testing.contracts.catalogue_entries import BlobsContract, EntriesContract, JournalContract
from tierproxy.testing.contracts.catalogue_planning import PlanningContract
from tierproxy.testing.contracts.catalogue_purging import PurgesContract, RunsContract
from tierproxy.testing.contracts.catalogue_rows import (
    BUCKETS,
    MAIL,
    OTHER,
    Opening,
    dirty,
    entry,
    part,
    put,
    removal,
    stored,
    upload,
)


class ListingContract(Opening):
    """Walks in key order."""

    async def test_a_listing_is_in_byte_order_and_hides_tombstones(self) -> None:
        keys = ["b", "a", "a/1", "\U0001f4e8", "\ufffd", "é", "a.", "gone"]
        async with self.catalogue() as catalogue:
            await self.filled(catalogue, keys)
            await catalogue.tombstone(ObjectName("mail", "gone"), 100, removal(ObjectName("mail", "gone"), 100))
            await catalogue.publish(entry(ObjectName("mailbox", "a")))
            page = await catalogue.page(ListRequest("mail"))
            assert [one.key for one in page.objects] == ["a", "a.", "a/1", "b", "é", "\ufffd", "\U0001f4e8"]
            assert page.objects[0] == Listed("a", 100, "etag", 1000.0)
            assert page.next_after is None

    async def test_a_listing_goes_on_where_the_page_ended(self) -> None:
        async with self.catalogue() as catalogue:
            await self.filled(catalogue, ["a", "b/1", "b/2", "c", "d/1"])
            request, seen = ListRequest("mail", delimiter="/", limit=1), []
            while True:
                page = await catalogue.page(request)
                seen += [*(one.key for one in page.objects), *page.prefixes]
                if page.next_after is None:
                    break
                request = replace(request, after=page.next_after)
            assert seen == ["a", "b/", "c", "d/"]

    async def test_a_limit_of_nothing_lists_nothing(self) -> None:
        async with self.catalogue() as catalogue:
            await self.filled(catalogue, ["a"])
            page = await catalogue.page(ListRequest("mail", limit=0))
            assert (page.objects, page.prefixes, page.next_after) == ((), (), None)

    async def test_a_prefix_of_tombstones_is_not_listed(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.tombstone(MAIL, 1, removal())
            assert (await catalogue.page(ListRequest("mail", delimiter="/"))).prefixes == ()

    async def test_what_alt_does_not_know_is_listed_by_name(self) -> None:
        names = {key: ObjectName("mail", key) for key in ("a", "b", "c", "d", "e")}
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(names["a"]))
            await catalogue.publish(dirty(names["c"]), job=put(names["c"]))
            await catalogue.tombstone(names["b"], 1, removal(names["b"]))
            await catalogue.publish(entry(names["d"]))
            await catalogue.suspect(names["d"], 1)
            await catalogue.publish(dirty(names["e"]), job=put(names["e"]))
            assert [one.name.key for one in await catalogue.dirty_page("mail", "", "", 10)] == ["b", "c", "e"]
            assert [one.name.key for one in await catalogue.dirty_page("mail", "", "b", 1)] == ["c"]
            assert [one.name.key for one in await catalogue.dirty_page("mail", "e", "", 10)] == ["e"]
            assert [one.name.key for one in await catalogue.entries_in("suspect", None, 10)] == ["d"]
            assert [one.name.key for one in await catalogue.entries_in("dirty", names["c"], 10)] == ["e"]
            assert [one.name.key for one in await catalogue.entries_in("clean", None, 10)] == ["a"]

    async def filled(self, catalogue: Catalogue, keys: list[str]) -> None:
        for generation, key in enumerate(keys, 1):
            await catalogue.publish(entry(ObjectName("mail", key), generation))


class BucketsContract(Opening):
    """Buckets, totals, multipart uploads, offline tools, generations."""

    async def test_buckets_are_added_completed_and_removed(self) -> None:
        row = BucketRow("fresh", 5.0, created=True, complete=False)
        async with self.catalogue() as catalogue:
            assert catalogue.bucket("fresh") is None
            await catalogue.add_bucket(row)
            with pytest.raises(BucketExists):
                await catalogue.add_bucket(row)
            await catalogue.complete_bucket("fresh", True)
            assert catalogue.bucket("fresh") == replace(row, complete=True)
            await catalogue.add_bucket(replace(row, name="a"))
            assert [one.name for one in catalogue.buckets()] == sorted(["a", "fresh", *BUCKETS])
            await catalogue.remove_bucket("fresh")
            assert [one.name for one in catalogue.buckets()] == sorted(["a", *BUCKETS])
            for gone in (catalogue.remove_bucket("fresh"), catalogue.complete_bucket("fresh", True)):
                with pytest.raises(NoSuchBucket):
                    await gone

    async def test_a_bucket_with_a_row_a_tombstone_or_an_upload_stays(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.tombstone(MAIL, 1, removal())
            with pytest.raises(BucketNotEmpty):
                await catalogue.remove_bucket("mail")
            await catalogue.forget(MAIL, 1)
            await catalogue.add_upload(upload())
            with pytest.raises(BucketNotEmpty):
                await catalogue.remove_bucket("mail")
            await catalogue.remove_upload("upload-1")
            await catalogue.remove_bucket("mail")

    async def test_nothing_is_written_into_a_bucket_that_was_deleted(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.remove_bucket("mail")
            for late in (
                catalogue.publish(dirty(), job=put()),
                catalogue.tombstone(MAIL, 1, removal()),
                catalogue.add_upload(upload()),
            ):
                with pytest.raises(NoSuchBucket):
                    await late
            assert (catalogue.find(MAIL), catalogue.uploads("mail"), catalogue.jobs()) == (None, [], [])

    async def test_totals_count_each_bucket_and_all(self) -> None:
        away = ObjectName("other", "x")
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.publish(dirty(OTHER), job=put(OTHER))
            await catalogue.publish(entry(away, size=7))
            assert catalogue.totals("mail") == Totals(2, 200, 2, 8192, 1, 100)
            assert catalogue.totals("other") == Totals(1, 7, 0, 0, 0, 0)
            assert catalogue.totals() == Totals(3, 207, 2, 8192, 1, 100)
            assert catalogue.totals("none") == Totals(0, 0, 0, 0, 0, 0)

    async def test_totals_are_nothing_again_when_everything_is_gone(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.publish(dirty(OTHER), job=put(OTHER))
            await catalogue.forget(MAIL, 1)
            await catalogue.tombstone(OTHER, 2, removal(OTHER, 2))
            assert catalogue.totals("mail") == Totals(0, 0, 0, 0, 0, 0)
            await catalogue.forget(OTHER, 2)
            assert catalogue.totals() == Totals(0, 0, 0, 0, 0, 0)

    async def test_an_upload_collects_parts_and_ends_with_the_publish(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.add_upload(upload())
            assert catalogue.upload("upload-1") == upload()
            assert await catalogue.add_part("upload-1", part(2)) is None
            assert await catalogue.add_part("upload-1", part(1)) is None
            assert await catalogue.add_part("upload-1", part(2, 9, "again")) == part(2)
            assert catalogue.parts("upload-1") == [part(1), part(2, 9, "again")]
            assert catalogue.parts("upload-1", after=1, limit=1) == [part(2, 9, "again")]
            assert (catalogue.part_bytes(), catalogue.part_files()) == (14, {"part-1", "again"})
            await catalogue.publish(stored(), upload="upload-1")
            assert (catalogue.upload("upload-1"), catalogue.parts("upload-1")) == (None, [])
            assert (catalogue.part_bytes(), catalogue.part_files()) == (0, set())

    async def test_an_upload_that_is_gone_publishes_nothing(self) -> None:
        async with self.catalogue() as catalogue:
            with pytest.raises(NoSuchUpload):
                await catalogue.publish(stored(), upload="never")
            with pytest.raises(NoSuchUpload):
                await catalogue.add_part("never", part(1))
            with pytest.raises(NoSuchUpload):
                await catalogue.remove_upload("never")
            assert catalogue.find(MAIL) is None

    async def test_a_stale_publish_leaves_the_upload(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.add_upload(upload())
            await catalogue.publish(entry(generation=2))
            with pytest.raises(StaleGeneration):
                await catalogue.publish(stored(generation=1), upload="upload-1")
            assert catalogue.upload("upload-1") is not None

    async def test_an_aborted_upload_returns_its_parts(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.add_upload(upload())
            await catalogue.add_part("upload-1", part(1))
            assert await catalogue.remove_upload("upload-1") == [part(1)]
            assert catalogue.part_files() == set()

    async def test_uploads_are_listed_by_key_and_id(self) -> None:
        keys = [("b", "2"), ("a", "4"), ("b", "1"), ("c", "3")]
        async with self.catalogue() as catalogue:
            for at, (key, id) in enumerate(keys):
                await catalogue.add_upload(upload(id, ObjectName("mail", key), created_at=float(at)))
            assert [one.id for one in catalogue.uploads("mail")] == ["4", "1", "2", "3"]
            assert [one.id for one in catalogue.uploads("mail", after=("b", "1"))] == ["2", "3"]
            assert [one.id for one in catalogue.uploads("mail", prefix="b", limit=1)] == ["1"]
            assert catalogue.uploads("other") == []
            assert [one.id for one in catalogue.uploads_before(2.0, 10)] == ["2", "4"]

    async def test_a_sync_adds_only_what_is_not_there(self) -> None:
        fresh = entry(OTHER, 7, headers=None)
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(), job=put())
            assert await catalogue.insert_listed([entry(MAIL, 7, headers=None), fresh]) == 1
            assert await catalogue.insert_listed([]) == 0
            assert (catalogue.find(MAIL), catalogue.find(OTHER)) == (dirty(), fresh)
            assert await catalogue.keys_after("mail", "", 10) == [
                KnownKey(MAIL.key, 1, State.DIRTY, 100, None, f"{MAIL.key}#1"),
                KnownKey(OTHER.key, 7, State.CLEAN, 100, "alt7", None),
            ]
            assert [row.key for row in await catalogue.keys_after("mail", MAIL.key, 10)] == [OTHER.key]

    async def test_a_rebuild_adopts_the_newest_blob_of_each_name(self) -> None:
        async with self.catalogue() as catalogue:
            assert await catalogue.adopt([dirty(generation=2), stored(generation=1)]) == [stored(generation=1)]
            assert await catalogue.adopt([dirty(generation=2)]) == []
            assert await catalogue.adopt([stored(generation=3)]) == [dirty(generation=2)]
            assert await catalogue.adopt([dirty(OTHER, 4)]) == []
            assert catalogue.find(MAIL) == stored(generation=3)
            assert [(job.name, job.generation, job.kind) for job in catalogue.jobs()] == [(OTHER, 4, JobKind.PUT)]

    async def test_generations_increase_and_can_be_raised(self) -> None:
        async with self.catalogue() as catalogue:
            first = [catalogue.next_generation() for _ in range(100)]
            assert first == sorted(set(first))
            await catalogue.raise_generation(10_000_000)
            raised = catalogue.next_generation()
            assert raised > 10_000_000
            await catalogue.raise_generation(5)
            assert catalogue.next_generation() > raised

    async def test_closing_twice_is_fine(self) -> None:
        async with self.opened() as catalogue:
            await catalogue.close()
            await catalogue.close()


class CatalogueContract(
    EntriesContract,
    BlobsContract,
    JournalContract,
    ListingContract,
    BucketsContract,
    CountingContract,
    ShadowContract,
    PurgesContract,
    RunsContract,
    PlanningContract,
):
    """All of it."""
