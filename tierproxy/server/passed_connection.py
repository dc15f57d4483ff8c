"""A client connection that a hit worker has passed to the node: answered here, and passed back when it is at rest.

Not after every answer: to pass a connection and to pass it back costs more than a small answer, and what follows an
upload or a miss is often another one. It goes back once the node's own lane has answered on it: a hit is what workers
are there for.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import NamedTuple

from uvicorn.config import Config

from tierproxy.s3api.lane.ports import Lane
from tierproxy.server.connection import Connections
from tierproxy.server.handover import close
from tierproxy.server.lane_connection import LaneConnection

Back = Callable[[int], bool]
"""Takes the descriptor of a connection at rest, which is its to close then. False: nobody wants it."""


class Origin(NamedTuple):
    """Where a relayed client is: the descriptor does not say."""

    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    scheme: str


class PassedConnection(LaneConnection):
    """``before``: the bytes that were read already. ``origin``: of a relayed connection. ``back``: where it goes when
    it is at rest; None: it stays."""

    def __init__(
        self, config: Config, server_state: Connections, *, before: bytes, origin: Origin | None, back: Back | None,
        lane: Lane, max_head: int, idle_timeout: float, loop: asyncio.AbstractEventLoop, logger: logging.Logger,
    ) -> None:  # fmt: skip
        super().__init__(
            config, server_state, lane=lane, max_head=max_head, idle_timeout=idle_timeout, loop=loop, logger=logger
        )
        self._before = before
        self._origin = origin
        self._back = back
        self._midway = False  # a message has begun and is not complete
        self._waits = False  # for the client to take the last bytes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """What was read before comes first: nothing is read from the transport before this returns."""
        super().connection_made(transport)
        if self._origin is not None:
            self.client, self.server = self._origin.client, self._origin.server
            self.scheme = "https" if self._origin.scheme == "https" else "http"
            self.peer_name = self.client[0] if self.client else self.peer_name
        before, self._before = self._before, b""
        self.data_received(before)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._rest_soon()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._rest_soon()

    def on_message_begin(self) -> None:
        self._midway = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._midway = False
        super().on_message_complete()

    # ---------------------------------------------------------------- at rest

    @property
    def _rests(self) -> bool:
        """All is answered, nothing of a next request has come, and there may be one."""
        return not self._midway and self._idle() and not self.pipeline and not self.transport.is_closing()

    def _rest_soon(self) -> None:
        """Not at once: the loop writes after this, and the caller is not done with the connection."""
        if self._back is not None and self.lane_answers and self._rests:
            self.loop.call_soon(self._go_back)

    def _go_back(self) -> None:
        transport = self.transport
        if self._back is None or not self._rests:
            return
        if transport.get_write_buffer_size():
            self._waits = True
            transport.set_write_buffer_limits(0)  # ``resume_writing`` is called when all is taken
            return
        self.flow.pause_reading()
        try:
            descriptor: int | None = os.dup(transport.get_extra_info("socket").fileno())
        except OSError:
            descriptor = None
        back, self._back = self._back, None
        if descriptor is not None and back(descriptor):
            transport.close()
            return
        close(descriptor)
        self.flow.resume_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._waits:
            self._waits = False
            self.transport.set_write_buffer_limits()
            self._rest_soon()

    def shutdown(self) -> None:
        self._back = None
        super().shutdown()
