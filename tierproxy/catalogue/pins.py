"""Pins: blobs that nothing takes from disk before a moment. The node sets them, and the command line beside it."""

from __future__ import annotations

import sqlite3

from tierproxy.catalogue.database import Database, Reads
from tierproxy.errors import NoSuchKey
from tierproxy.model import ObjectName

PINNED = """SELECT bucket, key, pinned_until FROM entry INDEXED BY entry_pinned
    WHERE pinned_until IS NOT NULL AND pinned_until > ? AND state <> 'deleting'
    ORDER BY pinned_until, bucket, key LIMIT ?"""
PIN = "UPDATE entry SET pinned_until = ? WHERE bucket = ? AND key = ? AND state <> 'deleting'"


class Pins:
    """Pins in the node."""

    def __init__(self, database: Database) -> None:
        self._change = database.change

    async def pin(self, name: ObjectName, until: float | None) -> None:
        await self._change(lambda connection: pin(connection, name, until))


def pin(connection: sqlite3.Connection, name: ObjectName, until: float | None) -> None:
    """As ``Catalogue.pin``."""
    if not connection.execute(PIN, (until, *name)).rowcount:
        raise NoSuchKey(f"{name} does not exist")


def pinned(reads: Reads, now: float, limit: int) -> list[tuple[ObjectName, float]]:
    """Objects that a command has pinned, with the pin's end (infinity: for ever), the first to end first."""
    return [(ObjectName(bucket, key), until) for bucket, key, until in reads.rows(PINNED, now, limit)]
