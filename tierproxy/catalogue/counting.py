"""Read counts: totals and day bins of objects, regrets by reason and day, the counters of minutes and hours.

Counts come every second, some hundred objects a change; each statement is prepared once and run for all of them, in the
order of their rows. A change of many thousands is out of proportion slow: after every upsert SQLite walks all pages
that the savepoint around it may have to restore.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from tierproxy.catalogue import shadow
from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.records import book_regrets, records
from tierproxy.catalogue.rows import Row
from tierproxy.purges import RuleRecord
from tierproxy.traffic import DAY, Correction, Counts, ReadCount, Rollup

INFLATION = "SELECT coalesce((SELECT inflation FROM eviction WHERE bucket = ''), 0)"
# The read that filled the blob is no visit: only hits after it was stored are (as SIEVE and S3-FIFO have it).
READ = """UPDATE entry SET reads = reads + ?3, machine_reads = machine_reads + ?4,
        previous_read_at = iif(?5 > coalesce(last_read_at, -1),
            coalesce(max(last_read_at, ?7), last_read_at, ?7), previous_read_at),
        last_read_at = coalesce(max(last_read_at, ?5), last_read_at, ?5),
        visits = iif(blob IS NOT NULL AND ?5 > stored_at, min(visits + ?3 - ?8, 3), visits),
        worth = ?6 + max(reads + ?3, 1) / max(size / 1024.0, 1)
    WHERE bucket = ?1 AND key = ?2"""
MACHINE_READ = "UPDATE entry SET machine_reads = machine_reads + ?3 WHERE bucket = ?1 AND key = ?2"
DAY_BIN = """INSERT INTO read_day (bucket, key, day, reads, machine_reads)
        SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM entry WHERE bucket = ?1 AND key = ?2)
    ON CONFLICT (bucket, key, day) DO UPDATE SET
        reads = reads + excluded.reads, machine_reads = machine_reads + excluded.machine_reads"""
NAME = """UPDATE entry SET owner = iif(owner = '', ?3, owner), folder = iif(folder = '', ?4, folder),
        named = named | (owner = '' AND ?3 <> '') | 2 * (folder = '' AND ?4 <> '')
    WHERE bucket = ?1 AND key = ?2"""
# Where the read before the last is forgotten, but was, the last stays: rather too young than never read.
CORRECT = """UPDATE entry SET reads = reads - 1, machine_reads = machine_reads + 1, visits = max(visits - ?4, 0),
        worth = worth - (reads > 1) / max(size / 1024.0, 1),
        last_read_at = iif(last_read_at = ?3,
            iif(reads > 1, coalesce(previous_read_at, last_read_at), previous_read_at), last_read_at),
        previous_read_at = iif(?3 IN (last_read_at, previous_read_at), NULL, previous_read_at)
    WHERE bucket = ?1 AND key = ?2 AND reads > 0"""
CORRECT_BIN = """UPDATE read_day SET reads = reads - 1, machine_reads = machine_reads + 1
    WHERE bucket = ?1 AND key = ?2 AND day = ?3 AND reads > 0"""
INCREMENT = """INSERT INTO rollup VALUES (?, ?, ?, ?)
    ON CONFLICT (span, at, counter) DO UPDATE SET value = value + excluded.value"""

ROLLUPS = "SELECT at, counter, value FROM rollup WHERE span = ? AND at >= ? AND at < ? ORDER BY at, counter"

GROWN = "SELECT counter, sum(value) FROM rollup WHERE span = ? AND at >= ? AND at < ? GROUP BY counter"

PRUNED = 5000  #: rows a call
PRUNE = (
    (
        "DELETE FROM read_day WHERE (bucket, key, day) IN "
        "(SELECT bucket, key, day FROM read_day INDEXED BY read_day_day WHERE day < :day LIMIT :limit)"
    ),
    (
        "DELETE FROM rule_day WHERE (by, day, shadow) IN "
        "(SELECT by, day, shadow FROM rule_day WHERE day < :day LIMIT :limit)"
    ),
    (
        "DELETE FROM rollup WHERE (span, at, counter) IN "
        "(SELECT span, at, counter FROM rollup WHERE span = 60 AND at < :minute LIMIT :limit)"
    ),
    (
        "DELETE FROM rollup WHERE (span, at, counter) IN "
        "(SELECT span, at, counter FROM rollup WHERE span = 3600 AND at < :hour LIMIT :limit)"
    ),
)


class CountBook:
    """Counting in the node."""

    def __init__(self, database: Database) -> None:
        self._pool = database.pool
        self._change = database.change

    async def count(self, counts: Counts) -> None:
        await self._change(lambda connection: _count(connection, counts))

    async def prune_counts(self, day: int, minute: int) -> int:
        return await self._change(lambda connection: _prune(connection, day, minute))

    async def rollups(self, span: int, since: float, until: float) -> list[Rollup]:
        return await self._pool.run(rollups, span, since, until)

    async def records(self, since_day: int) -> list[RuleRecord]:
        return await self._pool.run(records, since_day)


def rollups(reads: Reads, span: int, since: float, until: float) -> list[Rollup]:
    """As ``Catalogue.rollups``."""
    rows = reads.rows(ROLLUPS, span, since, until)
    return [Rollup(at, span, {row[1]: row[2] for row in group}) for at, group in groupby(rows, key=lambda row: row[0])]


def grown(reads: Reads, span: int, since: float, until: float) -> Rollup:
    """``rollups``, added up: a status asks every second, and thousands of rows would be added by the interpreter."""
    return Rollup(int(since), span, dict(reads.rows(GROWN, span, since, until)))


def _count(connection: sqlite3.Connection, counts: Counts) -> None:
    """Reads before corrections: one may be of a read of this very flush."""
    _book_reads(connection, sorted(counts.reads, key=lambda read: read.name))
    _book_corrections(connection, counts.corrections)
    book_regrets(connection, counts.regrets)
    _book_increments(connection, counts.at, counts.increments)
    if shadow.runs(connection):
        book_regrets(connection, shadow.book_reads(connection, counts), shadow=True)


def _book_reads(connection: sqlite3.Connection, reads: list[ReadCount]) -> None:
    inflation = connection.execute(INFLATION).fetchone()[0]
    connection.executemany(READ, _people(reads, inflation))
    connection.executemany(MACHINE_READ, ((*read.name, read.machine_reads) for read in reads if not read.reads))
    connection.executemany(DAY_BIN, ((*read.name, read.day, read.reads, read.machine_reads) for read in reads))
    connection.executemany(
        NAME, ((*read.name, read.owner or "", read.folder or "") for read in reads if read.owner or read.folder)
    )


def _people(reads: list[ReadCount], inflation: float) -> Iterator[Row]:
    for read in reads:
        if read.reads:
            yield (
                *read.name, read.reads, read.machine_reads, read.last_read_at, inflation, read.previous_read_at,
                read.misses,
            )  # fmt: skip


def _book_corrections(connection: sqlite3.Connection, corrections: Iterable[Correction]) -> None:
    """Newest first: each then finds its read as the last, if it was the last. Without the bin of its day the read is
    none of this row's: it was not counted, or the object was deleted since and its key has another."""
    for one in sorted(corrections, key=lambda correction: correction.at, reverse=True):
        if connection.execute(CORRECT_BIN, (*one.name, int(one.at // DAY))).rowcount:
            connection.execute(CORRECT, (*one.name, one.at, one.hit))


def _book_increments(connection: sqlite3.Connection, at: float, increments: Mapping[str, int]) -> None:
    for span in (60, 3600):
        begin = int(at // span * span)
        connection.executemany(INCREMENT, ((span, begin, counter, value) for counter, value in increments.items()))


def _prune(connection: sqlite3.Connection, day: int, minute: int) -> int:
    """Stops at the first table that still had enough, so that the writer is soon free again."""
    removed = 0
    values = {"day": day, "minute": minute, "hour": day * DAY, "limit": PRUNED}
    for sql in PRUNE:
        removed += connection.execute(sql, values).rowcount
        if removed >= PRUNED:
            break
    return removed
