"""How fast rule and operator runs go."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.config.sections import PurgeSection
from tierproxy.ports import Clock
from tierproxy.purges import Purged

SLICE = 1.0  #: seconds: so long at most until somebody who wants a run to end is heard


class Pace:
    """Waits after each page until the run is no faster than the limits; work counts as waiting."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()

    def page(self, settings: PurgeSection, most: int) -> int:
        """How many objects to look at next: not more than a second's worth, so that a slow run is even."""
        rate = settings.max_objects_per_second
        return min(most, rate) if rate else most

    async def wait(self, settings: Callable[[], PurgeSection], purged: Purged, interrupted: Callable[[], bool]) -> None:
        """After a page that removed ``purged``. ``settings`` and ``interrupted`` are asked every ``SLICE``: a limit
        that was much too low must not hold a run up for years."""
        while (left := self._left(settings(), purged)) > 0 and not interrupted():
            await self._clock.sleep(min(left, SLICE))
        self._since = self._clock.monotonic()

    def _left(self, settings: PurgeSection, purged: Purged) -> float:
        least = max(
            _seconds(purged.objects, settings.max_objects_per_second),
            _seconds(purged.bytes, settings.max_bytes_per_second),
        )
        return self._since + least - self._clock.monotonic()


def _seconds(amount: int, rate: int) -> float:
    return amount / rate if rate else 0.0
