"""One app behind every way into the object port, and what a raw client is told of what the app was asked."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from tests.security.strict_http import Seen
from tests.server.stub_worker import COMMAND, StubLane
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, ListenSection
from tierproxy.s3api.lane.ports import Served
from tierproxy.server import ObjectServer
from tierproxy.server.shared_server import SharedServer
from tierproxy.store.alarms import AlarmBoard
from tierproxy.testing.wire import PATIENCE

QUIET = 0.2  #: real seconds without a byte after which a client that waits in vain leaves
SEEN = b"x-seen"
NAMES = b"x-names"


class Recorder:
    """Says in headers what it was asked, and with which headers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        names = b",".join(name for name, _ in scope["headers"])
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
        seen = str(Seen(scope["method"], scope["raw_path"].decode() + query, body))
        self.asked.append(seen)
        headers = [(SEEN, seen.encode()), (NAMES, names), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True)
class Told:
    """One final answer. ``seen``: what the app says it was asked; "" of the lane's answers and of refusals."""

    status: int
    seen: str
    names: tuple[str, ...] = ()


@dataclass
class Front:
    """A way in."""

    server: ObjectServer
    app: Recorder

    async def told(self, *pieces: bytes, heads: Sequence[int] = ()) -> list[Told]:
        """Send ``pieces`` and read every answer until the server closes, or says nothing for a while. ``heads``:
        places among the answers that are to HEAD."""
        assert self.server.address is not None
        self.app.asked.clear()
        reader, writer = await asyncio.open_connection(*self.server.address)
        found = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            while data := await _read(reader, writer):
                found += data
        except ConnectionError:  # what was sent after the end has no reader
            pass
        finally:
            writer.close()
        return list(_answers(found, frozenset(heads)))


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    try:
        async with asyncio.timeout(QUIET):
            return await reader.read(65536)
    except TimeoutError:
        if writer.can_write_eof():
            with suppress(OSError):  # it may have been closed this moment
                writer.write_eof()
    async with asyncio.timeout(PATIENCE):
        return await reader.read(65536)


def _answers(data: bytes, heads: frozenset[int]) -> list[Told]:
    found: list[Told] = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        assert end, f"half an answer: {data!r}"
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 "), f"no answer: {data[:200]!r}"
        status = int(lines[0].split()[1])
        headers = dict(line.split(b": ", 1) for line in lines[1:])
        if status < 200:
            data = rest
            continue
        size = 0 if len(found) in heads else int(headers[b"content-length"])
        assert len(rest) >= size, "an answer was cut"
        data = rest[size:]
        names = tuple(name.decode() for name in headers.get(NAMES, b"").split(b",") if name)
        found.append(Told(status, headers.get(SEEN, b"").decode(), names))
    return found


@asynccontextmanager
async def fronts(*ways: str) -> AsyncIterator[dict[str, Front]]:
    """``ways``: of "plain" (the ordinary way alone), "lane", "workers"."""
    found: dict[str, Front] = {}
    async with AsyncExitStack() as stack:
        for way in ways:
            app = Recorder()
            server = _server(way, app)
            await server.start()
            stack.push_async_callback(server.stop, 0.5)
            found[way] = Front(server, app)
        yield found


def _server(way: str, app: Recorder) -> ObjectServer:
    clock = SystemClock()
    section = ListenSection(address="127.0.0.1:0", auth="none", workers=1 if way == "workers" else 0)
    if way == "plain":
        return ObjectServer(section, app, clock)
    if way == "lane":
        return ObjectServer(section, app, clock, lane=StubLane(), served=_nobody)
    config = replace(Config(), listen=section)
    return SharedServer(
        section, app, clock, lane=StubLane(), setup=lambda: pickle.dumps(config), served=_nobody, alarms=AlarmBoard(),
        command=COMMAND,
    )  # fmt: skip


def _nobody(served: Served) -> None:
    pass
