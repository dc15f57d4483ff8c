"""A catalogue from nothing but blob files, with alt and without."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.catalogue.sqlite import SqliteCatalogue
from tierproxy.errors import AltUnavailable, ConfigError
from tierproxy.model import BlobLabel, Headers, ObjectName, State
from tierproxy.store.body import MemorySource
from tierproxy.store.check import Check
from tierproxy.store.rebuild import Rebuild, RebuildReport
from tierproxy.testing.ground import BUCKET, Ground, ground
from tierproxy.testing.invariants import check_invariants, leaks


@asynccontextmanager
async def _lost(root: Path) -> AsyncIterator[Ground]:
    """A ground whose ``catalogue`` is the lost one, with which files and alt are made."""
    with leaks():
        async with ground(root) as found:
            yield found


@asynccontextmanager
async def _fresh(found: Ground) -> AsyncIterator[SqliteCatalogue]:
    """The empty catalogue of a rebuild, in a place of its own."""
    catalogue = SqliteCatalogue(found.root / "rebuild", found.pool, generation_block=1000)
    try:
        yield catalogue
    finally:
        await catalogue.close()


async def _rebuild(found: Ground, catalogue: SqliteCatalogue, *, alt: bool = True) -> RebuildReport:
    rebuild = Rebuild(
        catalogue=catalogue, disk=found.disk, clock=found.clock, alt=found.alt if alt else None, configured=[BUCKET]
    )
    return await rebuild.run()


def _name(key: str) -> ObjectName:
    return ObjectName(BUCKET, key)


async def test_objects_that_alt_has_are_clean_and_others_will_be_uploaded(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        clean = await found.clean("clean", bytes(700_000))
        dirty = await found.dirty("dirty", b"only here")
        report = await _rebuild(found, catalogue)
        assert (report.files, report.clean, report.dirty) == (2, 1, 1)
        assert catalogue.find(clean.name) == clean
        assert catalogue.find(dirty.name) == dirty
        assert [job.name for job in catalogue.jobs()] == [dirty.name]
        await check_invariants(catalogue, found.disk, root=tmp_path)


async def test_without_alt_everything_will_be_uploaded(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        entry = await found.clean("k")
        report = await _rebuild(found, catalogue, alt=False)
        assert (report.clean, report.dirty) == (0, 1)
        assert catalogue.find(entry.name) == replace(entry, state=State.DIRTY, alt_etag=None)
        await check_invariants(catalogue, found.disk, root=tmp_path)


async def test_what_a_label_says_comes_back(tmp_path: Path) -> None:
    headers = Headers(content_type="message/rfc822", metadata={"uid": "7"}, checksums={"crc32": "AAAAAA=="})
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        label = BlobLabel(ObjectName("other", "ünïcode/☃"), 5, "0" * 32 + "-2", headers, 123.5, (3, 2))
        await found.blob(label, b"12345")
        report = await _rebuild(found, catalogue)
        entry = catalogue.find(label.name)
        assert entry is not None
        assert (entry.headers, entry.parts, entry.etag, entry.written_at) == (headers, (3, 2), label.etag, 123.5)
        assert report.buckets == ["other"]


async def test_the_newest_generation_of_each_name_wins(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        for generation in (3, 5, 4):
            await found.blob(found.label("k", b"x" * generation, generation), b"x" * generation)
        report = await _rebuild(found, catalogue)
        entry = catalogue.find(_name("k"))
        assert entry is not None
        assert (entry.generation, entry.size) == (5, 5)
        assert (report.files, report.dirty, report.superseded) == (3, 1, 2)
        check = Check(catalogue=catalogue, disk=found.disk, clock=found.clock, repair=True)
        assert (await check.run()).unrepaired == 0
        assert await found.blobs() == {entry.blob}


async def test_two_files_of_one_generation_are_one_object(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        entry = await found.clean("k")
        found.duplicate(entry.blob or "")
        report = await _rebuild(found, catalogue)
        assert (report.clean, report.superseded) == (1, 1)
        check = Check(catalogue=catalogue, disk=found.disk, clock=found.clock, repair=True)
        assert (await check.run()).unrepaired == 0
        await check_invariants(catalogue, found.disk, root=tmp_path)


async def test_damaged_files_are_put_aside_and_named(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        bad = [await found.clean(kind) for kind in ("truncated", "flipped", "zeroed")]
        blobs = [entry.blob or "" for entry in bad]
        found.truncate(blobs[0])
        found.flip(blobs[1])
        found.zero(blobs[2])
        report = await _rebuild(found, catalogue)
        assert (report.damaged, report.clean) == (3, 0)
        assert found.quarantined() == set(blobs)
        assert len(report.examples["damaged"]) == 3
        assert catalogue.totals().objects == 0


async def test_alts_newer_object_is_not_overwritten(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        old = await found.blob(found.label("k", b"old"), b"old")
        found.clock.jump_wall(3600)
        await found.put_alt("k", b"newer")
        report = await _rebuild(found, catalogue)
        assert (report.conflicts, report.dirty, report.clean) == (1, 0, 0)
        assert catalogue.find(_name("k")) is None
        assert catalogue.jobs() == []
        assert found.quarantined() == {old.name}
        assert str(_name("k")) in report.examples["conflicts"][0]
        await check_invariants(catalogue, found.disk, root=tmp_path)


async def test_an_overwrite_that_alt_had_not_got_yet_will_be_uploaded(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        await found.put_alt("k", b"old")
        found.clock.jump_wall(3600)
        entry = await found.dirty("k", b"newer")
        report = await _rebuild(found, catalogue)
        assert (report.dirty, report.conflicts) == (1, 0)
        assert catalogue.find(_name("k")) == entry


async def test_an_overwrite_in_the_same_second_is_not_taken_for_newer(tmp_path: Path) -> None:
    """S3 cuts Last-Modified to whole seconds: within one nobody can say which came first, so alt's stays."""
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        await found.put_alt("k", b"one")
        found.clock.jump_wall(0.9)
        await found.dirty("k", b"two")
        assert (await _rebuild(found, catalogue)).conflicts == 1


async def test_the_same_bytes_under_an_etag_of_another_kind_are_the_same(tmp_path: Path) -> None:
    """Alt's ETag of an encrypted or multipart object is no MD5: then the bytes are compared."""
    content = bytes(700_000)
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        entry = await found.dirty("k", content)
        await found.alt.put_stream(entry.name, _chunks(content), Headers())
        other = await found.dirty("other", content)
        await found.alt.put_stream(other.name, _chunks(content[:-1] + b"x"), Headers())
        report = await _rebuild(found, catalogue)
        assert (report.clean, report.conflicts) == (1, 1)
        row = catalogue.find(entry.name)
        assert row is not None
        assert row.state is State.CLEAN
        assert row.alt_etag != row.etag


async def test_an_etag_kept_for_the_client_is_compared(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        label = replace(found.label("k", b"12345"), etag="f" * 32 + "-2", parts=(3, 2))
        await found.blob(label, b"12345")
        await found.alt.put(label.name, MemorySource(b"12345"), Headers(), md5="", etag=label.etag, parts=label.parts)
        assert (await _rebuild(found, catalogue)).clean == 1
        assert found.alt.requests["get"] == 0


async def test_new_generations_are_above_all_that_were_found(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found:
        async with _fresh(found) as catalogue:
            await found.blob(found.label("k", b"x", generation=123_456_789), b"x")
            report = await _rebuild(found, catalogue)
            assert report.generation == 123_456_789
            assert catalogue.next_generation() > 123_456_789
        async with _fresh(found) as reopened:
            assert reopened.next_generation() > 123_456_789


async def test_buckets_come_back_incomplete_and_those_made_by_clients_as_such(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        await found.clean("k")
        await found.blob(replace(found.label("k", b"x"), name=ObjectName("made", "k")), b"x")
        await _rebuild(found, catalogue)
        rows = {row.name: (row.created, row.complete) for row in catalogue.buckets()}
        assert rows == {BUCKET: (False, False), "made": (True, False)}


async def test_a_rebuild_over_existing_rows_is_refused(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found:
        await found.clean("k")
        with pytest.raises(ConfigError):
            await _rebuild(found, found.catalogue)


async def test_an_alt_that_goes_away_ends_the_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(_name: ObjectName) -> None:
        raise AltUnavailable

    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        entry = await found.clean("k")
        monkeypatch.setattr(found.alt, "head", down)
        with pytest.raises(AltUnavailable):
            await _rebuild(found, catalogue)
        assert await found.blobs() == {entry.blob}


async def test_a_report_is_json_and_adds_up(tmp_path: Path) -> None:
    async with _lost(tmp_path) as found, _fresh(found) as catalogue:
        for number in range(5):
            await found.clean(str(number))
        found.zero((await found.dirty("bad")).blob or "")
        shown = json.loads(json.dumps((await _rebuild(found, catalogue)).as_dict()))
        kinds = ("clean", "dirty", "superseded", "damaged", "unreadable", "conflicts")
        assert shown["files"] == sum(shown[kind] for kind in kinds) == 6


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content
