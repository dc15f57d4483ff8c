"""The mount's own /metrics: one small page over HTTP/1.0 on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tierproxy.config.checks import is_loopback
from tierproxy.errors import ConfigError

HEAD = 16 * 1024  #: bytes of the largest request
PATIENCE = 5.0  #: seconds for a request to arrive, and for its answer to be taken
Page = Callable[[], tuple[bytes, str]]


@asynccontextmanager
async def exposed(host: str, port: int, page: Page) -> AsyncIterator[int]:
    """``page`` at http://host:port/metrics while inside; yields the port. Raises ConfigError."""
    if not is_loopback(host):
        raise ConfigError(f"--metrics {host}: everybody could read it", hint="use 127.0.0.1, and a proxy before it")
    running: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            async with asyncio.timeout(PATIENCE):
                await _answer(reader, writer, page)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that leaves, or says too much
        finally:
            writer.close()
            running.discard(task)

    try:
        server = await asyncio.start_server(answer, host, port, limit=HEAD)
    except OSError as error:
        raise ConfigError(f"--metrics {host}:{port}: {error.strerror}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, page: Page) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if head.split(b" ")[:2] == [b"GET", b"/metrics"]:
        body, kind = page()
        status = "200 OK"
    else:
        body, kind, status = b"GET /metrics\n", "text/plain", "404 Not Found"
    writer.write(f"HTTP/1.0 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
