"""What rules say of an object: every condition at its edges, which rule decides, and when that changes."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.model import Ack, Entry, FillPolicy, Headers, ObjectName, State
from tierproxy.purges import Standing, facts_of
from tierproxy.rules.evaluate import (
    Facts,
    arriving,
    decide,
    deciding,
    fill_of,
    next_change,
    within,
    write_of,
)
from tierproxy.rules.language import parse
from tierproxy.rules.model import Action, ActionKind, RuleSet
from tierproxy.testing.rules import NOW, TIMEZONES, objects, rule_sets

DAY = 86_400.0
HOUR = 3600.0
TODAY = int(NOW // DAY)
MIDNIGHT = TODAY * DAY
NAME = ObjectName("mail", "mail/alice/1")
MAIL = Facts(
    NAME, "alice", "INBOX", 5000, written_at=NOW - 14 * DAY, stored_at=NOW - 2 * DAY, last_read_at=NOW - HOUR, reads=3,
    machine_reads=1, days=((TODAY - 30, 2, 1), (TODAY, 1, 0)), metadata={"flag": "x"},
)  # fmt: skip


def rules(*conditions: str, then: str = "purge", options: str = "") -> RuleSet:
    """A rule for each."""
    tables = [
        f'[[rule]]\nname = "rule {number}"\nwhen = {{ {condition} }}\nthen = "{then}"\n'
        for number, condition in enumerate(conditions)
    ]
    return parse("\n".join([*tables, options]))


def true(condition: str, facts: Facts = MAIL, now: float = NOW) -> bool:
    return deciding(rules(condition), facts, now) == 0


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('age = "< 14d"', False), ('age = "<= 14d"', True), ('age = "= 14d"', True), ('age = ">= 14d"', True),
        ('age = "> 14d"', False), ('age = [">= 14d", "< 15d"]', True), ('age = [">= 14d", "> 14d"]', False),
        ('on_disk = ">= 2d"', True), ('on_disk = "> 2d"', False),
        ('idle = "<= 1h"', True), ('idle = "< 1h"', False),
        ('size = "> 4999"', True), ('size = "> 5000"', False), ('size = "< 5KB"', False), ('size = "< 5KiB"', True),
        ('reads = ">= 3"', True), ('reads = "> 3"', False), ('machine_reads = "= 1"', True),
        ('reads = "= 3 in 30d"', True), ('reads = "= 1 in 29d"', True), ('machine_reads = "= 0 in 29d"', True),
        ('key = "mail/*"', True), ('key = "mail"', False), ('key = "MAIL/*"', False), ('key = ["x*", "*/1"]', True),
        ('key = ["*", "!*/1"]', False), ('key = "!*.index"', True), ('key = "mail/[!b]lice/?"', True),
        ('bucket = "mail"', True), ('bucket = "mai?"', True), ('bucket = "other"', False),
        ('owner = "al*"', True), ('owner = ""', False), ('owner = "!"', True),
        ('folder = "InBox"', True), ('folder = "!inbox"', False),
        ('state = "clean"', True), ('state = ["dirty", "suspect"]', False), ('state = "!dirty"', True),
        ('has = "read"', True), ('has = "machine-read"', True), ('has = "metadata:flag"', True),
        ('has = "metadata:flags"', False), ('has = "attachment"', False), ('has = "purged-before"', False),
        ('has = ["attachment", "read"]', True), ('has = "!read"', False), ('time = "13:20-13:21"', True),
        ('time = "13:21-13:20"', False), ('time = "00:00-24:00"', True),
    ],
)  # fmt: skip
def test_each_condition_at_its_edge(condition: str, expected: bool) -> None:
    assert true(condition) is expected


@pytest.mark.parametrize("attachments", [None, "", "0", "1", "00", "a.pdf"])
def test_an_attachment_is_metadata_that_says_so(attachments: str | None) -> None:
    facts = replace(MAIL, metadata={} if attachments is None else {"attachments": attachments})
    assert true('has = "attachment"', facts) is (attachments in {"1", "00", "a.pdf"})


def test_without_a_blob_no_comparison_of_time_on_disk_is_true() -> None:
    gone = replace(MAIL, stored_at=None)
    assert not any(true(f'on_disk = "{sign} 0s"', gone) for sign in ("<", "<=", "=", ">=", ">"))


def test_idle_begins_with_the_last_read_else_on_disk_else_when_written() -> None:
    unread = replace(MAIL, last_read_at=None)
    assert true('idle = "= 2d"', unread)
    assert true('idle = "= 14d"', replace(unread, stored_at=None))


def test_a_clock_that_jumped_back_makes_nothing_old() -> None:
    future = replace(MAIL, written_at=NOW + DAY, last_read_at=NOW + DAY)
    assert true('age = "< 0s"', future)
    assert not true('age = ">= 0s"', future)
    assert not true('idle = "> 0s"', future)


def test_a_purge_counts_as_one_before_until_the_object_is_written_again_or_comes_back() -> None:
    purged = replace(MAIL, stored_at=None, purged_at=NOW - DAY)
    assert true('has = "purged-before"', purged)
    assert not true('has = "purged-before"', replace(purged, written_at=NOW - HOUR))
    assert not true('has = "purged-before"', replace(purged, stored_at=NOW))


def test_the_first_matching_rule_decides_and_says_why() -> None:
    ruleset = rules('age = "< 14d"', 'reads = ">= 3 in 30d", key = "mail/*"', 'size = "> 1MiB"')
    verdict = decide(ruleset, MAIL, NOW)
    assert verdict.rule == 1
    assert verdict.action == Action(ActionKind.PURGE)
    assert [judgment.matches for judgment in verdict.judgments] == [False, True, False]
    assert [[(truth.holds, truth.value) for truth in judgment.truths] for judgment in verdict.judgments] == [
        [(False, 14 * DAY)],
        [(True, 3), (True, "mail/alice/1")],
        [(False, 5000)],
    ]


def test_what_no_rule_matches_is_undecided() -> None:
    verdict = decide(rules('age = "< 1d"'), MAIL, NOW)
    assert (verdict.rule, verdict.action) == (None, None)


def test_numbers_behind_a_verdict_are_there_for_every_kind_of_condition() -> None:
    ruleset = rules('on_disk = "> 1d"', 'has = "read"', 'time = "01:00-02:00"', 'folder = "x"')
    verdict = decide(ruleset, replace(MAIL, stored_at=None), NOW)
    values = [judgment.truths[0].value for judgment in verdict.judgments]
    assert values == [None, ("read", "machine-read", "metadata:flag"), 13 * 60 + 20, "inbox"]


def test_a_rule_without_conditions_matches_everything() -> None:
    assert deciding(parse('[[rule]]\nname = "all"\nthen = "keep"'), MAIL, NOW) == 0


def test_a_pin_that_has_run_out_does_not_match() -> None:
    pinned = rules("", then="pin until age 14d")
    assert deciding(pinned, MAIL, NOW - 1) == 0
    assert deciding(pinned, MAIL, NOW) is None
    assert decide(pinned, MAIL, NOW).judgments[0].expired
    dated = rules("", then="pin until 2027-01-31")
    end = datetime(2027, 1, 31, tzinfo=ZoneInfo("UTC")).timestamp()
    assert deciding(dated, MAIL, math.nextafter(end, 0)) == 0
    assert deciding(dated, MAIL, end) is None


def test_each_policy_is_that_of_the_first_matching_rule_that_has_one() -> None:
    ruleset = parse("""
    [[rule]]
    name = "indexes"
    when = { key = "*.index" }
    fill = "never"
    [[rule]]
    name = "big"
    when = { size = ">= 1MiB" }
    write = "alt"
    [[rule]]
    name = "rest"
    then = "keep"
    fill = "second-read"
    write = "disk"
    """)
    index = replace(MAIL, name=ObjectName("mail", "x.index"))
    assert fill_of(ruleset, index, NOW) is FillPolicy.NEVER
    assert fill_of(ruleset, MAIL, NOW) is FillPolicy.SECOND_READ
    assert write_of(ruleset, arriving(NAME, size=2**20, now=NOW), NOW) is Ack.ALT
    assert write_of(ruleset, arriving(NAME, size=1, now=NOW), NOW) is Ack.DISK
    assert deciding(ruleset, index, NOW) == 2, "rules without an action decide no purge"
    assert fill_of(rules(""), MAIL, NOW) is None
    assert write_of(rules(""), MAIL, NOW) is None


def test_facts_are_those_of_the_catalogue() -> None:
    entry = Entry(
        NAME, 1, State.CLEAN, 5000, "etag", NOW - 14 * DAY, headers=Headers(metadata={"flag": "x"}), blob="b",
        blob_bytes=8192, stored_at=NOW - 2 * DAY, last_read_at=NOW - HOUR, reads=3, owner="alice", folder="INBOX",
    )  # fmt: skip
    assert facts_of(Standing(entry, machine_reads=1, days=MAIL.days)) == MAIL
    bare = facts_of(Standing(replace(entry, blob=None, headers=None, owner=None, folder=None)))
    assert (bare.stored_at, bare.metadata, bare.owner, bare.folder) == (None, {}, "", "")


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("21:59", False), ("22:00", True), ("23:59", True), ("00:00", True), ("05:59", True), ("06:00", False)],
)
def test_a_span_over_midnight_has_its_start_and_not_its_stop(clock: str, expected: bool) -> None:
    hour, minute = map(int, clock.split(":"))
    moment = datetime(2026, 7, 14, hour, minute, 30, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert within([(22 * 60, 6 * 60)], "Europe/Berlin", moment) is expected


def after(
    condition: str, facts: Facts = MAIL, *, now: float = NOW, options: str = "", then: str = "purge"
) -> float | None:
    return next_change(rules(condition, then=then, options=options), facts, now)


def test_a_change_is_told_to_the_moment() -> None:
    assert after('age = "<= 15d"') == math.nextafter(NOW + DAY, math.inf)
    assert after('age = ">= 15d"') == NOW + DAY
    assert after('on_disk = "< 3d"') == NOW + DAY
    assert after('idle = "> 2h"') == math.nextafter(NOW + HOUR, math.inf)
    assert after('reads = ">= 3 in 30d"') == MIDNIGHT + DAY, "the bin of 30 days ago leaves the window"
    assert after('reads = ">= 1 in 7d"') == MIDNIGHT + 8 * DAY
    assert after("", then="pin until age 20d") == NOW + 6 * DAY
    assert after("", then="pin until 2027-01-31") == datetime(2027, 1, 31, tzinfo=ZoneInfo("UTC")).timestamp()
    assert after('time = "14:00-15:00"') == MIDNIGHT + 14 * HOUR
    assert after('time = "13:00-14:00"') == MIDNIGHT + 14 * HOUR


def test_what_time_does_not_change_never_changes() -> None:
    assert after('size = "> 1"') is None
    assert after('age = ">= 14d"') is None
    assert after('time = "00:00-24:00"') is None
    assert after('age = "< 1d", time = "01:00-02:00"') is None


def test_a_time_of_day_far_ahead_is_found_when_the_rest_holds_only_then() -> None:
    moment = after('age = "> 100d", time = "01:00-02:00"')
    assert moment == MIDNIGHT + 87 * DAY + HOUR


def test_another_rule_that_does_the_same_is_a_change() -> None:
    assert next_change(rules('age = "< 15d"', 'age = "< 99d"'), MAIL, NOW) == NOW + DAY


def test_clocks_that_are_put_forward_or_back_are_heeded() -> None:
    berlin = '[schedule]\ntimezone = "Europe/Berlin"'
    forward = datetime(2027, 3, 28, 1, tzinfo=ZoneInfo("UTC")).timestamp()  # 02:00 becomes 03:00
    assert after('time = "03:00-04:00"', now=forward - HOUR, options=berlin) == forward
    assert after('time = "01:30-02:30"', now=forward - 60, options=berlin) == forward, "02:30 is not shown that day"
    back = datetime(2027, 10, 31, 1, tzinfo=ZoneInfo("UTC")).timestamp()  # 03:00 becomes 02:00
    assert after('time = "02:00-02:30"', now=back - 1800, options=berlin) == back, "the hour comes again"
    assert after('time = "02:30-04:00"', now=back + 60, options=berlin) == back + 1800, "and its second half hour"


@settings(max_examples=150, deadline=None)
@given(rule_sets(most=4), objects())
def test_the_next_change_is_the_first_there_is(ruleset: RuleSet, facts: Facts) -> None:
    before = deciding(ruleset, facts, NOW)
    change = next_change(ruleset, facts, NOW)
    if change is not None:
        assert change > NOW
        assert deciding(ruleset, facts, change) != before
        assert deciding(ruleset, facts, math.nextafter(change, 0)) == before
    minutes = [NOW - NOW % 60 + 60.0 * step for step in range(1, 2 * 1440, 7)]
    weeks = [NOW + 7.1 * DAY * step for step in range(1, 60)]
    for moment in [*minutes, *weeks]:
        if change is None or moment < change:
            assert deciding(ruleset, facts, moment) == before


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.sampled_from(TIMEZONES), st.integers(0, 1439), st.integers(1, 1440))
def test_the_next_minute_of_a_time_of_day_is_found_by_counting_minutes(
    hours: int, timezone: str, start: int, stop: int
) -> None:
    if start == stop:
        stop += 1
    spans = f"{start // 60:02}:{start % 60:02}-{stop // 60:02}:{stop % 60:02}"
    now = NOW - NOW % 60 + hours * 3 * HOUR
    ruleset = rules(f'time = "{spans}"', options=f'[schedule]\ntimezone = "{timezone}"')
    before = deciding(ruleset, MAIL, now)
    counted = (now + 60.0 * step for step in range(1, 2 * 1440))
    expected = next((moment for moment in counted if deciding(ruleset, MAIL, moment) != before), None)
    assert next_change(ruleset, MAIL, now) == expected


@settings(max_examples=200, deadline=None)
@given(rule_sets(), objects())
def test_the_reasons_agree_with_the_verdict(ruleset: RuleSet, facts: Facts) -> None:
    verdict = decide(ruleset, facts, NOW)
    matching = [
        number
        for number, judgment in enumerate(verdict.judgments)
        if judgment.rule.then is not None and not judgment.expired and all(truth.holds for truth in judgment.truths)
    ]
    assert verdict.rule == (matching[0] if matching else None)
