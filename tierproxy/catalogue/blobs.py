"""Which entries have bytes on disk, what goes first, and blobs that were damaged."""

from __future__ import annotations

import sqlite3

from tierproxy.catalogue.database import Database
from tierproxy.catalogue.entries import current, stale
from tierproxy.catalogue.rows import ENTRY, entry_of
from tierproxy.model import Entry, ObjectName

# The condition and the expression of the index entry_victim, word for word.
VICTIMS = (
    f"SELECT {ENTRY} FROM entry INDEXED BY entry_victim WHERE state = 'clean' AND blob IS NOT NULL "
    "ORDER BY coalesce(last_read_at, stored_at) LIMIT ?"
)
DROP = (
    "UPDATE entry SET blob = NULL, blob_bytes = 0, purged_at = ?, purged_by = ?, purged_run = NULL, "
    "visits = 0, main = 0, queued_at = NULL "
    "WHERE bucket = ? AND key = ? AND generation = ? AND blob = ? AND state IN ('clean', 'suspect')"
)


class Blobs:
    """Blobs one at a time. Purges come in batches: ``purging``."""

    def __init__(self, database: Database) -> None:
        self._reads = database.reads
        self._change = database.change

    def victims(self, limit: int) -> list[Entry]:
        return [entry_of(row) for row in self._reads.rows(VICTIMS, limit)]

    async def drop_blob(self, name: ObjectName, generation: int, blob: str, *, by: str, at: float) -> None:
        await self._change(lambda connection: _drop(connection, name, generation, blob, by, at))


def _drop(connection: sqlite3.Connection, name: ObjectName, generation: int, blob: str, by: str, at: float) -> None:
    dropped = connection.execute(DROP, (at, by, *name, generation, blob))
    if not dropped.rowcount:
        raise stale(name, f"clean or suspect generation {generation} with blob {blob}", current(connection, name))
