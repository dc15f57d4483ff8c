"""SIEVE: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024.

As ``tierproxy.purge.orders.sieve``: the hand goes from old to new; what was read since it came by last stays where it
is and loses its visit, the first that was not goes. New objects stand behind the newest.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from tierproxy.whatif.policies.policy import Lost, Policy
from tierproxy.whatif.requests import DELETE, READ

ABSENT, HELD, VISITED = 0, 1, 2


class Sieve(Policy):
    """The queue is a ring of links through arrays by object number. One more number, ``objects``, is its end: the
    oldest is next to it on one side, the newest on the other; a hand that stands there starts again at the oldest."""

    name = "sieve"

    def __init__(self, budget: int, objects: int) -> None:
        super().__init__(budget, objects)
        self._end = objects
        self._hand = objects
        self._state = bytearray(objects + 1)
        self._size = array("q", bytes(8 * objects))
        self._newer = array("q", bytes(8 * (objects + 1)))
        self._older = array("q", bytes(8 * (objects + 1)))
        self._newer[objects] = self._older[objects] = objects

    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        state, held, newer, older, end = self._state, self._size, self._newer, self._older, self._end
        budget, used, hand = self.budget, self.used, self._hand
        misses = missed = evictions = 0
        for kind, number, size in zip(kinds, numbers, sizes, strict=True):
            if state[number]:
                if kind == READ:
                    state[number] = VISITED
                    continue
                hand = self._unlink(number, hand)
                used -= held[number]
            elif kind == READ:
                misses += 1
                missed += size
            if kind == DELETE or size > budget:
                continue
            used += size
            while used > budget:
                while state[hand] != HELD:  # the end has no state: the hand goes on to the oldest
                    if state[hand]:
                        state[hand] = HELD
                    hand = newer[hand]
                state[hand] = ABSENT
                used -= held[hand]
                before, after = older[hand], newer[hand]
                newer[before], older[after] = after, before
                hand = after
                evictions += 1
            newest = older[end]
            newer[newest], older[number], newer[number], older[end] = number, newest, end, number
            held[number] = size
            state[number] = HELD
        self.used, self._hand = used, hand
        return Lost(misses, missed, evictions)

    def _unlink(self, number: int, hand: int) -> int:
        """Take ``number`` out of the ring. Where the hand stands then."""
        before, after = self._older[number], self._newer[number]
        self._newer[before], self._older[after] = after, before
        self._state[number] = ABSENT
        return after if hand == number else hand
