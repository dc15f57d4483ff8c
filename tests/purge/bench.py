"""A node with a rule file, virtual time, and the few verbs of these tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import PurgeSection
from tierproxy.config.values import Duration
from tierproxy.purge.run import PurgeRuns
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import Rig, name, rig
from tierproxy.traffic import DAY, Counts, ReadCount

LARGE_GO = """
[[rule]]
name = "drafts stay"
when = { key = "draft.*" }
then = "keep"

[[rule]]
name = "large"
when = { size = ">= 1000" }
then = "purge"

[schedule]
every = "1h"
"""

LARGE = b"m" * 1000


@asynccontextmanager
async def bench(
    root: Path, rules: str | None = LARGE_GO, *, clock: VirtualClock | None = None, alt: MemoryAlt | None = None,
    purge: PurgeSection | None = None, check: bool = True, **sections: object,
) -> AsyncIterator[Bench]:  # fmt: skip
    """``rules``: what the rule file says; None: it stays as it is."""
    file = root.with_suffix(".toml")
    if rules is not None:
        file.write_text(rules)
    time = clock or VirtualClock()
    options = purge or PurgeSection(max_objects_per_second=0)
    section = replace(options, rules=str(file), watch=Duration(60))
    async with rig(root, alt=alt, clock=time, purge=section, check=check, **sections) as r:  # type: ignore[arg-type]
        yield Bench(r, file, time)


class Bench:
    """``rig`` and what surrounds it."""

    def __init__(self, r: Rig, file: Path, clock: VirtualClock) -> None:
        self.rig = r
        self.file = file
        self.clock = clock

    @property
    def runs(self) -> PurgeRuns:
        return self.rig.parts.purges.runs

    async def mails(self, count: int, prefix: str = "u.", body: bytes = LARGE) -> None:
        for number in range(count):
            await self.rig.put(f"{prefix}{number}", body)

    async def read(self, *keys: str) -> None:
        """People read them just now."""
        now = self.clock.now()
        reads = tuple(ReadCount(name(key), int(now // DAY), 1, last_read_at=now) for key in keys)
        await self.rig.parts.catalogue.count(Counts(now, reads))

    async def ask(self, kind: RunKind = RunKind.RULES, **facts: object) -> PurgeRun:
        """As a command line beside the node does."""
        asked = PurgeRun(0, kind, RunState.ASKED, self.clock.now(), author="ann", **facts)  # type: ignore[arg-type]
        return await self.rig.parts.catalogue.add_run(asked)

    def run(self, number: int) -> PurgeRun:
        run = self.rig.parts.catalogue.run(number)
        assert run is not None
        return run

    def on_disk(self) -> list[str]:
        return sorted(row.name.key for row in self.rig.parts.catalogue.victims(1000))

    def alarms(self) -> list[tuple[str, str]]:
        return self.rig.parts.alarms.active()


async def until(true: Callable[[], bool]) -> None:
    """Real threads work meanwhile; virtual time stands still."""
    while not true():
        await asyncio.sleep(0)


async def passing(clock: VirtualClock, work: Awaitable[PurgeRun]) -> PurgeRun:
    """Let time pass until ``work`` is done."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await clock.advance(1)
        await asyncio.sleep(0)
    return await task
