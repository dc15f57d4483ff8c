"""Connections over real sockets, on uvloop and on asyncio's own loop: ordinary life, stopping, broken bodies."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import AltUnavailable
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open, SigV4
from tierproxy.server import ObjectServer
from tierproxy.store.calls import Write, Written
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import PATIENCE, connected, on_both_loops, sent_until_cut, served, until

MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"


# ---------------------------------------------------------------- ordinary life


@on_both_loops
async def test_one_connection_serves_many_requests() -> None:
    async with served(MemoryStore()) as server, connected(server) as client:
        assert (await client.request("PUT /mail/1 HTTP/1.1\r\ncontent-length: 31", MAIL))[0] == 200
        status, headers, body = await client.request("GET /mail/1 HTTP/1.1")
        assert (status, body) == (200, MAIL)
        assert headers["server"] == "tierproxy"
        assert headers["date"].endswith("GMT")
        assert (await client.request("HEAD /mail/1 HTTP/1.1"))[1]["content-length"] == "31"
        assert (await client.request("HEAD /mail/none HTTP/1.1"))[0] == 404
        assert (await client.request("DELETE /mail/1 HTTP/1.1"))[0] == 204
        assert (await client.request("GET /mail/1 HTTP/1.1"))[0] == 404
        assert (await client.request("GET /-/health HTTP/1.1"))[2] == b"ok"


@on_both_loops
async def test_pipelined_requests_are_answered_in_order() -> None:
    store = MemoryStore(chunk=7)
    for key in "abc":
        store.put(key, key.encode() * 20)
    async with served(store) as server, connected(server) as client:
        await client.send(b"".join(b"GET /mail/%b HTTP/1.1\r\nhost: x\r\n\r\n" % key for key in (b"a", b"b", b"c")))
        for letter in (b"a", b"b", b"c"):
            assert (await client.response())[2] == letter * 20


@on_both_loops
async def test_http_1_0_gets_one_answer_and_the_connection_closes() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    async with served(store) as server, connected(server) as client:
        await client.send(b"GET /mail/1 HTTP/1.0\r\n\r\n")
        assert (await client.closed()).endswith(MAIL)


@on_both_loops
async def test_a_large_object_streams_through_both_ways() -> None:
    store = MemoryStore(chunk=60_000)
    data = bytes(range(256)) * 20_000
    async with served(store) as server, connected(server) as client:
        status, _, _ = await client.request(f"PUT /mail/1 HTTP/1.1\r\ncontent-length: {len(data)}", data)
        assert status == 200
        assert (await client.request("GET /mail/1 HTTP/1.1"))[2] == data


# ---------------------------------------------------------------- broken bodies


@on_both_loops
async def test_a_body_that_breaks_in_the_middle_closes_the_connection_before_its_length() -> None:
    store = MemoryStore(chunk=1000, break_at=3000, break_with=AltUnavailable())
    store.put("1", b"x" * 5000)
    async with served(store) as server, connected(server) as client:
        await client.send(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
        status, headers = await client.head()
        assert (status, headers["content-length"]) == (200, "5000")
        assert len(await client.closed()) < 5000
    assert store.open_readings == 0


@on_both_loops
async def test_a_reader_that_takes_nothing_is_cut_and_holds_no_memory() -> None:
    store = MemoryStore(chunk=100_000)
    store.put("1", b"x" * 30_000_000)
    async with served(store, body_timeout=Duration(0.3)) as server:
        assert server.address is not None
        silent = socket.create_connection(server.address)
        try:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: store.open_readings)
            await until(lambda: not store.open_readings)
            assert store.chunks_read < 300
            await until(lambda: not server.connections)  # though it has not read what was sent
        finally:
            silent.close()


@on_both_loops
async def test_one_that_asks_for_much_and_takes_nothing_is_cut() -> None:
    store = MemoryStore()
    store.put("1", b"x" * 5_000_000)
    async with served(store, body_timeout=Duration(0.2)) as server:
        assert server.address is not None
        greedy = socket.create_connection(server.address)
        try:
            greedy.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n" * 50)
            await until(lambda: server.connections)
            await until(lambda: not server.connections)
            assert len(store.visitors) < 10
        finally:
            greedy.close()


@on_both_loops
async def test_a_reader_that_leaves_stops_its_own_reading() -> None:
    store = MemoryStore(chunk=100_000)
    store.put("1", b"x" * 30_000_000)
    async with served(store) as server:
        async with connected(server) as client:
            await client.send(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
            await client.head()
        await until(lambda: not store.open_readings)
    assert store.chunks_read < 300


@on_both_loops
async def test_a_writer_that_leaves_abandons_the_write() -> None:
    store = MemoryStore()
    async with served(store) as server:
        async with connected(server) as client:
            await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nfour")
            await until(lambda: store.received)
        await until(lambda: store.abandoned)
    assert not store.objects


@on_both_loops
async def test_a_writer_that_falls_silent_is_told_and_closed() -> None:
    store = MemoryStore()
    async with served(store, body_timeout=Duration(0.1)) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nfour")
        answer = await client.closed()
    assert b" 400 " in answer
    assert b"<Code>RequestTimeout</Code>" in answer
    assert store.abandoned


@on_both_loops
async def test_a_store_that_is_busy_makes_the_client_wait_and_not_the_memory_grow() -> None:
    gate = asyncio.Event()

    class Stalled(MemoryStore):
        async def write(self, write: Write) -> Written:
            await gate.wait()
            return await super().write(write)

    store = Stalled()
    async with served(store) as server, connected(server) as client:
        data = bytes(50_000_000)
        head = f"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode()
        sending = asyncio.create_task(client.send(head + data))
        assert not (await asyncio.wait({sending}, timeout=0.3))[0]
        gate.set()
        assert (await client.response())[0] == 200
        await sending
    assert len(store.data("1")) == len(data)


# ---------------------------------------------------------------- bodies nobody wants


@on_both_loops
async def test_expect_100_continue_is_answered_when_the_body_is_wanted() -> None:
    store = MemoryStore()
    async with served(store) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        assert (await client.head())[0] == 100
        await client.send(b"four")
        assert (await client.response())[0] == 200
    assert store.data("1") == b"four"


@on_both_loops
async def test_expect_100_continue_is_refused_without_the_body_and_closes() -> None:
    keys = SigV4([], "us-east-1", SystemClock())
    async with served(MemoryStore(), authenticator=keys) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n")
        status, headers, _ = await client.response()
        assert (status, headers["connection"]) == (403, "close")
        assert await client.closed() == b""


@on_both_loops
async def test_the_body_of_a_refused_request_is_not_taken_for_the_next_one() -> None:
    async with served(MemoryStore(), max_put_size=Size(10)) as server, connected(server) as client:
        trap = b"GET /mail/trap HTTP/1.1\r\nhost: x\r\n\r\n"
        status, _, _ = await client.request(f"PUT /mail/1 HTTP/1.1\r\ncontent-length: {len(trap)}", trap)
        assert status == 400
        assert (await client.request("GET /-/health HTTP/1.1"))[2] == b"ok"


@on_both_loops
async def test_a_client_that_sends_all_of_a_refused_body_still_gets_its_answer() -> None:
    async with served(MemoryStore(), max_put_size=Size(10)) as server, connected(server) as client:
        body = bytes(5_000_000)
        status, _, text = await client.request(f"PUT /mail/1 HTTP/1.1\r\ncontent-length: {len(body)}", body)
        assert (status, b"EntityTooLarge" in text) == (400, True)
        assert (await client.request("GET /-/health HTTP/1.1"))[2] == b"ok"


@on_both_loops
async def test_a_refused_body_without_end_is_cut() -> None:
    async with served(MemoryStore(), max_put_size=Size(10)) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000000\r\n\r\n")
        assert (await client.response())[0] == 400
        assert await sent_until_cut(client, bytes(1_000_000), most=200) < 60


# ---------------------------------------------------------------- stopping


@on_both_loops
async def test_a_graceful_stop_lets_running_requests_finish() -> None:
    store = MemoryStore(gate=asyncio.Event())
    assert store.gate is not None
    async with served(store) as server, connected(server) as idle, connected(server) as busy:
        await idle.request("GET /-/health HTTP/1.1")
        await busy.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfour")
        await until(lambda: store.writes)
        stopping = asyncio.create_task(server.stop(PATIENCE))
        assert await idle.closed() == b""
        with pytest.raises(OSError):
            await asyncio.open_connection(*server.address)  # type: ignore[misc]
        store.gate.set()
        assert (await busy.response())[0] == 200
        assert await busy.closed() == b""
        await stopping
    assert store.data("1") == b"four"


@on_both_loops
async def test_what_is_not_done_within_the_grace_is_cut() -> None:
    store = MemoryStore(gate=asyncio.Event())
    async with served(store) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfour")
        await until(lambda: store.writes)
        await server.stop(0.05)
        assert b" 200 " not in await client.closed()
    assert not store.objects


@on_both_loops
async def test_a_server_that_never_started_can_be_stopped() -> None:
    settings = ListenSection(auth="none", address="127.0.0.1:0")
    server = ObjectServer(settings, ObjectApp(MemoryStore(), Open(), settings, SystemClock()), SystemClock())
    await server.stop(1)
    await server.stop(1)
