"""Pressure purges at work: against the real space accounting, a store of rows in memory and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

from tierproxy.config.sections import DiskSection
from tierproxy.config.values import Share, Size
from tierproxy.errors import DiskUnavailable
from tierproxy.model import Entry, FreeSpace, ObjectName, State
from tierproxy.ports import Catalogue
from tierproxy.purge.pressure import ALARM, PERIOD, PressurePurge
from tierproxy.purges import PRESSURE, Booking, Candidate, Drop, Place, Purged, PurgeRun, RunKind, RunState, Scope
from tierproxy.rules.model import Order
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.space import Space
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.gate import Gate

BUDGET = DiskSection(max_bytes=Size(1000), high_water=0.9, low_water=0.5, min_free=Share(bytes=0))
ROOMY = FreeSpace(total_bytes=100_000, free_bytes=100_000, total_inodes=1000, free_inodes=1000)


@dataclass
class Rows:
    """As much of a catalogue and a store as a purge sees: victims in order, and their removal."""

    space: Space
    entries: list[Entry] = field(default_factory=list)
    batches: list[list[int]] = field(default_factory=list)
    looks: int = 0
    gate: Gate = field(default_factory=lambda: Gate(opened=True))
    refuses: bool = False
    fails: bool = False
    records: list[PurgeRun] = field(default_factory=list)

    def add(self, *, footprint: int = 100, state: State = State.CLEAN) -> None:
        number = len(self.entries)
        name = ObjectName("mail", str(number))
        self.entries.append(Entry(name, number, state, 1, "e", 0.0, blob=f"b{number}", blob_bytes=footprint))
        self.space.used += footprint

    async def pressed(
        self, scope: Scope, order: Order, limit: int, *, after: Place | None = None, kept: bool = False
    ) -> list[Candidate]:
        if kept:
            return []
        self.looks += after is None
        found = [_candidate(entry) for entry in self.entries if entry.state is State.CLEAN]
        return [one for one in found if after is None or one.rank > after.rank][:limit]

    def footprint(self, bucket: str) -> int:
        return self.space.footprint(bucket)

    async def add_run(self, run: PurgeRun) -> PurgeRun:
        assert (run.kind, run.state) == (RunKind.PRESSURE, RunState.RUNNING)
        self.records.append(replace(run, number=len(self.records)))
        return self.records[-1]

    async def save_run(self, run: PurgeRun, *, expected: RunState) -> PurgeRun:
        assert self.records[run.number].state is expected
        self.records[run.number] = run
        return run

    async def purge(self, drops: Sequence[Drop], *, booking: Booking | None = None) -> Purged:
        assert {drop.by for drop in drops} == {PRESSURE}
        assert booking is not None
        assert self.records[booking.run].state is RunState.RUNNING
        await self.gate.passage()
        if self.fails:
            raise DiskUnavailable
        if self.refuses:
            return Purged(skipped=len(drops))
        gone = [drop.generation for drop in drops]
        self.batches.append(gone)
        self.entries = [entry for entry in self.entries if entry.generation not in gone]
        released = sum(drop.blob_bytes for drop in drops)
        self.space.release(released)
        return Purged(len(drops), released)


def _candidate(entry: Entry) -> Candidate:
    return Candidate(
        entry.name, entry.generation, entry.blob or "", entry.blob_bytes, entry.size, None, float(entry.generation)
    )


@dataclass
class Bench:
    rows: Rows
    purge: PressurePurge
    clock: VirtualClock
    alarms: AlarmBoard
    free: list[FreeSpace]

    @property
    def space(self) -> Space:
        return self.rows.space


@asynccontextmanager
async def _bench(
    count: int, *, budget: DiskSection = BUDGET, batch: int = 500, run: bool = True
) -> AsyncIterator[Bench]:
    free = [ROOMY]
    space = Space(budget, 0, lambda: free[0])
    rows = Rows(space)
    for _ in range(count):
        rows.add()
    clock, alarms = VirtualClock(), AlarmBoard()
    purge = PressurePurge(cast(Catalogue, rows), rows, space, clock, alarms, batch=batch)
    space.on_pressure = purge.wake
    if run:
        purge.start()
        await clock.settle()
    try:
        yield Bench(rows, purge, clock, alarms, free)
    finally:
        rows.gate.open()
        await purge.stop()


async def test_a_claim_beyond_high_water_purges_down_to_low_water_oldest_first() -> None:
    async with _bench(9) as bench:
        assert bench.rows.batches == []
        bench.rows.add()
        bench.purge.wake()
        await bench.clock.settle()
        assert bench.rows.batches == [[0, 1, 2, 3, 4]]
        assert bench.space.used == 500
        assert bench.purge.counters.bytes == 500


async def test_a_claim_that_passes_high_water_wakes_the_purge_by_itself() -> None:
    budget = replace(BUDGET, max_bytes=Size(100_000))
    async with _bench(0, budget=budget) as bench:
        for _ in range(80):
            bench.rows.add(footprint=1000)
        with bench.space.reserve_fill(1000):
            await bench.clock.settle()
        assert bench.space.used < 50_000


async def test_room_is_made_for_a_claim_that_was_refused_below_high_water() -> None:
    async with _bench(8) as bench:
        bench.purge.wake(wanted=150)
        await bench.clock.settle()
        assert bench.space.used == 300


async def test_a_run_goes_in_batches() -> None:
    async with _bench(10, batch=2) as bench:
        await bench.clock.settle()
        assert bench.rows.batches == [[0, 1], [2, 3], [4]]


async def test_a_file_system_filled_by_others_is_noticed_at_the_next_look() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    async with _bench(8, budget=budget) as bench:
        bench.free[0] = replace(ROOMY, free_bytes=9_850)
        await bench.clock.advance(PERIOD - 1)
        assert bench.rows.batches == []
        await bench.clock.advance(1)
        assert bench.rows.batches == [[0, 1]]


async def test_free_inodes_are_kept_as_well() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    async with _bench(8, budget=budget) as bench:
        bench.free[0] = replace(ROOMY, free_inodes=98)
        await bench.clock.advance(PERIOD)
        assert bench.rows.batches == [[0, 1, 2]]


async def test_a_stale_look_at_the_file_system_does_not_purge_twice_in_one_run() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    async with _bench(8, budget=budget, batch=1, run=False) as bench:
        bench.free[0] = replace(ROOMY, free_bytes=9_850)
        assert await bench.purge.run() is None
        assert bench.rows.batches == [[0], [1]]


async def test_with_only_dirty_blobs_the_purge_raises_an_alarm_and_does_not_spin() -> None:
    async with _bench(0) as bench:
        for _ in range(10):
            bench.rows.add(state=State.DIRTY)
        for _ in range(1000):
            bench.purge.wake()
            await bench.clock.settle()
        assert bench.rows.looks == 1
        assert bench.alarms.active() == [(ALARM, "disk")]
        await bench.clock.advance(PERIOD)
        assert bench.rows.looks == 2


async def test_the_alarm_goes_when_uploads_make_blobs_clean_again() -> None:
    async with _bench(0) as bench:
        for _ in range(10):
            bench.rows.add(state=State.DIRTY)
        bench.purge.wake()
        await bench.clock.settle()
        bench.rows.entries = [replace(entry, state=State.CLEAN) for entry in bench.rows.entries]
        await bench.clock.advance(PERIOD)
        assert bench.space.used == 500
        assert bench.alarms.active() == []


async def test_entries_that_changed_under_the_plan_are_no_alarm_and_no_spin() -> None:
    async with _bench(0) as bench:
        bench.rows.refuses = True
        for _ in range(10):
            bench.rows.add()
        for _ in range(10):
            bench.purge.wake()
            await bench.clock.settle()
        assert bench.rows.gate.arrivals == 2, "each blob was tried once"
        assert bench.alarms.active() == []
        bench.rows.refuses = False
        await bench.clock.advance(PERIOD)
        assert bench.space.used == 500


async def test_a_failing_disk_does_not_end_the_purge() -> None:
    async with _bench(0) as bench:
        bench.rows.fails = True
        for _ in range(10):
            bench.rows.add()
        bench.purge.wake()
        await bench.clock.settle()
        bench.rows.fails = False
        await bench.clock.advance(PERIOD)
        assert bench.space.used == 500


async def test_stop_waits_for_the_batch_under_way_and_starts_no_other() -> None:
    async with _bench(0, batch=1) as bench:
        bench.rows.gate.close()
        for _ in range(10):
            bench.rows.add()
        bench.purge.wake()
        await bench.rows.gate.reached()
        stop = asyncio.create_task(bench.purge.stop())
        await bench.clock.settle()
        assert not stop.done()
        bench.rows.gate.open()
        await stop
        assert bench.rows.batches == [[0]]


async def test_many_refused_writes_cost_one_purge() -> None:
    async with _bench(10, run=False) as bench:
        bench.rows.gate.close()
        writes = [asyncio.create_task(bench.purge.relieve(150)) for _ in range(20)]
        await bench.rows.gate.reached()
        await bench.clock.settle()
        assert bench.rows.gate.arrivals == 1
        bench.rows.gate.open()
        await asyncio.gather(*writes)
        assert bench.rows.batches == [[0, 1, 2, 3, 4, 5, 6]]


async def test_a_refused_write_hears_of_no_room_not_of_a_failed_purge() -> None:
    async with _bench(10, run=False) as bench:
        bench.rows.fails = True
        await bench.purge.relieve(150)
        assert bench.space.used == 1000


async def test_a_smaller_budget_applies_at_the_next_look() -> None:
    async with _bench(9) as bench:
        bench.space.reload(replace(BUDGET, max_bytes=Size(500)))
        await bench.clock.advance(PERIOD)
        assert bench.space.used == 200
