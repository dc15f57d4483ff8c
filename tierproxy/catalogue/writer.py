"""The one writer: a thread that takes every waiting change and commits them together (group commit).

Each change runs in a savepoint of its own, so a change that fails undoes only itself. Changes run in the order they
were queued, and queueing is the first thing a change's method does. After COMMIT the loop hears one callback a batch.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from tierproxy.catalogue.connection import translated
from tierproxy.errors import DiskUnavailable
from tierproxy.logs import event
from tierproxy.offload import worker_thread

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Change:
    """One change on its way. ``loop`` is None when a thread waits for it."""

    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop | None
    waiter: asyncio.Future[Any] | concurrent.futures.Future[Any]
    result: Any = None
    error: BaseException | None = None

    def deliver(self) -> None:
        """Tell the waiter; on its loop's thread if it has one."""
        if self.waiter.done():
            return
        if self.error is None:
            self.waiter.set_result(self.result)
        else:
            self.waiter.set_exception(self.error)


class Writer:
    """Owns the write connection from ``start`` on; nothing else may use it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.commits = 0
        self._connection = connection
        self._queue: SimpleQueue[Change | None] = SimpleQueue()
        self._closed = False
        self._join = worker_thread("catalogue", self._run)

    async def change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Queue ``work`` at once, return its result when it is durable, raise its error when it is undone.

        A cancelled waiter still waits for the outcome (milliseconds) before it passes the cancellation on: whoever
        cleans up after it can then ask the catalogue what is true.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._enqueue(Change(work, loop, waiter))
        try:
            return await asyncio.shield(waiter)
        except asyncio.CancelledError:
            await _outcome(waiter)
            raise

    def post(self, work: Callable[[sqlite3.Connection], T]) -> concurrent.futures.Future[T]:
        """As ``change``, for a caller without a loop or one that does not wait."""
        waiter: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._enqueue(Change(work, None, waiter))
        return waiter

    def stop(self) -> None:
        """Refuse new changes, commit those waiting, end the thread. Blocks; idempotent. The connection is free then."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._join()

    def _enqueue(self, change: Change) -> None:
        if self._closed:
            raise DiskUnavailable("the catalogue is closed", hint="the node is stopping; try again")
        self._queue.put(change)

    def _run(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._take()
            if batch:
                self._commit(batch)
                _deliver(batch)

    def _take(self) -> tuple[list[Change], bool]:
        """Wait for a change and take all that wait with it; False once the queue has ended."""
        batch: list[Change] = []
        change = self._queue.get()
        while change is not None:
            batch.append(change)
            try:
                change = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[Change]) -> None:
        """Run a batch in one transaction. When the transaction itself fails, all of it has failed."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change in batch:
                self._apply(change)
            connection.execute("COMMIT")
            self.commits += 1
        except Exception as error:  # noqa: BLE001 - a writer that dies would leave every later change waiting for ever
            self._undo()
            failure = translated(error) if isinstance(error, sqlite3.Error) else DiskUnavailable(f"catalogue: {error}")
            event(logger, logging.ERROR, "catalogue commit failed", changes=len(batch), error=error)
            for change in batch:
                change.error = failure

    def _apply(self, change: Change) -> None:
        """Raises sqlite3.Error only when SQLite has given up the whole transaction (disk full, I/O error)."""
        connection = self._connection
        connection.execute("SAVEPOINT change")
        try:
            change.result = change.work(connection)
        except BaseException as error:  # whatever it is, it is the waiter's
            if not connection.in_transaction:
                if isinstance(error, sqlite3.Error):
                    raise
                raise sqlite3.OperationalError("the transaction was rolled back") from error
            connection.execute("ROLLBACK TO change")
            change.error = translated(error) if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE change")

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            event(logger, logging.ERROR, "catalogue rollback failed", error=error)


async def _outcome(waiter: asyncio.Future[Any]) -> None:
    """Until ``waiter`` is done, however often the waiting task is cancelled meanwhile. Its error is not raised."""
    while not waiter.done():
        try:
            await asyncio.wait({waiter})
        except asyncio.CancelledError:
            continue
    waiter.exception()  # marks it as seen


def _deliver(batch: list[Change]) -> None:
    """One wake-up for each loop that waits (there is one, outside tests)."""
    loops: dict[asyncio.AbstractEventLoop, list[Change]] = {}
    for change in batch:
        if change.loop is None:
            change.deliver()
        else:
            loops.setdefault(change.loop, []).append(change)
    for loop, changes in loops.items():
        try:
            loop.call_soon_threadsafe(_deliver_all, changes)
        except RuntimeError:
            event(logger, logging.DEBUG, "nobody waits for a change any more", changes=len(changes))


def _deliver_all(changes: list[Change]) -> None:
    for change in changes:
        change.deliver()
