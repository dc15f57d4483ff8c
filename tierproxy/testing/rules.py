"""Random rules and random objects for property tests (hypothesis).

Values come from small sets and lie on, just below and just above each other, so that thresholds are met exactly. Every
rule set is one the language can say: ``tierproxy.rules.show.written`` makes a file of it.
"""

from __future__ import annotations

from typing import TypeVar

from hypothesis import strategies as st

from tierproxy.model import Ack, FillPolicy, ObjectName, State
from tierproxy.rules.evaluate import Facts
from tierproxy.rules.model import (
    Action,
    ActionKind,
    Condition,
    Measure,
    NumberCondition,
    Operator,
    Rule,
    RuleSet,
    Schedule,
    TextCondition,
    TimeCondition,
    Trait,
    Word,
)
from tierproxy.traffic import DAY

_T = TypeVar("_T")

NOW = 20_800.0 * DAY + 13 * 3600 + 1234.5
"""The moment random objects are made for; in December 2026."""

HOUR = 3600.0
SPANS_OF_TIME = (0.0, 1.0, HOUR, 1.5 * HOUR, float(DAY), 2.0 * DAY, 7.0 * DAY, 14.0 * DAY, 30.0 * DAY, 400.0 * DAY)
SIZES = (0, 1, 1000, 1024, 16_384, 2**20 - 1, 2**20, 5 * 2**20)
COUNTS = (0, 1, 2, 3, 6)
WINDOWS = (1, 7, 30, 90)
TIMEZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")

BUCKETS = ("mail", "archive-2020")
KEYS = ("mail/alice/1", "mail/alice/dovecot.index", "mail/bob/u.10", "Mail/x", "a[b]c", "z/ä/ü", "x-y^z!", "mail/")
OWNERS = ("", "alice", "bob", "alice@example.com", "Ünal")
FOLDERS = ("", "inbox", "INBOX", "sent", "Archive/2020", "trash")
METADATA = ("attachments", "flag", "x-y")

KEY_PATTERNS = (
    "*", "mail/*", "*/alice/*", "*.index", "mail/?lice/1", "[mM]ail/*", "[!m]*", "a[[]b]c", "*[0-9]", "*[!0-9]",
    "z/ä/?", "*[-!^]*", "mail/alice/1", "?*", "x-y[a^]z*", "mail/",
)  # fmt: skip
OWNER_PATTERNS = ("*", "", "alice", "alice*", "?*", "[!a]*", "*@*", "Ü*")
FOLDER_PATTERNS = ("*", "", "inbox", "archive*", "[a-s]*", "?*")
BUCKET_PATTERNS = ("*", "mail", "archive-*", "[!m]*")
HAS = (*(str(trait) for trait in Trait), *(f"metadata:{name}" for name in METADATA))


def rule_sets(*, most: int = 6) -> st.SearchStrategy[RuleSet]:
    """Rules with all conditions and actions, options of the file beside them at their defaults but for the zone."""
    drafts = st.lists(rules(), min_size=1, max_size=most)
    named = drafts.map(lambda drawn: tuple(_named(rule, number) for number, rule in enumerate(drawn, 1)))
    schedules = st.sampled_from(TIMEZONES).map(lambda timezone: Schedule(timezone=timezone))
    return st.builds(RuleSet, rules=named, schedule=schedules)


def rules() -> st.SearchStrategy[Rule]:
    """One rule of any kind; two of three only decide purges."""
    purging = st.builds(Rule, st.just("rule"), _when(_purge_words()), actions())
    filling = st.builds(
        Rule, st.just("rule"), _when(_fill_words()), st.none() | actions(), fill=st.sampled_from(FillPolicy)
    )
    writing = st.builds(Rule, st.just("rule"), _when(_write_words()), st.none() | actions(), write=st.sampled_from(Ack))
    return st.one_of(purging, purging, purging, purging, filling, writing)


def actions() -> st.SearchStrategy[Action]:
    """All kinds; pins that have run out, that run out and that hold."""
    kinds = (ActionKind.KEEP, ActionKind.PURGE, ActionKind.PURGE, ActionKind.TRIM)
    days = st.integers(20_790, 20_810).map(lambda day: Action(ActionKind.PIN, until=float(day * DAY)))
    aged = st.sampled_from(SPANS_OF_TIME[1:]).map(lambda age: Action(ActionKind.PIN, until_age=age))
    return st.one_of(st.sampled_from(kinds).map(Action), days, aged)


def objects(*, blobs: bool | None = None) -> st.SearchStrategy[Facts]:
    """An object at ``NOW``. ``blobs``: only with (True) or without (False) a blob on disk."""
    stored = _moments() if blobs else st.none() | _moments() if blobs is None else st.none()
    return st.builds(
        Facts, names(), st.sampled_from(OWNERS), st.sampled_from(FOLDERS), _near(SIZES), _moments(), stored,
        st.none() | _moments(), _near(COUNTS), _near(COUNTS), st.sampled_from((State.CLEAN, State.CLEAN, *State)),
        day_bins(), metadata(), st.none() | _moments(),
    )  # fmt: skip


def names() -> st.SearchStrategy[ObjectName]:
    """Names of objects, from few buckets and keys."""
    return st.builds(ObjectName, st.sampled_from(BUCKETS), st.sampled_from(KEYS))


def day_bins() -> st.SearchStrategy[tuple[tuple[int, int, int], ...]]:
    """(day, reads, machine reads) in order, at the edges of windows and beyond; one may lie in the future."""
    today = int(NOW // DAY)
    days = st.sampled_from([today - back for window in (0, *WINDOWS) for back in (window - 1, window, window + 1)])
    bins = st.dictionaries(days, st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=5)
    return bins.map(lambda drawn: tuple((day, *counts) for day, counts in sorted(drawn.items())))


def metadata() -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(METADATA), st.sampled_from(("", "0", "1", "00", "a b")), max_size=2)


def _moments() -> st.SearchStrategy[float]:
    """Times whose distance from ``NOW`` is one of the lengths of time that rules compare with, or a little more or
    less, or negative."""
    shifts = st.sampled_from((0.0, 0.0, 0.0, 0.5, -0.5, HOUR, -HOUR))
    return st.builds(lambda back, shift: NOW - back + shift, st.sampled_from(SPANS_OF_TIME), shifts)


def _near(values: tuple[int, ...]) -> st.SearchStrategy[int]:
    return st.builds(
        lambda value, shift: max(0, value + shift), st.sampled_from(values), st.sampled_from((0, 0, 1, -1))
    )


def _named(rule: Rule, number: int) -> Rule:
    return Rule(f"rule {number}", rule.when, rule.then, rule.fill, rule.write, rule.regret)


def _when(words: dict[str, st.SearchStrategy[tuple[Condition, ...]]]) -> st.SearchStrategy[tuple[Condition, ...]]:
    """Up to three different words, each with its conditions."""
    chosen = st.lists(st.sampled_from(sorted(words)), unique=True, max_size=3)
    return chosen.flatmap(lambda drawn: _chained([words[word] for word in drawn]))


def _chained(parts: list[st.SearchStrategy[tuple[Condition, ...]]]) -> st.SearchStrategy[tuple[Condition, ...]]:
    return st.tuples(*parts).map(lambda groups: tuple(condition for group in groups for condition in group))


def _purge_words() -> dict[str, st.SearchStrategy[tuple[Condition, ...]]]:
    return {
        **_fill_words(),
        "on_disk": _numbers(Measure.ON_DISK, SPANS_OF_TIME),
        "machine_reads": _numbers(Measure.MACHINE_READS, COUNTS, WINDOWS),
        "reads": _numbers(Measure.READS, COUNTS, WINDOWS),
        "state": _texts(Word.STATE, tuple(str(state) for state in State)),
        "has": _texts(Word.HAS, HAS),
    }


def _fill_words() -> dict[str, st.SearchStrategy[tuple[Condition, ...]]]:
    return {
        **_write_words(),
        "age": _numbers(Measure.AGE, SPANS_OF_TIME),
        "idle": _numbers(Measure.IDLE, SPANS_OF_TIME),
        "reads": _numbers(Measure.READS, COUNTS),
    }


def _write_words() -> dict[str, st.SearchStrategy[tuple[Condition, ...]]]:
    return {
        "bucket": _texts(Word.BUCKET, BUCKET_PATTERNS),
        "key": _texts(Word.KEY, KEY_PATTERNS),
        "owner": _texts(Word.OWNER, OWNER_PATTERNS),
        "folder": _texts(Word.FOLDER, FOLDER_PATTERNS),
        "size": _numbers(Measure.SIZE, SIZES),
        "time": _times(),
    }


def _numbers(
    measure: Measure, values: tuple[float, ...], windows: tuple[int, ...] = ()
) -> st.SearchStrategy[tuple[Condition, ...]]:
    days = st.sampled_from((None, *windows))
    one = st.builds(
        NumberCondition, st.just(measure), st.sampled_from(Operator), st.sampled_from(values).map(float), days
    )
    return _tuples(one, 2)


def _texts(word: Word, values: tuple[str, ...]) -> st.SearchStrategy[tuple[Condition, ...]]:
    """At least one value, wanted or not."""
    some = st.lists(st.sampled_from(values), unique=True, max_size=2).map(tuple)
    one = st.builds(TextCondition, st.just(word), some, some)
    return _tuples(one.filter(lambda drawn: bool(drawn.wanted or drawn.unwanted)), 1)


def _times() -> st.SearchStrategy[tuple[Condition, ...]]:
    minutes = st.sampled_from((0, 60, 150, 300, 13 * 60, 15 * 60 + 30, 23 * 60 + 59))
    span = st.tuples(minutes, minutes | st.just(24 * 60)).filter(lambda drawn: drawn[0] != drawn[1])
    return _tuples(st.lists(span, min_size=1, max_size=2).map(lambda spans: TimeCondition(tuple(spans))), 1)


def _tuples(one: st.SearchStrategy[_T], most: int) -> st.SearchStrategy[tuple[_T, ...]]:
    return st.lists(one, min_size=1, max_size=most).map(tuple)
