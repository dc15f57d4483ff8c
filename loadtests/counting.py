"""A TCP relay in front of an S3 server that counts its GETs and can hold its answers back."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

PIECE = 256 * 1024
GET = re.compile(rb"(?:\A|\r\n\r\n)GET (/[^ ?]*)[^ ]* HTTP/1\.1\r\n")


class CountingRelay:
    """``gets`` counts requests by path. While an answer to a GET has ``held_after`` bytes, it waits for ``gate``."""

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.gets: Counter[str] = Counter()
        self.held_after: int | None = None
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()  #: an answer is waiting
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        asked = asyncio.Event()
        up = asyncio.create_task(self._requests(reader, there_writer, asked))
        down = asyncio.create_task(self._answers(there_reader, writer, asked))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for one in (writer, there_writer):
                one.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                for path in GET.findall(piece):  # a client sends a head without a body in one piece
                    self.gets[path.decode()] += 1
                    asked.set()
                writer.write(piece)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        sent = 0
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                if asked.is_set():
                    if self.held_after is not None and sent >= self.held_after and not self.gate.is_set():
                        self.reached.set()
                        await self.gate.wait()
                    sent += len(piece)
                writer.write(piece)
                await writer.drain()

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def counting(host: str, port: int) -> AsyncIterator[CountingRelay]:
    """A running relay to ``host:port`` on a free loopback port."""
    relay = CountingRelay(host, port)
    server = await asyncio.start_server(relay._accept, "127.0.0.1", 0)
    relay.port = int(server.sockets[0].getsockname()[1])
    try:
        yield relay
    finally:
        server.close()
        await relay.close()
