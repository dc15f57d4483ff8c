"""Opening the SQLite file, and translating SQLite's errors: every connection of the catalogue begins here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tierproxy.errors import DiskError, DiskUnavailable, OutOfSpace

BUSY_MILLISECONDS = 5000
LOG_PAGES = 2000  #: of 4 KiB: the log is checkpointed when it has as many
REBUILD = "the catalogue's file is damaged: stop the node and run `tierproxy catalogue rebuild`"
LOCKED = "another process holds the catalogue's write lock; let it finish or stop it"
DISK = "look at the disk that holds the data directory"

_HINTS = {
    sqlite3.SQLITE_CORRUPT: REBUILD,
    sqlite3.SQLITE_NOTADB: REBUILD,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
}


def catalogue_file(data: Path) -> Path:
    """Where the catalogue of the data directory ``data`` is."""
    return data / "catalogue" / "catalogue.sqlite"


def translated(error: sqlite3.Error) -> DiskError:
    """``error`` as one of tierproxy's: OutOfSpace when the disk is full, else DiskUnavailable."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code == sqlite3.SQLITE_FULL:
        return OutOfSpace(f"catalogue: {error}")
    return DiskUnavailable(f"catalogue: {error}", hint=_HINTS.get(code, DISK))


@contextmanager
def translating() -> Iterator[None]:
    """SQLite's errors inside become DiskError."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error) from error


def connect(file: Path, *, cache_kib: int, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode. Each is used by one thread at a time, though not always the one that opened it.

    No mmap: a read error of the disk would be a SIGBUS instead of an exception, and the mapped pages would count as
    the node's memory. The kernel's page cache serves what ``cache_kib`` does not hold.
    """
    uri = f"{file.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MILLISECONDS / 1000
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.create_function("lowered", 1, str.lower, deterministic=True)  # SQLite's lower() knows ASCII alone
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            _make_durable(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_durable(connection: sqlite3.Connection) -> None:
    """WAL, and an fsync of it in every commit."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
