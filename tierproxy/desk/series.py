"""Counters over time: what the rollups of the catalogue say, as points, and summed up as speed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from tierproxy.catalogue import CatalogueReader
from tierproxy.stats import BUCKETS
from tierproxy.traffic import DAY, Outcome, Reason, Rollup, side
from tierproxy.wire.status import Hits, PeoplesHits, Point, Series, Speed, TierLatency

Span = Literal["minute", "hour", "day"]

MINUTE, HOUR = 60, 3600
SPANS: dict[Span, int] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
POINTS = 10_000  #: at most, whatever was asked for: the newest
LOOKS = (("hour", MINUTE, HOUR), ("day", HOUR, DAY), ("week", HOUR, 7 * DAY))
"""Label, span of the rollups looked at, seconds back."""
GOOD = "ok"


def series(catalogue: CatalogueReader, span: Span, since: float, until: float) -> Series:
    """The points that begin in [``since``, ``until``), at most ``POINTS`` of them. Days are UTC days, summed from
    hours. Raises DiskError."""
    length = SPANS[span]
    since = max(since, until - POINTS * length)
    found = catalogue.rollups(min(length, HOUR), since // length * length, until)
    points = [_point(at, grown) for at, grown in _by(length, found)]
    return Series(span=span, since=since, until=until, points=points)


def speed(catalogue: CatalogueReader, now: float) -> Speed:
    """Whether people are served well. Raises DiskError."""
    looks = {label: [catalogue.grown(span, now - back, now + span)] for label, span, back in LOOKS}
    minute = now // MINUTE * MINUTE
    last = hits([catalogue.grown(MINUTE, minute - MINUTE, minute)])
    return Speed(
        people={label: peoples_hits(found) for label, found in looks.items()},
        hits={label: hits(found) for label, found in looks.items()},
        latency=latencies(looks["hour"]),
        per_second=(last.gets + last.stubs) / MINUTE,
    )


# ------------------------------------------------------------ hits


def peoples_hits(rollups: Sequence[Rollup]) -> PeoplesHits:
    """By the formulas of ``tierproxy.store.counters``. A scan may be recognised in the minute after its first reads, so
    a short time may have more corrections than reads."""
    grown = summed(rollups)
    found = max(0, grown["reads.person.hits"] - grown["reads.corrected.hits"])
    reads = found + max(0, grown["reads.person.misses"] - grown["reads.corrected.misses"])
    return PeoplesHits(reads=reads, hits=found, ratio=found / reads if reads else None)


def hits(rollups: Sequence[Rollup]) -> Hits:
    """By the formulas of ``tierproxy.store.counters``: gets = hits + misses + stubs, all below ``gets.``."""
    gets = _below(summed(rollups), "gets.")
    found = sum(count for name, count in gets.items() if name.startswith("hits."))
    stubs = sum(count for name, count in gets.items() if name.startswith("stubs."))
    bodies = sum(gets.values()) - stubs
    return Hits(gets=bodies, hits=found, ratio=found / bodies if bodies else None, stubs=stubs)


# ------------------------------------------------------------ latency


def latencies(rollups: Sequence[Rollup]) -> list[TierLatency]:
    """Time to the first byte by outcome, those from memory first; outcomes without gets have no times."""
    grown = summed(rollups)
    return [_latency(outcome, _below(grown, f"latency.{outcome}.")) for outcome in Outcome]


def _latency(outcome: Outcome, counts: Mapping[str, int]) -> TierLatency:
    gets, times = counts.get("count", 0), _times(counts)
    mean, p50, p99 = times or (None, None, None)
    return TierLatency(outcome=str(outcome), gets=gets, mean=mean, p50=p50, p99=p99)


def _times(counts: Mapping[str, int]) -> tuple[float, float, float] | None:
    """Mean, median and 99th percentile in seconds; None without any."""
    gets = counts.get("count", 0)
    if gets <= 0:
        return None
    return counts.get("us", 0) / gets / 1e6, percentile(counts, 0.5), percentile(counts, 0.99)


def percentile(counts: Mapping[str, int], share: float) -> float:
    """Seconds that ``share`` of the times did not exceed: the upper bound of the power of two it lies in. ``counts``:
    ``b0`` to ``b35``, as ``tierproxy.stats.Latency`` names them."""
    buckets = [counts.get(f"b{index}", 0) for index in range(BUCKETS)]
    wanted, seen = share * sum(buckets), 0
    for index, count in enumerate(buckets):
        seen += count
        if count and seen >= wanted:
            return float(2**index) / 1e6
    return 0.0


# ------------------------------------------------------------ points


def _by(length: int, rollups: Iterable[Rollup]) -> Iterator[tuple[int, Counter[str]]]:
    """Rollups added up to spans of ``length`` seconds, in order."""
    grown: dict[int, Counter[str]] = defaultdict(Counter)
    for rollup in rollups:
        grown[rollup.at // length * length].update(rollup.counters)
    yield from sorted(grown.items())


def _point(at: int, grown: Counter[str]) -> Point:
    corrected = grown["reads.corrected"]
    gets = {outcome.value: _get_count(grown, outcome) for outcome in Outcome} | {"error": grown["gets.misses.error"]}
    times = {outcome.value: _times(_below(grown, f"latency.{outcome}.")) for outcome in Outcome}
    return Point(
        at=at,
        gets={outcome: count for outcome, count in gets.items() if count},
        reads=max(0, grown["reads.person"] - corrected),
        machine_reads=sum(grown[f"reads.{reason}"] for reason in Reason if reason is not Reason.PERSON) + corrected,
        person_hits=max(0, grown["reads.person.hits"] - grown["reads.corrected.hits"]),
        regrets=max(0, grown["regrets.person"] - grown["regrets.corrected"]),
        puts=grown["writes.puts"],
        deletes=grown["writes.deletes"],
        delivered=_below(grown, "delivered."),
        alt=alt_use(grown),
        latency={outcome: found for outcome, found in times.items() if found is not None},
    )


def _get_count(grown: Counter[str], outcome: Outcome) -> int:
    return grown[f"gets.{side(outcome)}.{outcome}"]


def alt_use(grown: Mapping[str, int]) -> dict[str, int]:
    """Requests to alt by class, ``errors`` (those that did not end well), and ``bytes.read``, ``bytes.written``."""
    found: Counter[str] = Counter()
    for name, count in _below(grown, "alt.").items():
        kind, _, outcome = name.partition(".")
        if kind == "bytes":
            found[name] += count
        elif kind != "body":
            found[kind] += count
            found["errors"] += 0 if outcome == GOOD else count
    return {name: count for name, count in found.items() if count}


def summed(rollups: Iterable[Rollup]) -> Counter[str]:
    """All counters of all of them, added up."""
    grown: Counter[str] = Counter()
    for rollup in rollups:
        grown.update(rollup.counters)
    return grown


def _below(grown: Mapping[str, int], prefix: str) -> dict[str, int]:
    """The counters whose names begin so, without it."""
    return {name.removeprefix(prefix): count for name, count in grown.items() if name.startswith(prefix)}
