"""Times of day: spans of minutes in a time zone, and when the clock on the wall enters or leaves one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

Spans = Sequence[tuple[int, int]]
"""(start, stop) minutes of the day, stop exclusive; a span with stop <= start goes over midnight."""

MIDNIGHT = 24 * 60
_HOUR = 3600


def zone(name: str) -> tzinfo:
    """The time zone of that IANA name. UTC needs no time zone database. Raises ZoneInfoNotFoundError, ValueError."""
    return UTC if name == "UTC" else ZoneInfo(name)


def minute_of_day(timezone: str, now: float) -> int:
    """What the clock on the wall shows at ``now``, 0 to 1439."""
    local = datetime.fromtimestamp(math.floor(now), zone(timezone))  # fractions would be rounded, perhaps up
    return local.hour * 60 + local.minute


def within(spans: Spans, timezone: str, now: float) -> bool:
    """Whether ``now`` (seconds since the epoch) is inside one of ``spans`` on the clock of ``timezone``."""
    return covers(spans, minute_of_day(timezone, now))


def covers(spans: Spans, minute: int) -> bool:
    """Whether one of ``spans`` has this minute of the day."""
    return any(start <= minute < stop if start < stop else minute >= start or minute < stop for start, stop in spans)


def boundaries(spans: Spans, timezone: str, since: float, until: float) -> list[float]:
    """The moments after ``since`` and up to ``until`` at which ``within`` may change: starts and stops of spans, and
    where the clocks are put forward or back. In order."""
    where = zone(timezone)
    found = {moment for day in _days(where, since, until) for moment in _marks(spans, day, where)}
    found.update(_shifts(where, since, until))
    return sorted(moment for moment in found if since < moment <= until)


def _days(where: tzinfo, since: float, until: float) -> Iterator[datetime]:
    """Midnights without a zone, from the day before ``since`` to the day after ``until``."""
    first = datetime.fromtimestamp(since, where).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    for number in range(-1, int((until - since) // 86_400) + 3):
        yield first + timedelta(days=number)


def _marks(spans: Spans, day: datetime, where: tzinfo) -> Iterator[float]:
    """A time that the wall shows twice (clocks put back) has two marks."""
    for minute in {minute for span in spans for minute in span}:
        for fold in (0, 1):
            yield (day + timedelta(minutes=minute)).replace(tzinfo=where, fold=fold).timestamp()


def _shifts(where: tzinfo, since: float, until: float) -> Iterator[float]:
    """The seconds at which the zone's offset from UTC changes."""
    hour = int(since)
    while hour < until:
        if _offset(where, hour) != _offset(where, hour + _HOUR):
            before, after = hour, hour + _HOUR
            while after - before > 1:
                middle = (before + after) // 2
                before, after = (middle, after) if _offset(where, middle) == _offset(where, hour) else (before, middle)
            yield float(after)
        hour += _HOUR


def _offset(where: tzinfo, at: int) -> timedelta | None:
    return datetime.fromtimestamp(at, where).utcoffset()
