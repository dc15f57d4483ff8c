"""Purges when the disk budget asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Catalogue, Clock, Purgeable
from tierproxy.purge.plan import Need, Pressure, need
from tierproxy.purge.relief import PAGE, Passed, Relief
from tierproxy.purges import RulesInForce, RunKind, RunState

BATCH = 500  #: entries per transaction: a run must not hold up the catalogue's other changes
PERIOD = 5.0  #: seconds between looks at the file system, which others fill as well
ALARM = "disk budget cannot be met"
KEPT_ALARM = "kept objects purged under pressure"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class PurgeCounters:
    """Since the start of the node."""

    runs: int = 0  #: runs that had something to do
    blobs: int = 0  #: entries handed to the store for removal
    bytes: int = 0  #: bytes the store released
    short: int = 0  #: runs that ended with the need not met


class PressurePurge:
    """Keeps the disk tier inside its budget and buckets inside theirs: first what a rule purges, then what no rule
    decides, in the order of ``[pressure]``, then what rules keep, if they allow it. CLEAN blobs only.

    Woken by ``wake`` (the space accounting calls it when high water is passed or a claim is refused) and by a look
    every ``period`` seconds, because other programs fill the file system too. One run at a time; the store repeats
    state and generation of every entry before it removes a blob, so a plan may be stale without harm. A rule run that
    goes on beside it shares ``turns`` with it, for one page at a time; nothing slows a pressure run.

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
        rules: Callable[[], RulesInForce] = RulesInForce,
        turns: asyncio.Lock | None = None,
        period: float = PERIOD,
        batch: int = BATCH,
        page: int = PAGE,
    ) -> None:
        self._catalogue = catalogue
        self._store = store
        self._pressure = pressure
        self._clock = clock
        self._alarms = alarms
        self._rules = rules
        self._turns = turns or asyncio.Lock()
        self._period = period
        self._batch = batch
        self._page = page
        self._passed = Passed()
        self._awake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stopping = False
        self._stalled: set[str] = set()  # "" for the disk, else a bucket
        self._told: set[str] = set()  # of these an alarm was raised
        self._wanted: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.counters = PurgeCounters()

    def __repr__(self) -> str:
        stalled = ", stalled" if self._stalled else ""
        return f"<PressurePurge {self.counters.blobs} blobs in {self.counters.runs} runs{stalled}>"

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

    def wake(self, wanted: int = 0, bucket: str = "") -> None:
        """loop. Look now. ``wanted``: bytes that were just refused for lack of room, in ``bucket`` or on the disk."""
        self._wanted[bucket] = max(self._wanted.get(bucket, 0), wanted)
        if bucket not in self._stalled:
            self._awake.set()

    @property
    def calm(self) -> bool:
        """No run is under way, and none is asked for."""
        return not self._turn.locked() and not (self._awake.is_set() and any(not task.done() for task in self._tasks))

    async def relieve(self, wanted: int, bucket: str = "") -> None:
        """A write of ``wanted`` bytes to ``bucket`` was refused: purge now, so that it can be tried once more. Raises
        nothing of its own: what the caller hears in the end is that there is no room."""
        try:
            await self.run(wanted, bucket)
        except TierproxyError as error:
            event(log, logging.WARNING, "pressure purge failed", error=error)

    async def run(self, wanted: int = 0, bucket: str = "") -> Need | None:
        """Purge until the budgets hold, with ``wanted`` bytes more in ``bucket``, or nothing is left to purge. Returns
        what is still needed, None when they hold. Raises DiskError.

        One run at a time: those who wait find the need met by the one before. The need is taken once, at the start, and
        what the store releases is subtracted: statvfs lags behind unlink, and asking it again would purge twice.
        """
        left = None
        async with self._turn:
            self._forget_places()
            for place in ("", *self._pressure.budgets):
                more = wanted if place in {"", bucket} else 0
                if place in self._stalled and not more:
                    continue
                left = await self._relieved(place, more) or left
        return left

    async def _relieved(self, place: str, wanted: int) -> Need | None:
        rest = need(self._pressure, max(wanted, self._wanted.pop(place, 0)), place)
        if rest is None:
            self._settled(place)
            return None
        self.counters.runs += 1
        return await self._purge(rest)

    async def _purge(self, required: Need) -> Need | None:
        relief = Relief(
            self._catalogue, self._store, self._clock, self._rules(), required, turns=self._turns, batch=self._batch,
            page=self._page, stopping=lambda: self._stopping, passed=self._passed,
        )  # fmt: skip
        try:
            rest = await relief.carry_out()
        finally:
            self.counters.blobs += relief.handed
            self.counters.bytes += relief.bytes
        self._tell_of_kept(relief)
        if rest is None:
            self._settled(required.bucket)
        elif not self._stopping:
            self._stall(rest, exhausted=not relief.skipped)
        return rest

    # ------------------------------------------------------------ what is told

    def _forget_places(self) -> None:
        """The rules took a bucket's budget away: nothing is short there any more."""
        for place in self._told - {"", *self._pressure.budgets}:
            self._settled(place)
            self._alarms.clear(KEPT_ALARM, _subject(place))
            self._told.discard(place)
            self._wanted.pop(place, None)

    def _tell_of_kept(self, relief: Relief) -> None:
        subject = _subject(relief.required.bucket)
        if relief.kept:
            self._told.add(relief.required.bucket)
            self._alarms.set(KEPT_ALARM, subject, rules=", ".join(sorted(relief.kept)), reason=relief.required.reason)
        elif relief.bytes:
            self._alarms.clear(KEPT_ALARM, subject)

    def _stall(self, rest: Need, *, exhausted: bool) -> None:
        """The need is not met. ``exhausted``: there is nothing left to purge, which an operator must know; else the
        entries changed under the plan or are being read, and the next look plans anew."""
        self._stalled.add(rest.bucket)
        self.counters.short += 1
        if exhausted:
            self._told.add(rest.bucket)
            self._alarms.set(ALARM, _subject(rest.bucket), reason=rest.reason, bytes=rest.bytes, files=rest.files)

    def _settled(self, place: str) -> None:
        self._stalled.discard(place)
        self._alarms.clear(ALARM, _subject(place))

    # ------------------------------------------------------------ the tasks

    async def _watch(self) -> None:
        while not self._stopping:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self.run()
            except TierproxyError as error:  # the disk or the catalogue fails: reads go on, the next look tries again
                self._stalled.add("")
                event(log, logging.WARNING, "pressure purge failed", error=error)
            except Exception as error:  # noqa: BLE001 -- a defect; but a disk nobody empties would refuse all mail
                self._stalled.add("")
                event(log, logging.CRITICAL, "pressure purge broke", error=error)

    async def _tick(self) -> None:
        while True:
            self._stalled.clear()
            self._awake.set()
            await self._clock.sleep(self._period)

    async def close_old(self) -> None:
        """Before ``start``: runs that an earlier process did not end have ended with it. Raises DiskError."""
        async with self._turn:
            for run in self._catalogue.runs(1000, open_only=True):
                if run.kind is RunKind.PRESSURE:
                    ended = replace(
                        run,
                        state=RunState.CANCELLED,
                        ended_at=self._clock.now(),
                        note="the node stopped before its end",
                    )
                    await self._catalogue.save_run(ended, expected=run.state)

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name=name)


def _subject(bucket: str) -> str:
    return f"bucket {bucket}" if bucket else "disk"
