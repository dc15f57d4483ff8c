"""The one writer: whoever has its turn takes every waiting change and commits them together (group commit).

Usually that is a thread of its own. A thread that has just made a file durable and brings the change that names it
takes the turn itself if nobody has it and no other file is on its way: at one client that saves a wait for another
thread to wake up. It takes one batch, and leaves what has come meanwhile to the writer's thread.

Changes run in the order they were queued, and queueing is the first thing a change's method does. A batch is tried as
one transaction without further ado; if a change of it fails, all is rolled back and done again with a savepoint around
each, so that a change that fails undoes only itself. So a change may run twice: it must do nothing but ask and change
the database. After COMMIT the loop hears one callback a batch.

A batch that found no room is done once more when the reserve has let some go (decision 36).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from tierproxy.catalogue.connection import LOG_PAGES, translated
from tierproxy.catalogue.reserve import Reserve
from tierproxy.errors import DiskUnavailable, OutOfSpace
from tierproxy.logs import event
from tierproxy.offload import worker_thread
from tierproxy.ports import Durable

T = TypeVar("T")
logger = logging.getLogger(__name__)

COMPANY = 0.003
"""Seconds a lazy change waits for others to be committed with."""
FEW_PAGES = 100
"""``wal_autocheckpoint`` while there is no room: what was checkpointed is written over, so the log does not grow."""


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


class Outcome(asyncio.Future[T]):
    """What a task waits for that does not let it go: cancelled meanwhile, the task hears of it when the outcome is
    known. (``asyncio.shield`` and a second wait would do the same in three more turns of the loop.)"""

    def cancel(self, msg: Any = None) -> bool:
        """Not now."""
        return False


class Bell:
    """Wakes one thread; ringing again before it has heard costs nothing."""

    def __init__(self) -> None:
        self._rings: SimpleQueue[None] = SimpleQueue()
        self._rung = False

    def ring(self) -> None:
        """What is to be seen was put there before."""
        if not self._rung:
            self._rung = True
            self._rings.put(None)

    def wait(self) -> None:
        """Look at everything after this: what is put there from now on rings again."""
        self._rings.get()
        self._rung = False


class Writer:
    """Owns the write connection from ``start`` on; nothing else may use it."""

    def __init__(self, connection: sqlite3.Connection, reserve: Reserve | None = None) -> None:
        self.commits = 0
        self._reserve = reserve
        self._thrifty = False
        self._connection = connection
        self._waiting: deque[Change] = deque()
        self._door = threading.Lock()  # what is in the queue before ``_closed`` is committed
        self._closed = False
        self._turn = threading.Lock()  # held by who uses the connection
        self._bell = Bell()
        self._lazy = False  # a timer will ring
        self._join = worker_thread("catalogue", self._run)

    async def change(self, work: Callable[[sqlite3.Connection], T], after: Durable | None = None) -> T:
        """Queue ``work`` at once, or as soon as ``after`` is durable; return its result when it is durable, raise its
        error when it is undone.

        A cancelled waiter still waits for the outcome (milliseconds) before it passes the cancellation on: whoever
        cleans up after it can then ask the catalogue what is true.
        """
        loop = asyncio.get_running_loop()
        waiter = Outcome[T](loop=loop)
        change = Change(work, loop, waiter)
        if after is None or not after.then(partial(self._follow, change, after)):
            if after is not None and after.failure is not None:
                raise after.failure
            self._enqueue(change)
            self._bell.ring()
        try:
            return await waiter
        except asyncio.CancelledError:
            waiter.exception()  # seen
            raise

    async def change_lazily(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As ``change``, for what nobody waits for: it is committed with the next change that is not lazy, or after
        ``COMPANY`` seconds, so that it seldom takes a commit of its own."""
        loop = asyncio.get_running_loop()
        waiter = Outcome[T](loop=loop)
        self._enqueue(Change(work, loop, waiter))
        if not self._lazy:
            self._lazy = True
            loop.call_later(COMPANY, self._hurry)
        try:
            return await waiter
        except asyncio.CancelledError:
            waiter.exception()  # seen
            raise

    def _hurry(self) -> None:
        self._lazy = False
        if self._waiting:
            self._bell.ring()

    def post(self, work: Callable[[sqlite3.Connection], T]) -> concurrent.futures.Future[T]:
        """As ``change``, for a caller without a loop or one that does not wait."""
        waiter: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._enqueue(Change(work, None, waiter))
        self._bell.ring()
        return waiter

    def stop(self) -> None:
        """Refuse new changes, commit those waiting, end the thread. Blocks; idempotent. The connection is free then."""
        with self._door:
            self._closed = True
        self._bell.ring()
        self._join()

    def _enqueue(self, change: Change) -> None:
        with self._door:
            if self._closed:
                raise DiskUnavailable("the catalogue is closed", hint="the node is stopping; try again")
            self._waiting.append(change)

    def _follow(self, change: Change, after: Durable, failure: BaseException | None) -> None:
        """In the thread that has made durable what ``change`` rests on, or has failed to."""
        try:
            if failure is not None:
                raise failure
            self._enqueue(change)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the waiter's
            change.error = error
            _deliver([change])
            return
        if after.alone:
            self._help()
        else:  # others come soon, and are committed together
            self._bell.ring()

    def _help(self) -> None:
        """Commit what waits, if nobody is at it. Whoever is looks again after his turn."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._commit_waiting()
        finally:
            self._turn.release()
        if self._waiting:
            self._bell.ring()

    def _run(self) -> None:
        while not self._closed:
            self._bell.wait()
            while self._waiting:
                with self._turn:
                    self._commit_waiting()
        with self._turn:  # also a helper that is still at it
            self._commit_waiting()

    def _commit_waiting(self) -> None:
        batch: list[Change] = []
        while self._waiting:
            batch.append(self._waiting.popleft())
        if batch:
            self._commit(batch)
            _deliver(batch)

    def _commit(self, batch: list[Change]) -> None:
        """Run a batch in one transaction. When the transaction itself fails, all of it has failed."""
        try:
            while not self._tried(batch):
                self._make_do()
        except Exception as error:  # noqa: BLE001 - a writer that dies would leave every later change waiting for ever
            event(logger, logging.ERROR, "catalogue commit failed", changes=len(batch), error=error)
            failure = self._failure(error)
            for change in batch:
                change.error = failure
        if self._thrifty and self._reserve is not None and not self._reserve.short:
            self._keep_log(LOG_PAGES)

    def _tried(self, batch: list[Change]) -> bool:
        """False: there was no room, and now there is some. Raises what is wrong otherwise."""
        try:
            if self._together(batch):
                self.commits += 1
            elif len(batch) > 1:
                self._one_by_one(batch)
                self.commits += 1
        except Exception as error:
            self._undo()
            if self._reserve is not None and self._reserve.relieves(error):
                return False
            raise
        return True

    def _failure(self, error: Exception) -> Exception:
        """What the waiters are told."""
        if self._lacking(error):
            return OutOfSpace(f"catalogue: {error}")
        return translated(error) if isinstance(error, sqlite3.Error) else DiskUnavailable(f"catalogue: {error}")

    def _lacking(self, error: BaseException) -> bool:
        return self._reserve is not None and self._reserve.lacking(error)

    def _make_do(self) -> None:
        """With little room: what the log has goes to the database, as far as that gets, and its room is used again."""
        self._keep_log(FEW_PAGES)
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _keep_log(self, pages: int) -> None:
        with suppress(sqlite3.Error):
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {pages}").fetchall()
            self._thrifty = pages == FEW_PAGES

    def _together(self, batch: list[Change]) -> bool:
        """All of it, or nothing: False when one of them failed. Raises when the transaction itself fails."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for change in batch:
            change.error = None  # of the try before
            try:
                change.result = change.work(connection)
            except BaseException as error:  # whatever it is, it is the waiter's
                if self._lacking(error):
                    raise
                if not connection.in_transaction and len(batch) == 1:
                    event(logger, logging.ERROR, "catalogue commit failed", changes=1, error=error)
                change.error = translated(error) if isinstance(error, sqlite3.Error) else error
                self._undo()
                return False
        connection.execute("COMMIT")
        return True

    def _one_by_one(self, batch: list[Change]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for change in batch:
            self._apply(change)
        connection.execute("COMMIT")

    def _apply(self, change: Change) -> None:
        """Raises sqlite3.Error only when SQLite has given up the whole transaction (disk full, I/O error)."""
        connection = self._connection
        connection.execute("SAVEPOINT change")
        change.error = None  # of the try before
        try:
            change.result = change.work(connection)
        except BaseException as error:  # whatever it is, it is the waiter's
            if not connection.in_transaction or self._lacking(error):
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
