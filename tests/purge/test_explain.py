"""The fate of one object agrees with itself over time. That the planner means the same is tested with the planner."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.purge.explain import Fate, explain, fate, next_turn
from tierproxy.purges import Standing
from tierproxy.rules.evaluate import Facts
from tierproxy.rules.model import (
    Action,
    ActionKind,
    Budget,
    Measure,
    NumberCondition,
    Operator,
    Rule,
    RuleSet,
)
from tierproxy.testing.rules import NOW, objects, rule_sets
from tierproxy.traffic import DAY

PINS = (None, NOW + 90, NOW + 8 * DAY)
STEPS = (1.0, 3600.0, 0.5 * DAY, 3.0 * DAY, 40.0 * DAY)


def standing(facts: Facts, pinned_until: float | None = None) -> Standing:
    """A row with these facts."""
    on_disk = facts.stored_at is not None
    entry = Entry(
        facts.name, 1, facts.state, facts.size, "etag", facts.written_at,
        headers=Headers(metadata=dict(facts.metadata)), blob="blob" if on_disk else None,
        blob_bytes=4096 if on_disk else 0, stored_at=facts.stored_at,
        last_read_at=facts.last_read_at, reads=facts.reads, owner=facts.owner, folder=facts.folder,
        purged_at=facts.purged_at,
    )  # fmt: skip
    return Standing(entry, facts.machine_reads, facts.days, pinned_until)


def old(then: ActionKind, least: float = 0.0) -> RuleSet:
    """One rule for what is older than ten days."""
    when = (NumberCondition(Measure.AGE, Operator.GT, 10 * DAY),)
    return RuleSet((Rule("old", when, Action(then)),), budget=Budget(min_on_disk=least))


def written(days: float, **facts: object) -> Standing:
    at = NOW - days * DAY
    return standing(replace(Facts(ObjectName("b", "k"), written_at=at, stored_at=at), **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "rules", "expected"),
    [
        (written(20), old(ActionKind.PURGE), Fate.GOES),
        (written(20), old(ActionKind.KEEP), Fate.KEPT),
        (written(20), old(ActionKind.TRIM), Fate.GOES),
        (written(5), old(ActionKind.PURGE), Fate.UNDECIDED),
        (written(20, state=State.DIRTY), old(ActionKind.PURGE), Fate.DIRTY),
        (written(20, state=State.SUSPECT), old(ActionKind.PURGE), Fate.DIRTY),
        (written(20, stored_at=None), old(ActionKind.PURGE), Fate.ABSENT),
        (written(20, stored_at=NOW - 5), old(ActionKind.PURGE, least=10.0), Fate.YOUNG),
        (replace(written(20), pinned_until=NOW + 1), old(ActionKind.PURGE), Fate.PINNED),
        (replace(written(20), pinned_until=NOW), old(ActionKind.PURGE), Fate.GOES),
    ],
    ids=lambda value: str(value) if isinstance(value, Fate) else "",
)
def test_what_happens_to_an_object(found: Standing, rules: RuleSet, expected: Fate) -> None:
    assert fate(found, rules, NOW) is expected
    assert explain(found, rules, NOW).goes is (expected is Fate.GOES)


def test_what_goes_is_booked_on_its_rule() -> None:
    assert explain(written(20), old(ActionKind.PURGE), NOW).by == "rule:old"
    assert explain(written(20), old(ActionKind.KEEP), NOW).by == ""


def test_a_pinned_object_that_a_rule_purges_goes_when_the_pin_ends() -> None:
    found = explain(replace(written(20), pinned_until=NOW + 60), old(ActionKind.PURGE), NOW)
    assert (found.fate, found.changes_at, found.then) == (Fate.PINNED, NOW + 60, Fate.GOES)


def test_a_pin_that_outlives_a_change_of_rules_is_what_counts() -> None:
    found = replace(written(9), pinned_until=NOW + 5 * DAY)
    assert next_turn(found, old(ActionKind.PURGE), NOW) == NOW + 5 * DAY


def test_a_young_object_goes_when_it_is_old_enough() -> None:
    found = explain(written(20, stored_at=NOW - 5), old(ActionKind.PURGE, least=10.0), NOW)
    assert (found.fate, found.then) == (Fate.YOUNG, Fate.GOES)
    assert found.changes_at == pytest.approx(NOW + 5)


def test_a_pin_for_ever_never_ends() -> None:
    assert next_turn(replace(written(20), pinned_until=math.inf), old(ActionKind.PURGE), NOW) is None


@settings(max_examples=200, deadline=None)
@given(objects(blobs=True), rule_sets(), st.sampled_from(PINS), st.sampled_from((0.0, 7200.0)))
def test_nothing_changes_before_the_moment_that_is_named(
    facts: Facts, rules: RuleSet, pinned_until: float | None, least: float
) -> None:
    found, rules = standing(facts, pinned_until), replace(rules, budget=Budget(min_on_disk=least))
    before, turn = fate(found, rules, NOW), next_turn(found, rules, NOW)
    if turn is not None:
        assert turn > NOW
        assert fate(found, rules, turn) is not before
        assert fate(found, rules, NOW + (turn - NOW) / 2) is before
    if before not in {Fate.ABSENT, Fate.DIRTY}:
        for step in STEPS:
            if turn is None or NOW + step < turn:
                assert fate(found, rules, NOW + step) is before


def test_what_was_stored_by_a_clock_far_ahead_is_not_young_until_then() -> None:
    ahead = written(1, stored_at=NOW + 365 * DAY)
    rules = RuleSet(budget=Budget(min_on_disk=3600.0))
    assert fate(ahead, rules, NOW) is Fate.UNDECIDED
    turn = next_turn(ahead, rules, NOW)
    assert turn == pytest.approx(NOW + 365 * DAY - 3600)
    assert turn is not None
    assert fate(ahead, rules, turn) is Fate.YOUNG
