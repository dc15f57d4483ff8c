"""Look-ups in the catalogue of a running node, from another process: one row at a time, and quick."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tierproxy import formats
from tierproxy.catalogue.connection import catalogue_file, connect
from tierproxy.catalogue.entries import FIND
from tierproxy.catalogue.migrations import known_migrations, refuse_newer
from tierproxy.catalogue.rows import entry_of
from tierproxy.errors import ConfigError
from tierproxy.model import Entry, ObjectName

CACHE_KIB = 4 * 1024
COMPLETE = "SELECT complete FROM bucket WHERE name = ?"


class CatalogueBeside:
    """Used by one thread at a time. Every look-up is a read transaction of its own: it sees what was committed before,
    and holds up no checkpoint. What SQLite does not say at once (it never waits for a lock), or says with an error, is
    None."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute  # the statement is prepared once: sqlite3 keeps it by its text

    @classmethod
    def open(cls, data: Path) -> CatalogueBeside | None:
        """The catalogue of ``data``; None: there is none, or one of another version. Blocking, briefly."""
        try:
            formats.refuse_newer(data)
            connection = connect(catalogue_file(data), cache_kib=CACHE_KIB, read_only=True)
        except (sqlite3.Error, OSError, ConfigError):
            return None
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            known = known_migrations()
            if len(refuse_newer(connection, known)) == len(known):
                return cls(connection)
        except (sqlite3.Error, ConfigError):
            pass
        connection.close()
        return None

    def find(self, name: ObjectName) -> Entry | None:
        """The row, tombstones included."""
        try:
            row = self._execute(FIND, name).fetchone()
        except sqlite3.Error:
            return None
        return None if row is None else entry_of(row)

    def complete(self, bucket: str) -> bool:
        """Every object of the bucket has a row, and only the node writes to it."""
        try:
            row = self._execute(COMPLETE, (bucket,)).fetchone()
        except sqlite3.Error:
            return False
        return row is not None and bool(row[0])

    def close(self) -> None:
        self._connection.close()
