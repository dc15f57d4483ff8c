"""Events as text of our own: JSON lines and CSV with the columns of the schema, out and in."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tierproxy.history.access import LARGEST, BadLine
from tierproxy.history.rows import GIVEN, MICROSECONDS
from tierproxy.traffic import EventKind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECONDS = re.compile(r"[0-9]{9,10}(\.[0-9]*)?")
"""Since the epoch, from 1973 on; shorter ones are dates without dashes."""
NUMBERS = frozenset({"size", "sent"})
KINDS = frozenset(EventKind)
Row = list[Any]


def written_time(at: int) -> str:
    """Microseconds since the epoch as ``2027-01-31T12:00:00.000000Z``."""
    return (EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def jsonl(lines: Iterable[str]) -> Iterator[Row | BadLine]:
    """A row or what is wrong with it, line by line."""
    for line in lines:
        try:
            found = json.loads(line)
            if not isinstance(found, dict):
                raise BadLine("no JSON object")
            yield row(found)
        except BadLine as error:
            yield error
        except (ValueError, RecursionError) as error:
            yield BadLine(f"no JSON: {error}")


def csv_rows(lines: Iterable[str]) -> Iterator[Row | BadLine]:
    """The same of CSV whose first line names the columns, in any order. Raises BadLine for a first line that does
    not."""
    reader = csv.reader(lines, strict=True)
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise BadLine(f"the first line is no CSV: {error}") from error
    if not {"at", "kind", "bucket", "key"} <= {*names}:
        raise BadLine("the first line must name the columns, at least at, kind, bucket and key")
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadLine(str(error))
            continue
        yield _csv_row(names, values)


def _csv_row(names: list[str], values: list[str]) -> Row | BadLine:
    if len(values) != len(names):
        return BadLine(f"{len(values)} values for {len(names)} columns")
    given: dict[str, Any] = dict(zip(names, values, strict=True))
    try:
        for name in NUMBERS & {*given}:
            given[name] = int(given[name] or 0)
        if "first" in given:
            given["first"] = given["first"].lower() not in {"false", "0"}
        return row(given)
    except BadLine as error:
        return error
    except ValueError as error:
        return BadLine(str(error))


def row(given: Mapping[str, Any]) -> Row:
    """Values by name as a row of ``GIVEN``; what is not there is empty, other names are ignored. Raises BadLine."""
    made = [_value(name, given.get(name)) for name in GIVEN]
    if made[1] not in KINDS:
        raise BadLine(f"kind is read, write, delete or purge, not {str(made[1])[:20]!r}")
    if not made[2] or not made[3]:
        raise BadLine("bucket and key are missing")
    return made


def _value(name: str, value: Any) -> Any:
    if name == "at":
        return _at(value)
    if name == "first":
        return value is not False
    if name in NUMBERS:
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise BadLine(f"{name} is no number of bytes: {str(value)[:20]}")
        return value
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadLine(f"{name} is no text: {str(value)[:20]}")
    return value.encode(errors="replace").decode()


def _at(value: Any) -> int:
    """ISO 8601 with an offset, or seconds since the epoch."""
    try:
        if isinstance(value, str):
            if SECONDS.fullmatch(value):  # CSV has no numbers
                return _at(float(value))
            found = datetime.fromisoformat(value)
            if found.tzinfo is None:
                raise BadLine(f"at says no offset from UTC: {value[:40]}")
            at = (found - EPOCH) // timedelta(microseconds=1)
        else:
            at = round(float(value) * MICROSECONDS)
    except BadLine:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise BadLine(f"at is no time: {str(value)[:40]}") from error
    if not 0 <= at < 2**33 * MICROSECONDS:
        raise BadLine(f"at is not in this age: {str(value)[:40]}")
    return at
