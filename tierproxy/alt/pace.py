"""How many reads of alt begin in a second, while something else has to come first."""

from __future__ import annotations

import asyncio
import math

from tierproxy.errors import AltBusy
from tierproxy.ports import Clock, Timer
from tierproxy.shares import GUEST, Guest, Places

TICK = 0.05  #: seconds for which so many may begin
PATIENCE = 10.0  #: seconds that one waits to begin


class Pace:
    """Everybody begins at once until ``allow`` says otherwise; then those whose clients have begun fewest are next
    (``tierproxy.shares``). Confined to the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places = Places(1)
        self._begun: list[Guest] = []  # since the last tick
        self._timer: Timer | None = None
        self._rate = 0.0
        self._credit = 0.0  # what is left of earlier ticks: less than one
        self.begun = 0  #: since the start

    def __repr__(self) -> str:
        return f"<Pace, {self._places.waiting} wait>" if self._timer else "<Pace, free>"

    def allow(self, rate: float | None) -> None:
        """``rate`` begin in a second; None: as many as come."""
        if rate is None:
            self._end()
            return
        self._rate = rate
        if self._timer is None:
            self._credit = max(0.0, 1.0 - rate * TICK)  # one at least, now
            self._tick()

    async def turn(self) -> None:
        """Returns when one may begin. Raises AltBusy."""
        if self._timer is not None:
            await self._wait()
        self.begun += 1

    async def _wait(self) -> None:
        guest = GUEST.get()
        place = self._places.queue(guest)
        try:
            if not place.done():
                await asyncio.wait({place}, timeout=PATIENCE)
            if not place.done():
                raise AltBusy("reads of alt are slowed down while others are served from near tiers")
        except BaseException:
            self._places.withdraw(guest, place)
            raise
        self._begun.append(guest)

    def _tick(self) -> None:
        self._timer = self._clock.call_later(TICK, self._tick)
        credit = self._credit + self._rate * TICK
        whole = math.floor(credit + 1e-9)
        self._credit = credit - whole
        self._places.resize(whole)
        self._give_back()

    def _give_back(self) -> None:
        begun, self._begun = self._begun, []
        for guest in begun:
            self._places.leave(guest)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._places.resize(2**30)  # who waits need not any more
        self._give_back()
