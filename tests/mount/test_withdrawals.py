"""A mail whose delivery or copy was given up does not appear later, beside the one its sender came again with; and no
acknowledged mail is taken away with it."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.mount.stage import Stage, stage
from tests.mount.test_crash import Story, run_until_it_stops
from tierproxy.disk.fsio import Files
from tierproxy.mount.ports import Unsent
from tierproxy.testing.crash import CrashFiles
from tierproxy.testing.memory_node import Late, MemoryBucket, MemoryNode

BOX = "box"
NAME = f"{BOX}/u.2"
MAIL = b"From: a\n\nmail\n" * 100


def begun() -> MemoryBucket:
    bucket = MemoryBucket()
    for directory in ("box/", "other/"):
        bucket.mark(directory)
    bucket.keep("box/u.1", b"first")
    return bucket


@asynccontextmanager
async def mailbox(root: Path, bucket: MemoryBucket | None = None, files: Files | None = None) -> AsyncIterator[Stage]:
    async with stage(root, MemoryNode(bucket or begun()), files=files) as s:
        assert await s.exists("box/u.1")
        yield s


async def given_up(s: Stage, body: bytes = MAIL, kind: str = "put") -> Late:
    """A delivery, or a copy, of which the node has not been heard again."""
    late = s.node.late(kind)
    if kind == "copy":
        await s.link("box/u.1", "box/.temp.7")
    with pytest.raises(OSError) as caught:
        await (s.deliver(BOX, 2, body) if kind == "put" else s.rename("box/.temp.7", NAME))
    assert caught.value.errno == errno.EIO
    for name in await scratch(s):
        await s.unlink(name)
    return late


async def scratch(s: Stage) -> list[str]:
    async with s.at(BOX) as node:
        return [f"{BOX}/{name}" for name, child in s.fs._nodes.get(node).children.items() if child.local]


def intents(root: Path) -> list[Path]:
    return list((root / "scratch" / "intents").iterdir())


@pytest.mark.parametrize("kind", ["put", "copy"])
@pytest.mark.parametrize("lands", ["before", "after"])
async def test_it_does_not_appear_whenever_the_node_does_it(tmp_path: Path, kind: str, lands: str) -> None:
    async with mailbox(tmp_path) as s:
        late = await given_up(s, kind=kind)
        if lands == "before":
            assert late.land()
            await s.settled()
        assert not await s.exists(NAME)
        assert await s.listdir(BOX) == ["u.1"]
        if lands == "after":
            assert not late.land()
        assert set(s.node.bucket.objects) == {"box/u.1"}
        assert not intents(tmp_path)
        await s.deliver(BOX, 2, b"another")
        assert await s.read(NAME) == b"another"
        assert s.fs.counters.withdrawn == 1


async def test_the_same_mail_delivered_again_stays(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        late = await given_up(s)
        late.land()
        s.node.fail("withdraw", after=True)  # done, and nobody was told
        with pytest.raises(OSError):
            await s.deliver(BOX, 2, MAIL)
        for name in await scratch(s):
            await s.unlink(name)
        await s.deliver(BOX, 2, MAIL)
        await s.clock.advance(30)
        assert await s.read(NAME) == MAIL
        assert s.node.calls.count(f"withdraw {NAME}") == 2


async def test_until_it_is_settled_its_name_is_in_doubt_and_no_other(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        (await given_up(s)).land()
        await s.settled()
        s.node.fail("withdraw", lasting=True)
        await s.write("box/.temp.9", b"x")
        for call in (
            s.stat(NAME), s.rename("box/.temp.9", NAME), s.unlink(NAME), s.read(NAME), s.rename("box", "elsewhere")
        ):  # fmt: skip
            with pytest.raises(OSError) as caught:
                await call
            assert caught.value.errno == errno.EIO
        assert await s.read("box/u.1") == b"first"
        assert await s.listdir(BOX) == [".temp.9", "u.1"]
        await s.deliver(BOX, 3, MAIL)
        s.node.heal()
        assert not await s.exists(NAME)


async def test_it_is_taken_back_without_anybody_asking(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        (await given_up(s)).land()
        await s.clock.advance(10)
        while intents(tmp_path):
            await s.clock.advance(1)
        assert set(s.node.bucket.objects) == {"box/u.1"}


async def test_the_next_mount_takes_it_back_before_it_serves_anything(tmp_path: Path) -> None:
    bucket = begun()
    async with mailbox(tmp_path, bucket) as s:
        late = await given_up(s)
        s.node.down = True
    late.land()
    bucket.withdrawn.clear()
    async with stage(tmp_path, MemoryNode(bucket)) as s:
        assert set(bucket.objects) == {"box/u.1"}
        assert not intents(tmp_path)
        assert not await s.exists(NAME)


async def test_what_another_server_has_stored_there_stays(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await given_up(s)
        s.node.bucket.keep(NAME, b"of another server")
        await s.settled()
        assert await s.read(NAME) == b"of another server"
        assert not intents(tmp_path)


async def test_what_was_never_sent_need_not_be_taken_back(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.fail("put", Unsent())
        with pytest.raises(OSError):
            await s.deliver(BOX, 2, MAIL)
        assert not intents(tmp_path)
        assert not await s.exists(NAME)


async def test_it_is_taken_back_even_if_it_cannot_be_written_down(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        directory = tmp_path / "scratch" / "intents"
        directory.rmdir()
        (await given_up(s)).land()
        await s.settled()
        directory.mkdir()
        assert not await s.exists(NAME)
        assert set(s.node.bucket.objects) == {"box/u.1"}


async def test_a_mail_that_is_rewritten_in_place_is_not_taken_away(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        opened = await s.open("box/u.1")
        await opened.pwrite(b"F", 0)
        s.node.fail("put", after=True)
        with pytest.raises(OSError):
            await opened.fsync()
        with suppress(OSError):
            await opened.close()
        assert await s.exists("box/u.1")
        assert not [call for call in s.node.calls if call.startswith("withdraw")]


async def delivered_twice(s: Stage) -> None:
    """Given up, and then acknowledged with the same content."""
    (await given_up(s)).land()
    await s.deliver(BOX, 2, MAIL)


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
async def test_a_stop_at_every_file_call_loses_no_acknowledged_mail(tmp_path: Path, power: bool) -> None:
    story, done, step = Story(delivered_twice, {}), False, 0
    while not done:
        step += 1
        root = tmp_path / str(step)
        os.mkdir(root)
        node, files = MemoryNode(begun()), CrashFiles(step, torn=True)
        done = await run_until_it_stops(root, node, files, story)
        if power and (root / "scratch").exists():
            files.power_cut(root, step, keep=0.5)
        node.bucket.withdrawn.clear()  # the node was started anew as well
        async with stage(root, MemoryNode(node.bucket)) as s:
            there = await s.exists(NAME)
        assert there or not done
    if power:
        await _never_comes_back(tmp_path / "again")


async def _never_comes_back(root: Path) -> None:
    """Whatever of it was not fsynced."""
    for seed in range(20):
        at = root / str(seed)
        at.mkdir(parents=True)
        node, files = MemoryNode(begun()), CrashFiles()
        assert await run_until_it_stops(at, node, files, Story(delivered_twice, {}))
        files.power_cut(at, seed, keep=0.5)
        node.bucket.withdrawn.clear()
        async with stage(at, MemoryNode(node.bucket)) as s:
            assert await s.read(NAME) == MAIL
