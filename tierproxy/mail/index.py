"""What a re-index finds: one line for each object, and the numbers of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tierproxy.mail.metadata import FACTS, TEXTS
from tierproxy.model import ObjectName

NUMBERS = frozenset({"size", "vsize", "received", "uid", "saved", "date"})
_LONGEST = 20  #: digits of a number that is believed


class Source(StrEnum):
    """Where it is known from what a mail says of itself."""

    METADATA = "metadata"  #: of the object: one HEAD
    BODY = "body"  #: its two ends
    NOTHING = "nothing"  #: no metadata, and nobody looked; or it is no mail


@dataclass(frozen=True, slots=True)
class Line:
    """One object. ``stored`` is its size, ``facts`` as ``mail.metadata.facts_of``; ``written``: they are its metadata
    from now on."""

    name: ObjectName
    stored: int
    source: Source
    facts: Mapping[str, str] = field(default_factory=dict)
    written: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For a line of JSON: always ``key``, ``stored`` and ``source``; of the mail what is known, sizes, times and
        UIDs as numbers. Times are seconds since the epoch."""
        known = {name: value for name in (*FACTS, *TEXTS) if (value := _read(name, self.facts.get(name))) is not None}
        return {"key": str(self.name), "stored": self.stored, "source": str(self.source)} | known

    def number(self, name: str) -> int | None:
        """One of ``NUMBERS``, None when it is not known."""
        found = _read(name, self.facts.get(name))
        return found if isinstance(found, int) else None


def _read(name: str, value: str | None) -> str | int | None:
    """What other writers stored under one of our names may be anything."""
    if value is None or name not in NUMBERS:
        return value
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _LONGEST else None


@dataclass(slots=True)
class Summary:
    """``objects`` = ``told`` + ``read`` + ``silent``; ``gone`` and ``failed`` are beside them. ``written`` of ``read``
    have metadata now. ``stopped``: why it ended before the end."""

    objects: int = 0
    bytes: int = 0
    told: int = 0
    read: int = 0
    silent: int = 0
    written: int = 0
    gone: int = 0
    failed: int = 0
    earliest: int | None = None  #: received, seconds since the epoch
    latest: int | None = None
    stopped: str = ""
    formats: Counter[str] = field(default_factory=Counter)
    folders: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Count one more."""
        self.objects += 1
        self.bytes += line.stored
        self.told += line.source is Source.METADATA
        self.read += line.source is Source.BODY
        self.silent += line.source is Source.NOTHING
        self.written += line.written
        if line.source is not Source.NOTHING:
            self.formats[line.facts.get("format", "")] += 1
            self.folders[line.facts.get("owner", ""), line.facts.get("folder", "")] += 1
            self._span(line.number("received") or line.number("date"))

    def _span(self, at: int | None) -> None:
        if at is not None:
            self.earliest = at if self.earliest is None else min(self.earliest, at)
            self.latest = at if self.latest is None else max(self.latest, at)
