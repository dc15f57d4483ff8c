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
MISSED = """SELECT purged_by, purged_at FROM shadow
    WHERE bucket = ? AND key = ? AND stored_at IS NULL AND purged_at <= ?"""
MISSED_TOO = """SELECT purged_by, purged_at FROM shadow WHERE bucket = ? AND key = ? AND purged_at IS NOT NULL
    AND (stored_at IS NULL OR stored_at >= ?)"""
REFILL = """UPDATE shadow SET stored_at = coalesce(stored_at, ?), purged_at = NULL, purged_by = NULL
    WHERE bucket = ? AND key = ?"""
UNMARK = """UPDATE shadow SET purged_at = NULL, purged_by = NULL
    WHERE bucket = ? AND key = ? AND stored_at IS NOT NULL"""
DAY_SUMS = """INSERT INTO shadow_day VALUES (?, ?, ?, ?) ON CONFLICT (day) DO UPDATE SET reads = reads + excluded.reads,
    live_misses = live_misses + excluded.live_misses, shadow_misses = shadow_misses + excluded.shadow_misses"""
DROP = """UPDATE shadow SET stored_at = NULL, purged_at = ?3, purged_by = ?4
    WHERE bucket = ?1 AND key = ?2 AND stored_at IS NOT NULL AND EXISTS (
        SELECT 1 FROM entry WHERE bucket = ?1 AND key = ?2 AND state = 'clean' AND generation = ?5
            AND (pinned_until IS NULL OR pinned_until <= ?3))"""
RECORD = """SELECT since,
        (SELECT count(*) FROM shadow WHERE stored_at IS NOT NULL),
        (SELECT coalesce(sum(bytes), 0) FROM shadow WHERE stored_at IS NOT NULL)
    FROM shadow_since WHERE (SELECT value FROM fact WHERE name = 'shadow') = 1"""
SUMS = """SELECT coalesce(sum(reads), 0), coalesce(sum(live_misses), 0), coalesce(sum(shadow_misses), 0)
    FROM shadow_day WHERE day >= ?"""
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
        """Cut off half-way (state COPYING), there is no shadow any more, and whoever ends it again clears the rest."""
        while await self._change(_clear):
            pass

    async def shadow(self, since_day: int = 0) -> ShadowRecord | None:
        return await self._pool.run(record, since_day)

    async def shadow_drop(self, drops: Sequence[Drop], *, at: float) -> list[bool]:
        return await self._change(lambda connection: _drop(connection, drops, at))


def record(reads: Reads, since_day: int = 0) -> ShadowRecord | None:
    """``Counting.shadow``, on a connection in a snapshot."""
    row = reads.row(RECORD)
    if row is None:
        return None
    since, objects, size = row
    totals, day = BucketReads(reads).totals(), max(since_day, int(since // DAY))
    sums = reads.row(SUMS, day) or (0, 0, 0)
    return ShadowRecord(
        since, totals.blobs, totals.blob_bytes, objects, size,
        _by_reason(records(reads, day)), _by_reason(records(reads, day, shadow=True)), *sums,
    )  # fmt: skip


def runs(connection: sqlite3.Connection) -> bool:
    """Whether there is a shadow to book for."""
    return bool(connection.execute(STATE).fetchone()[0] == ON)


def book_reads(connection: sqlite3.Connection, counts: Counts) -> list[Regret]:
    """Book a flush for the shadow; returns what it regrets. Live's regrets first: their objects are back then. A
    person's read brings it back to the shadow's disk; a machine's makes no copy there either (what a prefetch copied
    the trigger has put there)."""
    regrets = [*_missed_by_both(connection, counts), *_missed_alone(connection, counts)]
    connection.executemany(REFILL, ((regret.at, *regret.name) for regret in regrets if not regret.machine))
    connection.executemany(UNMARK, (regret.name for regret in regrets if regret.machine))
    reads = sum(read.reads + read.machine_reads for read in counts.reads)
    live_misses = sum(not regret.corrected for regret in counts.regrets)
    connection.execute(DAY_SUMS, (int(counts.at // DAY), reads, live_misses, len(regrets)))
    return regrets


def _missed_by_both(connection: sqlite3.Connection, counts: Counts) -> Iterator[Regret]:
    for regret in counts.regrets:
        if regret.corrected:
            continue
        row = connection.execute(MISSED_TOO, (*regret.name, regret.at - regret.seconds)).fetchone()
        if row is not None:
            yield _regret(regret.name, row, regret.at, machine=regret.machine)


def _missed_alone(connection: sqlite3.Connection, counts: Counts) -> Iterator[Regret]:
    """Once in a flush: the first read after the shadow's purge brings it back."""
    regretted = {regret.name for regret in counts.regrets if not regret.corrected}
    for read in counts.reads:
        if read.name not in regretted:
            at = counts.at if read.last_read_at is None else read.last_read_at
            row = connection.execute(MISSED, (*read.name, at)).fetchone()
            if row is not None:
                regretted.add(read.name)
                yield _regret(read.name, row, at, machine=not read.reads)


def _regret(name: ObjectName, row: tuple[str, float], at: float, *, machine: bool) -> Regret:
    by, purged_at = row
    return Regret(name, by, at, max(at - purged_at, 0.0), machine)


def _by_reason(found: Sequence[RuleRecord]) -> dict[str, RuleRecord]:
    return {one.by: one for one in found}


def _clear(connection: sqlite3.Connection) -> bool:
    """Some rows fewer; whether there may be more. OFF in the change that removes the last: there never are rows of no
    shadow."""
    more = connection.execute(CLEAR, (COPIED,)).rowcount == COPIED
    connection.execute(SET_STATE, (COPYING if more else OFF,))
    return more


def _begin(connection: sqlite3.Connection, at: float) -> None:
    """From here on the triggers see every change; what was there before is copied."""
    connection.execute("DELETE FROM rule_day WHERE shadow = 1")
    connection.execute("DELETE FROM shadow_day")
    connection.execute("UPDATE shadow_since SET since = ?", (at,))
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
