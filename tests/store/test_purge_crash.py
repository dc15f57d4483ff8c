"""The machine stops at every write-side step of a purge, and the disk forgets what was not fsynced.

For a rule run and for a pressure run: the n-th file call, the n-th catalogue change (before it, and after it is durable
but before anybody hears of it), for every n until the run gets through. Afterwards a healthy node starts on what is
left, and: nothing that is only on disk is lost, everything can be read, rows, files and sums agree, the run is resumed
to its end, and the books count every blob that went once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.test_crash import StoppingCatalogue
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, HistorySection, MemorySection, PurgeSection, StubsSection
from tierproxy.config.values import Share, Size
from tierproxy.model import Ack, ByteRange, State
from tierproxy.purges import PRESSURE, PurgeRun, RunKind, RunState
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.crash import CrashFiles, SimulatedCrash
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.power_cuts import scrubbed
from tierproxy.testing.rig import Rig, abandon, rig, stopped_node
from tierproxy.wiring import Doors

MIB = 2**20
RULES = '[[rule]]\nname = "large"\nwhen = { size = ">= 1000" }\nthen = "purge"\n'
NO_RULES = '[pressure]\norder = "s3-fifo"\n'
MAIL, DIRTY, SMALL = b"m" * 300_000, b"d" * 200_000, b"small"
COUNT = 5


@dataclass(frozen=True)
class Story:
    """``act`` purges; ``rules`` is the rule file; ``budget`` while it purges."""

    rules: str
    act: Callable[[Rig], Awaitable[object]]
    budget: int
    by: str


async def rule_run(r: Rig) -> None:
    (run,) = r.parts.catalogue.runs(1)
    await r.parts.purges.runs.carry_out(run)


async def pressure(r: Rig) -> None:
    await r.parts.purge.run()


STORIES = {
    "a rule run": Story(RULES, rule_run, 100 * MIB, "rule:large"),
    "a pressure run": Story(NO_RULES, pressure, 3 * MIB // 2, PRESSURE),
}


def sections(root: Path, budget: int) -> dict[str, Any]:
    return {
        "purge": PurgeSection(rules=str(root.with_suffix(".toml")), max_objects_per_second=0),
        "disk": DiskSection(max_bytes=Size(budget), low_water=0.5, min_free=Share(bytes=0)),
        "history": HistorySection(enabled=False),
        "memory": MemorySection(max_bytes=Size(0)),
        "stubs": StubsSection(),
    }


async def before(root: Path, story: Story, alt: FaultyAlt, clock: VirtualClock) -> None:
    """Five mails that may go, a dirty one and a small one."""
    root.with_suffix(".toml").write_text(story.rules)
    async with rig(root, alt=alt, clock=clock, **sections(root, 100 * MIB)) as r:
        for number in range(COUNT):
            clock.jump_wall(1)
            await r.put(f"u.{number}", MAIL)
        await r.put("small", SMALL)
        alt.down()
        await r.put("dirty", DIRTY, ack=Ack.DISK)
        if story.by != PRESSURE:
            await r.parts.catalogue.add_run(PurgeRun(0, RunKind.RULES, RunState.ASKED, clock.now(), author="ann"))


@asynccontextmanager
async def machine(
    root: Path, story: Story, alt: FaultyAlt, clock: VirtualClock, files: CrashFiles, catalogues: list[FaultyCatalogue]
) -> AsyncIterator[Rig]:
    """A node on a machine that will stop."""

    def wrap(doors: Doors) -> Doors:
        catalogues.append(StoppingCatalogue(doors.catalogue, files))
        return replace(doors, catalogue=catalogues[0].port)

    node = stopped_node(root, alt, clock, files, wrap, **sections(root, story.budget))
    await node.start()
    try:
        yield Rig(node, alt, root)
    finally:
        await abandon(node)


async def tell(story: Story, root: Path, *, crash_at: int, where: str, cut: int | None) -> bool:
    """False: the run got through."""
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    await before(root, story, alt, clock)
    files, catalogues = CrashFiles(), list[FaultyCatalogue]()
    crashed = False
    async with machine(root, story, alt, clock, files, catalogues) as r:
        catalogue = catalogues[0]
        if where == "file":
            files.crash_at = files.steps + crash_at
        elif where == "before commit":
            catalogue.crash_before(catalogue.changes + crash_at)
        else:
            catalogue.crash_after(catalogue.changes + crash_at)
        try:
            await story.act(r)
            await r.idle()
        except SimulatedCrash:
            crashed = True
        crashed = crashed or files.crashed or catalogue.crashed
    if cut is not None:
        files.power_cut(root, cut)
    async with rig(root, alt=alt, clock=clock, **sections(root, story.budget)) as r:
        await judge(story, r, alt)
    return crashed


async def judge(story: Story, r: Rig, alt: FaultyAlt) -> None:
    await scrubbed(r)
    dirty = r.row("dirty")
    assert dirty is not None
    assert dirty.state is State.DIRTY, "alt was down all the time"
    assert await r.get("dirty") == DIRTY
    while r.parts.catalogue.runs(9, open_only=True):
        await asyncio.sleep(0)
    await r.parts.purge.run()
    await r.idle()
    await r.check()
    await check_books(story, r)
    alt.heal()
    await r.drained_now()
    for number in range(COUNT):
        assert await r.get(f"u.{number}", lambda _entry: ByteRange(10, 500)) == MAIL[10:500]
        assert await r.get(f"u.{number}") == MAIL
    assert (await r.get("small"), await r.get("dirty")) == (SMALL, DIRTY)
    await r.idle()
    await r.parts.purge.run()  # the reads have filled the disk again
    await r.idle()


async def check_books(story: Story, r: Rig) -> None:
    """Every blob that went is counted once, wherever it is counted."""
    rows = [row for number in range(COUNT) if (row := r.row(f"u.{number}")) is not None]
    gone = [row for row in rows if row.blob is None]
    assert {row.purged_by for row in gone} == {story.by}
    assert len(gone) == COUNT or story.by == PRESSURE
    runs = r.parts.catalogue.runs(9)
    (record,) = [record for record in await r.parts.catalogue.records(0) if record.by == story.by]
    assert record.objects == sum(run.objects for run in runs) == len(gone)
    assert record.bytes == sum(run.bytes for run in runs)
    for run in runs:
        assert sum(rule.objects for rule in r.parts.catalogue.run_rules(run.number)) == run.objects
    if story.by != PRESSURE:
        assert [(run.state, run.objects, run.planned_objects) for run in runs] == [(RunState.DONE, COUNT, COUNT)]


@pytest.mark.parametrize("cut", [None, 1], ids=["kill -9", "power cut"])
@pytest.mark.parametrize("where", ["file", "before commit", "after commit"])
@pytest.mark.parametrize("story", STORIES, ids=lambda title: title.replace(" ", "-"))
async def test_a_purge_can_be_stopped_anywhere_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: str, where: str, cut: int | None
) -> None:
    monkeypatch.setattr("tierproxy.purge.run.PAGE", 2)
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        assert crash_at < 60, "the purge never got through"
        crashed = await tell(STORIES[story], tmp_path / f"d{crash_at}", crash_at=crash_at, where=where, cut=cut)
    assert crash_at > 3, "the machine hardly stopped"
