"""The disk budget: reserve, then commit or release, so that the limit holds while bytes are still arriving."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from tierproxy.config.sections import DiskSection
from tierproxy.errors import OutOfSpace
from tierproxy.model import FreeSpace

BLOCK = 4096


def footprint(size: int) -> int:
    """Upper bound of what a blob of ``size`` body bytes occupies: body, trailer (with 8 bytes per 256 KiB),
    rounding."""
    trailer = 8 * 1024 + size // (256 * 1024) * 8
    return -(-(size + trailer) // BLOCK) * BLOCK


class Reservation:
    """A claim on disk space. ``commit`` turns it into used bytes; leaving the ``with`` block releases what is left."""

    def __init__(self, space: Space, claimed: int) -> None:
        self._space = space
        self._left = claimed

    def __bool__(self) -> bool:
        """Something is still claimed."""
        return self._left > 0

    def commit(self, actual: int) -> None:
        """The file is there and occupies ``actual`` bytes."""
        self._space.used += actual
        self.release()

    def release(self) -> None:
        self._space.reserved -= self._left
        self._left = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Space:
    """Bytes of blobs and parts on disk (``used``) and about to be (``reserved``), against the budget.

    Invariant, checked after every test: used = sum of the catalogue's blob_bytes + part bytes; reserved = 0 when idle.
    """

    def __init__(self, settings: DiskSection, used: int, free: Callable[[], FreeSpace]) -> None:
        self._settings = settings
        self._free = free
        self._measured: FreeSpace | None = None
        self._used_then = used
        self.used = used
        self.reserved = 0
        self.on_pressure: Callable[[int], None] = lambda _wanted: None
        self.relieve: Callable[[int], Awaitable[object]] = _nothing

    def __repr__(self) -> str:
        return f"<Space {self.used} used, {self.reserved} reserved of {self._settings.max_bytes}>"

    def reload(self, settings: DiskSection) -> None:
        self._settings = settings

    @property
    def settings(self) -> DiskSection:
        return self._settings

    @property
    def high(self) -> int:
        """Bytes at which a pressure purge starts."""
        return int(self._settings.max_bytes * self._settings.high_water)

    @property
    def low(self) -> int:
        """Bytes at which it stops."""
        return int(self._settings.max_bytes * self._settings.low_water)

    def free(self) -> FreeSpace:
        """What the file system said last, corrected by what was committed and released since: it is asked about once a
        second, in which a fast writer can fill a small disk, and a purge can empty one without seeing its success."""
        found = self._free()
        if found is not self._measured:
            self._measured, self._used_then = found, self.used
        return replace(found, free_bytes=max(0, found.free_bytes - (self.used - self._used_then)))

    async def reserve_write(self, size: int) -> Reservation:
        """For a write: up to the hard limit. What can be purged is purged first. Raises OutOfSpace."""
        limit = int(self._settings.max_bytes * self._settings.hard_limit)
        try:
            return self._reserve(size, limit)
        except OutOfSpace:
            await self.relieve(footprint(size))
            return self._reserve(size, limit)

    def reserve_fill(self, size: int) -> Reservation:
        """For a fill: never beyond max_bytes, a copy is not worth a refused write. Raises OutOfSpace."""
        return self._reserve(size, self._settings.max_bytes)

    def release(self, actual: int) -> None:
        """A file of ``actual`` bytes is gone."""
        self.used -= actual

    def _reserve(self, size: int, limit: int) -> Reservation:
        claim = footprint(size)
        if self.used + self.reserved + claim > limit:
            self.on_pressure(claim)
            raise OutOfSpace(f"{claim} bytes do not fit: {self.used} used and {self.reserved} reserved of {limit}")
        self._check_free(claim)
        self.reserved += claim
        if self.used + self.reserved > self.high:
            self.on_pressure(0)
        return Reservation(self, claim)

    def _check_free(self, claim: int) -> None:
        free = self.free()
        keep = self._settings.min_free
        inodes = keep.of(free.total_inodes) if keep.percent is not None else 0
        if free.free_bytes - self.reserved - claim < keep.of(free.total_bytes) or (
            free.total_inodes and free.free_inodes <= inodes
        ):
            self.on_pressure(claim)
            raise OutOfSpace(
                f"the file system has {free.free_bytes} bytes and {free.free_inodes} inodes free: "
                f"min_free forbids {claim} bytes more",
                hint="free space on the file system of the data directory, or lower [disk] min_free",
            )


async def _nothing(_wanted: int) -> None:
    """Nobody purges."""
