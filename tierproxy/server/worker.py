"""A hit worker: listens on a socket it was given, answers what its lane answers, passes everything else to the node.

It owns nothing: it may be killed at any time, and ends by itself when the node does.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tierproxy.config.sections import Config, ListenSection
from tierproxy.logs import event
from tierproxy.ports import Clock
from tierproxy.s3api.lane.ports import Lane
from tierproxy.server.connection import Connection
from tierproxy.server.descriptors import worker_connections
from tierproxy.server.handover import Channel, Frame, Kind, close
from tierproxy.server.listeners import Certificate
from tierproxy.server.object_server import ObjectServer, quiet_logger
from tierproxy.server.reports import told
from tierproxy.server.worker_connection import WorkerConnection

log = logging.getLogger(__name__)
PERIOD = 1.0  #: seconds from one report to the next: what a killed worker takes with it
BEHIND = 64  #: frames not sent: the node does not listen, and what was served is kept for later


async def nothing(_scope: object, _receive: object, _send: object) -> None:
    """The ASGI app of a worker, which answers nothing that way."""
    raise RuntimeError("a hit worker has no app")


class WorkerServer(ObjectServer):
    """The listener of one worker."""

    title = "hit worker"

    def __init__(
        self, listen: ListenSection, lane: Lane, bound: socket.socket, channel: Channel, clock: Clock
    ) -> None:  # fmt: skip
        super().__init__(_of_worker(listen), nothing, clock, most=worker_connections(listen))
        self._worker_lane = lane
        self._bound = bound
        self._channel = channel
        self._adopting: set[asyncio.Task[None]] = set()
        self.stopping = False
        self._loop = asyncio.get_running_loop()
        self._told: Counter[str] = Counter()  # of ``overload``
        self._connect = self._factory()

    async def _open(self) -> None:
        if self.listen.tls_certificate:
            self._certificate = Certificate(self.listen.tls_certificate, self.listen.tls_key)
        self.address = self._bound.getsockname()[:2]
        self._serve(self._bound, self._certificate.context if self._certificate else None)

    def _factory(self) -> Callable[[], Connection]:
        loop = asyncio.get_running_loop()
        quiet = quiet_logger()

        def connect() -> WorkerConnection:
            return WorkerConnection(
                self._config, self._state, office=self, lane=self._worker_lane, max_head=self.listen.max_header_bytes,
                idle_timeout=self.listen.idle_timeout, loop=loop, logger=quiet,
            )  # fmt: skip

        return connect

    def hand_over(self, descriptor: int, data: bytes, facts: Mapping[str, Any]) -> None:
        """``tierproxy.server.worker_connection.Office``. What was served is told first: reads are counted in the order
        in which a client made them, and a scan is told by it."""
        self.report(always=False)
        self._channel.send(Kind.PASS, facts, data, descriptor)

    def report(self, *, always: bool) -> None:
        """Tell the node what was served; ``always``: also that it was nothing, as a sign of life."""
        served = self._worker_lane.take()
        if served or always:
            overload = Counter(self.overload())
            new, self._told = overload - self._told, overload
            for facts in told(served, self.connections, new):
                self._channel.send(Kind.REPORT, facts)

    def take_back(self, descriptor: int | None) -> None:
        """A connection at rest. Where there is no room for it any more, it is closed as any other that is idle."""
        full = self.capacity.occupied >= self.capacity.most
        if descriptor is None or self.stopping or (full and not self.capacity.displace("", self._loop.time())):
            close(descriptor)
            return
        task = asyncio.get_running_loop().create_task(self._adopt(descriptor), name="take-back")
        self._adopting.add(task)
        task.add_done_callback(self._adopting.discard)

    async def _adopt(self, descriptor: int) -> None:
        client = socket.socket(fileno=descriptor)
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._connect, client)
        except OSError:
            client.close()

    async def stop(self, grace: float) -> None:
        self.stopping = True
        if self._adopting:
            await asyncio.wait(self._adopting)
        await super().stop(grace)


def _of_worker(listen: ListenSection) -> ListenSection:
    """``listen`` without what is the node's."""
    return ListenSection(
        address=listen.address, auth=listen.auth, tls_certificate=listen.tls_certificate, tls_key=listen.tls_key,
        max_header_bytes=listen.max_header_bytes, idle_timeout=listen.idle_timeout,
    )  # fmt: skip


class Worker:
    """``end``: its end of the channel; ``bound``: where it listens. ``open_lane`` is called with the configuration the
    node sends, once."""

    def __init__(
        self, end: socket.socket, bound: socket.socket, open_lane: Callable[[Config], Lane], clock: Clock
    ) -> None:
        self._bound = bound
        self._open_lane = open_lane
        self._clock = clock
        self._end = end
        self._channel: Channel
        self._server: WorkerServer | None = None
        self._setup: asyncio.Future[Config]
        self._stop: asyncio.Future[float]

    async def run(self) -> None:
        """Until the node says so, or ends."""
        loop = asyncio.get_running_loop()
        self._setup, self._stop = loop.create_future(), loop.create_future()
        self._channel = Channel(self._end, self._heard, self._ended)
        either: list[asyncio.Future[Any]] = [self._setup, self._stop]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._setup.done():
            await self._serve(self._setup.result())
        self._channel.close()

    async def _serve(self, config: Config) -> None:
        lane = self._open_lane(config)
        self._server = server = WorkerServer(config.listen, lane, self._bound, self._channel, self._clock)
        await server.start()
        gc.freeze()  # as the node's: full collections leave the modules out
        self._channel.send(Kind.READY)
        reporting = asyncio.get_running_loop().create_task(self._report_on(), name="reports")
        grace = await self._stop
        await server.stop(grace)
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
        self._report()
        with suppress(TimeoutError):
            async with asyncio.timeout(PERIOD):
                await self._channel.flushed()

    def _heard(self, frame: Frame) -> None:
        if frame.kind is Kind.SETUP:
            self._setup.set_result(pickle.loads(frame.data))  # noqa: S301  from the node, which has started this process
        elif frame.kind is Kind.BACK and self._server is not None:
            self._server.take_back(frame.descriptor)
        elif frame.kind is Kind.CERTIFICATE and self._server is not None:
            self._server.reload(ListenSection(**frame.facts))
        elif frame.kind is Kind.STOP:
            self._finish(float(frame.facts["grace"]))
        else:
            close(frame.descriptor)

    def _ended(self) -> None:
        """The node is gone: nobody may change anything, and nobody is there to ask."""
        event(log, logging.WARNING, "hit worker without its node")
        self._finish(0.0)

    def _finish(self, grace: float) -> None:
        if not self._stop.done():
            self._stop.set_result(grace)

    # ---------------------------------------------------------------- reports

    async def _report_on(self) -> None:
        while True:
            await self._clock.sleep(PERIOD)
            if self._channel.waiting < BEHIND:
                self._report()

    def _report(self) -> None:
        assert self._server is not None
        self._server.report(always=True)
