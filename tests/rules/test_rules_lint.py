"""Rules that contradict themselves, that nothing reaches, that cannot work: found before they are put in force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import DiskSection
from tierproxy.errors import ConfigError
from tierproxy.rules.bounds import Interval, contradiction, implies
from tierproxy.rules.evaluate import Facts, matches
from tierproxy.rules.language import parse
from tierproxy.rules.lint import Finding, Holdings, Level, accept, lint, weigh
from tierproxy.rules.model import RuleSet
from tierproxy.testing.rules import NOW, TIMEZONES, objects, rule_sets

EXAMPLE = Path("config/rules.toml").read_text()


def rule(condition: str, then: str = 'then = "purge"', name: str = "") -> str:
    return (
        f'[[rule]]\nname = "{name or condition.replace(chr(34), "")[:60] or "all"}"\nwhen = {{ {condition} }}\n{then}\n'
    )


def found(*texts: str, disk: DiskSection | None = None) -> list[Finding]:
    return lint(parse("".join(texts)), now=NOW, disk=disk)


def only(findings: list[Finding]) -> tuple[Level, int, str]:
    assert len(findings) == 1, findings
    assert findings[0].fix
    return findings[0].level, findings[0].line, findings[0].text


def test_the_example_has_no_findings() -> None:
    ruleset, findings = accept(EXAMPLE, now=NOW)
    assert findings == []
    assert len(ruleset.rules) == 4


@pytest.mark.parametrize(
    "condition",
    [
        'age = ["< 1d", ">= 2d"]', 'age = ["< 1d", ">= 1d"]', 'age = ["= 1d", "= 2d"]', 'idle = ["> 1d", "<= 1d"]',
        'reads = ["> 2", "< 3"]', 'reads = "< 0"', 'size = ["> 5", "< 6"]', 'size = "< 0"', 'reads = ["= 0", "= 1"]',
        'reads = ["<= 1", ">= 3 in 30d"]', 'reads = [">= 3 in 7d", "< 3 in 30d"]',
        'machine_reads = ["< 1", "> 1 in 1d"]',
        'key = ["mail/*", "!mail/*"]', 'key = ["mail/a", "mail/b", "!mail/*"]', 'owner = ["x", "!*"]', 'key = "!*"',
        'folder = ["trash", "!Trash"]', 'state = ["clean", "!clean"]', 'has = ["read", "!read"]',
    ],
)  # fmt: skip
def test_a_rule_that_can_never_match_is_an_error(condition: str) -> None:
    level, line, text = only(found(rule('size = "= 7"', 'then = "keep"'), rule(condition)))
    assert (level, line) == (Level.ERROR, 5)
    assert "it can never match" in text


def test_a_pin_until_an_age_below_that_of_its_conditions_can_never_match() -> None:
    level, _, text = only(found(rule('age = "> 30d"', 'then = "pin until age 14d"')))
    assert level is Level.ERROR
    assert "can never match" in text


@pytest.mark.parametrize(
    "condition",
    [
        'age = [">= 1d", "<= 1d"]', 'reads = ["<= 3", ">= 3 in 30d"]', 'reads = [">= 3", "<= 1 in 7d"]',
        'reads = ["= 0 in 7d", ">= 1 in 30d"]', 'key = ["mail/*", "!*.index"]', 'owner = ["x", "y", "!x"]',
        'size = ["> 5", "< 7"]', 'age = "< 1d", idle = "> 2d"', 'has = ["read", "!attachment"]',
    ],
)  # fmt: skip
def test_a_rule_that_may_match_is_left_alone(condition: str) -> None:
    assert found(rule(condition)) == []


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ('age = "< 14d"', 'age = "< 7d"'),
        ('age = "<= 7d"', 'age = "< 7d", size = "> 1MB"'),
        ('reads = ">= 1"', 'reads = ">= 3 in 30d"'),
        ('reads = "<= 5 in 7d"', 'reads = "<= 5 in 30d"'),
        ('reads = ">= 0"', 'key = "x"'),
        ('key = "*"', 'idle = "> 3d"'),
        ('key = "mail/*"', 'key = ["mail/alice/*", "mail/x"]'),
        ('key = "*.index"', 'key = "*/x.index", age = "> 1d"'),
        ('folder = ["trash", "junk"]', 'folder = "JUNK"'),
        ('key = "!*.index"', 'key = "mail/1"'),
        ('key = ["mail/*", "!*.index"]', 'key = ["mail/*", "!*.index", "!*.log"]'),
        ('state = "!dirty"', 'state = "clean"'),
        ('has = ["read", "attachment"]', 'has = "attachment"'),
        ('time = "00:00-12:00"', 'time = "01:00-02:00"'),
        ('time = "22:00-06:00"', 'time = "23:00-01:00"'),
        ('on_disk = "> 1d"', 'on_disk = "> 2d"'),
    ],
)
def test_a_rule_below_one_that_matches_whenever_it_does_is_an_error(above: str, below: str) -> None:
    level, line, text = only(found(rule(above, name="a"), rule(below, name="b")))
    assert (level, line) == (Level.ERROR, 5)
    assert text.startswith('rule "b": it is never reached: rule "a" in line 1 matches ')


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ('age = "< 7d"', 'age = "< 14d"'),
        ('age = "< 7d"', 'age = "<= 7d"'),
        ('age = "< 7d", size = "> 1MB"', 'age = "< 7d"'),
        ('reads = ">= 3 in 30d"', 'reads = ">= 3"'),
        ('reads = "<= 5 in 30d"', 'reads = "<= 5 in 7d"'),
        ('key = "mail/*"', 'key = "*"'),
        ('key = "mail/?"', 'key = "mail/*"'),
        ('key = ["mail/*", "!*.index"]', 'key = "mail/*"'),
        ('has = "read"', 'has = ["read", "attachment"]'),
        ('has = "!read"', 'has = "attachment"'),
        ('time = "01:00-02:00"', 'time = "00:00-12:00"'),
        ('owner = "alice"', 'folder = "alice"'),
        ('on_disk = ">= 0s"', 'size = "> 1"'),
    ],
)
def test_a_rule_that_something_is_left_for_is_left_alone(above: str, below: str) -> None:
    assert found(rule(above, name="a"), rule(below, name="b")) == []


def test_whatever_follows_a_rule_for_everything_is_an_error_with_the_advice_to_move_it() -> None:
    findings = found(rule("", 'then = "keep"', "all"), rule('age = "> 1d"', name="old"))
    assert only(findings)[2] == 'rule "old": it is never reached: rule "all" in line 1 matches everything before it'
    assert findings[0].fix == 'move "all" to the end of the file'


def test_a_rule_for_a_policy_hides_only_that_policy() -> None:
    above = rule('key = "mail/*"', 'fill = "never"', "a")
    assert found(above, rule('key = "mail/x"', name="b")) == []
    level, _, text = only(found(above, rule('key = "mail/x"', 'then = "keep"\nfill = "always"', "b")))
    assert level is Level.WARNING
    assert "its fill is never used" in text


def test_a_pin_that_ends_hides_nothing_for_ever() -> None:
    dated = rule('key = "a*"', 'then = "pin until 2030-01-01"', "a")
    assert found(dated, rule('key = "ab"', name="b")) == []
    aged = rule('key = "a*"', 'then = "pin until age 7d"', "a")
    assert found(aged, rule('key = "ab"', name="b")) == []
    assert only(found(aged, rule('key = "ab", age = "< 3d"', name="b")))[0] is Level.ERROR


@pytest.mark.parametrize(
    ("text", "level", "expected"),
    [
        (rule('size = "> 1"', 'then = "pin until 2020-01-01"'), Level.WARNING, "has run out (pin until 2020-01-01)"),
        (rule('age = "= 14d"'), Level.WARNING, "age = 14d holds for one instant"),
        (rule('state = "dirty"'), Level.ERROR, "it can never purge"),
        (rule('state = "!clean"'), Level.ERROR, "it can never purge"),
        (rule('state = "!clean"', 'then = "trim"'), Level.ERROR, "it can never trim"),
        (rule('has = "purged-before"'), Level.WARNING, "never true of an object on disk"),
        (rule('size = "> 1"', 'then = "keep"\nregret = "5%"'), Level.WARNING, "nothing can be regretted"),
        (rule("", 'then = "keep"') + '[pressure]\nkept = "never"', Level.ERROR, "low water cannot be reached"),
        (rule('key = "*"', 'then = "keep"') + '[pressure]\nkept = "never"', Level.ERROR, "keeps everything"),
        (rule("", 'then = "pin until 2030-01-01"'), Level.ERROR, "pins everything"),
    ],
)
def test_what_cannot_work_or_is_doubtful_is_said(text: str, level: Level, expected: str) -> None:
    said = only(found(text))
    assert said[:2] == (level, 1)
    assert expected in said[2]


@pytest.mark.parametrize(
    ("options", "line", "expected"),
    [
        ("low_water = 0.9\nhigh_water = 0.8", 2, "low_water 0.9 is not below high_water 0.8"),
        ("low_water = 0.95", 2, "low_water 0.95 is not below high_water 0.95"),
        ("high_water = 0.5", 2, "low_water 0.8 is not below high_water 0.5"),
        ('hard_limit = "90%"', 2, "hard_limit 0.9 is below max_bytes"),
    ],
)
def test_waters_that_cross_are_an_error_with_what_the_configuration_says(
    options: str, line: int, expected: str
) -> None:
    level, where, text = only(found(f"[budget]\n{options}\n", disk=DiskSection()))
    assert (level, where) == (Level.ERROR, line)
    assert expected in text


def test_waters_of_the_configuration_count_where_the_file_says_nothing() -> None:
    assert found("[budget]\nhigh_water = 0.5\n", disk=DiskSection(low_water=0.4)) == []


def test_without_a_configuration_only_what_the_file_says_is_compared() -> None:
    assert found("[budget]\nhigh_water = 0.5\n") == []
    assert found("[budget]\nlow_water = 0.97\n") == []
    assert only(found("[budget]\nhigh_water = 0.5\nlow_water = 0.6\n"))[:2] == (Level.ERROR, 3)


def test_a_bucket_budget_as_large_as_the_whole_is_doubtful() -> None:
    level, line, _ = only(found('[budget]\nmax_bytes = "1GiB"\n[budget.bucket.mail]\nmax_bytes = "2GiB"\n'))
    assert (level, line) == (Level.WARNING, 4)


def test_errors_keep_a_file_from_being_accepted_and_name_line_and_fix() -> None:
    text = rule('age = "< 14d"', name="a") + rule('age = "< 7d"', name="b") + rule('reads = "< 0"', name="c")
    with pytest.raises(ConfigError) as caught:
        accept(text, now=NOW, file="my.toml")
    first, second = str(caught.value).splitlines()
    assert first.startswith('my.toml line 5: rule "b": it is never reached')
    assert first.endswith('; move it above "a", or remove it')
    assert second.startswith('my.toml line 9: rule "c": it can never match')


def test_a_file_with_warnings_alone_is_accepted() -> None:
    _, findings = accept(rule('age = "= 14d"'), now=NOW)
    assert [one.level for one in findings] == [Level.WARNING]


def test_trim_is_as_good_as_purge() -> None:
    assert found(rule('size = "> 1"', 'then = "trim"\nregret = "5%"')) == []
    assert found(rule("", 'then = "trim"') + '[pressure]\nkept = "never"') == []


def test_what_is_trimmed_is_not_what_pressure_has_to_take() -> None:
    ruleset = parse(rule('size = "> 1"', 'then = "trim"') + '[budget]\nmax_bytes = "1MiB"\n')
    assert weigh(ruleset, Holdings({0: (10, 2 * 10**6)})) == []


def test_rules_that_decide_nothing_now_are_named() -> None:
    ruleset = parse(EXAMPLE)
    decided = {0: (10, 10**6), 2: (5, 10**6), None: (100, 10**6)}
    findings = weigh(ruleset, Holdings(decided))
    assert [one.rule for one in findings] == ["read often", "read once, long ago"]
    assert "of 115 objects" in findings[0].text
    assert weigh(ruleset, Holdings({})) == [], "while everything is young no rule decides anything"


@pytest.mark.parametrize(
    ("kept", "fixed", "expected"),
    [
        ("last", 0, "pressure will take 95.4 MiB of what rules keep"),
        ("never", 0, "low water cannot be reached"),
        ("last", 601 * 10**6, "low water cannot be reached"),
    ],
)
def test_a_low_water_that_cannot_be_reached_is_told_with_numbers(kept: str, fixed: int, expected: str) -> None:
    ruleset = parse(EXAMPLE.replace('kept  = "last"', f'kept  = "{kept}"'))
    everywhere: dict[int | None, tuple[int, int]] = {1: (1, 1), 2: (1, 10**9), 3: (1, 1)}
    findings = weigh(ruleset, Holdings({0: (1, 700 * 10**6), **everywhere}, fixed_bytes=fixed))
    level, _, text = only([one for one in findings if "as soon as this is in force" not in one.text])
    assert level is Level.WARNING
    assert expected in text
    assert "low water is 572 MiB; rules keep 668 MiB" in text
    assert weigh(ruleset, Holdings({0: (1, 500 * 10**6), **everywhere})) == []


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (Interval(low=1), Interval(high=3), Interval(1, 3)),
        (Interval(low=1, low_open=True), Interval(low=1), Interval(low=1, low_open=True)),
        (Interval(high=1), Interval(high=1, high_open=True), Interval(high=1, high_open=True)),
        (Interval(low=1), Interval(low=2), Interval(low=2)),
    ],
)
def test_intervals_are_cut_at_the_narrower_end(left: Interval, right: Interval, expected: Interval) -> None:
    assert left & right == right & left == expected
    assert expected in left
    assert expected in right


def consistent(facts: Facts) -> Facts:
    """With totals that are no less than the bins."""
    reads = max(facts.reads, sum(one[1] for one in facts.days))
    return replace(facts, reads=reads, machine_reads=max(facts.machine_reads, sum(one[2] for one in facts.days)))


@settings(max_examples=250, deadline=None)
@given(rule_sets(), st.lists(objects().map(consistent), min_size=1, max_size=5), st.sampled_from(TIMEZONES))
def test_what_lint_says_of_rules_is_true_of_objects(ruleset: RuleSet, drawn: list[Facts], timezone: str) -> None:
    rules = ruleset.rules
    matching = [[matches(one, facts, NOW, timezone) for one in rules] for facts in drawn]
    for index, one in enumerate(rules):
        if contradiction(one) is not None:
            assert not any(row[index] for row in matching)
        for other, general in enumerate(rules):
            if implies(one, general):
                assert all(row[other] for row in matching if row[index])
