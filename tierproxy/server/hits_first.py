"""Hits keep most of the event loop while misses storm (docs/decisions/0034-overload.md).

A miss costs the loop many times what a hit costs, so as many misses as hits at once would leave hits next to nothing.
The two are weighed four times a second, by the processor time of the loop's thread: reads of alt begin at a lower rate
while they take more than what is theirs, and at a higher one again when they do not.
"""

from __future__ import annotations

from collections.abc import Callable

REST = 0.12
"""Of the loop's time for all but hits, while there are as many as it can answer. Far less than half: misses also have
the processors' time, and what a loop loses to that is not seen here."""
DEMAND = 200.0
"""Hits in a second of the loop's processor time that are worth it. Of the clock it would be none where others have the
processors as well, and misses keep hits below it."""
LEAST = 20.0
"""Reads that begin in any event in a second of the loop's processor time: where others have the processors as well, so
many in a second of the clock would be all that the loop can do."""
FEWEST, MOST = 2.0, 5000.0  #: of the clock, in any event; beyond, nobody is slowed down
SLOWER, FASTER = 0.25, 1.3  #: from one look to the next, at most
HOLD = 3.0  #: seconds until it is tried again where hits did not take the room that was made for them
USUAL = 30e-6  #: seconds that a hit takes, until it was seen


class HitsFirst:
    """``allow``: sets how many reads of alt may begin in a second, None for all. ``begun``: how many have."""

    def __init__(self, allow: Callable[[float | None], None], begun: Callable[[], int]) -> None:
        self._allow = allow
        self._begun_so_far = begun
        self._rate: float | None = None
        self._cost = USUAL
        self._hits = self._begun = 0
        self._spent = self._late = self._now = self._hold = 0.0
        self._least = LEAST

    def __repr__(self) -> str:
        return f"<HitsFirst {'free' if self._rate is None else f'{self._rate:.0f} a second'}>"

    def look(self, hits: int, spent: float, late: float, now: float) -> None:
        """``hits`` since the start; ``spent``: processor time of the loop's thread; ``late``: for which it waited for a
        processor; ``now``: monotonic seconds."""
        begun = self._begun_so_far()
        more, misses = hits - self._hits, begun - self._begun
        used, waited, passed = spent - self._spent, late - self._late, now - self._now
        first = not self._now
        self._hits, self._begun, self._spent, self._late, self._now = hits, begun, spent, late, now
        if first or used <= 0:
            return
        self._least = max(FEWEST, LEAST * min(1.0, used / passed))
        if misses * 100 < more:
            self._cost += (used / more - self._cost) * 0.3
        busy = 2 * used >= passed - used - waited  # it runs for a third of the time in which it could
        if not busy and self._rate is not None:
            self._hold = now + HOLD
        if not busy or more < DEMAND * used:
            self._set(None)
        else:
            self._weigh(max(0.01, 1.0 - more * self._cost / used), misses / passed)

    def _weigh(self, rest: float, misses: float) -> None:
        """``rest``: what is not the hits' of the loop's time. ``misses``: a second."""
        change = min(FASTER, max(SLOWER, REST / rest))
        if self._rate is None:
            if change < 1 and misses and self._now >= self._hold:
                self._set(max(self._least, change * misses))
            return
        rate = max(self._least, change * (min(self._rate, misses) if change < 1 else self._rate))
        self._set(rate if rate < MOST else None)

    def _set(self, rate: float | None) -> None:
        if rate != self._rate:
            self._rate = rate
            self._allow(rate)
