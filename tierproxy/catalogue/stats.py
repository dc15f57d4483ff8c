"""What there is, how much of it is on disk, and how often people read it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from tierproxy.catalogue.compile import Sql
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.scopes import Span, pages
from tierproxy.stats import AGES, OLDEST, Breakdown, StatsRow, StatsTable
from tierproxy.traffic import DAY

PAGE = 20_000  #: rows grouped at a time
LARGEST = 10_000  #: owners or folders in a table
# The last five are tierproxy.stats.READ_CLASSES.
COUNTS = """count(*), sum(size), count(blob), sum(blob_bytes), sum(reads), sum(machine_reads),
    sum(reads = 0), sum(reads = 1), sum(reads = 2), sum(reads BETWEEN 3 AND 5), sum(reads > 5)"""
READERS = "SELECT count(*) FROM (SELECT DISTINCT bucket, key FROM read_day WHERE reads + machine_reads > 0{})"

Sums = dict[Any, list[int]]


def table(reads: Reads, by: Breakdown, bucket: str, now: float) -> StatsTable:
    """``Planning.stats``, on a connection in a snapshot. ``bucket`` "": all. Raises ValueError for RULE."""
    match by:
        case Breakdown.AGE:
            return _ages(_entries(reads, bucket, _age(now)))
        case Breakdown.OWNER | Breakdown.FOLDER:
            return _largest(by, _entries(reads, bucket, Sql(f"entry.{by.value}")))
        case Breakdown.DAY:
            return _days(reads, bucket)
        case Breakdown.RULE:
            raise ValueError("a breakdown by rule is a survey")


def _entries(reads: Reads, bucket: str, label: Sql) -> Sums:
    """Tombstones are not counted. As many labels are held as there are."""
    sums: Sums = {}
    for span in pages(reads, Span(bucket), PAGE):
        where = span.sql()
        sql = f"SELECT {label.text} AS label, {COUNTS} FROM entry WHERE {where.text} AND state <> 'deleting' GROUP BY 1"
        _add(sums, reads.rows(sql, *label.values, *where.values))
    return sums


def _add(sums: Sums, rows: Iterable[Sequence[Any]]) -> None:
    for label, *counts in rows:
        known = sums.get(label)
        sums[label] = counts if known is None else list(map(int.__add__, known, counts))


def _age(now: float) -> Sql:
    """The number of the age class."""
    cases = " ".join(f"WHEN ? - written_at < ? THEN {number}" for number in range(len(AGES)))
    bounds = [value for _, bound in AGES for value in (float(now), bound)]
    return Sql(f"CASE {cases} ELSE {len(AGES)} END", tuple(bounds))


def _ages(sums: Sums) -> StatsTable:
    labels = [*(label for label, _ in AGES), OLDEST]
    rows = tuple(_row(label, sums.get(number)) for number, label in enumerate(labels))
    return StatsTable(Breakdown.AGE, rows, _total(sums))


def _largest(by: Breakdown, sums: Sums) -> StatsTable:
    """By bytes; those that are equal by name."""
    labels = heapq.nsmallest(LARGEST, sums, key=lambda label: (-sums[label][1], label))
    return StatsTable(by, tuple(_row(label, sums[label]) for label in labels), _total(sums))


def _days(reads: Reads, bucket: str) -> StatsTable:
    """The total counts an object once, however many days it was read on."""
    sums: Sums = {}
    for span in pages(reads, Span(bucket), PAGE, "read_day"):
        where = span.sql("read_day")
        sql = f"""SELECT day, sum(reads), sum(machine_reads), sum(reads + machine_reads > 0) FROM read_day
            WHERE {where.text} GROUP BY day"""
        _add(sums, reads.rows(sql, *where.values))
    rows = tuple(_day(day, *sums[day]) for day in sorted(sums))
    found = reads.row(READERS.format(" AND bucket = ?" if bucket else ""), *([bucket] if bucket else []))
    objects = 0 if found is None else int(found[0])
    people, machines = sum(row.reads for row in rows), sum(row.machine_reads for row in rows)
    return StatsTable(Breakdown.DAY, rows, StatsRow("", objects, reads=people, machine_reads=machines))


def _day(day: int, people: int, machines: int, objects: int) -> StatsRow:
    label = datetime.fromtimestamp(day * DAY, UTC).date().isoformat()
    return StatsRow(label, objects, reads=people, machine_reads=machines)


def _total(sums: Sums) -> StatsRow:
    added: Sums = {}
    _add(added, (("", *counts) for counts in sums.values()))
    return _row("", added.get(""))


def _row(label: str, counts: Sequence[int] | None) -> StatsRow:
    if counts is None:
        return StatsRow(label, 0)
    objects, size, disk_objects, disk_bytes, people, machines, *by_reads = counts
    return StatsRow(label, objects, size, disk_objects, disk_bytes, people, machines, tuple(by_reads))
