"""Buckets, and the catalogue in numbers."""

from __future__ import annotations

import sqlite3

from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.rows import bucket_of
from tierproxy.errors import BucketExists, BucketNotEmpty, NoSuchBucket
from tierproxy.model import BucketRow, Totals

BUCKET = "SELECT name, created_at, created, complete FROM bucket"
TOTALS = "SELECT objects, bytes, blobs, blob_bytes, dirty, dirty_bytes FROM total WHERE bucket = ?"
ALL = ""
NOTHING = Totals(0, 0, 0, 0, 0, 0)


class BucketReads:
    """What can be asked of buckets, on any connection."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def bucket(self, name: str) -> BucketRow | None:
        row = self._reads.row(f"{BUCKET} WHERE name = ?", name)
        return None if row is None else bucket_of(row)

    def buckets(self) -> list[BucketRow]:
        return [bucket_of(row) for row in self._reads.rows(f"{BUCKET} ORDER BY name")]

    def totals(self, bucket: str | None = None) -> Totals:
        row = self._reads.row(TOTALS, ALL if bucket is None else bucket)
        return NOTHING if row is None else Totals(*row)


class Buckets(BucketReads):
    """Buckets in the node."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.reads)
        self._change = database.change

    async def add_bucket(self, row: BucketRow) -> None:
        await self._change(lambda connection: _add(connection, row))

    async def complete_bucket(self, name: str, complete: bool) -> None:
        await self._change(lambda connection: _complete(connection, name, complete))

    async def remove_bucket(self, name: str) -> None:
        await self._change(lambda connection: _remove(connection, name))


def require_bucket(connection: sqlite3.Connection, name: str) -> None:
    """Raises NoSuchBucket: it was deleted while the change was on its way."""
    if not has_bucket(connection, name):
        raise NoSuchBucket(f"the bucket {name!r} does not exist")


def has_bucket(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM bucket WHERE name = ?", (name,)).fetchone() is not None


def _add(connection: sqlite3.Connection, row: BucketRow) -> None:
    values = (row.name, row.created_at, row.created, row.complete)
    added = connection.execute("INSERT INTO bucket VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", values)
    if not added.rowcount:
        raise BucketExists


def _complete(connection: sqlite3.Connection, name: str, complete: bool) -> None:
    changed = connection.execute("UPDATE bucket SET complete = ? WHERE name = ?", (complete, name))
    if not changed.rowcount:
        raise NoSuchBucket


def _remove(connection: sqlite3.Connection, name: str) -> None:
    """The row's total goes too: it is all zeros, and created again with the first entry of a bucket of that name."""
    require_bucket(connection, name)
    for table in ("entry", "upload"):
        if connection.execute(f"SELECT 1 FROM {table} WHERE bucket = ? LIMIT 1", (name,)).fetchone() is not None:
            raise BucketNotEmpty
    connection.execute("DELETE FROM bucket WHERE name = ?", (name,))
    connection.execute("DELETE FROM total WHERE bucket = ?", (name,))
