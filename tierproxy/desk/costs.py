"""What was asked of alt, and what is kept where: the amounts that a bill is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tierproxy.catalogue import CatalogueReader
from tierproxy.config.sections import Config
from tierproxy.desk.inforce import in_force_waters
from tierproxy.desk.series import HOUR, MINUTE, alt_use, hits, summed
from tierproxy.traffic import DAY, Rollup


@dataclass(frozen=True, slots=True)
class Usage:
    """Of ``seconds`` of traffic (fewer than were asked for, where the node is younger). ``alt``: requests by class, and
    ``bytes.read``. ``gets``, ``delivered``: of clients, and bytes they got. Bytes are as of now: ``disk_budget``, which
    is paid for whether it is full or not, and ``alt_bytes``."""

    seconds: float
    alt: Mapping[str, int]
    gets: int
    delivered: int
    disk_budget: int
    alt_bytes: int


def usage(config: Config, catalogue: CatalogueReader, now: float, days: float) -> Usage:
    """Of the last ``days``. Raises ConfigError, DiskError."""
    since = now - days * DAY
    rollups = catalogue.rollups(HOUR, since, now + HOUR)
    grown, totals = summed(rollups), catalogue.totals()
    seconds = now - max(since, _beginning(catalogue, rollups, now)) if rollups else 0.0
    disk, found = in_force_waters(config, catalogue, now).settings, hits(rollups)
    return Usage(
        seconds=max(seconds, 0.0), alt=alt_use(grown), gets=found.gets + found.stubs,
        delivered=sum(count for name, count in grown.items() if name.startswith("delivered.")),
        disk_budget=int(disk.max_bytes), alt_bytes=totals.bytes - totals.dirty_bytes,
    )  # fmt: skip


def _beginning(catalogue: CatalogueReader, rollups: Sequence[Rollup], now: float) -> float:
    """When counting began: of a young node by the minute, an hour of which only minutes have gone would make a month
    too cheap."""
    first = rollups[0].at
    minutes = catalogue.rollups(MINUTE, first, now + MINUTE) if now - first < DAY else []
    return minutes[0].at if minutes else first
