"""Rule versions: every rule file that was put in force, with its time, author and reason."""

from __future__ import annotations

import sqlite3

from tierproxy.catalogue.database import Database, Reads
from tierproxy.errors import StaleGeneration
from tierproxy.purges import Version

VERSION = "number, kind, at, author, reason, text, live_at"
ADD = (
    f"INSERT INTO rules_version (kind, at, author, reason, text, live_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING {VERSION}"
)
BY_NUMBER = f"SELECT {VERSION} FROM rules_version WHERE number = ?"
NEWEST = f"SELECT {VERSION} FROM rules_version WHERE kind = ? ORDER BY number DESC LIMIT ?"
LIVE = "UPDATE rules_version SET live_at = ? WHERE number = ?"


class VersionReads:
    """What can be asked of versions, on any connection. Another process may have added one: nothing is remembered."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def version(self, number: int) -> Version | None:
        row = self._reads.row(BY_NUMBER, number)
        return None if row is None else Version(*row)

    def versions(self, kind: str, limit: int) -> list[Version]:
        return [Version(*row) for row in self._reads.rows(NEWEST, kind, limit)]


class Versions(VersionReads):
    """Versions in the node that works by them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.reads)
        self._change = database.change

    async def add_version(self, version: Version) -> Version:
        return await self._change(lambda connection: add_version(connection, version))

    async def version_live(self, number: int, at: float) -> None:
        await self._change(lambda connection: connection.execute(LIVE, (at, number)).rowcount)


def add_version(connection: sqlite3.Connection, version: Version, newest: int | None = None) -> Version:
    """As ``Catalogue.add_version``; ``newest`` as ``OutsideChanges.add_version``. Raises StaleGeneration."""
    found = connection.execute(NEWEST, (version.kind, 1)).fetchone()
    if newest is not None and (found[0] if found else 0) != newest:
        raise StaleGeneration(f"version {found[0] if found else 0} was put in force by somebody else in the meantime")
    values = (version.kind, version.at, version.author, version.reason, version.text, version.live_at)
    return Version(*connection.execute(ADD, values).fetchall()[0])
