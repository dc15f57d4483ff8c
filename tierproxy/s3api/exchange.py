"""One HTTP exchange over ASGI: reading the request's body under back-pressure, sending the response, cutting it off.

Time limits are against silence, not against slowness: a client that moves a byte now and then is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeVar

from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request

T = TypeVar("T")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
HeaderList = list[tuple[bytes, bytes]]

CONNECTION = "tierproxy.connection"
"""Key in the ASGI scope's ``extensions`` under which a server offers its ``Wire``."""

DIRECT = "tierproxy.direct"
"""The same of its ``Direct``."""


PIECE = 256 * 1024  #: bytes of an answer that are written at once
_NOT_YET: HeaderList = []


class Wire(Protocol):
    """What an exchange needs to know of the connection below."""

    def is_closing(self) -> bool: ...

    def get_write_buffer_size(self) -> int: ...

    def progress(self) -> int:
        """Grows while the client takes bytes."""
        ...

    def abort(self) -> None: ...


class Direct(Protocol):
    """What is known of the exchange by the server that ASGI's messages do not tell: without it everything has a time
    limit, and an answer is two messages."""

    @property
    def arrived(self) -> bool:
        """``receive`` would return at once."""
        ...

    @property
    def takes(self) -> bool:
        """``send`` would return at once."""
        ...

    async def drained(self) -> None:
        """Until ``takes``."""
        ...

    def answer(self, status: int, headers: HeaderList, body: bytes) -> bool:
        """Send the whole answer. False: nothing was done, ``send`` has to."""
        ...


class Disconnected(Exception):
    """The client has left in the middle of its request or of the answer."""


class Cut(Exception):
    """The answer cannot be finished and the connection must not be used again. Raised out of the app after the response
    has started: every ASGI server then closes without the bytes that are missing, so that the client sees a broken
    answer and never a short one that looks whole."""


class Exchange:
    """A request's body and its response. ``timeout``: seconds without a byte before the client is given up."""

    __slots__ = (
        "_direct",
        "_receive",
        "_send",
        "_since",
        "_timeout",
        "_waited",
        "_wire",
        "access_key",
        "consumed",
        "headers",
        "operation",
        "peer",
        "pulled",
        "received",
        "request",
        "scheme",
        "sent",
        "started",
        "status",
        "streams",
        "trace_id",
    )

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, timeout: float) -> None:
        self._receive = receive
        self._send = send
        self._timeout = timeout
        extensions = scope.get("extensions") or {}
        self._wire: Wire | None = extensions.get(CONNECTION)
        self._direct: Direct | None = extensions.get(DIRECT)
        self.scheme: str = scope.get("scheme", "http")
        client = scope.get("client")
        self.peer: str = client[0] if client else "unix"  #: the client's host
        self.request: Request | None = None  #: once it is parsed
        self.access_key = ""  #: who asks, once that is known
        self.operation = ""
        self.trace_id = ""
        self.streams = scope.get("http_version") != "1.0"  #: a response of unknown length can be sent
        self.pulled = False  #: the body has been asked for (Expect: 100-continue has been answered)
        self.consumed = False  #: the last byte of the body has been read
        self.received = 0  #: bytes of the request's body
        self.started = False
        self.status = 0
        self.headers: HeaderList = _NOT_YET  #: of the response
        self.sent = 0  #: bytes of the response body
        self._since: float | None = None  # when it began to wait for the client, to send or to take bytes
        self._waited = 0.0

    # ---------------------------------------------------------------- waiting for the client

    @property
    def waits(self) -> bool:
        """For the client, to send or to take bytes."""
        return self._since is not None

    @property
    def waited(self) -> float:
        """Seconds for which it has waited for the client. What the client waited for is not among them."""
        return self._waited + (0.0 if self._since is None else asyncio.get_running_loop().time() - self._since)

    async def _patiently(self, step: Awaitable[T]) -> T:
        """``step``, which waits for the client. Raises TimeoutError."""
        self._since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timeout):
                return await step
        finally:
            self._waited, self._since = self.waited, None

    # ---------------------------------------------------------------- the request's body

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The raw body, piece by piece; nothing is read from the client before it is asked for here.

        Raises S3Error RequestTimeout, Disconnected.
        """
        while not self.consumed:
            self.pulled = True
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise Disconnected
            self.consumed = not message.get("more_body", False)
            if piece := message.get("body", b""):
                self.received += len(piece)
                yield piece

    async def _next(self) -> Message:
        if self._direct is not None and self._direct.arrived:
            return await self._receive()
        try:
            return await self._patiently(self._receive())
        except TimeoutError:
            raise S3Error(
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period.",
            ) from None

    async def left(self) -> None:
        """Until the client has left. Only once the body was read to its end: this throws away what comes."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    # ---------------------------------------------------------------- the response

    async def answer(self, status: int, headers: HeaderList, body: bytes = b"") -> None:
        """A whole response whose body is at hand."""
        if len(body) > PIECE:
            await self._answer_in_pieces(status, headers, body)
            return
        self.started = True
        self.status = status
        self.headers = headers
        gone = self.gone  # before: an answer may end the connection
        if self._direct is None or not self._direct.answer(status, headers, body):
            # With nothing left of earlier answers the server takes this one at once: no need of a time limit.
            deliver = self._deliver if self._waiting() else self._send
            await deliver({"type": "http.response.start", "status": status, "headers": headers})
            await deliver({"type": "http.response.body", "body": body})
        self.sent = 0 if gone else len(body)

    async def _answer_in_pieces(self, status: int, headers: HeaderList, body: bytes) -> None:
        """What is written at once waits in memory, and the request would be over before the client has any of it."""
        view = memoryview(body)
        await self.start(status, headers)
        last = (len(body) - 1) // PIECE * PIECE
        for begin in range(0, last, PIECE):
            await self.write(view[begin : begin + PIECE])
        await self.finish(view[last:])

    async def settle(self) -> None:
        """Until the client has taken what was sent, but for what a connection may have waiting at any time: whose
        answer waits in memory is not done. Raises Cut, after which nothing is sent any more."""
        if self._direct is not None and not self._direct.takes:
            await self._while_it_takes(self._direct.drained)

    async def start(self, status: int, headers: HeaderList) -> None:
        self.started = True
        self.status = status
        self.headers = headers
        await self._deliver({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, piece: bytes | memoryview) -> None:
        """Send a piece of the body; returns when the connection takes more. Raises Disconnected, Cut."""
        await self._deliver({"type": "http.response.body", "body": piece, "more_body": True})
        self.sent += len(piece)

    async def taken(self) -> None:
        """Until ``write`` would take the next piece at once: one that is read before lies in memory beside the one the
        client has not taken. Raises Disconnected, Cut."""
        if self._direct is not None and not self._direct.takes:
            await self._deliver({"type": "http.response.body", "body": b"", "more_body": True})

    async def finish(self, piece: bytes | memoryview = b"") -> None:
        """Send the last piece."""
        await self._deliver({"type": "http.response.body", "body": piece})
        self.sent += len(piece)

    async def _deliver(self, message: Message) -> None:
        """A server waits before it writes, never after: a send that timed out has sent nothing and may be repeated as
        long as the client takes bytes of what is buffered."""
        if self._direct is not None and self._direct.takes:
            await self._send_to_who_is_here(message)
        else:
            await self._while_it_takes(lambda: self._send_to_who_is_here(message))

    async def _send_to_who_is_here(self, message: Message) -> None:
        if self.gone:
            raise Disconnected
        await self._send(message)

    async def _while_it_takes(self, step: Callable[[], Awaitable[None]]) -> None:
        """``step``, which waits for the client, again and again as long as that takes bytes. Raises Cut."""
        taken = self._progress()
        while True:
            try:
                await self._patiently(step())
                return
            except TimeoutError:
                before, taken = taken, self._progress()
                if taken <= before:
                    raise Cut("the client takes no bytes") from None

    def _progress(self) -> int:
        return 0 if self._wire is None else self._wire.progress()

    def _waiting(self) -> int:
        """Bytes the client has not taken yet."""
        return self._wire.get_write_buffer_size() if self._wire is not None and not self._wire.is_closing() else 0

    @property
    def gone(self) -> bool:
        """The client has left, as far as the server tells."""
        return self._wire is not None and self._wire.is_closing()

    def cut(self) -> None:
        """Drop the connection with all that is not yet sent, if the server lets us."""
        if self._wire is not None:
            self._wire.abort()
