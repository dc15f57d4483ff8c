#!/usr/bin/env python3
"""Sixty days of mail in virtual time through a real store with purge rules: does the disk stay within its budget?

Generated traffic (docs/traffic.md) is played event by event into a node with a real disk tier and catalogue, S3 in
memory, and a clock that only this script moves. What a node does by itself in the background is done here at the same
points of virtual time: counts are flushed and the rules have their turn every hour, pressure purges run whenever the
space accounting asks for one. Checked all along:

  * the disk tier is never above the hard limit, and not above the budget at the end of any hour;
  * every read has the right bytes;
  * every object that is not on disk says who purged it (a rule that purges, or pressure) and in which run, and what
    the runs removed is what the reasons are booked with;
  * `explain` said so: before every turn of the rules the objects of the dry run are explained, and some others drawn at
    random: each one that was to go has gone, by the rule that was named, and each one that was to stay has stayed.

Keys get the prefix mail/, as the example rules expect. --scale makes bodies, budget and the sizes in the rules smaller
alike; what a file costs beyond its body does not scale, so the smaller the scale, the more it is pressure that purges.
Runs that wait for a confirmation (too much of what was read recently would go) are confirmed. Exit 0 only if all holds
and rules and pressure both had something to do.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
from collections import Counter
from pathlib import Path

from findings import Findings, Week, judge
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from served import workplace

from tierproxy.config.values import parse_size
from tierproxy.history.generate import Traffic
from tierproxy.history.traffic_model import TrafficModel, model_for
from tierproxy.model import ObjectName
from tierproxy.node import Parts
from tierproxy.purge.explain import Explanation, explain
from tierproxy.purges import PRESSURE, RunState, Scope, by_rule
from tierproxy.rules.model import ActionKind, RuleSet
from tierproxy.testing.invariants import check_invariants
from tierproxy.testing.playback import Player, StillClock, body_of, still_node
from tierproxy.traffic import DAY, Event, Outcome, Reason, side

HOUR = 3600.0
RULES = Path(__file__).resolve().parent.parent / "config" / "rules.toml"
EVERYONE = 10**6  #: more runs than there are
DRAWN = 300  #: objects looked at for samples


class SixtyDays(Player):
    """One run of the traffic through the store."""

    def __init__(self, parts: Parts, clock: StillClock, scale: float, daily: int) -> None:
        super().__init__(parts, clock, every=HOUR)
        self._purges = parts.purges
        self._scale = scale
        self._daily = daily
        self._chance = random.Random("samples")
        self._begin = clock.now()
        self._live: dict[ObjectName, int] = {}
        self._before: dict[str, int] = {}
        self._booked: Counter[str] = Counter()
        self.findings = Findings(weeks=[Week()])

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._purges.live.current().rules

    # ------------------------------------------------------------ events

    async def play(self, event: Event) -> None:
        """The event at its time, and every hour before it."""
        name = ObjectName(event.name.bucket, f"mail/{event.name.key}")
        await super().play(event._replace(name=name, size=max(1, int(event.size * self._scale)), sent=0))
        self._look_at_the_disk()

    async def write(self, event: Event) -> None:
        self._live[event.name] = event.size
        self._week.deliveries += 1
        refused = self.refused
        await super().write(event)
        self.findings.check(self.refused == refused, f"{event.name}: no room for a write")

    async def delete(self, event: Event) -> None:
        del self._live[event.name]
        await super().delete(event)

    async def read(self, event: Event) -> bytes | None:
        content = await super().read(event)
        expected = body_of(event.name, self._live[event.name])
        self.findings.check(content == expected, f"{event.name}: not the bytes that were written")
        return content

    # ------------------------------------------------------------ budget

    @property
    def _week(self) -> Week:
        return self.findings.weeks[-1]

    def _look_at_the_disk(self) -> None:
        space = self.parts.space
        self.findings.highest = max(self.findings.highest, space.claimed())
        limit = int(space.settings.max_bytes * space.settings.hard_limit)
        self.findings.check(space.claimed() <= limit, f"{space!r} is above the hard limit {limit}")

    async def turn(self) -> None:
        """What the node does at least once an hour; then the disk is measured."""
        await super().turn()
        await self._measure()

    async def rules_turn(self) -> None:
        """With what ``explain`` says before it beside what has gone after it."""
        samples = await self._drawn()
        await super().rules_turn()
        self._compare(samples)

    def _of_the_day(self) -> bool:
        """The turn of the rules before which others are drawn: another hour each day."""
        day, second = divmod(self.next_turn - self._begin, DAY)
        return int(second // HOUR) == int(day * 7) % 24

    async def _measure(self) -> None:
        space, week = self.parts.space, self._week
        self.findings.check(
            space.used <= space.settings.max_bytes, f"{space!r} is above its budget at {self.clock.now():.0f}"
        )
        week.peak = max(week.peak, space.used)
        if (self.next_turn - self._begin) % (7 * DAY) == 0:
            await self.end_week()
            self.findings.weeks.append(Week())

    async def end_week(self) -> None:
        """The growth of all counters since the week before."""
        counted = dict(self.parts.counters.sample())
        growth = {name: count - self._before.get(name, 0) for name, count in counted.items()}
        self._before = counted
        week = self._week
        week.gets = Counter({one: growth[f"gets.{side(one)}.{one}"] for one in Outcome})
        week.people = growth[f"reads.{Reason.PERSON}"] - growth["reads.corrected"]
        week.regrets = growth["regrets.person"]
        booked = Counter({record.by: record.objects for record in await self.parts.catalogue.records(0)})
        week.purged = booked - self._booked
        week.used, self._booked = self.parts.space.used, booked

    # ------------------------------------------------------------ explain

    async def _drawn(self) -> dict[ObjectName, Explanation]:
        """What is said now of the objects whose turn has come by the dry run, and once a day of others on disk."""
        now = self.clock.now()
        planned = await self.parts.catalogue.decided(Scope(self.rules, now), None, DRAWN)
        said = self._explained([candidate.name for candidate in planned], now)
        if self._of_the_day():
            names = self._chance.sample(sorted(self._live), min(DRAWN, len(self._live)))
            others = self._explained([name for name in names if name not in said], now)
            wanted = sorted(others, key=lambda name: not others[name].goes)[: self._daily]
            said |= {name: others[name] for name in wanted}
        return said

    def _explained(self, names: list[ObjectName], now: float) -> dict[ObjectName, Explanation]:
        standings = {name: self.parts.catalogue.standing(name) for name in names}
        return {
            name: explain(standing, self.rules, now)
            for name, standing in standings.items()
            if standing is not None and standing.entry.blob is not None
        }

    def _compare(self, samples: dict[ObjectName, Explanation]) -> None:
        """Right after the turn of the rules, before pressure has its own."""
        when = f"hour {(self.next_turn - self._begin) / HOUR:.0f}"
        for name, said in samples.items():
            entry = self.parts.catalogue.find(name)
            by = entry.purged_by if entry is not None and entry.blob is None else ""
            self.findings.check(
                by == said.by, f"{name}: explained as {said.fate} by {said.by!r}, purged by {by!r}, {when}"
            )
            self.findings.samples += 1
            self.findings.went += said.goes

    # ------------------------------------------------------------ the end

    async def end(self) -> Findings:
        """The last checks."""
        await self.pass_turns(self.next_turn)
        await self.end_week()
        self.findings.confirmed = self.confirmed
        self._check_reasons()
        parts = self.parts
        await check_invariants(parts.catalogue, parts.disk, parts.space, root=Path(parts.config.node.data_dir))
        return self.findings

    def _check_reasons(self) -> None:
        findings, catalogue = self.findings, self.parts.catalogue
        purging = [rule for rule in self.rules.rules if rule.then and rule.then.kind is ActionKind.PURGE]
        reasons = {PRESSURE, *(by_rule(rule.name) for rule in purging)}
        runs = {run.number: run for run in catalogue.runs(EVERYONE)}
        for name in self._live:
            standing = catalogue.standing(name)
            if standing is None:
                findings.check(False, f"{name} is not in the catalogue")
            elif standing.entry.blob is None:
                known = standing.entry.purged_by in reasons and standing.purged_run in runs
                findings.check(known, f"{name} is not on disk: {standing.entry.purged_by!r}, run {standing.purged_run}")
        for run in runs.values():
            findings.runs[run.kind] += 1
            findings.check(run.state is RunState.DONE, f"run {run.number} is {run.state}: {run.note}")
        removed, booked = sum(run.objects for run in runs.values()), self._booked.total()
        findings.check(removed == booked, f"runs removed {removed} objects, {booked} are booked on reasons")
        findings.check(set(self._booked) <= reasons, f"reasons nobody knows: {set(self._booked) - reasons}")


def scaled(text: str, scale: float, budget: int) -> str:
    """The rule file ``text`` for bodies of ``scale`` times their size: the budget, and sizes in conditions. The rules
    have their turn every hour, at which the script lets them look (59 minutes: an hour of sums of parts of seconds may
    be a hair short of one); how full the machine's file system is shall not matter."""
    text = re.sub(
        r'^(.*\bsize\s*=\s*"[<>=]*\s*)([\d.]+\s*\w*)"',
        lambda found: f'{found[1]}{round(parse_size(found[2]) * scale)}"', text, flags=re.MULTILINE,
    )  # fmt: skip
    for option, value in (("max_bytes", round(budget * scale)), ("min_free", 0), ("every", "59m")):
        text = re.sub(rf'^({option}\s*=\s*)"[^"]*"', rf'\g<1>"{value}"', text, flags=re.MULTILINE)
    return text


async def run(options: argparse.Namespace, directory: Path) -> tuple[Findings, RuleSet]:
    model = model_for("office", owners=options.owners, mails_per_day=options.mails_per_day)
    traffic = Traffic(model, days=options.days, seed=options.seed)
    clock = StillClock(traffic.start)
    rules = directory / "rules.toml"
    rules.write_text(scaled(options.rules.read_text(), options.scale, parse_size(options.budget)))
    async with still_node(directory / "data", rules, clock) as node:
        daily = options.samples // max(options.days - 2, 1) + 1  # the first days have little to draw from
        days = SixtyDays(node.parts, clock, options.scale, daily)
        await _play(days, traffic, model)
        return await days.end(), days.rules


async def _play(days: SixtyDays, traffic: Traffic, model: TrafficModel) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("day {task.completed:.1f} of {task.total:.0f}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        bar = bars.add_task(f"{model.owners} owners", total=traffic.days)
        for number, event in enumerate(traffic.events()):
            await days.play(event)
            if number % 100 == 0:
                bars.update(bar, completed=(event.at - traffic.start) / DAY)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=60, help="days of traffic (default: %(default)s)")
    parser.add_argument("--owners", type=int, default=32, help="mailboxes (default: %(default)s)")
    parser.add_argument("--mails-per-day", type=float, default=20.0, help="for each on weekdays (default: %(default)s)")
    parser.add_argument("--budget", default="750MB", help="of the disk, before scaling (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of bodies and budget (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=1000, help="objects explained (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic (default: %(default)s)")
    parser.add_argument("--rules", type=Path, default=RULES, help="rule file (default: config/rules.toml)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    with workplace(options.dir, int(parse_size(options.budget) * options.scale * 1.5) + 2**28) as directory:
        findings, rules = asyncio.run(run(options, directory))
    return 0 if judge(findings, options, rules) else 1


if __name__ == "__main__":
    sys.exit(main())
