"""The object port over real sockets: a server for a test, and a raw client that shows what a polite one hides."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Authenticator, Open
from tierproxy.s3api.ports import Store
from tierproxy.server import ObjectServer

PATIENCE = 60.0  #: real seconds a test waits for the other side of a socket

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[[str, pytest.FixtureRequest], None]:
    """A test that is run once on each kind of loop, with the fixtures it names."""

    async def bounded(fixtures: dict[str, Any]) -> None:
        async with asyncio.timeout(PATIENCE * 2):
            await test(**fixtures)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert not left, f"tasks left behind: {left}"

    def run(loop: str, request: pytest.FixtureRequest) -> None:
        fixtures = {name: request.getfixturevalue(name) for name in inspect.signature(test).parameters}
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(bounded(fixtures))

    run.__name__, run.__module__ = test.__name__, test.__module__
    marked: Callable[[str, pytest.FixtureRequest], None] = pytest.mark.parametrize("loop", LOOPS)(run)
    return marked


@asynccontextmanager
async def served(
    store: Store, *, authenticator: Authenticator | None = None, **listen: Any
) -> AsyncIterator[ObjectServer]:
    """A started server on a free port of the loopback; ``listen`` are options of ``[listen]``."""
    settings = ListenSection(**{"address": "127.0.0.1:0", "auth": "none", **listen})
    app = ObjectApp(store, authenticator or Open(), settings, SystemClock())
    server = ObjectServer(settings, app, SystemClock())
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)
        assert server.connections == 0


async def until(reached: Callable[[], object]) -> None:
    """Wait for what happens on the other side of a socket."""
    async with asyncio.timeout(PATIENCE):
        while not reached():
            await asyncio.sleep(0.005)


class Client:
    """A raw HTTP/1.1 client: it sends what it is told and reads one response at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split(" ")[1]), headers

    async def response(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        if head or status in {204, 304} or status < 200:
            return status, headers, b""
        return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def request(self, text: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        await self.send(text.encode() + b"\r\nhost: x\r\n\r\n" + body)
        return await self.response(head=text.startswith("HEAD"))

    async def closed(self) -> bytes:
        """Everything until the server closes."""
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := await self.reader.read(65536):
                found += piece
        return found

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def connected(server: ObjectServer, **options: Any) -> AsyncIterator[Client]:
    assert server.address is not None
    client = Client(*await asyncio.open_connection(*server.address, **options))
    try:
        yield client
    finally:
        await client.close()


async def sent_until_cut(client: Client, piece: bytes, *, most: int) -> int:
    """How often ``piece`` could be sent before the server cut the connection."""
    for sent in range(most):
        try:
            await client.send(piece)
        except OSError:
            return sent
    return most
