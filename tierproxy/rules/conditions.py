"""The conditions of a rule: ``when = { age = "< 14d", reads = ">= 3 in 30d", key = ["mail/*", "!*.index"] }``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tierproxy.config.convert import nearest
from tierproxy.errors import ConfigError
from tierproxy.model import State
from tierproxy.rules import amounts, patterns
from tierproxy.rules.evaluate import METADATA
from tierproxy.rules.model import (
    Condition,
    Measure,
    NumberCondition,
    Operator,
    TextCondition,
    TimeCondition,
    Trait,
    Word,
)
from tierproxy.rules.problems import Section

TIME = "time"
FIELDS = (*(str(measure) for measure in Measure), *(str(word) for word in Word), TIME)
"""Every word of ``when``."""

WRITE_FIELDS = frozenset({"bucket", "key", "owner", "folder", "size", TIME})
"""What is known while an object is being written: the conditions of rules with ``write``."""
FILL_FIELDS = WRITE_FIELDS | {"age", "idle", "reads", "has"}
"""What the row of an object says: the conditions of rules with ``fill``."""

COUNTS = frozenset({Measure.READS, Measure.MACHINE_READS})
LENGTHS = frozenset({Measure.AGE, Measure.ON_DISK, Measure.IDLE})
PATTERNS = frozenset({Word.KEY, Word.BUCKET, Word.OWNER, Word.FOLDER})

_SIGN = re.compile(r"[<>=!~]*")
_IN = re.compile(r"\sin\s")
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_MISSPELT = {"==": "=", "=<": "<=", "=>": ">=", "<<": "<", ">>": ">"}


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads conditions. ``keep_days``: days for which reads are remembered, no window is longer."""

    keep_days: int

    def read(self, when: Section) -> tuple[Condition, ...]:
        """The conditions in the order of the file; what is wrong is noted."""
        found: list[Condition] = []
        for field, raw in when.raw.items():
            if field in FIELDS:
                found.extend(self._field(when, field, raw))
            else:
                when.fault(f"there is no condition {field}{nearest(field, FIELDS)}", field)
        return tuple(found)

    def _field(self, when: Section, field: str, raw: Any) -> Iterator[Condition]:
        if field in tuple(Measure):
            yield from self._numbers(when, Measure(field), raw)
        elif field == TIME:
            spans = _noted(when, amounts.spans, raw, field)
            yield from [TimeCondition(spans)] if spans else []
        else:
            yield from _texts(when, Word(field), raw)

    def _numbers(self, when: Section, measure: Measure, raw: Any) -> Iterator[Condition]:
        """A list: all of them must hold."""
        if raw == []:
            when.fault(f"{measure}: the list is empty; write {_example(measure)}", measure)
        for number, one in enumerate(raw if isinstance(raw, list) else [raw]):
            steps = (measure, number) if isinstance(raw, list) else (measure,)
            condition = _noted(when, lambda given: self._number(measure, given), one, *steps)
            if condition is not None:
                yield condition

    def _number(self, measure: Measure, raw: Any) -> NumberCondition:
        if not isinstance(raw, str):
            raise ConfigError(f"{raw!r} is not a text with a comparison; write {_example(measure)}")
        sign, amount, window = _parts(raw)
        operator = _operator(sign, amount, measure)
        if window is not None and measure not in COUNTS:
            raise ConfigError(f'{raw!r}: only reads are counted in a window; write "{operator} {amount}"')
        days = amounts.whole_days(self.keep_days)(window) if window is not None else None
        return NumberCondition(measure, operator, _amount(measure, amount), days)


def _parts(raw: str) -> tuple[str, str, str | None]:
    """``">= 3 in 30d"`` -> ``>=``, ``3``, ``30d``. Each character is looked at once or twice: one expression for all of
    it takes the square of the blanks."""
    text = raw.strip()
    sign = _SIGN.match(text)
    rest = text[sign.end() if sign else 0 :].strip()
    found = _IN.search(rest)
    if found is None:
        return sign[0] if sign else "", rest, None
    return sign[0] if sign else "", rest[: found.start()].rstrip(), rest[found.end() :].lstrip()


def _noted(when: Section, make: Callable[[Any], Any], raw: Any, *steps: str | int) -> Any:
    """What ``make`` reads, or None and a note of what is wrong."""
    try:
        return make(raw)
    except ConfigError as error:
        when.fault(f"{steps[0]}: {error}", *steps)
        return None


def _operator(sign: str, amount: str, measure: Measure) -> Operator:
    if sign in tuple(Operator):
        return Operator(sign)
    if not sign:
        shown = amount.strip() or _example(measure).strip('"').partition(" ")[2]
        raise ConfigError(f'{amount!r} has no comparison; write "< {shown}" or ">= {shown}"')
    if sign in _MISSPELT:
        raise ConfigError(f'there is no comparison {sign}; write "{_MISSPELT[sign]} {amount}"')
    raise ConfigError(f"there is no comparison {sign}; write one of {' '.join(Operator)}, as in {_example(measure)}")


def _amount(measure: Measure, text: str) -> float:
    if measure in LENGTHS:
        return amounts.duration(text)
    if measure is Measure.SIZE:
        return float(amounts.size(text))
    return amounts.reads(text, _example(measure))


def _example(measure: Measure) -> str:
    """What to write, in quotes."""
    if measure in COUNTS:
        return '">= 3" or ">= 3 in 30d"'
    return '">= 1MiB"' if measure is Measure.SIZE else '"< 14d"'


def _texts(when: Section, word: Word, raw: Any) -> Iterator[Condition]:
    """A list: one of those without ``!`` must match, none of those with it."""
    texts = raw if isinstance(raw, list) else [raw]
    if not texts:
        when.fault(f"{word}: the list is empty; write what to look for, as in {_text_example(word)}", word)
        return
    wanted: list[str] = []
    unwanted: list[str] = []
    before = len(when.problems.found)
    for number, one in enumerate(texts):
        steps = (word, number) if isinstance(raw, list) else (word,)
        value = _noted(when, lambda given: _text(word, given), one, *steps)
        if value is not None:
            (unwanted if one.startswith("!") else wanted).append(value)
    if len(when.problems.found) == before:
        yield TextCondition(word, tuple(wanted), tuple(unwanted))


def _text(word: Word, raw: Any) -> str:
    """The value without its ``!``."""
    if not isinstance(raw, str):
        raise ConfigError(f"{raw!r} is not a text; write it in quotes, as in {_text_example(word)}")
    value = raw.removeprefix("!")
    if word in PATTERNS:
        return _pattern(word, value)
    return _state(value) if word is Word.STATE else _trait(value)


def _pattern(word: Word, value: str) -> str:
    if not value and word in {Word.KEY, Word.BUCKET}:
        raise ConfigError("the pattern is empty and matches nothing; write * for all")
    if problem := patterns.fault(value):
        raise ConfigError(problem)
    return value.lower() if word is Word.FOLDER else value


def _state(value: str) -> str:
    if value not in tuple(State):
        raise ConfigError(f"there is no state {value!r}{_or_one_of(value, tuple(State))}")
    return value


def _trait(value: str) -> str:
    if value.startswith(METADATA):
        name = value.removeprefix(METADATA).lower().removeprefix("x-amz-meta-")
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{value!r} names no metadata; write the name without x-amz-meta-, as in metadata:flags")
        return METADATA + name
    if value not in tuple(Trait):
        raise ConfigError(f"an object cannot have {value!r}{_or_one_of(value, (*Trait, 'metadata:NAME'))}")
    return value


def _or_one_of(value: str, known: tuple[str, ...]) -> str:
    return nearest(value, known).replace("; there are", "; write one of")


def _text_example(word: Word) -> str:
    return {
        Word.KEY: '"mail/*"', Word.BUCKET: '"mail"', Word.OWNER: '"alice"', Word.FOLDER: '"trash"',
        Word.STATE: '"clean"', Word.HAS: '"attachment"',
    }[word]  # fmt: skip
