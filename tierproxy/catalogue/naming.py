"""Owner and folder class of rows by the naming patterns: SQL functions of the write connection, so that every way a row
comes into being has them, and rows that are there already can be classified again in bulk.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from tierproxy.catalogue.database import Database, Reads
from tierproxy.logs import event
from tierproxy.model import ObjectName

Naming = Callable[[ObjectName], tuple[str, str]]
"""Owner and folder class of a name; "" for what it does not say. Always the same for the same name."""

logger = logging.getLogger(__name__)

NAMED_BY = "SELECT value FROM fact WHERE name = 'named_by'"
PAGE_END = "SELECT bucket, key FROM entry WHERE (bucket, key) > (?, ?) ORDER BY bucket, key LIMIT 1 OFFSET ?"
CLASSIFY = """UPDATE entry SET
        owner = iif(named & 1, owner, owner_of(bucket, key)), folder = iif(named & 2, folder, folder_of(bucket, key))
    WHERE (bucket, key) > (?, ?) AND named <> 3 AND (NOT named & 1 AND owner <> owner_of(bucket, key)
        OR NOT named & 2 AND folder <> folder_of(bucket, key))"""


class Names:
    """Which patterns the rows were classified by, and doing it again."""

    def __init__(self, database: Database) -> None:
        self._reads = database.reads
        self._change = database.change

    def named_by(self) -> int:
        return named_by(self._reads)

    async def name_by(self, fingerprint: int) -> None:
        sql = "UPDATE fact SET value = ? WHERE name = 'named_by'"
        await self._change(lambda connection: connection.execute(sql, (fingerprint,)).rowcount)

    async def reclassify(self, after: ObjectName | None, limit: int) -> ObjectName | None:
        return await self._change(lambda connection: _reclassify(connection, after or ObjectName("", ""), limit))


def named_by(reads: Reads) -> int:
    """As ``Catalogue.named_by``."""
    return int(reads.rows(NAMED_BY)[0][0])


def register(connection: sqlite3.Connection, naming: Naming | None) -> None:
    """``owner_of(bucket, key)`` and ``folder_of(bucket, key)`` for every later statement of ``connection``."""
    classes = _Classes(naming or _nothing)
    connection.create_function("owner_of", 2, classes.owner_of, deterministic=True)
    connection.create_function("folder_of", 2, classes.folder_of, deterministic=True)


class _Classes:
    """The patterns, asked once for a name that is asked about several times in a row. Never raises: an error inside a
    statement would fail a write because of a pattern."""

    def __init__(self, naming: Naming) -> None:
        self._naming = naming
        self._last: tuple[ObjectName | None, tuple[str, str]] = None, ("", "")
        self._complained = False

    def owner_of(self, bucket: str, key: str) -> str:
        return self._of(ObjectName(bucket, key))[0]

    def folder_of(self, bucket: str, key: str) -> str:
        return self._of(ObjectName(bucket, key))[1]

    def _of(self, name: ObjectName) -> tuple[str, str]:
        if self._last[0] != name:
            self._last = name, self._asked(name)
        return self._last[1]

    def _asked(self, name: ObjectName) -> tuple[str, str]:
        try:
            owner, folder = self._naming(name)
            return str(owner), str(folder)
        except Exception as error:  # noqa: BLE001 - whatever it is, the write goes on
            if not self._complained:
                self._complained = True
                event(logger, logging.ERROR, "naming failed", bucket=name.bucket, key=name.key, error=error)
            return "", ""


def _nothing(_name: ObjectName) -> tuple[str, str]:
    return "", ""


def _reclassify(connection: sqlite3.Connection, after: ObjectName, limit: int) -> ObjectName | None:
    row = connection.execute(PAGE_END, (*after, limit - 1)).fetchone()
    if row is None:
        connection.execute(CLASSIFY, after)
        return None
    connection.execute(f"{CLASSIFY} AND (bucket, key) <= (?, ?)", (*after, *row))
    return ObjectName(*row)
