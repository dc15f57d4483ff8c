"""The door to diskcache: one SQLite database, used by one thread.

diskcache pickles whatever it does not know, and loads such rows again (CVE-2025-69872, without a fix). ``PlainDisk``
knows str keys and bytes values and nothing else, keeps both in the database, and never opens, makes or removes a file.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from diskcache import Cache, Disk, Timeout
from diskcache.core import DBNAME, MODE_RAW

from tierproxy.errors import DiskError
from tierproxy.logs import event
from tierproxy.ports import FileCalls

T = TypeVar("T")
log = logging.getLogger(__name__)

LRU = "least-recently-used"
PATIENCE = 5.0  #: seconds for a lock: nobody else has the database open
SETTINGS: Mapping[str, Any] = {
    "eviction_policy": LRU,
    "cull_limit": 0,  # the room is made once after each batch: within a transaction the file does not shrink
    "statistics": 0,
    "tag_index": 0,
    "disk_min_file_size": 0,
    "sqlite_journal_mode": "wal",
    "sqlite_auto_vacuum": 1,  # full: what is evicted makes the file smaller, and its size is what is limited
    "sqlite_cache_size": -4096,  # KiB
    "sqlite_mmap_size": 0,  # a page that cannot be read is an error and not a SIGBUS
    "sqlite_synchronous": 1,
}
"""synchronous NORMAL: derived, but a power cut that damaged the database would cost all of it. It is one fsync for
every thousand pages that are written."""

DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT}
"""Primary codes after which nothing in the file is believed; SQLITE_ERROR is a table or a column that is not there."""
STRANGE = (ValueError, TypeError, LookupError, AttributeError)
"""What diskcache makes of rows and settings that it did not write."""
BROKEN = (sqlite3.Error, OSError, Timeout, DiskError, *STRANGE)

Opener = Callable[[Path, int], Any]


class PlainDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """See the module. Raises TypeError for anything else than str and bytes."""

    def put(self, key: object) -> tuple[str, bool]:
        if type(key) is not str:
            raise TypeError(f"a key of {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if type(key) is not str or not raw:
            raise TypeError("a key that was not written here")
        return key

    def store(self, value: object, read: object, key: object = None) -> tuple[int, int, None, bytes]:
        if type(value) is not bytes or read:
            raise TypeError(f"a value of {type(value).__name__}")
        return 0, MODE_RAW, None, value

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        if mode != MODE_RAW or filename is not None or type(value) is not bytes:
            raise TypeError("a value that was not written here")
        return value

    def remove(self, _path: object) -> None:
        """No row of ours names a file, and none of somebody else's is believed."""


def open_cache(directory: Path, max_bytes: int) -> Any:
    """A diskcache.Cache; raises one of ``BROKEN``. One that cannot be opened leaves its connection to whoever holds the
    error; here it is closed."""
    cache = Cache.__new__(Cache)
    try:
        cache.__init__(str(directory), timeout=PATIENCE, disk=PlainDisk, size_limit=max_bytes, **SETTINGS)
    except BROKEN:
        with suppress(AttributeError, sqlite3.Error):
            cache.close()
        raise
    return cache


class StubDatabase:
    """Bytes by key, at most about ``max_bytes`` of them on disk, least recently used first to go. Blocking, and for one
    thread. Never raises: what fails is logged once and is not there; a damaged database is thrown away."""

    def __init__(
        self, directory: Path, max_bytes: int, files: FileCalls, opener: Opener = open_cache,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._max_bytes = max_bytes
        self._files = files
        self._opener = opener
        self._cache: Any = None
        self._failing = False
        self.objects = 0
        self.bytes_used = 0

    def __repr__(self) -> str:
        return f"<StubDatabase {self.objects} rows, {self.bytes_used} of {self._max_bytes} bytes>"

    def open(self, *, anew: bool) -> None:
        """``anew``: without what is there."""
        if anew:
            self._throw_away()
        self._guarded(self._measure, None)

    def get(self, key: str) -> bytes | None:
        """Counts as a use."""
        return self._guarded(lambda cache: _used(cache, key), None)

    def peek(self, key: str) -> bytes | None:
        """Counts as none."""

        def look(cache: Any) -> bytes | None:
            with _unused(cache):
                return _value(cache, key)

        return self._guarded(look, None)

    def apply(self, changes: Mapping[str, bytes | None]) -> None:
        """All of them in one transaction; None removes. Then the room is made."""
        self._guarded(lambda cache: self._apply(cache, changes), None)

    def close(self) -> None:
        """Idempotent. From the thread that used it."""
        cache, self._cache = self._cache, None
        if cache is not None:
            with suppress(*BROKEN):
                cache.close()

    # ------------------------------------------------------------ in the database

    def _apply(self, cache: Any, changes: Mapping[str, bytes | None]) -> None:
        wanted = {key: raw for key, raw in changes.items() if raw is not None or key in cache}
        if not wanted:
            return
        with cache.transact():
            for key, raw in wanted.items():
                if raw is None:
                    cache.delete(key)
                else:
                    cache.set(key, raw)
        if cache.volume() > self._max_bytes:
            cache.cull()
        self._measure(cache)

    def _measure(self, cache: Any) -> None:
        self.objects, self.bytes_used = len(cache), int(cache.volume())

    # ------------------------------------------------------------ when it fails

    def _guarded(self, call: Callable[[Any], T], otherwise: T) -> T:
        try:
            if self._cache is None:
                self._cache = self._opened()
                self._measure(self._cache)
            found = call(self._cache)
        except BROKEN as error:
            self._failed(error)
            return otherwise
        if self._failing:
            self._failing = False
            event(log, logging.INFO, "stubs work again", directory=self._directory)
        return found

    def _opened(self) -> Any:
        self._files.mkdir(self._directory)
        database = self._directory / DBNAME
        if not database.exists():  # SQLite would make it for others to read; -wal and -shm take its mode
            os.close(self._files.create(database))
        return self._opener(self._directory, self._max_bytes)

    def _failed(self, error: BaseException) -> None:
        """Damaged: away with it, and the next call begins anew. Anything else may pass: a full disk, say."""
        if _is_damage(error):
            event(log, logging.WARNING, "stubs damaged, begun anew", directory=self._directory, error=error)
            self._throw_away()
        elif not self._failing:
            self._failing = True
            event(log, logging.WARNING, "stubs fail", directory=self._directory, error=error)

    def _throw_away(self) -> None:
        self.close()
        self.objects = self.bytes_used = 0
        throw_away(self._directory, self._files)


def throw_away(directory: Path, files: FileCalls) -> None:
    """Remove a database that nobody has open, as far as that is possible."""
    with suppress(OSError):
        for path in [Path(entry.path) for entry in os.scandir(directory)]:
            with suppress(DiskError):
                files.unlink(path)


def _used(cache: Any, key: str) -> bytes | None:
    """Noting the use is a change; where none is possible (a full disk) what is there is still there."""
    try:
        return _value(cache, key)
    except (sqlite3.OperationalError, Timeout):
        with _unused(cache):
            return _value(cache, key)


def _value(cache: Any, key: str) -> bytes | None:
    found = cache.get(key)
    return found if type(found) is bytes else None


@contextmanager
def _unused(cache: Any) -> Iterator[None]:
    """Looks inside the block leave the order of eviction alone."""
    cache.reset("eviction_policy", "none", update=False)
    try:
        yield
    finally:
        cache.reset("eviction_policy", LRU, update=False)


def _is_damage(error: BaseException) -> bool:
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in DAMAGED
    return isinstance(error, STRANGE)
