"""Least frequently used goes first; among equals the one that has waited longest since its last read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tierproxy.whatif.policies.policy import Lost, Policy
from tierproxy.whatif.requests import DELETE, READ


class Lfu(Policy):
    """Counted is what happens while an object is held: what comes back begins at one again. A list for each count, as
    in Matani, Shah and Mitra, "An O(1) algorithm for implementing the LFU cache eviction scheme", 2010."""

    name = "lfu"

    def __init__(self, budget: int, objects: int) -> None:
        super().__init__(budget, objects)
        self._counts: dict[int, int] = {}
        self._lists: dict[int, OrderedDict[int, int]] = {}  # sizes by number, by count
        self._least = 1

    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        counts, budget = self._counts, self.budget
        misses = missed = evictions = 0
        for kind, number, size in zip(kinds, numbers, sizes, strict=True):
            if number in counts:
                if kind == READ:
                    self._count(number)
                    continue
                self._remove(number)
            elif kind == READ:
                misses += 1
                missed += size
            if kind == DELETE or size > budget:
                continue
            while self.used + size > budget:  # before it comes in: it would be the least itself
                self._evict()
                evictions += 1
            counts[number] = self._least = 1
            self._list(1)[number] = size
            self.used += size
        return Lost(misses, missed, evictions)

    def _list(self, count: int) -> OrderedDict[int, int]:
        if count not in self._lists:
            self._lists[count] = OrderedDict()
        return self._lists[count]

    def _count(self, number: int) -> None:
        count = self._counts[number]
        size = self._lists[count].pop(number)
        self._list(count + 1)[number] = size
        self._counts[number] = count + 1
        if not self._lists[count]:
            del self._lists[count]

    def _remove(self, number: int) -> None:
        count = self._counts.pop(number)
        self.used -= self._lists[count].pop(number)
        if not self._lists[count]:
            del self._lists[count]

    def _evict(self) -> None:
        while self._least not in self._lists:  # it is at most the least count that is there
            self._least += 1
        self._remove(next(iter(self._lists[self._least])))
