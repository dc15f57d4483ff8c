"""How many connections there may be, and who makes room when there are too many: docs/decisions/0034-overload.md.

Whoever has been idle for longest gives way to the newcomer, those of peers with more than their share first; a peer
with more than its share displaces nobody who has less. Only where nobody may be displaced the newcomer is refused.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Collection, Iterator
from typing import Protocol

CANDIDATES = 64  #: found at once: a look at everybody must not be the price of every newcomer
YOUNG = 1.0
"""Seconds that a connection is left alone after it was made and after each answer: its next request may be on the way,
and would never be answered."""
BLIND = 0.1  #: seconds without another look when nobody was idle
BRIEFLY_BLIND = 0.02  #: the same for newcomers with less than their share


class Occupant(Protocol):
    """A connection, or one that is shaking hands."""

    @property
    def peer_name(self) -> str:
        """Its address; "unix" for those of a unix socket."""
        ...

    @property
    def resting(self) -> float | None:
        """Since when nothing has been asked of it, by the loop's clock; None: a request is being answered."""
        ...

    def give_way(self) -> None:
        """End at once."""
        ...


class Capacity:
    """``everybody``: the open connections, kept by others. ``most``: how many there may be."""

    def __init__(self, everybody: Collection[Occupant], most: int) -> None:
        self._everybody = everybody
        self.most = most
        self.arriving: set[Occupant] = set()  #: accepted, and not among everybody yet
        self._leaving: set[Occupant] = set()  # told to go, and not gone yet
        self._candidates: deque[tuple[float, Occupant]] = deque()
        self._counts: Counter[str] = Counter()
        self._blind_until = {False: 0.0, True: 0.0}  # for peers with their share, and for those with less
        self.refused = 0  #: newcomers for whom there was no room
        self.displaced = 0  #: idle connections that gave way
        self.failures = 0  #: times that a connection could not be accepted

    def __repr__(self) -> str:
        return f"<Capacity, {self.occupied} of {self.most}>"

    @property
    def occupied(self) -> int:
        """Connections, without those that are about to be gone."""
        gone = [one for one in self._leaving if one not in self._everybody and one not in self.arriving]
        self._leaving.difference_update(gone)
        return len(self._everybody) + len(self.arriving) - len(self._leaving)

    def told(self) -> dict[str, int]:
        """What has happened since the start, for metrics."""
        return {
            "connection refused": self.refused, "idle connection closed": self.displaced,
            "accept failed": self.failures,
        }  # fmt: skip

    def _all(self) -> Iterator[Occupant]:
        yield from self._everybody
        yield from self.arriving

    def admits(self, peer: str, now: float) -> bool:
        """Whether one more, of ``peer``, may be; somebody may have been told to go for it."""
        if self.occupied < self.most or self.displace(peer, now):
            return True
        self.refused += 1
        return False

    def displace(self, peer: str, now: float) -> bool:
        """The next who may be displaced for ``peer`` gives way. False: there is nobody."""
        young = now - YOUNG
        if not self._candidates and now >= self._blind_until[self._modest(peer)]:
            self._look(peer, young)
            if not self._candidates:
                modest = self._modest(peer)
                self._blind_until[modest] = now + (BRIEFLY_BLIND if modest else BLIND)
        share = self._share(peer)
        while self._candidates:
            since, found = self._candidates[0]
            if found.resting != since or found in self._leaving:
                self._candidates.popleft()
                continue
            if self._counts[peer] >= share and not self._yields(found, since <= young, peer, share):
                return False
            self._candidates.popleft()
            self._tell(found)
            return True
        return False

    def _yields(self, found: Occupant, old: bool, peer: str, share: int) -> bool:
        """To one who has his share: what is his own, or of one with more than his; and not at once."""
        return old and (found.peer_name == peer or self._counts[found.peer_name] > share)

    def _tell(self, found: Occupant) -> None:
        self._counts[found.peer_name] -= 1
        self._leaving.add(found)
        self.displaced += 1
        found.give_way()

    def _share(self, peer: str) -> int:
        return max(1, self.most // len(self._counts.keys() | {peer}))

    def _modest(self, peer: str) -> bool:
        """It had less than its share at the last look."""
        return self._counts[peer] < self._share(peer)

    def _look(self, peer: str, young: float) -> None:
        """Who has been idle for longest, peers with more than their share first. Who has not been idle for ``YOUNG`` is
        left alone, but where he has more than his share and ``peer`` has less."""
        counts = self._counts = Counter(one.peer_name for one in self._all())
        share, modest = self._share(peer), self._modest(peer)

        def place(found: tuple[float, Occupant]) -> tuple[bool, float]:
            return counts[found[1].peer_name] <= share, found[0]

        may_go = (
            (since, one)
            for since, one in self._resting()
            if since <= young or (modest and counts[one.peer_name] > share)
        )
        self._candidates.extend(heapq.nsmallest(CANDIDATES, may_go, key=place))

    def _resting(self) -> Iterator[tuple[float, Occupant]]:
        for one in self._all():
            since = one.resting
            if since is not None and one not in self._leaving:
                yield since, one
