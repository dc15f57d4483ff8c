"""An S3 server that lies: one behaviour for every request, and a record of what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Behaviour = Callable[["Liar", bytes, asyncio.StreamWriter], Awaitable[None]]
DATE = b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n"


class Liar:
    """``requests`` are the request lines seen. Every request is read whole before ``behave`` answers it."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self.requests: list[str] = []
        self.endpoint = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head.split(b"\r\n", 1)[0].decode())
                await reader.readexactly(_length(head))
                await self._behave(self, head, writer)
                await writer.drain()
            await writer.wait_closed()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


def _length(head: bytes) -> int:
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return int(lines[0].split(b":")[1]) if lines else 0


def says(status: int, code: str = "", headers: bytes = b"", body: bytes | None = None) -> Behaviour:
    """Answers ``status`` with S3's error document for ``code`` (none for HEAD, as S3 does)."""
    document = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode() if code else b""
    content = document if body is None else body

    async def behave(_liar: Liar, head: bytes, writer: asyncio.StreamWriter) -> None:
        shown = b"" if head.startswith(b"HEAD") else content
        length = b"Content-Length: %d\r\n" % len(content)
        writer.write(b"HTTP/1.1 %d X\r\n%s%s\r\n%s" % (status, length, headers, shown))

    return behave


async def silence(_liar: Liar, _head: bytes, _writer: asyncio.StreamWriter) -> None:
    """Reads the request and never answers."""
    await asyncio.Event().wait()


async def reset(_liar: Liar, _head: bytes, writer: asyncio.StreamWriter) -> None:
    """Reads the request and cuts the connection."""
    writer.transport.abort()


async def garbage(_liar: Liar, _head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"this is not HTTP\r\n\r\n")
    writer.close()


async def half_a_body(_liar: Liar, _head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: "x"\r\n' + DATE + b"\r\n" + b"x" * 50)
    writer.close()


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One behaviour a request; the last one goes on."""
    waiting = list(behaviours)

    async def behave(liar: Liar, head: bytes, writer: asyncio.StreamWriter) -> None:
        await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(liar, head, writer)

    return behave


STORED = says(200, headers=b'ETag: "5d41402abc4b2a76b9719d911017c592"\r\n', body=b"")  #: the MD5 of "hello"
HELLO = says(200, headers=b'ETag: "5d41402abc4b2a76b9719d911017c592"\r\n' + DATE, body=b"hello")


@asynccontextmanager
async def liar(behave: Behaviour) -> AsyncIterator[Liar]:
    """A running one on a free loopback port."""
    one = Liar(behave)
    server = await asyncio.start_server(one.accept, "127.0.0.1", 0)
    one.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        await one.stop()
