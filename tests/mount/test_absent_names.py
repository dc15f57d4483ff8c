"""What the kernel may believe is not there, and when that is taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mount.stage import SETTINGS, Stage, stage
from tierproxy.fuse.operations import Absent
from tierproxy.mount.settings import MountSettings
from tierproxy.testing.memory_node import MemoryNode

BOX = "u1/box"


@asynccontextmanager
async def mailbox(root: Path, settings: MountSettings = SETTINGS) -> AsyncIterator[Stage]:
    """What was looked up is held by the kernel."""
    node = MemoryNode()
    for directory in ("u1/", f"{BOX}/", "u2/"):
        node.bucket.mark(directory)
    node.bucket.keep(f"{BOX}/u.1", b"one")
    async with stage(root, node, settings=settings) as s:
        s.hold = True
        await s.lookup(BOX)
        yield s
        await s.settled()


async def believed(s: Stage, path: str) -> float:
    """Seconds."""
    with pytest.raises(FileNotFoundError) as caught:
        await s.lookup(path)
    return caught.value.seconds if isinstance(caught.value, Absent) else 0.0


def taken_back(s: Stage) -> list[str]:
    names, s.kernel.names = [name for _, name in s.kernel.names], []
    return names


async def test_what_a_remembered_directory_lacks_is_believed_for_a_moment(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        assert await believed(s, "u1/dbox-alt-root") == SETTINGS.believe_absent
        assert taken_back(s) == []
        for name in ("u.2", ".temp.1", ".other", "dovecot.index"):
            assert await believed(s, f"{BOX}/{name}") == 0, "it is asked for again before it is made"


async def test_nothing_is_while_changes_are_not_heard_or_something_is_in_doubt(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.fail("put", after=True)
        s.node.fail("withdraw", lasting=True)
        with pytest.raises(OSError, match="Input/output"):
            await s.deliver(BOX, 2, b"two" * 30)
        assert await believed(s, "u1/nothing") == 0
        s.node.heal()
        assert not await s.exists(f"{BOX}/u.2"), "who asks has it taken back first"
        assert await believed(s, "u1/nothing") == SETTINGS.believe_absent
        s.node.lose_feed()
        assert await believed(s, "u1/nothing") == 0


@pytest.mark.parametrize("key", ["u1/x", "u1/x/deep/u.1"])
@pytest.mark.parametrize("remember", [1_000_000, 1])
async def test_it_is_taken_back_when_somebody_makes_it(tmp_path: Path, key: str, remember: int) -> None:
    """Also when the directory it is in is not remembered any more."""
    async with mailbox(tmp_path, replace(SETTINGS, remember=remember)) as s:
        assert await believed(s, "u1/x")
        await s.listdir("u2")
        s.node.bucket.keep(key, b"x")
        await s.settled()
        assert "x" in taken_back(s)
        assert await s.exists("u1/x")


async def test_it_is_taken_back_when_a_listing_shows_it_before_it_is_told(tmp_path: Path) -> None:
    async with mailbox(tmp_path, replace(SETTINGS, remember=1)) as s:
        assert await believed(s, "u1/x")
        await s.listdir("u2")
        s.node.bucket.listeners, listeners = [], s.node.bucket.listeners
        s.node.bucket.keep("u1/x", b"x")
        s.node.bucket.listeners = listeners
        assert await s.listdir("u1") == ["box", "x"]
        assert taken_back(s) == ["x"]


async def test_a_new_beginning_of_the_feed_takes_all_back(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        assert await believed(s, "u1/x")
        assert await believed(s, "top")
        s.node.lose_feed()
        s.node.find_feed()
        await s.settled()
        assert {"x", "top"} <= set(taken_back(s))
        s.node.bucket.keep("u1/x", b"x")
        await s.settled()
        assert taken_back(s).count("x") <= 1


async def test_only_so_many_of_a_directory_are(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        assert all([await believed(s, f"u1/n{number}") for number in range(64)])
        assert not await believed(s, "u1/one-more")
        await s.clock.advance(2 * SETTINGS.believe_absent + 1)
        assert await believed(s, "u1/one-more")
