"""Dates on the wire: HTTP's three forms (RFC 9110 5.6.7), S3's ISO 8601, and the compact form of signatures.

Seconds since the epoch, UTC, throughout. Written without the C library's locale-dependent ``strptime``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import overload

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_AMZ = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_IMF = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) (?P<month>[A-Z][a-z]{2}) (?P<year>\d{4}) "
    r"(?P<time>\d\d:\d\d:\d\d) (?:GMT|UTC|\+0000|-0000)",
    re.ASCII,
)
_RFC850 = re.compile(
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-(?P<month>[A-Z][a-z]{2})-(?P<year>\d\d) "
    r"(?P<time>\d\d:\d\d:\d\d) GMT",
    re.ASCII,
)
_ASCTIME = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>[A-Z][a-z]{2}) (?P<day>[ \d]\d) "
    r"(?P<time>\d\d:\d\d:\d\d) (?P<year>\d{4})",
    re.ASCII,
)


@overload
def amz_date(text: str) -> float: ...
@overload
def amz_date(text: str, default: None) -> float | None: ...
def amz_date(text: str, default: float | None = 0.0) -> float | None:
    """``20130524T000000Z`` -> seconds; ``default`` if it is not of that form or no such moment exists."""
    seconds = _amz_seconds(text) if len(text) == 16 else None
    return default if seconds is None else seconds


@lru_cache(maxsize=64)  # every request asks twice, and those of one second are alike
def _amz_seconds(text: str) -> float | None:
    match = _AMZ.fullmatch(text)
    return None if match is None else _seconds(*map(int, match.groups()))


def amz_stamp(seconds: float) -> str:
    """Seconds -> ``20130524T000000Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def http_date(text: str, *, now: float | None = None) -> float | None:
    """IMF-fixdate, RFC 850 or asctime -> seconds; None if it is none of them (RFC 9110: then the header is ignored).

    ``now`` settles the century of RFC 850's two-digit years: more than 50 years ahead means the past one.
    """
    text = text.strip()
    match = _IMF.fullmatch(text) or _RFC850.fullmatch(text) or _ASCTIME.fullmatch(text)
    if match is None or match["month"] not in _MONTHS:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _century(year, now)
    hour, minute, second = map(int, match["time"].split(":"))
    return _seconds(year, _MONTHS.index(match["month"]) + 1, int(match["day"]), hour, minute, second)


def _century(year: int, now: float | None) -> int:
    if now is None:
        return 2000 + year if year < 70 else 1900 + year
    this = datetime.fromtimestamp(now, UTC).year
    full = this - this % 100 + year
    return full - 100 if full > this + 50 else full


def _seconds(year: int, month: int, day: int, hour: int, minute: int, second: int) -> float | None:
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    # A leap second (60) is the second after 59.
    return None if second > 60 else moment.timestamp() + (second == 60)


def format_http(seconds: float) -> str:
    """IMF-fixdate, truncated to the second: ``Fri, 24 May 2013 00:00:00 GMT``."""
    return _http_of(int(seconds))


@lru_cache(maxsize=4096)  # every answer with an object has one, and hot objects have the same again and again
def _http_of(seconds: int) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02} {month} {moment.year:04} {moment:%H:%M:%S} GMT"


def format_iso(seconds: float) -> str:
    """S3's form in XML, with milliseconds: ``2013-05-24T00:00:00.000Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
