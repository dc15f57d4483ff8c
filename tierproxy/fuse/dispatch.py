"""From a request of the kernel to its answer."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from contextvars import copy_context
from typing import Protocol

from tierproxy.fuse import protocol
from tierproxy.fuse.calls import HARMLESS, Body, Calls
from tierproxy.fuse.counters import Asked, name_of
from tierproxy.fuse.locks import Locks, locked_by
from tierproxy.fuse.operations import Caller, Operations
from tierproxy.fuse.protocol import HEADER, IN_HEADER, Opcode
from tierproxy.fuse.turn import Waiting, rest, step
from tierproxy.logs import event
from tierproxy.ports import Clock

log = logging.getLogger(__name__)


class Answers(Protocol):
    """Where answers go to."""

    def answer(self, unique: int, body: Body) -> None: ...

    def refuse(self, unique: int, error: int) -> None: ...


class Running:
    """A request that waits."""

    __slots__ = ("begun", "harmless", "locked", "node", "opcode", "task", "unique")

    def __init__(self, opcode: int, unique: int, node: int, begun: float, locked: tuple[int, ...]) -> None:
        self.locked = locked
        self.opcode = opcode
        self.unique = unique
        self.node = node
        self.begun = begun
        self.harmless = opcode in HARMLESS
        self.task: asyncio.Task[None] | None = None


class Dispatch:
    """Each request is begun at once, and is a task only from where it waits. All methods: loop.

    A write that waits still uses the buffer it came in: ``take`` then says so, and ``free`` gets it when it is done.
    """

    def __init__(
        self, operations: Operations, answers: Answers, asked: Asked, clock: Clock, free: Callable[[memoryview], None],
        locks: Locks,
    ) -> None:  # fmt: skip
        self._loop = asyncio.get_running_loop()
        self._operations = operations
        self._answers = answers
        self._asked = asked
        self._monotonic = clock.monotonic
        self._free = free
        self._locks = locks
        self._calls = Calls(operations).table()
        self._running: dict[int, Running] = {}
        self._silent: dict[int, Callable[[memoryview, int], None]] = {
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._batch_forget,
            Opcode.INTERRUPT: self._interrupt,
        }

    def __repr__(self) -> str:
        return f"<Dispatch, {len(self._running)} requests wait>"

    @property
    def waiting(self) -> int:
        """Requests that were taken and are not answered."""
        return len(self._running)

    def take(self, buffer: memoryview, length: int) -> bool:
        """One request, in the first ``length`` bytes of ``buffer``. True: the buffer is still in use."""
        _, opcode, unique, node, uid, gid, pid, _, _ = IN_HEADER.unpack_from(buffer)
        data = buffer[HEADER:length]
        if (call := self._calls.get(opcode)) is None:
            self._other(opcode, unique, node, data)
            return False
        begun = self._monotonic()
        try:
            found = step(self._loop, call(data, node, Caller(uid, gid, pid)), copy_context())
        except Exception as error:  # noqa: BLE001 -- whatever it is: the caller must be answered
            self._fail(opcode, unique, error, begun)
            return False
        if isinstance(found, Waiting):
            locked = locked_by(opcode, node, data)
            self._wait(found, Running(opcode, unique, node, begun, locked), buffer)
            return bool(opcode == Opcode.WRITE)
        self._answers.answer(unique, found)
        self._asked.answered(opcode, 0, self._monotonic() - begun)
        return False

    async def finish(self, patience: float) -> None:
        """Wait until what runs is answered; what is not after ``patience`` seconds is cancelled, and then answered."""
        tasks = [one.task for one in self._running.values() if one.task]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=patience)
        for task in late:
            task.cancel()
        if late:
            event(log, logging.WARNING, "file system calls given up", count=len(late))
            await asyncio.wait(late)

    # ------------------------------------------------------------ what waits

    def _wait(self, waiting: Waiting, one: Running, buffer: memoryview) -> None:
        one.task = self._loop.create_task(self._finish(waiting, one, buffer), context=waiting.context)
        self._running[one.unique] = one
        self._locks.take(one.locked)

    async def _finish(self, waiting: Waiting, one: Running, buffer: memoryview) -> None:
        try:
            body = await rest(waiting)
        except asyncio.CancelledError:
            self._refuse(one.opcode, one.unique, errno.EINTR, one.begun)
        except Exception as error:  # noqa: BLE001 -- as in take
            self._fail(one.opcode, one.unique, error, one.begun)
        else:
            self._answers.answer(one.unique, body)
            self._asked.answered(one.opcode, 0, self._monotonic() - one.begun)
        finally:
            del self._running[one.unique]
            self._locks.give(one.locked)
            if one.opcode == Opcode.WRITE:
                self._free(buffer)

    def _interrupt(self, data: memoryview, node: int) -> None:
        """The caller got a signal. What is answered already, the kernel has. Cancelled in a turn of the loop, so that
        the task has begun: one that is cancelled before would end without an answer."""
        (unique,) = protocol.INTERRUPT_IN.unpack_from(data)
        one = self._running.get(unique)
        if one and one.task and one.harmless:
            self._loop.call_soon(one.task.cancel)

    # ------------------------------------------------------------ what is not answered, or not known

    def _other(self, opcode: int, unique: int, node: int, data: memoryview) -> None:
        if opcode not in self._silent:
            self._answers.refuse(unique, errno.ENOSYS)
            self._asked.answered(opcode, errno.ENOSYS, 0.0)
            return
        try:
            self._silent[opcode](data, node)
        except Exception as error:  # noqa: BLE001 -- nobody waits, and others do
            _unexpected(opcode, error)
        self._asked.answered(opcode, 0, 0.0)

    def _forget(self, data: memoryview, node: int) -> None:
        (count,) = protocol.FORGET_IN.unpack_from(data)
        self._operations.forget(node, count)

    def _batch_forget(self, data: memoryview, _: int) -> None:
        for node, count in protocol.forgotten(bytes(data)):
            self._operations.forget(node, count)

    # ------------------------------------------------------------ errors

    def _fail(self, opcode: int, unique: int, error: Exception, begun: float) -> None:
        if isinstance(error, OSError) and error.errno:
            self._refuse(opcode, unique, error.errno, begun)
            return
        _unexpected(opcode, error)
        self._refuse(opcode, unique, errno.EIO, begun)

    def _refuse(self, opcode: int, unique: int, error: int, begun: float) -> None:
        self._answers.refuse(unique, error)
        self._asked.answered(opcode, error, self._monotonic() - begun)


def _unexpected(opcode: int, error: Exception) -> None:
    log.error(
        "file system call failed unexpectedly",
        extra={"facts": {"operation": name_of(opcode), "error": error}},
        exc_info=error,
    )
