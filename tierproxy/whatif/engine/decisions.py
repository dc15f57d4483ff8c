"""Rules as Python code over columns: which rule decides an object, and when that may change by itself.

``tierproxy.rules.evaluate`` says what rules mean; a property test holds this to it. Compiled, because a replay asks
millions of times. Comparisons are made on ``now - since``, as there. Of what a trace does not have, conditions are
decided as for an object without it: no metadata, state ``clean``.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from typing import Any

from tierproxy.model import State
from tierproxy.rules.evaluate import METADATA
from tierproxy.rules.model import (
    PURGING,
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
from tierproxy.rules.spans import boundaries, within
from tierproxy.traffic import DAY
from tierproxy.whatif.engine.columns import Columns

UNDECIDED = -1
SLACK = 1e-3
"""Seconds that a look comes early: sums of times are rounded."""

NEVER = "INF"
WHOLE = 1 << 62  #: days of a condition that stands for the end of a pin
_SINCE = {Measure.AGE: "written[o]", Measure.ON_DISK: "stored[o]", Measure.IDLE: "used[o]"}
_COUNTS = {Measure.READS: ("reads[o]", "days[o]"), Measure.MACHINE_READS: ("machine[o]", "machine_days[o]")}
_RISING = {Operator.GT, Operator.GE}
_HAS = {
    Trait.READ: "reads[o] > 0", Trait.MACHINE_READ: "machine[o] > 0", Trait.ATTACHMENT: "False",
    Trait.PURGED_BEFORE: "stored[o] != stored[o] and purged[o] >= written[o]",
}  # fmt: skip

Decide = Callable[[int, float], int]
Look = Callable[[int, float, int], float]


@dataclass(frozen=True, slots=True)
class Term:
    """One condition as code. ``true_at``: when it turns true by itself if it is false now; ``false_at``: when it turns
    false if it is true now. Neither is later than the truth."""

    test: str
    true_at: str = NEVER
    false_at: str = NEVER


class Decisions:
    """The rules of a set on ``columns``. ``decide(o, now)``: index of the deciding rule or ``UNDECIDED``;
    ``look(o, now, rule)``: until when that stays so at least, if nobody reads or writes the object; ``fill`` and
    ``write``: index of the rule that has the policy or ``UNDECIDED``. ``purging``, ``keeping``, ``pinning``: rules by
    what they do."""

    def __init__(self, rules: RuleSet, columns: Columns) -> None:
        self.rules = rules
        self._texts = _Texts(rules.rules, columns)
        self._names = _namespace(columns, self._texts.mask)
        self._timezone = rules.schedule.timezone
        acting = [(number, rule) for number, rule in enumerate(rules.rules) if rule.then is not None]
        self.purging = _indexes(rules, *PURGING)
        self.keeping = _indexes(rules, ActionKind.KEEP)
        self.pinning = _indexes(rules, ActionKind.PIN)
        self.windows = any(_windowed(one, Measure.READS) for _, rule in acting for one in rule.when)
        self.machine_windows = any(_windowed(one, Measure.MACHINE_READS) for _, rule in acting for one in rule.when)
        self.decide: Decide = self._made(acting, "decide")
        self.look: Look = self._made(acting, "look")
        filling = [(number, rule) for number, rule in enumerate(rules.rules) if rule.fill is not None]
        writing = [(number, rule) for number, rule in enumerate(rules.rules) if rule.write is not None]
        self.fill: Decide | None = self._made(filling, "decide", row=True) if filling else None
        self.write: Decide | None = self._made(writing, "decide", row=True) if writing else None
        self.hurried = not all(_patient(rule) for _, rule in acting)

    def __repr__(self) -> str:
        return f"<Decisions of {len(self.rules.rules)} rules{', hurried by reads' if self.hurried else ''}>"

    def _made(self, rules: Sequence[tuple[int, Rule]], name: str, *, row: bool = False) -> Any:
        """``row``: of policies, which know no day bins and no machine reads."""
        names = {**self._names}
        terms = [(number, [self._term(one, names, row) for one in _conditions(rule)]) for number, rule in rules]
        bits = {number: self._texts.bits.get(number, 0) for number, _ in rules}
        lines = _decider(terms, bits) if name == "decide" else _looker(terms, bits)
        exec(compile("\n".join(lines), f"<{name} of rules>", "exec"), names)  # noqa: S102 -- of numbers and our words
        return names[name]

    def _term(self, condition: Condition, names: dict[str, Any], row: bool) -> Term:
        match condition:
            case NumberCondition():
                return _number(condition, row)
            case TextCondition():
                return _has(condition, row)
            case TimeCondition():
                hour = f"hour{len(names)}"
                names[hour] = Hours(condition.spans, self._timezone)
                return Term(f"{hour}.holds(now)", f"{hour}.turn(now)", f"{hour}.turn(now)")


class Hours:
    """A time of day: asked often at the same moment."""

    def __init__(self, spans: Sequence[tuple[int, int]], timezone: str) -> None:
        self._spans = spans
        self._timezone = timezone
        self._at = self._turn_at = math.nan
        self._holds = False
        self._turn = math.inf

    def holds(self, now: float) -> bool:
        if now != self._at:
            self._at, self._holds = now, within(self._spans, self._timezone, now)
        return self._holds

    def turn(self, now: float) -> float:
        """When it may change next."""
        if now != self._turn_at:
            soon = boundaries(self._spans, self._timezone, now, now + 2 * DAY)
            self._turn_at, self._turn = now, soon[0] if soon else now + 2 * DAY
        return self._turn


class _Texts:
    """Conditions on names: they never change for an object, so each is looked at once. ``bits``: by rule."""

    def __init__(self, rules: Sequence[Rule], columns: Columns) -> None:
        self._columns = columns
        self._tests: list[tuple[int, list[Callable[[int], bool]]]] = []
        self.bits: dict[int, int] = {}
        for number, rule in enumerate(rules):
            conditions = [one for one in rule.when if isinstance(one, TextCondition) and one.word is not Word.HAS]
            if conditions:
                self.bits[number] = 1 << len(self._tests)
                self._tests.append((self.bits[number], [self._test(one) for one in conditions]))

    def mask(self, number: int) -> int:
        """Which rules' texts fit; remembered."""
        mask = 0
        for bit, tests in self._tests:
            if all(test(number) for test in tests):
                mask |= bit
        self._columns.masks[number] = mask
        return mask

    def _test(self, condition: TextCondition) -> Callable[[int], bool]:
        fits = cache(lambda text: _fits(condition, text)) if condition.word is not Word.KEY else _globs(condition)
        objects = self._columns.objects
        match condition.word:
            case Word.KEY:
                return lambda number: fits(objects.keys[number])
            case Word.BUCKET:
                return lambda number: fits(objects.buckets[number])
            case Word.OWNER:
                return lambda number: fits(objects.owners[number])
            case Word.FOLDER:
                return lambda number: fits(objects.folders[number].lower())
        return lambda _number: fits(str(State.CLEAN))


def _globs(condition: TextCondition) -> Callable[[str], bool]:
    """As ``fnmatchcase``, of keys, of which there are too many to remember."""
    wanted = _one_of(condition.wanted) if condition.wanted else None
    unwanted = _one_of(condition.unwanted) if condition.unwanted else None
    return lambda text: (wanted is None or wanted(text) is not None) and (unwanted is None or unwanted(text) is None)


def _one_of(patterns: Sequence[str]) -> Callable[[str], object]:
    return re.compile("|".join(map(translate, patterns))).match


def _fits(condition: TextCondition, text: str) -> bool:
    if condition.word is Word.STATE:
        return (not condition.wanted or text in condition.wanted) and text not in condition.unwanted
    return _globs(condition)(text)


# ------------------------------------------------------------ code


def _decider(rules: Sequence[tuple[int, Sequence[Term]]], bits: dict[int, int]) -> Iterator[str]:
    yield "def decide(o, now):"
    yield from _preface(bits)
    for number, terms in rules:
        tests = [f"m & {bits[number]}"] if bits[number] else []
        yield f"    if {' and '.join([*tests, *(f'({term.test})' for term in terms)]) or 'True'}:"
        yield f"        return {number}"
    yield f"    return {UNDECIDED}"


def _looker(rules: Sequence[tuple[int, Sequence[Term]]], bits: dict[int, int]) -> Iterator[str]:
    """The deciding rule holds until the first of its conditions turns false; one before it begins to hold when the last
    of those that are false turns true; those behind it do not matter as long as it holds."""
    yield "def look(o, now, rule):"
    yield from _preface(bits)
    yield "    due = INF"
    for number, terms in rules:
        yield f"    if rule == {number}:"
        for at in dict.fromkeys(term.false_at for term in terms if term.false_at != NEVER):
            yield f"        t = {at}"
            yield "        if t < due:"
            yield "            due = t"
        yield f"        return due - {SLACK}"
        yield f"    if {f'm & {bits[number]}' if bits[number] else 'True'}:"
        yield "        t = 0.0"
        for term in terms:
            yield f"        if t < INF and not ({term.test}):"
            yield f"            at = {term.true_at}"
            yield "            if at > t:"
            yield "                t = at"
        yield "        if t < due:"
        yield "            due = t"
    yield f"    return due - {SLACK}"


def _preface(bits: dict[int, int]) -> Iterator[str]:
    yield f"    today = int(now // {DAY})"
    if any(bits.values()):
        yield "    m = masks[o]"
        yield "    if m < 0:"
        yield "        m = mask(o)"


def _conditions(rule: Rule) -> list[Condition]:
    """All but the texts that are in the mask; the end of a pin is one of age, or of time."""
    action, found = rule.then, list[Condition]()
    if action is not None and action.kind is ActionKind.PIN and action.until is not None:
        found.append(NumberCondition(Measure.AGE, Operator.LT, action.until, days=WHOLE))
    elif action is not None and action.kind is ActionKind.PIN:
        found.append(NumberCondition(Measure.AGE, Operator.LT, action.until_age or 0.0))
    return found + [one for one in rule.when if not isinstance(one, TextCondition) or one.word is Word.HAS]


def _number(condition: NumberCondition, row: bool) -> Term:
    measure, value = condition.measure, repr(float(condition.value))
    compare = "==" if condition.operator is Operator.EQ else condition.operator.value
    if condition.days == WHOLE:  # a pin until a date
        return Term(f"now < {value}", false_at=value)
    if measure in _SINCE:
        return _lasting(condition.operator, compare, _SINCE[measure], value)
    if measure is Measure.SIZE:
        return Term(f"size[o] {compare} {value}")
    total, days = _COUNTS[measure]
    if row and (condition.days is not None or measure is Measure.MACHINE_READS):
        return Term(f"0 {compare} {value}")
    if condition.days is None:
        return Term(f"{total} {compare} {value}")
    return _lately(condition, compare, days, value)


def _lasting(operator: Operator, compare: str, since: str, value: str) -> Term:
    test, turn = f"now - {since} {compare} {value}", f"{since} + {value}"
    if operator is Operator.EQ:
        return Term(test, f"({turn} if {turn} > now - 1.0 else INF)", "now")
    return Term(test, true_at=turn) if operator in _RISING else Term(test, false_at=turn)


def _lately(condition: NumberCondition, compare: str, days: str, value: str) -> Term:
    """Reads only leave a window by themselves, the oldest first. With ``enough`` of them the comparison stands on the
    one side, with one less on the other."""
    window, operator = condition.days or 0, condition.operator
    test = f"lately({days}, today - {window}) {compare} {value}"
    if operator is Operator.EQ:
        turn = f"next_leaves({days}, today - {window}, {window})"
        return Term(test, turn, turn)
    exact = operator in {Operator.GE, Operator.LT}
    enough = math.ceil(condition.value) if exact else math.floor(condition.value) + 1
    if enough < 1:
        return Term(test)
    turn = f"leaves({days}, {enough}, {window})"
    return Term(test, false_at=turn) if operator in _RISING else Term(test, true_at=turn)


def _has(condition: TextCondition, row: bool) -> Term:
    def one_of(values: Sequence[str]) -> str:
        return " or ".join(f"({_trait(value, row)})" for value in values)

    wanted = f"({one_of(condition.wanted)})" if condition.wanted else "True"
    return Term(f"{wanted} and not ({one_of(condition.unwanted)})" if condition.unwanted else wanted)


def _trait(value: str, row: bool) -> str:
    if value.startswith(METADATA) or (row and value == Trait.MACHINE_READ):
        return "False"
    return _HAS[Trait(value)]


def _namespace(columns: Columns, mask: Callable[[int], int]) -> dict[str, Any]:
    """What the code may name."""
    names = ("written", "stored", "used", "purged", "size", "reads", "machine", "days", "machine_days", "masks")
    return {
        "INF": math.inf, "mask": mask, "lately": lately, "leaves": leaves, "next_leaves": next_leaves,
        **{name: getattr(columns, name) for name in names},
    }  # fmt: skip


def lately(days: list[int] | None, first: int) -> int:
    """Reads on day ``first`` and later."""
    return len(days) - bisect_left(days, first) if days else 0


def leaves(days: list[int] | None, enough: int, window: int) -> float:
    """When the window has less than ``enough`` reads, if it has as many now."""
    return float((days[-enough] + window + 1) * DAY) if days and len(days) >= enough else math.inf


def next_leaves(days: list[int] | None, first: int, window: int) -> float:
    """When the oldest read leaves the window that begins on day ``first``."""
    place = bisect_left(days, first) if days else 0
    return float((days[place] + window + 1) * DAY) if days and place < len(days) else math.inf


# ------------------------------------------------------------ what rules are like


def _indexes(rules: RuleSet, *kinds: ActionKind) -> frozenset[int]:
    found = enumerate(rules.rules)
    return frozenset(number for number, rule in found if rule.then is not None and rule.then.kind in kinds)


def _windowed(condition: Condition, measure: Measure) -> bool:
    return isinstance(condition, NumberCondition) and condition.days is not None and condition.measure is measure


def _patient(rule: Rule) -> bool:
    """Whether a read can only save an object from this rule, never make it purge sooner: then reads need no new look.
    What purges may turn false by a read, what keeps may turn true."""
    purges = rule.then is not None and rule.then.purges
    return all(_moved_by_a_read(one) <= {not purges} for one in rule.when)


def _moved_by_a_read(condition: Condition) -> set[bool]:
    """What a read, by anybody, may make of it: true, false, either (as of ``reads = 3``) or neither."""
    match condition:
        case NumberCondition(measure=Measure.READS | Measure.MACHINE_READS | Measure.IDLE, operator=Operator.EQ):
            return {True, False}
        case NumberCondition(measure=Measure.IDLE):
            return {condition.operator not in _RISING}
        case NumberCondition(measure=Measure.READS | Measure.MACHINE_READS):
            return {condition.operator in _RISING}
        case TextCondition(word=Word.HAS):
            return {bool(values is condition.wanted) for values in (condition.wanted, condition.unwanted) if values}
    return set()
