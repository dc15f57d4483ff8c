"""The background walk: damage is found and mended, leftovers go, what may be wanted stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tierproxy.config.sections import DiskSection, ScrubSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.errors import DiskUnavailable
from tierproxy.hot.memory import NoMemory
from tierproxy.model import Headers, ObjectName, Part, State, Upload
from tierproxy.purges import OPERATOR, Drop
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.counters import Counters
from tierproxy.store.scrub import ALARM, GRACE, Scrub
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Space
from tierproxy.store.tasks import Tasks
from tierproxy.testing.gate import Gate
from tierproxy.testing.ground import BUCKET, Ground, ground
from tierproxy.testing.invariants import check_invariants, leaks

FAST = ScrubSection(bytes_per_second=Size(10**12))


@dataclass
class Bench:
    ground: Ground
    scrub: Scrub
    space: Space
    alarms: AlarmBoard
    tasks: Tasks

    async def walk(self) -> None:
        """One walk, the grace included."""
        walk = asyncio.create_task(self.scrub.walk())
        while not walk.done():
            await asyncio.sleep(0)
            if self.ground.clock.sleeping:
                await self.ground.clock.advance(GRACE)
        await walk

    def count(self) -> None:
        """The budget counts what the rows say, as it does at the start of a node."""
        catalogue = self.ground.catalogue
        self.space.add(catalogue.totals().blob_bytes - self.space.footprint(BUCKET), BUCKET)
        self.space.add(catalogue.totals().blob_bytes + catalogue.part_bytes() - self.space.used)


@asynccontextmanager
async def _bench(root: Path, settings: ScrubSection = FAST) -> AsyncIterator[Bench]:
    with leaks():
        async with ground(root) as found:
            tasks, alarms, clock = Tasks(), AlarmBoard(), found.clock
            space = Space(DiskSection(min_free=Share(bytes=0)), 0, found.disk.free)
            shelf = Shelf(
                disk=found.disk, catalogue=found.catalogue, hot=NoMemory(), space=space, tasks=tasks,
                clock=clock, counters=Counters(), alarms=alarms,
            )  # fmt: skip
            scrub = Scrub(
                catalogue=found.catalogue, disk=found.disk, mender=shelf, clock=clock, alarms=alarms,
                settings=settings, first_generation=found.catalogue.next_generation(),
            )  # fmt: skip
            bench = Bench(found, scrub, space, alarms, tasks)
            yield bench
            await scrub.stop()
            await tasks.drain(5)


DAMAGE: list[Callable[[Ground, str], None]] = [
    lambda ground, blob: ground.truncate(blob),
    lambda ground, blob: ground.truncate(blob, 1_000_000_000 % ground.files.blob(blob).stat().st_size),
    lambda ground, blob: ground.flip(blob),
    lambda ground, blob: ground.flip(blob, -1),
    lambda ground, blob: ground.zero(blob),
    lambda ground, blob: ground.vanish(blob),
]
NAMES = ["truncated", "cut short", "flipped in the body", "flipped in the trailer", "zeroed", "removed"]


@pytest.mark.parametrize("damage", DAMAGE, ids=NAMES)
@pytest.mark.parametrize("size", [100, 700_000])
async def test_a_damaged_copy_is_forgotten_so_that_the_next_read_fills_it_again(
    tmp_path: Path, damage: Callable[[Ground, str], None], size: int
) -> None:
    async with _bench(tmp_path) as bench:
        await bench.ground.clean("good")
        bad = await bench.ground.clean("bad", bytes(size))
        bench.count()
        damage(bench.ground, bad.blob or "")
        await bench.walk()
        row = bench.ground.row("bad")
        assert row is not None
        assert (row.state, row.blob, row.purged_by) == (State.CLEAN, None, "repair")
        assert bench.ground.row("good").blob is not None  # type: ignore[union-attr]
        assert bench.scrub.counters.repaired == 1
        assert bench.scrub.counters.corrupt + bench.scrub.counters.missing == 1
        await check_invariants(bench.ground.catalogue, bench.ground.disk, bench.space, root=tmp_path)


async def test_a_sound_file_that_belongs_to_another_object_is_damage(tmp_path: Path) -> None:
    async with _bench(tmp_path) as bench:
        one = await bench.ground.clean("one")
        two = await bench.ground.clean("two")
        bench.count()
        bench.ground.swap(one.blob or "", two.blob or "")
        await bench.walk()
        assert bench.ground.row("one").blob is None  # type: ignore[union-attr]
        assert bench.ground.quarantined() == {one.blob}
        await check_invariants(bench.ground.catalogue, bench.ground.disk, bench.space, root=tmp_path)


@pytest.mark.parametrize("damage", DAMAGE, ids=NAMES)
async def test_a_damaged_only_copy_is_an_alarm_and_stays_where_it_is(
    tmp_path: Path, damage: Callable[[Ground, str], None]
) -> None:
    async with _bench(tmp_path) as bench:
        bad = await bench.ground.dirty("bad")
        damage(bench.ground, bad.blob or "")
        files = await bench.ground.blobs()
        await bench.walk()
        assert bench.ground.row("bad") == bad
        assert await bench.ground.blobs() == files
        assert bench.ground.quarantined() == set()
        assert [subject for _, subject in bench.alarms.active()] == [f"{BUCKET}/bad"]
        assert bench.scrub.counters.repaired == 0


async def test_a_leftover_of_an_earlier_process_goes_after_a_second_look(tmp_path: Path) -> None:
    async with ground(tmp_path) as before:
        left = await before.blob(before.label("overwritten", b"old"), b"old")
        gone = await before.blob(before.label("deleted", b"x"), b"x")
        await before.clean("overwritten", b"new")
    async with _bench(tmp_path) as bench:
        walk = asyncio.create_task(bench.scrub.walk())
        while not bench.ground.clock.sleeping:
            await asyncio.sleep(0)
        assert {left.name, gone.name} <= await bench.ground.blobs()
        await bench.ground.clock.advance(GRACE)
        await walk
        assert bench.scrub.counters.orphans == 2
        bench.count()
        await check_invariants(bench.ground.catalogue, bench.ground.disk, bench.space, root=tmp_path)


async def test_a_fill_whose_row_is_committed_during_the_walk_keeps_its_file(tmp_path: Path) -> None:
    """Its generation is older than this process: only the second look tells it from a leftover."""
    async with ground(tmp_path) as before:
        entry = await before.clean("k", b"bytes")
        await before.catalogue.drop_blob(entry.name, entry.generation, entry.blob or "", by="rule", at=0.0)
        await before.disk.remove([entry.blob or ""])
    async with _bench(tmp_path) as bench:
        sealed = await bench.ground.blob(bench.ground.label("k", b"bytes", entry.generation), b"bytes")
        walk = asyncio.create_task(bench.scrub.walk())
        while not bench.ground.clock.sleeping:
            await asyncio.sleep(0)
        await bench.ground.catalogue.fill(entry.with_blob(sealed, at=0.0), expected=entry.generation)
        await bench.ground.clock.advance(GRACE)
        await walk
        assert await bench.ground.blobs() == {sealed.name}


async def test_a_write_whose_commit_takes_longer_than_the_grace_keeps_its_file(tmp_path: Path) -> None:
    async with _bench(tmp_path) as bench:
        label = bench.ground.label("slow", b"bytes")
        sealed = await bench.ground.blob(label, b"bytes")
        await bench.walk()
        assert await bench.ground.blobs() == {sealed.name}
        assert bench.scrub.counters.kept == 1


async def test_a_damaged_file_without_a_row_is_put_aside(tmp_path: Path) -> None:
    async with ground(tmp_path) as before:
        sealed = await before.blob(before.label("torn", b"bytes"), b"bytes")
        before.zero(sealed.name)
    async with _bench(tmp_path) as bench:
        await bench.walk()
        assert bench.ground.quarantined() == {sealed.name}
        assert bench.scrub.counters.quarantined == 1


async def test_a_second_file_of_a_dirty_object_stays(tmp_path: Path) -> None:
    async with ground(tmp_path) as before:
        entry = await before.dirty("only")
        copy = before.duplicate(entry.blob or "")
    async with _bench(tmp_path) as bench:
        await bench.walk()
        assert await bench.ground.blobs() == {entry.blob, copy}


async def test_files_that_do_not_belong_to_the_catalogue_are_an_alarm_and_stay(tmp_path: Path) -> None:
    async with ground(tmp_path) as before:
        for number in range(101):
            await before.blob(before.label(str(number), b"bytes"), b"bytes")
    async with _bench(tmp_path) as bench:
        await bench.walk()
        assert len(await bench.ground.blobs()) == 101
        assert bench.alarms.active() == [(ALARM, "disk")]


async def test_a_purge_of_nearly_everything_is_no_foreign_catalogue(tmp_path: Path) -> None:
    """Its rows forget their blobs in one change, and then the files go."""
    async with ground(tmp_path) as before:
        rows = [await before.clean(str(number)) for number in range(101)]
    async with _bench(tmp_path) as bench:
        catalogue, clock = bench.ground.catalogue, bench.ground.clock
        await catalogue.drop_blobs([Drop.of(row, OPERATOR) for row in rows], at=clock.now())
        walk = asyncio.create_task(bench.scrub.walk())
        while not clock.sleeping and not walk.done():
            await asyncio.sleep(0)
        assert not bench.alarms.active()
        await bench.ground.disk.remove([row.blob or "" for row in rows])
        while not walk.done():
            await asyncio.sleep(0)
            await clock.advance(GRACE)
        await walk
        assert not bench.alarms.active()


async def test_parts_that_were_there_before_the_start_and_have_no_row_go(tmp_path: Path) -> None:
    async with ground(tmp_path) as before:
        left, wanted = await before.part(), await before.part()
        await before.catalogue.add_upload(Upload("u", ObjectName(BUCKET, "k"), Headers(), 0.0))
        await before.catalogue.add_part("u", Part(1, 6, "e", wanted, 0.0))
    async with _bench(tmp_path) as bench:
        await bench.scrub.prepare()
        fresh = await bench.ground.part()
        await bench.walk()
        assert left not in await bench.ground.disk.scan_parts()
        assert set(await bench.ground.disk.scan_parts()) == {wanted, fresh}
        assert bench.scrub.counters.parts == 1


async def test_a_blob_that_is_purged_while_it_is_verified_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _bench(tmp_path) as bench:
        entry = await bench.ground.clean("purged")
        gate = Gate()
        monkeypatch.setattr(bench.ground.disk, "verify", gate.guard(bench.ground.disk.verify))
        walk = asyncio.create_task(bench.scrub.walk())
        await gate.reached()
        await bench.ground.catalogue.drop_blob(entry.name, entry.generation, entry.blob or "", by="rule", at=1.0)
        await bench.ground.disk.remove([entry.blob or ""])
        gate.open()
        await walk
        assert bench.scrub.counters.missing == 0
        assert bench.ground.row("purged").purged_by == "rule"  # type: ignore[union-attr]


async def test_a_disk_that_does_not_read_loses_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_blob: str) -> None:
        raise DiskUnavailable("EIO")

    async with _bench(tmp_path) as bench:
        entry = await bench.ground.clean("fine")
        monkeypatch.setattr(bench.ground.disk, "verify", broken)
        await bench.walk()
        assert bench.ground.row("fine") == entry
        assert bench.scrub.counters.unreadable == 1


async def test_the_walk_reads_no_faster_than_it_is_told(tmp_path: Path) -> None:
    slow = ScrubSection(bytes_per_second=Size(4096))
    async with _bench(tmp_path, slow) as bench:
        entries = [await bench.ground.clean(str(number)) for number in range(3)]
        before = bench.ground.clock.monotonic()
        walk = asyncio.create_task(bench.scrub.walk())
        while not walk.done():
            await asyncio.sleep(0)
            if bench.ground.clock.sleeping:
                await bench.ground.clock.advance(0.5)
        await walk
        taken = bench.ground.clock.monotonic() - before
        assert taken == pytest.approx(sum(entry.blob_bytes for entry in entries) / 4096, abs=0.5)


async def test_a_paused_walk_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with _bench(tmp_path) as bench:
        for number in range(3):
            await bench.ground.clean(str(number))
        gate = Gate()
        monkeypatch.setattr(bench.ground.disk, "verify", gate.guard(bench.ground.disk.verify))
        walk = asyncio.create_task(bench.scrub.walk())
        await gate.reached()
        bench.scrub.pause()
        gate.open()
        while bench.scrub.progress.done < 1:
            await asyncio.sleep(0)
        await bench.ground.clock.settle()
        assert bench.scrub.progress.phase == "paused"
        assert gate.arrivals == 1
        bench.scrub.resume()
        await walk
        assert gate.arrivals == 3


async def test_a_walk_that_was_broken_off_goes_on_after_the_last_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _bench(tmp_path) as bench:
        entries = sorted([(await bench.ground.clean(str(number))).blob or "" for number in range(3)])
        gate = Gate()
        gate.allow(2)
        monkeypatch.setattr(bench.ground.disk, "verify", gate.guard(bench.ground.disk.verify))
        bench.scrub.start()
        await gate.reached(3)
        await bench.scrub.stop()
        assert bench.scrub.progress.after == entries[1]
        gate.open()
        await bench.scrub.walk()
        assert gate.arrivals == 4
        assert bench.scrub.progress.after == ""


async def test_walks_follow_each_other_at_the_interval(tmp_path: Path) -> None:
    settings = ScrubSection(bytes_per_second=Size(10**12), interval=Duration(3600))
    async with _bench(tmp_path, settings) as bench:
        bench.scrub.start()
        for expected in (1, 2, 3):
            while bench.scrub.counters.walks < expected or not bench.ground.clock.sleeping:
                await asyncio.sleep(0)
            await bench.ground.clock.advance(3600)


async def test_a_scrub_that_is_switched_off_does_not_walk(tmp_path: Path) -> None:
    async with _bench(tmp_path, ScrubSection(enabled=False)) as bench:
        await bench.ground.clean("a")
        bench.scrub.start()
        await bench.ground.clock.advance(3600)
        assert bench.scrub.counters.blobs == 0
