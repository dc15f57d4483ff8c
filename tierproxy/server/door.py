"""Where connections come in.

They are accepted here and not by the event loop. When descriptors are short, uvloop (0.22) closes who comes without a
word; when accept(2) fails otherwise (ENOBUFS, ENOMEM, no spare descriptor left) it closes the listener for good, and
says nothing either (``UVStreamServer._fatal_error``). And no loop asks whether there is room before it makes a
connection.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable

from tierproxy.logs import event
from tierproxy.server.capacity import Capacity, Occupant
from tierproxy.server.connection import Connection
from tierproxy.server.refusal import Refusals

logger = logging.getLogger("tierproxy.server")

BACKLOG = 2048  #: connections the kernel keeps until they are accepted
BATCH = 64  #: accepted in one turn of the loop: those that are here have their turn as well
PAUSE = 0.1  #: seconds without accepting, after the system had nothing to accept with
TLS_HANDSHAKE = 10.0  #: seconds for the TLS handshake
TLS_GOODBYE = 3600.0
"""Seconds in which a TLS connection that was closed has to be gone: the loop takes no notice of whether the client is
still taking what was written. ``tierproxy.server.taking.Parting`` does, and ends it sooner."""
MAKING_ROOM = 8  #: idle connections that give way when the system is out of descriptors

_ITS_OWN = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ETIMEDOUT,
})  # fmt: skip
"""Errors of the connection that was to be accepted (accept(2), "Error handling"): the next one may be in order."""

Factory = Callable[[], Connection]


class Arrival:
    """A connection that has been accepted: nothing was asked of it yet, and TLS may still shake hands."""

    def __init__(self, client: socket.socket, peer: str, since: float, everybody: set[Occupant]) -> None:
        self._client = client
        self._everybody = everybody
        everybody.add(self)
        self.peer_name = peer
        self._since = since
        self.task: asyncio.Task[None] | None = None

    @property
    def resting(self) -> float | None:
        return self._since

    def give_way(self) -> None:
        if self.task is not None:
            self.task.cancel()

    async def enter(self, factory: Factory, tls: ssl.SSLContext | None) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()

        def make() -> Connection:
            connection = factory()
            connection.entered = self._entered
            return connection

        if tls is None:
            await loop.connect_accepted_socket(make, self._client)
        else:
            await loop.connect_accepted_socket(
                make, self._client, ssl=tls, ssl_handshake_timeout=TLS_HANDSHAKE, ssl_shutdown_timeout=TLS_GOODBYE
            )

    def _entered(self) -> None:
        """It is a connection from now on, and counted as one."""
        self._everybody.discard(self)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Whatever became of it: without a connection the socket is closed here."""
        self._everybody.discard(self)
        if task.cancelled() or task.exception() is not None:
            self._client.close()


class Door:
    """``bound``: a bound socket, which is this one's to close. ``factory`` makes the protocol of a connection."""

    def __init__(
        self, bound: socket.socket, factory: Factory, capacity: Capacity, refusals: Refusals,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._bound = bound
        self._factory = factory
        self._capacity = capacity
        self._refusals = refusals
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._closed = False
        self._failing = False  # since the last connection that was accepted

    def __repr__(self) -> str:
        return f"<Door {'closed' if self._closed else self._bound.getsockname()}>"

    def open(self) -> None:
        """Listen. Raises OSError."""
        self._bound.setblocking(False)
        self._bound.listen(BACKLOG)
        self._loop.add_reader(self._bound.fileno(), self._accept)

    def close(self) -> None:
        """Nobody comes in any more. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        else:
            self._loop.remove_reader(self._bound.fileno())
        self._bound.close()

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                client, address = self._bound.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _ITS_OWN:
                    continue
                self._rest(error)
                return
            self._failing = False
            client.setblocking(False)
            self._welcome(client, address[0] if isinstance(address, tuple) else "unix")

    def _welcome(self, client: socket.socket, peer: str) -> None:
        now = self._loop.time()
        if not self._capacity.admits(peer, now):
            self._refusals.refuse(client, encrypted=self._tls is not None)
            return
        arrival = Arrival(client, peer, now, self._capacity.arriving)
        arrival.task = task = self._loop.create_task(arrival.enter(self._factory, self._tls), name="arrival")
        task.add_done_callback(arrival.ended)

    def _rest(self, error: OSError) -> None:
        """The system is out of descriptors or memory. A listener that is left as it is would be ready for ever: the
        loop would do nothing else. Who is idle gives way meanwhile."""
        if not self._failing:  # once, and not ten times a second
            self._failing = True
            event(logger, logging.ERROR, "connections not accepted", error=error)
        self._capacity.failures += 1
        self._loop.remove_reader(self._bound.fileno())
        for _ in range(MAKING_ROOM):
            self._capacity.displace("", self._loop.time())
        self._again = self._loop.call_later(PAUSE, self._return)

    def _return(self) -> None:
        self._again = None
        self._loop.add_reader(self._bound.fileno(), self._accept)
