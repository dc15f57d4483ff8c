"""Purges: batches of blobs that go, booked in the same transaction, and what the FIFO orders remember."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.records import book_removals, summed
from tierproxy.purges import Booking, Drop, Eviction, Move

# Every condition of the plan again: the row may have changed since.
DROP = """UPDATE entry SET blob = NULL, blob_bytes = 0, purged_at = ?5, purged_by = ?6, purged_run = ?7,
        visits = 0, main = 0, queued_at = NULL
    WHERE bucket = ?1 AND key = ?2 AND generation = ?3 AND blob = ?4 AND state = 'clean'
        AND (pinned_until IS NULL OR pinned_until <= ?5)"""
PROGRESS = """UPDATE purge_run SET objects = objects + ?2, bytes = bytes + ?3, skipped = skipped + ?4,
        cursor_bucket = coalesce(?5, cursor_bucket), cursor_key = coalesce(?6, cursor_key)
    WHERE number = ?1"""
REASON = """INSERT INTO purge_run_rule
        SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM purge_run WHERE number = ?1)
    ON CONFLICT (run, by, rule) DO UPDATE SET objects = objects + excluded.objects, bytes = bytes + excluded.bytes"""
MOVE = """UPDATE entry SET visits = ?4, main = ?5, queued_at = ?6
    WHERE bucket = ?1 AND key = ?2 AND generation = ?3 AND blob IS NOT NULL"""
REMEMBER = """INSERT INTO eviction VALUES (?, ?, ?)
    ON CONFLICT (bucket) DO UPDATE SET hand = excluded.hand, inflation = excluded.inflation"""
EVICTION = "SELECT bucket, hand, inflation FROM eviction WHERE bucket = ?"


class Purges:
    """Changes that purges make to rows."""

    def __init__(self, database: Database) -> None:
        self._reads = database.reads
        self._change = database.change

    async def drop_blobs(self, drops: Sequence[Drop], *, at: float, booking: Booking | None = None) -> list[bool]:
        return await self._change(lambda connection: _drop_all(connection, drops, at, booking))

    async def requeue(self, moves: Sequence[Move], eviction: Eviction) -> None:
        await self._change(lambda connection: _requeue(connection, moves, eviction))

    def eviction(self, bucket: str) -> Eviction:
        return eviction(self._reads, bucket)


def eviction(reads: Reads, bucket: str) -> Eviction:
    """As ``Catalogue.eviction``."""
    row = reads.row(EVICTION, bucket)
    return Eviction(bucket) if row is None else Eviction(*row)


def _drop_all(connection: sqlite3.Connection, drops: Sequence[Drop], at: float, booking: Booking | None) -> list[bool]:
    run = None if booking is None else booking.run
    gone = [_drop(connection, drop, at, run) for drop in drops]
    removed = [drop for drop, went in zip(drops, gone, strict=True) if went]
    book_removals(connection, removed, at)
    if booking is not None:
        _book(connection, booking, removed, len(drops) - len(removed))
    return gone


def _drop(connection: sqlite3.Connection, drop: Drop, at: float, run: int | None) -> bool:
    values = (*drop.name, drop.generation, drop.blob, at, drop.by, run)
    return connection.execute(DROP, values).rowcount == 1


def _book(connection: sqlite3.Connection, booking: Booking, removed: Sequence[Drop], stayed: int) -> None:
    """How far the run is; and why, which also names the rules that had kept what pressure took."""
    size = sum(drop.blob_bytes for drop in removed)
    bucket, key = booking.cursor or (None, None)
    connection.execute(PROGRESS, (booking.run, len(removed), size, booking.skipped + stayed, bucket, key))
    reasons = summed(((drop.by, drop.rule), drop.blob_bytes) for drop in removed)
    connection.executemany(REASON, [(booking.run, *reason, *sums) for reason, sums in reasons.items()])


def _requeue(connection: sqlite3.Connection, moves: Sequence[Move], eviction: Eviction) -> None:
    rows = [(*move.name, move.generation, move.visits, move.main, move.queued_at) for move in moves]
    connection.executemany(MOVE, rows)
    connection.execute(REMEMBER, (eviction.bucket, eviction.hand, eviction.inflation))
