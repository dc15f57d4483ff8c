"""W-TinyLFU: Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM ToS 2017.

New objects stand in a small LRU window. What leaves it competes with what the main cache, a segmented LRU, would give
up for it: the more often requested of the two stays. Requests (reads and writes) are counted for all objects, held or
not, and all counts are halved after a sample.

The counts are exact here. The paper's sketch saves memory that a simulation does not need, and differs from exact
counts by collisions only. For objects of different size the window's object must have been requested more often than
all those together that would have to go for it ("aggregated victims": Einziger et al., "Lightweight Robust Size Aware
Cache Management", ACM ToS 2022).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tierproxy.whatif.policies.policy import Lost, Policy
from tierproxy.whatif.requests import DELETE, READ

WINDOW_SHARE = 0.01  #: of the budget
PROTECTED_SHARE = 0.80  #: of the main cache
MOST = 15  #: a count ends here: four bits
SAMPLE = 10  #: requests for each object held, after which counts are halved

_HALF = bytes(value >> 1 for value in range(256))


class WTinyLfu(Policy):
    """``window``: its share of the budget; ``protected``: share of the main cache, 0: it is a plain LRU. ``sample``:
    requests after which counts are halved, 0: ``SAMPLE`` times the objects held then. ``count_hits``: false counts
    requests that missed only, as some implementations do."""

    name = "w-tinylfu"

    def __init__(
        self, budget: int, objects: int, *, window: float = WINDOW_SHARE, protected: float = PROTECTED_SHARE,
        sample: int = 0, count_hits: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(budget, objects)
        self._window: OrderedDict[int, int] = OrderedDict()  # sizes; the least recently used first
        self._probation: OrderedDict[int, int] = OrderedDict()
        self._protected: OrderedDict[int, int] = OrderedDict()
        self._window_used = self._probation_used = self._protected_used = 0
        self._window_budget = int(budget * window)
        self._main_budget = budget - self._window_budget
        self._protected_budget = int(self._main_budget * protected)
        self._counts = bytearray(objects)
        self._sample = sample
        self._counted = 0
        self._count_hits = count_hits

    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        misses = missed = evictions = 0
        for kind, number, size in zip(kinds, numbers, sizes, strict=True):
            if kind == DELETE:
                self._remove(number)
                continue
            if self._count_hits:
                self._count(number)
            if kind == READ:
                if self._read(number):
                    continue
                misses += 1
                missed += size
            else:
                self._remove(number)
            if not self._count_hits:
                self._count(number)
            if size > self.budget:
                continue
            self._window[number] = size
            self._window_used += size
            while self._window_used > self._window_budget:
                evictions += self._leave_window()
        self.used = self._window_used + self._probation_used + self._protected_used
        return Lost(misses, missed, evictions)

    def _count(self, number: int) -> None:
        if self._counts[number] < MOST:
            self._counts[number] += 1
        self._counted += 1
        held = len(self._window) + len(self._probation) + len(self._protected)
        if self._counted >= (self._sample or SAMPLE * max(held, 1)):
            self._counts = self._counts.translate(_HALF)
            self._counted = 0

    def _read(self, number: int) -> bool:
        """Whether it is a hit. On probation it becomes protected, and the least recently used of those too many goes on
        probation again."""
        if number in self._window:
            self._window.move_to_end(number)
        elif number in self._protected:
            self._protected.move_to_end(number)
        elif number in self._probation:
            size = self._probation.pop(number)
            self._probation_used -= size
            self._protected[number] = size
            self._protected_used += size
            while self._protected_used > self._protected_budget:
                self._demote()
        else:
            return False
        return True

    def _demote(self) -> None:
        number, size = self._protected.popitem(last=False)
        self._protected_used -= size
        self._probation[number] = size
        self._probation_used += size

    def _remove(self, number: int) -> None:
        if number in self._window:
            self._window_used -= self._window.pop(number)
        elif number in self._probation:
            self._probation_used -= self._probation.pop(number)
        elif number in self._protected:
            self._protected_used -= self._protected.pop(number)

    def _leave_window(self) -> int:
        """The least recently used of the window goes to the main cache, or altogether. How many objects went."""
        number, size = self._window.popitem(last=False)
        self._window_used -= size
        victims = self._victims(size)
        if victims is None or (victims and sum(self._counts[one] for one in victims) >= self._counts[number]):
            return 1
        for victim in victims:
            self._remove(victim)
        self._probation[number] = size
        self._probation_used += size
        return len(victims)

    def _victims(self, size: int) -> list[int] | None:
        """What the main cache would give up for ``size`` bytes, None: it is smaller than that."""
        short = self._probation_used + self._protected_used + size - self._main_budget
        if size > self._main_budget:
            return None
        victims: list[int] = []
        for queue in (self._probation, self._protected):
            for number, bytes_ in queue.items():
                if short <= 0:
                    return victims
                victims.append(number)
                short -= bytes_
        return victims
