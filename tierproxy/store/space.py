"""The disk budget: reserve, then commit or release, so that the limit holds while bytes are still arriving."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from tierproxy.config.sections import DiskSection
from tierproxy.errors import DiskUnavailable, OutOfSpace
from tierproxy.model import FreeSpace
from tierproxy.ports import Reserve
from tierproxy.rules.model import BucketBudget
from tierproxy.store.room import NoReserve

BLOCK = 4096
FIRST = 256 * 1024  #: bytes of a body that are claimed before any of it has arrived
FULL = "free space on the file system of the data directory"


def footprint(size: int) -> int:
    """Upper bound of what a blob of ``size`` body bytes occupies: body, trailer (with 8 bytes per 256 KiB),
    rounding."""
    trailer = 8 * 1024 + size // (256 * 1024) * 8
    return -(-(size + trailer) // BLOCK) * BLOCK


class Reservation:
    """A claim on disk space. ``commit`` turns it into used bytes; leaving the ``with`` block releases what is left.
    ``bucket``: for a blob of this bucket; "" for bytes no bucket's budget counts (staged parts)."""

    def __init__(self, space: Space, claimed: int, bucket: str = "") -> None:
        self._space = space
        self._left = claimed
        self._bucket = bucket

    def __bool__(self) -> bool:
        """Something is still claimed."""
        return self._left > 0

    def commit(self, actual: int) -> None:
        """The file is there and occupies ``actual`` bytes."""
        self._space.add(actual, self._bucket)
        self.release()

    def release(self) -> None:
        self._space.claim(-self._left, self._bucket)
        self._left = 0

    def join(self, other: Reservation) -> None:
        """What ``other`` has left is this one's from now on. Of the same bucket."""
        self._left, other._left = self._left + other._left, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Arriving(Reservation):
    """A claim for a body of ``size`` bytes that grows as they arrive, to twice what has: who announces much and sends
    little holds little, and nothing is purged for what may never come (docs/decisions/0034-overload.md)."""

    def __init__(self, space: Space, size: int, bucket: str = "") -> None:
        super().__init__(space, 0, bucket)
        self._size = size
        self._covered = min(size, FIRST)

    async def cover(self, arrived: int) -> None:
        """So many are here: before the next are asked for, so that none is lost when there is no room for more. Raises
        OutOfSpace, DiskUnavailable."""
        if arrived >= self._covered < self._size:
            wanted = min(self._size, max(2 * self._covered, arrived + FIRST))
            self.join(await self._space.reserve_write(wanted - self._covered, self._bucket))
            self._covered = wanted


class Space:
    """Bytes of blobs and parts on disk (``used``) and about to be (``reserved``), against the budget of the disk and
    those of buckets that have one.

    A bucket's share counts its blobs only: parts of unfinished uploads count for the disk alone until they are
    completed.
    Invariant, checked after every test: used = sum of the catalogue's blob_bytes + part bytes, footprint(bucket) = the
    bucket's blob_bytes; reserved = 0 when idle.
    """

    def __init__(
        self, settings: DiskSection, used: int, free: Callable[[], FreeSpace], buckets: Mapping[str, int] | None = None,
        reserve: Reserve | None = None,
    ) -> None:  # fmt: skip
        """``used``: bytes of all blobs and parts; ``buckets``: bytes of blobs by bucket; ``reserve``: what is let go of
        it is not for files."""
        self._kept: Reserve = reserve or NoReserve()
        self._settings = settings
        self._budgets: dict[str, int] = {}
        self._free = free
        self._measured: FreeSpace | None = None
        self._used_then = used
        self._used_of = Counter(buckets or {})
        self._reserved_of: Counter[str] = Counter()
        self.used = used
        self.peak = used  #: the most that was used since the start
        self.reserved = 0
        self.closed = False  #: the disk is down: nothing is written to it
        self.strained = False  #: it is in doubt: it gets no copies that can be done without
        self.on_pressure: Callable[[int, str], None] = lambda _wanted, _bucket: None
        self.relieve: Callable[[int, str], Awaitable[object]] = _nothing

    def __repr__(self) -> str:
        return f"<Space {self.used} used, {self.reserved} reserved of {self._settings.max_bytes}>"

    def reload(self, settings: DiskSection, buckets: Sequence[BucketBudget] = ()) -> None:
        """loop. A new budget, and those of buckets; what is over it goes with the next pressure purge."""
        self._settings = settings
        self._budgets = {budget.bucket: budget.max_bytes for budget in buckets}

    @property
    def settings(self) -> DiskSection:
        return self._settings

    @property
    def budgets(self) -> Mapping[str, int]:
        """``max_bytes`` of the buckets that have a budget of their own."""
        return self._budgets

    @property
    def high(self) -> int:
        """Bytes at which a pressure purge starts."""
        return int(self._settings.max_bytes * self._settings.high_water)

    @property
    def low(self) -> int:
        """Bytes at which it stops."""
        return int(self._settings.max_bytes * self._settings.low_water)

    def footprint(self, bucket: str = "") -> int:
        """loop. Bytes of blobs of ``bucket`` on disk; "": of all, with the staged parts."""
        return self._used_of[bucket] if bucket else self.used

    def claimed(self, bucket: str = "") -> int:
        """loop. Used and reserved bytes of ``bucket``, "" for the whole disk."""
        return self._used_of[bucket] + self._reserved_of[bucket] if bucket else self.used + self.reserved

    def free(self) -> FreeSpace:
        """What the file system said last, corrected by what was committed and released since: it is asked about once a
        second, in which a fast writer can fill a small disk, and a purge can empty one without seeing its success."""
        found = self._free()
        if found is not self._measured:
            self._measured, self._used_then = found, self.used
        grown = self.used - self._used_then
        return replace(found, free_bytes=max(0, found.free_bytes - grown)) if grown else found

    def short(self) -> bool:
        """loop. The file system is so full that its last room is the catalogue's: no file may take it."""
        return self._kept.short and self._kept.shared

    def admit_row(self) -> None:
        """loop. Before a change that makes a new row, and before alt hears of it. Raises OutOfSpace when what is left
        of the room of the catalogue is for deletes."""
        if self._kept.short and self._kept.low:
            raise OutOfSpace("the disk is full, and what was kept back for the catalogue is used up", hint=FULL)

    async def reserve_write(self, size: int, bucket: str = "") -> Reservation:
        """For a write: up to the hard limit. What can be purged is purged first. Raises OutOfSpace, DiskUnavailable."""
        self._refuse_down()
        self._refuse_short(size)
        share = self._settings.hard_limit
        self._refuse_giants(size, bucket, share)
        try:
            return self._reserve(size, bucket, share)
        except OutOfSpace:
            await self.relieve(footprint(size), bucket)
            self._refuse_down()  # it may have gone down meanwhile
            return self._reserve(size, bucket, share)

    async def reserve_arriving(self, size: int, bucket: str = "") -> Arriving:
        """For a write whose bytes come from a client, as ``reserve_write``. There has to be room for all of it beside
        what is on disk, but no more than its beginning is claimed; ``Arriving.cover`` claims the rest. Raises
        OutOfSpace, DiskUnavailable."""
        self._refuse_giants(size, bucket, self._settings.hard_limit)
        if not self._holds(size, bucket):
            await self.relieve(footprint(size), bucket)
            if not self._holds(size, bucket):
                raise OutOfSpace(f"{footprint(size)} bytes do not fit beside what is on disk")
        found = Arriving(self, size, bucket)
        found.join(await self.reserve_write(min(size, FIRST), bucket))
        return found

    def _holds(self, size: int, bucket: str) -> bool:
        """Beside what is on disk already, whatever else is on its way."""
        limits = [(self._settings.max_bytes, ""), (self._budgets.get(bucket, math.inf), bucket)]
        share, amount = self._settings.hard_limit, footprint(size)
        return all(self.footprint(of) + amount <= most * share for most, of in limits)

    def reserve_fill(self, size: int, bucket: str = "") -> Reservation:
        """For a fill: never beyond max_bytes, a copy is not worth a refused write. Raises OutOfSpace,
        DiskUnavailable."""
        self._refuse_in_doubt()
        self._refuse_short(size)
        self._refuse_giants(size, bucket, 1.0)
        return self._reserve(size, bucket, 1.0)

    def reserve_spare(self, size: int, bucket: str = "") -> Reservation:
        """For a prefetch: only below high water. Nothing that is on disk goes for what nobody has read yet, so no purge
        is asked for. Raises OutOfSpace, DiskUnavailable."""
        self._refuse_in_doubt()
        self._refuse_short(size)
        amount, share = footprint(size), self._settings.high_water
        for most, of in ((self._settings.max_bytes, ""), (self._budgets.get(bucket, math.inf), bucket)):
            if self.claimed(of) + amount > most * share:
                raise OutOfSpace(f"{amount} bytes do not fit below high water{f' of bucket {of}' if of else ''}")
        return self._reserve(size, bucket, 1.0)

    def add(self, actual: int, bucket: str = "") -> None:
        """A file of ``actual`` bytes is there."""
        self.used += actual
        self.peak = max(self.peak, self.used)
        if bucket:
            self._used_of[bucket] += actual

    def release(self, actual: int, bucket: str = "") -> None:
        """A file of ``actual`` bytes is gone."""
        self.add(-actual, bucket)

    def claim(self, amount: int, bucket: str = "") -> None:
        """More (or less) is promised to files that are being written."""
        self.reserved += amount
        if bucket:
            self._reserved_of[bucket] += amount

    def _refuse_down(self) -> None:
        if self.closed:
            raise DiskUnavailable("the disk is down")

    def _refuse_in_doubt(self) -> None:
        if self.strained:
            raise DiskUnavailable("the disk is in doubt")

    def _refuse_short(self, size: int) -> None:
        if self.short():
            self.on_pressure(footprint(size) + self._kept.size - self._kept.left, "")
            raise OutOfSpace("the disk is full: what room is left is the catalogue's", hint=FULL)

    def _refuse_giants(self, size: int, bucket: str, share: float) -> None:
        """What is larger than a whole budget: to purge for it would empty the disk and not make room."""
        whole = self._settings.max_bytes
        for most, of in ((whole, ""), (self._budgets.get(bucket, whole), f" for bucket {bucket}")):
            if footprint(size) > int(most * share):
                raise OutOfSpace(f"{footprint(size)} bytes never fit{of}: the whole budget is {most}")

    def _reserve(self, size: int, bucket: str, share: float) -> Reservation:
        amount = footprint(size)
        self._check(amount, "", int(self._settings.max_bytes * share))
        budget = self._budgets.get(bucket)
        if budget is not None:
            self._check(amount, bucket, int(budget * share))
        self._check_free(amount)
        self.claim(amount, bucket)
        if self.claimed() > self.high:
            self.on_pressure(0, "")
        if budget is not None and self.claimed(bucket) > int(budget * self._settings.high_water):
            self.on_pressure(0, bucket)
        return Reservation(self, amount, bucket)

    def _check(self, amount: int, bucket: str, limit: int) -> None:
        claimed = self.claimed(bucket)
        if claimed + amount > limit:
            self.on_pressure(amount, bucket)
            of = f" for bucket {bucket}" if bucket else ""
            raise OutOfSpace(f"{amount} bytes do not fit{of}: {claimed} of {limit} are used or reserved")

    def _check_free(self, claim: int) -> None:
        free = self.free()
        keep = self._settings.min_free
        inodes = keep.of(free.total_inodes) if keep.percent is not None else 0
        if free.free_bytes - self.reserved - claim < keep.of(free.total_bytes) or (
            free.total_inodes and free.free_inodes <= inodes
        ):
            self.on_pressure(claim, "")
            raise OutOfSpace(
                f"the file system has {free.free_bytes} bytes and {free.free_inodes} inodes free: "
                f"min_free forbids {claim} bytes more",
                hint="free space on the file system of the data directory, or lower [disk] min_free",
            )


async def _nothing(_wanted: int, _bucket: str) -> None:
    """Nobody purges."""
