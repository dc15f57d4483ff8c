"""How late the event loop is: what every request waits for when something holds it."""

from __future__ import annotations

from tierproxy.ports import Clock
from tierproxy.stats import Latency

PERIOD = 0.25  #: seconds between two looks
WINDOW = 60.0  #: seconds; ``longest`` is of this one and the one before


class LoopLag:
    """A task that sleeps and looks how much longer than it wanted it slept. ``latency``: all it found."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window = clock.monotonic()
        self._now = 0.0
        self._before = 0.0
        self.latency = Latency()

    def __repr__(self) -> str:
        return f"<LoopLag {self.longest:.3f} s at most>"

    @property
    def longest(self) -> float:
        """Seconds; the longest of the last minute or two."""
        return max(self._now, self._before)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            begin = self._clock.monotonic()
            await self._clock.sleep(PERIOD)
            self.add(self._clock.monotonic() - begin - PERIOD)

    def add(self, late: float) -> None:
        """loop. A sleep ended ``late`` seconds after it should have."""
        late = max(0.0, late)
        self.latency.add(late)
        now = self._clock.monotonic()
        if now - self._window >= WINDOW:
            self._before = self._now if now - self._window < 2 * WINDOW else 0.0
            self._now, self._window = 0.0, now
        self._now = max(self._now, late)
