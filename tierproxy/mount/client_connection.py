"""One HTTP/1.1 connection to the node (RFC 9112): a request out, its answer in, nothing else.

Whatever is not a whole answer is ``Broken``: a connection that ends early, bytes that are no HTTP, an answer that does
not say how long it is. A connection on which anything was odd is never used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httptools

MOST_BUFFERED = 2**20
"""Bytes of a body that wait to be taken before the node is made to wait."""
MOST_HEAD = 64 * 1024


class Broken(Exception):
    """There is no (whole) answer. ``answered``: some of it came."""

    def __init__(self, message: str, *, answered: bool = False) -> None:
        super().__init__(message)
        self.answered = answered


def nothing() -> None:
    """The progress nobody follows."""


class Connection(asyncio.Protocol):
    """For one request at a time: ``begin``, ``send``, ``head``, ``more`` until it is empty, then ``reusable``.
    ``heard`` is called whenever anything comes."""

    def __init__(self, heard: Callable[[], None] = nothing) -> None:
        self._heard = heard
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False  #: the transport takes no more for now
        self._held = False  #: we take no more for now
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._head_bytes = 0
        self._progress: Callable[[], None] = nothing
        self._no_body = False
        self._complete = True
        self._error: Broken | None = None
        self._keep = False
        self.status = 0
        self.headers: dict[str, bytes] = {}
        self.headed = False  #: status and headers of the answer are here
        self.idle_since = 0.0  #: monotonic seconds, kept by the pool
        self.stale = False  #: the request is not the first on this connection
        self._used = False
        self._ended = False

    def __repr__(self) -> str:
        return f"<Connection {'closed' if self.closed else 'open'}, status {self.status}>"

    @property
    def closed(self) -> bool:
        return self._error is not None or self._transport is None or self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """The answer was taken to its end, nothing came behind it, and the node keeps the connection."""
        taken = self._complete and not self._chunks
        return taken and self._keep and not (self.closed or self._paused or self._ended)

    # ---------------------------------------------------------------- a request

    def begin(self, *, no_body: bool, progress: Callable[[], None]) -> None:
        """loop. A request is about to be sent. ``no_body``: its answer has none whatever it says (HEAD)."""
        self._parser = httptools.HttpResponseParser(self)
        self._no_body, self._progress = no_body, progress
        self.status, self.headers, self.headed = 0, {}, False
        self._complete, self._keep, self._head_bytes = False, False, 0
        self._chunks, self._buffered = [], 0
        self.stale, self._used = self._used, True

    def send(self, data: bytes) -> None:
        """loop. Raises Broken."""
        if self._transport is None or self._error is not None:
            raise self._error or Broken("the connection is closed")
        self._transport.write(data)

    async def drained(self) -> None:
        """Until the connection takes more, or the answer has begun. Raises Broken."""
        while self._paused and not self.headed:
            await self._wait()

    async def head(self) -> None:
        """Until ``status`` and ``headers`` are here. Raises Broken."""
        while not self.headed:
            await self._wait()

    async def more(self) -> bytes:
        """The next bytes of the body, b"" behind its last. Raises Broken."""
        while not self._chunks and not self._complete:
            await self._wait()
        data = b"".join(self._chunks) if len(self._chunks) != 1 else self._chunks[0]
        self._chunks, self._buffered = [], 0
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()
        return data

    def end_of_use(self) -> None:
        """loop. Not for another request, however this one ends."""
        self._ended = True

    def close(self) -> None:
        """loop. Cut it off."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, message: str) -> None:
        if self._error is None:
            self._error = Broken(message, answered=self.headed or self._head_bytes > 0)
        self.close()
        self._wake()

    # ---------------------------------------------------------------- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        self._heard()
        if self._complete:
            self._break("the node sent more than an answer")
            return
        self._progress()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._break(f"what the node sent is not HTTP: {error}")
        if not self.headed and self._head_bytes > MOST_HEAD:
            self._break("the head of the answer has no end")
        self._wake()

    def eof_received(self) -> None:
        """asyncio closes the connection then."""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._complete:
            self._error = self._error or Broken("the connection was closed")
        self._break(f"the connection ended before the answer did{f': {exc}' if exc else ''}")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._progress()
        self._wake()

    # ---------------------------------------------------------------- httptools

    def on_message_begin(self) -> None:
        if self._complete:
            self._keep = False  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.headed:  # a trailer, or what is no part of this answer
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes <= MOST_HEAD:
            self.headers[name.decode("latin-1").lower()] = value

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; the real one follows
            self.headers = {}
            return
        self.status, self.headed = status, True
        if self._no_body:
            self._end()

    def on_body(self, body: bytes) -> None:
        if self._complete:
            self._keep = False
            return
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > MOST_BUFFERED and not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.headed and not self._complete:
            self._end()

    def _end(self) -> None:
        self._keep = bool(self._parser.should_keep_alive())
        self._complete = True
