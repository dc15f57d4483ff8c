"""S3-FIFO: Yang et al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023.

As ``tierproxy.purge.orders.s3_fifo``: what was read more than once moves from the small queue to the main one, what was
read since goes to the main queue's end with a visit less, and what comes back while its ghost is remembered goes to the
main queue at once. Queues are measured in bytes.

Of what the paper leaves open: until something goes for the first time, what the small queue has no room for goes to the
main one, so that an empty disk is filled; and what is as large as the whole small queue stays outside.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tierproxy.whatif.policies.policy import Lost, Policy
from tierproxy.whatif.requests import DELETE, READ

SMALL_SHARE = 0.10  #: of the budget, for the small queue
GHOST_SHARE = 0.90  #: of the budget, in bytes of objects that went from the small queue and are remembered
VISITS = 3  #: reads that are remembered of an object: two bits


class S3Fifo(Policy):
    """Reads since an object came in, or moved, are in ``_visits``, at most ``VISITS``."""

    name = "s3-fifo"

    def __init__(self, budget: int, objects: int) -> None:
        super().__init__(budget, objects)
        self._small: OrderedDict[int, int] = OrderedDict()  # sizes; the oldest first
        self._main: OrderedDict[int, int] = OrderedDict()
        self._ghosts: OrderedDict[int, int] = OrderedDict()
        self._visits = bytearray(objects)
        self._small_used = 0
        self._main_used = 0
        self._ghosts_used = 0
        self._small_budget = int(budget * SMALL_SHARE)
        self._main_budget = budget - self._small_budget
        self._ghosts_budget = int(budget * GHOST_SHARE)
        self._filled = False  # something has gone already

    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        small, main, visits, budget = self._small, self._main, self._visits, self.budget
        misses = missed = evictions = 0
        for kind, number, size in zip(kinds, numbers, sizes, strict=True):
            if number in small or number in main:
                if kind == READ:
                    if visits[number] < VISITS:
                        visits[number] += 1
                    continue
                self._remove(number)
            elif kind == READ:
                misses += 1
                missed += size
            if kind == DELETE or size >= self._small_budget:
                continue
            to_main = self._forget(number)
            while self._small_used + self._main_used + size > budget:
                self._evict()
                evictions += 1
            to_main = to_main or (not self._filled and self._small_used >= self._small_budget)
            self._insert(number, size, main=to_main)
        self.used = self._small_used + self._main_used
        return Lost(misses, missed, evictions)

    def _insert(self, number: int, size: int, *, main: bool, visits: int = 0) -> None:
        self._visits[number] = visits
        if main:
            self._main[number] = size
            self._main_used += size
        else:
            self._small[number] = size
            self._small_used += size

    def _remove(self, number: int) -> None:
        if number in self._small:
            self._small_used -= self._small.pop(number)
        else:
            self._main_used -= self._main.pop(number)

    def _evict(self) -> None:
        self._filled = True
        if self._small and (self._main_used <= self._main_budget or not self._main):
            self._evict_from_small()
        else:
            self._evict_from_main()

    def _evict_from_small(self) -> None:
        """The oldest that was not read more than once; those that were move on their way to it."""
        while self._small:
            number, size = self._small.popitem(last=False)
            self._small_used -= size
            if self._visits[number] <= 1:
                self._remember(number, size)
                return
            self._insert(number, size, main=True)
        self._evict_from_main()

    def _evict_from_main(self) -> None:
        while True:
            number, size = self._main.popitem(last=False)
            if not self._visits[number]:
                self._main_used -= size
                return
            self._main[number] = size
            self._visits[number] -= 1

    def _remember(self, number: int, size: int) -> None:
        self._ghosts[number] = size
        self._ghosts_used += size
        while self._ghosts_used > self._ghosts_budget:
            self._ghosts_used -= self._ghosts.popitem(last=False)[1]

    def _forget(self, number: int) -> bool:
        """Whether it was remembered."""
        if number not in self._ghosts:
            return False
        self._ghosts_used -= self._ghosts.pop(number)
        return True
