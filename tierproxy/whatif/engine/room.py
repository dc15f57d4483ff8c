"""The disk budget in a replay: what ``tierproxy.store.space.Space`` says of the same blobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tierproxy.config.sections import DiskSection
from tierproxy.model import FreeSpace
from tierproxy.rules.model import BucketBudget
from tierproxy.store.space import footprint
from tierproxy.traffic import DAY

ENDLESS = FreeSpace(0, 1 << 62, 0, 0)
"""The file system is not simulated: others fill it too, and the budget is what is asked about."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A claim that does not fit. ``bucket``: whose budget ("": the disk's) it breaks; ``wanted``: bytes to purge for;
    0: no purge would make room for it, it is larger than the whole budget."""

    wanted: int
    bucket: str = ""


class Room:
    """``used`` bytes, over time. A ``tierproxy.purge.plan.Pressure``. ``pressed``: places ("" the disk, else a bucket)
    whose high water was passed or that refused a claim, with the bytes refused, since somebody looked."""

    reserved = 0

    def __init__(self, settings: DiskSection, budgets: tuple[BucketBudget, ...], begin: float) -> None:
        self.settings = settings
        self.budgets: Mapping[str, int] = {one.bucket: one.max_bytes for one in budgets}
        self.used = 0
        self.peak = 0
        self.pressed: dict[str, int] = {}
        self.days: list[tuple[int, float, int]] = []  #: UTC day, mean and most bytes
        self._of = Counter[str]()
        self._high = int(settings.max_bytes * settings.high_water)
        self._since = self._begin = begin
        self._area = 0.0

    def claimed(self, bucket: str = "") -> int:
        """Bytes on disk, of ``bucket`` or all."""
        return self._of[bucket] if bucket else self.used

    def free(self) -> FreeSpace:
        """More than anybody wants."""
        return ENDLESS

    def refusal(self, size: int, bucket: str, share: float) -> Refusal | None:
        """Why a body of ``size`` bytes does not fit below ``share`` of the budgets; None: it does. Notes pressure."""
        amount, whole = footprint(size), self.settings.max_bytes
        budget = self.budgets.get(bucket)
        if amount > int(whole * share) or (budget is not None and amount > int(budget * share)):
            return Refusal(0)
        for place, most in (("", whole), (bucket, budget)):
            if most is not None and self.claimed(place) + amount > int(most * share):
                self.pressed[place] = max(self.pressed.get(place, 0), amount)
                return Refusal(amount, place)
        if self.used + amount > self._high:
            self.pressed.setdefault("", 0)
        if budget is not None and self._of[bucket] + amount > int(budget * self.settings.high_water):
            self.pressed.setdefault(bucket, 0)
        return None

    def spare(self, size: int, bucket: str) -> bool:
        """A prefetch of ``size`` bytes fits below high water. It asks for no purge."""
        amount, share = footprint(size), self.settings.high_water
        budget = self.budgets.get(bucket)
        fits = self.used + amount <= self.settings.max_bytes * share
        return fits and (budget is None or self._of[bucket] + amount <= budget * share)

    def change(self, at: float, amount: int, bucket: str) -> None:
        """``amount`` bytes more, or less, from ``at`` on."""
        self._area += self.used * (at - self._since)
        self._since = at
        self.used += amount
        if self.used > self.peak:  # noqa: PLR1730 -- a call more is felt
            self.peak = self.used
        if self.budgets:
            self._of[bucket] += amount

    def end_day(self, at: float) -> None:
        """A day, or the replay, ends at ``at``."""
        self.change(at, 0, "")
        seconds = at - self._begin
        if seconds > 0:
            self.days.append((int(self._begin // DAY), self._area / seconds, self.peak))
        self._begin, self._area, self.peak = at, 0.0, self.used
