"""Which blobs have to go, and why. Pure: the same facts give the same plan, so it is its own dry run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tierproxy.config.sections import DiskSection
from tierproxy.model import Entry, FreeSpace, State

SLACK = 0.01  #: share of max_bytes freed beyond min_free, so that not every write at the edge starts a run


class Pressure(Protocol):
    """What a purge has to know of the space accounting. ``tierproxy.store.space.Space`` is one."""

    @property
    def used(self) -> int:
        """Bytes of blobs and staged parts on disk."""
        ...

    @property
    def reserved(self) -> int:
        """Bytes claimed for files that are still being written."""
        ...

    @property
    def settings(self) -> DiskSection:
        """The budget as configured now."""
        ...

    def free(self) -> FreeSpace:
        """The file system, at most a second old."""
        ...


@dataclass(frozen=True, slots=True)
class Need:
    """How much has to go. ``reason`` is the strongest: ``high water``, ``min_free bytes`` or ``min_free inodes``."""

    bytes: int
    files: int
    reason: str

    def less(self, released: int, removed: int) -> Need | None:
        """What is left of the need after ``removed`` blobs of together ``released`` bytes are gone; None: it is met."""
        left = Need(max(0, self.bytes - released), max(0, self.files - removed), self.reason)
        return left if left.bytes or left.files else None


@dataclass(frozen=True, slots=True)
class Choice:
    """One blob that should go."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Blobs to purge, in order. ``rest`` is what the need still lacks once they are gone; None: nothing."""

    choices: tuple[Choice, ...]
    rest: Need | None

    @property
    def entries(self) -> list[Entry]:
        return [choice.entry for choice in self.choices]

    @property
    def bytes(self) -> int:
        return sum(choice.entry.blob_bytes for choice in self.choices)


def need(pressure: Pressure, wanted: int = 0) -> Need | None:
    """What has to go now; None when the budget holds.

    Between high and low water nothing starts: a purge that has begun goes down to low water, the next one begins at
    high water. ``wanted`` are bytes that a caller was just refused: they count as if they were on disk already.
    """
    over = _over_water(pressure, wanted)
    short_bytes, short_files = _below_min_free(pressure, wanted)
    if not (over or short_bytes or short_files):
        return None
    reason = "high water" if over >= short_bytes and over else "min_free bytes" if short_bytes else "min_free inodes"
    return Need(max(over, short_bytes), short_files, reason)


def _over_water(pressure: Pressure, wanted: int) -> int:
    """Bytes down to low water, once high water is reached."""
    settings = pressure.settings
    claimed = pressure.used + pressure.reserved + wanted
    if claimed <= settings.max_bytes * settings.high_water:
        return 0
    return claimed - int(settings.max_bytes * settings.low_water)


def _below_min_free(pressure: Pressure, wanted: int) -> tuple[int, int]:
    """Bytes and inodes the file system lacks. ``min_free`` as a size counts bytes only; so does a file system that has
    no fixed number of inodes (btrfs and its kin report zero)."""
    settings, free = pressure.settings, pressure.free()
    keep = settings.min_free
    lacking = keep.of(free.total_bytes) + pressure.reserved + wanted - free.free_bytes
    lacking_bytes = lacking + int(settings.max_bytes * SLACK) if lacking > 0 else 0
    if keep.percent is None or not free.total_inodes:
        return lacking_bytes, 0
    return lacking_bytes, max(0, keep.of(free.total_inodes) + 1 - free.free_inodes)


def plan(required: Need, candidates: Sequence[Entry]) -> Plan:
    """The first of ``candidates`` (least recently used first) that meet ``required``.

    Only CLEAN entries with a blob are ever taken, whatever the caller hands in: dirty bytes exist nowhere else.
    """
    choices: list[Choice] = []
    rest: Need | None = required
    for entry in candidates:
        if rest is None:
            break
        if entry.state is not State.CLEAN or entry.blob is None:
            continue
        choices.append(Choice(entry, rest.reason))
        rest = rest.less(entry.blob_bytes, 1)
    return Plan(tuple(choices), rest)
