"""The machine stops at every write-side step of every way through the house, and the disk forgets what was not fsynced.

For each story: the n-th file call, the n-th catalogue change (before it, and after it is durable but before anybody
hears of it), for every n until the story gets through. Afterwards a healthy node starts on what is left, and: what was
acknowledged is there, what was not is the old or the new content and never a mixture, disk and alt agree, no rows
without files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.errors import AltUnavailable, NoSuchKey
from tierproxy.model import Ack
from tierproxy.node import Node
from tierproxy.ports import Catalogue
from tierproxy.store.body import Md5Check
from tierproxy.testing.crash import CrashFiles, SimulatedCrash
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.power_cuts import scrubbed
from tierproxy.testing.rig import Rig, abandon, name, pieces, rig, stopped_node
from tierproxy.wiring import Doors

OLD, NEW = b"old mail", b"the new mail" * 10
LARGE = b"large" * 500_000
Step = Callable[[Rig], Awaitable[object]]


@dataclass(frozen=True)
class Story:
    """``act`` turns the content of ``key`` from ``was`` into ``becomes`` (None: not there)."""

    act: Step
    was: bytes | None
    becomes: bytes | None
    before: Step | None = None
    key: str = "u.1"


class StoppingCatalogue(FaultyCatalogue):
    """Stops together with the machine's disk."""

    def __init__(self, inner: Catalogue, files: CrashFiles) -> None:
        super().__init__(inner)
        self._files = files

    async def _change(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._files.crashed:
            raise SimulatedCrash("the machine is off")
        try:
            return await super()._change(name, method, *args, **kwargs)
        except SimulatedCrash:
            self._files.crashed = True
            raise


async def _nothing(_r: Rig) -> None:
    """An empty prologue."""


def put(body: bytes, ack: Ack) -> Step:
    return lambda r: r.put("u.1", body, ack=ack)


async def then_purged(r: Rig) -> None:
    await r.put("u.1", OLD)
    await r.purge()


async def fill(r: Rig) -> None:
    assert await r.get("u.1") == OLD
    await r.idle()


async def upload(r: Rig) -> None:
    await r.put("u.1", OLD, ack=Ack.DISK)
    await r.drained()


async def multipart(r: Rig) -> None:
    parts = r.parts.store.multipart
    up = await parts.create(name("u.1"), (await r.parts.store.head(name("old"))).headers, None, None, None)  # type: ignore[arg-type]
    part = await parts.put_part(up, 1, len(LARGE), pieces(LARGE, 2**20), Md5Check())
    await parts.complete(up, [(1, part.etag)])


STORIES = {
    "a new mail, ack both": Story(put(NEW, Ack.BOTH), None, NEW),
    "a new mail, ack disk": Story(put(NEW, Ack.DISK), None, NEW),
    "a new mail, ack alt": Story(put(NEW, Ack.ALT), None, NEW),
    "a large mail, ack both": Story(put(LARGE, Ack.BOTH), None, LARGE),
    "an overwrite, ack both": Story(put(NEW, Ack.BOTH), OLD, NEW, put(OLD, Ack.BOTH)),
    "an overwrite, ack disk": Story(put(NEW, Ack.DISK), OLD, NEW, put(OLD, Ack.BOTH)),
    "an overwrite, ack alt": Story(put(NEW, Ack.ALT), OLD, NEW, put(OLD, Ack.BOTH)),
    "an overwrite of a purged mail": Story(put(NEW, Ack.BOTH), OLD, NEW, then_purged),
    "an upload": Story(upload, None, OLD),
    "a fill": Story(fill, OLD, OLD, then_purged),
    "a purge": Story(lambda r: r.purge(), OLD, OLD, put(OLD, Ack.BOTH)),
    "a delete": Story(lambda r: r.delete("u.1"), OLD, None, put(OLD, Ack.BOTH)),
    "a delete of a purged mail": Story(lambda r: r.delete("u.1"), OLD, None, then_purged),
    "a copy": Story(lambda r: r.parts.store.copy(name("old"), name("u.1")), None, OLD),
    "a multipart upload": Story(multipart, None, LARGE),
}


@asynccontextmanager
async def machine(
    root: Path, alt: MemoryAlt, files: CrashFiles, catalogue: list[FaultyCatalogue]
) -> AsyncIterator[Rig]:
    """A node on a machine that will stop."""

    def wrap(doors: Doors) -> Doors:
        catalogue.append(StoppingCatalogue(doors.catalogue, files))
        return replace(doors, catalogue=catalogue[0].port)

    node: Node = stopped_node(root, alt, SystemClock(), files, wrap)
    await node.start()
    try:
        yield Rig(node, alt, root)
    finally:
        await abandon(node)


async def tell(story: Story, root: Path, *, crash_at: int, where: str, cut: int | None) -> bool:
    """Run ``story`` on a machine that stops at the ``crash_at``-th step of kind ``where``; then judge. False: it got
    through."""
    alt = MemoryAlt()
    async with rig(root, alt=alt) as r:
        await r.put("old", OLD)
        await (story.before or _nothing)(r)
    files, catalogues = CrashFiles(), list[FaultyCatalogue]()
    crashed = acknowledged = False
    async with machine(root, alt, files, catalogues) as r:
        catalogue = catalogues[0]
        if where == "file":
            files.crash_at = files.steps + crash_at
        elif where == "before commit":
            catalogue.crash_before(catalogue.changes + crash_at)
        else:
            catalogue.crash_after(catalogue.changes + crash_at)
        try:
            await story.act(r)
            acknowledged = True
            await r.idle()
        except SimulatedCrash:
            crashed = True
        except AltUnavailable:  # what a reader hears of a flight that a machine stopped in the background takes along
            assert files.crashed or catalogue.crashed
        crashed = crashed or files.crashed or catalogue.crashed
    if cut is not None:
        files.power_cut(root, cut)
    async with rig(root, alt=alt) as r:
        await judge(story, r, acknowledged)
    return crashed


async def judge(story: Story, r: Rig, acknowledged: bool) -> None:
    await scrubbed(r)
    await r.drained()
    allowed = {story.becomes} if acknowledged else {story.was, story.becomes}
    first = await content(r, story.key)
    assert first in allowed, f"{first!r:.40} after {'an acknowledgement' if acknowledged else 'a crash'}"
    r.parts.hot.clear()
    await r.idle()
    await r.purge()
    assert await content(r, story.key) == first, "disk and alt disagree"
    await r.put(story.key, b"life goes on")
    assert await content(r, story.key) == b"life goes on"


async def content(r: Rig, key: str) -> bytes | None:
    try:
        return await r.get(key)
    except NoSuchKey:
        return None


@pytest.mark.parametrize("cut", [None, 1, 2], ids=["kill -9", "power cut 1", "power cut 2"])
@pytest.mark.parametrize("where", ["file", "before commit", "after commit"])
@pytest.mark.parametrize("story", STORIES, ids=lambda title: title.replace(" ", "-"))
async def test_nothing_acknowledged_is_lost_wherever_the_machine_stops(
    tmp_path: Path, story: str, where: str, cut: int | None
) -> None:
    crash_at = 0
    crashed = True
    while crashed:
        crash_at += 1
        assert crash_at < 100, "the story never got through"
        crashed = await tell(STORIES[story], tmp_path / str(crash_at), crash_at=crash_at, where=where, cut=cut)
    touches_files = story not in {"a new mail, ack alt"}
    assert crash_at > 1 or not touches_files or where == "file", "the machine never stopped"


@pytest.mark.parametrize("cut", [None, 1], ids=["kill -9", "power cut"])
async def test_a_crash_in_the_middle_of_the_recovery_from_a_crash_loses_nothing(
    tmp_path: Path, cut: int | None
) -> None:
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        assert crash_at < 100, "the node never got through its start"
        crashed = await recover(tmp_path / str(crash_at), crash_at, cut)
    assert crash_at > 3, "the machine hardly stopped"


async def recover(root: Path, crash_at: int, cut: int | None) -> bool:
    """Start on the leftovers of a crash, on a machine that stops at its ``crash_at``-th file call; then judge."""
    alt = FaultyAlt(MemoryAlt())
    async with rig(root, alt=alt) as r:
        await r.put("clean", OLD)
        await r.put("gone", OLD)
        alt.down()
        await r.put("dirty", NEW, ack=Ack.DISK)
        await r.delete("gone")
    for number in range(3):
        (root / "staging" / f"{number:032x}").write_bytes(b"half a mail")
        (root / "parts" / f"{number:032x}").write_bytes(b"a part nobody knows")
    files = CrashFiles(crash_at)
    node = stopped_node(root, alt, SystemClock(), files)
    with suppress(SimulatedCrash):
        await node.start()
        await node.parts.queue.stop(1)
    with suppress(BaseException):  # a node that did not get as far as its parts has closed what it had opened
        await abandon(node)
    crashed = files.crashed
    if cut is not None:
        files.power_cut(root, cut)
    alt.heal()
    async with rig(root, alt=alt) as r:
        await r.parts.catalogue.hurry(None, r.parts.clock.now())  # not after the backoff
        await r.drained()
        assert (await content(r, "clean"), await content(r, "dirty"), await content(r, "gone")) == (OLD, NEW, None)
        await r.purge()
        r.parts.hot.clear()
        assert await content(r, "dirty") == NEW
    return crashed
