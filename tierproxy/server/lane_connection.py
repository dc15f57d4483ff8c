"""A client connection that asks the hit lane first (docs/decisions/0028-hit-lane.md).

What the lane answers needs no ASGI scope, no task and no timer of its own: the response is written while the head is
being parsed, so it is in the transport before the next pipelined request is looked at. Everything else goes the way of
``Connection``, from the point at which it would have begun there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import httptools
from uvicorn.config import Config

from tierproxy.s3api.lane.ports import Lane
from tierproxy.server.connection import MOST_STUCK, Connection, Connections, HeadTooLarge

ORDINARY = frozenset({b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
"""Headers of requests that are more than a head; the lane is not asked about those."""
_TOLD = ORDINARY | {b"connection"}


class LaneConnection(Connection):
    """For subclasses: ``decline`` is what becomes of a request the lane does not answer; it is called once the head is
    complete, with ``url``, ``headers`` and the parser as they are then. ``lane_answers`` counts what the lane has
    answered on this connection. ``lane_open``: False: it is not asked any more."""

    def __init__(
        self, config: Config, server_state: Connections, *, lane: Lane, max_head: int, idle_timeout: float,
        loop: asyncio.AbstractEventLoop, logger: logging.Logger,
    ) -> None:  # fmt: skip
        super().__init__(config, server_state, max_head=max_head, idle_timeout=idle_timeout, loop=loop, logger=logger)
        self.lane = lane
        self.lane_open = True
        self.lane_answers = 0
        self._answered = False  # the message that is being parsed, by the lane
        self._plain = True  # none of ORDINARY has come
        self._names_connection = False

    def data_received(self, data: bytes) -> None:
        """As ``Connection.data_received``. The timer stays armed: when it goes off it looks at the time of the last
        answer, so that no request and no answer has to touch it."""
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        except httptools.HttpParserUpgrade as upgrade:
            self._feed(self._behind(upgrade, data))
        if self._head_bytes > self._max_head and not self.transport.is_closing():
            self._too_large = True
            self.send_400_response("")

    def timeout_keep_alive_handler(self) -> None:
        """While a request is being answered there is no deadline for the next one."""
        self.timeout_keep_alive_task = None
        if not self._idle():
            return
        deadline = self._rested + self.idle_timeout
        if self.loop.time() < deadline:
            self._wait_for_head(deadline)
        else:
            super().timeout_keep_alive_handler()

    # ---------------------------------------------------------------- parser callbacks

    def on_message_begin(self) -> None:
        """As ``Connection``'s, without a call: of a hit every instruction counts."""
        self.url = b""
        self.headers = []
        self._line_bytes = 0
        self._discarded = 0
        self._plain = True
        self._names_connection = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        self._line_bytes += len(name) + len(value) + 4
        if self._line_bytes > self._max_head:
            self._too_large = True
            raise HeadTooLarge
        if name in _TOLD:
            if name == b"connection":
                self._names_connection = True
            else:
                self._plain = False

    def on_headers_complete(self) -> None:
        """Ask the lane, if nothing has to be waited for and the connection is to be kept."""
        parser, cycle = self.parser, self.cycle
        if (
            self._plain
            and self.lane_open
            and (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and self._all.stuck < MOST_STUCK
            and parser.should_keep_alive()  # without a Connection header: HTTP/1.1
            and not (self._names_connection and parser.get_http_version() != "1.1")
            and not self.transport.is_closing()
        ):
            pieces = self.lane.answer(parser.get_method(), self.url, self.headers, self.peer_name, self._all.preamble)
            if pieces is not None:
                self._answered = True
                self.lane_answers += 1
                self._rested = self.loop.time()
                self.transport.writelines(pieces)
                return
        self.decline()

    def decline(self) -> None:
        """The ordinary way: scope, task, and an answer that is waited for."""
        self._all.report()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but the timer stays as it is: what goes off too early looks at ``_rested``."""
        self._all.total_requests += 1
        self._taken = None
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._rested = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_for_head(self._rested + self.idle_timeout)

    def on_message_complete(self) -> None:
        if self._answered:
            self._answered = False
            self._head_bytes = 0
        else:
            super().on_message_complete()


def lane_connection_factory(
    config: Config, state: Connections, *, lane: Lane, max_head: int, idle_timeout: float, logger: logging.Logger
) -> Callable[[], Connection]:
    """What makes every connection."""
    loop = asyncio.get_running_loop()

    def connect() -> Connection:
        return LaneConnection(
            config, state, lane=lane, max_head=max_head, idle_timeout=idle_timeout, loop=loop, logger=logger
        )

    return connect
