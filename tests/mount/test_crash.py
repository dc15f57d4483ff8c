"""The mount stops at every call of the node and at every change of its scratch directory, and starts anew.

For each story: the n-th request (before the node has it, and after it has done it but before anybody hears of it) and
the n-th file call, with what a killed process leaves and with what a power cut leaves, for every n until the story gets
through. Afterwards: what was acknowledged is there, what was deleted is not, no mail has two names or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.stage import SETTINGS, FakeKernel, Stage, stage
from tierproxy.mount.filesystem import Filesystem
from tierproxy.mount.scratch import Scratch
from tierproxy.offload import ThreadPool
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.crash import CrashFiles, SimulatedCrash
from tierproxy.testing.memory_node import MemoryBucket, MemoryNode

MAIL = b"From: somebody\n\n" + b"body\n" * 100
OLD = {"box/u.1": MAIL + b"1", "box/u.2": MAIL + b"2", "md/cur/1.host:2,": b"maildir mail", "other/f": b"old"}
State = dict[str, bytes]


@dataclass(frozen=True)
class Story:
    """``becomes``: what is there when ``act`` was acknowledged. ``between``: what may also be there when it was not,
    beside what was there before."""

    act: Callable[[Stage], Awaitable[object]]
    becomes: State
    between: tuple[State, ...] = ()


def changed(*gone: str, **_: bytes) -> State:
    return {key: body for key, body in OLD.items() if key not in gone}


async def deliver(s: Stage) -> None:
    await s.deliver("box", 3, MAIL)


async def copy(s: Stage) -> None:
    await s.link("box/u.1", "target/.temp.1")
    await s.rename("target/.temp.1", "target/u.7")


async def move(s: Stage) -> None:
    await copy(s)
    await s.unlink("box/u.1")


async def expunge(s: Stage) -> None:
    await s.unlink("box/u.1")


async def flag(s: Stage) -> None:
    await s.rename("md/cur/1.host:2,", "md/cur/1.host:2,S")


async def rename_mailbox(s: Stage) -> None:
    await s.rename("box", "renamed")


async def rewrite(s: Stage) -> None:
    opened = await s.open("other/f")
    try:
        await opened.pwrite(b"new", 0)
        await opened.fsync()
    except OSError:
        with suppress(OSError):
            await opened.close()
        raise
    await opened.close()


async def move_after_unlink(s: Stage) -> None:
    """Another order than Dovecot's."""
    await s.link("box/u.1", "target/.temp.1")
    await s.unlink("box/u.1")
    await s.rename("target/.temp.1", "target/u.7")


COPIED = OLD | {"target/u.7": OLD["box/u.1"]}
MOVED = changed("box/u.1") | {"target/u.7": OLD["box/u.1"]}
STORIES = {
    "a delivery": Story(deliver, OLD | {"box/u.3": MAIL}),
    "a copy": Story(copy, COPIED),
    "a move": Story(move, MOVED, (COPIED,)),
    "an expunge": Story(expunge, changed("box/u.1")),
    "a flag of a maildir": Story(flag, changed("md/cur/1.host:2,") | {"md/cur/1.host:2,S": b"maildir mail"}),
    "a mailbox renamed": Story(
        rename_mailbox,
        changed("box/u.1", "box/u.2") | {"renamed/u.1": OLD["box/u.1"], "renamed/u.2": OLD["box/u.2"]},
    ),
    "a rewrite": Story(rewrite, OLD | {"other/f": b"new"}),
    "a move in another order": Story(move_after_unlink, MOVED, (changed("box/u.1"),)),
}


def begun() -> MemoryBucket:
    bucket = MemoryBucket()
    for directory in ("box/", "target/", "md/", "md/cur/", "md/new/", "md/tmp/", "other/"):
        bucket.mark(directory)
    for key, body in OLD.items():
        bucket.keep(key, body)
    return bucket


async def run_until_it_stops(
    root: Path, node: MemoryNode, files: CrashFiles, story: Story, *, durable: bool = False
) -> bool:
    """Whether the story was acknowledged. The process is gone afterwards, whatever it had open with it."""
    threads = ThreadPool("scratch", 1)
    clock = VirtualClock()
    scratch = Scratch(root / "scratch", files, threads, durable=durable)
    fs = Filesystem(node, FakeKernel(), scratch, SETTINGS, clock, threads)
    running = None
    try:
        await fs.start()
        running = asyncio.create_task(fs.run())
        while not node.fresh:
            await asyncio.sleep(0)
        await story.act(Stage(fs, node, FakeKernel(), clock))
    except SimulatedCrash:
        return False
    else:
        return True
    finally:
        files.crashed = True
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        await fs._parts.flights.close()
        for one in fs._nodes:
            with suppress(SimulatedCrash):
                fs._parts.copies.drop(one)
        fs._parts.bodies.close()
        await threads.close()


async def everything(s: Stage, directory: str = "") -> State:
    """As a program sees it."""
    found: State = {}
    for name in await s.listdir(directory):
        path = f"{directory}/{name}".strip("/")
        if (await s.stat(path)).mode & 0o040000:
            found |= await everything(s, path)
        else:
            found[path] = await s.read(path)
    return found


async def check(root: Path, bucket: MemoryBucket, story: Story, acknowledged: bool) -> None:
    async with stage(root, MemoryNode(bucket)) as s:
        seen = await everything(s)
        assert list((root / "scratch" / "files").iterdir()) == []
        assert list((root / "scratch" / "intents").iterdir()) == []
    assert seen == bucket.bodies()
    if acknowledged:
        assert seen == story.becomes
    else:
        assert seen in (OLD, story.becomes, *story.between)


@pytest.mark.parametrize("after", [False, True], ids=["before the node has it", "when the node has done it"])
@pytest.mark.parametrize("name", STORIES)
async def test_a_stop_at_every_request(tmp_path: Path, name: str, after: bool) -> None:
    story, done, nth = STORIES[name], False, 0
    while not done:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        node = MemoryNode(begun())
        node.fail("", SimulatedCrash(), nth=nth, lasting=True, after=after)
        files = CrashFiles()
        done = await run_until_it_stops(root, node, files, story)
        files.power_cut(root, nth)
        await check(root, node.bucket, story, done)
    assert nth > 1


@pytest.mark.parametrize("durable", [False, True], ids=["scratch in memory", "scratch on disk"])
@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("name", STORIES)
async def test_a_stop_at_every_file_call(tmp_path: Path, name: str, power: bool, durable: bool) -> None:
    story, done, step = STORIES[name], False, 0
    while not done:
        step += 1
        root = tmp_path / str(step)
        root.mkdir()
        node, files = MemoryNode(begun()), CrashFiles(step, torn=True)
        done = await run_until_it_stops(root, node, files, story, durable=durable)
        if power and (root / "scratch").exists():
            files.power_cut(root, step, keep=0.5)
        await check(root, node.bucket, story, done)
    assert step > 1


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("after", [False, True], ids=["not done", "done, the answer lost"])
async def test_doubt_at_every_request_ends_in_one_of_the_two_states(tmp_path: Path, name: str, after: bool) -> None:
    """No crash: the program gets an error, and whoever looks next sees before or after, never both names."""
    story, nth = STORIES[name], 0
    failed = True
    while failed:
        nth += 1
        root = tmp_path / str(nth)
        root.mkdir()
        node = MemoryNode(begun())
        async with stage(root, node) as s:
            node.fail("", nth=nth, after=after)
            failed = False
            try:
                await story.act(s)
            except OSError:
                failed = True
            node.heal()
            seen = {path: body for path, body in (await everything(s)).items() if "/.temp." not in path}
            assert seen == node.bucket.bodies()
            assert seen in ((OLD, story.becomes, *story.between) if failed else (story.becomes,))


async def test_a_rename_that_is_not_finished_hides_both_names_until_it_is(tmp_path: Path) -> None:
    node = MemoryNode(begun())
    async with stage(tmp_path, node) as s:
        await everything(s)
        node.fail("delete", lasting=True)
        with pytest.raises(OSError):
            await flag(s)
        for call in (s.stat("md/cur/1.host:2,"), s.stat("md/cur/1.host:2,S"), s.listdir("md/cur")):
            with pytest.raises(OSError):
                await call
        assert await s.exists("box/u.1")
        node.heal()
        assert await s.listdir("md/cur") == ["1.host:2,S"]
        assert s.fs.counters.finished == 1


async def test_an_unfinished_rename_is_finished_by_itself(tmp_path: Path) -> None:
    node = MemoryNode(begun())
    async with stage(tmp_path, node) as s:
        node.fail("delete")
        with pytest.raises(OSError):
            await flag(s)
        await s.clock.advance(10)
        while list((tmp_path / "scratch" / "intents").iterdir()):
            await asyncio.sleep(0.001)
        assert "md/cur/1.host:2," not in node.bucket.bodies()
