"""Room kept back for the catalogue: a file beside it that is cut shorter when a commit finds no room (decision 36)."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from tierproxy.errors import DiskError, OutOfSpace
from tierproxy.logs import event
from tierproxy.ports import FileCalls

log = logging.getLogger(__name__)

RESERVE = "reserve"
MOST = 32 * 2**20
LEAST = 4 * 2**20
SLICES = 8
BLOCK = 4096
TRIAL = 256 * 1024
"""Bytes. Less than this is no room: SQLite extends the log's index by 32 KiB, and a commit writes dozens of pages."""

_DOUBTFUL = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


def ample(total: int) -> int:
    """Bytes to keep back on a file system of ``total`` bytes: whole slices."""
    wanted = min(MOST, max(total // 100, min(LEAST, total // 8)))
    return wanted // (SLICES * BLOCK) * (SLICES * BLOCK)


class Reserve:
    """``tierproxy.ports.Reserve``: ``<data>/catalogue/reserve``. Its length is all there is to know of it."""

    def __init__(self, data: Path, files: FileCalls, size: int | None = None) -> None:
        """Nothing happens yet. ``size``: instead of what suits the file system."""
        self._data = data
        self._file = data / "catalogue" / RESERVE
        self._files = files
        self._wanted = size
        self._fd: int | None = None
        self._lock = threading.Lock()  # of the file's length
        self._size = 0
        self._left = 0
        self._shared = True
        self._spent = False  # so much was let go that a quarter is left
        self.on_given: Callable[[], None] = _nobody

    def __repr__(self) -> str:
        return f"<Reserve {self._left} of {self._size}>"

    @property
    def size(self) -> int:
        return self._size

    @property
    def left(self) -> int:
        return self._left

    @property
    def short(self) -> bool:
        return self._left < self._size

    @property
    def low(self) -> bool:
        """Where a quarter was never to be had, the file system may yet have room."""
        return self._spent or (self._left <= self._size // 4 and _free(self._file.parent) < self._size // SLICES)

    @property
    def shared(self) -> bool:
        return self._shared

    def open(self) -> None:
        """Blocks; at start only, before any database. The directory is there. What there is no room for is short.
        Raises nothing: a node without a reserve still serves.

        On a full disk a slice goes at once. A database's index of the log is mapped memory: where a block is smaller
        than a page, SQLite makes sure of one block of each, and the others are first asked for when they are written
        to. No room then is no error but SIGBUS."""
        if self._wanted == 0:
            return
        try:
            self._open()
            self.regain()
            if self._full():
                self._give()
        except OutOfSpace as error:
            event(log, logging.WARNING, "no room to keep back for the catalogue", file=self._file, error=error)
        except (OSError, DiskError) as error:
            self._size = self._left = 0
            event(log, logging.WARNING, "the catalogue has no reserve", file=self._file, error=error)

    def close(self) -> None:
        """Idempotent. The file stays as it is: it is needed at the next start."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
            self._fd = None

    def relieves(self, error: BaseException) -> bool:
        """In the catalogue's thread, after a rollback: whether ``error`` was want of room, and some was let go now, so
        that what failed is worth another try. Never raises."""
        return self.lacking(error) and self._give()

    def lacking(self, error: BaseException) -> bool:
        """Whether ``error`` was want of room. SQLite says so, or it says that a call failed and not why (EDQUOT while
        it writes, a log's index that cannot grow): then by trying."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _DOUBTFUL and isinstance(error, sqlite3.Error):
            return self._full()
        return code == sqlite3.SQLITE_FULL

    def regain(self) -> bool:
        """As far as there is room for it, for a quarter of the whole beside it, and for no less than a slice. Both are
        tried together, for no number says what a quota has left."""
        with self._lock:
            if not self._size:
                return True
            if self._fd is None:
                self._open()
            missing, margin, piece = self._size - self._left, self._size // 4, self._size // SLICES
            room = _free(self._file.parent) - margin
            amount = missing if room >= missing else max(0, room // piece * piece)
            if missing and amount:
                self._extend(self._left + amount, margin)
            self._spent = self._spent and self._left <= self._size // 4
        return not self.short

    def _open(self) -> None:
        found = os.statvfs(self._file.parent)
        self._size = ample(found.f_blocks * found.f_frsize) if self._wanted is None else self._wanted
        self._shared = self._file.parent.stat().st_dev == self._data.stat().st_dev
        self._fd = fd = self._files.open_or_create(self._file)
        length = os.fstat(fd).st_size
        if length > self._size:  # of a larger file system, or the crash came between a trial and its end
            self._files.truncate(fd, self._size)
        self._left = self._held(fd, min(length, self._size))

    def _held(self, fd: int, length: int) -> int:
        """``length``, or nothing if that is not really there: a copy of a file of zeros may be one of holes."""
        try:
            if length:
                self._files.allocate(fd, length)
        except OutOfSpace:
            self._files.truncate(fd, 0)
            return 0
        return length

    def _extend(self, length: int, margin: int) -> None:
        assert self._fd is not None
        try:
            self._files.allocate(self._fd, length + margin)
            self._left = length
        except OutOfSpace as error:
            event(log, logging.DEBUG, "no room for the catalogue's reserve yet", file=self._file, error=error)
        finally:
            self._files.truncate(self._fd, self._left)
        self._files.fsync(self._fd)

    def _give(self) -> bool:
        """A slice. It is of use only once the file system has it back: some wait for their journal."""
        with self._lock:
            if self._fd is None or not self._left:
                return False
            left = max(0, self._left - max(BLOCK, self._size // SLICES))
            try:
                self._files.truncate(self._fd, left)
                self._left, self._spent = left, left <= self._size // 4
                self._files.fsync(self._fd)
            except DiskError as error:
                event(log, logging.ERROR, "the catalogue's reserve is of no use", file=self._file, error=error)
                return False
        event(log, logging.WARNING, "room let go for the catalogue", file=self._file, left=left, of=self._size)
        self.on_given()
        return True

    def _full(self) -> bool:
        with self._lock:
            if self._fd is None:
                return False
            try:
                self._files.allocate(self._fd, self._left + TRIAL)
            except OutOfSpace:
                return True
            except DiskError:
                return False
            finally:
                self._cut()
        return False

    def _cut(self) -> None:
        """What a trial has made longer. A failing disk is told of elsewhere."""
        assert self._fd is not None
        try:
            self._files.truncate(self._fd, self._left)
        except DiskError as error:
            event(log, logging.WARNING, "the catalogue's reserve is longer than it should be", error=error)


def _free(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def _nobody() -> None:
    """Nobody listens yet."""
