"""Advice: the best rule is found where there is one, none is promised where there is none, and chance is no gain."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from tests.whatif.traces import BEST, BLOB, START, read_once_and_again, trace_of, uniform
from tierproxy.config.sections import DiskSection
from tierproxy.config.values import Size
from tierproxy.rules.lint import accept
from tierproxy.rules.model import NO_RULES, ActionKind, Order
from tierproxy.trace import Op
from tierproxy.traffic import DAY
from tierproxy.whatif.advise import Found, Question, advise
from tierproxy.whatif.advise.judge import judged, witnessed
from tierproxy.whatif.advise.proposals import Adviser, split_of
from tierproxy.whatif.advise.recipe import CHOICES, STARTS, Frame, Recipe, changed
from tierproxy.whatif.advise.search import Bench, simplified
from tierproxy.whatif.live import Setup, simulate
from tierproxy.whatif.primed import primed
from tierproxy.whatif.requests import WRITE

BUDGET = 6_000_000


def question(budget: int, **others: object) -> Question:
    setup = Setup(disk=DiskSection(max_bytes=Size(budget)))
    return Question(setup, budget, START, **others)  # type: ignore[arg-type]


def quiet(*_: object) -> None:
    """Nobody looks."""


@cache
def advised() -> Found:
    return advise(read_once_and_again(), question(BUDGET), quiet)


@cache
def of_chance() -> Found:
    return advise(uniform(), question(200 * BLOB), quiet)


# ---------------------------------------------------------------- the two demands


def test_where_a_best_rule_is_known_one_at_least_as_good_is_found_on_the_days_held_out() -> None:
    found, trace = advised(), read_once_and_again()
    best, _ = accept(BEST, now=START)
    known = simulate(trace, best, warm_up=found.split - trace.span[0])
    assert known.people.misses < found.baseline.people.misses / 2  # else there would be nothing to find
    assert found.proposals[0].held_out.people.misses <= known.people.misses
    assert found.proposals[0].held_out.people.total == known.people.total
    assert found.verdict.startswith("fewest-misses: ")


def test_of_reads_by_chance_it_is_said_that_no_rule_helps() -> None:
    found = of_chance()
    assert found.proposals == ()
    assert found.verdict.startswith("no rule helps: ")
    assert found.tried > 50


# ---------------------------------------------------------------- what is proposed


def test_each_proposal_is_a_rule_file_that_can_be_used_as_it_is() -> None:
    assert advised().proposals
    for one in advised().proposals:
        rules, findings = accept(one.text, now=START, disk=DiskSection())
        assert findings == []
        assert rules.text == one.text
        assert "95 % confidence" in one.text
        assert one.about.split(";")[0] in one.text


def test_the_days_held_out_are_counted_and_no_others() -> None:
    found, trace = advised(), read_once_and_again()
    assert found.split == START + 8 * DAY
    reads = sum(op == Op.READ and at >= found.split for at, op in zip(trace.at, trace.op, strict=True))
    assert found.baseline.people.total == reads == found.ceiling.requests
    assert found.ceiling.misses <= found.proposals[0].held_out.people.misses


def test_the_search_does_not_see_the_days_it_is_judged_on() -> None:
    adviser = Adviser(read_once_and_again(), question(BUDGET), quiet)
    assert adviser.quick.trace.span[1] < adviser.split
    assert adviser.thorough.trace.span[1] < adviser.split < adviser.final.span[1]


def test_a_disk_that_is_larger_than_needed_is_proposed_smaller_and_nothing_else() -> None:
    trace = uniform(days=10, objects=200, reads=200)
    found = advise(trace, question(3_000 * BLOB), quiet)
    assert [one.name for one in found.proposals] == ["cheapest"]
    assert found.proposals[0].held_out.people.misses == 0
    assert found.proposals[0].held_out.max_bytes <= 400 * BLOB


def test_the_same_trace_gives_the_same_advice() -> None:
    first, second = advised(), advise(read_once_and_again(), question(BUDGET), quiet)
    assert [one.text for one in first.proposals] == [one.text for one in second.proposals]
    assert first.verdict == second.verdict
    assert first.tried == second.tried


def test_too_little_history_is_said_and_nothing_is_searched() -> None:
    short = advise(read_once_and_again(days=4), question(BUDGET), quiet)
    assert short.verdict == "too little history: 1.0 days are held out, and 3 are needed"
    few = advise(uniform(reads=5), question(BUDGET), quiet)
    assert few.verdict.startswith("too few reads: ")
    assert short.tried == few.tried == 0


def test_whoever_looks_at_the_progress_may_end_it() -> None:
    class Enough(Exception):
        pass

    def stop(_phase: str, done: float, _total: float, _unit: str) -> None:
        if done >= 3:
            raise Enough

    with pytest.raises(Enough):
        advise(read_once_and_again(), question(BUDGET), stop)


# ---------------------------------------------------------------- chance


def misses(*, owners: int, days: int, each: int) -> Counter[tuple[int, str]]:
    return Counter({(day, str(owner)): each for day in range(days) for owner in range(owners)})


def test_a_gain_for_everybody_on_every_day_is_better_and_the_same_is_not() -> None:
    before = misses(owners=10, days=5, each=10)
    assert judged(before, misses(owners=10, days=5, each=8)).better
    assert judged(before, misses(owners=10, days=5, each=8)).saved == pytest.approx(0.2)
    assert not judged(before, before).better
    assert not judged(before, misses(owners=10, days=5, each=11)).better


@pytest.mark.parametrize("lucky", [(2, None), (None, "3")])
def test_a_gain_on_one_day_or_for_one_owner_alone_is_chance(lucky: tuple[int | None, str | None]) -> None:
    before = misses(owners=10, days=5, each=10)
    after = Counter({
        key: 2 if lucky in {(key[0], None), (None, key[1])} else count for key, count in before.items()
    })  # fmt: skip
    verdict = judged(before, after)
    assert verdict.saved > 0.05
    assert not verdict.better


def test_who_missed_what_when_adds_up_to_the_replay() -> None:
    trace, rules = read_once_and_again(days=6), NO_RULES
    setup = Setup(disk=DiskSection(max_bytes=Size(BUDGET)))
    since = START + 3 * DAY
    seen = witnessed(trace, rules, setup, 1.0, since)
    assert seen.total() == simulate(trace, rules, setup, warm_up=since - trace.span[0]).people.misses
    assert {day for day, _ in seen} == {int(START // DAY) + day for day in (3, 4, 5)}
    assert len({owner for _, owner in seen}) == 20


def test_the_days_held_out_begin_at_midnight_and_are_never_all() -> None:
    for days in (2, 5, 14):
        trace = uniform(days=days, reads=3)
        for share in (0.01, 0.3, 0.99):
            split = split_of(trace, share)
            assert split % DAY == 0
            assert trace.span[0] < split < trace.span[1]


# ---------------------------------------------------------------- rule files


FRAME = Frame(NO_RULES, DiskSection(), 100_000_000, START)


@pytest.mark.parametrize("name", CHOICES)
def test_every_ingredient_alone_is_a_rule_file_without_faults(name: str) -> None:
    for value in CHOICES[name]:
        text = FRAME.text(changed(Recipe(), name, value))
        rules, findings = accept(text, now=START, disk=DiskSection())
        assert findings == []
        assert len(rules.rules) == (bool(value) if name != "order" else 0)
        assert rules.budget.max_bytes == 100_000_000
    assert {str(order) for order in Order} == set(CHOICES["order"])


def test_the_search_begins_with_rules_that_can_be_used() -> None:
    assert all(FRAME.read(FRAME.text(recipe)) for recipe in STARTS)


OWN = """\
[budget]
max_bytes = "100MB"
low_water = 0.7
min_free = "3%"
min_on_disk = "1h"
[budget.bucket.archive]
max_bytes = "10MB"

[[rule]]
name = "the boss"          # never without
when = { owner = "boss" }
then = "pin until age 90d"

[[rule]]
name = "old goes"
when = { age = "> 9d" }
then = "purge"

# about backups
[[rule]]
name = "not read for 7d goes"
when = { key = ["a/*",
    "b/*"] }
write = "alt"

[schedule]
every = "1h"               # slowly

[safety]
max_share = "5%"
"""


def test_pins_write_policies_budgets_and_schedules_of_the_operator_are_kept() -> None:
    own, _ = accept(OWN, now=START)
    frame = Frame(own, DiskSection(), 100_000_000, START)
    rules = frame.read(frame.text(Recipe(idle="7d", order="sieve")))
    assert [rule.name for rule in rules.rules] == ["the boss", "not read for 7d goes", "not read for 7d goes (advised)"]
    assert rules.rules[0].then is not None
    assert rules.rules[0].then.kind is ActionKind.PIN
    assert (rules.schedule, rules.safety, rules.regret) == (own.schedule, own.safety, own.regret)
    assert replace(rules.budget, max_bytes=None) == replace(own.budget, max_bytes=None)
    assert rules.pressure.order is Order.SIEVE


def test_ingredients_that_do_not_matter_are_left_out() -> None:
    setup = Setup(disk=DiskSection(max_bytes=Size(BUDGET)))
    frame = Frame(NO_RULES, setup.disk, BUDGET, START)
    bench = Bench.of(read_once_and_again(days=6), 10**6, setup, frame, 2 * DAY, quiet)
    rich = Recipe(once="1d", folders="7d", large="5MB 2d")
    simple = simplified(bench, rich, bench.misses(rich))
    assert (simple.folders, simple.large) == ("", "")
    assert bench.misses(simple) <= bench.misses(rich)


# ---------------------------------------------------------------- the beginning


def test_policies_begin_with_what_was_on_disk_as_rules_do() -> None:
    trace = trace_of([(0.1, Op.READ, 0), (0.2, Op.READ, 1), (0.3, Op.WRITE, 2)], 3)
    assert len(primed(trace)) == 3
    hit = replace(trace, flags=bytes([4, 0, 0]))
    found = primed(hit)
    assert (found.kinds[0], found.numbers[0], found.at[0]) == (WRITE, 0, trace.span[0])
    assert found.reads() == (2, 16_000)
