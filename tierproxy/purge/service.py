"""Everything of purging that a node runs, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from tierproxy.config.sections import Config, DiskSection
from tierproxy.ports import Alarms, Catalogue, Clock, Offload, Purgeable
from tierproxy.purge.live import LiveRules
from tierproxy.purge.plan import Pressure
from tierproxy.purge.pressure import PressurePurge
from tierproxy.purge.regret import RegretWatch
from tierproxy.purge.run import PurgeRuns
from tierproxy.purge.schedule import PurgeSchedule
from tierproxy.purge.shadow import ShadowPurge
from tierproxy.rules.model import BucketBudget

Work = tuple[Callable[[], Awaitable[None]], str]


class Budget(Pressure, Protocol):
    """``tierproxy.store.space.Space``, as far as purging looks at it and changes it."""

    def reload(self, settings: DiskSection, buckets: Sequence[BucketBudget] = ()) -> None: ...


class PurgeService:
    """The rules in force and all that works by them. ``prepare``, then ``start`` and the ``works``; ``stop``."""

    def __init__(
        self, *, catalogue: Catalogue, store: Purgeable, space: Budget, clock: Clock, alarms: Alarms, threads: Offload,
        config: Config,
    ) -> None:  # fmt: skip
        """``threads`` reads rule files; it stays the caller's."""
        self._disk = config.disk
        turns = asyncio.Lock()
        self.live = live = LiveRules(
            catalogue=catalogue, space=space, clock=clock, alarms=alarms, threads=threads,
            settings=config.purge, disk=config.disk, keep_days=config.counting.keep_days,
        )  # fmt: skip
        self.pressure = PressurePurge(catalogue, store, space, clock, alarms, rules=live.current, turns=turns)
        self.runs = PurgeRuns(
            catalogue=catalogue, store=store, clock=clock, alarms=alarms, settings=config.purge, rules=live.current,
            parse=live.parse, turns=turns,
        )  # fmt: skip
        self.schedule = PurgeSchedule(self.runs, catalogue, clock, live.current, config.purge)
        self.regret = RegretWatch(catalogue, clock, alarms, live.current)
        self.shadow = ShadowPurge(catalogue, clock, lambda: live.shadow, lambda: self._disk)
        self.runs.on_end = self.regret.check

    def __repr__(self) -> str:
        return f"<PurgeService {self.live!r} {self.pressure!r} {self.runs!r}>"

    async def prepare(self) -> None:
        """Before the first request: rules and budget in force, records of an earlier process closed. DiskError."""
        await self.live.start()
        await self.pressure.close_old()

    def start(self) -> None:
        """loop. Watch the disk budget."""
        self.pressure.start()

    def works(self) -> list[Work]:
        """What runs beside, each until it is cancelled, and its name."""
        return [
            (self.live.run, "rule-files"),
            (self.schedule.run, "purge-schedule"),
            (self.regret.run, "regret-watch"),
            (self.shadow.run, "shadow-purge"),
        ]

    async def stop(self) -> None:
        """After the works were cancelled. A page under way is finished; a run goes on after the next start."""
        self.runs.stop()
        await self.pressure.stop()

    def reload(self, config: Config) -> None:
        """loop. A new configuration; the rule files are looked at again."""
        self._disk = config.disk
        self.live.reload(config.purge, config.disk)
        self.schedule.reload(config.purge)
