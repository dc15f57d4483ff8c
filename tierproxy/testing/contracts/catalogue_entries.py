"""What a catalogue does with one object at a time: its row, its blob, its job."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tierproxy.errors import StaleGeneration
from tierproxy.model import (
    Headers,
    JobKind,
    ObjectName,
    QueueTotals,
    State,
    Totals,
)
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.stats import RunGauge
from tierproxy.testing.contracts.catalogue_rows import (
    MAIL,
    OTHER,
    Opening,
    counted,
    dirty,
    entry,
    put,
    read,
    removal,
    stored,
)


class EntriesContract(Opening):
    """Rows of objects: what is written is read, and every condition is repeated."""

    async def test_an_entry_is_found_as_it_was_published(self) -> None:
        full = stored(parts=(5, 6), purged_at=7.0, purged_by="rule", reads=3, last_read_at=8.5)
        async with self.catalogue() as catalogue:
            assert catalogue.find(MAIL) is None
            assert await catalogue.publish(full) is None
            assert catalogue.find(MAIL) == full
            assert catalogue.find(OTHER) is None

    async def test_an_entry_without_headers_keeps_none(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(headers=None))
            await catalogue.publish(entry(OTHER, headers=Headers()))
            found = [catalogue.find(MAIL), catalogue.find(OTHER)]
            assert [one and one.headers for one in found] == [None, Headers()]

    async def test_a_publish_returns_the_row_it_replaces_and_keeps_its_reads(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(generation=1))
            await catalogue.count(counted(read(MAIL, 2, at=50.0), read(OTHER, 1, at=50.0)))
            replaced = await catalogue.publish(stored(generation=2))
            assert replaced == stored(generation=1, reads=2, last_read_at=50.0)
            assert catalogue.find(MAIL) == stored(generation=2, reads=2, last_read_at=50.0)

    async def test_a_publish_over_a_newer_row_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(generation=5))
            with pytest.raises(StaleGeneration):
                await catalogue.publish(dirty(generation=4), job=put(generation=4))
            assert catalogue.find(MAIL) == entry(generation=5)
            assert catalogue.jobs() == []

    async def test_a_dirty_entry_needs_its_put_and_a_clean_one_must_not_have_it(self) -> None:
        async with self.catalogue() as catalogue:
            with pytest.raises(ValueError, match="asks for the job"):
                await catalogue.publish(dirty())
            with pytest.raises(ValueError, match="asks for the job"):
                await catalogue.publish(entry(), job=put())
            with pytest.raises(ValueError, match="asks for the job"):
                await catalogue.publish(dirty(generation=2), job=put(generation=1))
            assert catalogue.find(MAIL) is None

    async def test_a_clean_publish_takes_the_job_of_the_old_row_away(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(generation=1), job=put(generation=1))
            await catalogue.publish(entry(generation=2))
            assert catalogue.jobs() == []

    async def test_a_fill_gives_the_expected_row_a_blob(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(purged_at=1.0, purged_by="rule", reads=4, last_read_at=9.0))
            replaced = await catalogue.fill(stored(headers=Headers()), expected=1)
            assert replaced is not None
            assert replaced.purged_by == "rule"
            assert catalogue.find(MAIL) == stored(headers=Headers(), reads=4, last_read_at=9.0)

    async def test_a_fill_of_an_unknown_object_inserts_it(self) -> None:
        async with self.catalogue() as catalogue:
            assert await catalogue.fill(stored(), expected=None) is None
            assert catalogue.find(MAIL) == stored()

    async def test_a_fill_is_stale_when_the_row_is_not_what_was_expected(self) -> None:
        async with self.catalogue() as catalogue:
            with pytest.raises(StaleGeneration):
                await catalogue.fill(stored(generation=2), expected=2)
            await catalogue.publish(entry(generation=3))
            for expected in (2, 4, None):
                with pytest.raises(StaleGeneration):
                    await catalogue.fill(stored(generation=2), expected=expected)
            await catalogue.publish(dirty(OTHER), job=put(OTHER))
            with pytest.raises(StaleGeneration):
                await catalogue.fill(stored(OTHER), expected=1)
            assert catalogue.find(MAIL) == entry(generation=3)

    async def test_learning_headers_leaves_the_blob_alone(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.fill(stored(headers=None), expected=None)
            assert await catalogue.learn(entry(), expected=1) is None
            assert catalogue.find(MAIL) == stored()

    async def test_learning_of_new_content_lets_the_old_blob_go(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.fill(stored(), expected=None)
            assert await catalogue.learn(entry(generation=2), expected=1) == stored()
            assert catalogue.find(MAIL) == entry(generation=2)

    async def test_learning_inserts_an_unknown_object(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.learn(entry(), expected=None)
            assert catalogue.find(MAIL) == entry()

    async def test_learning_something_old_changes_nothing_silently(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.learn(entry(generation=1), expected=1)
            assert catalogue.find(MAIL) is None
            await catalogue.publish(dirty(generation=2), job=put(generation=2))
            for expected in (None, 1, 2):
                assert await catalogue.learn(entry(generation=1), expected=expected) is None
            assert catalogue.find(MAIL) == dirty(generation=2)

    async def test_a_clean_entry_becomes_suspect_and_is_settled(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.suspect(MAIL, 1)
            assert catalogue.find(MAIL) == stored(state=State.SUSPECT)
            await catalogue.settle(MAIL, 1)
            assert catalogue.find(MAIL) == stored()

    async def test_suspecting_and_settling_another_generation_or_state_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(generation=2))
            await catalogue.publish(dirty(OTHER), job=put(OTHER))
            for name, generation in ((MAIL, 1), (MAIL, 3), (OTHER, 1), (ObjectName("mail", "none"), 1)):
                with pytest.raises(StaleGeneration):
                    await catalogue.suspect(name, generation)
                with pytest.raises(StaleGeneration):
                    await catalogue.settle(name, generation)

    async def test_an_uploaded_entry_is_clean_and_its_job_is_gone(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(), job=put())
            await catalogue.uploaded(MAIL, 1, "alt-etag")
            assert catalogue.find(MAIL) == stored(alt_etag="alt-etag")
            assert catalogue.jobs() == []

    async def test_an_upload_of_another_generation_or_of_a_clean_entry_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(generation=2), job=put(generation=2))
            await catalogue.publish(entry(OTHER))
            for name, generation in ((MAIL, 1), (MAIL, 3), (OTHER, 1), (ObjectName("mail", "none"), 1)):
                with pytest.raises(StaleGeneration):
                    await catalogue.uploaded(name, generation, "x")
            assert catalogue.jobs() == [put(generation=2)]

    async def test_a_tombstone_replaces_the_row_and_journals_the_delete(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(generation=1), job=put(generation=1))
            assert await catalogue.tombstone(MAIL, 2, removal(generation=2)) == dirty(generation=1)
            found = catalogue.find(MAIL)
            assert found is not None
            assert (found.state, found.generation, found.blob) == (State.DELETING, 2, None)
            assert catalogue.jobs() == [removal(generation=2)]

    async def test_a_tombstone_for_an_unknown_object_is_a_row_of_its_own(self) -> None:
        async with self.catalogue() as catalogue:
            assert await catalogue.tombstone(MAIL, 1, removal()) is None
            assert catalogue.totals() == Totals(0, 0, 0, 0, 0, 0)
            assert [job.kind for job in catalogue.jobs()] == [JobKind.DELETE]

    async def test_a_tombstone_older_than_the_row_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(generation=3))
            with pytest.raises(StaleGeneration):
                await catalogue.tombstone(MAIL, 2, removal(generation=2))

    async def test_a_forgotten_entry_leaves_neither_row_nor_job(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.tombstone(MAIL, 1, removal())
            await catalogue.forget(MAIL, 1)
            assert catalogue.find(MAIL) is None
            assert catalogue.jobs() == []
            with pytest.raises(StaleGeneration):
                await catalogue.forget(MAIL, 1)

    async def test_forgetting_another_generation_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(generation=2))
            with pytest.raises(StaleGeneration):
                await catalogue.forget(MAIL, 1)
            assert catalogue.find(MAIL) is not None


class BlobsContract(Opening):
    """Purges, reads and the walk over blobs."""

    async def test_a_purge_takes_the_blob_and_books_who_did_it(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.drop_blob(MAIL, 1, f"{MAIL.key}#1", by="pressure", at=9.0)
            assert catalogue.find(MAIL) == replace(stored().without_blob(), purged_at=9.0, purged_by="pressure")
            assert catalogue.victims(10) == []

    async def test_a_repair_takes_the_blob_of_a_suspect_row_too(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.suspect(MAIL, 1)
            await catalogue.drop_blob(MAIL, 1, f"{MAIL.key}#1", by="repair", at=9.0)
            found = catalogue.find(MAIL)
            assert found is not None
            assert (found.state, found.blob, found.purged_by) == (State.SUSPECT, None, "repair")
            assert catalogue.totals().blobs == 0

    async def test_a_purge_of_anything_but_that_clean_blob_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(generation=2))
            await catalogue.publish(dirty(OTHER), job=put(OTHER))
            attempts = ((MAIL, 1, f"{MAIL.key}#2"), (MAIL, 2, "another"), (OTHER, 1, f"{OTHER.key}#1"))
            for name, generation, blob in attempts:
                with pytest.raises(StaleGeneration):
                    await catalogue.drop_blob(name, generation, blob, by="rule", at=9.0)
            assert catalogue.totals().blobs == 2

    async def test_victims_are_clean_blobs_least_recently_used_first(self) -> None:
        names = [ObjectName("mail", key) for key in "abcde"]
        async with self.catalogue() as catalogue:
            for number, name in enumerate(names, 1):
                await catalogue.publish(stored(name, number))
            await catalogue.publish(dirty(OTHER, 9), job=put(OTHER, 9))
            await catalogue.suspect(names[4], 5)
            await catalogue.count(counted(read(names[0], at=5000.0), read(names[1], at=4000.0)))
            assert [victim.name.key for victim in catalogue.victims(10)] == ["c", "d", "b", "a"]
            assert [victim.name.key for victim in catalogue.victims(1)] == ["c"]

    async def test_the_scrub_walks_blobs_by_name(self) -> None:
        names = [ObjectName("mail", key) for key in "cab"]
        async with self.catalogue() as catalogue:
            for name in names:
                await catalogue.publish(stored(name))
            await catalogue.publish(entry(OTHER))
            first = await catalogue.blob_page("", 2)
            assert [one.blob for one in first] == ["a#1", "b#1"]
            assert [one.blob for one in await catalogue.blob_page("b#1", 2)] == ["c#1"]
            assert await catalogue.blobs_known(["a#1", "x", "c#1"]) == {"a#1", "c#1"}


class JournalContract(Opening):
    """The queue of work for alt."""

    async def test_jobs_come_in_queue_order_a_page_at_a_time(self) -> None:
        names = [ObjectName("mail", key) for key in "cab"]
        async with self.catalogue() as catalogue:
            for generation, name in enumerate(names, 1):
                await catalogue.publish(dirty(name, generation), job=put(name, generation))
            assert [job.generation for job in catalogue.jobs(limit=2)] == [1, 2]
            assert [job.generation for job in catalogue.jobs(after=2)] == [3]

    async def test_jobs_are_due_when_their_time_has_come(self) -> None:
        names = [ObjectName("mail", key) for key in "abc"]
        async with self.catalogue() as catalogue:
            assert catalogue.next_due() is None
            for generation, (name, at) in enumerate(zip(names, (30.0, 10.0, 10.0), strict=True), 1):
                await catalogue.publish(dirty(name, generation), job=put(name, generation, next_try_at=at))
            assert catalogue.next_due() == 10.0
            assert catalogue.due(9.9, 10) == []
            assert [job.name.key for job in catalogue.due(10.0, 10)] == ["b", "c"]
            assert [job.name.key for job in catalogue.due(30.0, 10)] == ["b", "c", "a"]
            assert [job.name.key for job in catalogue.due(30.0, 1)] == ["b"]

    async def test_a_postponed_job_keeps_what_went_wrong(self) -> None:
        later = put(attempts=2, next_try_at=77.0, last_error="AltUnavailable")
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(), job=put())
            await catalogue.postpone(later)
            assert catalogue.jobs() == [later]
            assert catalogue.queue_totals() == QueueTotals(1, 100, 1001.0, 1)

    async def test_postponing_a_job_that_was_replaced_is_stale(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(generation=1), job=put(generation=1))
            await catalogue.tombstone(MAIL, 2, removal(generation=2))
            for gone in (put(generation=1), put(generation=2), put(OTHER)):
                with pytest.raises(StaleGeneration):
                    await catalogue.postpone(replace(gone, attempts=1))
            assert catalogue.jobs() == [removal(generation=2)]

    async def test_hurrying_makes_jobs_due(self) -> None:
        async with self.catalogue() as catalogue:
            for generation, name in enumerate((MAIL, OTHER), 1):
                await catalogue.publish(dirty(name, generation), job=put(name, generation, next_try_at=99.0))
            assert await catalogue.hurry([OTHER, ObjectName("mail", "none")], 5.0) == 1
            assert [job.name for job in catalogue.due(5.0, 10)] == [OTHER]
            assert await catalogue.hurry(None, 6.0) == 2
            assert [job.next_try_at for job in catalogue.jobs()] == [6.0, 6.0]
            assert not catalogue.changed_outside()

    async def test_queue_totals_follow_the_journal(self) -> None:
        async with self.catalogue() as catalogue:
            assert catalogue.queue_totals() == QueueTotals(0, 0, None, 0)
            await catalogue.publish(dirty(generation=1), job=put(generation=1, size=7))
            await catalogue.publish(dirty(OTHER, 2), job=put(OTHER, 2, size=5, attempts=1))
            assert catalogue.queue_totals() == QueueTotals(2, 12, 1001.0, 1)
            await catalogue.uploaded(MAIL, 1, "x")
            assert catalogue.queue_totals() == QueueTotals(1, 5, 1002.0, 1)

    # ------------------------------------------------------------ for whoever watches

    async def test_the_oldest_that_alt_does_not_have_is_the_oldest_put(self) -> None:
        async with self.catalogue() as catalogue:
            assert (await catalogue.gauges()).oldest_dirty_at is None
            await catalogue.tombstone(MAIL, 1, removal(generation=1))
            assert (await catalogue.gauges()).oldest_dirty_at is None, "a delete loses nobody anything"
            await catalogue.publish(dirty(OTHER, 2), job=put(OTHER, 2))
            assert (await catalogue.gauges()).oldest_dirty_at == 1002.0

    async def test_what_is_idle_longest_is_clean_and_on_disk(self) -> None:
        async with self.catalogue() as catalogue:
            assert (await catalogue.gauges()).idle_since is None
            await catalogue.publish(dirty(MAIL, 1, stored_at=1.0), job=put(MAIL, 1))
            await catalogue.publish(entry(ObjectName("mail", "no blob"), 2))
            await catalogue.publish(stored(OTHER, 3, stored_at=30.0))
            assert (await catalogue.gauges()).idle_since == 30.0
            await catalogue.count(counted(read(OTHER, at=2000.0)))
            assert (await catalogue.gauges()).idle_since == 2000.0

    async def test_runs_on_record_are_counted_by_kind_and_state(self) -> None:
        async with self.catalogue() as catalogue:
            for ended in (5.0, 9.0, None):
                state = RunState.RUNNING if ended is None else RunState.DONE
                await catalogue.add_run(PurgeRun(0, RunKind.RULES, state, 1.0, ended_at=ended))
            assert (await catalogue.gauges()).runs == (
                RunGauge("rules", "done", 2, 9.0),
                RunGauge("rules", "running", 1, None),
            )
