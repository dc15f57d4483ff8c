"""Hearing of changes: never believed longer than somebody tells of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tests.mount.client_world import client_of, served
from tests.mount.fake_node import FakeNode, answer, error, fake_node
from tierproxy.clock import SystemClock
from tierproxy.mount.client import HttpNode
from tierproxy.mount.client_changes import LATE, SILENCE, SOON
from tierproxy.mount.ports import Told
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.server import ObjectServer
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.wire import PATIENCE, until

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
HELLO = b'{"hello": "1"}\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def line(key: str, etag: str = "") -> bytes:
    return json.dumps({"key": key, "etag": etag}).encode() + b"\n"


class Stream:
    """The node's side of a feed that the test writes to."""

    def __init__(self) -> None:
        self.writer: asyncio.StreamWriter | None = None
        self.ended = asyncio.Event()

    async def script(self, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD)
        self.writer = writer
        await self.ended.wait()
        return False

    def say(self, data: bytes) -> None:
        assert self.writer is not None
        self.writer.write(chunk(data))

    async def begun(self) -> None:
        await until(lambda: self.writer is not None)


@asynccontextmanager
async def listening(node: FakeNode, root: Path, prefix: str = "") -> AsyncIterator[tuple[HttpNode, Ears, VirtualClock]]:
    clock = VirtualClock()
    async with client_of(node.address, root / "s", clock=clock, prefix=prefix) as client:
        changes = client.changes()
        async with aclosing(changes):
            yield client, Ears(changes), clock


class Ears:
    """Hears one thing after the other, each in a task of its own, as a kernel's requests would."""

    def __init__(self, changes: object) -> None:
        assert isinstance(changes, AsyncGenerator)
        self._changes = changes

    def following(self) -> asyncio.Task[Told]:
        return asyncio.ensure_future(anext(self._changes))

    async def hear(self) -> Told:
        return await asyncio.wait_for(anext(self._changes), PATIENCE)


def believed(client: HttpNode) -> bool:
    """mypy takes a property for a constant."""
    return client.fresh


async def test_hello_makes_everything_doubtful_and_from_then_on_it_is_fresh(tmp_path: Path) -> None:
    stream = Stream()
    async with fake_node(tmp_path) as node, listening(node, tmp_path) as (client, ears, _):
        node.will(stream.script)
        first = ears.following()
        await stream.begun()
        assert not believed(client)
        stream.say(HELLO + line("a/u.1", "e1") + line("a/u.2")[:9])
        assert await first == Told("")
        assert not believed(client)
        assert await ears.hear() == Told("a/u.1", "e1")
        assert believed(client)
        stream.say(line("a/u.2")[9:] + b"\n\n\n")
        assert await ears.hear() == Told("a/u.2", "")
        assert believed(client)


async def test_a_feed_that_breaks_is_not_believed_from_that_moment(tmp_path: Path) -> None:
    streams = [Stream(), Stream()]
    async with fake_node(tmp_path) as node, listening(node, tmp_path) as (client, ears, clock):
        node.will(*(stream.script for stream in streams))
        first = ears.following()
        await streams[0].begun()
        streams[0].say(HELLO)
        assert await first == Told("")
        lost = ears.following()
        await until(lambda: client.fresh)
        streams[0].ended.set()
        await until(lambda: not client.fresh)
        assert await lost == Told("")
        again = ears.following()
        await until(lambda: clock.sleeping)
        await clock.advance(SOON)
        await streams[1].begun()
        streams[1].say(HELLO)
        assert await again == Told("")
        following = ears.following()
        await until(lambda: client.fresh)
        streams[1].say(line("a/u.1", "e"))
        assert await following == Told("a/u.1", "e")


@pytest.mark.parametrize(
    "rubbish", [b"hello\n", b"[]\n", b'{"key": 1}\n', b'{"key": "a"}\n', b"x" * 100_000, b"\xff\n", b"7\n"]
)
async def test_rubbish_ends_the_feed(tmp_path: Path, rubbish: bytes) -> None:
    stream = Stream()
    async with fake_node(tmp_path) as node, listening(node, tmp_path) as (client, ears, _):
        node.will(stream.script)
        first = ears.following()
        await stream.begun()
        stream.say(HELLO)
        await first
        lost = ears.following()
        await until(lambda: client.fresh)
        stream.say(rubbish)
        assert await lost == Told("")
        assert not client.fresh


async def test_a_feed_without_heartbeats_is_dead(tmp_path: Path) -> None:
    stream = Stream()
    async with fake_node(tmp_path) as node, listening(node, tmp_path) as (client, ears, clock):
        node.will(stream.script)
        first = ears.following()
        await stream.begun()
        stream.say(HELLO)
        await first
        lost = ears.following()
        await until(lambda: client.fresh)
        for _ in range(3):
            await clock.advance(SILENCE - 1)
            assert client.fresh
            (progress,) = client._feed._patience._waiting
            stream.say(b"\n")
            await until(lambda progress=progress: progress.at == clock.monotonic())  # type: ignore[misc]
        await clock.advance(SILENCE + 2)
        assert not client.fresh
        assert await lost == Told("")


async def test_it_tries_again_for_ever_and_ever_more_rarely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)

    def failures() -> int:
        return [record.message for record in caplog.records].count("not hearing of changes")

    async with fake_node(tmp_path) as node, listening(node, tmp_path) as (client, ears, clock):
        node.will(error(503, "ServiceUnavailable"), error(403, "AccessDenied"), answer(404))
        first = ears.following()
        for number, pause in enumerate([SOON, 2 * SOON, 4 * SOON], 1):
            await until(lambda number=number: failures() == number)  # type: ignore[misc]
            await clock.advance(pause - 0.05)
            assert len(node.heard) == number
            stream = Stream()
            if number == 3:
                node.will(stream.script)
            await clock.advance(0.06)
        await stream.begun()
        assert not client.fresh
        stream.say(HELLO)
        assert await first == Told("")
    assert LATE > 4 * SOON
    warned = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["not hearing of changes"]


async def test_only_what_is_below_the_prefix_is_asked_for_and_told(tmp_path: Path) -> None:
    stream = Stream()
    async with fake_node(tmp_path) as node, listening(node, tmp_path, "ann/ü/") as (_, ears, _):
        node.will(stream.script)
        first = ears.following()
        await stream.begun()
        assert node.heard[0].target == "/mail?prefix=ann%2F%C3%BC%2F&tierproxy-changes="
        stream.say(HELLO + line("ann/other") + line("ann/ü/u.1"))
        await first
        assert await ears.hear() == Told("u.1")


async def test_who_stops_listening_leaves_nothing(tmp_path: Path) -> None:
    stream = Stream()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=VirtualClock()) as client:
        node.will(stream.script)
        changes = client.changes()
        first = asyncio.ensure_future(anext(changes))
        await stream.begun()
        stream.say(HELLO)
        await first
        assert client._pool.open == 1
        await changes.aclose()
        assert client._pool.open == 0
        assert not client.fresh


async def test_a_node_that_is_started_again_is_heard_again(tmp_path: Path) -> None:
    async with served(tmp_path) as (node, server, address), client_of(address, tmp_path / "s") as client:
        changes = client.changes()
        async with aclosing(changes):
            ears = Ears(changes)
            assert await ears.hear() == Told("")
            following = ears.following()
            await until(lambda: client.fresh)
            await node.put("a/u.1", b"x")
            assert (await following).key == "a/u.1"
            lost = ears.following()
            await server.stop(0)
            assert await lost == Told("")
            assert not client.fresh
            again = ears.following()
            app = ObjectApp(node.parts.store, Open(), server.listen, SystemClock())
            successor = ObjectServer(server.listen, app, SystemClock())
            await successor.start()
            assert await again == Told("")
            following = ears.following()
            await until(lambda: client.fresh)
            await node.delete("a/u.1")
            assert await following == Told("a/u.1")
        await successor.stop(0)
