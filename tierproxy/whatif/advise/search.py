"""Better recipes, by trying."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tierproxy.errors import ConfigError
from tierproxy.rules.model import RuleSet
from tierproxy.trace import Trace, sampled
from tierproxy.whatif.advise.recipe import CHOICES, STARTS, Frame, Recipe, changed
from tierproxy.whatif.live import Setup, simulate
from tierproxy.whatif.result import Result
from tierproxy.whatif.scale import shrunk

SWEEPS = 3
"""How often every ingredient is tried, at most."""
BETTER = 0.002
"""Share of misses that a change must save to be taken: less is noise, and the simpler rules stay."""
FINALISTS = 6

Told = Callable[[int], None]
"""Is told how many recipes were tried. May raise to cancel."""


def quiet(tried: int) -> None:
    """Nobody asks."""


@dataclass
class Bench:
    """Rules over a sample of ``share`` of one trace. The first ``warm_up`` seconds are not counted. ``tried``: how many
    replays there were. Results are remembered, as misses by recipe and budget."""

    trace: Trace
    share: float
    setup: Setup
    frame: Frame
    warm_up: float
    told: Told = quiet
    tried: int = 0
    known: dict[tuple[Recipe, int], float] = field(default_factory=dict)

    @staticmethod
    def of(trace: Trace, events: int, setup: Setup, frame: Frame, warm_up: float, told: Told) -> Bench:
        """With about so many ``events`` of ``trace``."""
        share = min(1.0, events / max(len(trace), 1))
        return Bench(sampled(trace, share), share, setup, frame, warm_up, told)

    def misses(self, recipe: Recipe, budget: int | None = None) -> float:
        """People's; infinite when the rules contradict one another."""
        wanted = recipe, budget or self.frame.budget
        if wanted not in self.known:
            self.known[wanted] = self._misses(recipe, wanted[1])
        return self.known[wanted]

    def _misses(self, recipe: Recipe, budget: int) -> float:
        try:
            rules = self.frame.read(self.frame.text(recipe, budget=budget))
        except ConfigError:
            return float("inf")
        return self.play(rules).people.misses / self.share

    def play(self, rules: RuleSet) -> Result:
        """A replay of any rules. Its counts are those of the sample."""
        self.tried += 1
        self.told(self.tried)
        small, setup = shrunk(rules, self.setup, self.share)
        return simulate(self.trace, small, setup, warm_up=self.warm_up)

    def best(self, recipes: Iterable[Recipe], count: int, budget: int | None = None) -> list[Recipe]:
        """Fewest misses first; of equals the simpler."""
        kept = dict.fromkeys(recipes)
        return sorted(kept, key=lambda recipe: (self.misses(recipe, budget), recipe.size))[:count]


def search(quick: Bench, thorough: Bench) -> list[Recipe]:
    """Some of the best recipes by ``thorough``, the best first, among those that ``quick`` found."""
    begins = quick.best(STARTS, 2)
    for place, begin in enumerate(begins):
        descend(quick, begin, SWEEPS if not place else 1)
    seen = [recipe for recipe, budget in quick.known if budget == quick.frame.budget]
    return thorough.best(quick.best(seen, FINALISTS), FINALISTS)


def descend(bench: Bench, begin: Recipe, sweeps: int) -> Recipe:
    """Change one ingredient at a time as long as it saves misses."""
    best = begin
    for _ in range(sweeps):
        before = best
        for name, values in CHOICES.items():
            best = _improved(bench, best, [changed(best, name, value) for value in values])
        if best == before:
            break
    return best


def _improved(bench: Bench, best: Recipe, others: Iterable[Recipe]) -> Recipe:
    winner = bench.best(others, 1)[0]
    now, then = bench.misses(best), bench.misses(winner)
    enough = then < now * (1 - BETTER) or (winner.size < best.size and then <= now)
    return winner if enough else best


def simplified(bench: Bench, best: Recipe, most: float) -> Recipe:
    """As few ingredients as leave at most ``most`` misses."""
    while smaller := [recipe for recipe in best.without() if bench.misses(recipe) <= most]:
        best = bench.best(smaller, 1)[0]
    return best
