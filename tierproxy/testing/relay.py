"""A small TCP relay with switches: a network that fails on purpose, between a real client and a real server.

async with relay_to("127.0.0.1", 8333) as relay:
    ... connect to relay.port ...
    relay.mode = Mode.BLACKHOLE       # accepted and read, never answered
    relay.cut()                       # reset every connection now
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

PIECE = 64 * 1024


class Mode(StrEnum):
    """What happens to connections."""

    PASS = "pass"  #: bytes go both ways
    BLACKHOLE = "blackhole"  #: connections are accepted, the client's bytes are read, nothing comes back
    MUTE = "mute"  #: the server gets the request, its answer is swallowed: a change happens, nobody hears of it
    REFUSE = "refuse"  #: nobody listens
    RESET = "reset"  #: connections are reset as soon as they are made


class Relay:
    """One listening port in front of one server. ``delay``: seconds added to each piece; ``trickle``: bytes a piece
    from the server (with ``delay`` after each); ``cut_after``: reset each connection after so many bytes of answer."""

    def __init__(self, host: str, port: int) -> None:
        self.mode = Mode.PASS
        self.delay = 0.0
        self.trickle: int | None = None
        self.cut_after: int | None = None
        self.connections = 0
        self.port = 0
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._servers: set[asyncio.StreamWriter] = set()  #: those of ``_writers`` that lead to the server

    async def start(self) -> None:
        """Listen on the port of last time, or on a free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Refuse connections, and reset those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    async def refuse(self) -> None:
        """From now on nobody listens."""
        self.mode = Mode.REFUSE
        await self.stop()

    async def accept(self) -> None:
        """The opposite: everything passes again, on the same port."""
        self.mode = Mode.PASS
        if self._server is None:
            await self.start()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            _reset(writer)

    def lose(self) -> None:
        """The server's side of every connection ends, and the client hears nothing of it: half-open, as when the other
        machine is switched off. What the client sends is taken, until ``cut``."""
        for writer in list(self._servers):
            _reset(writer)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A task of our own: asyncio logs the cancellation of its own handlers as an error."""
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self.mode is Mode.RESET:
                _reset(writer)
            elif self.mode is Mode.BLACKHOLE:
                await _swallow(reader)
            else:
                await self._both_ways(reader, writer)
        finally:
            self._writers.discard(writer)
            await _close(writer)

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there_reader, there_writer = await asyncio.open_connection(*self._target)
            self._writers.add(there_writer)
            self._servers.add(there_writer)
            try:
                up = asyncio.create_task(self._pump(reader, there_writer))
                down = asyncio.create_task(self._answer(there_reader, writer))
                try:
                    await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                    if self.mode is Mode.BLACKHOLE and not up.done():
                        await asyncio.wait({up})  # the server is gone; the client is not to know
                finally:
                    up.cancel()
                    down.cancel()
                    await asyncio.gather(up, down, return_exceptions=True)
            finally:
                self._writers.discard(there_writer)
                self._servers.discard(there_writer)
                await _close(there_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self.mode is Mode.BLACKHOLE:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(piece)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while piece := await reader.read(self.trickle or PIECE):
            if self.mode in {Mode.BLACKHOLE, Mode.MUTE}:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.cut_after is not None and sent + len(piece) > self.cut_after:
                writer.write(piece[: self.cut_after - sent])
                await writer.drain()
                _reset(writer)
                return
            sent += len(piece)
            writer.write(piece)
            await writer.drain()


async def _swallow(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(PIECE):
            pass


async def _close(writer: asyncio.StreamWriter) -> None:
    """Send what is waiting; at once when the task is cancelled meanwhile."""
    writer.close()
    try:
        with suppress(OSError):
            await writer.wait_closed()
    finally:
        writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def relay_to(host: str, port: int) -> AsyncIterator[Relay]:
    """A running relay to ``host:port`` on a free loopback port."""
    relay = Relay(host, port)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()
