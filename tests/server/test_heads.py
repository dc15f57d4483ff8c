"""What a request's head may cost and what it may not be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.server.stub_worker import StubLane
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Duration, Size
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.server import ObjectServer
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import connected, on_both_loops, sent_until_cut, served, until

MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"


# ---------------------------------------------------------------- heads


@on_both_loops
async def test_a_head_that_is_too_long_is_refused() -> None:
    async with served(MemoryStore(), max_header_bytes=Size(4096)) as server:
        async with connected(server) as client:
            await client.send(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 5000 + b"\r\n\r\n")
            assert b"<Code>RequestHeaderSectionTooLarge</Code>" in await client.closed()
        async with connected(server) as client:  # many short ones
            await client.send(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: aaaaaaaa\r\n" % n for n in range(400)))
            assert b"RequestHeaderSectionTooLarge" in await client.closed()
        async with connected(server) as client:
            await client.send(b"GET /mail/" + b"k" * 5000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"RequestHeaderSectionTooLarge" in await client.closed()


@on_both_loops
async def test_a_head_without_end_does_not_fill_the_memory() -> None:
    async with served(MemoryStore(), max_header_bytes=Size(4096)) as server, connected(server) as client:
        await client.send(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\nx-long: ")
        assert await sent_until_cut(client, b"a" * 100_000, most=500) < 200


IN_CHUNKS = (
    b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n%bx-amz-decoded-content-length: 4\r\n\r\n"
)
ENDLESS = {
    "trailer": (b"0\r\nx-long: ", b"a" * 50_000),
    "name of a trailer": (b"0\r\n", b"a" * 50_000),
    "trailers": (b"0\r\n", b"a: b\r\n" * 10_000),
    "extension": (b"4;a=", b"a" * 50_000),
    "extensions": (b"4", b";a=b" * 10_000),
}


@asynccontextmanager
async def laned(store: MemoryStore, **listen: Any) -> AsyncIterator[ObjectServer]:
    """As ``served``, with a lane in front that has nothing."""
    settings = ListenSection(**{"address": "127.0.0.1:0", "auth": "none", **listen})
    clock = SystemClock()
    server = ObjectServer(settings, ObjectApp(store, Open(), settings, clock), clock, lane=StubLane())
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


@pytest.mark.parametrize("serving", [served, laned])
@pytest.mark.parametrize("kind", ["read", "refused"])
@pytest.mark.parametrize("what", ENDLESS)
async def test_what_stands_around_chunks_has_an_end_as_well(what: str, kind: str, serving: Any) -> None:
    begin, again = ENDLESS[what]
    coding = b"content-encoding: aws-chunked\r\n" if kind == "read" else b""
    async with serving(MemoryStore(), max_header_bytes=Size(4096)) as server, connected(server) as client:
        await client.send(IN_CHUNKS % coding + begin)
        assert await sent_until_cut(client, again, most=400) < 200


@on_both_loops
async def test_chunks_that_are_many_are_no_head() -> None:
    store = MemoryStore()
    async with served(store, max_header_bytes=Size(4096)) as server, connected(server) as client:
        body = b"a" * 20_000
        raw = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)  # aws-chunked
        text = b"".join(b"3;x=y\r\n%b\r\n" % raw[at : at + 3] for at in range(0, len(raw) // 3 * 3, 3))
        rest = raw[len(raw) // 3 * 3 :]
        text += b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest) if rest else b"0\r\n\r\n"
        head = IN_CHUNKS.replace(b": 4", b": %d" % len(body)) % b"content-encoding: aws-chunked\r\n"
        await client.send(head + text)
        assert (await client.response())[0] == 200
    assert store.data("1") == body


@on_both_loops
async def test_nobody_is_told_to_continue_in_http_1_0() -> None:
    async with served(MemoryStore()) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nfour")
        assert (await client.response())[0] == 200


@on_both_loops
async def test_a_head_within_the_limit_passes_again_and_again() -> None:
    async with served(MemoryStore(), max_header_bytes=Size(4096)) as server, connected(server) as client:
        for _ in range(5):
            body = bytes(3000)
            text = f"PUT /mail/1 HTTP/1.1\r\nx-long: {'a' * 3000}\r\ncontent-length: {len(body)}"
            assert (await client.request(text, body))[0] == 200


@on_both_loops
async def test_what_is_not_http_is_told_so() -> None:
    async with served(MemoryStore()) as server, connected(server) as client:
        await client.send(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b"<Code>BadRequest</Code>" in await client.closed()


@on_both_loops
async def test_a_fragment_is_refused_and_not_cut_off_the_key() -> None:
    store = MemoryStore()
    store.put("a", MAIL)
    async with served(store) as server, connected(server) as client:
        await client.send(b"DELETE /mail/a#b HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"<Code>BadRequest</Code>" in await client.closed()
    assert store.data("a") == MAIL


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 4\r\ncontent-length: 5",
        b"content-length: 4\r\ntransfer-encoding: chunked",
        b"transfer-encoding: chunked, identity",
        b"content-length: +4",
        b"x-amz-meta-a: a\x01b",
        b"x-amz-meta-a: a\r b",
        b"x-amz meta: a",
    ],
)
async def test_heads_that_two_parsers_might_read_differently_are_refused(head: bytes) -> None:
    store = MemoryStore()
    async with served(store) as server, connected(server) as client:
        await client.send(b"PUT /mail/a HTTP/1.1\r\nhost: x\r\n" + head + b"\r\n\r\nfour")
        assert b"<Code>BadRequest</Code>" in await client.closed()
    assert not store.objects


@on_both_loops
async def test_nonsense_after_a_request_does_not_end_up_in_its_answer() -> None:
    store = MemoryStore(chunk=1000, gate=asyncio.Event())
    async with served(store) as server, connected(server) as client:
        await client.send(b"PUT /mail/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfour")
        await until(lambda: store.writes)
        await client.send(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert await client.closed() == b""


@on_both_loops
async def test_a_client_that_never_finishes_its_head_is_closed() -> None:
    idle = Duration(0.2)
    async with (
        served(MemoryStore(), idle_timeout=idle) as server,
        connected(server) as silent,
        connected(server) as slow,
    ):
        closing = asyncio.create_task(slow.closed())
        slow.writer.write(b"GET /")
        for _ in range(60):  # a byte now and then must not keep the connection open
            slow.writer.write(b"a")
            if (await asyncio.wait({closing}, timeout=0.05))[0]:
                break
        assert closing.done()
        assert await silent.closed() == b""
        await closing


@on_both_loops
async def test_an_idle_connection_is_closed_after_its_last_answer() -> None:
    async with served(MemoryStore(), idle_timeout=Duration(0.1)) as server, connected(server) as client:
        assert (await client.request("GET /-/health HTTP/1.1"))[0] == 200
        assert await client.closed() == b""
