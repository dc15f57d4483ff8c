"""Statistics: how often what is read, and what lives on disk."""

from __future__ import annotations

from tierproxy.stats import Breakdown
from tierproxy.wire.base import Document
from tierproxy.wire.status import BucketUse, Hits, PeoplesHits


class StatsRow(Document):
    """One row: an age class, an owner, a folder, a day as YYYY-MM-DD. ``by_reads``: objects by the table's
    ``read_classes``. Of a day only ``objects`` (those read), ``reads`` and ``machine_reads`` are known."""

    label: str
    objects: int
    bytes: int = 0
    disk_objects: int = 0
    disk_bytes: int = 0
    reads: int = 0
    machine_reads: int = 0
    by_reads: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)


class Waters(Document):
    """The disk budget in bytes, for tables."""

    used: int
    max_bytes: int
    high: int
    low: int


class StatsTable(Document):
    """A breakdown, with the hits of the whole node. ``computed_at``: tables are computed in the background and may be
    some seconds old. ``rows_total``: how many there are, when not all are shown. ``warnings``: what is doubtful about
    the rules in force."""

    by: Breakdown
    bucket: str | None
    read_classes: tuple[str, ...]
    rows: list[StatsRow]
    total: StatsRow
    disk: Waters
    bucket_budgets: dict[str, BucketUse]
    people: dict[str, PeoplesHits]
    hits: dict[str, Hits]
    computed_at: float = 0.0
    rows_total: int = 0
    warnings: list[str] = []


class HeatCell(Document):
    """What is of one age class and one read class. Objects and bytes; of these on disk."""

    objects: int = 0
    bytes: int = 0
    disk_objects: int = 0
    disk_bytes: int = 0


class Heat(Document):
    """Age since written (rows, youngest first) by reads by people (columns, fewest first)."""

    ages: list[str]
    read_classes: list[str]
    cells: list[list[HeatCell]]
    bucket: str | None = None
    computed_at: float = 0.0
