"""Is one rule set really better than another, on days that nobody has looked at?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tierproxy.purge.plan import merged
from tierproxy.rules.model import RuleSet
from tierproxy.trace import LATER, MACHINE, Trace
from tierproxy.traffic import DAY
from tierproxy.whatif.engine.replay import Replay
from tierproxy.whatif.live import Setup
from tierproxy.whatif.scale import shrunk
from tierproxy.whatif.scans import corrected

DRAWS = 1000
SURE = 0.95
LEAST_OWNERS = 8
"""Fewer owners say nothing about owners: then groups of objects stand for them."""
GROUPS = 40

Misses = Counter[tuple[int, str]]
"""People's misses by day and owner."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Share of the other's misses that are saved (negative: there are more), and between what it lies with 95 %."""

    saved: float
    low: float
    high: float

    @property
    def better(self) -> bool:
        """And not by chance."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{self.saved:.1%} ({self.low:.1%} to {self.high:.1%})"


class Witness(Replay):
    """A replay that remembers who missed what when, from ``since`` on."""

    since = 0.0

    def __init__(self, trace: Trace, rules: RuleSet, setup: Setup) -> None:
        super().__init__(trace, rules, merged(setup.disk, rules.budget), setup.policies)
        owners = trace.objects.owners
        few = len(set(owners)) < LEAST_OWNERS
        self._who = [str(number % GROUPS) for number in range(len(owners))] if few else owners
        self.misses: Misses = Counter()

    def _miss(self, at: float, flags: int, number: int, size: int, sent: int) -> None:
        if at >= self.since and not flags & (MACHINE | LATER):
            self.misses[int(at // DAY), self._who[number]] += 1
        super()._miss(at, flags, number, size, sent)


def witnessed(trace: Trace, rules: RuleSet, setup: Setup, share: float, since: float) -> Misses:
    """Misses from ``since`` (seconds since the epoch) on. ``trace``: ``share`` of the objects of what the budgets are
    for."""
    small, fitting = shrunk(rules, setup, share)
    witness = Witness(corrected(trace, setup.counting), small, fitting)
    witness.since = since
    witness.run()
    return witness.misses


def judged(before: Misses, after: Misses, seed: int = 0) -> Verdict:
    """Of the misses ``before`` how many are saved ``after``: by owners and by days, the more cautious of the two."""
    whole = before.total()
    if not whole:
        return Verdict(0.0, -float(bool(after)), 0.0)
    by_owner, by_day = (_bounds(_paired(before, after, place), seed) for place in (1, 0))
    return Verdict(1 - after.total() / whole, min(by_owner[0], by_day[0]), max(by_owner[1], by_day[1]))


def _paired(before: Misses, after: Misses, place: int) -> list[tuple[int, int]]:
    sums: dict[int | str, list[int]] = {}
    for which, counts in enumerate((before, after)):
        for key, count in counts.items():
            sums.setdefault(key[place], [0, 0])[which] += count
    return [(one[0], one[1]) for _, one in sorted(sums.items())]


def _bounds(pairs: Sequence[tuple[int, int]], seed: int) -> tuple[float, float]:
    """Percentiles of the saved share, units drawn with replacement."""
    draw = random.Random(seed)
    shares = []
    for _ in range(DRAWS):
        drawn = draw.choices(pairs, k=len(pairs))
        whole = sum(before for before, _ in drawn)
        shares.append(1 - sum(after for _, after in drawn) / whole if whole else 0.0)
    shares.sort()
    tail = int(DRAWS * (1 - SURE) / 2)
    return shares[tail], shares[-1 - tail]
