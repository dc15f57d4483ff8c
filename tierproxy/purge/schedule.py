"""When purge runs happen: rule runs by the schedule of the rules, others when somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tierproxy.config.sections import PurgeSection
from tierproxy.ports import Catalogue, Clock
from tierproxy.purge.run import SCHEDULE, PurgeRuns
from tierproxy.purges import RulesInForce
from tierproxy.rules.spans import within

PRUNE_PERIOD = 3600.0


class PurgeSchedule:
    """``run`` for the life of the node: every ``[purge] watch`` it looks for runs that were asked for, confirmed or cut
    off, and every ``[schedule] every`` inside its windows the rules have their turn. The first turn is ``every`` after
    the start, or at once if the last one is longer ago than that."""

    def __init__(
        self, runs: PurgeRuns, catalogue: Catalogue, clock: Clock, rules: Callable[[], RulesInForce],
        settings: PurgeSection,
    ) -> None:  # fmt: skip
        self._runs = runs
        self._catalogue = catalogue
        self._clock = clock
        self._rules = rules
        self._settings = settings
        self._last = 0.0  # monotonic, of the rules' last turn
        self._pruned = float("-inf")
        self._awake = asyncio.Event()

    def reload(self, settings: PurgeSection) -> None:
        """loop."""
        self._settings = settings
        self._runs.reload(settings)

    async def run(self) -> None:
        """Until cancelled. Raises DiskError, after which it may be called again."""
        self._last = self._last or self._begun()
        while True:
            self._awake.clear()
            await self.look()
            await woken(self._awake, self._clock, self._settings.watch)

    def hurry(self) -> None:
        """loop. Somebody in this process has asked for a run, or confirmed one: look now."""
        self._awake.set()

    async def look(self) -> None:
        """What there is to do now."""
        await self._runs.work()
        if self._due():
            self._last = self._clock.monotonic()
            await self._runs.scheduled()
        await self._prune()

    def _begun(self) -> float:
        """When the rules had their last turn, by the monotonic clock: a run, or, if none of the last had anything to
        do, since when these rules are in force; now, if nobody knows. So a node that is started every day comes to a
        turn every week."""
        runs = (run.at for run in self._catalogue.runs(1000) if run.author == SCHEDULE)
        version = self._catalogue.version(self._rules().number)
        last = next(runs, None) or (version.live_at if version is not None else None)
        ago = 0.0 if last is None else max(0.0, self._clock.now() - last)
        return self._clock.monotonic() - ago

    def _due(self) -> bool:
        schedule = self._rules().rules.schedule
        if self._clock.monotonic() - self._last < schedule.every:
            return False
        return not schedule.spans or within(schedule.spans, schedule.timezone, self._clock.now())

    async def _prune(self) -> None:
        """Records of runs older than ``keep_runs`` go."""
        if self._clock.monotonic() - self._pruned < PRUNE_PERIOD:
            return
        self._pruned = self._clock.monotonic()
        await self._catalogue.prune_runs(self._clock.now() - self._settings.keep_runs)


async def woken(awake: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Until ``awake``, which is set after ``seconds`` at the latest."""
    timer = clock.call_later(seconds, awake.set)
    try:
        await awake.wait()
    finally:
        timer.cancel()
