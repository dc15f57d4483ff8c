"""Greedy-Dual-Size-Frequency: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching
Policy", HP Labs 1998. As ``[pressure] order = "gdsf"``: an object is worth L + reads / size, where the inflation L is
the worth of the last one that went."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush

from tierproxy.whatif.policies.policy import Lost, Policy
from tierproxy.whatif.requests import DELETE, READ

_Line = tuple[float, int, int]
"""Worth, turn of the last read then, number."""


class Gdsf(Policy):
    """A read makes an object worth more, never less; so the heap may hold an old worth, which is put right when the
    object comes up. Among equals goes what has waited longest since it was read.

    ``_held``: worth, turn of the last read, number of reads, size. The write or read that brings an object in counts as
    one."""

    name = "gdsf"

    def __init__(self, budget: int, objects: int) -> None:
        super().__init__(budget, objects)
        self._held: dict[int, tuple[float, int, int, int]] = {}
        self._heap: list[_Line] = []
        self._inflation = 0.0
        self._turn = 0

    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        held, heap, budget = self._held, self._heap, self.budget
        misses = missed = evictions = 0
        for turn, (kind, number, size) in enumerate(zip(kinds, numbers, sizes, strict=True), self._turn):
            if number in held:
                if kind == READ:
                    _, _, reads, bytes_ = held[number]
                    held[number] = self._inflation + (reads + 1) / (bytes_ or 1), turn, reads + 1, bytes_
                    continue
                self.used -= held.pop(number)[3]
            elif kind == READ:
                misses += 1
                missed += size
            if kind == DELETE or size > budget:
                continue
            worth = self._inflation + 1 / (size or 1)
            if self.used + size > budget:
                gone = self._make_room(size, worth)
                if not gone:
                    continue
                evictions += gone
                worth = self._inflation + 1 / (size or 1)
            held[number] = worth, turn, 1, size
            heappush(heap, (worth, turn, number))
            self.used += size
        self._turn += len(kinds)
        return Lost(misses, missed, evictions)

    def _make_room(self, size: int, worth: float) -> int:
        """Evict what is worth least until ``size`` bytes fit. How many went; 0: what is to come in is itself among the
        least, so it stays outside and nothing goes."""
        gone: list[_Line] = []
        freed = 0
        while self.used - freed + size > self.budget:
            least = self._least()
            gone.append(least)
            if least[0] > worth:
                for line in gone:
                    heappush(self._heap, line)
                return 0
            freed += self._held[least[2]][3]
        for _, _, number in gone:
            del self._held[number]
        self.used -= freed
        self._inflation = gone[-1][0]
        return len(gone)

    def _least(self) -> _Line:
        """Take what is worth least out of the heap. An object that was read, or deleted and came back, has old lines:
        they are put right or dropped when they come up."""
        while True:
            line = heappop(self._heap)
            found = self._held.get(line[2])
            if found is None:
                continue
            if line[1] == found[1]:
                return line
            if line[1] < found[1]:
                heappush(self._heap, (found[0], found[1], line[2]))
