"""Purge rules as SQL: one CASE expression over the columns of ``entry`` that says which rule decides a row.

It means the same as ``tierproxy.rules.evaluate.deciding``, number for number: comparisons are made on ``now - since``
and never rearranged. Everything from a rule file is a bound value; only names of columns and numbers of rules are text.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tierproxy.catalogue.patterns import glob_of, is_literal
from tierproxy.rules.evaluate import METADATA, within
from tierproxy.rules.model import (
    ActionKind,
    Condition,
    Measure,
    NumberCondition,
    Operator,
    Rule,
    RuleSet,
    TextCondition,
    TimeCondition,
    Trait,
    Word,
)
from tierproxy.traffic import DAY


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values of its ``?``, in order."""

    text: str
    values: tuple[Any, ...] = ()

    def __add__(self, other: Sql) -> Sql:
        return Sql(f"{self.text} {other.text}", self.values + other.values)


TRUE, FALSE = Sql("1"), Sql("0")
MARKS = 100  #: values of a list that are bound one by one


@dataclass(frozen=True, slots=True)
class Columns:
    """What tells of a row's blob. ``present``: whether it is on disk; ``stored_at``: NULL when it is not."""

    present: str
    stored_at: str
    bytes: str
    purged_at: str


LIVE = Columns(
    "entry.blob IS NOT NULL", "iif(entry.blob IS NULL, NULL, entry.stored_at)", "entry.blob_bytes", "entry.purged_at"
)
"""The disk as it is."""
SHADOW = Columns("shadow.stored_at IS NOT NULL", "shadow.stored_at", "shadow.bytes", "shadow.purged_at")
"""The disk as the shadow rules would have it: ``entry`` is joined with ``shadow``."""

_TOTALS = {Measure.READS: "entry.reads", Measure.MACHINE_READS: "entry.machine_reads"}
_TEXTS = {Word.KEY: "entry.key", Word.BUCKET: "entry.bucket", Word.OWNER: "entry.owner", Word.STATE: "entry.state"}
# SQLite's lower() knows ASCII alone; the function, which takes the interpreter's lock, is called for the few others.
_FOLDER = Sql("iif(entry.folder GLOB ?, lowered(entry.folder), lower(entry.folder))", ("*[^\x01-\x7f]*",))
_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.EQ: operator.eq,
    Operator.GE: operator.ge,
    Operator.GT: operator.gt,
}


def decider(rules: RuleSet, now: float, columns: Columns = LIVE) -> Sql:
    """The index of the first rule with ``then`` whose conditions all hold; NULL: undecided. Raises ValueError for a
    trait that does not exist."""
    return Compiler(rules.schedule.timezone, float(now), columns).decider(rules.rules)


class Compiler:
    """Rules at one moment, on one disk."""

    def __init__(self, timezone: str, now: float, columns: Columns) -> None:
        self._timezone = timezone
        self._now = now
        self._columns = columns

    def decider(self, rules: Sequence[Rule]) -> Sql:
        cases = Sql("")
        for index, rule in enumerate(rules):
            test = FALSE if rule.then is None else self.matches(rule)
            if test == FALSE:
                continue
            cases += Sql(f"WHEN {test.text} THEN {index}", test.values)
            if test == TRUE:
                break
        return Sql(f"CASE {cases.text} END", cases.values) if cases.text else Sql("NULL")

    def matches(self, rule: Rule) -> Sql:
        return all_of([self._unexpired(rule), *map(self.holds, rule.when)])

    def holds(self, condition: Condition) -> Sql:
        match condition:
            case NumberCondition():
                return self._number(condition)
            case TextCondition():
                return self._text(condition)
            case TimeCondition():
                return _constant(within(condition.spans, self._timezone, self._now))

    def _unexpired(self, rule: Rule) -> Sql:
        """A pin whose time has come does not match any more."""
        action = rule.then
        if action is None or action.kind is not ActionKind.PIN:
            return TRUE
        if action.until is not None:
            return _constant(self._now < action.until)
        return Sql("(? - entry.written_at < ?)", (self._now, action.until_age or 0.0))

    def _number(self, condition: NumberCondition) -> Sql:
        measure, compare, value = condition.measure, condition.operator.value, condition.value
        match measure:
            case Measure.READS | Measure.MACHINE_READS:
                total = _TOTALS[measure]
                if condition.days is not None:
                    return self._windowed(condition, condition.days, total)
                return Sql(f"({total} {compare} ?)", (value,))
            case Measure.SIZE:
                return Sql(f"(entry.size {compare} ?)", (value,))
            case Measure.AGE:
                since = "entry.written_at"
            case Measure.ON_DISK:
                since = self._columns.stored_at
            case Measure.IDLE:
                since = f"coalesce(entry.last_read_at, {self._columns.stored_at}, entry.written_at)"
        return Sql(f"(? - {since} {compare} ?)", (self._now, value))

    def _windowed(self, condition: NumberCondition, days: int, total: str) -> Sql:
        """Reads by day bins. The bins are looked up only where they can matter: they add up to no more than the total,
        and to nothing when the last read was before the window."""
        compare, value = condition.operator.value, condition.value
        zero = _COMPARE[condition.operator](0, value)
        if value < 0 or (value == 0 and condition.operator in {Operator.LT, Operator.GE}):
            return _constant(zero)
        first = int(self._now // DAY) - days
        bins = Sql(
            f"((SELECT coalesce(sum(d.{condition.measure.value}), 0) FROM read_day d WHERE d.bucket = entry.bucket "
            f"AND d.key = entry.key AND d.day >= ?) {compare} ?)",
            (first, value),
        )
        lately = read_since(first) if condition.measure is Measure.READS else TRUE
        if not zero:  # nothing read: false
            enough = ">" if condition.operator is Operator.GT else ">="
            return all_of([Sql(f"({total} {enough} ?)", (value,)), lately, bins])
        few = "<" if condition.operator is Operator.LT else "<="
        return any_of([Sql(f"({total} {few} ?)", (value,)), negated(lately), bins])

    def _text(self, condition: TextCondition) -> Sql:
        tests = [negated(self._one_of(condition.word, condition.unwanted))]
        if condition.wanted:
            tests.append(self._one_of(condition.word, condition.wanted))
        return all_of(tests)

    def _one_of(self, word: Word, values: Sequence[str]) -> Sql:
        if word is Word.HAS:
            return any_of([self._has(value) for value in values])
        column = _FOLDER if word is Word.FOLDER else Sql(_TEXTS[word])
        exact = list(values) if word is Word.STATE else [value for value in values if is_literal(value)]
        patterns = [] if word is Word.STATE else [value for value in values if not is_literal(value)]
        tests = [_matching(column, glob_of(pattern)) for pattern in patterns]
        if exact:
            listed = _listed(exact)
            tests.insert(0, Sql(f"({column.text} IN ({listed.text}))", (*column.values, *listed.values)))
        return any_of(tests)

    def _has(self, value: str) -> Sql:
        if value.startswith(METADATA):
            return _metadata(value.removeprefix(METADATA))
        match Trait(value):
            case Trait.READ:
                return Sql("(entry.reads > 0)")
            case Trait.MACHINE_READ:
                return Sql("(entry.machine_reads > 0)")
            case Trait.PURGED_BEFORE:
                gone = f"NOT ({self._columns.present})"
                return Sql(f"({gone} AND coalesce({self._columns.purged_at} >= entry.written_at, 0))")
            case Trait.ATTACHMENT:
                found = "coalesce(json_extract(entry.headers, '$.metadata.attachments'), '')"
                return Sql(f"({found} NOT IN ('', '0'))")


def read_since(day: int) -> Sql:
    """Whether people may have read it from ``day`` on. The last read is not known, or may be later than the row says,
    when a read turned out to be a machine's: then the one before is not known either."""
    return Sql(
        "(entry.last_read_at IS NULL OR entry.last_read_at >= ? OR entry.previous_read_at IS NULL AND entry.reads > 1)",
        (float(day * DAY),),
    )


def all_of(tests: Sequence[Sql]) -> Sql:
    tests = [test for test in tests if test != TRUE]
    return FALSE if FALSE in tests else _joined(tests, "AND", TRUE)


def any_of(tests: Sequence[Sql]) -> Sql:
    tests = [test for test in tests if test != FALSE]
    return TRUE if TRUE in tests else _joined(tests, "OR", FALSE)


def negated(test: Sql) -> Sql:
    if test in {TRUE, FALSE}:
        return _constant(test == FALSE)
    return Sql(f"(NOT {test.text})", test.values)


def _joined(tests: Sequence[Sql], word: str, nothing: Sql) -> Sql:
    """As a balanced tree: SQLite takes expressions to a depth of 1,000, and a list of owners may be longer."""
    if len(tests) <= 1:
        return tests[0] if tests else nothing
    middle = len(tests) // 2
    left, right = _joined(tests[:middle], word, nothing), _joined(tests[middle:], word, nothing)
    return Sql(f"({left.text} {word} {right.text})", left.values + right.values)


def _listed(values: Sequence[str]) -> Sql:
    """What stands in the brackets of IN. A statement has room for so many values only (32,766, as SQLite comes)."""
    if len(values) <= MARKS:
        return Sql(", ".join("?" * len(values)), tuple(values))
    return Sql("SELECT value FROM json_each(?)", (json.dumps(values),))


def _constant(truth: bool) -> Sql:
    return TRUE if truth else FALSE


def _matching(column: Sql, pattern: str | None) -> Sql:
    return FALSE if pattern is None else Sql(f"({column.text} GLOB ?)", (*column.values, pattern))


def _metadata(name: str) -> Sql:
    """Whether the object carries x-amz-meta-``name``. A JSON path cannot quote every name; then all are compared."""
    if '"' in name or "\\" in name or any(character < " " for character in name):
        listed = "SELECT 1 FROM json_each(entry.headers, '$.metadata') m WHERE m.key = ?"
        return Sql(f"EXISTS ({listed})", (name,))
    return Sql("(json_type(entry.headers, ?) IS NOT NULL)", (f'$.metadata."{name}"',))
