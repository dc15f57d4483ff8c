"""What a replay found, for reports: numbers of one rule set over one trace."""

from __future__ import annotations

from dataclasses import dataclass

from tierproxy.purges import RuleRecord
from tierproxy.traffic import DAY

MONTH = 365.25 / 12 * DAY
"""Seconds; what costs a month are scaled to."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Hits are served from this machine, misses from alt."""

    hits: int = 0
    misses: int = 0

    @property
    def total(self) -> int:
        return self.hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """0 when nothing was read."""
        return self.hits / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class DiskDay:
    """Bytes on disk on one UTC day (days since the epoch), mean over time and most."""

    day: int
    mean: float
    most: int


@dataclass(frozen=True, slots=True)
class AltRequests:
    """Requests to alt by class, and bytes from (``fetched``) and to (``sent``) it. HEADs and LISTs are asked for by
    buckets with other writers and by listings, which a trace does not have."""

    get: int = 0
    put: int = 0
    delete: int = 0
    head: int = 0
    list: int = 0
    fetched: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds that people wait for a mail: of all their reads."""

    mean: float = 0.0
    p99: float = 0.0


@dataclass(frozen=True, slots=True)
class Dollars:
    """US dollars a month. ``stored``: what alt holds, which is the same whatever the rules."""

    requests: float = 0.0
    egress: float = 0.0
    disk: float = 0.0
    stored: float = 0.0

    @property
    def total(self) -> float:
        return self.requests + self.egress + self.disk + self.stored


@dataclass(frozen=True, slots=True)
class Result:
    """A replay. ``since``, ``until``: the counted part, seconds since the epoch; ``events``: all that were played.

    ``people``, ``machines``: reads, of ranges the first; ``gets``: requests, as ``gets.*`` counts them; ``bytes``: what
    gets delivered. ``fills``, ``passes``: gets that missed, with and without a copy; ``no_room``: those that would have
    been filled. ``around``: writes that went to alt alone, ``refused``: those of them that a node which acknowledges
    from the disk would have refused. ``reasons``: purges and regrets by ``rule:NAME`` and ``pressure``.
    ``pressure_runs``, ``short``: how often space was asked for, and how often it was not found. ``max_bytes``: the
    budget; ``kept_bytes``: mean of bytes in alt, as far as the trace tells of them.
    """

    events: int
    since: float
    until: float
    people: Reads
    machines: Reads
    gets: Reads
    bytes: Reads
    fills: int
    passes: int
    no_room: int
    writes: int
    around: int
    refused: int
    deletes: int
    reasons: tuple[RuleRecord, ...]
    pressure_runs: int
    short: int
    days: tuple[DiskDay, ...]
    max_bytes: int
    kept_bytes: float
    alt: AltRequests
    delay: Delay
    dollars: Dollars

    @property
    def seconds(self) -> float:
        """Length of the counted part."""
        return self.until - self.since

    @property
    def purged_objects(self) -> int:
        return sum(reason.objects for reason in self.reasons)

    @property
    def purged_bytes(self) -> int:
        return sum(reason.bytes for reason in self.reasons)

    @property
    def regrets(self) -> int:
        """People's."""
        return sum(reason.regrets for reason in self.reasons)

    @property
    def mean_disk(self) -> float:
        """Bytes on disk over the counted time; the first day and the last may be parts of one."""
        parts = [min(self.until, (one.day + 1) * DAY) - max(self.since, one.day * DAY) for one in self.days]
        area = sum(one.mean * seconds for one, seconds in zip(self.days, parts, strict=True))
        return area / sum(parts) if self.days else 0.0

    @property
    def most_disk(self) -> int:
        """The most bytes there ever were on disk."""
        return max((day.most for day in self.days), default=0)
