"""The node's side of the hit workers: started, listened to, started again, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tierproxy.errors import ConfigError
from tierproxy.leash import leashed
from tierproxy.logs import event
from tierproxy.ports import Alarms, Clock
from tierproxy.s3api.lane.ports import Served
from tierproxy.server.handover import Channel, Frame, Kind, close
from tierproxy.server.passed_connection import Origin
from tierproxy.server.reports import heard

log = logging.getLogger(__name__)

ALARM = "hit worker keeps ending"
TICK = 1.0
SILENCE = 15  #: ticks without a report: it hangs
STARTING = 60  #: ticks until it listens
STEADY = 60  #: ticks after which it counts as well
FEW = 3  #: ends in a row that are not alarming
LONGEST_PAUSE = 30.0
REAPING = 5.0  #: seconds a killed process has to be gone

Adopt = Callable[[int, bytes, Origin | None, "WorkerProcess"], None]


@dataclass
class WorkerState:
    """One place of a worker, since the node began. ``connections``: now. ``answers``: requests it answered.
    ``passed``: connections it passed to the node. ``restarts``: how often another process took the place.
    ``running``: somebody listens there now, and it is not the node."""

    place: int
    pid: int = 0
    connections: int = 0
    answers: int = 0
    passed: int = 0
    restarts: int = 0
    running: bool = False


class WorkerProcess:
    """One process. ``ended`` is done when it is gone and reaped."""

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket, workers: Workers, place: int) -> None:
        self._process = process
        self._workers = workers
        self.place = place
        self.age = 0  #: ticks
        self.silence = 0  #: ticks
        self.ready = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()
        self._channel = Channel(end, self._heard, self._gone)

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.place}, {self._process.pid}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, kind: Kind, facts: Mapping[str, Any] | None = None, data: bytes = b"") -> None:
        self._channel.send(kind, facts, data)

    def back(self, descriptor: int) -> bool:
        """Gives it a connection at rest. False: it is gone, or not there yet."""
        listens = self.ready.done() and self.ready.result()
        if not listens or self._channel.closed or self._workers.stopping:
            return False
        self._channel.send(Kind.BACK, descriptor=descriptor)
        return True

    def tick(self) -> None:
        """One that hangs is killed."""
        self.age += 1
        self.silence += 1
        if self.silence > (SILENCE if self.ready.done() else STARTING):
            event(log, logging.ERROR, "hit worker hangs", worker=self.place, pid=self.pid)
            self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)

    def _heard(self, frame: Frame) -> None:
        self.silence = 0
        if frame.kind is Kind.PASS and frame.descriptor is not None:
            self._workers.passed(self, frame.descriptor, frame.data, frame.facts)
        elif frame.kind is Kind.REPORT:
            self._workers.report(self, frame.facts)
        elif frame.kind is Kind.READY and not self.ready.done():
            self.ready.set_result(True)
        else:
            close(frame.descriptor)

    def _gone(self) -> None:
        """Its end is closed: it has ended, or is good for nothing."""
        if not self.ready.done():
            self.ready.set_result(False)
        asyncio.get_running_loop().create_task(self._reap(), name="reap-worker")

    async def _reap(self) -> None:
        """What has closed its end by itself is about to exit; what has not is killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REAPING):
                await _exited(self._process)
        if self._process.poll() is None:
            self.kill()
            await _exited(self._process)
        self.ended.set_result(self._process.wait())


async def _exited(process: subprocess.Popen[bytes]) -> None:
    """Until it can be reaped; by a descriptor of the process (pidfd_open(2)), which needs no thread and no signal."""
    if process.poll() is not None:
        return
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(process.pid)
    over = asyncio.Event()
    loop.add_reader(descriptor, over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    process.poll()


class Workers:
    """``command``: of a worker, to which the numbers of two descriptors (channel, listening socket) are
    added. ``setup``: what it is sent first. ``adopt``: takes a passed connection, its descriptor, the bytes
    read of it, where it is from, and who passed it. ``served``: is told what a worker has served. ``stand_in``: is told
    whether there is nobody at a place."""

    def __init__(
        self, *, command: Sequence[str], setup: Callable[[], bytes], adopt: Adopt, served: Callable[[Served], None],
        stand_in: Callable[[int, bool], None], clock: Clock, alarms: Alarms,
    ) -> None:  # fmt: skip
        self._command = command
        self._setup = setup
        self._adopt = adopt
        self._served = served
        self._stand_in = stand_in
        self._clock = clock
        self._alarms = alarms
        self._sockets: list[socket.socket] = []
        self._running: dict[int, WorkerProcess] = {}
        self._works: list[asyncio.Task[None]] = []
        self.stopping = False
        self.states: list[WorkerState] = []
        self.overload: Counter[str] = Counter()  #: what they refused or ended for want of room

    def __repr__(self) -> str:
        return f"<Workers, {len(self._running)} of {len(self.states)} running>"

    @property
    def connections(self) -> int:
        """Of clients, at the workers."""
        return sum(state.connections for state in self.states)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """One worker for each bound socket; returns when they listen. Raises ConfigError when one cannot be started."""
        self._sockets = list(sockets)
        self.states = [WorkerState(place) for place in range(len(sockets))]
        loop = asyncio.get_running_loop()
        try:
            first = [self._launch(state) for state in self.states]
        except OSError as error:
            raise ConfigError(f"a hit worker cannot be started: {error}") from error
        self._works = [loop.create_task(self._tick_on(), name="worker-ticks")]
        self._works += [
            loop.create_task(self._keep(state, process), name=f"worker-{state.place}")
            for state, process in zip(self.states, first, strict=True)
        ]
        if not all([await process.ready for process in first]):
            raise ConfigError("a hit worker cannot be started", hint="the log says why; [listen] workers = 0: without")
        for state in self.states:
            state.running = True

    async def stop(self, grace: float) -> None:
        """They end when their connections have come to rest, within ``grace`` seconds. Their last reports are in when
        this returns. Idempotent."""
        self.stopping = True
        works, self._works = self._works, []
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        running = list(self._running.values())
        for process in running:
            process.send(Kind.STOP, {"grace": grace})
        if running:
            await asyncio.wait([process.ended for process in running], timeout=grace + TICK)
        for process in running:
            process.kill()
            await process.ended
        self._running.clear()

    def give_back(self, process: WorkerProcess, descriptor: int) -> bool:
        """A connection at rest, to ``process``, which has passed it, or to another one. False: nobody is there."""
        candidates = (process, *self._running.values())
        return any(one.back(descriptor) for one in candidates)

    def tell_all(self, kind: Kind, facts: Mapping[str, Any]) -> None:
        for process in self._running.values():
            process.send(kind, facts)

    # ---------------------------------------------------------------- what a process says

    def passed(self, process: WorkerProcess, descriptor: int, data: bytes, facts: Mapping[str, Any]) -> None:
        """loop. It has handed over a connection."""
        self.states[process.place].passed += 1
        self._adopt(descriptor, data, _origin(facts) if facts else None, process)

    def report(self, process: WorkerProcess, facts: Mapping[str, Any]) -> None:
        """loop. It tells what it has served, and that it lives."""
        state, (served, connections, overload) = self.states[process.place], heard(facts)
        state.connections = connections
        self.overload.update(overload)
        state.answers += sum(served.answers.values())
        if served:
            self._served(served)

    # ---------------------------------------------------------------- processes

    def _launch(self, state: WorkerState) -> WorkerProcess:
        """Raises OSError."""
        mine, theirs = socket.socketpair()
        bound = self._sockets[state.place]
        numbers = [theirs.fileno(), bound.fileno()]
        try:
            started = subprocess.Popen(  # noqa: S603  this program's own
                [*leashed(), *self._command, *map(str, numbers)], pass_fds=numbers, stdin=subprocess.DEVNULL
            )
        except OSError:
            mine.close()
            raise
        finally:
            theirs.close()
        process = self._running[state.place] = WorkerProcess(started, mine, self, state.place)
        state.pid = process.pid
        process.send(Kind.SETUP, data=self._setup())
        return process

    async def _keep(self, state: WorkerState, process: WorkerProcess) -> None:
        """There is a process at this place, always."""
        failures = 0
        while True:
            code = await asyncio.shield(process.ended)
            self._stand_in(state.place, True)
            state.connections, state.running = 0, False
            state.restarts += 1
            failures = 1 if process.age > STEADY else failures + 1
            event(log, logging.ERROR, "hit worker ended", worker=state.place, pid=process.pid, code=code)
            if failures > FEW:
                self._alarms.set(ALARM, str(state.place), ended=failures, code=code)
            if failures > 1:
                await self._clock.sleep(min(2.0 ** (failures - 2), LONGEST_PAUSE))
            process = await self._launched(state)
            if await asyncio.shield(process.ready):
                state.running = True
                self._stand_in(state.place, False)

    async def _launched(self, state: WorkerState) -> WorkerProcess:
        while True:
            try:
                return self._launch(state)
            except OSError as error:
                event(log, logging.ERROR, "hit worker cannot be started", worker=state.place, error=error)
                self._alarms.set(ALARM, str(state.place), error=str(error))
                await self._clock.sleep(LONGEST_PAUSE)

    async def _tick_on(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            for place, process in list(self._running.items()):
                if not process.ended.done():
                    process.tick()
                    if process.age == STEADY:
                        self._alarms.clear(ALARM, str(place))


def worker_command() -> list[str]:
    """This interpreter with the worker's program."""
    return [sys.executable, "-m", "tierproxy.wiring_worker"]


def _origin(facts: Mapping[str, Any]) -> Origin:
    client, server = facts["client"], facts["server"]
    return Origin(client and (client[0], client[1]), server and (server[0], server[1]), facts["scheme"])
