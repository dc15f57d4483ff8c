"""First in, first out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from tierproxy.whatif.policies.policy import Lost, Policy
from tierproxy.whatif.requests import DELETE, READ


class Fifo(Policy):
    """Reads change nothing; a write is a new arrival. ``moves``: a read is one, too."""

    name = "fifo"
    moves = False

    def __init__(self, budget: int, objects: int) -> None:
        super().__init__(budget, objects)
        self._held: OrderedDict[int, int] = OrderedDict()  # sizes; the first to go first

    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        held, budget, used = self._held, self.budget, self.used
        oldest = held.popitem
        touch = held.move_to_end if self.moves else None  # asked for once: the loop is what is measured
        misses = missed = evictions = 0
        for kind, number, size in zip(kinds, numbers, sizes, strict=True):
            if number in held:
                if kind == READ:
                    if touch is not None:
                        touch(number)
                    continue
                used -= held.pop(number)
            elif kind == READ:
                misses += 1
                missed += size
            if kind == DELETE or size > budget:
                continue
            held[number] = size
            used += size
            while used > budget:
                used -= oldest(False)[1]
                evictions += 1
        self.used = used
        return Lost(misses, missed, evictions)
