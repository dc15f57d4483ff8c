"""Candidates for pressure, in the orders in which they go: pages of a walk, and how far up in it an object is.

LRU and the FIFO orders walk an index, so that the first page costs what it delivers; the others sort, and SQLite keeps
no more than a page while it does. Times are taken to be after 1970: a rank below zero is that of purging rules alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tierproxy.catalogue.compile import Sql, all_of
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.rows import Row
from tierproxy.catalogue.scopes import START, Ground, Span
from tierproxy.model import ObjectName
from tierproxy.purges import Candidate, Place, Scope
from tierproxy.rules.model import Order

NONE = "0"  #: a choice that takes nothing
PURGED_FIRST = -1.0
"""The rank of what a rule purges, in the orders that tell it apart."""
STATEFUL = frozenset({Order.SIEVE, Order.S3_FIFO})

CANDIDATE = "entry.bucket, entry.key, entry.generation, coalesce(entry.blob, ''), {bytes}, entry.size"
QUEUE = "entry.visits, entry.main, coalesce(entry.queued_at, 0.0)"
BY_NAME = "sqlite_autoindex_entry_1"
"""The table itself, in the order of its primary key. A walk that looks at every row says so: SQLite takes "has a blob"
for a bound of entry_blob, and then looks the rows up one by one in the order of their blobs: many times the work in a
large catalogue, and as many seeks of the disk as there are rows when it does not fit into memory."""
SMALL = f"""SELECT coalesce(sum(iif(main, 0, blob_bytes)), 0), coalesce(sum(blob_bytes), 0) FROM entry
    INDEXED BY {BY_NAME} WHERE state = 'clean' AND blob IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How an order sorts. ``index``: the one that has ``rank`` first, on the live disk; else every row is looked at."""

    rank: Sql
    index: str = BY_NAME


def decided(reads: Reads, scope: Scope, after: ObjectName | None, limit: int) -> list[Candidate]:
    """``Planning.decided``, on a connection in a snapshot."""
    return _purged(reads, Ground(scope), after, limit)


def pressed(
    reads: Reads, scope: Scope, order: Order, limit: int, after: Place | None, kept: bool, main: bool | None
) -> list[Candidate]:
    """``Planning.pressed``, on a connection in a snapshot."""
    ground = Ground(scope)
    found: list[Candidate] = []
    if order not in STATEFUL and not kept and (after is None or after.rank <= PURGED_FIRST):
        found = _purged(reads, ground, None if after is None else after.name, limit)
        after = None
    if len(found) < limit:
        found += _ranked(reads, ground, order, limit - len(found), after, _choice(ground, order, kept), main)
    return found


def ahead(reads: Reads, scope: Scope, order: Order, name: ObjectName) -> tuple[int, int] | None:
    """``Planning.ahead``, on a connection in a snapshot."""
    ground, ranking = Ground(scope), _ranking(order, scope)
    own = _own(reads, ground, ranking, name)
    if own is None:
        return None
    rule, rank = own
    if order not in STATEFUL and rule in ground.purging:
        return _sum(reads, ground, ground.chosen(ground.purging), Sql("(entry.bucket, entry.key) < (?, ?)", name))
    choice = _choice(ground, order, kept=False)
    if not _is_chosen(ground, order, rule):
        return None
    before = _before(ranking.rank, Place(rank, name))
    objects, size = _sum(reads, ground, choice, before)
    if order not in STATEFUL:
        more, bytes_ = _sum(reads, ground, ground.chosen(ground.purging), Sql("1"))
        objects, size = objects + more, size + bytes_
    return objects, size


def small_bytes(reads: Reads, bucket: str) -> tuple[int, int]:
    """``Planning.small_bytes``."""
    row = reads.row(f"{SMALL} AND bucket = ?", bucket) if bucket else reads.row(SMALL)
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _choice(ground: Ground, order: Order, kept: bool) -> str:
    """Which rows a walk delivers, by their deciding rule."""
    if kept:
        return ground.chosen(ground.keeping)
    return ground.chosen(ground.purging if order in STATEFUL else (), undecided=True)


def _is_chosen(ground: Ground, order: Order, rule: int | None) -> bool:
    return (rule is None and ground.scope.rule is None) or (order in STATEFUL and rule in ground.purging)


def _ranking(order: Order, scope: Scope) -> Ranking:
    stored = "shadow.stored_at" if scope.shadow else "entry.stored_at"
    used = f"coalesce(entry.last_read_at, {stored})"
    match order:
        case Order.LRU:
            return Ranking(Sql(used), "entry_victim")
        case Order.FIFO | Order.SIEVE | Order.S3_FIFO:
            return Ranking(Sql(stored)) if scope.shadow else Ranking(Sql("entry.queued_at"), "entry_queue")
        case Order.LFU:  # of those read equally often, the one that was read longest ago
            return Ranking(Sql(f"entry.reads + {used} / 1e11"))
        case Order.GDSF:
            return Ranking(Sql("entry.worth"))
        case Order.SCORE:
            return Ranking(_score(used, scope))


def _score(used: str, scope: Scope) -> Sql:
    """Reads that the space may save: often and lately read, and small, is worth most. See ``docs/rules.md``."""
    size = "shadow.bytes" if scope.shadow else "entry.blob_bytes"
    return Sql(
        f"(1.0 + entry.reads) / ((1.0 + max(? - {used}, 0.0) / 86400.0) * (1.0 + {size} / 65536.0))",
        (float(scope.now),),
    )


def _purged(reads: Reads, ground: Ground, after: ObjectName | None, limit: int) -> list[Candidate]:
    """In name order."""
    choice = ground.chosen(ground.purging)
    if not ground.purging or choice == NONE:
        return []
    span = Span(ground.scope.bucket, ground.scope.prefix, after or START)
    where = all_of([ground.candidates, span.sql()])
    rank = Sql(f"{PURGED_FIRST}")
    return _candidates(reads, ground, rank, where, choice, "entry.bucket, entry.key", limit, BY_NAME)


def _ranked(
    reads: Reads, ground: Ground, order: Order, limit: int, after: Place | None, choice: str, main: bool | None
) -> list[Candidate]:
    if choice in {NONE, "rule IN ()"}:
        return []
    ranking = _ranking(order, ground.scope)
    tests = [ground.candidates, *_scoped(ground)]
    if after is not None:
        tests.append(_behind(ranking.rank, after))
    if main is not None:
        tests.append(Sql(f"entry.main = {int(main)}"))
    order_by = "rank, entry.bucket, entry.key"
    return _candidates(reads, ground, ranking.rank, all_of(tests), choice, order_by, limit, ranking.index)


def _candidates(
    reads: Reads, ground: Ground, rank: Sql, where: Sql, choice: str, order: str, limit: int, index: str
) -> list[Candidate]:
    columns = CANDIDATE.format(bytes=ground.columns.bytes)
    sql = (
        f"SELECT {columns}, {ground.decider.text} AS rule, {rank.text} AS rank, {QUEUE} FROM {_source(ground, index)} "
        f"WHERE {where.text} AND {choice} ORDER BY {order} LIMIT ?"
    )
    values = (*ground.decider.values, *rank.values, *where.values, limit)
    return [_candidate(row) for row in reads.rows(sql, *values)]


def _source(ground: Ground, index: str) -> str:
    """Rows in the order of ``index``; the shadow's disk has none of its own."""
    return ground.source if ground.scope.shadow else f"{ground.source} INDEXED BY {index}"


def _candidate(row: Row) -> Candidate:
    bucket, key, generation, blob, blob_bytes, size, rule, rank, visits, main, queued_at = row
    return Candidate(
        ObjectName(bucket, key), generation, blob, blob_bytes, size, rule, float(rank), visits, bool(main), queued_at
    )


def _own(reads: Reads, ground: Ground, ranking: Ranking, name: ObjectName) -> tuple[int | None, float] | None:
    """Its rule and rank, if it is a candidate of the scope."""
    where = all_of([ground.candidates, *_scoped(ground), Sql("(entry.bucket = ? AND entry.key = ?)", name)])
    sql = f"SELECT {ground.decider.text} AS rule, {ranking.rank.text} FROM {ground.source} WHERE {where.text}"
    row = reads.row(sql, *ground.decider.values, *ranking.rank.values, *where.values)
    if row is None or ground.scope.rule not in {None, row[0]}:
        return None
    return row[0], float(row[1])


def _sum(reads: Reads, ground: Ground, choice: str, test: Sql) -> tuple[int, int]:
    """Objects and bytes of the candidates that ``choice`` and ``test`` take."""
    where = all_of([ground.candidates, *_scoped(ground), test])
    source = _source(ground, BY_NAME)
    rows = f"SELECT {ground.columns.bytes} AS bytes, {ground.decider.text} AS rule FROM {source}"
    sql = f"SELECT count(*), coalesce(sum(bytes), 0) FROM ({rows} WHERE {where.text}) WHERE {choice}"
    row = reads.row(sql, *ground.decider.values, *where.values)
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _scoped(ground: Ground) -> Sequence[Sql]:
    """Names of the scope as a filter: these walks are not in name order."""
    return [ground.span.sql()] if ground.scope.bucket or ground.scope.prefix else []


def _before(rank: Sql, place: Place) -> Sql:
    text = f"({rank.text} <= ? AND ({rank.text} < ? OR (entry.bucket, entry.key) < (?, ?)))"
    return Sql(text, (*rank.values, place.rank, *rank.values, place.rank, *place.name))


def _behind(rank: Sql, place: Place) -> Sql:
    """The first bound is one that an index can begin with."""
    text = f"{rank.text} >= ? AND ({rank.text} > ? OR (entry.bucket, entry.key) > (?, ?))"
    return Sql(text, (*rank.values, place.rank, *rank.values, place.rank, *place.name))
