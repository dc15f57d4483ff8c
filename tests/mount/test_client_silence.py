"""A node that is silent, or slow, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.mount.client_actions import CHANGES, ETAG, MAIL, NOT_DONE, OURS, READS, WHOLE
from tests.mount.client_world import client_of, send
from tests.mount.fake_node import FakeNode, fake_node, hangs
from tierproxy.mount.client import HttpNode, Limits
from tierproxy.mount.client_breaker import PATIENCE
from tierproxy.mount.ports import Doubt, Unsent
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.wire import until


async def waited(client: HttpNode, node: FakeNode, clock: VirtualClock, requests: int) -> None:
    """Until the node has heard the request and the client waits on the clock."""
    await until(lambda: len(node.heard) == requests and clock.sleeping)


@pytest.mark.parametrize("action", [*READS, "mark", "delete"])
async def test_a_node_that_is_silent_is_given_up_after_the_deadline(tmp_path: Path, action: str) -> None:
    clock = VirtualClock()
    async with (
        fake_node(tmp_path) as node,
        client_of(node.address, tmp_path / "s", clock=clock, limits=Limits(deadline=20)) as client,
    ):
        node.will(hangs)
        if action in CHANGES:
            node.will(NOT_DONE[action])
        task = asyncio.ensure_future((READS | CHANGES)[action](client))
        await waited(client, node, clock, 1)
        await clock.advance(19)
        assert not task.done()
        await clock.advance(4)
        with pytest.raises(Doubt):
            await task


async def test_a_put_that_was_too_slow_is_asked_after(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.will(hangs, OURS)
        task = asyncio.ensure_future(send(client, "a/u.1", MAIL, create=True))
        await waited(client, node, clock, 1)
        await clock.advance(23)
        assert (await task).etag == ETAG


async def test_a_node_that_is_silent_twice_does_not_hold_a_change_for_two_deadlines(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.will(hangs, hangs)
        task = asyncio.ensure_future(send(client, "a/u.1", MAIL, create=True))
        await waited(client, node, clock, 1)
        await clock.advance(23)
        await waited(client, node, clock, 2)
        await clock.advance(7)
        with pytest.raises(Doubt):
            await task


@pytest.mark.parametrize("action", [*READS, "put", "delete"])
async def test_a_silent_node_keeps_only_the_first_waiting(tmp_path: Path, action: str) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.silent = True
        node.will(hangs)
        first = asyncio.ensure_future((READS | CHANGES)[action](client))
        await waited(client, node, clock, 1)
        await clock.advance(24)
        with pytest.raises(Doubt):
            await first
        for _ in range(5):
            with pytest.raises(Unsent):
                await client.look("a/u.1")
            await clock.advance(60)
        assert len(node.heard) == 1
        node.silent = False
        node.drop()  # what waits there is answered no more
        await until(lambda: client._breaker.open and node.now == 0)
        await clock.advance(PATIENCE + 2)
        await until(lambda: not client._breaker.open)
        node.will(OURS)
        assert (await client.look("a/u.1")).etag == ETAG


async def test_one_slow_answer_stops_nobody_else(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.will(hangs)
        slow = asyncio.ensure_future(client.open("a/u.1"))
        await waited(client, node, clock, 1)
        node.silent = True  # it would not answer if it was asked
        await clock.advance(15)
        node.will(OURS)
        await client.look("a/u.2")
        await clock.advance(9)
        with pytest.raises(Doubt):
            await slow
        assert not client._breaker._tasks
        node.will(OURS)
        assert (await client.look("a/u.1")).etag == ETAG


async def test_a_node_that_answers_something_cheap_is_not_silent(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.will(hangs, OURS)
        slow = asyncio.ensure_future(client.open("a/u.1"))
        await waited(client, node, clock, 1)
        await clock.advance(22)
        with pytest.raises(Doubt):
            await slow
        assert (await client.look("a/u.1")).etag == ETAG


async def test_a_silent_node_that_is_gone_is_asked_by_everybody(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.silent = True
        node.will(hangs)
        first = asyncio.ensure_future(client.open("a/u.1"))
        await waited(client, node, clock, 1)
        await clock.advance(24)
        with pytest.raises(Doubt):
            await first
        assert client._breaker.open
        node.path.unlink()
        await clock.advance(PATIENCE + 2)
        await until(lambda: not client._breaker.open)
        with pytest.raises(Unsent, match="cannot connect"):
            await client.look("a/u.1")


async def test_bytes_now_and_then_are_waited_for(tmp_path: Path) -> None:
    clock = VirtualClock()
    go = asyncio.Semaphore(0)

    async def drips(writer: asyncio.StreamWriter) -> bool:
        for number in range(len(WHOLE)):
            if number % 20 == 0:
                await go.acquire()
            writer.write(WHOLE[number : number + 1])
        return True

    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.will(drips)
        task = asyncio.ensure_future(client.open("a/u.1"))
        await waited(client, node, clock, 1)
        for _ in range(len(WHOLE) // 20 + 1):
            await clock.advance(15)
            assert not task.done()
            (progress,) = client._patience._waiting
            go.release()
            await until(lambda progress=progress: progress.at == clock.monotonic())  # type: ignore[misc]
        assert (await task).head == MAIL


async def test_who_waits_for_a_connection_is_not_kept_for_ever(tmp_path: Path) -> None:
    clock, limits = VirtualClock(), Limits(deadline=20, connections=1)
    async with (
        fake_node(tmp_path) as node,
        client_of(node.address, tmp_path / "s", clock=clock, limits=limits) as client,
    ):
        node.will(hangs, hangs)
        tasks = [asyncio.ensure_future(client.look("a/u.1")) for _ in range(3)]
        await waited(client, node, clock, 2)
        await clock.advance(23)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one).__mro__[1] for one in found} == {Doubt}
        node.will(OURS)
        assert (await client.look("a/u.1")).etag == ETAG
