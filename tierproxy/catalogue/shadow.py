"""The disk as the shadow rules would have it, kept in step by triggers of the table entry and by what is counted.

A read of what the shadow had purged is a miss of the shadow. When live has the blob, the read's count says so. When
live had purged it too, the fill has put it back on both disks by then, and live's regret says so: the shadow's blob was
stored after live's purge, and the mark of the shadow's own is still there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial

from tierproxy.catalogue.buckets import BucketReads
from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.records import book_removals, records
from tierproxy.model import ObjectName
from tierproxy.purges import Drop, RuleRecord, ShadowRecord
from tierproxy.traffic import DAY, Counts, Regret

OFF, ON, COPYING = 0, 1, -1
COPIED = 5000  #: rows a change: begin and end let other changes in between

STATE = "SELECT value FROM fact WHERE name = 'shadow'"
SET_STATE = "UPDATE fact SET value = ? WHERE name = 'shadow'"
PAGE_END = """SELECT bucket, key FROM entry WHERE (bucket, key) > (?, ?) ORDER BY bucket, key LIMIT 1 OFFSET ?"""
COPY = """INSERT INTO shadow SELECT bucket, key, blob_bytes, stored_at, NULL, NULL FROM entry
    WHERE (bucket, key) > (?, ?) AND (bucket, key) <= (?, ?) AND blob IS NOT NULL
    ON CONFLICT (bucket, key) DO NOTHING"""
CLEAR = "DELETE FROM shadow WHERE (bucket, key) IN (SELECT bucket, key FROM shadow LIMIT ?)"
MISSED = "SELECT purged_by, purged_at FROM shadow WHERE bucket = ? AND key = ? AND stored_at IS NULL"
MISSED_TOO = """SELECT purged_by, purged_at FROM shadow WHERE bucket = ? AND key = ? AND purged_at IS NOT NULL
    AND (stored_at IS NULL OR stored_at >= ?)"""
REFILL = """UPDATE shadow SET stored_at = coalesce(stored_at, ?), purged_at = NULL, purged_by = NULL
    WHERE bucket = ? AND key = ?"""
TOTAL = """UPDATE shadow_total
    SET reads = reads + ?, live_misses = live_misses + ?, shadow_misses = shadow_misses + ?"""
DROP = """UPDATE shadow SET stored_at = NULL, purged_at = ?3, purged_by = ?4
    WHERE bucket = ?1 AND key = ?2 AND stored_at IS NOT NULL AND EXISTS (
        SELECT 1 FROM entry WHERE bucket = ?1 AND key = ?2 AND state = 'clean' AND generation = ?5
            AND (pinned_until IS NULL OR pinned_until <= ?3))"""
RECORD = """SELECT since, reads, live_misses, shadow_misses,
        (SELECT count(*) FROM shadow WHERE stored_at IS NOT NULL),
        (SELECT coalesce(sum(bytes), 0) FROM shadow WHERE stored_at IS NOT NULL)
    FROM shadow_total WHERE (SELECT value FROM fact WHERE name = 'shadow') = 1"""
BEYOND = b""  #: SQLite sorts any BLOB after any TEXT

Bound = tuple[str | bytes, str | bytes]
START: Bound = ("", "")
END: Bound = (BEYOND, BEYOND)


class ShadowBook:
    """The shadow in the node."""

    def __init__(self, database: Database) -> None:
        self._pool = database.pool
        self._change = database.change

    async def begin_shadow(self, at: float) -> None:
        """Cut off half-way (state COPYING), there is no shadow, and the next begins with an empty table."""
        await self.end_shadow()
        await self._change(lambda connection: _begin(connection, at))
        place: Bound | None = START
        while place is not None:
            place = await self._change(partial(_copy, after=place))
        await self._change(lambda connection: connection.execute(SET_STATE, (ON,)).rowcount)

    async def end_shadow(self) -> None:
        await self._change(lambda connection: connection.execute(SET_STATE, (OFF,)).rowcount)
        while await self._change(lambda connection: connection.execute(CLEAR, (COPIED,)).rowcount):
            pass

    async def shadow(self) -> ShadowRecord | None:
        return await self._pool.run(record)

    async def shadow_drop(self, drops: Sequence[Drop], *, at: float) -> list[bool]:
        return await self._change(lambda connection: _drop(connection, drops, at))


def record(reads: Reads) -> ShadowRecord | None:
    """The shadow beside the live rules; None: there is none, or it is being copied."""
    row = reads.row(RECORD)
    if row is None:
        return None
    since, seen, live_misses, shadow_misses, objects, size = row
    totals, day = BucketReads(reads).totals(), int(since // DAY)
    return ShadowRecord(
        since, totals.blobs, totals.blob_bytes, objects, size,
        _by_reason(records(reads, day)), _by_reason(records(reads, day, shadow=True)), seen, live_misses, shadow_misses,
    )  # fmt: skip


def runs(connection: sqlite3.Connection) -> bool:
    """Whether there is a shadow to book for."""
    return bool(connection.execute(STATE).fetchone()[0] == ON)


def book_reads(connection: sqlite3.Connection, counts: Counts) -> list[Regret]:
    """Book a flush for the shadow; returns what it regrets. Live's regrets first: their objects are back then."""
    regrets = [*_missed_by_both(connection, counts), *_missed_alone(connection, counts)]
    connection.executemany(REFILL, ((regret.at, *regret.name) for regret in regrets))
    reads = sum(read.reads + read.machine_reads for read in counts.reads)
    connection.execute(TOTAL, (reads, len(counts.regrets), len(regrets)))
    return regrets


def _missed_by_both(connection: sqlite3.Connection, counts: Counts) -> Iterator[Regret]:
    for regret in counts.regrets:
        row = connection.execute(MISSED_TOO, (*regret.name, regret.at - regret.seconds)).fetchone()
        if row is not None:
            yield _regret(regret.name, row, regret.at, machine=regret.machine)


def _missed_alone(connection: sqlite3.Connection, counts: Counts) -> Iterator[Regret]:
    regretted = {regret.name for regret in counts.regrets}
    for read in counts.reads:
        if read.name not in regretted:
            row = connection.execute(MISSED, read.name).fetchone()
            if row is not None:
                at = counts.at if read.last_read_at is None else read.last_read_at
                yield _regret(read.name, row, at, machine=not read.reads)


def _regret(name: ObjectName, row: tuple[str, float], at: float, *, machine: bool) -> Regret:
    by, purged_at = row
    return Regret(name, by, at, max(at - purged_at, 0.0), machine)


def _by_reason(found: Sequence[RuleRecord]) -> dict[str, RuleRecord]:
    return {one.by: one for one in found}


def _begin(connection: sqlite3.Connection, at: float) -> None:
    """From here on the triggers see every change; what was there before is copied."""
    connection.execute("DELETE FROM rule_day WHERE shadow = 1")
    connection.execute("UPDATE shadow_total SET since = ?, reads = 0, live_misses = 0, shadow_misses = 0", (at,))
    connection.execute(SET_STATE, (COPYING,))


def _copy(connection: sqlite3.Connection, after: Bound) -> Bound | None:
    """The next rows; returns where they end, None: that was all."""
    end: Bound | None = connection.execute(PAGE_END, (*after, COPIED - 1)).fetchone()
    connection.execute(COPY, (*after, *(end or END)))
    return end


def _drop(connection: sqlite3.Connection, drops: Sequence[Drop], at: float) -> list[bool]:
    gone = [
        connection.execute(DROP, (*drop.name, at, drop.by, drop.generation)).rowcount == 1 for drop in drops
    ]  # fmt: skip
    book_removals(connection, (drop for drop, went in zip(drops, gone, strict=True) if went), at, shadow=True)
    return gone
