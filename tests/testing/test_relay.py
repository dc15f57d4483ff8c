"""The relay's half-open connections: the server is gone, and the client is not told."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tierproxy.testing.relay import Mode, relay_to


async def test_a_client_of_a_half_open_connection_hears_nothing_until_it_is_cut() -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, relay_to("127.0.0.1", server.sockets[0].getsockname()[1]) as relay:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        relay.mode = Mode.BLACKHOLE
        relay.lose()
        await gone.wait()
        writer.write(b"lost")
        answer = asyncio.create_task(reader.read())
        await writer.drain()
        assert not (await asyncio.wait([answer], timeout=0.2))[0], "the client was told"
        relay.cut()
        with pytest.raises(ConnectionResetError):
            await answer
        writer.transport.abort()
