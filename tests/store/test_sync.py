"""The catalogue learns what alt holds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.errors import AltUnavailable, NoSuchBucket
from tierproxy.model import BucketRow, Headers, Job, JobKind, ObjectName, State
from tierproxy.store.body import MemorySource
from tierproxy.store.evidence import Seen
from tierproxy.store.sync import Sync, SyncReport
from tierproxy.testing.gate import Gate
from tierproxy.testing.ground import BUCKET, Ground, ground
from tierproxy.testing.invariants import check_invariants, leaks


async def _sync(found: Ground, *, heads: bool = False, bucket: str = BUCKET) -> SyncReport:
    sync = Sync(catalogue=found.catalogue, alt=found.alt, bucket=bucket, heads=heads, parallel=4)
    return await sync.run()


async def test_unknown_keys_get_rows_and_the_bucket_is_complete(tmp_path: Path) -> None:
    with leaks():
        async with ground(tmp_path) as found:
            known = await found.clean("known")
            etags = [await found.put_alt(f"new {number:04}", b"%d" % number) for number in range(2500)]
            report = await _sync(found)
            assert (report.objects, report.added, report.complete) == (2501, 2500, True)
            assert found.row("known") == known
            row = found.row("new 1234")
            assert row is not None
            assert (row.state, row.size, row.blob, row.headers) == (State.CLEAN, 4, None, None)
            assert row.etag == row.alt_etag == etags[1234]
            assert found.catalogue.bucket(BUCKET).complete  # type: ignore[union-attr]
            await check_invariants(found.catalogue, found.disk, root=tmp_path)


async def test_every_row_has_a_generation_of_its_own(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        for number in range(50):
            await found.put_alt(str(number), b"x")
        await _sync(found)
        generations = {found.row(str(number)).generation for number in range(50)}  # type: ignore[union-attr]
        assert len(generations) == 50
        assert found.catalogue.next_generation() > max(generations)


async def test_heads_are_learnt_on_request_once(tmp_path: Path) -> None:
    headers = Headers(content_type="message/rfc822", metadata={"a": "b"})
    async with ground(tmp_path) as found:
        source, name = MemorySource(b"12345"), ObjectName(BUCKET, "k")
        await found.alt.put(name, source, headers, md5="", etag="e-2", parts=(3, 2))
        await _sync(found)
        assert found.row("k").headers is None  # type: ignore[union-attr]
        assert (await _sync(found, heads=True)).heads == 1
        row = found.row("k")
        assert row is not None
        assert (row.headers, row.etag, row.parts) == (headers, "e-2", (3, 2))
        assert (await _sync(found, heads=True)).heads == 0
        assert found.alt.requests["head"] == 1


async def test_no_more_heads_run_at_once_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ground(tmp_path) as found:
        for number in range(20):
            await found.put_alt(str(number), b"x")
        gate = Gate()
        monkeypatch.setattr(found.alt, "head", gate.guard(found.alt.head))
        walk = asyncio.create_task(_sync(found, heads=True))
        await gate.reached(4)
        await found.clock.settle()
        assert gate.waiting == 4
        gate.open()
        assert (await walk).heads == 20


async def test_rows_that_alt_lacks_are_counted_and_kept(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        lost = await found.clean("lost")
        await found.clean("there")
        found.alt.lose(lost.name)
        report = await _sync(found)
        assert (report.lost, report.examples["lost"]) == (1, [str(lost.name)])
        assert found.row("lost") == lost
        assert report.complete


async def test_rows_that_alt_contradicts_are_counted_and_kept(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        ours = await found.clean("k", b"ours")
        await found.put_alt("k", b"theirs")
        assert (await _sync(found, heads=True)).differing == 1
        assert found.row("k") == ours


async def test_headers_of_other_content_are_not_learnt(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.put_alt("k", b"first")
        await _sync(found)
        row = found.row("k")
        await found.put_alt("k", b"second")
        report = await _sync(found, heads=True)
        assert (report.differing, report.heads) == (1, 0)
        assert found.row("k") == row


async def test_a_deleted_object_that_alt_still_shows_stays_deleted(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        generation = found.catalogue.next_generation()
        await found.catalogue.tombstone(entry.name, generation, Job(entry.name, generation, JobKind.DELETE, 0, 0.0))
        await found.disk.remove([entry.blob or ""])
        report = await _sync(found, heads=True)
        assert (report.added, report.lost) == (0, 0)
        assert found.row("k").state is State.DELETING  # type: ignore[union-attr]


async def test_what_is_only_on_disk_is_not_lost(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        dirty = await found.dirty("k")
        assert (await _sync(found)).lost == 0
        assert found.row("k") == dirty


async def test_other_buckets_are_left_alone(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        other = replace(await found.clean("k"), name=ObjectName("z", "k"), blob=None, blob_bytes=0)
        await found.catalogue.add_bucket(BucketRow("z", 0.0, created=True, complete=False))
        await found.catalogue.publish(other)
        report = await _sync(found)
        assert (report.objects, report.lost) == (1, 0)


async def test_a_walk_that_is_cut_off_leaves_the_bucket_incomplete_and_can_be_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ground(tmp_path) as found:
        for number in range(10):
            await found.put_alt(str(number), b"x")
        head = found.alt.head
        calls = 0

        async def failing(name: ObjectName) -> object:
            nonlocal calls
            calls += 1
            if calls == 6:
                raise AltUnavailable
            return await head(name)

        monkeypatch.setattr(found.alt, "head", failing)
        with pytest.raises(AltUnavailable):
            await _sync(found, heads=True)
        assert not found.catalogue.bucket(BUCKET).complete  # type: ignore[union-attr]
        report = await _sync(found, heads=True)
        assert report.complete
        assert report.added == 0
        assert 1 <= report.heads <= 5


async def test_an_unknown_bucket_is_refused(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        with pytest.raises(NoSuchBucket):
            await _sync(found, bucket="nowhere")


async def test_progress_and_report_can_be_shown(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    async with ground(tmp_path) as found:
        for number in range(1001):
            await found.put_alt(str(number), b"x")
        sync = Sync(catalogue=found.catalogue, alt=found.alt, bucket=BUCKET, progress=lambda *step: steps.append(step))
        report = await sync.run()
    assert steps == [("alt", 1000, None), ("alt", 1001, None)]
    assert json.loads(json.dumps(report.as_dict()))["added"] == 1001


def test_a_set_of_names_knows_what_was_added() -> None:
    seen = Seen()
    for number in range(20_000):
        seen.add(ObjectName(BUCKET, f"user/{number}"))
    assert all(ObjectName(BUCKET, f"user/{number}") in seen for number in range(20_000))
    assert not any(ObjectName(BUCKET, f"other/{number}") in seen for number in range(20_000))
    assert ObjectName("other", "user/1") not in seen
    assert len(seen) == 20_000
