"""More connections than there may be, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.server.side_by_side import MAIL, side_by_side
from tests.server.worked import worked
from tierproxy.server import ObjectServer
from tierproxy.server.capacity import BLIND
from tierproxy.server.connection import MOST_PIPELINED
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import Client, connected, on_both_loops, served, until

HEALTH = "GET /-/health HTTP/1.1"


@asynccontextmanager
async def crowded(server: ObjectServer, number: int) -> AsyncIterator[list[Client]]:
    """``number`` connections, each of which has been answered once, in this order."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(number):
            client = await stack.enter_async_context(connected(server))
            assert (await client.request(HEALTH))[0] == 200
            found.append(client)
            await asyncio.sleep(0.01)  # clocks of loops stand still meanwhile
        yield found


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is idle may be displaced at once."""
    monkeypatch.setattr("tierproxy.server.capacity.YOUNG", 0.0)


@on_both_loops
async def test_the_connection_that_is_idle_for_longest_makes_room_for_a_new_one(hasty: None) -> None:
    async with served(MemoryStore(), max_connections=3) as server, crowded(server, 3) as clients:
        assert (await clients[0].request(HEALTH))[0] == 200  # now the second is idle for longest
        async with connected(server) as newcomer:
            assert (await newcomer.request(HEALTH))[0] == 200
            assert await clients[1].closed() == b""
            for client in (clients[0], clients[2], newcomer):
                assert (await client.request(HEALTH))[0] == 200
            assert server.connections == 3
        assert server.overload()["idle connection closed"] == 1


@on_both_loops
async def test_where_everybody_is_busy_the_newcomer_is_told_so(hasty: None) -> None:
    store = MemoryStore(gate=asyncio.Event())
    assert store.gate is not None
    async with served(store, max_connections=1) as server, connected(server) as busy:
        await busy.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfour")
        await until(lambda: store.writes)
        for _ in range(3):
            async with connected(server) as newcomer:
                status, headers, body = await newcomer.response()
                assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
                assert b"<Code>SlowDown</Code>" in body
                assert await newcomer.closed() == b""
        store.gate.set()
        assert (await busy.response())[0] == 200
        assert server.overload()["connection refused"] == 3
        await asyncio.sleep(2 * BLIND)
        async with connected(server) as newcomer:
            assert (await newcomer.request(HEALTH))[0] == 200


@on_both_loops
async def test_a_head_that_never_ends_is_no_request_and_makes_room(hasty: None) -> None:
    async with served(MemoryStore(), max_connections=2) as server, crowded(server, 2) as clients:
        await clients[0].send(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n")
        async with connected(server) as newcomer:
            assert (await newcomer.request(HEALTH))[0] == 200
            assert await clients[0].closed() == b""


@on_both_loops
async def test_a_flood_of_connections_leaves_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(MemoryStore(), max_connections=8) as server:
        assert server.address is not None
        flood = [socket.create_connection(server.address) for _ in range(200)]
        try:
            await until(lambda: server.overload()["connection refused"] == 192)
            assert server.connections == 8
            monkeypatch.setattr("tierproxy.server.capacity.YOUNG", 0.0)  # a second later
            await asyncio.sleep(2 * BLIND)
            async with connected(server) as client:
                assert (await client.request(HEALTH))[0] == 200
            assert server.overload()["idle connection closed"] == 1
        finally:
            for one in flood:
                one.close()


@on_both_loops
async def test_a_connection_that_may_just_be_asking_is_left_alone() -> None:
    async with served(MemoryStore(), max_connections=2) as server, crowded(server, 2) as clients:
        async with connected(server) as newcomer:
            assert (await newcomer.response())[0] == 503
        for client in clients:
            assert (await client.request(HEALTH))[0] == 200


@on_both_loops
async def test_connections_the_lane_answers_make_room_as_well(tmp_path: Path, hasty: None) -> None:
    async with (
        side_by_side(tmp_path, listen={"max_connections": 2}) as pair,
        connected(pair.laned) as first,
        connected(pair.laned) as second,
    ):
        for client in (second, first):
            assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL
            await asyncio.sleep(0.01)
        async with connected(pair.laned) as third:
            assert (await third.request("GET /mail/a HTTP/1.1"))[2] == MAIL
            assert await second.closed() == b""
            assert (await first.request("GET /mail/a HTTP/1.1"))[2] == MAIL


@on_both_loops
async def test_thousands_of_requests_in_one_packet_are_not_all_kept() -> None:
    store = MemoryStore(gate=asyncio.Event())
    assert store.gate is not None
    async with served(store) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfour")
        await until(lambda: store.writes)
        connection: Any = next(iter(server._state.connections))
        sending = asyncio.create_task(client.send(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n" * 5000))
        await until(lambda: len(connection.pipeline) == MOST_PIPELINED)
        store.gate.set()
        said = await client.closed()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert said.count(b"HTTP/1.1 200 ") == 1 + MOST_PIPELINED
    assert said.count(b"connection: close") == 1
    assert said.endswith(b"four")


async def test_a_worker_keeps_its_share_of_the_limit() -> None:
    async with worked(max_connections=4) as port, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(port.connected()) for _ in range(12)]
        await until(lambda: port.server.overload()["connection refused"] >= 8)
        assert len(clients) - port.server.overload()["connection refused"] <= 4


async def test_the_node_refuses_what_a_worker_passes_to_it_when_it_is_full() -> None:
    async with worked() as port:
        port.server.capacity.most = 1
        async with port.connected() as busy, port.connected() as newcomer:
            await busy.send(b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: port.app.asked)
            await newcomer.send(b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n")
            status, headers, _ = await newcomer.response()
            assert (status, headers["retry-after"]) == (503, "1")
            port.app.go.set()
            assert (await busy.response())[0] == 200
