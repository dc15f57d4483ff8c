"""Values of a rule file as texts: durations, shares, whole days, times of day, dates. All raise ConfigError."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfoNotFoundError

from tierproxy.config.values import DURATIONS, Share, Size, parse_duration, parse_share, parse_size
from tierproxy.errors import ConfigError
from tierproxy.rules.spans import MIDNIGHT, zone
from tierproxy.traffic import DAY

_SPAN = re.compile(r"\s*(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)\s*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d)?")
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_LONG_UNITS = {
    "y": "365d", "year": "365d", "years": "365d", "mo": "30d", "month": "30d", "months": "30d", "day": "1d",
    "days": "2d", "week": "1w", "weeks": "2w", "hours": "2h", "hour": "1h", "minutes": "2m", "M": "30d",
}  # fmt: skip
LONGEST = 36_500.0 * DAY  #: seconds: no mail is older, and what is much later has no date
MOST_BYTES = 2**60
MOST_READS = 10**15
_CHARACTERS = 40  #: of a number that means something


def duration(raw: Any) -> float:
    """``"14d"`` -> seconds."""
    if not isinstance(raw, str):
        raise ConfigError(f'{raw!r} has no unit; write a text with one, as in "14d"')
    unit = raw.strip().lstrip("0123456789. ")
    if raw.strip()[:1].isdigit() and unit in _LONG_UNITS:
        raise ConfigError(f"{raw!r}: there is no unit {unit}; write ms, s, m, h, d or w, as in {_LONG_UNITS[unit]}")
    if raw.strip()[:1].isdigit() and unit.lower() not in DURATIONS:
        raise ConfigError(f"{raw!r} is no duration; write a number and ms, s, m, h, d or w, as in 14d")
    if not raw.strip()[:1].isdigit():
        raise ConfigError(f"{raw!r} is no duration; write a number and a unit, as in 14d")
    seconds = math.inf if len(raw) > _CHARACTERS else float(parse_duration(raw.strip()))
    if seconds > LONGEST:
        raise ConfigError(f"{_short(raw)} is more than a hundred years; write at most 36500d")
    return seconds


def size(raw: Any) -> int:
    """``"1MiB"``, or a number of bytes."""
    if isinstance(raw, bool) or not isinstance(raw, (str, int)) or (isinstance(raw, int) and raw < 0):
        raise ConfigError(f'{raw!r} is no size; write a number and a unit, as in "1MiB"')
    try:
        found = MOST_BYTES + 1 if _endless(raw) else int(parse_size(raw))
    except ConfigError as error:
        raise ConfigError(
            f"{raw!r} is no size; write bytes, or KB, MB, GB, TB, KiB, MiB, GiB, TiB, as in 1MiB"
        ) from error
    if found > MOST_BYTES:
        raise ConfigError(f"{_short(raw)} is more than any disk has; write at most {MOST_BYTES // 2**40}TiB")
    return found


def reads(text: str, example: str) -> float:
    """``"3"``. ``example``: what to write instead."""
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{text!r} is not a whole number of reads; write {example}")
    if _endless(text) or int(text) > MOST_READS:
        raise ConfigError(f"{_short(text)} is more than can be counted; write at most {MOST_READS}")
    return float(text)


def _endless(raw: str | int) -> bool:
    return isinstance(raw, str) and len(raw) > _CHARACTERS


def _short(raw: object) -> str:
    shown = repr(raw) if not isinstance(raw, int) or raw < 10**_CHARACTERS else "the number"
    return shown if len(shown) <= _CHARACTERS + 2 else f"{shown[:_CHARACTERS]}..."


def budget(raw: Any) -> int:
    """A size of at least 1 MiB."""
    given = size(raw)
    if given < 2**20:
        raise ConfigError(f"{raw!r} is less than 1MiB; write how much disk mail may take, as in 750MB")
    return Size(given)


def least_free(raw: Any) -> Share:
    """``"5%"`` or a size."""
    if isinstance(raw, bool) or not isinstance(raw, (str, int)):
        raise ConfigError(f'{raw!r} is neither a percentage nor a size; write "5%" or "20GiB"')
    try:
        share = Share(percent=math.inf) if _endless(raw) else parse_share(raw)
    except ConfigError as error:
        raise ConfigError(f'{raw!r} is neither a percentage nor a size; write "5%" or "20GiB"') from error
    if share.percent is not None and share.percent >= 100:
        raise ConfigError(f'{share.percent:g}% of the file system can never be free; write less, as in "5%"')
    if share.bytes is not None:
        size(share.bytes)
    return share


def ratio(raw: Any) -> float:
    """``"95%"`` or ``0.95`` -> 0.95; more than 1 is possible."""
    if isinstance(raw, str) and (match := _PERCENT.fullmatch(raw)):
        return float(match[1]) / 100
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not 0 <= raw < float("inf"):
        raise ConfigError(f'{raw!r} is no share; write it as in "95%" or 0.95')
    return float(raw)


def part(raw: Any) -> float:
    """A ratio of at most 1."""
    given = ratio(raw)
    if given > 1:
        raise ConfigError(f'{raw!r} is more than all; write at most "100%"')
    return given


def whole_days(longest: int) -> Callable[[Any], int]:
    """Reads ``"30d"`` as 30. ``longest``: days for which reads are remembered."""

    def read(raw: Any) -> int:
        seconds = duration(raw)
        days = int(seconds // DAY)
        if seconds % DAY or not days:
            raise ConfigError(
                f"{raw!r} is not a number of whole days, and reads are counted by the day; write {max(days, 1)}d"
            )
        if days > longest:
            raise ConfigError(
                f"{raw!r} is longer than reads are remembered; write at most {longest}d, or raise [counting] keep_days"
            )
        return days

    return read


def spans(raw: Any) -> tuple[tuple[int, int], ...]:
    """``"01:00-05:00"`` or a list of such texts, as minutes of the day."""
    texts = raw if isinstance(raw, list) else [raw]
    if not texts:
        raise ConfigError('the list is empty and never holds; write a time of day as in "01:00-05:00"')
    return tuple(_span(text) for text in texts)


def _span(raw: Any) -> tuple[int, int]:
    match = _SPAN.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        raise ConfigError(f'{raw!r} is no time of day; write start and stop, as in "01:00-05:00"')
    hours = [int(match[1]), int(match[3])]
    minutes = [int(match[2]), int(match[4])]
    start, stop = hours[0] * 60 + minutes[0], hours[1] * 60 + minutes[1]
    if max(minutes) > 59 or start >= MIDNIGHT or stop > MIDNIGHT:
        raise ConfigError(f"{raw!r} is no time of day; times go from 00:00 to 24:00")
    if start == stop:
        raise ConfigError(f'{raw!r} begins when it ends; write "00:00-24:00" for the whole day')
    return start, stop


def timezone(raw: Any) -> str:
    """The name of a time zone that this machine knows."""
    problem = f'{raw!r} is no time zone this machine knows; write a name as in "Europe/Berlin", or "UTC"'
    if not isinstance(raw, str) or not raw:
        raise ConfigError(problem)
    try:
        zone(raw)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(problem) from error
    return raw


def moment(text: str, where: str) -> float:
    """``2027-01-31`` (its first moment) or ``2027-01-31 18:00`` in the time zone ``where``, as seconds since the
    epoch."""
    try:
        found = datetime.fromisoformat(text).replace(tzinfo=zone(where))
        if not _DATE.fullmatch(text) or not 1970 < found.year < 9999:  # other zones' clocks know such a year too
            raise ValueError(text)
        return found.timestamp()
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{text!r} is no date; write it as in 2027-01-31 or 2027-01-31 18:00") from error
