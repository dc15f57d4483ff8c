"""How far a client has taken what was written to it, and the end of a connection whose client is still at it.

The loop does not tell. What it calls a transport's buffer leaves out what lies in the kernel, with TLS also what lies
in the transport below; a transport that was closed waits for its buffer for ever, and with TLS no longer than one
timeout, whatever is left. The kernel knows (tcp(7), ``TCP_INFO``, ``SIOCOUTQ``).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import sys
import termios

_ACKNOWLEDGED = struct.Struct("<Q")
_AT = 120  #: of ``tcpi_bytes_acked`` in ``struct tcp_info`` (linux/tcp.h)
LOOK = 1.0  #: seconds from one look at a client that leaves to the next


def taken(transport: asyncio.Transport) -> int:
    """Grows while the client takes bytes, and says nothing else."""
    try:
        client = transport.get_extra_info("socket")
        told = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _AT + _ACKNOWLEDGED.size)
        return int(_ACKNOWLEDGED.unpack_from(told, _AT)[0])
    except (AttributeError, OSError, ValueError, struct.error):  # a unix socket, an older kernel, or it is gone
        return -_buffered(transport)


def owed(transport: asyncio.Transport) -> int:
    """Bytes that were written and not taken, as far as anybody tells: 0 where there are none."""
    buffered = _buffered(transport)
    if buffered:
        return buffered
    try:
        descriptor = transport.get_extra_info("socket").fileno()
        return int.from_bytes(fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except (AttributeError, OSError, ValueError):  # it is gone
        return 0


def _buffered(transport: asyncio.Transport) -> int:
    try:
        return transport.get_write_buffer_size()
    except AttributeError:  # asyncio's with TLS, closed twice, has forgotten what it was
        return 0


class Parting:
    """A transport that was closed, until its client has taken what was written: aborted when the client takes nothing
    for ``patience`` seconds, or has it all and does not leave (with TLS the other half of the goodbye is waited for).
    ``end``: the transport is gone."""

    def __init__(self, transport: asyncio.Transport, patience: float, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._patience = patience
        self._loop = loop
        self._taken = taken(transport)
        self._deadline = loop.time() + patience
        self._satisfied = not owed(transport)
        self._timer = loop.call_later(min(LOOK, patience), self._look)

    def __repr__(self) -> str:
        return f"<Parting from {self._transport!r}>"

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now, before, satisfied = self._loop.time(), self._taken, self._satisfied
        self._taken, self._satisfied = taken(self._transport), not owed(self._transport)
        if self._taken > before:
            self._deadline = now + self._patience
        if (satisfied and self._satisfied) or now >= self._deadline:
            self._transport.abort()
            return
        self._timer = self._loop.call_later(min(LOOK, self._patience), self._look)
