"""Objects by name and by what is known of them: a page at a time, each for a bounded number of rows looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tierproxy.catalogue.compile import Sql, all_of
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.rows import ENTRY, entry_of
from tierproxy.catalogue.scopes import START, Span, pages
from tierproxy.model import Entry, ObjectName, State

LOOKED_AT = 20_000
"""Rows a page looks at, at most: there is no index on owners, and none on states but that of what is not clean."""

BUCKETS = "SELECT name FROM bucket WHERE name >= ? ORDER BY name"
LAST = "\U0010ffff"  #: after every key: it is no character

_COLUMNS = len(ENTRY.split(","))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which objects: of ``bucket`` ("": all), whose keys begin with ``prefix``, after ``after``, of ``owner`` (None:
    any; "": those without), in ``state`` (None: any but tombstones)."""

    bucket: str = ""
    prefix: str = ""
    after: ObjectName = START
    owner: str | None = None
    state: State | None = None

    @property
    def filters(self) -> bool:
        """Rows may be looked at that are none of the page."""
        return self.owner is not None or self.state is not None


@dataclass(frozen=True, slots=True)
class FoundPage:
    """Entries with the end of a command's pin. ``next``: where the next page goes on; a page may be short of objects,
    or have none, and yet have a next. None: that was all."""

    entries: tuple[tuple[Entry, float | None], ...]
    next: ObjectName | None


def found(reads: Reads, wanted: Wanted, limit: int) -> FoundPage:
    """In name order, on a connection in a snapshot."""
    if wanted.prefix and not wanted.bucket:
        return _anywhere(reads, wanted, limit)
    return _found(reads, wanted, limit)


def _anywhere(reads: Reads, wanted: Wanted, limit: int) -> FoundPage:
    """A prefix is a range of keys in one bucket, not in all of them: bucket by bucket, and with filters one a page."""
    taken: tuple[tuple[Entry, float | None], ...] = ()
    for (bucket,) in reads.rows(BUCKETS, wanted.after.bucket):
        if wanted.after == (bucket, LAST):
            continue
        page = _found(reads, replace(wanted, bucket=bucket), limit - len(taken))
        taken += page.entries
        if page.next is not None:
            return FoundPage(taken, page.next)
        if len(taken) == limit or wanted.filters:
            return FoundPage(taken, ObjectName(bucket, LAST))
    return FoundPage(taken, None)


def _found(reads: Reads, wanted: Wanted, limit: int) -> FoundPage:
    if wanted.state in {State.DIRTY, State.DELETING, State.SUSPECT}:
        return _few(reads, wanted, limit)
    whole = Span(wanted.bucket, wanted.prefix, wanted.after)
    piece = next(pages(reads, whole, LOOKED_AT)) if wanted.filters else whole
    return _page(reads, piece, wanted, limit, "")


def _few(reads: Reads, wanted: Wanted, limit: int) -> FoundPage:
    """What is not clean has an index; with an owner besides it is still walked as far as it goes, which is no further
    than the upload queue is long."""
    span = Span(wanted.bucket, wanted.prefix, wanted.after)
    return _page(reads, span, wanted, limit, " INDEXED BY entry_unclean")


def _page(reads: Reads, span: Span, wanted: Wanted, limit: int, index: str) -> FoundPage:
    where = all_of([span.sql(), *_filters(wanted)])
    sql = f"SELECT {ENTRY}, pinned_until FROM entry{index} WHERE {where.text} ORDER BY bucket, key LIMIT ?"
    rows = reads.rows(sql, *where.values, limit + 1)
    taken = tuple((entry_of(row[:_COLUMNS]), row[_COLUMNS]) for row in rows[:limit])
    if len(rows) > limit:
        return FoundPage(taken, taken[-1][0].name)
    return FoundPage(taken, span.last)


def _filters(wanted: Wanted) -> list[Sql]:
    """``state <> 'clean'`` word for word, so that the index can be used."""
    if wanted.state is None:
        tests = [Sql("state <> 'deleting'")]
    elif wanted.state is State.CLEAN:
        tests = [Sql("state = 'clean'")]
    else:
        tests = [Sql("state <> 'clean' AND state = ?", (str(wanted.state),))]
    return [*tests, *([Sql("owner = ?", (wanted.owner,))] if wanted.owner is not None else [])]
