"""The object port's listeners from start to graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from email.utils import formatdate
from functools import partial
from typing import Any, cast

from uvicorn.config import Config

from tierproxy.clock import cpu_seconds, late_seconds
from tierproxy.config.sections import ListenSection
from tierproxy.errors import ConfigError
from tierproxy.logs import event
from tierproxy.ports import Clock
from tierproxy.s3api.lane.ports import Lane, Served
from tierproxy.server.capacity import Capacity, Occupant
from tierproxy.server.connection import Connection, Connections, connection_factory
from tierproxy.server.descriptors import allowed_connections
from tierproxy.server.door import Arrival, Door
from tierproxy.server.hits_first import HitsFirst
from tierproxy.server.lane_connection import lane_connection_factory
from tierproxy.server.listeners import Certificate, UnixSocket, check_listen
from tierproxy.server.openings import Openings
from tierproxy.server.refusal import Refusals

logger = logging.getLogger("tierproxy.server")

TICK = 1.0  #: seconds between two looks at the clock (Date header) and at the certificate files
REPORT = 0.25  #: seconds between two looks at what the lane has answered
CUT_WAIT = 2.0  #: seconds for cancelled requests to let go of what they hold

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def _unheard(_served: Served) -> None:
    """Nobody counts."""


class ObjectServer:
    """Serves an ASGI app on a TCP address (plain or TLS) and on a unix socket, as ``[listen]`` says.

    Signals are not its business. The event loop is the caller's: uvloop where speed counts.
    Raises ConfigError from the constructor (a listener that must not be opened) and from ``start`` (address taken,
    certificate unusable).
    """

    title = "object port"

    def __init__(
        self, listen: ListenSection, app: Application, clock: Clock, *, lane: Lane | None = None,
        served: Callable[[Served], None] = _unheard, openings: Openings | None = None, most: int = 0,
        hits_first: HitsFirst | None = None,
    ) -> None:  # fmt: skip
        """``lane``: is asked first; None: everything goes the ordinary way. ``served`` is told what it has answered,
        now and then and once more at the end of ``stop``. ``openings``: what was opened for it before. ``most``:
        connections at once; 0: as many as ``allowed_connections``. ``hits_first``: is told of hits and of the loop's
        time."""
        check_listen(listen)
        self.listen = listen
        self._lane = lane
        self._served = served
        self._openings = openings or Openings()
        self.address: tuple[str, int] | None = None  #: host and port bound by ``start``
        self._clock = clock
        self._state = Connections()
        everybody = cast("Collection[Occupant]", self._state.connections)
        self.capacity = Capacity(everybody, most or allowed_connections(listen))
        self._refusals = Refusals()
        self._hits_first = hits_first
        self._hits = 0  # that the lane has answered
        if lane is not None:
            self._state.report = partial(self._report, lane)
        self._config = Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._doors: list[Door] = []
        self._unix = UnixSocket(listen) if listen.unix_socket else None
        self._certificate: Certificate | None = None
        self._tickers: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.url or self.listen.unix_socket}, {len(self._state.connections)} connections>"
        )

    @property
    def url(self) -> str | None:
        """Where clients on this machine find the TCP listener; None before ``start`` and without one."""
        if self.address is None:
            return None
        host, port = self.address
        scheme = "https" if self._certificate else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._state.connections)

    def overload(self) -> dict[str, int]:
        """What was refused or ended for want of room, since the start."""
        return self.capacity.told()

    async def start(self) -> None:
        """Open every listener, or none and raise ConfigError."""
        self._config.load()
        self._tick()
        try:
            await self._open()
        except BaseException:
            await self.stop(0)
            raise
        loop = asyncio.get_running_loop()
        self._tickers.append(loop.create_task(self._tick_on(), name="object-server-ticker"))
        if self._lane is not None:
            self._tickers.append(loop.create_task(self._report_on(self._lane), name="object-server-reports"))
        event(logger, logging.INFO, f"{self.title} open", url=self.url, unix_socket=self.listen.unix_socket or None)

    async def _open(self) -> None:
        if self.listen.tls_certificate:
            self._certificate = self._openings.certificate(self.listen.tls_certificate, self.listen.tls_key)
        if self.listen.address:
            bound = self._openings.tcp(self.listen.address)
            self.address = bound.getsockname()[:2]
            self._serve(bound, self._certificate.context if self._certificate else None)
        if self._unix:
            self._serve(self._unix.bind(), None)

    def _serve(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Raises ConfigError. ``bound`` is closed in any event, at the end or now."""
        self._doors.append(self._door(bound, tls))

    def _door(self, bound: socket.socket, tls: ssl.SSLContext | None) -> Door:
        """Raises ConfigError."""
        door = Door(bound, self._factory(), self.capacity, self._refusals, tls)
        try:
            door.open()
        except OSError as error:
            bound.close()
            raise ConfigError(f"cannot listen: {error}") from error
        return door

    def _factory(self) -> Callable[[], Connection]:
        """What makes the protocol of a new connection."""
        if self._lane is not None:
            return lane_connection_factory(
                self._config, self._state, lane=self._lane, max_head=self.listen.max_header_bytes,
                idle_timeout=self.listen.idle_timeout, logger=quiet_logger(),
            )  # fmt: skip
        return connection_factory(
            self._config,
            self._state,
            max_head=self.listen.max_header_bytes,
            idle_timeout=self.listen.idle_timeout,
            logger=quiet_logger(),
        )

    def reload(self, listen: ListenSection) -> None:
        """Apply what of ``[listen]`` is reloadable: the certificate's files. A pair that cannot be used is logged and
        the old one kept. TLS is neither switched on nor off."""
        if self._certificate and listen.tls_certificate:
            self._certificate.move(listen.tls_certificate, listen.tls_key)

    # ---------------------------------------------------------------- every second

    async def _tick_on(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            self._tick()

    def _tick(self) -> None:
        date = formatdate(self._clock.now(), usegmt=True).encode()
        self._state.stamp([(b"date", date), (b"server", b"tierproxy")])
        if self._certificate:
            self._certificate.follow()

    async def _report_on(self, lane: Lane) -> None:
        while True:
            await self._clock.sleep(REPORT)
            self._report(lane)
            if self._hits_first is not None:
                self._hits_first.look(self._hits, cpu_seconds(), late_seconds(), self._clock.monotonic())

    def _report(self, lane: Lane) -> None:
        served = lane.take()
        if served:
            self._hits += sum(served.answers.values())
            self._served(served)

    # ---------------------------------------------------------------- stop

    async def stop(self, grace: float) -> None:
        """Stop accepting; let running requests finish within ``grace`` seconds; cut the rest. Idempotent."""
        tickers, self._tickers = self._tickers, []
        for ticker in tickers:
            ticker.cancel()
        await asyncio.gather(*tickers, return_exceptions=True)
        doors, self._doors = self._doors, []
        for door in doors:
            door.close()
        if self._unix:
            self._unix.remove()
        await self._turn_away()
        await self._let_finish(grace)
        await self._cut_rest()
        self._refusals.close()
        if self._lane is not None:
            self._report(self._lane)

    async def _turn_away(self) -> None:
        """Who is still coming in."""
        arriving = [one.task for one in self.capacity.arriving if isinstance(one, Arrival) and one.task is not None]
        for task in arriving:
            task.cancel()
        await asyncio.gather(*arriving, return_exceptions=True)

    async def _let_finish(self, grace: float) -> None:
        """Idle connections close at once, busy ones after their response."""
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                if self._state.connections:
                    await self._state.empty.wait()
                if self._state.tasks:
                    await asyncio.wait(set(self._state.tasks))

    async def _cut_rest(self) -> None:
        running = set(self._state.tasks)
        for task in running:
            task.cancel()
        if running:
            event(logger, logging.WARNING, "requests cut at shutdown", requests=len(running))
            await asyncio.wait(running, timeout=CUT_WAIT)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)


def quiet_logger() -> logging.Logger:
    """For uvicorn's words on broken requests and on exceptions: the app has said what there is to say, so errors of one
    connection are for debugging only."""
    quiet = logging.getLogger("tierproxy.server.uvicorn")
    quiet.setLevel(logging.CRITICAL)
    return quiet
