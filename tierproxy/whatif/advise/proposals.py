"""Search, judge, propose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from tierproxy.config.values import Size
from tierproxy.rules.language import KEEP_DAYS
from tierproxy.rules.model import NO_RULES, RuleSet
from tierproxy.trace import Trace, cut, sampled
from tierproxy.traffic import DAY
from tierproxy.whatif import belady
from tierproxy.whatif.advise.judge import Misses, Verdict, judged, witnessed
from tierproxy.whatif.advise.recipe import Frame, Recipe, planned
from tierproxy.whatif.advise.search import SWEEPS, Bench, search, simplified
from tierproxy.whatif.latency import DEFAULT, Latencies
from tierproxy.whatif.live import Setup, simulate
from tierproxy.whatif.prices import Prices
from tierproxy.whatif.primed import primed
from tierproxy.whatif.requests import requests_of
from tierproxy.whatif.result import Result
from tierproxy.whatif.scale import shrunk
from tierproxy.whatif.tally import Tally

QUICK, THOROUGH, FINAL = 30_000, 120_000, 300_000
"""Events of the first look at a recipe, of the second, and of the days held out with all before them."""
WARM = 0.25
"""Share of the training days that fills the disk and is not counted."""
LEAST_DAYS = 3
LEAST_READS = 200
"""Held out. With less, nothing can be shown."""
WORTH = 0.01
"""Share of misses saved that is worth a rule file."""
LOSS = 0.01
"""Share of misses more that a smaller disk may cost."""
SURE_LOSS = 0.03
"""The same, at its upper bound."""
SIMPLE = 0.2
"""Share of the best rules' gain that simpler ones may give up."""
SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Smaller disks that are tried."""
AGES = (30, 14, 7, 3)
"""Days of the default age rule: the first that had a chance in the training days."""

FEWEST, SIMPLER, CHEAPEST = "fewest-misses", "simplest", "cheapest"
NAMES = FEWEST, SIMPLER, CHEAPEST  #: of proposals
AGE, NOTHING, LIVE = "the age rule", "no rules", "the rules in force"

Progress = Callable[[str, float, float, str], None]
"""Is told phase, done, total and unit. May raise to cancel."""


@dataclass(frozen=True, slots=True)
class Question:
    """``live``: rules in force, None: there are none. ``budget``: bytes of disk; ``held_out``: share of the days that
    proposals are judged on; ``now``: seconds since the epoch, for dates in rules."""

    setup: Setup
    budget: int
    now: float
    live: RuleSet | None = None
    held_out: float = 0.3
    keep_days: int = KEEP_DAYS
    latencies: Latencies = DEFAULT
    prices: Prices | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A rule file ready to run as shadow. ``held_out``, ``trained``: replays of the days of both parts."""

    name: str
    about: str
    text: str
    held_out: Result
    trained: Result


@dataclass(frozen=True, slots=True)
class Found:
    """``share``, ``trained_share``: of the objects that the results follow. ``ceiling``: what no disk exceeds on the
    days held out. ``age``: of the baseline, days."""

    split: float
    tried: int
    verdict: str
    age: int
    baseline: Result
    live: Result | None
    ceiling: Tally
    share: float
    trained_share: float
    proposals: tuple[Proposal, ...] = field(default=())


def advise(trace: Trace, question: Question, progress: Progress) -> Found:
    """At most three proposals for ``trace``, or the reason why there is none."""
    return Adviser(trace, question, progress).found()


@dataclass(frozen=True, slots=True)
class _Draft:
    name: str
    recipe: Recipe
    budget: int
    smaller: bool = False


class Adviser:
    """One piece of advice in the making."""

    def __init__(self, trace: Trace, question: Question, progress: Progress) -> None:
        self.question, self.progress = question, progress
        self.split = split_of(trace, question.held_out)
        begin = trace.span[0]
        training, _ = cut(trace, self.split)
        live = question.live or NO_RULES
        self.frame = Frame(live, question.setup.disk, question.budget, question.now, question.keep_days)
        self.age = next((days for days in AGES if days * DAY * 2 <= self.split - begin), AGES[-1])
        warm = (self.split - begin) * WARM
        self.quick, self.thorough = (
            Bench.of(training, events, question.setup, self.frame, warm, self._told) for events in (QUICK, THOROUGH)
        )
        self.share = min(1.0, FINAL / max(len(trace), 1))
        self.final = sampled(trace, self.share)

    def found(self) -> Found:
        """Search first: who judges must not have looked."""
        references = self._references()
        if (lack := self._lack()) is not None:
            return self._told_of(references, lack, [])
        recipes = search(self.quick, self.thorough)
        drafts = list(self._drafts(recipes, references))
        return self._judge(references, drafts)

    def _told(self, tried: int) -> None:
        total = planned(SWEEPS)
        done = self.quick.tried + self.thorough.tried if hasattr(self, "thorough") else tried
        self.progress("searching rules", min(done, total), total, "rule files")

    def _lack(self) -> str | None:
        """Why nothing can be shown."""
        days = (self.final.span[1] - self.split) / DAY
        if days < LEAST_DAYS - 0.5:
            return f"too little history: {days:.1f} days are held out, and {LEAST_DAYS} are needed"
        requests = requests_of(self.final)
        reads = requests.reads(requests.index(self.split))[0] / self.share
        if reads < LEAST_READS:
            return f"too few reads: {reads:,.0f} on the days held out, and {LEAST_READS} are needed"
        return None

    # ------------------------------------------------------------ what it is compared with

    def _references(self) -> dict[str, RuleSet]:
        age = self.frame.read(self.frame.text(Recipe(age=f"{self.age}d")))
        found = {AGE: age, NOTHING: self.frame.read(self.frame.text(Recipe()))}
        if self.question.live is not None:
            budget = replace(self.question.live.budget, max_bytes=Size(self.question.budget))
            found[LIVE] = replace(self.question.live, budget=budget)
        return found

    def _drafts(self, recipes: list[Recipe], references: dict[str, RuleSet]) -> Iterator[_Draft]:
        """By the training days alone."""
        bench, best = self.thorough, recipes[0]
        least = min(bench.play(rules).people.misses / bench.share for rules in references.values())
        fewest = bench.misses(best)
        simple = simplified(bench, best, fewest + SIMPLE * max(least - fewest, 0.0))
        if simple.size < best.size or simple == best:
            yield _Draft(SIMPLER, simple, self.question.budget)
        if simple != best:
            yield _Draft(FEWEST, best, self.question.budget)
        plain = [Recipe(), Recipe(order="gdsf"), Recipe(order="s3-fifo")]
        small = self._smallest([*recipes[:3], *plain], least * (1 + LOSS))
        if small is not None:
            yield small

    def _smallest(self, recipes: list[Recipe], most: float) -> _Draft | None:
        """The smallest disk that costs nearly nothing, by some of the best rules."""
        found = None
        for share in SHARES:
            budget = int(self.question.budget * share)
            if budget < 2**20:
                break
            winner = self.thorough.best(recipes, 1, budget)[0]
            if self.thorough.misses(winner, budget) > most:
                break
            found = _Draft(CHEAPEST, winner, budget, smaller=True)
        return found

    # ------------------------------------------------------------ the days held out

    def _judge(self, references: dict[str, RuleSet], drafts: list[_Draft]) -> Found:
        known = {name: self._missed(rules, name) for name, rules in references.items()}
        passed: list[tuple[_Draft, dict[str, Verdict], int]] = []
        failed: list[tuple[str, Verdict]] = []
        for draft in drafts:
            rules = self.frame.read(self.frame.text(draft.recipe, budget=draft.budget))
            missed = self._missed(rules, draft.name)
            verdicts = {name: judged(one, missed, self.question.seed) for name, one in known.items()}
            toughest = min(verdicts, key=lambda name: verdicts[name].saved)
            if all(_passes(draft, verdict) for verdict in verdicts.values()):
                passed.append((draft, verdicts, missed.total()))
            else:
                failed.append((toughest, verdicts[toughest]))
        proposals = [self._proposal(draft, verdicts) for draft, verdicts in _chosen(passed)]
        return self._told_of(references, self._verdict(proposals, failed, known), proposals)

    def _missed(self, rules: RuleSet, name: str) -> Misses:
        self.progress(f"judging {name}", 0, 0, "rule files")
        return witnessed(self.final, rules, self.question.setup, self.share, self.split)

    def _proposal(self, draft: _Draft, verdicts: dict[str, Verdict]) -> Proposal:
        about = self._about(draft, verdicts)
        text = self.frame.text(draft.recipe, budget=draft.budget, why=self._why(draft, about))
        rules = self.frame.read(text)
        return Proposal(draft.name, about, text, self._held_out(rules), self._trained(rules))

    def _about(self, draft: _Draft, verdicts: dict[str, Verdict]) -> str:
        beside = "; ".join(f"{_change(one)} than {name}" for name, one in verdicts.items())
        if draft.smaller:
            return f"a disk of {draft.budget / self.question.budget:.0%} of the budget: {beside}"
        return beside

    def _why(self, draft: _Draft, about: str) -> str:
        lines = [
            f"Proposed by `tierproxy advise` ({draft.name}).",
            *(f"{line}" for line in about.split("; ")),
            f"on {(self.final.span[1] - self.split) / DAY:.0f} days of recorded traffic that the search had not seen;",
            "in brackets what it is with 95 % confidence, by owners and by days.",
            "Try it as [purge] shadow before it becomes [purge] rules.",
        ]
        return "\n".join(lines)

    def _held_out(self, rules: RuleSet) -> Result:
        small, setup = shrunk(rules, self.question.setup, self.share)
        warm_up = self.split - self.final.span[0]
        return simulate(
            self.final, small, setup, warm_up=warm_up, latencies=self.question.latencies, prices=self.question.prices
        )

    def _trained(self, rules: RuleSet) -> Result:
        bench = self.thorough
        small, setup = shrunk(rules, self.question.setup, bench.share)
        return simulate(
            bench.trace, small, setup, warm_up=bench.warm_up, latencies=self.question.latencies,
            prices=self.question.prices,
        )  # fmt: skip

    def _verdict(self, accepted: list[Proposal], failed: list[tuple[str, Verdict]], known: dict[str, Misses]) -> str:
        if accepted:
            return f"{accepted[0].name}: {accepted[0].about}"
        least = min(known, key=lambda name: known[name].total())
        if not known[least].total():
            return f"no rule helps: with {least} nothing misses on this disk"
        if not failed:
            return f"no rule helps: none of {self._tried()} rule files has fewer misses than {least}"
        name, verdict = max(failed, key=lambda one: one[1].saved)
        reason = "that may be chance" if verdict.saved > 0 else "that is no gain"
        return f"no rule helps: the best of {self._tried()} rule files has {_change(verdict)} than {name}, and {reason}"

    def _tried(self) -> int:
        return self.quick.tried + self.thorough.tried

    def _told_of(self, references: dict[str, RuleSet], verdict: str, proposals: list[Proposal]) -> Found:
        live = references.get(LIVE)
        self.progress("measuring the ceiling", 0, 0, "events")
        budget = max(int(self.question.budget * self.share), 1)
        ceiling = belady.optimum(primed(self.final), budget, counted_from=self.split).most
        return Found(
            self.split, self._tried(), verdict, self.age, self._held_out(references[AGE]),
            None if live is None else self._held_out(live), ceiling, self.share, self.thorough.share, tuple(proposals),
        )  # fmt: skip


def _chosen(passed: list[tuple[_Draft, dict[str, Verdict], int]]) -> Iterator[tuple[_Draft, dict[str, Verdict]]]:
    """The fewest misses first, the smaller disk last. What is simpler and no worse stands for both."""
    full = sorted((one for one in passed if not one[0].smaller), key=lambda one: (one[2], one[0].recipe.size))
    for place, (draft, verdicts, _) in enumerate(full):
        if not place:
            yield replace(draft, name=FEWEST), verdicts
        elif draft.recipe.size < full[0][0].recipe.size:
            yield draft, verdicts
    yield from ((draft, verdicts) for draft, verdicts, _ in passed if draft.smaller)


def _passes(draft: _Draft, verdict: Verdict) -> bool:
    """A smaller disk may cost next to nothing; everything else must save."""
    if draft.smaller:
        return verdict.saved >= -LOSS and verdict.low >= -SURE_LOSS
    return verdict.better and verdict.saved >= WORTH


def _change(verdict: Verdict) -> str:
    if verdict.saved >= 0:
        return f"{verdict.saved:.1%} fewer misses ({verdict.low:.1%} to {verdict.high:.1%})"
    return f"{-verdict.saved:.1%} more misses ({-verdict.high:.1%} to {-verdict.low:.1%})"


def split_of(trace: Trace, held_out: float) -> float:
    """Where the days held out begin: midnight UTC, seconds since the epoch."""
    begin, end = trace.span
    first, last = begin / DAY, end / DAY
    days = max(round((last - first) * held_out), 1)
    return float(max(math.ceil(last) - days, math.floor(first) + 1) * DAY)
