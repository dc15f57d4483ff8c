"""What a pressure run has to look at, when the last one has taken all it may.

A run that is short leaves only blobs that may not go yet. Each of them is looked at again when that may have changed:
at a time of its own, when it comes to disk, or when a read may turn its rule. Without this every write to a disk full
of what stays would look at all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from heapq import heapify, heappop, heappush

from tierproxy.whatif.engine.disk import Disk


class Waiting:
    """The blobs of one place. As long as no run was short, all are looked at."""

    def __init__(self, disk: Disk, inside: Callable[[int], bool]) -> None:
        """``inside``: whether an object is in the place."""
        self._disk = disk
        self._inside = inside
        self._free: dict[int, None] | None = None  # those that may go, as far as is known; None: nothing is known
        self._due: list[tuple[float, int]] = []

    def numbers(self, now: float) -> Collection[int]:
        """Those on disk that a run has to look at."""
        if self._free is None:
            return self._all()
        blob, inside, due = self._disk.columns.blob, self._inside, self._due
        while due and due[0][0] <= now:
            self._free[heappop(due)[1]] = None
        for number in [one for one in self._free if not blob[one] or not inside(one)]:
            del self._free[number]
        return list(self._free)

    def all_stay(self, until: Callable[[int], float], now: float) -> None:
        """Nothing of ``numbers`` may go now. ``until``: when that may change for one."""
        numbers: Iterable[int] = self.numbers(now)
        looks = [(until(number), number) for number in numbers]
        if self._free is None:
            self._free = {}
            self._disk.watched.append(self._free)
            self._due = looks
            heapify(looks)
            return
        self._free.clear()
        for look in looks:
            heappush(self._due, look)

    def _all(self) -> Collection[int]:
        there = self._disk.there
        return [number for number in there if self._inside(number)]
