"""The nouns of statistics."""

from __future__ import annotations

from dataclasses import dataclass
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
