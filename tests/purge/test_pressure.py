"""Pressure purges over real files, the real catalogue and the real accounting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tierproxy.config.sections import DiskSection
from tierproxy.config.values import Share, Size
from tierproxy.hot.memory import NoMemory
from tierproxy.model import Entry, State
from tierproxy.purge.pressure import ALARM, PERIOD, PressurePurge
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.counters import Counters
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Space
from tierproxy.store.tasks import Tasks
from tierproxy.testing.ground import Ground, ground
from tierproxy.testing.invariants import check_invariants, leaks
from tierproxy.traffic import DAY, Counts, ReadCount

BLOB = 4096
BUDGET = DiskSection(max_bytes=Size(20 * BLOB), high_water=0.95, low_water=0.5, min_free=Share(bytes=0))


@dataclass
class Bench:
    ground: Ground
    space: Space
    purge: PressurePurge
    alarms: AlarmBoard

    async def add(self, key: str, state: State = State.CLEAN) -> Entry:
        """One more blob of ``BLOB`` bytes, a second after the last."""
        self.ground.clock.jump_wall(1)
        entry = await self.ground.write(key, b"a mail", state)
        self.space.add(entry.blob_bytes, "mail")
        return entry

    def on_disk(self) -> list[str]:
        entries = [self.ground.row(f"{number}") for number in range(20)]
        return [entry.name.key for entry in entries if entry is not None and entry.blob is not None]

    async def until_low(self) -> None:
        """The purge is woken and has worked."""
        self.purge.wake()
        while self.space.used > self.space.low:
            await asyncio.sleep(0)


@asynccontextmanager
async def _bench(root: Path) -> AsyncIterator[Bench]:
    with leaks():
        async with ground(root) as found:
            tasks, alarms, clock = Tasks(), AlarmBoard(), found.clock
            space = Space(BUDGET, 0, found.disk.free)
            shelf = Shelf(
                disk=found.disk, catalogue=found.catalogue, hot=NoMemory(), space=space, tasks=tasks, clock=clock,
                counters=Counters(), alarms=alarms,
            )  # fmt: skip
            purge = PressurePurge(found.catalogue, shelf, space, clock, alarms, batch=4)
            purge.start()
            yield Bench(found, space, purge, alarms)
            await purge.stop()
            await tasks.drain(5)
            await check_invariants(found.catalogue, found.disk, space, root=root)


async def test_the_least_recently_used_blobs_go_and_their_rows_stay(tmp_path: Path) -> None:
    async with _bench(tmp_path) as bench:
        entries = [await bench.add(f"{number}") for number in range(20)]
        now = bench.ground.clock.now() + 100
        read = ReadCount(entries[0].name, int(now // DAY), 3, last_read_at=now)
        await bench.ground.catalogue.count(Counts(now, (read,)))
        await bench.until_low()
        assert bench.on_disk() == ["0", *(f"{number}" for number in range(11, 20))]
        assert await bench.ground.blobs() == {entry.blob for entry in [entries[0], *entries[11:]]}
        gone = bench.ground.row("1")
        assert gone is not None
        assert (gone.state, gone.purged_by) == (State.CLEAN, "pressure")


async def test_dirty_blobs_stay_however_old_they_are(tmp_path: Path) -> None:
    async with _bench(tmp_path) as bench:
        for number in range(20):
            await bench.add(f"{number}", State.DIRTY if number < 9 else State.CLEAN)
        await bench.until_low()
        assert bench.on_disk() == [*(f"{number}" for number in range(9)), "19"]


async def test_a_disk_of_dirty_blobs_is_an_alarm_until_they_are_uploaded(tmp_path: Path) -> None:
    async with _bench(tmp_path) as bench:
        entries = [await bench.add(f"{number}", State.DIRTY) for number in range(20)]
        bench.purge.wake()
        while not bench.alarms.active():
            await asyncio.sleep(0)
        assert bench.alarms.active() == [(ALARM, "disk")]
        for entry in entries:
            await bench.ground.catalogue.uploaded(entry.name, entry.generation, entry.etag)
        await bench.ground.clock.advance(PERIOD)
        while bench.alarms.active():
            await asyncio.sleep(0)
        assert bench.space.used == bench.space.low
