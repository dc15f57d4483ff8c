"""What follows from the conditions of a rule: bounds of numbers, whether they contradict or imply each other.

An answer "yes" is certain; "no" may be a "not found". Reads in a window are reads in every longer window and of all
reads, so a lower bound holds for longer windows too, an upper bound for shorter ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tierproxy.rules import patterns
from tierproxy.rules.conditions import COUNTS, LENGTHS, PATTERNS
from tierproxy.rules.model import (
    ActionKind,
    Condition,
    Measure,
    NumberCondition,
    Operator,
    Rule,
    TextCondition,
    TimeCondition,
    Word,
)
from tierproxy.rules.spans import MIDNIGHT, covers


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from ``low`` to ``high``; an open end does not belong to it."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    @property
    def empty(self) -> bool:
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def __and__(self, other: Interval) -> Interval:
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, shut = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Interval(low, high, low_open, not shut)

    def __contains__(self, other: Interval) -> bool:
        """Whether all of ``other`` lies in it."""
        return other.empty or (self & other) == other


def interval(condition: NumberCondition) -> Interval:
    """The numbers for which it holds; of counts and sizes, whole ones from 0 on."""
    value = condition.value
    found = {
        Operator.LT: Interval(high=value, high_open=True),
        Operator.LE: Interval(high=value),
        Operator.EQ: Interval(value, value),
        Operator.GE: Interval(low=value),
        Operator.GT: Interval(low=value, low_open=True),
    }[condition.operator]
    if condition.measure in LENGTHS:
        return found
    low = math.floor(found.low) + 1 if found.low_open else found.low
    high = math.ceil(found.high) - 1 if found.high_open else found.high
    return Interval(low, high) & Interval(low=0)


def numbers(when: Iterable[Condition], measure: Measure, days: int | None) -> Interval:
    """Where the number must lie for all conditions to hold."""
    found = Interval(low=0) if measure not in LENGTHS else Interval()
    for one in when:
        if not isinstance(one, NumberCondition) or one.measure is not measure:
            continue
        each = interval(one)
        if one.days == days:
            found &= each
        elif measure in COUNTS and _longer(days, one.days):
            found &= Interval(low=each.low)
        elif measure in COUNTS:
            found &= Interval(high=each.high)
    return found


def _longer(days: int | None, other: int | None) -> bool:
    return other is not None and (days is None or days > other)


def terms(rule: Rule) -> tuple[Condition, ...]:
    """All that must hold for the rule to match: its conditions, and the end of a pin until an age."""
    action = rule.then
    if action is None or action.kind is not ActionKind.PIN or action.until_age is None:
        return rule.when
    return (*rule.when, NumberCondition(Measure.AGE, Operator.LT, action.until_age))


def contradiction(rule: Rule) -> Condition | None:
    """A condition that cannot hold beside the others of its rule, None if none was found."""
    when = terms(rule)
    for one in when:
        match one:
            case NumberCondition():
                never = numbers(when, one.measure, one.days).empty
            case TextCondition():
                others = [each for each in when if isinstance(each, TextCondition) and each.word is one.word]
                unwanted = [value for each in others for value in each.unwanted]
                never = _all_ruled_out(one, unwanted)
            case TimeCondition():
                never = not minutes(when)
        if never:
            return one
    return None


def _all_ruled_out(one: TextCondition, unwanted: Sequence[str]) -> bool:
    """Whether what is unwanted leaves nothing of what is wanted (of everything, when nothing is)."""
    wanted = one.wanted or (("*",) if one.word in PATTERNS else ())
    return bool(wanted) and _all_covered(one.word, unwanted, wanted)


def implies(special: Rule, general: Rule) -> bool:
    """Whether ``general`` matches whatever ``special`` does, at every moment."""
    action = general.then
    if action is not None and action.kind is ActionKind.PIN and action.until is not None:
        return False
    when = terms(special)
    return all(_implied(one, when) for one in terms(general))


def _implied(one: Condition, when: Sequence[Condition]) -> bool:
    match one:
        case NumberCondition():
            known = one.measure is not Measure.ON_DISK or any(
                isinstance(each, NumberCondition) and each.measure is Measure.ON_DISK for each in when
            )
            return known and numbers(when, one.measure, one.days) in interval(one)
        case TextCondition():
            same = [each for each in when if isinstance(each, TextCondition) and each.word is one.word]
            return _wanted(one, same) and all(_ruled_out(one.word, value, same) for value in one.unwanted)
        case TimeCondition():
            return minutes(when) <= minutes([one])


def _wanted(one: TextCondition, same: Sequence[TextCondition]) -> bool:
    if not one.wanted or (one.word in PATTERNS and any(_covers(one.word, value, "*") for value in one.wanted)):
        return True
    return any(each.wanted and _all_covered(one.word, one.wanted, each.wanted) for each in same)


def _all_covered(word: Word, general: Sequence[str], special: Sequence[str]) -> bool:
    """Whether each of ``special`` is covered by one of ``general``. Lists of owners are long: a plain text covers
    itself and nothing else."""
    known = frozenset(general)
    wild = [value for value in general if word in PATTERNS and not patterns.literal(value)]
    return all(value in known or any(patterns.covers(each, value) for each in wild) for value in special)


def _ruled_out(word: Word, value: str, same: Sequence[TextCondition]) -> bool:
    """Whether the conditions ``same`` make sure that ``value`` does not match."""
    for each in same:
        if any(_covers(word, inner, value) for inner in each.unwanted):
            return True
        if each.wanted and all(_apart(word, inner, value) for inner in each.wanted):
            return True
    return False


def _covers(word: Word, general: str, special: str) -> bool:
    return patterns.covers(general, special) if word in PATTERNS else general == special


def _apart(word: Word, left: str, right: str) -> bool:
    """Whether no object can match both."""
    if word is Word.HAS:
        return False
    if word is Word.STATE:
        return left != right
    return patterns.literal(left) and not patterns.matches(left, right)


def minutes(when: Iterable[Condition]) -> frozenset[int]:
    """The minutes of the day at which all times of day hold."""
    spans = [one.spans for one in when if isinstance(one, TimeCondition)]
    return frozenset(minute for minute in range(MIDNIGHT) if all(covers(each, minute) for each in spans))


def always(rule: Rule) -> bool:
    """Whether the rule matches every object at every moment."""
    return implies(Rule("anything"), rule)
