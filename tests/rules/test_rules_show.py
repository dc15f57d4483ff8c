"""Rules in words: the file's for conditions and actions, people's for numbers, and what differs between two files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.model import ObjectName
from tierproxy.rules import show
from tierproxy.rules.evaluate import Facts, decide
from tierproxy.rules.language import parse

EXAMPLE = Path("config/rules.toml").read_text()
NOW = 1_800_000_000.0


def test_rules_are_shown_in_the_words_of_the_file() -> None:
    assert [show.rule(rule) for rule in parse(EXAMPLE).rules] == [
        "age < 14d: keep",
        "reads >= 3 in 30d: keep",
        "size >= 1MiB and idle > 2d and key mail/*: purge",
        "reads <= 1 and idle > 30d: purge",
    ]


def test_every_kind_of_condition_and_deed_has_words() -> None:
    text = """
    [[rule]]
    name = "a"
    when = { key = ["mail/*", "x", "!*.index"], owner = "", time = ["01:00-05:00", "22:00-24:00"] }
    then = "pin until 2027-01-31 18:30"
    fill = "never"
    [[rule]]
    name = "b"
    when = { has = "!read", age = [">= 90m", "< 1.5d"] }
    then = "pin until age 90d"
    [[rule]]
    name = "c"
    then = "purge"
    regret = "2.5%"
    [schedule]
    timezone = "Europe/Berlin"
    """
    assert [show.rule(rule, "Europe/Berlin") for rule in parse(text).rules] == [
        'key mail/* or x, not *.index and owner "" and time 01:00-05:00 or 22:00-24:00: '
        "pin until 2027-01-31 18:30, fill never",
        "has not read and age >= 90m and age < 36h: pin until age 90d",
        "always: purge, regret 2.5%",
    ]


def test_the_numbers_behind_a_verdict_are_for_people() -> None:
    conditions = [
        'age = "> 1d"', 'on_disk = "> 1d"', 'size = "> 1"', 'reads = "> 1"', 'key = "*"', 'owner = "x"', 'has = "read"',
        'time = "00:00-01:00"',
    ]  # fmt: skip
    text = "".join(f'[[rule]]\nname = "{n}"\nwhen = {{ {one} }}\nthen = "keep"\n' for n, one in enumerate(conditions))
    facts = Facts(ObjectName("mail", "a"), size=1_300_000, written_at=NOW - 100_000, reads=1)
    values = [show.value(judgment.truths[0]) for judgment in decide(parse(text), facts, NOW).judgments]
    assert values == ["1d 3h", "not on disk", "1.2 MiB", "1 read", "a", "unknown", "read", "08:00"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"), (0.25, "0.2s"), (59.9, "59s"), (60, "1min"), (3725, "1h 2min"), (86_400, "1d"), (86_460, "1d"),
        (90_000, "1d 1h"), (400 * 86_400, "400d"), (-7200, "-2h"),
    ],
)  # fmt: skip
def test_durations_are_shown_by_their_two_largest_units(seconds: float, expected: str) -> None:
    assert show.duration(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**20 - 1, "1.0 MiB"),
        (750_000_000, "715 MiB"), (5 * 2**40, "5.0 TiB"), (5000 * 2**40, "5,000 TiB"),
    ],
)  # fmt: skip
def test_sizes_are_shown_with_few_digits(size: int, expected: str) -> None:
    assert show.size(size) == expected


def test_a_file_that_means_the_same_does_not_differ() -> None:
    same = EXAMPLE.replace('"< 14d"', '"< 2w"').replace('"750MB"', "750000000").replace("# ", "#  ")
    assert show.difference(parse(EXAMPLE), parse(same)) == []


def test_rules_that_are_new_gone_changed_or_moved_are_told() -> None:
    old = parse(EXAMPLE)
    new_rules = (
        old.rules[2],
        old.rules[0],
        replace(old.rules[1], when=()),
        replace(old.rules[3], name="rarely read"),
    )
    assert show.difference(old, replace(old, rules=new_rules)) == [
        'rule "read once, long ago" is gone: reads <= 1 and idle > 30d: purge',
        'rule "rarely read" is new, at place 4 of 4: reads <= 1 and idle > 30d: purge',
        'rule "read often" changes: reads >= 3 in 30d: keep -> always: keep',
        'rule "large and idle" moves from place 3 of 4 to place 1 of 4',
    ]


def test_options_that_differ_are_told() -> None:
    new = EXAMPLE.replace('order = "lru"', 'order = "gdsf"').replace("low_water   = 0.80", "")
    new += '\n[budget.bucket.archive]\nmax_bytes = "100MB"\n'
    assert show.difference(parse(EXAMPLE), parse(new)) == [
        "budget.low_water changes: 0.8 -> not set",
        'pressure.order changes: "lru" -> "gdsf"',
        'budget.bucket."archive".max_bytes changes: not set -> "100MB"',
    ]
