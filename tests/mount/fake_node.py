"""A node that answers as a test says: whole, short, late, with rubbish, or not at all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tierproxy.mount.client_address import Address


@dataclass(frozen=True, slots=True)
class Heard:
    """A request. ``headers``: lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; whether the connection stays open."""


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer."""
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{named}\r\n".encode() + body


def error(status: int, code: str) -> bytes:
    return answer(status, f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode())


def missing() -> bytes:
    """To HEAD."""
    return answer(404, x_tierproxy_error="NoSuchKey")


def says(data: bytes, *, keep: bool = True) -> Script:
    """Sends ``data``; ``keep`` False: and closes."""

    async def script(writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return keep

    return script


async def hangs(writer: asyncio.StreamWriter) -> bool:
    """Never answers."""
    await asyncio.Event().wait()
    return False


def closes() -> Script:
    return says(b"", keep=False)


@dataclass
class FakeNode:
    """``scripts`` are used up one after the other, whatever is asked on whichever connection. ``eager``: the next one
    runs before the body of its request is read. Whether the node is there at all is answered beside them, unless it is
    ``silent``."""

    path: Path
    scripts: deque[Script] = field(default_factory=deque)
    heard: list[Heard] = field(default_factory=list)
    connections: int = 0
    now: int = 0  #: connections open now
    eager: bool = False
    silent: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def address(self) -> Address:
        return Address(socket=str(self.path))

    def will(self, *scripts: Script | bytes) -> None:
        self.scripts.extend(says(script) if isinstance(script, bytes) else script for script in scripts)

    def drop(self) -> None:
        """Close every connection."""
        for task in self.tasks:
            task.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._connection(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.now += 1
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                while await self._request(reader, writer):
                    pass
        finally:
            self.now -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        if (method, target) == ("HEAD", "/mail"):
            return await (hangs if self.silent else says(answer(200)))(writer)
        body = b"" if self.eager else await reader.readexactly(int(headers.get("content-length", "0")))
        self.heard.append(Heard(method, target, headers, body))
        return await self.scripts.popleft()(writer)


@asynccontextmanager
async def fake_node(root: Path) -> AsyncIterator[FakeNode]:
    """Listens on a unix socket below ``root``. Every script must have been used at the end."""
    node = FakeNode(root / "fake.sock")
    server = await asyncio.start_unix_server(node.serve, node.path)
    try:
        yield node
        assert not node.scripts, "not every answer was wanted"
    finally:
        server.close()
        tasks = list(node.tasks)
        node.drop()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)
