"""What there is, how much of it is on disk, and how often people read it."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from tierproxy.catalogue.compile import Sql
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.scopes import Span, pages
from tierproxy.catalogue.turns import Turns
from tierproxy.stats import AGES, OLDEST, READ_CLASSES, Breakdown, HeatCell, HeatTable, Overview, StatsRow, StatsTable
from tierproxy.traffic import DAY

PAGE = 20_000  #: rows grouped at a time
LARGEST = 10_000  #: owners or folders in a table
# The last five are tierproxy.stats.READ_CLASSES.
COUNTS = """count(*), sum(size), count(blob), sum(blob_bytes), sum(reads), sum(machine_reads),
    sum(reads = 0), sum(reads = 1), sum(reads = 2), sum(reads BETWEEN 3 AND 5), sum(reads > 5)"""
READ_CLASS = "CASE WHEN reads < 3 THEN max(reads, 0) WHEN reads <= 5 THEN 3 ELSE 4 END"
CELL = "count(*), sum(size), count(blob), sum(blob_bytes)"
SUMS = ("objects", "bytes", "stored", "stored_bytes", "people", "machines")
CUBE = tuple(zip((*CELL.split(", "), "sum(reads)", "sum(machine_reads)"), SUMS, strict=True))
CLASSES = len(READ_CLASSES)
OF_CLASS = "coalesce(sum(objects) FILTER (WHERE class = {}), 0)"
READERS = "SELECT count(*) FROM (SELECT DISTINCT bucket, key FROM read_day WHERE reads + machine_reads > 0 AND {})"

Sums = dict[Any, list[int]]


def table(reads: Reads, by: Breakdown, bucket: str, now: float, turns: Turns) -> StatsTable:
    """``Planning.stats``, on a connection in a snapshot. ``bucket`` "": all. Raises ValueError for RULE."""
    match by:
        case Breakdown.AGE:
            return _ages(_entries(reads, bucket, _age(now), turns))
        case Breakdown.OWNER | Breakdown.FOLDER:
            return _largest(by, _entries(reads, bucket, Sql(f"entry.{by.value}"), turns))
        case Breakdown.DAY:
            return _days(reads, bucket, turns)
        case Breakdown.RULE:
            raise ValueError("a breakdown by rule is a survey")


def heat(reads: Reads, bucket: str, now: float, turns: Turns) -> HeatTable:
    """Age since written by reads by people, on a connection in a snapshot. ``bucket`` "": all."""
    age, sums = _age(now), Sums()
    for span in turns.each(pages(reads, Span(bucket), PAGE)):
        where = span.sql()
        sql = f"""SELECT {age.text} AS age, {READ_CLASS} AS class, {CELL} FROM entry
            WHERE {where.text} AND state <> 'deleting' GROUP BY age, class"""
        rows = reads.rows(sql, *age.values, *where.values)
        _add(sums, (((row[0], row[1]), *row[2:]) for row in rows))
    return _heat(sums)


def _heat(sums: Sums) -> HeatTable:
    labels = (*(label for label, _ in AGES), OLDEST)
    places = [[(age, times) for times in range(CLASSES)] for age in range(len(labels))]
    return HeatTable(labels, tuple(tuple(HeatCell(*sums.get(place, ())) for place in row) for row in places))


def overview(reads: Reads, bucket: str, now: float, turns: Turns) -> Overview:
    """``table`` by age, owner and folder, and ``heat``, for the price of one of them: reading the rows is what takes
    long. On a connection in a snapshot. ``bucket`` "": all."""
    owners, folders, ages, cells = Sums(), Sums(), Sums(), Sums()
    for span in turns.each(pages(reads, Span(bucket), PAGE)):
        by_owner, by_folder, by_cell = _groups(reads, now, span)
        _add(owners, by_owner)
        _add(folders, by_folder)
        _add(ages, ((age, *sums) for age, _, *sums in by_cell))
        _add(cells, (((age, times), *sums[:4]) for age, times, *sums in by_cell))
    tables = (_ages(ages), _largest(Breakdown.OWNER, owners), _largest(Breakdown.FOLDER, folders))
    return Overview(tables, _heat(cells))


def _groups(reads: Reads, now: float, span: Span) -> list[list[list[Any]]]:
    """By owner, by folder, and by age and read class, of a page. They come as one row: for every row the thread has to
    get the interpreter's lock again, from a loop that serves clients meanwhile."""
    age, where = _age(now), span.sql()
    sql = f"""WITH cube AS MATERIALIZED (
        SELECT owner, folder, {age.text} AS age, {READ_CLASS} AS class, {", ".join(map(" AS ".join, CUBE))}
        FROM entry WHERE {where.text} AND state <> 'deleting' GROUP BY owner, folder, age, class)
        SELECT json_array({_rolled("owner")}, {_rolled("folder")}, {_rolled("age", "class")})"""
    row = reads.row(sql, *age.values, *where.values)
    found: list[list[list[Any]]] = json.loads(row[0]) if row is not None else [[], [], []]
    return found


def _rolled(*labels: str) -> str:
    """The cube summed up by ``labels``, as ``COUNTS`` has it."""
    names = ", ".join(labels)
    wanted = ", ".join((names, *map("sum({})".format, SUMS), *map(OF_CLASS.format, range(CLASSES))))
    return (
        f"(SELECT json_group_array(json(line)) FROM (SELECT json_array({wanted}) AS line FROM cube GROUP BY {names}))"
    )


def _entries(reads: Reads, bucket: str, label: Sql, turns: Turns) -> Sums:
    """Tombstones are not counted. As many labels are held as there are."""
    sums: Sums = {}
    for span in turns.each(pages(reads, Span(bucket), PAGE)):
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
    cases = " ".join(f"WHEN written_at > ? THEN {number}" for number in range(len(AGES)))
    return Sql(f"CASE {cases} ELSE {len(AGES)} END", tuple(float(now) - bound for _, bound in AGES))


def _ages(sums: Sums) -> StatsTable:
    labels = [*(label for label, _ in AGES), OLDEST]
    rows = tuple(_row(label, sums.get(number)) for number, label in enumerate(labels))
    return StatsTable(Breakdown.AGE, rows, _total(sums))


def _largest(by: Breakdown, sums: Sums) -> StatsTable:
    """By bytes; those that are equal by name."""
    labels = heapq.nsmallest(LARGEST, sums, key=lambda label: (-sums[label][1], label))
    return StatsTable(by, tuple(_row(label, sums[label]) for label in labels), _total(sums))


def _days(reads: Reads, bucket: str, turns: Turns) -> StatsTable:
    """The total counts an object once, however many days it was read on: a page has all days of its objects."""
    sums: Sums = {}
    objects = 0
    for span in turns.each(pages(reads, Span(bucket), PAGE, "read_day")):
        where = span.sql("read_day")
        sql = f"""SELECT day, sum(reads), sum(machine_reads), sum(reads + machine_reads > 0) FROM read_day
            WHERE {where.text} GROUP BY day"""
        _add(sums, reads.rows(sql, *where.values))
        found = reads.row(READERS.format(where.text), *where.values)
        objects += 0 if found is None else int(found[0])
    rows = tuple(_day(day, *sums[day]) for day in sorted(sums))
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
