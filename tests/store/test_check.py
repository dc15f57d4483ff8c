"""The offline check: what it finds in a damaged data directory, and what --repair does and does not do."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tierproxy.catalogue.connection import catalogue_file
from tierproxy.errors import AltUnavailable, DiskUnavailable
from tierproxy.model import Headers, JobKind, ObjectName, Part, State, Upload
from tierproxy.store.check import Check, CheckReport, Kind
from tierproxy.testing.ground import BUCKET, Ground, ground
from tierproxy.testing.invariants import check_invariants, leaks


async def _check(found: Ground, *, repair: bool = False, alt: bool = False, examples: int = 10) -> CheckReport:
    check = Check(
        catalogue=found.catalogue, disk=found.disk, clock=found.clock, alt=found.alt if alt else None,
        buckets=[BUCKET], repair=repair, examples=examples,
    )  # fmt: skip
    return await check.run()


def _counts(report: CheckReport) -> dict[Kind, tuple[int, int]]:
    return {kind: (finding.count, finding.repaired) for kind, finding in report.findings.items()}


async def _sound_after_repair(found: Ground) -> None:
    assert (await _check(found)).sound
    await check_invariants(found.catalogue, found.disk, root=found.root)


async def test_a_sound_data_directory_has_no_findings(tmp_path: Path) -> None:
    with leaks():
        async with ground(tmp_path) as found:
            for number in range(20):
                await found.clean(f"clean {number}", bytes(number * 50_000))
            await found.dirty("dirty")
            report = await _check(found, alt=True)
            assert report.sound
            assert (report.rows, report.files, report.alt_objects) == (21, 21, 20)
            assert report.blob_bytes == found.catalogue.totals().blob_bytes


DAMAGE: dict[str, tuple[Callable[[Ground, str], None], Kind]] = {
    "truncated": (lambda ground, blob: ground.truncate(blob), Kind.BLOB_DAMAGED),
    "empty": (lambda ground, blob: ground.truncate(blob, ground.files.blob(blob).stat().st_size), Kind.BLOB_DAMAGED),
    "flipped": (lambda ground, blob: ground.flip(blob), Kind.BLOB_DAMAGED),
    "zeroed": (lambda ground, blob: ground.zero(blob), Kind.BLOB_DAMAGED),
    "removed": (lambda ground, blob: ground.vanish(blob), Kind.BLOB_MISSING),
}


@pytest.mark.parametrize("size", [0, 100, 700_000])
@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_bad_copy_is_found_and_with_repair_forgotten(tmp_path: Path, kind: str, size: int) -> None:
    damage, expected = DAMAGE[kind]
    async with ground(tmp_path) as found:
        await found.clean("good")
        bad = await found.clean("bad", bytes(size))
        damage(found, bad.blob or "")
        assert _counts(await _check(found)) == {expected: (1, 0)}
        assert found.row("bad") == bad
        assert _counts(await _check(found, repair=True)) == {expected: (1, 1)}
        row = found.row("bad")
        assert row is not None
        assert (row.blob, row.state, row.purged_by) == (None, State.CLEAN, "repair")
        assert found.quarantined() == ({bad.blob} if expected is Kind.BLOB_DAMAGED else set())
        await _sound_after_repair(found)


@pytest.mark.parametrize("kind", DAMAGE)
async def test_a_bad_only_copy_is_reported_and_never_repaired(tmp_path: Path, kind: str) -> None:
    async with ground(tmp_path) as found:
        bad = await found.dirty("bad")
        DAMAGE[kind][0](found, bad.blob or "")
        files = await found.blobs()
        report = await _check(found, repair=True)
        assert _counts(report) == {Kind.ONLY_COPY_DAMAGED: (1, 0)}
        assert report.unrepaired == 1
        assert found.row("bad") == bad
        assert await found.blobs() == files
        assert found.quarantined() == set()


async def test_a_foreign_file_under_the_name_of_a_blob_is_damage(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        one, two = await found.clean("one"), await found.clean("two")
        found.swap(one.blob or "", two.blob or "")
        assert _counts(await _check(found, repair=True)) == {Kind.BLOB_DAMAGED: (1, 1)}
        assert found.row("two") == two
        await _sound_after_repair(found)


async def test_a_bad_blob_of_an_interrupted_overwrite_is_left_to_the_node(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        await found.catalogue.suspect(entry.name, entry.generation)
        found.vanish(entry.blob or "")
        assert _counts(await _check(found, repair=True)) == {Kind.UNSETTLED: (1, 0)}


async def test_leftover_files_are_found_and_with_repair_removed(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        old = await found.blob(found.label("k", b"old"), b"old")
        new = await found.clean("k", b"new")
        copy = found.duplicate(new.blob or "")
        unacknowledged = await found.blob(found.label("never", b"x"), b"x")
        torn = await found.blob(found.label("torn", b"x"), b"x")
        found.flip(torn.name)
        expected = {Kind.FILE_WITHOUT_ROW: 3, Kind.DAMAGED_FILE_WITHOUT_ROW: 1}
        assert _counts(await _check(found)) == {kind: (count, 0) for kind, count in expected.items()}
        assert {old.name, copy, unacknowledged.name, torn.name} <= await found.blobs()
        assert _counts(await _check(found, repair=True)) == {kind: (count, count) for kind, count in expected.items()}
        assert await found.blobs() == {new.blob}
        assert found.quarantined() == {torn.name}
        await _sound_after_repair(found)


async def test_a_file_newer_than_the_catalogue_is_never_removed(tmp_path: Path) -> None:
    """The catalogue was restored from a backup; the file is an acknowledged write it does not know of."""
    async with ground(tmp_path) as found:
        await found.clean("k", b"old")
        newer = await found.blob(found.label("k", b"new", generation=10**9), b"new")
        assert _counts(await _check(found, repair=True)) == {Kind.FILE_NEWER_THAN_CATALOGUE: (1, 0)}
        assert newer.name in await found.blobs()


async def test_a_second_file_of_a_dirty_object_is_never_removed(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        entry = await found.dirty("k")
        copy = found.duplicate(entry.blob or "")
        found.zero(entry.blob or "")
        expected = {Kind.ONLY_COPY_DAMAGED: (1, 0), Kind.SECOND_COPY: (1, 0)}
        assert _counts(await _check(found, repair=True)) == expected
        assert copy in await found.blobs()


async def test_nothing_is_removed_when_the_files_do_not_belong_to_the_catalogue(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.clean("k")
        for number in range(101):
            await found.blob(found.label(str(number), b"x"), b"x")
        report = await _check(found, repair=True)
        assert _counts(report) == {Kind.FOREIGN_CATALOGUE: (101, 0)}
        assert len(await found.blobs()) == 102


async def test_staged_parts_are_compared_both_ways(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        kept, left = await found.part(), await found.part()
        await found.catalogue.add_upload(Upload("u", ObjectName(BUCKET, "k"), Headers(), 0.0))
        await found.catalogue.add_part("u", Part(1, 6, "e", kept, 0.0))
        await found.catalogue.add_part("u", Part(2, 6, "e", "f" * 32, 0.0))
        report = await _check(found, repair=True)
        assert _counts(report) == {Kind.PART_MISSING: (1, 0), Kind.PART_WITHOUT_ROW: (1, 1)}
        assert await found.disk.scan_parts() == [kept]
        assert report.findings[Kind.PART_WITHOUT_ROW].examples == [left]


async def test_a_catalogue_that_contradicts_itself_is_reported(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.dirty("k")
        outside = sqlite3.connect(catalogue_file(tmp_path))
        outside.execute("DELETE FROM job")
        outside.commit()
        outside.close()
        report = await _check(found, repair=True)
        assert set(report.findings) == {Kind.CATALOGUE}
        assert report.unrepaired > 0


# ---------------------------------------------------------------- against alt


async def test_an_object_lost_in_alt_is_uploaded_again_from_a_good_copy(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        found.alt.lose(entry.name)
        assert _counts(await _check(found, alt=True)) == {Kind.LOST_IN_ALT: (1, 0)}
        assert found.row("k") == entry
        assert _counts(await _check(found, alt=True, repair=True)) == {Kind.LOST_IN_ALT: (1, 1)}
        row, jobs = found.row("k"), found.catalogue.jobs()
        assert row == replace(entry, state=State.DIRTY)
        assert [(job.name, job.kind, job.generation) for job in jobs] == [(entry.name, JobKind.PUT, entry.generation)]
        await _sound_after_repair(found)


async def test_an_object_lost_in_alt_without_a_good_copy_cannot_be_repaired(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        gone, bad = await found.clean("gone"), await found.clean("bad")
        await found.catalogue.drop_blob(gone.name, gone.generation, gone.blob or "", by="rule", at=0.0)
        await found.disk.remove([gone.blob or ""])
        found.flip(bad.blob or "")
        found.alt.lose(gone.name)
        found.alt.lose(bad.name)
        report = await _check(found, alt=True, repair=True)
        assert _counts(report)[Kind.LOST_IN_ALT] == (2, 0)
        assert found.catalogue.jobs() == []


async def test_a_copy_that_cannot_be_read_is_left_alone_and_not_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_blob: str) -> None:
        raise DiskUnavailable("EIO")

    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        found.alt.lose(entry.name)
        monkeypatch.setattr(found.disk, "verify", broken)
        report = await _check(found, alt=True, repair=True)
        assert _counts(report) == {Kind.BLOB_UNREADABLE: (1, 0), Kind.LOST_IN_ALT: (1, 0)}
        assert found.row("k") == entry


async def test_an_object_that_differs_in_alt_is_reported_and_left_alone(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k", b"ours")
        await found.put_alt("k", b"theirs")
        report = await _check(found, alt=True, repair=True)
        assert _counts(report) == {Kind.DIFFERS_IN_ALT: (1, 0)}
        assert found.row("k") == entry
        assert found.alt.content(entry.name) == b"theirs"


async def test_alts_state_of_what_is_not_clean_is_nobodys_business(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.dirty("not there yet")
        await found.dirty("older there", b"new")
        await found.put_alt("older there", b"old")
        assert (await _check(found, alt=True)).sound


@pytest.mark.parametrize("complete", [True, False])
async def test_an_object_of_alt_without_a_row_is_a_finding_in_a_complete_bucket(tmp_path: Path, complete: bool) -> None:
    async with ground(tmp_path) as found:
        await found.put_alt("stranger", b"x")
        await found.catalogue.complete_bucket(BUCKET, complete)
        expected = {Kind.UNKNOWN_IN_ALT: (1, 0)} if complete else {}
        assert _counts(await _check(found, alt=True, repair=True)) == expected


async def test_an_alt_that_does_not_answer_ends_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        found.alt.lose(entry.name)

        async def down(_name: ObjectName) -> None:
            raise AltUnavailable

        monkeypatch.setattr(found.alt, "head", down)
        with pytest.raises(AltUnavailable):
            await _check(found, alt=True, repair=True)
        assert found.row("k") == entry


# ---------------------------------------------------------------- the report


async def test_a_report_counts_all_and_shows_a_few(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        for number in range(5):
            entry = await found.clean(str(number))
            found.vanish(entry.blob or "")
        report = await _check(found, examples=2)
        finding = report.findings[Kind.BLOB_MISSING]
        assert (finding.count, len(finding.examples)) == (5, 2)
        shown = json.loads(json.dumps(report.as_dict()))
        assert shown["findings"]["blob missing"]["count"] == 5
        assert (shown["sound"], shown["unrepaired"], shown["rows"]) == (False, 5, 5)


async def test_a_check_tells_how_far_it_is(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int | None]] = []
    async with ground(tmp_path) as found:
        await found.clean("k")
        check = Check(
            catalogue=found.catalogue, disk=found.disk, clock=found.clock, alt=found.alt, buckets=[BUCKET],
            progress=lambda *step: steps.append(step),
        )  # fmt: skip
        await check.run()
    assert steps == [("blobs", 1, 1), ("files", 1, None), (f"alt {BUCKET}", 1, None)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_damaged_a_repair_leaves_a_sound_directory_and_every_only_copy_untouched(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    asyncio.run(_damage_repair_and_look(tmp_path_factory.mktemp("random"), data))


async def _damage_repair_and_look(root: Path, data: st.DataObject) -> None:
    """``kinds``: of each object whether it is dirty, and how it is damaged."""
    kinds = data.draw(st.lists(st.tuples(st.booleans(), st.sampled_from(["none", "copied", *DAMAGE])), max_size=8))
    async with ground(root) as found:
        entries = [
            await (found.dirty if dirty else found.clean)(str(number), bytes(number * 70_000))
            for number, (dirty, _) in enumerate(kinds)
        ]
        for entry, (_, kind) in zip(entries, kinds, strict=True):
            if kind == "copied":
                found.duplicate(entry.blob or "")
            elif kind != "none":
                DAMAGE[kind][0](found, entry.blob or "")
        before = {path.name: path.read_bytes() for path in found.files.blobs.rglob("*") if path.is_file()}
        await _check(found, repair=True)
        for entry, (dirty, kind) in zip(entries, kinds, strict=True):
            row, untouched = found.row(entry.name.key), entry.blob in await found.blobs()
            assert row == entry if dirty or kind in {"none", "copied"} else row is not None and row.blob is None
            if dirty and kind != "removed":
                assert untouched
                assert found.files.blob(entry.blob or "").read_bytes() == before[entry.blob or ""]
        again = await _check(found, repair=True)
        assert set(again.findings) <= {Kind.ONLY_COPY_DAMAGED, Kind.SECOND_COPY}
        assert await found.catalogue.check() == []
