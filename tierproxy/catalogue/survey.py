"""The dry run: a scope in numbers. Every row is looked at once, inside SQLite, while other threads go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tierproxy.catalogue.compile import Sql, read_since
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.scopes import Ground, Span, pages
from tierproxy.catalogue.turns import Turns
from tierproxy.purges import RuleCount, Scope, Survey
from tierproxy.traffic import DAY

PAGE = 10_000
"""Rows grouped at a time, in about 15 ms: after each page others get their turn. All at once would take far more memory
to sort; fewer would take the interpreter's lock more often for nothing (``loadtests/bench_plan.py`` measures it)."""
WEEK, MONTH = 7, 30
CANDIDATE, DIRTY, PINNED, YOUNG = range(4)

_COUNTS = 6  #: objects, bytes, recent objects, recent bytes, reads of a week, of a month
_LOW = 0xFFFFFFFF


def survey(reads: Reads, scope: Scope, turns: Turns) -> Survey:
    """``Planning.survey``, on a connection in a snapshot."""
    ground = Ground(scope)
    sums: dict[tuple[int, int | None], list[int]] = {}
    for span in turns.each(pages(reads, ground.span, PAGE)):
        for why, rule, *counts in _grouped(reads, ground, span):
            sum_ = sums.setdefault((why, rule), [0] * _COUNTS)
            sum_[:] = map(int.__add__, sum_, counts)
    return _survey(ground, sums)


def _survey(ground: Ground, sums: Mapping[tuple[int, int | None], Sequence[int]]) -> Survey:
    aside = dict.fromkeys((DIRTY, PINNED, YOUNG), (0, 0))
    rules = []
    for (why, rule), counts in sums.items():
        group = PINNED if why != DIRTY and rule in ground.pinning else why
        if group == CANDIDATE:
            rules.append(RuleCount(rule, *counts))
        else:
            objects, size = aside[group]
            aside[group] = (objects + counts[0], size + counts[1])
    rules.sort(key=lambda count: (count.rule is None, count.rule))
    recent = sum(counts[3] for counts in sums.values())
    return Survey(tuple(rules), aside[DIRTY], aside[PINNED], aside[YOUNG], recent)


def _grouped(reads: Reads, ground: Ground, span: Span) -> list[list[int]]:
    """One row for each deciding rule and reason to stay. The LIMIT keeps SQLite from putting the inner query into the
    outer one, where it would evaluate the rules once more for every sum. They come as one row: for every row the
    thread has to get the interpreter's lock again, and while it waits for a processor then, everybody waits for it."""
    inner = _rows(ground, span)
    sql = f"""SELECT json_group_array(json_array(why, rule, objects, size, recent, recent_size, week, month)) FROM (
        SELECT why, rule, count(*) AS objects, sum(bytes) AS size, sum(recent) AS recent,
            sum(recent * bytes) AS recent_size, coalesce(sum(packed >> 32), 0) AS week,
            coalesce(sum(packed & {_LOW}), 0) AS month
        FROM ({inner.text} LIMIT -1) WHERE {_of_scope(ground)} GROUP BY why, rule)"""
    row = reads.row(sql, *inner.values)
    return [] if row is None else json.loads(row[0])


def _of_scope(ground: Ground) -> str:
    return "1" if ground.scope.rule is None else f"rule = {int(ground.scope.rule)}"


def _rows(ground: Ground, span: Span) -> Sql:
    """A row for each blob of a page."""
    scope, columns = ground.scope, ground.columns
    recent = Sql("coalesce(? - entry.last_read_at < ?, 0)", (float(scope.now), scope.rules.safety.recent_days * DAY))
    where = span.sql()
    why, packed, rule = _why(ground), _reads(scope.now), ground.decider
    return Sql(
        f"SELECT {why.text} AS why, {rule.text} AS rule, {columns.bytes} AS bytes, {recent.text} AS recent, "
        f"{packed.text} AS packed FROM {ground.source} WHERE {columns.present} AND {where.text}",
        (*why.values, *rule.values, *recent.values, *packed.values, *where.values),
    )


def _why(ground: Ground) -> Sql:
    pinned, young = ground.pinned, ground.young
    return Sql(
        f"CASE WHEN entry.state <> 'clean' THEN {DIRTY} WHEN {pinned.text} THEN {PINNED} "
        f"WHEN {young.text} THEN {YOUNG} ELSE {CANDIDATE} END",
        (*pinned.values, *young.values),
    )


def _reads(now: float) -> Sql:
    """People's reads of a week (the upper 32 bits) and of a month, by one look-up of the bins; NULL: nobody read."""
    today = int(now // DAY)
    lately = read_since(today - MONTH)
    return Sql(
        f"CASE WHEN entry.reads > 0 AND {lately.text} THEN (SELECT sum(d.reads * iif(d.day >= ?, {_LOW + 2}, 1)) "
        "FROM read_day d WHERE d.bucket = entry.bucket AND d.key = entry.key AND d.day >= ?) END",
        (*lately.values, today - WEEK, today - MONTH),
    )
