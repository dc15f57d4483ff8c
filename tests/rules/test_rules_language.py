"""A rule file is taken as it is meant, or refused with every reason, its line, and what to write instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from tierproxy.config.values import Share
from tierproxy.errors import ConfigError
from tierproxy.model import Ack, FillPolicy
from tierproxy.rules import show
from tierproxy.rules.language import parse
from tierproxy.rules.model import (
    Action,
    ActionKind,
    BucketBudget,
    Budget,
    Condition,
    Kept,
    Measure,
    NumberCondition,
    Operator,
    Order,
    Pressure,
    RegretBudget,
    Rule,
    RuleSet,
    Safety,
    Schedule,
    TextCondition,
    TimeCondition,
    Word,
)
from tierproxy.testing.rules import rule_sets

DAY = 86_400.0


def one(line: str) -> str:
    """A file with one rule whose line 3 is ``line``."""
    return f'[[rule]]\nname = "one"\n{line}\nthen = "keep"\n'


def when(condition: str) -> str:
    return one(f"when = {{ {condition} }}")


def policy(condition: str, deed: str) -> str:
    return f'[[rule]]\nname = "a"\nwhen = {{ {condition} }}\n{deed}\n'


def conditions(condition: str) -> tuple[Condition, ...]:
    return parse(when(condition)).rules[0].when


def refusal(text: str, **options: int) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_the_example_says_what_it_says() -> None:
    text = Path("config/rules.toml").read_text()
    ruleset = parse(text)
    number = NumberCondition
    assert [(rule.name, rule.when, rule.then) for rule in ruleset.rules] == [
        ("new mail stays", (number(Measure.AGE, Operator.LT, 14 * DAY),), Action(ActionKind.KEEP)),
        ("read often", (number(Measure.READS, Operator.GE, 3, 30),), Action(ActionKind.KEEP)),
        (
            "large and idle",
            (
                number(Measure.SIZE, Operator.GE, 2**20),
                number(Measure.IDLE, Operator.GT, 2 * DAY),
                TextCondition(Word.KEY, ("mail/*",)),
            ),
            Action(ActionKind.PURGE),
        ),
        (
            "read once, long ago",
            (number(Measure.READS, Operator.LE, 1), number(Measure.IDLE, Operator.GT, 30 * DAY)),
            Action(ActionKind.PURGE),
        ),
    ]
    assert ruleset.budget == Budget(750_000_000, 0.95, 0.8, 1.1, Share(percent=5.0), 3600.0)
    assert ruleset.pressure == Pressure(Order.LRU, Kept.LAST)
    assert ruleset.schedule == Schedule(900.0, ((0, 1440),), "UTC")
    assert ruleset.safety == Safety(7, 0.1)
    assert ruleset.regret == RegretBudget(30, 0.05, 100)
    assert ruleset.text == text
    assert text.splitlines()[ruleset.rules[2].line - 1] == "[[rule]]"
    assert text.splitlines()[ruleset.rules[2].line] == 'name = "large and idle"'


def test_a_list_of_numbers_must_all_hold_and_a_list_of_texts_one_of_them() -> None:
    assert conditions('age = [">= 1d", "< 14d"]') == (
        NumberCondition(Measure.AGE, Operator.GE, DAY),
        NumberCondition(Measure.AGE, Operator.LT, 14 * DAY),
    )
    assert conditions('key = ["mail/*", "!*.index", "lists/*"]') == (
        TextCondition(Word.KEY, ("mail/*", "lists/*"), ("*.index",)),
    )


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ('on_disk = "<=1.5d"', NumberCondition(Measure.ON_DISK, Operator.LE, 1.5 * DAY)),
        ('idle = "> 2w"', NumberCondition(Measure.IDLE, Operator.GT, 14 * DAY)),
        ('size = "= 1500"', NumberCondition(Measure.SIZE, Operator.EQ, 1500)),
        ('size = "< 2 MB"', NumberCondition(Measure.SIZE, Operator.LT, 2_000_000)),
        ('reads = "= 0"', NumberCondition(Measure.READS, Operator.EQ, 0)),
        ('machine_reads = ">= 10 in 1w"', NumberCondition(Measure.MACHINE_READS, Operator.GE, 10, 7)),
        ('bucket = "!archive-*"', TextCondition(Word.BUCKET, (), ("archive-*",))),
        ('owner = ""', TextCondition(Word.OWNER, ("",))),
        ('owner = "!"', TextCondition(Word.OWNER, (), ("",))),
        ('folder = ["Trash", "!JUNK*"]', TextCondition(Word.FOLDER, ("trash",), ("junk*",))),
        ('state = "dirty"', TextCondition(Word.STATE, ("dirty",))),
        ('has = ["attachment", "!metadata:Flag"]', TextCondition(Word.HAS, ("attachment",), ("metadata:flag",))),
        ('time = ["22:00-6:00", "12:30-24:00"]', TimeCondition(((1320, 360), (750, 1440)))),
    ],
)
def test_each_kind_of_condition_is_read(given_text: str, expected: Condition) -> None:
    assert conditions(given_text) == (expected,)


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("keep", Action(ActionKind.KEEP)),
        ("purge", Action(ActionKind.PURGE)),
        ("trim", Action(ActionKind.TRIM)),
        ("pin until age 90d", Action(ActionKind.PIN, until_age=90 * DAY)),
        ("pin until 2027-01-31", Action(ActionKind.PIN, until=1_801_350_000.0)),
        ("pin until 2027-01-31 18:30", Action(ActionKind.PIN, until=1_801_350_000.0 + 18.5 * 3600)),
    ],
)
def test_each_action_is_read(then: str, expected: Action) -> None:
    text = f'[[rule]]\nname = "x"\nthen = "{then}"\n[schedule]\ntimezone = "Europe/Berlin"'
    assert parse(text).rules[0].then == expected


def test_a_rule_may_have_policies_alone() -> None:
    text = """
    [[rule]]
    name = "indexes"
    when = { key = "*.index", size = "< 1MiB" }
    fill = "never"
    [[rule]]
    name = "drafts"
    write = "disk"
    [rule.when]
    folder = "drafts"
    time = "08:00-18:00"
    """
    first, second = parse(text).rules
    assert (first.then, first.fill, first.write) == (None, FillPolicy.NEVER, None)
    assert (second.then, second.fill, second.write) == (None, None, Ack.DISK)
    assert len(second.when) == 2


def test_a_file_without_rules_may_have_a_budget() -> None:
    buckets = '[budget.bucket.mail]\nmax_bytes = "1GiB"\n[budget.bucket."a.b"]\nmax_bytes = 1048576\n'
    budget = parse(f'[budget]\nmax_bytes = "2GiB"\n{buckets}').budget
    assert budget.max_bytes == 2 * 2**30
    assert budget.buckets == (BucketBudget("mail", 2**30), BucketBudget("a.b", 2**20))


WRONG = [
    # the file
    ("", 0, "the file is empty", "write at least one [[rule]]"),
    ("# nothing but a comment\n", 0, "the file is empty", "write at least one [[rule]]"),
    ('[schedule]\nevery = "1h"\n', 0, "the file is empty", "write at least one [[rule]]"),
    ("[[rule]]\nname = one\n", 2, "this is not TOML", "in quotes"),
    ('[[rule]]\nname = "a"\nwhen = {\nage = "< 1d" }\n', 3, "this is not TOML", "on one line"),
    ('[[rule]\nname = "a"\n', 1, "this is not TOML", "bracket"),
    (one("") + '[presure]\norder = "lru"', 5, "there is no section presure", "did you mean pressure?"),
    ('max_bytes = "1GB"\n' + one(""), 1, "max_bytes stands outside of its section", "write it below [budget]"),
    ('[rule]\nname = "a"\nthen = "keep"\n', 1, "rules are tables in a list", "write [[rule]]"),
    # rules
    ('[[rule]]\nthen = "keep"\n', 1, "it has no name", 'write name = "..."'),
    ('[[rule]]\nname = ""\nthen = "keep"\n', 2, "'' is no name", "write 1 to 64"),
    (f'[[rule]]\nname = "{"x" * 65}"\nthen = "keep"\n', 2, "is no name", "write 1 to 64"),
    ('[[rule]]\nname = "a\\tb"\nthen = "keep"\n', 2, "is no name", "printable"),
    ('[[rule]]\nname = 3\nthen = "keep"\n', 2, "3 is no name", "write 1 to 64"),
    (one("") + '[[rule]]\nname = "one"\nthen = "purge"\n', 6, "is taken by the rule in line 1", "write another"),
    (one('wehn = { age = "< 1d" }'), 3, "there is no option wehn", "did you mean when?"),
    (one('when = "age < 14d"'), 3, "when is not a table", "write when = {"),
    ('[[rule]]\nname = "a"\nwhen = { age = "< 1d" }\n', 1, "it does nothing", 'write "keep"'),
    ('[[rule]]\nname = "a"\nthen = "delete"\n', 3, "there is no action 'delete'", 'write "purge"'),
    ('[[rule]]\nname = "a"\nthen = "kepe"\n', 3, "there is no action 'kepe'", 'write "keep"'),
    ('[[rule]]\nname = "a"\nthen = "pin"\n', 3, "does not say until when", "pin until 2027-01-31"),
    ('[[rule]]\nname = "a"\nthen = "pin until age"\n', 3, "does not say until when", "pin until age 90d"),
    ('[[rule]]\nname = "a"\nthen = "pin until 31.1.2027"\n', 3, "'31.1.2027' is no date", "2027-01-31"),
    ('[[rule]]\nname = "a"\nthen = "pin until 2027-02-30"\n', 3, "is no date", "2027-01-31"),
    ('[[rule]]\nname = "a"\nthen = "pin until age 3 moons"\n', 3, "does not say until when", "90d"),
    ('[[rule]]\nname = "a"\nthen = true\n', 3, "True is no action", 'write "keep"'),
    ('[[rule]]\nname = "a"\nfill = "sometimes"\n', 3, "there is no 'sometimes'", "write one of never, always"),
    ('[[rule]]\nname = "a"\nwrite = "dsk"\n', 3, "there is no 'dsk'", "did you mean disk?"),
    ('[[rule]]\nname = "a"\nthen = "purge"\nregret = "150%"\n', 4, "is more than all", "100%"),
    ('[[rule]]\nname = "a"\nfill = "never"\nregret = "5%"\n', 4, "has no then", "leave it out"),
    # conditions
    (when('aeg = "< 14d"'), 3, "there is no condition aeg", "did you mean age?"),
    (when('colour = "red"'), 3, "there is no condition colour", "there are age, on_disk"),
    (when('age = "14d"'), 3, "'14d' has no comparison", 'write "< 14d" or ">= 14d"'),
    (when("age = 14"), 3, "14 is not a text with a comparison", 'write "< 14d"'),
    (when('age = "< 14"'), 3, "'14' is no duration", "as in 14d"),
    (when('age = "< 14x"'), 3, "'14x' is no duration", "ms, s, m, h, d or w"),
    (when('age = "< 2 months"'), 3, "there is no unit months", "as in 30d"),
    (when('age = "> 1y"'), 3, "there is no unit y", "as in 365d"),
    (when('age = "> -1d"'), 3, "'-1d' is no duration", "as in 14d"),
    (when('age = "<"'), 3, "'' is no duration", "as in 14d"),
    (when('age = "< 14d in 3d"'), 3, "only reads are counted in a window", 'write "< 14d"'),
    (when("age = []"), 3, "the list is empty", 'write "< 14d"'),
    (one('when = { age = [\n  ">= 1d",\n  "14d",\n] }'), 5, "'14d' has no comparison", 'write "< 14d"'),
    (when('size = ">= 1XB"'), 3, "'1XB' is no size", "as in 1MiB"),
    (when('size = "=> 1MB"'), 3, "there is no comparison =>", 'write ">= 1MB"'),
    (when('size = "!= 1MB"'), 3, "there is no comparison !=", "write one of <"),
    (when("reads = 3"), 3, "3 is not a text with a comparison", '">= 3"'),
    (when('reads = ">= 3.5"'), 3, "'3.5' is not a whole number of reads", '">= 3"'),
    (when('reads = ">= three"'), 3, "'three' is not a whole number", '">= 3"'),
    (when('reads = ">= 3 in 36h"'), 3, "'36h' is not a number of whole days", "write 1d"),
    (when('reads = ">= 3 in 0d"'), 3, "'0d' is not a number of whole days", "write 1d"),
    (when('reads = ">= 3 in 500d"'), 3, "longer than reads are remembered", "at most 400d"),
    (when('reads = ">= 3 in month"'), 3, "'month' is no duration", "as in 14d"),
    (when('reads = ">= 3 on 30d"'), 3, "is not a whole number of reads", "in 30d"),
    (when("key = []"), 3, "the list is empty", '"mail/*"'),
    (when("key = 1"), 3, "1 is not a text", "in quotes"),
    (when('key = ""'), 3, "the pattern is empty", "write * for all"),
    (when('key = "a[bc"'), 3, "the [ is not closed", "[[]"),
    (when('key = "a[]b"'), 3, "an empty class", "a ] outside of brackets"),
    (when('key = "[^a]*"'), 3, "[^ does not mean", "write [!abc]"),
    (when('key = "[z-a]"'), 3, "goes backwards", "write a-z"),
    (when('key = "[a-c-e]"'), 3, "has a - that is no range", "put it first or last"),
    (when('key = "a\\u0000b"'), 3, "NUL", "leave it out"),
    (when(f'key = "{"a" * 1025}"'), 3, "has 1025 characters", "at most 1024"),
    (one('when = { key = ["mail/*",\n "!x[" ] }'), 4, "the [ is not closed", "[[]"),
    (when('state = "clena"'), 3, "there is no state 'clena'", "did you mean clean?"),
    (when('has = "atachment"'), 3, "cannot have 'atachment'", "did you mean attachment?"),
    (when('has = "wings"'), 3, "cannot have 'wings'", "write one of read"),
    (when('has = "metadata:"'), 3, "names no metadata", "metadata:flags"),
    (when('time = "1-5"'), 3, "'1-5' is no time of day", '"01:00-05:00"'),
    (when('time = "01:00-25:00"'), 3, "is no time of day", "00:00 to 24:00"),
    (when('time = "05:00-05:00"'), 3, "begins when it ends", "00:00-24:00"),
    (when("time = []"), 3, "the list is empty", '"01:00-05:00"'),
    (policy('on_disk = "> 1d"', 'fill = "never"'), 3, "fill cannot look at on_disk", "rule of its own"),
    (policy('reads = "> 1 in 7d"', 'fill = "never"'), 3, "cannot count in a window", "alone"),
    (policy('has = "machine-read"', 'fill = "never"'), 3, "machine reads", "rule of its own"),
    (policy('age = "> 1d"', 'write = "alt"'), 3, "write cannot look at age", "rule of its own"),
    # the other sections
    (one("") + "[budget]\nmax_bites = 1\n", 6, "there is no option max_bites", "did you mean max_bytes?"),
    (one("") + '[budget]\nmax_bytes = "10KB"\n', 6, "is less than 1MiB", "750MB"),
    (one("") + "[budget]\nhigh_water = 1.5\n", 6, "is not between 0 and 1", "95%"),
    (one("") + '[budget]\nlow_water = "low"\n', 6, "'low' is no share", "95%"),
    (one("") + '[budget]\nmin_free = "100%"\n', 6, "can never be free", "5%"),
    (one("") + '[budget]\nmin_on_disk = 3600\n', 6, "3600 has no unit", "14d"),
    (one("") + "[budget.bucket.mail]\n", 5, "max_bytes is missing", 'write max_bytes = "100MB"'),
    (one("") + '[budget.bucket.mail]\nmax = "1GB"\n', 6, "there is no option max", "max_bytes"),
    (one("") + '[budget.bucket]\nmail = "1GB"\n', 5, "bucket is no table of buckets", "write [budget.bucket.NAME]"),
    (one("") + '[pressure]\norder = "lruu"\n', 6, "there is no 'lruu'", "did you mean lru?"),
    (one("") + '[pressure]\nkept = "first"\n', 6, "there is no 'first'", "write one of last, never"),
    (one("") + '[[pressure]]\norder = "lru"\n', 5, "is not a section", "write [pressure]"),
    (one("") + '[schedule]\nevery = "1s"\n', 6, "is too often", "at least 10s"),
    (one("") + '[schedule]\nwindows = ["1 am"]\n', 6, "is no time of day", "01:00-05:00"),
    (one("") + '[schedule]\ntimezone = "Mars/Olympus"\n', 6, "is no time zone", "Europe/Berlin"),
    (one("") + '[safety]\nrecent = "1h"\n', 6, "is not a number of whole days", "write 1d"),
    (one("") + '[safety]\nmax_share = "-1%"\n', 6, "is no share", "95%"),
    (one("") + "[regret]\nleast = 0\n", 6, "0 is no number of objects", "at least 1"),
    (one("") + '[regret]\nwithin = "900d"\n', 6, "longer than reads are remembered", "keep_days"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "what", "fix"), WRONG, ids=[f"{what} ({n})" for n, (_, _, what, _) in enumerate(WRONG)]
)
def test_a_wrong_file_is_refused_with_its_line_and_what_to_write(text: str, line: int, what: str, fix: str) -> None:
    said = refusal(text)
    assert said.count("\n") == 0, "one fault is told once"
    assert said.startswith(f"rules.toml line {line}: " if line else "rules.toml: ")
    assert what in said
    assert fix in said[said.index(what) :]


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """[[rule]]
name = "a"
when = { age = "14d", size = "> 1XB", colour = "red" }
then = "delete"

[[rule]]
name = "a"
then = "keep"

[pressure]
order = "random"
"""
    lines = refusal(text).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"rules.toml line {n}" for n in (3, 3, 3, 4, 7, 11)]
    assert all('rule "a"' in line for line in lines[:4])


def test_the_file_is_named_as_it_was_given() -> None:
    with pytest.raises(ConfigError, match=r"^/etc/tierproxy/rules.toml line 3: "):
        parse(when('age = "14d"'), file="/etc/tierproxy/rules.toml")


def test_windows_reach_as_far_as_reads_are_remembered() -> None:
    assert parse(when('reads = ">= 1 in 30d"'), keep_days=30)
    assert "at most 29d" in refusal(when('reads = ">= 1 in 30d"'), keep_days=29)


def bare(ruleset: RuleSet) -> RuleSet:
    """Without what depends on the text."""
    return replace(ruleset, text="", rules=tuple(replace(rule, line=0) for rule in ruleset.rules))


@settings(max_examples=200, deadline=None)
@given(rule_sets())
def test_rules_that_are_written_are_read_back_as_they_were(ruleset: RuleSet) -> None:
    assert bare(parse(show.written(ruleset))) == bare(ruleset)


def test_options_that_are_written_are_read_back_as_they_were() -> None:
    ruleset = RuleSet(
        (Rule("a", then=Action(ActionKind.PURGE), regret=0.025),),
        Budget(750_000_000, 0.95, 0.8, 1.1, Share(bytes=20 * 2**30), 3600.0, (BucketBudget("a.b", 2**20),)),
        Pressure(Order.GDSF, Kept.NEVER),
        Schedule(3600.0, ((60, 300), (1320, 1440)), "Europe/Berlin"),
        Safety(3, 0.25),
        RegretBudget(14, 0.01, 7),
    )
    assert bare(parse(show.written(ruleset))) == ruleset
