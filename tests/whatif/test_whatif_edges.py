"""Traces as they come: torn, empty, absurd. And what must hold of every replay."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.whatif.steps import DAY, HOUR, START, Step, delete, read, trace_of, write
from tests.whatif.test_rules_engine import DISK, IDLE, events, purges
from tierproxy.config.values import Share, Size
from tierproxy.disk.trailer import PAGE
from tierproxy.purge.plan import merged
from tierproxy.rules.language import parse
from tierproxy.rules.model import NO_RULES, BucketBudget, Budget, Kept, Order, Pressure, RuleSet
from tierproxy.testing.rules import rule_sets
from tierproxy.trace import HIT, LATER, MACHINE, Op, Trace
from tierproxy.traffic import DAY as A_DAY
from tierproxy.whatif.belady import optimum
from tierproxy.whatif.cost import dollars
from tierproxy.whatif.curve import curve
from tierproxy.whatif.engine.columns import Columns
from tierproxy.whatif.engine.replay import Replay
from tierproxy.whatif.engine.waiting import Waiting
from tierproxy.whatif.live import Setup, simulate
from tierproxy.whatif.policies import POLICIES
from tierproxy.whatif.prices import Prices
from tierproxy.whatif.primed import primed
from tierproxy.whatif.replay import replay
from tierproxy.whatif.requests import requests_of
from tierproxy.whatif.result import AltRequests, Result

KEEP_ALL = parse('[pressure]\nkept = "never"\n[[rule]]\nname = "all"\nthen = "keep"')
PINS = parse('[[rule]]\nname = "for ever"\nthen = "pin until 2999-01-01"')
KEYS = ("a", "b", "c/ä", "ü" * 40, "d\n", "日本語", "e" * 900)


def on(max_bytes: int) -> Setup:
    return replace(DISK, disk=replace(DISK.disk, max_bytes=Size(max_bytes)))


# ------------------------------------------------------------ what holds of every replay


def wild() -> st.SearchStrategy[Trace]:
    """Whatever a log may hold: nothing, deletes of what nobody wrote, sizes of 0, reads that contradict writes, equal
    times, leaps, purges, ranges."""
    gap = st.sampled_from((0.0, 0.0, 1.0, 400.0, HOUR, 3 * DAY, 90 * DAY))
    size = st.sampled_from((0, 1, 700, 4096, 60_000, 2**20, 5 * 10**8))
    flags = st.sampled_from((0, 0, HIT, MACHINE, LATER, MACHINE | LATER | HIT))
    one = st.tuples(gap, st.sampled_from(Op), st.sampled_from(KEYS), size, flags)
    return st.lists(one, max_size=40).map(_trace)


def _trace(drawn: list[tuple[float, Op, str, int, int]]) -> Trace:
    now, found = 0.25, list[Step]()
    for gap, op, key, size, flags in drawn:
        now += gap
        found.append((now, op, key, size, flags if op is Op.READ else 0))
    return trace_of(found)


budgets = st.sampled_from((0, 1, 4096, 20_000, 150_000, 1_500_000, 10**9))


@settings(max_examples=200, deadline=None)
@given(wild(), rule_sets(), st.builds(Pressure, st.sampled_from(Order), st.sampled_from(Kept)), budgets,
       st.sampled_from((0.0, HOUR, 30 * DAY)), st.booleans())  # fmt: skip
def test_sums_hold_and_the_disk_is_never_above_its_limit(
    trace: Trace, rules: RuleSet, pressure: Pressure, max_bytes: int, young: float, warm: bool
) -> None:
    budget = Budget(min_on_disk=young, buckets=(BucketBudget("mail", max(max_bytes * 2 // 3, 1)),))
    rules = replace(rules, pressure=pressure, budget=budget, schedule=replace(rules.schedule, every=HOUR))
    setup = on(max_bytes)
    books(trace, rules, setup, warm=warm)
    found = simulate(trace, rules, setup, warm=warm)
    ops = Counter(trace.op)
    assert found.gets.total == ops[Op.READ] == found.fills + found.passes + found.gets.hits
    assert (found.writes, found.deletes, found.alt.put) == (ops[Op.WRITE], ops[Op.DELETE], ops[Op.WRITE])
    assert found.most_disk <= int(max_bytes * setup.disk.hard_limit)
    assert 0 <= found.mean_disk <= found.most_disk or not found.days
    assert found.kept_bytes >= 0
    assert all(value >= 0 for value in (found.alt.fetched, found.delay.mean, found.delay.p99, found.no_room))


def books(trace: Trace, rules: RuleSet, setup: Setup, *, warm: bool) -> None:
    """Bytes that came to disk and those that left it differ by what is there."""
    play = Replay(trace, rules, merged(setup.disk, rules.budget), setup.policies)
    limit = int(play.room.settings.max_bytes * play.room.settings.hard_limit)
    moved = 0
    change = play.room.change

    def noted(at: float, amount: int, bucket: str) -> None:
        nonlocal moved
        moved += amount
        change(at, amount, bucket)
        assert play.room.used >= 0
        if at >= trace.span[0]:
            assert play.room.used <= limit or amount <= 0

    play.room.change = noted  # type: ignore[method-assign]
    play.run(warm=warm)
    there = [blob for blob in play._columns.blob if blob]
    assert moved == play.room.used == sum(there) <= limit
    assert len(there) == len(play._disk.there)
    assert all(blob % PAGE == 0 for blob in there)


@settings(max_examples=60, deadline=None)
@given(wild(), st.sampled_from(sorted(POLICIES)), budgets)
def test_no_policy_hits_more_than_can_be_or_holds_more_than_its_disk(trace: Trace, name: str, budget: int) -> None:
    requests = primed(trace)
    policy = POLICIES[name](budget, requests.objects)
    tally = replay(policy, requests)
    bounds = optimum(requests, budget)
    assert 0 <= policy.used <= budget
    assert 0 <= tally.hits <= bounds.most.hits <= bounds.unlimited.hits <= tally.requests
    assert 0 <= tally.hit_bytes <= tally.bytes
    made = curve(requests)
    assert all(
        0 <= made.hit_ratio(size) <= 1 and 0 <= made.byte_hit_ratio(size) <= 1 for size in (0, 1, budget, 10**12)
    )
    assert list(made.hits) == sorted(made.hits)


@settings(max_examples=100, deadline=None)
@given(rule_sets().map(purges), events(), st.builds(Pressure, st.sampled_from(Order), st.sampled_from(Kept)),
       st.sampled_from((60_000, 150_000, 1_500_000)), st.sampled_from((0.0, HOUR, 3 * DAY)))  # fmt: skip
def test_what_was_known_to_stay_would_have_stayed(
    rules: RuleSet, steps: list[Step], pressure: Pressure, max_bytes: int, young: float
) -> None:
    """As if every run looked at the whole disk."""
    budget = Budget(min_on_disk=young, buckets=(BucketBudget("mail", max_bytes * 2 // 3),))
    rules = replace(rules, pressure=pressure, budget=budget)
    found = simulate(trace_of(steps), rules, on(max_bytes))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Waiting, "all_stay", lambda *_: None)
        assert simulate(trace_of(steps), rules, on(max_bytes)) == found


# ------------------------------------------------------------ empty, small, absurd


@pytest.mark.parametrize("steps", [[], [read(0, "a")], [delete(0, "a")], [write(0, "a", 0)], [read(0, "a", 0)],
                                   [delete(at, f"k{at}") for at in range(9)]])  # fmt: skip
@pytest.mark.parametrize("max_bytes", [0, 1, 10**6])
def test_next_to_nothing_is_replayed(steps: list[Step], max_bytes: int) -> None:
    trace = trace_of(steps)
    found = simulate(trace, IDLE, on(max_bytes), prices=PRICES)
    assert found.events == len(steps)
    assert found.dollars.requests == 0 or found.seconds > 0
    for name, policy in POLICIES.items():
        assert replay(policy(max_bytes, len(trace.objects)), requests_of(trace)).hits == 0, name
    assert curve(requests_of(trace)).size_for(0.5) is None


PRICES = Prices(START, (), 1, 1, 1, 1, 1, 1, 1, 1)  # type: ignore[arg-type]


def test_a_trace_of_no_length_costs_no_requests_and_is_not_divided_by() -> None:
    trace = trace_of([write(0, "a"), read(0, "a"), read(0, "b")])
    found = simulate(trace, NO_RULES, DISK, prices=PRICES)
    assert (found.seconds, found.dollars.requests, found.dollars.egress, found.mean_disk) == (0, 0, 0, 0)
    assert dollars(PRICES, AltRequests(get=1), seconds=1e-9, max_bytes=0, kept_bytes=0.0).requests > 0


@pytest.mark.parametrize("warm_up", [DAY, DAY + 1, 400 * DAY])
def test_a_warm_up_as_long_as_the_trace_leaves_nothing_to_count(warm_up: float) -> None:
    trace = trace_of([write(0, "a"), read(HOUR, "a"), read(HOUR, "b"), delete(DAY - 1, "a")])
    found = simulate(trace, NO_RULES, DISK, warm_up=warm_up)
    assert (found.gets.total, found.writes, found.seconds, found.days, found.reasons) == (0, 0, 0, (), ())
    assert found.delay.mean == 0


def test_an_object_larger_than_the_disk_goes_around_and_purges_nobody() -> None:
    trace = trace_of([write(0, "a", 1000), write(1, "huge", 10**9), read(2, "huge", 10**9), read(3, "a")])
    found = simulate(trace, NO_RULES, on(10**6))
    assert (found.around, found.passes, found.people.hits, found.purged_objects) == (1, 1, 1, 0)


@pytest.mark.parametrize("rules", [KEEP_ALL, PINS])
def test_where_nothing_may_go_the_disk_fills_once_and_every_write_more_goes_around(rules: RuleSet) -> None:
    trace = trace_of([write(60.0 * place, f"k{place:03}", 10_000) for place in range(200)])
    found = simulate(trace, rules, on(400_000))
    assert found.reasons == ()
    assert found.short == found.pressure_runs > 100
    assert 380_000 < found.most_disk <= 440_000
    assert found.writes - found.around == found.most_disk // 12_288


def test_decades_between_two_events_pass_quickly() -> None:
    """A clock that begins in 1970 and is set later."""
    trace = trace_of([write(0, "a"), read(1, "a"), read(55 * 365 * DAY, "a")])
    shifted = replace(trace, at=array("d", (at - START for at in trace.at)))
    at_night = parse(
        '[schedule]\nwindows = ["01:00-05:00"]\n[[rule]]\nname = "x"\nwhen = { idle = "> 2d" }\nthen = "purge"'
    )
    found = simulate(shifted, at_night, DISK)
    assert (found.people.hits, found.people.misses, found.purged_objects) == (1, 1, 1)
    assert len(found.days) == 55 * 365


# ------------------------------------------------------------ bytes


def test_the_mean_on_disk_is_over_time_and_not_over_days() -> None:
    """Ten minutes of an empty disk before midnight are no day."""
    trace = trace_of([delete(DAY - 600, "x"), write(DAY, "a", 1000), read(2 * DAY, "a")])
    found = simulate(trace, NO_RULES, DISK)
    assert found.mean_disk == pytest.approx(4096 * DAY / (DAY + 600))
    assert len(found.days) == 2


def test_what_alt_holds_follows_what_reads_say_of_sizes() -> None:
    """Somebody else wrote it, larger; then it was deleted: no less than nothing is left."""
    grown = trace_of([write(0, "a", 1000), read(1, "b", 10), read(DAY, "a", 5000), delete(2 * DAY, "a"),
                      read(4 * DAY, "b", 10)])  # fmt: skip
    rules = parse('[[rule]]\nname = "idle"\nwhen = { idle = "> 2h" }\nthen = "purge"')
    found = simulate(grown, rules, DISK)
    assert found.kept_bytes == pytest.approx(10 + (1000 + 5000) / 4, rel=0.01)


def test_what_is_read_after_its_delete_was_written_by_others() -> None:
    trace = trace_of([write(0, "a", 1000), delete(1, "a"), read(DAY, "a", 700), delete(2 * DAY, "a")])
    assert simulate(trace, NO_RULES, DISK).kept_bytes == pytest.approx(350, rel=0.01)


@pytest.mark.parametrize("key", ["ü" * 700, "日本" * 400, 'quo"te' * 150, "new\nline" * 110, "plain" * 210])
def test_a_blob_takes_what_its_record_takes(key: str) -> None:
    columns = Columns(trace_of([write(0, key, 1)]).objects)
    columns.size[0] = 3000
    plain = Columns(trace_of([write(0, "x" * (len(json.dumps(key)) - 2), 1)]).objects)
    plain.size[0] = 3000
    assert columns.footprint(0) == plain.footprint(0) > 4096


# ------------------------------------------------------------ the start


def test_what_was_purged_first_was_there() -> None:
    trace = trace_of([write(0, "z"), (HOUR, Op.PURGE, "a", 1000, 0), read(2 * HOUR, "a")])
    assert simulate(trace, NO_RULES, DISK).people.hits == 1
    assert replay(POLICIES["lru"](10**6, 2), primed(trace)).hits == 1


def test_a_start_that_rules_keep_and_that_is_more_than_the_disk_is_cut_and_nobody_purged_it() -> None:
    trace = trace_of([read(place, f"k{place:02}", 30_000, HIT) for place in range(20)])
    for rules in (KEEP_ALL, replace(NO_RULES, budget=Budget(min_on_disk=DAY))):
        found = simulate(trace, rules, on(400_000))
        assert found.most_disk <= 400_000
        assert 0 < found.people.hits < 20
        assert found.regrets == found.purged_objects == 0


def test_at_the_start_goes_what_a_rule_purges_however_new_it_seems() -> None:
    trace = trace_of([read(place, f"k{place:02}", 30_000, HIT) for place in range(14)])
    rules = parse('[[rule]]\nname = "late ones"\nwhen = { key = ["k1*", "k09", "k08"] }\nthen = "purge"')
    found = simulate(trace, replace(rules, budget=Budget(min_on_disk=DAY)), on(400_000))
    assert (found.people.hits, found.people.misses) == (9, 5)  # down to low water


def test_a_read_that_ends_what_a_rule_keeps_is_seen_on_a_disk_full_of_it() -> None:
    rules = parse('[pressure]\nkept = "never"\n[[rule]]\nname = "unread"\nwhen = { reads = "< 1" }\nthen = "keep"')
    steps = [write(60.0 * place, f"k{place:02}", 30_000) for place in range(20)]
    steps += [read(2000, "k03", 30_000), write(2001, "z", 30_000), read(2002, "z", 30_000)]
    found = simulate(trace_of(steps), rules, on(400_000))
    assert found.short > 5
    assert (found.people.hits, found.purged_objects) == (2, 1)


def imported(steps: list[Step]) -> Result:
    return simulate(trace_of(steps), NO_RULES, DISK)


def test_an_imported_log_says_no_hits_so_its_disk_is_empty_at_the_start() -> None:
    """As docs/whatif.md says; a warm-up is what helps."""
    steps = [read(HOUR * day * 24, "a") for day in range(4)]
    assert (imported(steps).people.hits, imported(steps).people.misses) == (3, 1)
    assert simulate(trace_of(steps), NO_RULES, DISK, warm_up=DAY - 1).people.misses == 0


def test_shares_of_a_file_system_do_not_matter() -> None:
    tight = replace(DISK, disk=replace(DISK.disk, min_free=Share(percent=99.0)))
    trace = trace_of([write(0, "a"), read(A_DAY, "a")])
    assert simulate(trace, NO_RULES, tight) == simulate(trace, NO_RULES, DISK)
