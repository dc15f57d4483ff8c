"""One request and its answer: uvicorn's, with a short way for an answer that is at hand.

ASGI's two messages for an answer cost two writes and a look at every header. ``Cycle.answer`` writes the same bytes at
once. What is not the common case (a connection that ends, a header that is unsound or told twice, a body of another
length than declared) it leaves to uvicorn, which says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_NO_NAME = bytes([*range(33), 127]) + b'()<>@,;:[]={}\\"'
_NO_VALUE = bytes([*range(9), *range(10, 32), 127])
"""What uvicorn refuses in names and values (``HEADER_RE``, ``HEADER_VALUE_RE``)."""
_OF_THE_CONNECTION = frozenset({b"connection", b"transfer-encoding"})
_BODILESS = frozenset({204, 304})
_LENGTH = b"content-length"


class Cycle(RequestResponseCycle):
    """``tierproxy.s3api.exchange.Direct``. ``preamble``: the lines of ``default_headers``."""

    preamble = b""
    ended: Callable[[], None] = staticmethod(lambda: None)  #: told when the app is done with it

    async def run_asgi(self, app: ASGI3Application) -> None:
        """The scope names this cycle; without that it goes when its task ends, and not when garbage is collected."""
        try:
            await super().run_asgi(app)
        finally:
            self.scope.pop("extensions", None)
            self.ended()

    @property
    def arrived(self) -> bool:
        """``receive`` would return at once."""
        return self.message_event.is_set() or self.disconnected or self.response_complete

    @property
    def takes(self) -> bool:
        """``send`` would return at once."""
        return not self.flow.write_paused or self.disconnected

    async def drained(self) -> None:
        """Until ``takes``."""
        await self.flow.drain()

    def answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """The whole answer. False: nothing was done, it has to be sent by ``send``."""
        transport = self.transport
        if self.response_started or self.disconnected or not self.keep_alive or self.flow.write_paused:
            return False
        if self.scope["method"] == "HEAD":
            body = b""
        elif not _fits(status, headers, len(body)):
            return False
        head = None if transport.is_closing() else lines(headers)
        if head is None:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        whole = b"%b%b%b\r\n" % (STATUS_LINE[status], self.preamble, head)
        if body:
            transport.writelines((whole, body))
        else:
            transport.write(whole)
        self.message_event.set()
        self.on_response()
        return True


def _fits(status: int, headers: Sequence[tuple[bytes, bytes]], length: int) -> bool:
    """The body has the length that is declared."""
    declared = next((value for name, value in headers if name == _LENGTH), None)
    if declared is None:
        return status in _BODILESS and not length
    return declared == b"%d" % length


def lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Headers as they are sent; None: one is unsound, told twice, not in lower case, or about the connection."""
    found = dict(headers)
    names, values = b"".join(found), b"".join(found.values())
    if len(found) != len(headers) or not _OF_THE_CONNECTION.isdisjoint(found) or names != names.lower():
        return None
    if len(names.translate(None, _NO_NAME)) != len(names) or len(values.translate(None, _NO_VALUE)) != len(values):
        return None
    return b"".join([b"%b: %b\r\n" % header for header in headers])
