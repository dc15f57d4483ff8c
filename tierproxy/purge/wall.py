"""Whether the clock on the wall can be believed. One that is set forward makes everything old at once: a rule run would
remove all that its rules tell by age, and nothing would count as recently read, so nobody would be asked."""

from __future__ import annotations

from tierproxy.ports import Clock
from tierproxy.rules.show import duration
from tierproxy.traffic import DAY

LEAP = float(DAY)  #: seconds: rules tell mail by days; smaller steps (NTP, a machine asleep) are no reason to ask


class Wall:
    """The wall's clock beside the monotonic one, since it was made or last believed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.believe()

    def believe(self) -> None:
        """What the clock shows now is right."""
        self._offset = self._clock.now() - self._clock.monotonic()

    def leap(self) -> str:
        """What is wrong with the clock, for people; "": nothing."""
        seconds = self._clock.now() - self._clock.monotonic() - self._offset
        return f"the machine's clock was set forward by {duration(seconds)}" if seconds > LEAP else ""
