"""Is a series of samples flat? A robust slope over what comes after the warm-up, against a bound with a reason."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

WARM_UP = 1 / 3  #: of the run, in which caches, pools and the allocator come to what they stay at
MOST_POINTS = 240  #: for pairs: 28,680 slopes


@dataclass(frozen=True, slots=True)
class Bound:
    """What a series may grow by over the time measured. ``why``: for people. ``peaks``: what may grow is the most there
    was until then, the warm-up included: of what goes when it is idle and comes again when it is wanted."""

    name: str
    unit: str
    growth: float
    why: str
    peaks: bool = False


@dataclass(frozen=True, slots=True)
class Flat:
    """What was found. ``growth``: slope times the time measured."""

    bound: Bound
    first: float
    last: float
    most: float
    growth: float

    @property
    def holds(self) -> bool:
        return self.growth <= self.bound.growth

    def row(self) -> Sequence[str]:
        """Of a table with ``HEAD``."""
        bound = self.bound
        return (
            f"{bound.name} ({bound.unit})" if bound.unit else bound.name, f"{self.first:.1f}", f"{self.last:.1f}",
            f"{self.most:.1f}", f"{self.growth:+.2f}", f"{bound.growth:g}", "yes" if self.holds else "no",
        )  # fmt: skip


HEAD = ("what", "first quarter", "last quarter", "most", "growth", "may grow", "flat")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes of all pairs of points (Theil 1950, Sen 1968): outliers in up to 29 of 100 samples, as a
    fault makes them, do not move it. 0 for fewer than two points."""
    step = max(1, len(points) // MOST_POINTS)
    chosen = points[::step]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in itertools.combinations(chosen, 2) if x2 > x1]
    return statistics.median(slopes) if slopes else 0.0


def judge(bound: Bound, points: Sequence[tuple[float, float]]) -> Flat:
    """``points``: seconds since the start, and values. What came before the end of the warm-up does not count."""
    end = points[-1][0]
    if bound.peaks:
        peaks = itertools.accumulate((value for _, value in points), max)
        points = [(at, peak) for (at, _), peak in zip(points, peaks, strict=True)]
    warm = [point for point in points if point[0] >= end * WARM_UP]
    quarter = max(1, len(warm) // 4)
    values = [value for _, value in warm]
    first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
    return Flat(bound, first, last, max(values), slope(warm) * (end - warm[0][0]))
