"""How often mails are read, and what of them lives on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from tierproxy import stats
from tierproxy.catalogue import CatalogueReader
from tierproxy.config.sections import Config
from tierproxy.desk.inforce import in_force, waters
from tierproxy.desk.series import speed
from tierproxy.errors import NoSuchBucket
from tierproxy.stats import READ_CLASSES, Breakdown
from tierproxy.wire.stats import Heat, HeatCell, StatsRow, StatsTable, Waters
from tierproxy.wire.status import BucketUse


def table(
    config: Config, catalogue: CatalogueReader, now: float, by: Breakdown = Breakdown.AGE, bucket: str = ""
) -> StatsTable:
    """The whole breakdown, of one bucket or ("") all. One look at every row: for a thread. Raises NoSuchBucket,
    ConfigError, DiskError; ValueError for RULE, which is a question about rules."""
    require(catalogue, bucket)
    counted = catalogue.stats(by, bucket=bucket, now=now)
    return _documents(config, catalogue, now, bucket, (counted,))[0]


def overview(config: Config, catalogue: CatalogueReader, now: float, bucket: str = "") -> tuple[list[StatsTable], Heat]:
    """The breakdowns by age, owner and folder, and the heat map, for one look at every row: for a thread. Raises
    NoSuchBucket, ConfigError, DiskError."""
    require(catalogue, bucket)
    found = catalogue.overview(bucket=bucket, now=now)
    return _documents(config, catalogue, now, bucket, found.tables), _heat(found.heat, now, bucket)


def _documents(
    config: Config, catalogue: CatalogueReader, now: float, bucket: str, tables: Iterable[stats.StatsTable]
) -> list[StatsTable]:
    source = in_force(config, catalogue, now)
    disk, grown = waters(config, source.rules, catalogue), speed(catalogue, now)
    shares = {name: BucketUse(used=disk.claimed(name), max_bytes=most) for name, most in disk.budgets.items()}
    return [
        StatsTable(
            by=counted.by, bucket=bucket or None, read_classes=READ_CLASSES,
            rows=[_row(row) for row in counted.rows], total=_row(counted.total),
            disk=Waters(**disk.as_dict()), bucket_budgets=shares, people=grown.people, hits=grown.hits,
            computed_at=now, rows_total=len(counted.rows), warnings=list(source.warnings),
        )
        for counted in tables
    ]  # fmt: skip


def part(whole: StatsTable, limit: int = 0, search: str = "") -> StatsTable:
    """The first ``limit`` rows (0: all; of days the last) whose label has ``search`` in it, letter case apart. The
    total stays that of all rows."""
    wanted = search.casefold()
    rows = [row for row in whole.rows if wanted in row.label.casefold()]
    shown = rows if not limit else rows[-limit:] if whole.by is Breakdown.DAY else rows[:limit]
    return whole.model_copy(update={"rows": shown, "rows_total": len(rows)})


def heat(catalogue: CatalogueReader, now: float, bucket: str = "") -> Heat:
    """Age by reads, of one bucket or ("") all. One look at every row: for a thread. Raises NoSuchBucket, DiskError."""
    require(catalogue, bucket)
    return _heat(catalogue.heat(bucket=bucket, now=now), now, bucket)


def _heat(found: stats.HeatTable, now: float, bucket: str) -> Heat:
    return Heat(
        ages=list(found.ages), read_classes=list(READ_CLASSES), bucket=bucket or None, computed_at=now,
        cells=[[HeatCell(**asdict(cell)) for cell in row] for row in found.cells],
    )  # fmt: skip


def require(catalogue: CatalogueReader, bucket: str) -> None:
    """Raises NoSuchBucket; "" is all of them."""
    if bucket and catalogue.bucket(bucket) is None:
        raise NoSuchBucket(f"there is no bucket {bucket!r}")


def _row(row: stats.StatsRow) -> StatsRow:
    one, two, three, some, many = row.by_reads
    return StatsRow(
        label=row.label, objects=row.objects, bytes=row.bytes, disk_objects=row.disk_objects,
        disk_bytes=row.disk_bytes, reads=row.reads, machine_reads=row.machine_reads,
        by_reads=(one, two, three, some, many),
    )  # fmt: skip
