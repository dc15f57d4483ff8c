"""The object port with hit workers: they listen on its TCP address, and what they do not answer is answered here."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial

from tierproxy.config.sections import ListenSection
from tierproxy.ports import Alarms, Clock
from tierproxy.s3api.lane.ports import Lane, Served
from tierproxy.server.handover import Kind
from tierproxy.server.listeners import Certificate, bind_shared
from tierproxy.server.object_server import Application, ObjectServer, quiet_logger
from tierproxy.server.passed_connection import Origin, PassedConnection
from tierproxy.server.workers import WorkerProcess, Workers, WorkerState, worker_command


class SharedServer(ObjectServer):
    """As ``ObjectServer``, with ``[listen] workers`` processes in front. ``setup``: what a worker is sent first;
    ``served``: is told what they and the node's own lane have answered;
    ``command``: as ``Workers``', () for the program.

    While there is no process at a worker's place, the node itself listens on its socket.
    """

    def __init__(
        self, listen: ListenSection, app: Application, clock: Clock, *, lane: Lane, setup: Callable[[], bytes],
        served: Callable[[Served], None], alarms: Alarms, command: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__(listen, app, clock, lane=lane, served=served)
        self._own_lane = lane
        self._sockets: list[socket.socket] = []
        self._stand_ins: dict[int, asyncio.base_events.Server] = {}
        self._missing: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._logger = quiet_logger()  # once: setting a level makes every logger think anew
        self._workers = Workers(
            command=command or worker_command(), setup=setup, adopt=self._adopt, served=served, stand_in=self._stand_in,
            clock=clock, alarms=alarms,
        )  # fmt: skip

    @property
    def connections(self) -> int:
        return super().connections + self._workers.connections

    @property
    def workers(self) -> list[WorkerState]:
        """Each place of a worker, now."""
        return self._workers.states

    async def _open(self) -> None:
        if self.listen.tls_certificate:
            self._certificate = Certificate(self.listen.tls_certificate, self.listen.tls_key)
        self._sockets = bind_shared(self.listen.address, self.listen.workers)
        self.address = self._sockets[0].getsockname()[:2]
        if self._unix:
            await self._serve(self._unix.bind(), None)
        await self._workers.start(self._sockets)

    def reload(self, listen: ListenSection) -> None:
        super().reload(listen)
        if self._certificate and listen.tls_certificate:
            files = {"tls_certificate": listen.tls_certificate, "tls_key": listen.tls_key}
            self._workers.tell_all(Kind.CERTIFICATE, files)

    async def stop(self, grace: float) -> None:
        """The workers first: what they pass on at the last moment is answered as well."""
        self._stopping = True
        began = self._clock.monotonic()
        for bound in self._sockets:
            bound.close()
        for server in self._stand_ins.values():
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._workers.stop(grace)
        if self._tasks:
            await asyncio.wait(self._tasks)
        await super().stop(max(0.0, grace - (self._clock.monotonic() - began)))

    # ---------------------------------------------------------------- passed connections

    def _spawn(self, work: asyncio.Future[None] | asyncio.Task[None]) -> None:
        assert isinstance(work, asyncio.Task)
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    def _adopt(self, descriptor: int, before: bytes, origin: Origin | None, process: WorkerProcess) -> None:
        back = None if origin is not None else partial(self._workers.give_back, process)
        loop = asyncio.get_running_loop()
        protocol = PassedConnection(
            self._config, self._state, before=before, origin=origin, back=back, lane=self._own_lane,
            max_head=self.listen.max_header_bytes, idle_timeout=self.listen.idle_timeout, loop=loop,
            logger=self._logger,
        )  # fmt: skip
        self._spawn(loop.create_task(self._connect(protocol, descriptor), name="adopt"))

    async def _connect(self, protocol: PassedConnection, descriptor: int) -> None:
        client = socket.socket(fileno=descriptor)
        client.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, client)
        except OSError:
            client.close()
            return
        if self._stopping:
            protocol.shutdown()

    # ---------------------------------------------------------------- a place without a worker

    def _stand_in(self, place: int, missing: bool) -> None:
        if missing:
            self._missing.add(place)
            self._spawn(asyncio.get_running_loop().create_task(self._listen_at(place), name="stand-in"))
        else:
            self._missing.discard(place)
            server = self._stand_ins.pop(place, None)
            if server is not None:
                server.close()

    async def _listen_at(self, place: int) -> None:
        if place in self._stand_ins or self._stopping:
            return
        bound = socket.socket(fileno=os.dup(self._sockets[place].fileno()))
        before = len(self._servers)
        await self._serve(bound, self._certificate.context if self._certificate else None)
        server = self._servers.pop(before)
        if place in self._missing and not self._stopping:
            self._stand_ins[place] = server
        else:
            server.close()
