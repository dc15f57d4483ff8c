"""A replay by rules: against a naive one on random traffic, and what it does at the edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.whatif.naive import Naive
from tests.whatif.steps import DAY, HOUR, START, Step, delete, read, trace_of, write
from tierproxy.config.sections import BucketSection, CountingSection, DiskSection, FillSection, PolicySection
from tierproxy.config.values import Share, Size
from tierproxy.model import Ack, FillPolicy
from tierproxy.purge.plan import merged
from tierproxy.rules.language import parse
from tierproxy.rules.model import NO_RULES, Budget, Kept, Order, Pressure, RuleSet, Schedule
from tierproxy.testing.rules import rule_sets
from tierproxy.trace import HIT, LATER, MACHINE, Op, Trace
from tierproxy.whatif.engine.columns import Columns
from tierproxy.whatif.engine.disk import Disk
from tierproxy.whatif.engine.ledger import Ledger
from tierproxy.whatif.engine.room import Room
from tierproxy.whatif.live import Setup, compare, simulate
from tierproxy.whatif.scans import TAKEN, corrected

DISK = Setup(disk=DiskSection(max_bytes=Size(10**9), min_free=Share(bytes=0)), counting=CountingSection(scan_objects=0))
KEYS = ("mail/alice/1", "mail/bob/u.10", "Mail/x", "z/ä/ü", "x-y^z!", "alice/2", "a[b]c", "mail/alice/3")
IDLE = parse('[[rule]]\nname = "idle"\nwhen = { idle = "> 2d" }\nthen = "purge"')


def events() -> st.SearchStrategy[list[Step]]:
    """Of a few objects over some weeks; each is written before it is read."""
    gaps = st.sampled_from((7.0, 100.0, HOUR, 5 * HOUR, DAY + 11, 3.5 * DAY))
    sizes = st.sampled_from((1000, 30_000, 2**20, 2**20 - 1))
    one = st.tuples(gaps, st.sampled_from("rrrrmwd"), st.sampled_from(KEYS), sizes)
    return st.lists(one, min_size=5, max_size=60).map(_steps)


def _steps(drawn: list[tuple[float, str, str, int]]) -> list[Step]:
    now, found = 0.5, list[Step]()
    for key in KEYS:
        found.append(write(now, key, 20_000))
        now += 1
    for gap, what, key, size in drawn:
        now += gap
        step = {"r": read(now, key), "m": read(now, key, flags=MACHINE), "w": write(now, key, size)}
        found.append(step.get(what) or delete(now, key))
    return _sized(found)


def _sized(steps: list[Step]) -> list[Step]:
    """What is read has the size that was written last; what was deleted is not read."""
    sizes: dict[str, int] = {}
    found = []
    for at, op, key, size, flags in steps:
        if op is Op.WRITE:
            sizes[key] = size
        if key in sizes:
            found.append((at, op, key, sizes[key], flags))
        if op is Op.DELETE:
            sizes.pop(key, None)
    return found


def purges(rules: RuleSet) -> RuleSet:
    """``rules`` with turns some hours apart, and no policies, which the naive replay does not know."""
    bare = tuple(replace(rule, fill=None, write=None) for rule in rules.rules)
    return replace(rules, rules=bare, schedule=replace(rules.schedule, every=5000.0))


def both(trace: Trace, rules: RuleSet, max_bytes: int) -> None:
    setup = replace(DISK, disk=replace(DISK.disk, max_bytes=Size(max_bytes)))
    naive = Naive(rules, merged(setup.disk, rules.budget))
    naive.play(trace)
    found = simulate(trace, rules, setup)
    assert {record.by: record.bytes for record in found.reasons} == dict(naive.purged)
    assert (found.people.hits, found.people.misses) == (naive.hits, naive.misses)
    assert [day.mean for day in found.days] == pytest.approx([mean for _, mean, _ in naive.room.days], abs=0.1)
    assert [day.most for day in found.days] == [most for _, _, most in naive.room.days]


@settings(max_examples=120, deadline=None)
@given(rule_sets().map(purges), events())
def test_rules_take_their_turn_as_if_everything_were_looked_at(rules: RuleSet, steps: list[Step]) -> None:
    both(trace_of(steps), rules, 10**9)


SIMPLE = (Order.LRU, Order.FIFO, Order.LFU, Order.SCORE)
pressures = st.builds(Pressure, st.sampled_from(SIMPLE), st.sampled_from(Kept))


@settings(max_examples=120, deadline=None)
@given(
    rule_sets().map(purges), events(), pressures, st.sampled_from((150_000, 1_500_000)), st.sampled_from((0.0, HOUR))
)
def test_pressure_takes_what_the_live_orders_take(
    rules: RuleSet, steps: list[Step], pressure: Pressure, max_bytes: int, young: float
) -> None:
    rules = replace(rules, pressure=pressure, budget=Budget(min_on_disk=young))
    both(trace_of(steps), rules, max_bytes)


# ------------------------------------------------------------ the start


def test_what_was_a_hit_when_it_was_recorded_was_there_at_the_start() -> None:
    trace = trace_of([read(0, "a", flags=HIT), read(1, "b")])
    warm, cold = simulate(trace, NO_RULES, DISK), simulate(trace, NO_RULES, DISK, warm=False)
    assert (warm.people.hits, warm.people.misses) == (1, 1)
    assert (cold.people.hits, cold.people.misses) == (0, 2)


def test_the_age_of_what_was_there_begins_with_the_trace() -> None:
    trace = trace_of([write(0, "z"), read(1.5 * DAY, "a", flags=HIT), read(5 * DAY, "a", flags=HIT)])
    found = simulate(trace, IDLE, DISK)
    assert (found.people.hits, found.people.misses) == (1, 1)


def test_what_is_more_than_the_disk_at_the_start_goes_before_the_first_event() -> None:
    trace = trace_of([read(place, f"k{place}", 30_000, HIT) for place in range(20)])
    found = simulate(trace, NO_RULES, replace(DISK, disk=replace(DISK.disk, max_bytes=Size(400_000))))
    assert 0 < found.people.misses < 20
    assert found.most_disk <= 400_000


def test_a_warm_up_is_played_and_not_counted() -> None:
    trace = trace_of([write(0, "a"), read(HOUR, "a"), read(DAY, "a"), read(DAY + HOUR, "b")])
    found = simulate(trace, NO_RULES, DISK, warm_up=DAY - 1)
    assert (found.people.hits, found.people.misses, found.writes) == (1, 1, 0)
    assert found.seconds == HOUR + 1


# ------------------------------------------------------------ what happens


def test_a_purge_is_regretted_once_the_object_is_wanted_again() -> None:
    trace = trace_of([write(0, "a"), read(3 * DAY, "a"), read(3 * DAY + 1, "a")])
    found = simulate(trace, IDLE, DISK)
    (record,) = found.reasons
    assert (record.by, record.objects, record.regrets, record.machine_regrets) == ("rule:idle", 1, 1, 0)
    assert record.soon == (0, 1, 0, 0, 0)
    assert record.seconds == pytest.approx(DAY, abs=900)
    assert (found.people.hits, found.people.misses, found.fills) == (1, 1, 1)


def test_a_machine_leaves_no_copy_and_a_regret_of_its_own() -> None:
    trace = trace_of([write(0, "a"), read(3 * DAY, "a", flags=MACHINE), read(3 * DAY + 1, "a")])
    found = simulate(trace, IDLE, DISK)
    assert (found.machines.misses, found.people.misses, found.fills, found.passes) == (1, 1, 1, 1)
    assert (found.reasons[0].regrets, found.reasons[0].machine_regrets) == (1, 1)


def test_later_ranges_are_gets_and_no_reads() -> None:
    trace = trace_of([write(0, "a"), read(1, "a"), read(2, "a", flags=LATER)])
    found = simulate(trace, NO_RULES, DISK)
    assert (found.people.total, found.gets.total) == (1, 2)


@pytest.mark.parametrize(
    ("policy", "fills"), [(FillPolicy.ALWAYS, 1), (FillPolicy.NEVER, 0), (FillPolicy.SECOND_READ, 1)]
)
def test_fill_policies(policy: FillPolicy, fills: int) -> None:
    trace = trace_of([read(0, "a"), read(1, "a"), read(2, "a")])
    found = simulate(trace, NO_RULES, replace(DISK, fill=FillSection(policy=policy)))
    expected = {FillPolicy.ALWAYS: 2, FillPolicy.NEVER: 0, FillPolicy.SECOND_READ: 1}[policy]
    assert (found.fills, found.people.hits) == (fills, expected)


def test_a_part_of_a_large_object_is_not_filled_and_only_the_part_is_fetched() -> None:
    trace = trace_of([read(0, "a", 20 * 2**20)])
    trace = replace(trace, sent=trace.sent.__class__("q", [1000]))
    found = simulate(trace, NO_RULES, DISK)
    assert (found.fills, found.alt.fetched) == (0, 1000)


def test_a_write_around_the_disk_takes_the_old_blob_away() -> None:
    rules = parse('[[rule]]\nname = "around"\nwhen = { size = "> 5000" }\nwrite = "alt"')
    trace = trace_of([write(0, "a", 1000), write(1, "a", 9000), read(2, "a", 9000)])
    found = simulate(trace, rules, DISK)
    assert (found.around, found.people.misses, found.fills, found.alt.put) == (1, 1, 1, 2)


def test_a_bucket_and_its_patterns_have_their_own_policies() -> None:
    section = BucketSection(name="mail", policy=(PolicySection(key="*.idx", fill=FillPolicy.NEVER),), ack=Ack.ALT)
    trace = trace_of([write(0, "a"), read(1, "a"), read(2, "b.idx")])
    found = simulate(trace, NO_RULES, replace(DISK, buckets=(section,)))
    assert (found.around, found.fills, found.passes) == (1, 1, 1)


def test_what_never_fits_goes_around_and_purges_nothing() -> None:
    setup = replace(DISK, disk=replace(DISK.disk, max_bytes=Size(200_000)))
    trace = trace_of([write(0, "a", 100_000), write(1, "b", 500_000), read(2, "a", 100_000)])
    found = simulate(trace, NO_RULES, setup)
    assert (found.around, found.people.hits, found.reasons) == (1, 1, ())


def test_rules_run_inside_their_windows_only() -> None:
    rules = replace(IDLE, schedule=Schedule(every=900.0, spans=((60, 120),)))
    trace = trace_of([write(3 * HOUR, "a"), write(10 * DAY, "z")])
    found = simulate(trace, rules, DISK)
    first, second = (next(day.mean for day in found.days if day.day == START // DAY + day_) for day_ in (2, 3))
    assert first == 4096.0
    assert second == pytest.approx(4096 * HOUR / DAY, rel=0.01)


def test_space_over_time_is_told_by_the_day() -> None:
    trace = trace_of([write(0, "a", 1000), write(12 * HOUR, "b", 1000), delete(DAY, "a"), write(2 * DAY, "c", 1)])
    days = simulate(trace, NO_RULES, DISK).days
    assert [(day.mean, day.most) for day in days] == [(6144.0, 8192), (4096.0, 8192)]


def test_what_comes_back_after_a_purge_begins_in_the_main_queue_and_what_is_overwritten_in_the_small_one() -> None:
    columns = Columns(trace_of([write(0, "a")]).objects)
    disk = Disk(columns, Room(DISK.disk, (), START), Ledger(), by_use=False)
    disk.store(0, START)
    assert bytes(columns.main) == b"\0"
    disk.purge(0, START + 1, "pressure")
    disk.store(0, START + 2)
    assert bytes(columns.main) == b"\1"
    disk.store(0, START + 3)
    assert bytes(columns.main) == b"\0"


# ------------------------------------------------------------ scans


def test_the_beginning_of_a_scan_is_the_machines() -> None:
    trace = trace_of([read(place, f"o/{place:02}", flags=MACHINE * (place >= 4)) for place in range(8)])
    found = corrected(trace, CountingSection(scan_objects=5))
    assert list(found.flags) == [MACHINE | TAKEN] * 5 + [MACHINE] * 3
    assert corrected(found, CountingSection(scan_objects=5)) == found


def test_people_before_a_scan_that_are_none_of_it_stay_people() -> None:
    steps = [read(place, f"o/{place * 7 % 5}", flags=MACHINE * (place >= 4)) for place in range(8)]
    late = [read(place * 11.0, f"o/{place}", flags=MACHINE * (place >= 4)) for place in range(8)]
    for trace in (trace_of(steps), trace_of(late)):
        assert corrected(trace, CountingSection(scan_objects=5)).flags == trace.flags


# ------------------------------------------------------------ the questions


def test_progress_is_told_and_ends_a_replay_by_what_it_raises() -> None:
    trace = trace_of([write(0, "a"), read(1, "a")])
    told: list[tuple[int, int]] = []
    compare(trace, {"one": NO_RULES, "two": IDLE}, DISK, progress=lambda done, of: told.append((done, of)))
    assert told == [(2, 4), (4, 4)]

    def cancel(done: int, of: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        simulate(trace, NO_RULES, DISK, progress=cancel)


def test_each_of_several_rule_files_is_replayed_as_if_alone() -> None:
    trace = trace_of([write(0, "a"), read(3 * DAY, "a")])
    found = compare(trace, {"none": NO_RULES, "idle": IDLE}, DISK)
    assert found == {"none": simulate(trace, NO_RULES, DISK), "idle": simulate(trace, IDLE, DISK)}
    assert found["none"].people.hits == 1
    assert found["idle"].people.hits == 0


def test_an_empty_trace_is_a_result_of_zeros() -> None:
    found = simulate(trace_of([]), IDLE, DISK)
    assert (found.events, found.people.total, found.people.hit_ratio, found.mean_disk) == (0, 0, 0.0, 0.0)
