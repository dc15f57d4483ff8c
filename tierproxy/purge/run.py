"""Carries out purges when the disk budget asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Catalogue, Clock, Purgeable
from tierproxy.purge.plan import Need, Plan, Pressure, need, plan

BATCH = 500  #: entries per transaction: a run must not hold up the catalogue's other changes
PERIOD = 5.0  #: seconds between looks at the file system, which others fill as well
ALARM = "disk budget cannot be met"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PurgeCounters:
    """Since the start of the node."""

    runs: int = 0  #: runs that had something to do
    blobs: int = 0  #: entries handed to the store for removal
    bytes: int = 0  #: bytes the store released
    short: int = 0  #: runs that ended with the need not met


class PressurePurge:
    """Keeps the disk tier inside its budget: least recently used CLEAN blobs go first.

    Woken by ``wake`` (the space accounting calls it when high water is passed or a claim is refused) and by a look
    every ``period`` seconds, because other programs fill the file system too. One run at a time; the store repeats
    state and generation of every entry before it removes a blob, so a plan may be stale without harm.

    A run that cannot meet the need (everything left is dirty) raises an alarm and ends. It does not start again before
    the next periodic look, however often it is woken: there would be nothing to do but burn a core.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        store: Purgeable,
        pressure: Pressure,
        clock: Clock,
        alarms: Alarms,
        *,
        period: float = PERIOD,
        batch: int = BATCH,
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._pressure = pressure
        self._clock = clock
        self._alarms = alarms
        self._period = period
        self._batch = batch
        self._awake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stopping = False
        self._stalled = False
        self._wanted = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.counters = PurgeCounters()

    def __repr__(self) -> str:
        return f"<PressurePurge {self.counters.blobs} blobs in {self.counters.runs} runs{', stalled' * self._stalled}>"

    def start(self) -> None:
        """loop. Begin watching."""
        self._tasks = [self._spawn(self._watch(), "pressure-purge"), self._spawn(self._tick(), "pressure-purge-tick")]

    async def stop(self) -> None:
        """End after the batch that is under way: a purge is never cut in the middle."""
        self._stopping = True
        self._awake.set()
        if self._tasks:
            watch, tick = self._tasks
            tick.cancel()
            await asyncio.gather(watch, tick, return_exceptions=True)
        self._tasks = []

    def wake(self, wanted: int = 0) -> None:
        """loop. Look now. ``wanted``: bytes that were just refused for lack of room."""
        self._wanted = max(self._wanted, wanted)
        if not self._stalled:
            self._awake.set()

    async def relieve(self, wanted: int) -> None:
        """A write of ``wanted`` bytes was refused: purge now, so that it can be tried once more. Raises nothing of its
        own: what the caller hears in the end is that there is no room."""
        try:
            await self.run(wanted)
        except TierproxyError as error:
            event(log, logging.WARNING, "pressure purge failed", error=error)

    async def run(self, wanted: int = 0) -> Need | None:
        """Purge until the budget holds, with ``wanted`` bytes more, or nothing is left to purge. Returns what is still
        needed, None when it holds. Raises DiskError.

        One run at a time: those who wait find the need met by the one before. The need is taken once, at the start, and
        what the store releases is subtracted: statvfs lags behind unlink, and asking it again would purge twice.
        """
        async with self._turn:
            rest = need(self._pressure, max(wanted, self._take_wanted()))
            if rest is None:
                self._settled()
                return None
            self.counters.runs += 1
            return await self._purge(rest)

    async def _purge(self, required: Need) -> Need | None:
        rest: Need | None = required
        while rest is not None and not self._stopping:
            chosen = plan(rest, self._catalogue.victims(self._batch))
            released = await self._carry_out(chosen, rest.reason)
            if not released:
                self._stall(rest, exhausted=not chosen.choices)
                return rest
            rest = rest.less(released, len(chosen.choices))
        if rest is None:
            self._settled()
        return rest

    # ------------------------------------------------------------ one run

    async def _carry_out(self, chosen: Plan, reason: str) -> int:
        """Purge one batch; returns the bytes released."""
        if not chosen.choices:
            return 0
        released = await self._store.purge(chosen.entries, by="pressure")
        self.counters.blobs += len(chosen.choices)
        self.counters.bytes += released
        event(log, logging.INFO, "purged under pressure", reason=reason, blobs=len(chosen.choices), bytes=released)
        return released

    def _stall(self, rest: Need, *, exhausted: bool) -> None:
        """Nothing was released. ``exhausted``: there is nothing left to purge, which an operator must know; else the
        entries changed under the plan, and the next look plans anew."""
        self._stalled = True
        self.counters.short += 1
        if exhausted:
            self._alarms.set(ALARM, "disk", reason=rest.reason, bytes=rest.bytes, files=rest.files)

    def _settled(self) -> None:
        self._stalled = False
        self._alarms.clear(ALARM, "disk")

    def _take_wanted(self) -> int:
        wanted, self._wanted = self._wanted, 0
        return wanted

    # ------------------------------------------------------------ the tasks

    async def _watch(self) -> None:
        while not self._stopping:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self.run()
            except TierproxyError as error:  # the disk or the catalogue fails: reads go on, the next look tries again
                self._stalled = True
                event(log, logging.WARNING, "pressure purge failed", error=error)

    async def _tick(self) -> None:
        while True:
            self._awake.set()
            await self._clock.sleep(self._period)

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name=name)
