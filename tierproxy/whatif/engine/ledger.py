"""What a replay counts."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from tierproxy.purges import REGRET_WITHIN, RuleRecord


@dataclass(slots=True)
class Booked:
    """What one reason removed, and what was wanted back."""

    objects: int = 0
    bytes: int = 0
    regrets: int = 0
    machine_regrets: int = 0
    seconds: float = 0.0
    soon: list[int] = field(default_factory=lambda: [0] * (len(REGRET_WITHIN) + 1))


class Gauge:
    """A number of bytes over time."""

    def __init__(self, begin: float, value: int = 0) -> None:
        self.value = value
        self._begin = self._since = begin
        self._area = 0.0

    def change(self, at: float, amount: int) -> None:
        """So much more, or less, from ``at`` on."""
        self._area += self.value * (at - self._since)
        self._since = at
        self.value += amount

    def mean(self, until: float) -> float:
        """Since ``begin``; what it is now when no time has passed."""
        seconds = until - self._begin
        return (self._area + self.value * (until - self._since)) / seconds if seconds > 0 else float(self.value)


@dataclass(slots=True)
class Ledger:
    """Counts since it was made. ``late_*``: gets of later ranges of a read. Bytes: ``hit_bytes`` and ``miss_bytes``
    were delivered by gets, ``fetched`` came from alt, ``sent`` went there. ``missed``: what each get that missed
    delivered, for the delays."""

    person_hits: int = 0
    person_misses: int = 0
    machine_hits: int = 0
    machine_misses: int = 0
    late_hits: int = 0
    late_misses: int = 0
    hit_bytes: int = 0
    miss_bytes: int = 0
    fills: int = 0
    passes: int = 0
    no_room: int = 0  #: misses that would have been filled, had there been room
    writes: int = 0
    around: int = 0  #: writes that went to alt alone
    refused: int = 0  #: writes that found no room
    deletes: int = 0
    puts: int = 0
    fetched: int = 0
    sent: int = 0
    pressure_runs: int = 0
    short: int = 0  #: of them ended with the need not met
    missed: array[int] = field(default_factory=lambda: array("q"))
    reasons: dict[str, Booked] = field(default_factory=dict)

    def booked(self, by: str) -> Booked:
        """The account of the reason ``by``."""
        return self.reasons.get(by) or self.reasons.setdefault(by, Booked())

    def purged(self, by: str, amount: int) -> None:
        """A blob of ``amount`` bytes went."""
        account = self.booked(by)
        account.objects += 1
        account.bytes += amount

    def regretted(self, by: str, seconds: float, *, machine: bool) -> None:
        """What ``by`` purged ``seconds`` ago was read."""
        account = self.booked(by)
        if machine:
            account.machine_regrets += 1
            return
        account.regrets += 1
        account.seconds += seconds
        account.soon[bisect_left(REGRET_WITHIN, seconds)] += 1

    def records(self) -> Iterator[RuleRecord]:
        """By name of the reason."""
        for by, one in sorted(self.reasons.items()):
            yield RuleRecord(by, one.objects, one.bytes, one.regrets, one.machine_regrets, one.seconds, tuple(one.soon))
