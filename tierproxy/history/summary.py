"""What a history says in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from tierproxy.errors import TierproxyError
from tierproxy.history.reading import BROKEN, History
from tierproxy.traffic import HITS, Outcome


@dataclass(frozen=True, slots=True)
class Reads:
    """Gets of one outcome and reason. ``reads``: without the later ranges of one read; ``sent`` in bytes."""

    outcome: str
    reason: str
    gets: int
    reads: int
    sent: int


@dataclass(frozen=True, slots=True)
class Day:
    """A UTC day as YYYY-MM-DD."""

    day: str
    events: int
    reads: int
    writes: int
    deletes: int
    purges: int
    sent: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of a history. ``hit_ratio`` and ``byte_hit_ratio``: of gets of bodies (of the bytes sent) with a known
    outcome, those from memory and disk; None: no outcome is known. ``written``: bytes of writes. ``regretted``: reads
    that missed because of a purge."""

    events: int
    first: float | None
    last: float | None
    kinds: Mapping[str, int]
    objects: int
    owners: int
    sent: int
    written: int
    hit_ratio: float | None
    byte_hit_ratio: float | None
    regretted: int
    reads: tuple[Reads, ...]
    days: tuple[Day, ...]


def summarise(history: History, since: float | None = None, until: float | None = None) -> Summary:
    """Events of ``history`` with ``since <= at < until``. Memory: a few bytes per object. Raises TierproxyError when a
    file turns out to be damaged on the way."""
    events = history.scan(since, until)
    try:
        totals, reads, days = pl.collect_all([_totals(events), _reads(events), _days(events)], engine="streaming")
    except BROKEN as error:
        raise TierproxyError(
            f"history cannot be read: {error}", hint="try again; if it stays, move the file away"
        ) from error
    return _summary(
        totals.row(0, named=True), [Reads(*row) for row in reads.rows()], [Day(*row) for row in days.rows()]
    )


def _is(kind: str) -> pl.Expr:
    return pl.col("kind") == kind


def _totals(events: pl.LazyFrame) -> pl.LazyFrame:
    return events.select(
        pl.len().alias("events"),
        pl.col("at").min().dt.epoch("us").alias("first"),
        pl.col("at").max().dt.epoch("us").alias("last"),
        *(_is(kind).sum().alias(kind) for kind in ("read", "write", "delete", "purge")),
        pl.col("object").n_unique().alias("objects"),
        pl.col("owner").filter(pl.col("owner") != "").n_unique().alias("owners"),
        pl.col("size").filter(_is("write")).sum().alias("written"),
        (_is("read") & (pl.col("by") != "")).sum().alias("regretted"),
    )


def _reads(events: pl.LazyFrame) -> pl.LazyFrame:
    words = [pl.col(name).cast(pl.String) for name in ("outcome", "reason")]
    return (
        events.filter(_is("read"))
        .group_by(words)
        .agg(pl.len().alias("gets"), pl.col("first").sum().alias("reads"), pl.col("sent").sum().alias("sent"))
        .sort("outcome", "reason")
    )


def _days(events: pl.LazyFrame) -> pl.LazyFrame:
    return (
        events.group_by(pl.col("at").dt.strftime("%Y-%m-%d").alias("day"))
        .agg(
            pl.len().alias("events"),
            *(_is(kind).sum().alias(f"{kind}s") for kind in ("read", "write", "delete", "purge")),
            pl.col("sent").sum().alias("sent"),
        )
        .sort("day")
    )


def _summary(totals: Mapping[str, int | None], reads: list[Reads], days: list[Day]) -> Summary:
    known = [row for row in reads if row.outcome and row.outcome != Outcome.STUB]
    hits = [row for row in known if row.outcome in HITS]
    return Summary(
        events=totals["events"] or 0,
        first=_seconds(totals["first"]),
        last=_seconds(totals["last"]),
        kinds={kind: totals[kind] or 0 for kind in ("read", "write", "delete", "purge")},
        objects=totals["objects"] or 0,
        owners=totals["owners"] or 0,
        sent=sum(row.sent for row in reads),
        written=totals["written"] or 0,
        hit_ratio=_share(sum(row.gets for row in hits), sum(row.gets for row in known)),
        byte_hit_ratio=_share(sum(row.sent for row in hits), sum(row.sent for row in known)),
        regretted=totals["regretted"] or 0,
        reads=tuple(reads),
        days=tuple(days),
    )


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1_000_000


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
