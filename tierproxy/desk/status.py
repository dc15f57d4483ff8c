"""How the node is: is mail safe, is it fast, is there room. Cheap: sums that the catalogue keeps, and no scan."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.metadata import version

from tierproxy.catalogue import CatalogueReader
from tierproxy.config.sections import Config, DiskSection
from tierproxy.desk.inforce import Waters, data_directory, in_force, in_force_waters
from tierproxy.desk.series import speed
from tierproxy.model import FreeSpace
from tierproxy.ports import Condition
from tierproxy.store.health import ALARM
from tierproxy.wire.base import Amount
from tierproxy.wire.status import Alarm, BucketUse, DiskBudget, Health, Safety, Status, Tier, TierHealth, Workers

OPEN_RUNS = 1000  #: counted at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What only a running node knows, taken from its parts at one moment. ``used``: with the staged parts of uploads,
    which the catalogue's sums leave out; ``shares``: used bytes and budget of the buckets that have one.
    ``memory_max``: 0 without a memory tier, ``stub_max``: without stubs."""

    name: str
    url: str | None
    started_at: float
    alarms: tuple[Alarm, ...]
    disk: DiskSection
    used: int
    reserved: int
    peak: int
    shares: dict[str, tuple[int, int]]
    free: FreeSpace
    memory_objects: int
    memory_bytes: int
    memory_max: int
    stub_objects: int
    stub_bytes: int
    stub_max: int
    rules_version: int
    rules_about: str
    shadow: bool
    conditions: tuple[Condition, ...] = ()
    workers: Workers | None = None


def status(config: Config, catalogue: CatalogueReader, now: float, live: Live | None = None) -> Status:
    """Everything at a glance; without ``live`` what the data directory says. Raises ConfigError, DiskError."""
    rules, about, shadow, warnings = _rules(config, catalogue, now, live)
    disk = _live_budget(live) if live else _budget(in_force_waters(config, catalogue, now))
    return Status(
        now=now, node=live is not None, name=live.name if live else "", version=version("tierproxy"),
        started_at=live.started_at if live else None, data=str(data_directory(config)), url=live.url if live else None,
        safety=_safety(config, catalogue, live), speed=speed(catalogue, now),
        disk=disk, tiers=_tiers(catalogue, disk, live), alarms=list(live.alarms) if live else [],
        health=[_health(one) for one in live.conditions] if live else [], workers=live.workers if live else None,
        rules_version=rules, rules_about=about, shadow=shadow, warnings=warnings,
        open_runs=len(catalogue.runs(OPEN_RUNS, open_only=True)),
    )  # fmt: skip


def _rules(
    config: Config, catalogue: CatalogueReader, now: float, live: Live | None
) -> tuple[int, str, bool, list[str]]:
    """Version, in words, whether there is a shadow, what is doubtful. A node knows: to read and examine the file at
    every look would cost seconds for a thousand rules."""
    if live is not None:
        return live.rules_version, live.rules_about, live.shadow, []
    source = in_force(config, catalogue, now)
    return source.force.number, source.about, catalogue.shadow() is not None, list(source.warnings)


# ------------------------------------------------------------ safe


def _safety(config: Config, catalogue: CatalogueReader, live: Live | None) -> Safety:
    totals, queue = catalogue.totals(), catalogue.queue_totals()
    health, error = _alt(catalogue, live)
    return Safety(
        one_disk=Amount(objects=totals.dirty, bytes=totals.dirty_bytes), oldest_at=catalogue.oldest_dirty_at(),
        queue_jobs=queue.jobs, queue_bytes=queue.bytes, failing=queue.failing,
        deadline=float(config.queue.deadline), alt=health, alt_error=error,
    )  # fmt: skip


def _alt(catalogue: CatalogueReader, live: Live | None) -> tuple[Health, str]:
    """A node knows from its last tries; without one nobody does. The error is that of the first job that failed."""
    if live is None:
        return "unknown", ""
    down = [alarm for alarm in live.alarms if alarm.alarm == ALARM]
    if not down:
        return "ok", ""
    told = next((job.last_error for job in catalogue.jobs(0, 100) if job.last_error), "")
    return "trouble", str(down[0].facts.get("error") or told or "")


def _health(one: Condition) -> TierHealth:
    found = dataclasses.asdict(one) | {"state": one.state.value}
    return TierHealth.model_validate(found)


# ------------------------------------------------------------ room


def _live_budget(live: Live) -> DiskBudget:
    settings, most = live.disk, int(live.disk.max_bytes)
    return DiskBudget(
        used=live.used, max_bytes=most, high=int(most * settings.high_water), low=int(most * settings.low_water),
        hard=int(most * settings.hard_limit), reserved=live.reserved, peak=live.peak,
        free_bytes=live.free.free_bytes, min_free_bytes=settings.min_free.of(live.free.total_bytes),
        free_inodes=live.free.free_inodes, inodes=live.free.total_inodes,
        buckets={name: BucketUse(used=used, max_bytes=part) for name, (used, part) in live.shares.items()},
    )  # fmt: skip


def _budget(found: Waters) -> DiskBudget:
    settings, space, most = found.settings, found.space, int(found.settings.max_bytes)
    return DiskBudget(
        **found.as_dict(), hard=int(most * settings.hard_limit), peak=None, free_bytes=space.free_bytes,
        min_free_bytes=settings.min_free.of(space.total_bytes), free_inodes=space.free_inodes,
        inodes=space.total_inodes,
        buckets={name: BucketUse(used=found.claimed(name), max_bytes=part) for name, part in found.budgets.items()},
    )  # fmt: skip


def _tiers(catalogue: CatalogueReader, disk: DiskBudget, live: Live | None) -> list[Tier]:
    """The fastest first. What alt holds: everything that is not on this disk alone."""
    totals = catalogue.totals()
    found = [Tier(tier="disk", objects=totals.blobs, bytes=totals.blob_bytes, max_bytes=disk.max_bytes)]
    if live is not None and live.memory_max:
        memory = Tier(tier="memory", objects=live.memory_objects, bytes=live.memory_bytes, max_bytes=live.memory_max)
        found.insert(0, memory)
    if live is not None and live.stub_max:
        found.append(Tier(tier="stub", objects=live.stub_objects, bytes=live.stub_bytes, max_bytes=live.stub_max))
    alt = Tier(tier="alt", objects=totals.objects - totals.dirty, bytes=totals.bytes - totals.dirty_bytes)
    return [*found, alt]
