"""Compiled rules say what the rules say, and nothing changes before they say it may."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.whatif.columns import columns_of
from tierproxy.model import ObjectName, State
from tierproxy.rules.evaluate import Facts, deciding, fill_of, next_change, write_of
from tierproxy.rules.language import parse
from tierproxy.rules.model import RuleSet
from tierproxy.testing.rules import NOW, objects, rule_sets
from tierproxy.traffic import DAY
from tierproxy.whatif.engine.columns import blob_bytes
from tierproxy.whatif.engine.decisions import SLACK, UNDECIDED, Decisions

bounded = settings(max_examples=150, deadline=None)


TODAY = int(NOW // DAY)
OLD = Facts(
    ObjectName("mail", "a"), written_at=NOW - 10 * DAY, stored_at=NOW - 10 * DAY, reads=3, last_read_at=NOW - 2 * DAY,
    days=((TODAY - 2, 3, 0),),
)  # fmt: skip


def plain(facts: Facts) -> Facts:
    """What a trace can tell of an object: alt has it, and nobody knows its metadata."""
    return replace(facts, state=State.CLEAN, metadata={})


traced = st.lists(objects().map(plain), min_size=1, max_size=6)
moments = st.sampled_from((0.0, 0.5, 1.0, 3600.0, 86_400.0, 7.0 * DAY, 30.0 * DAY)).map(lambda later: NOW + later)


@bounded
@given(rule_sets(), traced, moments)
def test_compiled_rules_decide_as_rules_do(rules: RuleSet, drawn: list[Facts], now: float) -> None:
    decisions = Decisions(rules, columns_of(drawn))
    for number, facts in enumerate(drawn):
        expected = deciding(rules, facts, now)
        assert decisions.decide(number, now) == (UNDECIDED if expected is None else expected)


@bounded
@given(rule_sets(), traced, moments)
def test_compiled_policies_are_those_of_the_rules(rules: RuleSet, drawn: list[Facts], now: float) -> None:
    policies = [replace(facts, machine_reads=0, days=()) for facts in drawn]  # what a row tells
    decisions = Decisions(rules, columns_of(drawn))
    for number, facts in enumerate(policies):
        fill = UNDECIDED if decisions.fill is None else decisions.fill(number, now)
        write = UNDECIDED if decisions.write is None else decisions.write(number, now)
        assert (None if fill == UNDECIDED else rules.rules[fill].fill) == fill_of(rules, facts, now)
        assert (None if write == UNDECIDED else rules.rules[write].write) == write_of(rules, facts, now)


@bounded
@given(rule_sets(), st.lists(objects(blobs=True).map(plain), min_size=1, max_size=4))
def test_no_rule_changes_its_mind_before_the_next_look(rules: RuleSet, drawn: list[Facts]) -> None:
    decisions = Decisions(rules, columns_of(drawn))
    for number, facts in enumerate(drawn):
        look = decisions.look(number, NOW, decisions.decide(number, NOW))
        change = next_change(rules, facts, NOW)
        assert change is None or look <= change


def test_a_look_is_not_much_before_the_change() -> None:
    rules = parse('[[rule]]\nname = "a"\nwhen = { age = "> 5d", reads = "<= 1 in 7d" }\nthen = "purge"')
    change = next_change(rules, OLD, NOW)
    assert change is not None
    assert Decisions(rules, columns_of([OLD])).look(0, NOW, UNDECIDED) == change - SLACK


@bounded
@given(rule_sets(), st.lists(objects(blobs=True).map(plain), min_size=1, max_size=4), st.booleans(), moments)
def test_a_read_makes_patient_rules_purge_nothing_sooner(
    rules: RuleSet, drawn: list[Facts], person: bool, later: float
) -> None:
    """What spares a look at every object that was read."""
    decisions = Decisions(rules, columns_of(drawn))
    if decisions.hurried:
        return
    for facts in drawn:
        after = deciding(rules, read(facts, person), later)
        if after is not None and after in decisions.purging:
            assert deciding(rules, facts, later) in decisions.purging


def test_the_example_rules_are_patient_and_a_rule_for_what_was_read_is_not() -> None:
    hurried = parse('[[rule]]\nname = "a"\nwhen = { reads = ">= 1", age = "> 1d" }\nthen = "purge"')
    assert Decisions(hurried, columns_of([])).hurried
    patient = parse('[[rule]]\nname = "a"\nwhen = { reads = "<= 1", idle = "> 1d" }\nthen = "purge"')
    assert not Decisions(patient, columns_of([])).hurried


def test_a_blob_takes_what_the_disk_tier_says() -> None:
    assert blob_bytes(1, 20) == 4096
    assert blob_bytes(4096, 20) == 8192
    assert blob_bytes(256 * 1024, 20) == 65 * 4096
    assert blob_bytes(600 * 2**20, 20) == 600 * 2**20 + 5 * 4096  # 2,400 blocks have 19,200 bytes of digests


def read(facts: Facts, person: bool) -> Facts:
    """``facts`` after a read now."""
    bins = {day: (reads, machine) for day, reads, machine in facts.days}
    people, machine = bins.get(TODAY, (0, 0))
    bins[TODAY] = (people + person, machine + (not person))
    days = tuple((day, *counts) for day, counts in sorted(bins.items()))
    if not person:
        return replace(facts, machine_reads=facts.machine_reads + 1, days=days)
    last = NOW if facts.last_read_at is None else max(NOW, facts.last_read_at)
    return replace(facts, reads=facts.reads + 1, last_read_at=last, days=days)
