"""Changes of directories, made durable together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tierproxy.disk.fsio import Files
from tierproxy.errors import BlobMissing, DiskError
from tierproxy.ports import Hands


class Errands:
    """Owner of the work that must end even when the task that asked for it is cancelled: cleanup, shared commits."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for ``work``; if the waiter is cancelled, ``work`` goes on and ``drain`` waits for it."""
        await asyncio.shield(self.start(work))

    async def drain(self) -> None:
        """Wait for everything started. Errors went to those who asked."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: the waiter has it, or left


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    change: Callable[[], object]
    directories: tuple[Path, ...]
    done: asyncio.Future[None]

    def settle(self, error: BaseException | None) -> None:
        if self.done.done():  # its task was cancelled
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class DirectoryCommits:
    """Group commit: all changes that wait at the same moment are made by one thread job, which then fsyncs each
    directory they touched once. An error of one change or of one directory reaches those concerned and nobody else.

    A change whose task was cancelled is made all the same.
    """

    def __init__(self, files: Files, offload: Hands, errands: Errands, *, gone_is_fine: bool = False) -> None:
        """``gone_is_fine``: for removals, to which a directory that is not there is no error."""
        self._files = files
        self._offload = offload
        self._errands = errands
        self._gone_is_fine = gone_is_fine
        self._waiting: list[_Waiter] = []
        self._working = False

    async def run(self, change: Callable[[], object], directories: Iterable[Path]) -> None:
        """Call ``change`` in a worker thread and make ``directories`` durable. Raises what they raise."""
        waiter = _Waiter(change, tuple(directories), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        if not self._working:
            self._working = True
            self._errands.start(self._work())
        await waiter.done

    async def _work(self) -> None:
        batch: list[_Waiter] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                outcomes = await self._offload.run(self._commit, batch)
                for waiter, outcome in zip(batch, outcomes, strict=True):
                    waiter.settle(outcome)
        except BaseException as error:
            for waiter in [*batch, *self._waiting]:
                waiter.settle(error)
            self._waiting = []
            raise
        finally:
            self._working = False

    def _commit(self, batch: list[_Waiter]) -> list[DiskError | None]:
        outcomes = [_outcome(waiter.change) for waiter in batch]
        touched = [waiter.directories for waiter, error in zip(batch, outcomes, strict=True) if error is None]
        failed = self._fsync(dict.fromkeys(path for paths in touched for path in paths))
        for error in (*filter(None, outcomes), *failed.values()):
            self._offload.note(error)
        return [
            error or next((failed[path] for path in waiter.directories if path in failed), None)
            for waiter, error in zip(batch, outcomes, strict=True)
        ]

    def _fsync(self, directories: Iterable[Path]) -> dict[Path, DiskError]:
        failed = {}
        for path in directories:
            try:
                self._files.fsync_dir(path)
            except DiskError as error:
                if not (self._gone_is_fine and isinstance(error, BlobMissing)):
                    failed[path] = error
        return failed


def _outcome(change: Callable[[], object]) -> DiskError | None:
    try:
        change()
    except DiskError as error:
        return error
    return None


@dataclass(slots=True, eq=False)
class _Round:
    directories: dict[Path, None] = field(default_factory=dict)
    failed: dict[Path, BaseException] = field(default_factory=dict)
    ended: bool = False


class DirectorySyncs:
    """Group commit for threads that have changed a directory themselves: whoever comes while one fsyncs waits for the
    next round, which the first of them makes for all. Blocking."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._mutex = threading.Lock()
        self._turn = threading.Lock()
        self._next = _Round()
        self._under_way = 0

    @property
    def alone(self) -> bool:
        """At most one is between ``begin`` and ``end``."""
        return self._under_way <= 1

    def begin(self) -> None:
        """Somebody is about to write what it will ``sync``."""
        with self._mutex:
            self._under_way += 1

    def end(self) -> None:
        """It is done with all that follows."""
        with self._mutex:
            self._under_way -= 1

    def sync(self, directory: Path) -> None:
        """Make what the caller changed in ``directory`` durable. Raises DiskError: so do all of the round, for an error
        of an fsync is told once, and the next one would promise what is lost."""
        with self._mutex:
            mine = self._next
            mine.directories[directory] = None
        with self._turn:
            if not mine.ended:
                self._end(mine)
        if directory in mine.failed:
            raise mine.failed[directory]

    def _end(self, mine: _Round) -> None:
        with self._mutex:  # from here on nobody joins: the change of a later one may be too late for this fsync
            self._next = _Round()
        for path in mine.directories:
            try:
                self._files.fsync_dir(path)
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is everybody's of the round
                mine.failed[path] = error
        mine.ended = True
