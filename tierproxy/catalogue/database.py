"""One SQLite file: the writer, the loop's read connection, and read connections for threads."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from tierproxy.catalogue.connection import connect, translated, translating
from tierproxy.catalogue.migrations import migrate
from tierproxy.catalogue.reserve import Reserve
from tierproxy.catalogue.rows import Row
from tierproxy.catalogue.turns import Ending
from tierproxy.catalogue.writer import Writer
from tierproxy.offload import ThreadPool
from tierproxy.ports import Offload

T = TypeVar("T")
Prepare = Callable[[sqlite3.Connection], None]

LOOP_CACHE_KIB = 64 * 1024
WRITER_CACHE_KIB = 64 * 1024
READER_CACHE_KIB = 24 * 1024
PLAN_NICE = 15  #: of 19: plans take what reads leave


class Reads:
    """Queries on one connection. ``sqlite3`` caches the prepared statements, by their text."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._execute = connection.execute

    def row(self, sql: str, *values: Any) -> Row | None:
        """The first row. ``sql`` finds at most one, or says LIMIT 1: a statement left half read would pin an old
        snapshot. Raises DiskError."""
        try:
            row: Row | None = self._execute(sql, values).fetchone()
        except sqlite3.Error as error:
            raise translated(error) from error
        return row

    def rows(self, sql: str, *values: Any) -> list[Row]:
        try:
            return self._execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error

    def each(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Rows as they are wanted; close the cursor, or read it to its end. Only inside ``snapshot``."""
        return self._execute(sql, values)

    @contextmanager
    def snapshot(self) -> Iterator[Reads]:
        """Several queries that see the same state."""
        with translating():
            self._execute("BEGIN")
            try:
                yield self
            finally:
                self._execute("COMMIT")

    def close(self) -> None:
        self.connection.close()


class ReadPool:
    """Read connections for threads: one for each that reads at the same moment, kept for the next."""

    def __init__(self, file: Path, threads: Offload) -> None:
        self._file = file
        self._threads = threads
        self._idle: list[Reads] = []  # append and pop are atomic
        self._busy: list[Reads] = []
        self._closed = False

    async def run(self, query: Callable[..., T], *values: Any) -> T:
        """``query(reads, *values)`` in a thread, all of it on one snapshot. Raises DiskError."""
        return await self._threads.run(self._read, query, *values)

    async def call(self, blocking: Callable[[], T]) -> T:
        """Something else that blocks, in the same threads."""
        return await self._threads.run(blocking)

    def interrupt(self) -> None:
        """End the statements that run now: their queries raise DiskError. For the end of the node."""
        for reads in list(self._busy):
            reads.connection.interrupt()

    def close(self) -> None:
        """Connections in use close when their query ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _read(self, query: Callable[..., T], *values: Any) -> T:
        reads = self._borrow()
        self._busy.append(reads)
        try:
            with reads.snapshot():
                return query(reads, *values)
        finally:
            self._busy.remove(reads)
            self._idle.append(reads)
            if self._closed:
                self.close()

    def _borrow(self) -> Reads:
        try:
            return self._idle.pop()
        except IndexError:
            with translating():
                return Reads(connect(self._file, cache_kib=READER_CACHE_KIB, read_only=True))


class Database:
    """What the parts of the catalogue share. ``reads`` belongs to the loop's thread, ``pool`` to any."""

    def __init__(
        self, file: Path, threads: Offload, prepare: Prepare = lambda connection: None, reserve: Reserve | None = None
    ) -> None:  # fmt: skip
        """Open or create ``file`` and bring it up to date. Blocks; at start only. ``prepare`` gives the write
        connection what statements need; ``reserve``: is let go for want of room. Raises ConfigError, DiskError."""
        self.file = file
        self._closed = False
        self._reserve = reserve
        with translating():
            self._connection = with_room(reserve, lambda: _opened(file))
            try:
                prepare(self._connection)
                self.reads = Reads(connect(file, cache_kib=LOOP_CACHE_KIB, read_only=True))
            except BaseException:
                self._connection.close()
                raise
        self.pool = ReadPool(file, threads)
        self._plan_threads = ThreadPool("plans", 1, nice=PLAN_NICE)  # its thread starts with the first plan
        self.plans = ReadPool(file, self._plan_threads)
        self._survey_threads = ThreadPool("surveys", 1, nice=PLAN_NICE)
        self.surveys = ReadPool(file, self._survey_threads)
        self.ending = Ending()
        self.writer = Writer(self._connection, reserve)
        self.change = self.writer.change

    async def close(self) -> None:
        """Commit what is waiting, checkpoint, close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self.ending.end()
        self.plans.interrupt()
        self.surveys.interrupt()
        await self.pool.call(self.writer.stop)  # first: from here on changes are refused
        await self._plan_threads.close()
        await self._survey_threads.close()
        self.reads.close()  # on the thread that uses it, and before the writer's: the last to close removes the WAL
        await self.pool.call(self._finish)

    def abandon(self) -> None:
        """``close`` for a start that fails half-way: without a loop."""
        self._closed = True
        self.writer.stop()
        self.reads.close()
        self._finish()

    def _finish(self) -> None:
        self.pool.close()
        self.plans.close()
        self.surveys.close()
        try:
            with translating():
                with_room(self._reserve, lambda: self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
        finally:
            self._connection.close()


def with_room(reserve: Reserve | None, work: Callable[[], T]) -> T:
    """``work``, again as long as it finds no room and the reserve has some to let go. Raises sqlite3.Error."""
    while True:
        try:
            return work()
        except sqlite3.Error as error:
            if reserve is None or not reserve.relieves(error):
                raise


def _opened(file: Path) -> sqlite3.Connection:
    _begun(file)
    connection = connect(file, cache_kib=WRITER_CACHE_KIB)
    try:
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _begun(file: Path) -> None:
    """There is a file, and it is its owner's alone, whatever the umask is: SQLite would ask for 0644, and it gives the
    files beside it (-wal, -shm) the mode of this one. One that is there is never opened here: to close it again would
    give up the locks this process has on it (fcntl(2))."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
