"""What rules say of one object. The catalogue's SQL says the same of all of them (a property test holds them to it).

Comparisons are made as IEEE doubles on ``now - since`` and not on ``since < now - value``: the two round differently.
What an object does not have (``on_disk`` without a blob) makes every comparison false, as NULL does in SQL.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tierproxy.model import Ack, Entry, FillPolicy, ObjectName, State
from tierproxy.rules.model import (
    Action,
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
from tierproxy.rules.spans import boundaries, covers, minute_of_day, within
from tierproxy.traffic import DAY

__all__ = [
    "METADATA", "Facts", "Judgment", "Truth", "Verdict", "amount", "arriving", "decide", "deciding", "fill_of",
    "holds", "matches", "next_change", "pinned_until", "traits", "within", "write_of",
]  # fmt: skip

METADATA = "metadata:"
"""Begins the values of ``has`` that ask for user metadata: ``metadata:NAME``."""

_TWO_DAYS = 2.0 * DAY


@dataclass(frozen=True, slots=True)
class Facts:
    """What rules look at. Meanings: ``tierproxy.rules.model``.

    Times are seconds since the epoch, ``size`` bytes. ``stored_at``: since when the blob is on disk; None: there is
    none. ``owner`` and ``folder``: "" when unknown. ``days``: (UTC day, people's reads, machine reads) bins.
    ``metadata``: lower-case names without ``x-amz-meta-``.
    """

    name: ObjectName
    owner: str = ""
    folder: str = ""
    size: int = 0
    written_at: float = 0.0
    stored_at: float | None = None
    last_read_at: float | None = None
    reads: int = 0
    machine_reads: int = 0
    state: State = State.CLEAN
    days: tuple[tuple[int, int, int], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    purged_at: float | None = None

    @staticmethod
    def of(entry: Entry, *, machine_reads: int = 0, days: tuple[tuple[int, int, int], ...] = ()) -> Facts:
        """The facts of a row. Fill rules need no more than the row; ``tierproxy.purges.facts_of`` has everything."""
        return Facts(
            entry.name, entry.owner or "", entry.folder or "", entry.size, entry.written_at,
            entry.stored_at if entry.blob is not None else None, entry.last_read_at, entry.reads, machine_reads,
            entry.state, days, entry.headers.metadata if entry.headers is not None else {}, entry.purged_at,
        )  # fmt: skip

    @property
    def idle_since(self) -> float:
        """When it was last read by a person; never read: since when it is on disk, else when it was written."""
        if self.last_read_at is not None:
            return self.last_read_at
        return self.stored_at if self.stored_at is not None else self.written_at


def arriving(name: ObjectName, *, owner: str = "", folder: str = "", size: int = 0, now: float) -> Facts:
    """What is known of an object while it is being written, for ``write_of``."""
    return Facts(name, owner, folder, size, written_at=now, state=State.DIRTY)


@dataclass(frozen=True, slots=True)
class Truth:
    """Whether a condition holds, and what it looked at: a number (seconds, bytes, reads, minute of the day; None: the
    object has none), a text, or (``has``) the traits the object has."""

    condition: Condition
    holds: bool
    value: float | str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Judgment:
    """One rule and every one of its conditions. ``expired``: its pin has run out, so it does not match any more."""

    rule: Rule
    matches: bool
    truths: tuple[Truth, ...]
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rule decides (its index; None: none does), what it does, and what every rule says."""

    rule: int | None
    action: Action | None
    judgments: tuple[Judgment, ...] = ()


def decide(ruleset: RuleSet, facts: Facts, now: float) -> Verdict:
    """The verdict with its reasons. ``deciding`` is the same without them, and faster."""
    index = deciding(ruleset, facts, now)
    action = ruleset.rules[index].then if index is not None else None
    timezone = ruleset.schedule.timezone
    return Verdict(index, action, tuple(_judgment(rule, facts, now, timezone) for rule in ruleset.rules))


def deciding(ruleset: RuleSet, facts: Facts, now: float) -> int | None:
    """The index of the first matching rule that has an action."""
    timezone = ruleset.schedule.timezone
    for index, rule in enumerate(ruleset.rules):
        if rule.then is not None and matches(rule, facts, now, timezone):
            return index
    return None


def fill_of(ruleset: RuleSet, facts: Facts, now: float) -> FillPolicy | None:
    """The fill policy of the first matching rule that has one."""
    timezone = ruleset.schedule.timezone
    rules = (rule for rule in ruleset.rules if rule.fill is not None and matches(rule, facts, now, timezone))
    return next((rule.fill for rule in rules), None)


def write_of(ruleset: RuleSet, facts: Facts, now: float) -> Ack | None:
    """The write policy of the first matching rule that has one."""
    timezone = ruleset.schedule.timezone
    rules = (rule for rule in ruleset.rules if rule.write is not None and matches(rule, facts, now, timezone))
    return next((rule.write for rule in rules), None)


def matches(rule: Rule, facts: Facts, now: float, timezone: str = "UTC") -> bool:
    """Whether every condition holds, and the rule's pin, if it is one, has not run out."""
    return not _expired(rule, facts, now) and all(holds(one, facts, now, timezone) for one in rule.when)


def holds(condition: Condition, facts: Facts, now: float, timezone: str = "UTC") -> bool:
    """Whether one condition is true of the object at ``now``."""
    match condition:
        case NumberCondition():
            value = amount(condition.measure, condition.days, facts, now)
            return value is not None and _COMPARE[condition.operator](value, condition.value)
        case TextCondition():
            return _fits(condition, facts)
        case TimeCondition():
            return within(condition.spans, timezone, now)


def amount(measure: Measure, days: int | None, facts: Facts, now: float) -> float | None:
    """What a number condition compares: seconds, bytes or reads; None: the object has none."""
    match measure:
        case Measure.AGE:
            return now - facts.written_at
        case Measure.ON_DISK:
            return now - facts.stored_at if facts.stored_at is not None else None
        case Measure.IDLE:
            return now - facts.idle_since
        case Measure.SIZE:
            return facts.size
        case Measure.READS:
            return facts.reads if days is None else _windowed(facts, days, now, 1)
        case Measure.MACHINE_READS:
            return facts.machine_reads if days is None else _windowed(facts, days, now, 2)


def next_change(ruleset: RuleSet, facts: Facts, now: float) -> float | None:
    """The first moment after ``now`` at which another rule decides, or none any more; None: it stays as it is for ever.

    Nothing is guessed: every moment at which a condition may turn is tried in order. Between two of them only the time
    of day goes on; what has not changed within two days of that (each minute of the day comes at least once, even
    where clocks are put forward) repeats itself.
    """
    before = deciding(ruleset, facts, now)
    for moment in _moments(ruleset, facts, now):
        if deciding(ruleset, facts, moment) != before:
            return moment
    return None


def pinned_until(rule: Rule, facts: Facts) -> float | None:
    """When the pin of ``rule`` runs out for this object; None: it is no pin."""
    action = rule.then
    if action is None or action.kind is not ActionKind.PIN:
        return None
    if action.until is not None:
        return action.until
    return facts.written_at + (action.until_age or 0.0)


def traits(facts: Facts) -> tuple[str, ...]:
    """The values of ``has`` that are true of the object."""
    own = tuple(str(trait) for trait, test in _TRAITS.items() if test(facts))
    return own + tuple(f"{METADATA}{name}" for name in sorted(facts.metadata))


def _expired(rule: Rule, facts: Facts, now: float) -> bool:
    action = rule.then
    if action is None or action.kind is not ActionKind.PIN:
        return False
    if action.until is not None:
        return now >= action.until
    return now - facts.written_at >= (action.until_age or 0.0)


def _moments(ruleset: RuleSet, facts: Facts, now: float) -> Iterator[float]:
    turns = sorted({turn for turn in _turns(ruleset, facts) if turn > now})
    spans = _spans(ruleset)
    for since, until in zip([now, *turns], [*turns, math.inf], strict=True):
        if since > now:
            yield since
        if spans:
            yield from boundaries(spans, ruleset.schedule.timezone, since, min(until, since + _TWO_DAYS))


def _spans(ruleset: RuleSet) -> list[tuple[int, int]]:
    conditions = (condition for rule in ruleset.rules for condition in rule.when)
    return [span for one in conditions if isinstance(one, TimeCondition) for span in one.spans]


def _turns(ruleset: RuleSet, facts: Facts) -> Iterator[float]:
    """The moments at which a condition that is no time of day may turn."""
    for rule in ruleset.rules:
        end = pinned_until(rule, facts)
        if end is not None and math.isfinite(end):
            yield from _around(end)
        for condition in rule.when:
            if isinstance(condition, NumberCondition):
                yield from _thresholds(condition, facts)


def _thresholds(condition: NumberCondition, facts: Facts) -> Iterator[float]:
    match condition.measure:
        case Measure.AGE:
            yield from _around(facts.written_at + condition.value)
        case Measure.ON_DISK if facts.stored_at is not None:
            yield from _around(facts.stored_at + condition.value)
        case Measure.IDLE:
            yield from _around(facts.idle_since + condition.value)
        case Measure.READS | Measure.MACHINE_READS if condition.days is not None:
            yield from (float((day + condition.days + 1) * DAY) for day, _, _ in facts.days)


def _around(moment: float) -> Iterator[float]:
    """The moment, and the doubles beside it: ``> 14d`` turns just after 14 days, and sums are rounded."""
    for step in range(-2, 3):
        towards, near = math.inf if step > 0 else -math.inf, moment
        for _ in range(abs(step)):
            near = math.nextafter(near, towards)
        yield near


def _judgment(rule: Rule, facts: Facts, now: float, timezone: str) -> Judgment:
    truths = tuple(_truth(condition, facts, now, timezone) for condition in rule.when)
    expired = _expired(rule, facts, now)
    return Judgment(rule, not expired and all(truth.holds for truth in truths), truths, expired)


def _truth(condition: Condition, facts: Facts, now: float, timezone: str) -> Truth:
    value: float | str | tuple[str, ...] | None
    match condition:
        case NumberCondition():
            value = amount(condition.measure, condition.days, facts, now)
        case TextCondition(word=Word.HAS):
            value = traits(facts)
        case TextCondition():
            value = _text(condition.word, facts)
        case TimeCondition():
            minute = minute_of_day(timezone, now)
            return Truth(condition, covers(condition.spans, minute), minute)
    return Truth(condition, holds(condition, facts, now, timezone), value)


def _windowed(facts: Facts, days: int, now: float, column: int) -> int:
    """The bins of today and the ``days`` before; those of days to come (a clock that jumped back) count too."""
    first = int(now // DAY) - days
    return sum(one[column] for one in facts.days if one[0] >= first)


def _fits(condition: TextCondition, facts: Facts) -> bool:
    test = _has if condition.word is Word.HAS else _equals if condition.word is Word.STATE else _globs
    wanted = not condition.wanted or any(test(condition.word, value, facts) for value in condition.wanted)
    return wanted and not any(test(condition.word, value, facts) for value in condition.unwanted)


def _has(word: Word, value: str, facts: Facts) -> bool:
    if value.startswith(METADATA):
        return value.removeprefix(METADATA) in facts.metadata
    return _TRAITS[Trait(value)](facts)


def _equals(word: Word, value: str, facts: Facts) -> bool:
    return _text(word, facts) == value


def _globs(word: Word, value: str, facts: Facts) -> bool:
    return fnmatchcase(_text(word, facts), value)


def _text(word: Word, facts: Facts) -> str:
    match word:
        case Word.KEY:
            return facts.name.key
        case Word.BUCKET:
            return facts.name.bucket
        case Word.OWNER:
            return facts.owner
        case Word.FOLDER:
            return facts.folder.lower()
        case Word.STATE:
            return facts.state
        case Word.HAS:
            return ""


def _attachment(facts: Facts) -> bool:
    return facts.metadata.get("attachments", "") not in {"", "0"}


def _purged_before(facts: Facts) -> bool:
    return facts.stored_at is None and facts.purged_at is not None and facts.purged_at >= facts.written_at


_TRAITS: dict[Trait, Callable[[Facts], bool]] = {
    Trait.READ: lambda facts: facts.reads > 0,
    Trait.MACHINE_READ: lambda facts: facts.machine_reads > 0,
    Trait.PURGED_BEFORE: _purged_before,
    Trait.ATTACHMENT: _attachment,
}
_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.EQ: operator.eq,
    Operator.GE: operator.ge,
    Operator.GT: operator.gt,
}
