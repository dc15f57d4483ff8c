"""A client connection at a hit worker: what the lane answers is answered, all else is the node's, with the connection.

The raw bytes since the last answered request are kept, and the parser is given one head at a time, so that of several
pipelined requests those behind an answered one go to the node whole. Whatever is in doubt goes to the node as it came:
it answers as if there were no workers. States and owners: docs/decisions/0029-hit-workers.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Any, Protocol

from uvicorn.config import Config

from tierproxy.s3api.lane.ports import Lane
from tierproxy.server.connection import Connections
from tierproxy.server.lane_connection import LaneConnection
from tierproxy.server.taking import taken

HEAD_END = b"\r\n\r\n"
PIECES = 16  #: a head that comes in more of them is the node's: each costs a look at all of it
_BEGUN = re.compile(
    rb"(?:GET|HEAD) [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*"
    rb"(?:\r|[!#$%&'*+.^_`|~0-9A-Za-z-]+(?::[^\r\n\0]*\r?)?)?"
)
"""A head that is not whole yet and that the lane may still answer."""


class Office(Protocol):
    """Where connections go that the worker does not answer."""

    def hand_over(self, descriptor: int, data: bytes, facts: Mapping[str, Any]) -> None:
        """``descriptor`` is the office's to close. ``facts``: where the client is, when the descriptor does not say."""
        ...


class Declined(Exception):
    """Out of the parser: the lane does not answer this request."""


class Phase(Enum):
    """Who has the connection."""

    SERVING = auto()
    DRAINING = auto()  #: nothing is read any more; the client takes the rest of what was written
    PASSED = auto()
    RELAYED = auto()  #: TLS ends here, its content goes to and fro


class WorkerConnection(LaneConnection):
    """``office``: who takes what is not answered here."""

    def __init__(
        self, config: Config, server_state: Connections, *, office: Office, lane: Lane, max_head: int,
        idle_timeout: float, loop: asyncio.AbstractEventLoop, logger: logging.Logger,
    ) -> None:  # fmt: skip
        super().__init__(
            config, server_state, lane=lane, max_head=max_head, idle_timeout=idle_timeout, loop=loop, logger=logger
        )
        self._office = office
        self._raw = b""  # what has come since the last answered request
        self._pieces = 0  # in which it came, while its head is not whole
        self._relay: Relay | None = None
        self.phase = Phase.SERVING

    def data_received(self, data: bytes) -> None:
        if self._relay is not None:
            self._relay.write(data)
            return
        self._raw = self._raw + data if self._raw else data
        self._advance()

    def _advance(self) -> None:
        """Answer what is there, head by head, as far as the client takes the answers."""
        while self._raw and self.phase is Phase.SERVING and not self.transport.is_closing():
            if self.flow.write_paused:
                self.flow.pause_reading()
                return
            end = self._raw.find(HEAD_END) + len(HEAD_END)
            if end < len(HEAD_END):
                self._wait_for_more()
                return
            head = self._raw[:end]
            before = self.lane_answers
            # A lone line feed may end a head as well, for some: then this is not where the next request begins.
            if head.count(b"\n") == head.count(b"\r\n"):
                super().data_received(head)
            if self.lane_answers == before:
                self._leave()
                return
            self._raw, self._pieces = self._raw[end:], 0

    def _wait_for_more(self) -> None:
        self._pieces += 1
        if self._pieces > PIECES or len(self._raw) > self._max_head or _BEGUN.fullmatch(self._raw) is None:
            self._leave()

    def decline(self) -> None:
        raise Declined

    def send_400_response(self, msg: str) -> None:
        """What is wrong, the node says. ``_advance`` sees that there was no answer."""

    # ---------------------------------------------------------------- leaving

    def _leave(self) -> None:
        """Pass the connection on, as soon as the client has taken what was written. Then it is closed here, which is
        no shutdown: the node has it."""
        self.phase = Phase.DRAINING
        self.flow.pause_reading()
        self._unset_keepalive_if_required()
        self._wait_for_head(self.loop.time() + self.idle_timeout)
        self._pass()

    def _pass(self) -> None:
        transport = self.transport
        if self.phase is not Phase.DRAINING or transport.is_closing():
            return
        if self.scheme == "https":
            self._begin_relay()
        elif transport.get_write_buffer_size():
            transport.set_write_buffer_limits(0)  # ``resume_writing`` is called when all is taken
        else:
            try:
                descriptor = os.dup(transport.get_extra_info("socket").fileno())
            except OSError:  # no descriptor is free: this one will be
                transport.abort()
                return
            self.phase = Phase.PASSED
            self._office.hand_over(descriptor, self._raw, {})
            self._raw = b""
            transport.close()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._relay is not None:
            self._relay.resume_reading()
        else:
            self.loop.call_soon(self._go_on)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._relay is not None:
            self._relay.pause_reading()  # so that it would not see either that the node has given the client up
            if self.timeout_keep_alive_task is None:
                self._taken = taken(self.transport)
                self._wait_for_head(self.loop.time() + self.idle_timeout)

    def _go_on(self) -> None:
        if self.phase is Phase.DRAINING:
            self._pass()
        elif self.phase is Phase.SERVING and not self.transport.is_closing():
            self.flow.resume_reading()
            self._advance()

    def _begin_relay(self) -> None:
        try:
            mine, theirs = socket.socketpair()
        except OSError:
            self.transport.abort()
            return
        self.phase = Phase.RELAYED
        self._unset_keepalive_if_required()
        self._relay = Relay(self.transport, mine, self.loop, self.close)
        facts = {"client": self.client, "server": self.server, "scheme": self.scheme}
        self._office.hand_over(theirs.detach(), self._raw, facts)
        self._raw = b""
        self.flow.resume_reading()

    # ---------------------------------------------------------------- the end

    @property
    def resting(self) -> float | None:
        """Only the node knows it of what it has."""
        return super().resting if self.phase is Phase.SERVING else None

    def timeout_keep_alive_handler(self) -> None:
        """Of a relayed one only the client that takes nothing of what waits for it is ours to judge."""
        if self.phase is not Phase.RELAYED:
            super().timeout_keep_alive_handler()
            return
        self.timeout_keep_alive_task = None
        if self.flow.write_paused and not self.transport.is_closing():
            before, self._taken = self._taken, taken(self.transport)
            if self._taken == before:
                self.transport.abort()
            else:
                self._wait_for_head(self.loop.time() + self.idle_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._relay is not None:
            self._relay.close()

    def shutdown(self) -> None:
        """A stop ends what is idle; what belongs to the node ends there."""
        if self.phase is Phase.SERVING:
            super().shutdown()


class Relay(asyncio.Protocol):
    """Copies between a client's connection and one end of a socket pair, whose other end the node has, at the pace of
    the slower side. When either ends, so does the other; ``close``: how the client's does, once it has taken all."""

    def __init__(
        self, client: asyncio.Transport, end: socket.socket, loop: asyncio.AbstractEventLoop, close: Callable[[], None]
    ) -> None:
        self._client = client
        self._part = close
        self._end = end
        self._node: asyncio.Transport | None = None
        self._early = bytearray()
        self._closing = False
        self._opening = loop.create_task(self._open(loop), name="relay")

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._end.setblocking(False)
            await loop.create_unix_connection(lambda: self, sock=self._end)
        except OSError:
            self._end.close()
            self._client.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._node = transport
        if self._closing:
            transport.close()
        elif self._early:
            transport.write(bytes(self._early))
            self._early.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._part()

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def pause_writing(self) -> None:
        if not self._client.is_closing():
            self._client.pause_reading()

    def resume_writing(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()

    def write(self, data: bytes) -> None:
        """What the client has sent."""
        if self._node is None:
            self._early += data
        else:
            self._node.write(data)

    def pause_reading(self) -> None:
        """The client does not take more for now."""
        if self._node is not None and not self._node.is_closing():
            self._node.pause_reading()

    def resume_reading(self) -> None:
        if self._node is not None and not self._node.is_closing():
            self._node.resume_reading()

    def close(self) -> None:
        """The client has left."""
        self._closing = True
        if self._node is not None:
            self._node.close()
