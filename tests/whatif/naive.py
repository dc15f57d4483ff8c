"""A replay without a thought for speed: every object is decided by ``rules.evaluate`` at every turn, and what pressure
takes by ``orders.simple`` on candidates. What the engine is held to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from tierproxy.config.sections import DiskSection
from tierproxy.model import ObjectName
from tierproxy.purge import orders
from tierproxy.purge.plan import Need, need
from tierproxy.purge.relief import keeps
from tierproxy.purges import PRESSURE, Candidate, by_rule
from tierproxy.rules.evaluate import Facts, deciding
from tierproxy.rules.model import PURGING, ActionKind, Kept, Order, RuleSet
from tierproxy.trace import MACHINE, Op, Trace
from tierproxy.traffic import DAY
from tierproxy.whatif.engine.columns import blob_bytes
from tierproxy.whatif.engine.room import Room


@dataclass
class Naive:
    """People's hits and misses, what went, by reason, and (``room``) space by the day."""

    rules: RuleSet
    disk: DiskSection
    objects: dict[int, Facts] = field(default_factory=dict)
    hits: int = 0
    misses: int = 0
    purged: Counter[str] = field(default_factory=Counter)
    passed: float = float("-inf")
    stalled: float = float("-inf")
    held: dict[int, int] = field(default_factory=dict)  #: bytes of blobs

    def play(self, trace: Trace) -> None:
        """All of ``trace``, whose objects are all written in it first."""
        self.next_turn = trace.span[0] + self.rules.schedule.every
        self.room = Room(self.disk, (), trace.span[0])
        self.midnight = (trace.span[0] // DAY + 1) * DAY
        for at, op, flags, number, size in zip(
            trace.at, trace.op, trace.flags, trace.object, trace.size, strict=True
        ):  # fmt: skip
            self.pass_time(at)
            facts = self.objects.get(number)
            if op == Op.DELETE and facts is not None:
                self.take(number, at)
                del self.objects[number]
            elif op == Op.WRITE:
                self.write(trace, number, at, size)
            elif op == Op.READ and facts is not None:
                self.read(number, at, machine=bool(flags & MACHINE))
            if self.room.pressed:
                self.relieve(at)

        self.room.end_day(trace.span[1])

    def pass_time(self, at: float) -> None:
        """Turns of the rules and midnights up to ``at``."""
        while (wake := min(self.next_turn, self.midnight)) <= at:
            if wake == self.next_turn:
                self.turn(wake)
                self.next_turn += self.rules.schedule.every
            if wake == self.midnight:
                self.room.end_day(wake)
                self.midnight += DAY

    def write(self, trace: Trace, number: int, at: float, size: int) -> None:
        facts = self.objects.get(number) or Facts(
            name(trace, number), trace.objects.owners[number], trace.objects.folders[number]
        )
        self.objects[number] = facts
        refused = self.room.refusal(size, "", self.disk.hard_limit)
        if refused is not None and refused.wanted:
            self.relieve(at)
            refused = self.room.refusal(size, "", self.disk.hard_limit)
        self.objects[number] = replace(self.objects[number], size=size, written_at=at)
        if refused is None:
            self.store(number, at)
        else:
            self.take(number, at)
            self.objects[number] = replace(self.objects[number], purged_at=None)

    def read(self, number: int, at: float, *, machine: bool) -> None:
        facts = self.objects[number]
        if facts.stored_at is None and not machine and self.room.refusal(facts.size, "", 1.0) is None:
            self.store(number, at)
        if not machine:
            self.hits += facts.stored_at is not None
            self.misses += facts.stored_at is None
        facts, today = self.objects[number], int(at // DAY)
        bins = {day: (people, machines) for day, people, machines in facts.days}
        people, machines = bins.get(today, (0, 0))
        bins[today] = (people + (not machine), machines + machine)
        days = tuple((day, *counts) for day, counts in sorted(bins.items()))
        if machine:
            facts = replace(facts, machine_reads=facts.machine_reads + 1, days=days)
        else:
            facts = replace(facts, reads=facts.reads + 1, last_read_at=at, days=days)
        self.objects[number] = facts

    def turn(self, now: float) -> None:
        for number in self.candidates(now):
            rule = deciding(self.rules, self.objects[number], now)
            if rule is not None and self.kind(rule) in PURGING:
                self.purge(number, now, by_rule(self.rules.rules[rule].name))
        if self.stalled > float("-inf"):
            self.relieve(now)

    def relieve(self, now: float) -> None:
        wanted = self.room.pressed.pop("", 0)
        if now - self.stalled < 5 and not wanted:
            return
        required, self.stalled = need(self.room, wanted), float("-inf")
        if required is None:
            return
        rest = self.left_by_rules(required, now)
        if rest is not None and self.rules.pressure.kept is Kept.LAST and keeps(self.rules):
            rest = self.walk(rest, now, {ActionKind.KEEP})
        if rest is not None:
            self.stalled = now

    def left_by_rules(self, rest: Need | None, now: float) -> Need | None:
        late = now - self.passed < 60
        if not late:
            rest = self.walk(rest, now, set(PURGING))
            if rest is not None:
                self.passed = now
        rest = self.walk(rest, now, {None})
        if late:
            rest = self.walk(rest, now, set(PURGING))
            if rest is not None:
                self.passed = now
        return rest

    def walk(self, rest: Need | None, now: float, kinds: set[ActionKind | None]) -> Need | None:
        if rest is None:
            return None
        rules = {number: deciding(self.rules, self.objects[number], now) for number in self.candidates(now)}
        page = [self.candidate(number, rule, now) for number, rule in rules.items() if self.kind(rule) in kinds]
        if kinds == set(PURGING):
            page.sort(key=lambda one: one.name)
        else:
            page.sort(key=lambda one: one.rank)
        for drop in orders.simple(rest, page).drops:
            ruled = drop.rule is not None and kinds == set(PURGING)
            by = by_rule(self.rules.rules[drop.rule or 0].name) if ruled else PRESSURE
            self.purge(drop.generation, now, by)
        left: Need | None = rest
        for drop in orders.simple(rest, page).drops:
            left = left.less(drop.blob_bytes, 1) if left is not None else None
        return left

    def candidate(self, number: int, rule: int | None, now: float) -> Candidate:
        facts, size = self.objects[number], self.held[number]
        since = facts.idle_since
        rank = {
            Order.LRU: since,
            Order.FIFO: facts.stored_at or 0.0,
            Order.LFU: facts.reads + since / 1e11,
            Order.SCORE: (1.0 + facts.reads)
            / ((1.0 + max(now - since, 0.0) / 86400.0) * (1.0 + size / 65536.0)),
        }[self.rules.pressure.order]  # fmt: skip
        return Candidate(facts.name, number, "", size, facts.size, rule, rank)

    def candidates(self, now: float) -> list[int]:
        young = self.rules.budget.min_on_disk
        there = [(number, one.stored_at) for number, one in self.objects.items() if one.stored_at is not None]
        return [number for number, stored_at in there if not abs(now - stored_at) < young]

    def kind(self, rule: int | None) -> ActionKind | None:
        action = None if rule is None else self.rules.rules[rule].then
        return None if action is None else action.kind

    def bytes(self, number: int) -> int:
        facts = self.objects[number]
        return blob_bytes(facts.size, len(facts.name.bucket) + len(facts.name.key))

    def store(self, number: int, at: float) -> None:
        self.take(number, at)
        self.objects[number] = replace(self.objects[number], stored_at=at, purged_at=None)
        self.held[number] = self.bytes(number)
        self.room.change(at, self.held[number], "")

    def take(self, number: int, at: float) -> None:
        self.room.change(at, -self.held.pop(number, 0), "")
        self.objects[number] = replace(self.objects[number], stored_at=None)

    def purge(self, number: int, at: float, by: str) -> None:
        self.purged[by] += self.held[number]
        self.take(number, at)
        self.objects[number] = replace(self.objects[number], purged_at=at)


def name(trace: Trace, number: int) -> ObjectName:
    return ObjectName(trace.objects.buckets[number], trace.objects.keys[number])
