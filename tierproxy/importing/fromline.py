"""The lines that begin a mail in an mbox: ``From alice@example.org Sat Jan  3 01:05:34 2026 +0100``.

Source: RFC 4155, appendix A; and what other programs write: with a time zone before or after the year, without seconds,
with a remote host behind the date.
"""

from __future__ import annotations

import calendar
import re

_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}
_LINE = re.compile(
    rb"From (?:.{0,1000} )??\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),?\s+"
    rb"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+(?P<day>\d{1,2})\s+"
    rb"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?\s+"
    rb"(?:(?P<before>[+-]\d{4}|[A-Za-z]{2,5})\s+)?(?P<year>\d{4})"
    rb"(?:\s+(?P<after>[+-]\d{4}|[A-Za-z]{2,5}))?(?:\s.*)?\r?\n?"
)
LONGEST = 2_000  #: bytes of a line that is looked at


def date_in(line: bytes) -> int | None:
    """Seconds since the epoch of a line that begins a mail; None: it does not. Zones by name count as UTC, which is
    what RFC 4155 asks for and what nearly everybody who names one means."""
    found = _LINE.fullmatch(line) if len(line) <= LONGEST else None
    if found is None:
        return None
    day, hour, minute, year = (int(found[name]) for name in ("day", "hour", "minute", "year"))
    if not (1 <= day <= 31 and hour <= 23 and minute <= 59 and year >= 1970):
        return None
    fields = (year, _MONTHS[found["month"].decode()], day, hour, minute, int(found["second"] or 0), 0, 1, 0)
    return max(0, calendar.timegm(fields) - _offset(found["before"] or found["after"] or b""))


def _offset(zone: bytes) -> int:
    """Seconds east of UTC."""
    if zone[:1] not in {b"+", b"-"}:
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return -seconds if zone.startswith(b"-") else seconds
