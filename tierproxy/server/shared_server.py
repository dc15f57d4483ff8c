"""The object port with hit workers: they listen on its TCP address, and what they do not answer is answered here."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from tierproxy.config.sections import ListenSection
from tierproxy.errors import ConfigError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Clock
from tierproxy.s3api.lane.ports import Lane, Served
from tierproxy.server.door import Door
from tierproxy.server.handover import Kind
from tierproxy.server.hits_first import HitsFirst
from tierproxy.server.object_server import Application, ObjectServer, quiet_logger
from tierproxy.server.openings import Openings
from tierproxy.server.passed_connection import Origin, PassedConnection
from tierproxy.server.workers import WorkerProcess, Workers, WorkerState, worker_command

log = logging.getLogger(__name__)


class SharedServer(ObjectServer):
    """As ``ObjectServer``, with ``[listen] workers`` processes in front. ``setup``: what a worker is sent first;
    ``served``: is told what they and the node's own lane have answered;
    ``command``: as ``Workers``', () for the program.

    While there is no process at a worker's place, the node itself listens on its socket.
    """

    def __init__(
        self, listen: ListenSection, app: Application, clock: Clock, *, lane: Lane, setup: Callable[[], bytes],
        served: Callable[[Served], None], alarms: Alarms, command: Sequence[str] = (),
        openings: Openings | None = None, most: int = 0, hits_first: HitsFirst | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            listen, app, clock, lane=lane, served=served, openings=openings, most=most, hits_first=hits_first
        )
        self._own_lane = lane
        self._sockets: list[socket.socket] = []
        self._stand_ins: dict[int, Door] = {}
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

    def overload(self) -> dict[str, int]:
        found = Counter(super().overload())
        found.update(self._workers.overload)
        return dict(found)

    async def _open(self) -> None:
        if self.listen.tls_certificate:
            self._certificate = self._openings.certificate(self.listen.tls_certificate, self.listen.tls_key)
        self._sockets = self._openings.shared(self.listen.address, self.listen.workers)
        self.address = self._sockets[0].getsockname()[:2]
        if self._unix:
            self._serve(self._unix.bind(), None)
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
        for door in self._stand_ins.values():
            door.close()
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
        if not self.capacity.admits(_peer(client), asyncio.get_running_loop().time()):
            self._refusals.refuse(client, encrypted=False)  # a relay encrypts what it is told
            return
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
            self._listen_at(place)
        else:
            door = self._stand_ins.pop(place, None)
            if door is not None:
                door.close()

    def _listen_at(self, place: int) -> None:
        if place in self._stand_ins or self._stopping:
            return
        try:
            bound = socket.socket(fileno=os.dup(self._sockets[place].fileno()))
            self._stand_ins[place] = self._door(bound, self._certificate.context if self._certificate else None)
        except (OSError, ConfigError) as error:  # the other workers listen, and there will be one here again
            event(log, logging.ERROR, "nobody listens in a hit worker's place", worker=place, error=error)


def _peer(client: socket.socket) -> str:
    """As ``Occupant.peer_name``; of a relay that of nobody in particular."""
    try:
        found = client.getpeername()
    except OSError:  # it has left
        return ""
    return str(found[0]) if isinstance(found, tuple) else ""
