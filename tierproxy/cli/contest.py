"""One recorded traffic, and everything that is replayed over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tierproxy.cli.contestants import Contestant, Ground, with_budget
from tierproxy.cli.longwork import Report
from tierproxy.cli.outcomes import outcome_of, policy_outcome
from tierproxy.cli.words import bytes_text
from tierproxy.clock import SystemClock
from tierproxy.purge.plan import merged
from tierproxy.rules.model import RuleSet
from tierproxy.trace import Trace, sampled
from tierproxy.whatif import belady
from tierproxy.whatif.live import Setup, compare
from tierproxy.whatif.policies import POLICIES
from tierproxy.whatif.primed import primed
from tierproxy.whatif.replay import replay
from tierproxy.whatif.requests import Requests
from tierproxy.whatif.scale import shrunk
from tierproxy.wire.whatif import Outcome, SimulateWish, Simulation

BELADY = "belady"


@dataclass(frozen=True, slots=True)
class Contest:
    """One trace, and all that is replayed over it."""

    base: Ground
    contestants: list[Contestant]
    trace: Trace
    asked: SimulateWish
    warm_up: float = 0.0
    notes: list[str] = field(default_factory=list)

    def run(self, report: Report) -> Simulation:
        """Raises what a replay raises."""
        clock = SystemClock()
        begin = clock.monotonic()
        trace = sampled(self.trace, self.asked.sample)
        outcomes = [*self._rules(trace, report), *self._policies(trace, report)]
        seconds = clock.monotonic() - begin
        since, until = self.trace.span
        return Simulation(
            since=since, until=until, events=len(self.trace), objects=_objects(self.trace), budget=self.budget,
            outcomes=outcomes, warnings=[*self.base.warnings, *self._warnings(), *self._bounds(outcomes), *self.notes],
            events_per_second=len(trace) * len(outcomes) / seconds if seconds > 0 else 0.0,
        )  # fmt: skip

    @property
    def budget(self) -> int:
        """What policies get, and rules that say nothing of it."""
        return self.asked.budget or self.base.budget

    def _rules(self, trace: Trace, report: Report) -> Iterator[Outcome]:
        share = self.asked.sample
        setup, small = Setup.of(self.base.config), Setup()
        rules: dict[str, RuleSet] = {}
        for one in self.contestants:
            rules[one.name], small = shrunk(with_budget(one.rules, self.asked.budget), setup, share)
        found = compare(
            trace, rules, small, warm_up=self.warm_up, latencies=self.base.latencies,
            prices=self.base.prices, progress=lambda done, of: report("replaying rules", done, of, "events"),
        )  # fmt: skip
        for name, result in found.items():
            yield outcome_of(name, result, priced=self.base.prices is not None, share=share)

    def _policies(self, trace: Trace, report: Report) -> Iterator[Outcome]:
        wanted = list(dict.fromkeys(self.asked.policies))
        if not wanted:
            return
        requests, share = primed(trace), self.asked.sample
        budget = max(int(self.budget * share), 1)
        total = len(requests) * len(wanted)
        for place, name in enumerate(wanted):
            before = place * len(requests)
            report("replaying policies", before, total, "events")
            yield self._policy(name, requests, budget)
        report("replaying policies", total, total, "events")

    def _policy(self, name: str, requests: Requests, budget: int) -> Outcome:
        latencies, share = self.base.latencies, self.asked.sample
        counted = self.trace.span[0] + self.warm_up if self.warm_up else None
        if name == BELADY:
            found = belady.optimum(requests, budget, counted_from=counted)
            if not found.exact:
                self.notes.append(f"belady is a bound: knowing the future, {found.least.hit_ratio:.2%} is possible")
            return policy_outcome(name, found.most, latencies, share=share, ceiling=True)
        tally = replay(POLICIES[name](budget, requests.objects), requests, counted_from=counted)
        return policy_outcome(name, tally, latencies, share=share)

    def _warnings(self) -> Iterator[str]:
        if self.asked.sample < 1:
            yield f"{self.asked.sample:.1%} of the objects were followed; counts and bytes stand for all"
        if not self.asked.budget:
            for one in self.contestants:
                own = int(merged(self.base.config.disk, one.rules.budget).max_bytes)
                if own != self.budget:
                    yield f"{one.name} has a budget of its own: {bytes_text(own)}, not {bytes_text(self.budget)}"

    def _bounds(self, outcomes: list[Outcome]) -> Iterator[str]:
        if not any(one.reads for one in outcomes):
            yield "nobody read anything in this time"


def _objects(trace: Trace) -> int:
    return len(set(trace.object))
