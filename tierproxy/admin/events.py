"""Server-sent events (WHATWG HTML, section 9.2): answers that go on while there is something to tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from tierproxy.admin.callers import CALLER
from tierproxy.admin.doorkeeper import STREAMING
from tierproxy.admin.problems import problem_of
from tierproxy.errors import Busy, ShuttingDown, TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Clock

HEARTBEAT = 15.0  #: seconds between signs of life; a client that is gone is noticed by one at the latest
MOST = 32  #: streams at once
AHEAD = 16  #: events that wait for a slow client; then the source waits

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """``data``: a document, or what JSON can say. ``name``: the event's type, "" for "message". ``id``: what a browser
    sends as Last-Event-ID when it comes again."""

    data: BaseModel | Any
    name: str = ""
    id: str = ""

    def encode(self) -> bytes:
        text = self.data.model_dump_json() if isinstance(self.data, BaseModel) else json.dumps(self.data)
        head = f"event: {_line(self.name)}\n" if self.name else ""
        head += f"id: {_line(self.id)}\n" if self.id else ""
        return f"{head}data: {text}\n\n".encode()  # JSON has no line ends of its own


def _line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")


class Streams:
    """All event streams of the port: how many, and their end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.closed = asyncio.Event()
        self.open = 0

    def __repr__(self) -> str:
        return f"<Streams {self.open} open>"

    def close(self) -> None:
        """loop. End them all; new ones are refused."""
        self.closed.set()


def events(stream: AsyncIterator[Event]) -> EventStream:
    """The answer that sends ``stream``, an async generator: ``return events(self._progress(number))``.

    It ends with ``stream``, when the client leaves, when its login ends and when the node stops; ``stream`` is closed
    (``aclose``) in every case. Raise what must be a problem document before: here the status is sent already, and a
    failing ``stream`` can only say so in a last event, "problem".
    """
    return EventStream(stream)


class EventStream(Response):
    """See ``events``."""

    media_type = "text/event-stream"

    def __init__(self, stream: AsyncIterator[Event], status_code: int = 200) -> None:
        """``status_code`` is there for FastAPI, which reads the default for its OpenAPI document."""
        super().__init__(status_code=status_code, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[..., Awaitable[None]],
    ) -> None:
        streams: Streams = scope["app"].state.streams
        try:
            if streams.closed.is_set():
                raise ShuttingDown
            if streams.open >= MOST:
                raise Busy("too many event streams are open", hint="close a tab, or try again")
            streams.open += 1
            try:
                scope[STREAMING]()
                await self._run(scope, streams, receive, send)
            finally:
                streams.open -= 1
        finally:
            await _closed(self._stream)

    async def _run(
        self, scope: MutableMapping[str, Any], streams: Streams, receive: Callable[[], Awaitable[Any]],
        send: Callable[..., Awaitable[None]],
    ) -> None:  # fmt: skip
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD)
        spawn = asyncio.get_running_loop().create_task
        source, ends = spawn(self._pump(queue)), [spawn(_left(receive)), spawn(streams.closed.wait())]
        try:
            await _deliver(queue, ends, streams.clock, scope[CALLER].valid, send)
        finally:
            for task in (source, *ends):
                task.cancel()
            await asyncio.gather(source, *ends, return_exceptions=True)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, queue: asyncio.Queue[bytes | None]) -> None:
        try:
            async for one in self._stream:
                await queue.put(one.encode())
        except TierproxyError as error:
            await queue.put(Event(problem_of(error), "problem").encode())
        except Exception as error:  # noqa: BLE001  the answer has begun: the log is the only place left
            event(log, logging.ERROR, "event stream broke", error=error)
        await queue.put(None)


async def _deliver(
    queue: asyncio.Queue[bytes | None], ends: list[asyncio.Task[Any]], clock: Clock, valid: Callable[[], bool],
    send: Callable[..., Awaitable[None]],
) -> None:  # fmt: skip
    """Events as they come, a comment when none does, until one of ``ends``."""
    spawn = asyncio.get_running_loop().create_task
    piece: asyncio.Task[bytes | None] = spawn(queue.get())
    beat = spawn(clock.sleep(HEARTBEAT))
    await _send(send, b": open\n\n")
    try:
        while True:
            await asyncio.wait([piece, beat, *ends], return_when=asyncio.FIRST_COMPLETED)
            if any(end.done() for end in ends) or not valid():
                return
            if piece.done():
                found = piece.result()
                if found is None:
                    return
                await _send(send, found)
                piece = spawn(queue.get())
            if beat.done():
                await _send(send, b": alive\n\n")
                beat = spawn(clock.sleep(HEARTBEAT))
    finally:
        for task in (piece, beat):
            task.cancel()
        await asyncio.gather(piece, beat, return_exceptions=True)


async def _send(send: Callable[..., Awaitable[None]], body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Callable[[], Awaitable[Any]]) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _closed(stream: AsyncIterator[Event]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception):
            await close()
