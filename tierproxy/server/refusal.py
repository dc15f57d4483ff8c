"""No, and why: the answer to a connection for which there is no room, without anything of one being made for it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress

BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b"<Error><Code>SlowDown</Code><Message>Too many connections; try again.</Message></Error>"
)
ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/xml\r\ncontent-length: %d\r\nretry-after: 1\r\n"
    b"connection: close\r\n\r\n%b" % (len(BODY), BODY)
)
LINGER = 1.0  #: seconds for the client to read it
MOST = 64  #: that linger; who comes after them is cut off sooner


class Refusals:
    """Tells clients no. A socket that is closed with something unread is reset, and the answer may be lost on the way:
    so it is half closed, and closed for good a second later, with what came meanwhile thrown away."""

    def __init__(self) -> None:
        self._lingering: deque[tuple[float, socket.socket]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Refusals, {len(self._lingering)} linger>"

    def refuse(self, client: socket.socket, *, encrypted: bool) -> None:
        """``client`` is closed in any event. ``encrypted``: nothing can be said before hands were shaken, which costs
        more than what is refused."""
        if not encrypted:
            with suppress(OSError):
                client.send(ANSWER)
                client.shutdown(socket.SHUT_WR)
                self._linger(client)
                return
        client.close()

    def close(self) -> None:
        """Nobody lingers any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._lingering:
            self._end()

    def _linger(self, client: socket.socket) -> None:
        if len(self._lingering) >= MOST:
            self._end()
        loop = asyncio.get_running_loop()
        self._lingering.append((loop.time() + LINGER, client))
        if self._timer is None:
            self._timer = loop.call_later(LINGER, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._lingering and self._lingering[0][0] <= loop.time():
            self._end()
        if self._lingering:
            self._timer = loop.call_at(self._lingering[0][0], self._sweep)

    def _end(self) -> None:
        _, client = self._lingering.popleft()
        with suppress(OSError):
            client.recv(65536, socket.MSG_DONTWAIT)
        client.close()
