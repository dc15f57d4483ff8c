"""A naive plan in Python, row by row, and random catalogues to hold it beside the catalogue's SQL."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st

from tierproxy.catalogue import SqliteCatalogue
from tierproxy.model import BucketRow, Entry, Headers, Job, JobKind, ObjectName, State
from tierproxy.offload import ThreadPool
from tierproxy.purge.explain import Fate, fate
from tierproxy.purges import Drop, RuleCount, Scope, Standing, Survey, facts_of
from tierproxy.rules.evaluate import Facts, deciding
from tierproxy.rules.model import Budget, Order, RuleSet, Safety
from tierproxy.testing.rules import BUCKETS, NOW, SPANS_OF_TIME, objects, rule_sets
from tierproxy.traffic import DAY, Correction, Counts, ReadCount

STATEFUL = {Order.SIEVE, Order.S3_FIFO}
CANDIDATES = {Fate.GOES, Fate.KEPT, Fate.UNDECIDED}


@dataclass(frozen=True, slots=True)
class Drawn:
    """An object to put into a catalogue. ``corrected``: the last read of its newest bin was a machine's."""

    facts: Facts
    corrected: bool
    pinned_until: float | None
    shadow_purged: bool
    blob_bytes: int


def drawn_objects() -> st.SearchStrategy[list[Drawn]]:
    pins = st.sampled_from((None, None, None, NOW - 1, NOW, NOW + 1, float("inf")))
    one = st.builds(Drawn, objects(), st.booleans(), pins, st.booleans(), st.sampled_from((4096, 8192, 2**20)))
    return st.lists(one, max_size=14, unique_by=lambda drawn: drawn.facts.name)


def drawn_rules() -> st.SearchStrategy[RuleSet]:
    budgets = st.sampled_from((0.0, 0.0, *SPANS_OF_TIME[2:6])).map(lambda least: Budget(min_on_disk=least))
    safeties = st.sampled_from((1, 7, 30)).map(lambda days: Safety(recent_days=days))
    parts = st.tuples(rule_sets(), budgets, safeties)
    return parts.map(lambda drawn: replace(drawn[0], budget=drawn[1], safety=drawn[2]))


def scopes() -> st.SearchStrategy[Scope]:
    return drawn_rules().flatmap(
        lambda rules: st.builds(
            Scope, st.just(rules), st.just(NOW), st.sampled_from(("", "", *BUCKETS)),
            st.sampled_from(("", "", "mail/", "mail/alice/")),
            st.sampled_from((None, None, None, *range(len(rules.rules)))),
        )
    )  # fmt: skip


# ---------------------------------------------------------------- filling


@asynccontextmanager
async def filled(objects: Sequence[Drawn]) -> AsyncIterator[SqliteCatalogue]:
    """A catalogue with ``objects``, made by the changes that a node makes."""
    threads = ThreadPool("catalogue", 1)
    with tempfile.TemporaryDirectory(prefix="tierproxy-plan-") as directory:
        catalogue = SqliteCatalogue(Path(directory), threads)
        try:
            for bucket in BUCKETS:
                await catalogue.add_bucket(BucketRow(bucket, 0.0, created=True, complete=False))
            for generation, drawn in enumerate(objects, 1):
                await _publish(catalogue, drawn, generation)
                await _count(catalogue, drawn)
                if drawn.pinned_until is not None and drawn.facts.state is not State.DELETING:
                    await catalogue.pin(drawn.facts.name, drawn.pinned_until)
            yield catalogue
            assert await catalogue.check() == []
        finally:
            await catalogue.close()
            await threads.close()


async def shadowed(catalogue: SqliteCatalogue, objects: Sequence[Drawn]) -> None:
    """Begin a shadow, and let it have purged some."""
    await catalogue.begin_shadow(NOW - DAY)
    for drawn in objects:
        entry = catalogue.find(drawn.facts.name)
        if drawn.shadow_purged and entry is not None:
            drop = Drop(entry.name, entry.generation, entry.blob or "", entry.blob_bytes, "rule:x")
            await catalogue.shadow_drop([drop], at=NOW - 10)


async def _publish(catalogue: SqliteCatalogue, drawn: Drawn, generation: int) -> None:
    facts, name = drawn.facts, drawn.facts.name
    if facts.state is State.DELETING:
        await catalogue.tombstone(name, generation, Job(name, generation, JobKind.DELETE, 0, NOW))
        return
    entry = Entry(
        name, generation, State.CLEAN, facts.size, "etag", facts.written_at, "alt",
        Headers(metadata=dict(facts.metadata)), owner=facts.owner or None, folder=facts.folder or None,
        purged_at=None if facts.stored_at is not None else facts.purged_at,
    )  # fmt: skip
    if facts.stored_at is not None:
        entry = replace(
            entry, blob=f"{generation:032x}", blob_bytes=drawn.blob_bytes, xxh3=bytes(16), stored_at=facts.stored_at
        )
    if facts.state is State.DIRTY and facts.stored_at is not None:
        job = Job(name, generation, JobKind.PUT, facts.size, NOW)
        await catalogue.publish(replace(entry, state=State.DIRTY), job=job)
        return
    await catalogue.publish(entry)
    if facts.state is State.SUSPECT:
        await catalogue.suspect(name, generation)


async def _count(catalogue: SqliteCatalogue, drawn: Drawn) -> None:
    """Its bins, the odd ones as a read a flush: what is known of the last reads differs."""
    name = drawn.facts.name
    for number, (day, reads, machine_reads) in enumerate(drawn.facts.days):
        last = day * DAY + 3600.0 * (number + 1)
        flushes = reads if number % 2 else 1
        for left in reversed(range(1, flushes)):
            await catalogue.count(Counts(NOW, (ReadCount(name, day, 1, 0, last - left),)))
        count = ReadCount(name, day, max(0, reads - flushes + 1), machine_reads, last if reads else None)
        await catalogue.count(Counts(NOW, (count,)))
        if drawn.corrected and reads:
            await catalogue.count(Counts(NOW, corrections=(Correction(name, last),)))


# ---------------------------------------------------------------- the naive plan


@dataclass(frozen=True, slots=True)
class Row:
    """What the naive plan says of an object."""

    standing: Standing
    rule: int | None
    fate: Fate
    rank: float = 0.0

    @property
    def name(self) -> ObjectName:
        return self.standing.entry.name

    @property
    def bytes(self) -> int:
        return self.standing.entry.blob_bytes

    def line(self, rank: float) -> tuple[object, ...]:
        """What a candidate must say."""
        entry, standing = self.standing.entry, self.standing
        facts = (entry.generation, entry.blob or "", entry.blob_bytes, entry.size)
        return (entry.name, *facts, self.rule, rank, standing.visits, standing.main, standing.queued_at)


def naive(standings: Sequence[Standing], scope: Scope) -> list[Row]:
    """The scope's rows that have a blob, in name order."""
    rows = []
    for standing in sorted(standings, key=lambda standing: standing.entry.name):
        name, rules = standing.entry.name, scope.rules
        found = fate(standing, rules, scope.now)
        if found is Fate.ABSENT or scope.bucket not in {"", name.bucket} or not name.key.startswith(scope.prefix):
            continue
        rule = deciding(rules, facts_of(standing), scope.now)
        if scope.rule is None or scope.rule == rule:
            rows.append(Row(standing, rule, found))
    return rows


def naive_survey(rows: Sequence[Row], scope: Scope) -> Survey:
    aside = {
        kind: (sum(row.fate is kind for row in rows), sum(row.bytes for row in rows if row.fate is kind))
        for kind in (Fate.DIRTY, Fate.PINNED, Fate.YOUNG)
    }
    decided = {row.rule for row in rows if row.fate in CANDIDATES}
    counts = [
        _count_of(rule, [row for row in rows if row.rule == rule and row.fate in CANDIDATES], scope)
        for rule in sorted(decided, key=lambda rule: (rule is None, rule))
    ]
    recent = sum(row.bytes for row in rows if _recent(row, scope))
    return Survey(tuple(counts), aside[Fate.DIRTY], aside[Fate.PINNED], aside[Fate.YOUNG], recent)


def naive_decided(rows: Sequence[Row]) -> list[tuple[object, ...]]:
    return [row.line(-1.0) for row in rows if row.fate is Fate.GOES]


def naive_pressed(rows: Sequence[Row], scope: Scope, order: Order, *, kept: bool) -> list[tuple[object, ...]]:
    lines = []
    for row in rows:
        if row.fate is (Fate.KEPT if kept else Fate.UNDECIDED) or (row.fate is Fate.GOES and not kept):
            first = row.fate is Fate.GOES and order not in STATEFUL
            rank = -1.0 if first else rank_of(row.standing, order, scope.now)
            lines.append((rank, row.name, row.line(rank)))
    return [line for _, _, line in sorted(lines)]


def rank_of(standing: Standing, order: Order, now: float) -> float:
    entry = standing.entry
    assert entry.stored_at is not None
    used = entry.stored_at if entry.last_read_at is None else entry.last_read_at
    match order:
        case Order.LRU:
            return used
        case Order.FIFO | Order.SIEVE | Order.S3_FIFO:
            return standing.queued_at
        case Order.LFU:
            return entry.reads + used / 1e11
        case Order.GDSF:
            return standing.worth
        case Order.SCORE:
            idle_days = max(now - used, 0.0) / 86400.0
            return (1.0 + entry.reads) / ((1.0 + idle_days) * (1.0 + entry.blob_bytes / 65536.0))


def _recent(row: Row, scope: Scope) -> bool:
    last = row.standing.entry.last_read_at
    return last is not None and scope.now - last < scope.rules.safety.recent_days * DAY


def _count_of(rule: int | None, rows: Sequence[Row], scope: Scope) -> RuleCount:
    recent = [row.bytes for row in rows if _recent(row, scope)]
    return RuleCount(
        rule, len(rows), sum(row.bytes for row in rows), len(recent), sum(recent),
        _reads(rows, scope.now, 7), _reads(rows, scope.now, 30),
    )  # fmt: skip


def _reads(rows: Sequence[Row], now: float, days: int) -> int:
    first = int(now // DAY) - days
    return sum(reads for row in rows for day, reads, _ in row.standing.days if day >= first)
