"""Reads of bodies from the node's files are told to the node: by whom, how often, and what becomes of them while it is
away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
import xxhash

from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.mount import reports as module
from tierproxy.mount.counters import Counters
from tierproxy.mount.nearby import Beside, NodesFiles
from tierproxy.mount.ports import NOBODY, File, NotAllowed, Read, Who
from tierproxy.mount.reports import PERIOD, ReadReports
from tierproxy.offload import ThreadPool
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_near import MemoryNear
from tierproxy.testing.memory_node import MemoryNode

BODY = b"a mail"
LMTP = Who("index", "lmtp")


def entry(key: str, body: bytes = BODY) -> Entry:
    row = Entry(ObjectName("mail", f"p/{key}"), 1, State.CLEAN, len(body), "etag", 0.0, headers=Headers())
    return replace(row, blob="0" * 32, xxh3=xxhash.xxh3_128_digest(body), owner="ann", folder="inbox")


def file(key: str, etag: str = "etag") -> File:
    return File(key, len(BODY), etag, 0.0, 0.0)


class World:
    def __init__(self, clock: VirtualClock, threads: ThreadPool) -> None:
        self.clock = clock
        self.node = MemoryNode()
        self.near = MemoryNear()
        self.counters = Counters()
        self.reports = ReadReports(self.node, clock, self.counters)
        self.files = NodesFiles(Beside(self.near, "mail", "p/"), threads, self.reports)

    async def read(self, key: str, who: Who = NOBODY) -> bytes | None:
        body = await self.files.body(key, file(key), who)
        return None if body is None else body.head


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    threads, clock = ThreadPool("test", 1), VirtualClock()
    found = World(clock, threads)
    running = asyncio.create_task(found.reports.run())
    try:
        yield found
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await threads.close()


async def told(here: World) -> None:
    """A period goes by."""
    await asyncio.sleep(0)
    await here.clock.advance(PERIOD)


async def test_a_second_open_costs_no_look_at_the_catalogue() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        assert [await here.read("u.1") for _ in range(3)] == [BODY] * 3
        assert here.near.counts["found"] == 1


async def test_what_has_changed_is_looked_up_again_and_another_content_is_the_nodes_to_give() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        await here.read("u.1")
        here.near.put(replace(entry("u.1", b"newer!"), etag="another", blob="1" * 32), b"newer!")
        assert await here.read("u.1") is None
        here.near.drop(entry("u.1").name)
        assert await here.read("u.1") is None


async def test_a_change_while_the_body_is_read_sends_to_the_node() -> None:
    class Slow(MemoryNear):
        def read(self, standing: object) -> bytes | None:
            body = super().read(standing)  # type: ignore[arg-type]
            self.drop(entry("u.1").name)
            return body

    async with world() as here:
        slow = Slow()
        here.files = NodesFiles(Beside(slow, "mail", "p/"), ThreadPool("unused", 1), here.reports)
        slow.put(entry("u.1"), BODY)
        assert await here.read("u.1") is None
        assert len(here.reports) == 0


async def test_what_is_not_in_the_kernels_memory_is_loaded_in_a_thread() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        here.near.cold.add(entry("u.1").name)
        assert await here.read("u.1") == BODY
        assert here.near.counts["loaded"] == 1


async def test_reads_of_one_object_for_one_reason_are_one_line() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        for _ in range(3):
            await here.read("u.1")
        await here.read("u.1", LMTP)
        await told(here)
        at = here.node.reads[0].at
        assert here.node.reads == [
            Read("u.1", 6, "", 3, 18, at, "ann", "inbox"), Read("u.1", 6, "index", 1, 6, at, "ann", "inbox")
        ]  # fmt: skip
        assert here.counters.reported == 4


async def test_nothing_is_sent_where_nothing_was_read() -> None:
    async with world() as here:
        await told(here)
        await told(here)
        assert here.node.calls == []


async def test_while_the_node_is_away_reads_wait() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        here.node.down = True
        await here.read("u.1")
        await told(here)
        assert here.node.reads == []
        await here.read("u.1")
        here.node.down = False
        await told(here)
        assert [(read.key, read.times, read.sent) for read in here.node.reads] == [("u.1", 2, 12)]
        assert (here.counters.reported, here.counters.unreported) == (2, 0)


async def test_what_does_not_fit_is_counted_as_lost_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    async with world() as here:
        here.node.down = True
        for number in range(5):
            here.near.put(entry(f"u.{number}"), BODY)
            await here.read(f"u.{number}")
        await told(here)
        assert (len(here.reports), here.counters.unreported) == (3, 2)
        here.node.down = False
        await told(here)
        assert [read.key for read in here.node.reads] == ["u.2", "u.3", "u.4"]


async def test_what_the_node_refuses_is_not_sent_for_ever() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        here.node.fail("report", NotAllowed("no"))
        await here.read("u.1")
        await told(here)
        assert (len(here.reports), here.counters.unreported) == (0, 1)


async def test_the_last_are_told_at_the_end_and_given_up_if_nobody_listens() -> None:
    async with world() as here:
        here.near.put(entry("u.1"), BODY)
        await here.read("u.1")
        await here.reports.close()
        assert [read.times for read in here.node.reads] == [1]
        here.node.down = True
        await here.read("u.1")
        await here.reports.close()
        assert here.counters.unreported == 1
