"""Rule files that nobody writes on purpose: absurd numbers, thousands of owners, half of a file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import DiskSection
from tierproxy.errors import ConfigError
from tierproxy.purge.plan import EVERYTHING
from tierproxy.rules.bounds import contradiction, implies
from tierproxy.rules.language import MOST_PATTERNS, MOST_RULES, parse
from tierproxy.rules.lint import Holdings, accept, weigh
from tierproxy.rules.model import Rule, TextCondition, Word

NOW = 1_700_000_000.0
WHOLE = """\
[budget]
max_bytes = "750MB"
min_free = "5%"

[[rule]]
name = "new mail stays"
when = { age = "< 14d", reads = ">= 3 in 30d", key = ["mail/*", "!*.index"] }
then = "pin until 2027-01-31"

[schedule]
windows = ["22:00-06:00"]
timezone = "Europe/Berlin"
"""


def rule(when: str, name: str = "one", then: str = "purge") -> str:
    return f'[[rule]]\nname = "{name}"\nwhen = {{ {when} }}\nthen = "{then}"\n'


def listed(texts: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rule('reads = ">= ' + "9" * 400 + '"'), "line 3"),
        (rule('size = ">= ' + "9" * 400 + 'B"'), "line 3"),
        (rule('size = ">= ' + "9" * 5000 + 'B"'), "line 3"),
        (rule('age = "> ' + "9" * 400 + 'd"'), "line 3"),
        (rule('idle = "> 99999999d"'), "at most 36500d"),
        (rule('reads = ">= 1 in ' + "9" * 400 + 'd"'), "line 3"),
        (rule("", then="pin until age 99999999d"), "at most 36500d"),
        (rule("", then="pin until 9999-12-31"), "is no date"),
        ("[budget]\nmax_bytes = " + "9" * 5000, "cannot be read"),
        ("[budget]\nmax_bytes = " + "9" * 400, "line 2"),
        ("[budget]\nmin_free = " + "9" * 400, "line 2"),
        ('[budget]\nmin_free = "' + "9" * 400 + '%"', "line 2"),
        ("a = " + "[" * 5000, "cannot be read"),
    ],
    ids=[
        "reads", "size", "digits", "age", "idle", "window", "pin", "date", "number", "budget", "free", "share", "deep",
    ],
)  # fmt: skip
def test_what_no_number_can_hold_is_a_problem_of_the_file_and_not_a_crash(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        accept(text, now=NOW)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 400, "it is read by people"


@given(st.data())
@settings(max_examples=200, deadline=None)
@example(None)
def test_half_of_a_file_or_one_with_a_wrong_character_is_good_or_refused_with_words(data: st.DataObject | None) -> None:
    if data is None:
        text = ""
    else:
        cut = data.draw(st.integers(0, len(WHOLE)))
        text = WHOLE[:cut] + data.draw(st.text(max_size=3)) + WHOLE[data.draw(st.integers(cut, len(WHOLE))) :]
    with suppress(ConfigError):
        accept(text, now=NOW)


def test_more_rules_and_patterns_than_a_plan_can_look_at_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"write at most {MOST_RULES}"):
        parse("".join(rule('owner = "a"', name=f"r{number}") for number in range(MOST_RULES + 1)))
    globs = [f"u{number}*" for number in range(MOST_PATTERNS + 1)]
    with pytest.raises(ConfigError, match=f"write at most {MOST_PATTERNS}"):
        parse(rule(f"key = {listed(globs)}"))
    assert parse(rule(f"key = {listed(globs[:-1])}")).rules


def test_lists_of_owners_are_compared_by_look_up() -> None:
    """Each with each would be a hundred million comparisons, half a minute of them."""
    texts = tuple(f"u{number}" for number in range(10_000))
    one = Rule("one", (TextCondition(Word.OWNER, texts),))
    assert implies(Rule("same", (TextCondition(Word.OWNER, texts[::-1]),)), one)
    assert not implies(Rule("more", (TextCondition(Word.OWNER, (*texts, "x")),)), one)
    assert implies(
        Rule("fewer", (TextCondition(Word.OWNER, texts[:9]),)), Rule("u", (TextCondition(Word.OWNER, ("u*",)),))
    )
    assert contradiction(Rule("none", (TextCondition(Word.OWNER, texts, texts),))) is not None


def test_no_rule_of_a_file_can_have_the_name_of_the_operators_word() -> None:
    """A rule called so would be booked on the operator."""
    with pytest.raises(ConfigError, match="is no name"):
        parse(rule('age = "> 1d"', name=EVERYTHING))
    assert parse(rule('age = "> 1d"', name="(everything)")).rules


def test_a_budget_below_what_is_on_disk_is_a_warning_because_pressure_asks_nobody() -> None:
    """750MB where 750GB was meant."""
    rules = parse('[budget]\nmax_bytes = "750MB"\n')
    (finding,) = weigh(rules, Holdings({None: (900_000, 600 * 2**30)}), disk=DiskSection())
    assert "pressure removes 599 GiB as soon as this is in force" in str(finding)
    assert weigh(rules, Holdings({None: (9, 600 * 2**20)}), disk=DiskSection()) == []
