"""The nouns of statistics. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

READ_CLASSES = ("0", "1", "2", "3-5", "6+")
"""How often objects were read by people: the seed's question."""

AGES = (("< 1d", 86_400), ("1-7d", 604_800), ("7-30d", 2_592_000), ("30-90d", 7_776_000), ("90d-1y", 31_536_000))
"""Age classes with their upper bound in seconds; older ones are "> 1y"."""
OLDEST = "> 1y"


class Breakdown(StrEnum):
    """What the rows of a table are."""

    AGE = "age"  #: time since written
    OWNER = "owner"
    FOLDER = "folder"
    RULE = "rule"  #: what holds or removed it: needs rules, see ``tierproxy.purges.Survey``
    DAY = "day"  #: day of reading


@dataclass(frozen=True, slots=True)
class StatsRow:
    """One row. ``label``: an age class, an owner, a folder, a day as YYYY-MM-DD. ``by_reads``: objects by
    ``READ_CLASSES``. Bytes are of objects, ``disk_bytes`` of blobs. Of a day only ``reads``, ``machine_reads`` and
    ``objects`` (those read) are known."""

    label: str
    objects: int
    bytes: int = 0
    disk_objects: int = 0
    disk_bytes: int = 0
    reads: int = 0
    machine_reads: int = 0
    by_reads: tuple[int, ...] = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class StatsTable:
    """``rows`` in their natural order (ages, days) or the largest first (owners, folders; at most 10,000)."""

    by: Breakdown
    rows: tuple[StatsRow, ...]
    total: StatsRow


@dataclass(frozen=True, slots=True)
class HeatCell:
    """Objects of one age class and one read class. Bytes are of objects, ``disk_bytes`` of blobs."""

    objects: int = 0
    bytes: int = 0
    disk_objects: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class HeatTable:
    """``cells``: a row for each of ``ages`` (since written, youngest first), a column for each of ``READ_CLASSES``."""

    ages: tuple[str, ...]
    cells: tuple[tuple[HeatCell, ...], ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """What one look at every row tells at once: by age, by owner and by folder, and the heat map."""

    tables: tuple[StatsTable, ...]
    heat: HeatTable


BUCKETS = 36
"""Of a latency: bucket k counts times of 2^(k-1) to 2^k microseconds (0: less than 1); 2^35 are nine hours."""


@dataclass(slots=True)
class Latency:
    """Times of one kind (to the first byte, of a phase, of a request): how many, their sum in microseconds, and how
    many in each power of two."""

    count: int = 0
    microseconds: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    def add(self, seconds: float, times: int = 1) -> None:
        spent = int(seconds * 1_000_000) if seconds > 0 else 0
        self.count += times
        self.microseconds += spent * times
        bucket = spent.bit_length()
        self.buckets[bucket if bucket < BUCKETS else -1] += times

    def sample(self) -> dict[str, int]:
        """``count``, ``us`` (the sum) and ``b0`` to ``b35``, those that are not 0."""
        full = {f"b{index}": count for index, count in enumerate(self.buckets) if count}
        return {"count": self.count, "us": self.microseconds, **full}


@dataclass(frozen=True, slots=True)
class RunGauge:
    """Purge runs on record of one kind and state (words of ``tierproxy.purges``); ``ended_at``: the last end."""

    kind: str
    state: str
    count: int
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class CatalogueGauges:
    """What a look at the catalogue costs a query for. Times are seconds since the epoch, None: there is no such object.

    ``oldest_dirty_at``: since when the oldest object that alt does not have waits for its upload. ``idle_since``: when
    the clean object on disk that nobody has read for longest was last read (or stored).
    """

    file_bytes: int = 0
    wal_bytes: int = 0
    oldest_dirty_at: float | None = None
    idle_since: float | None = None
    runs: tuple[RunGauge, ...] = ()
