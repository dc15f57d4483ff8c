"""Changes of the offline tools: what a listing of alt says (sync), what blobs say of themselves (rebuild)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from tierproxy.catalogue.database import Database
from tierproxy.catalogue.entries import INSERT, current, store
from tierproxy.catalogue.invariants import violations
from tierproxy.catalogue.journal import replace_job
from tierproxy.catalogue.rows import entry_row
from tierproxy.model import Entry, Job, JobKind, State

INSERT_NEW = f"{INSERT} ON CONFLICT (bucket, key) DO NOTHING"


class Offline:
    """Many rows in one change: bring some thousands a call, since the writer does nothing else meanwhile."""

    def __init__(self, database: Database) -> None:
        self._pool = database.pool
        self._change = database.change

    async def insert_listed(self, entries: Sequence[Entry]) -> int:
        return await self._change(lambda connection: _insert_listed(connection, entries))

    async def adopt(self, entries: Sequence[Entry]) -> list[Entry]:
        return await self._change(lambda connection: _adopt_all(connection, entries))

    async def check(self) -> list[str]:
        return await self._pool.run(violations)


def _insert_listed(connection: sqlite3.Connection, entries: Sequence[Entry]) -> int:
    rows = [entry_row(replace(entry, state=State.CLEAN, blob=None, blob_bytes=0)) for entry in entries]
    return connection.executemany(INSERT_NEW, rows).rowcount if rows else 0


def _adopt_all(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Entry]:
    """Those whose blob no row names in the end."""
    losers = [_adopt(connection, entry) for entry in entries]
    return [loser for loser in losers if loser is not None and loser.blob is not None]


def _adopt(connection: sqlite3.Connection, entry: Entry) -> Entry | None:
    """The one of ``entry`` and the row there that lost; None if nothing did."""
    old = current(connection, entry.name)
    if old is not None and old.blob == entry.blob and old.generation == entry.generation:
        return None
    if old is not None and (old.generation, old.blob is not None) >= (entry.generation, entry.blob is not None):
        return entry
    store(connection, entry if old is None else replace(entry, reads=old.reads, last_read_at=old.last_read_at))
    put = Job(entry.name, entry.generation, JobKind.PUT, entry.size, queued_at=entry.written_at)
    replace_job(connection, entry.name, put if entry.state is State.DIRTY else None)
    return old
