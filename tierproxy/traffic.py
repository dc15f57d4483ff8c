"""The nouns of counting: who reads, what a read is, what is remembered of it. No I/O, no clock.

A **get** is an open of an object that got past its conditions; counters of gets say where bytes came from. A **read**
is what a person or a machine did: gets that delivered body bytes, with the ranges of one object by one client within
the range window taken together. Days are UTC days since the epoch (``int(at // 86400)``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tierproxy.model import ObjectName

DAY = 86_400


class Reason(StrEnum):
    """Why an object is read. All but ``person`` are machine reads: counted apart, and they promote nothing."""

    PERSON = "person"
    SCAN = "scan"
    PREFETCH = "prefetch"
    INDEX = "index"
    BACKUP = "backup"


class Outcome(StrEnum):
    """What became of a get, and of the events beside it."""

    MEMORY = "memory"  #: hit
    DISK = "disk"  #: hit
    FILL = "fill"  #: miss; a copy was made on disk on the way
    JOIN = "join"  #: miss; shared somebody else's flight
    PASS = "pass"  # noqa: S105 - no password
    """Miss; served from alt without a copy."""

    STUB = "stub"  #: neither: head or tail of an object whose body is not on disk, and alt was not asked


HITS = frozenset({Outcome.MEMORY, Outcome.DISK})


def side(outcome: Outcome) -> str:
    """On which side of a hit ratio a get is: ``hits``, ``misses``, or ``stubs``, which are on none. Its counter is
    ``gets.<side>.<outcome>``."""
    if outcome is Outcome.STUB:
        return "stubs"
    return "hits" if outcome in HITS else "misses"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. ``client`` tells clients apart (access key id and peer address; "" where nobody is asked).

    ``reason`` is what the request says of itself (``x-tierproxy-reason``), None when it says nothing. ``owner`` and
    ``folder`` (its class) are the request's word for them (``x-tierproxy-owner``, ``x-tierproxy-folder``), None: the
    key decides.
    """

    client: str = ""
    access_key: str = ""
    user_agent: str = ""
    reason: Reason | None = None
    owner: str | None = None
    folder: str | None = None


NOBODY = Visitor()


class Delivery(NamedTuple):
    """``times`` gets of one object by one visitor that were hits and were answered alike, within the last second or
    so: how the hit lane, hit workers and mounts tell of reads.

    ``sent``: body bytes, of all of them. ``size``, ``owner`` and ``folder``: of the row, as it was then. ``ranged``:
    a part of the object was asked for. ``at``: of the last, seconds since the epoch.
    """

    name: ObjectName
    visitor: Visitor
    outcome: Outcome
    size: int
    owner: str | None
    folder: str | None
    ranged: bool
    times: int
    sent: int
    at: float


@dataclass(frozen=True, slots=True)
class ReadCount:
    """Reads of one object on one day since the last flush. ``last_read_at``: the last by a person, None: there was
    none; ``previous_read_at``: the one before, if it is among these. ``misses``: how many of ``reads`` were no hits.
    ``owner`` and ``folder``: what the requests said, kept where the row does not know better."""

    name: ObjectName
    day: int
    reads: int = 0
    machine_reads: int = 0
    last_read_at: float | None = None
    owner: str | None = None
    folder: str | None = None
    previous_read_at: float | None = None
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Correction:
    """A read that was counted as a person's (at ``at``) and turned out to be a machine's: one read becomes a machine
    read, and the last read is again the one before, if ``at`` is still the last. ``hit``: it was one, so a visit."""

    name: ObjectName
    at: float
    hit: bool = True


@dataclass(frozen=True, slots=True)
class Regret:
    """A read that missed because a purge had removed the blob. ``by``: as ``Entry.purged_by``; ``seconds``: from the
    purge to the read; ``machine``: it was a machine's read; ``corrected``: it was booked as a person's before, and is
    a machine's from now on."""

    name: ObjectName
    by: str
    at: float
    seconds: float
    machine: bool = False
    corrected: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """One flush: everything counted since the last. ``increments`` are the growth of the named counters, for the
    minute and hour of ``at``."""

    at: float
    reads: tuple[ReadCount, ...] = ()
    corrections: tuple[Correction, ...] = ()
    regrets: tuple[Regret, ...] = ()
    increments: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.reads or self.corrections or self.regrets or self.increments)


class EventKind(StrEnum):
    """What a line of history tells of."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    PURGE = "purge"


class Event(NamedTuple):
    """A line of history. A tuple, because one is made for every read.

    ``at``: seconds since the epoch. ``size``: bytes of the object; ``sent``: body bytes delivered (reads). ``outcome``:
    of a read an ``Outcome``, of a write who has it (``both``, ``disk``, ``alt``), else "". ``reason``: a ``Reason`` of
    reads, "" of others. ``client``: as ``Visitor.client``. ``by``: of a purge, and of a read that regrets one, as
    ``Entry.purged_by``; else "". ``first``: of a read, False for the later ranges of a read already counted, and for
    what came from a stub, which is no read.
    """

    at: float
    kind: EventKind
    name: ObjectName
    owner: str = ""
    folder: str = ""
    size: int = 0
    sent: int = 0
    outcome: str = ""
    reason: str = ""
    client: str = ""
    by: str = ""
    first: bool = True


@dataclass(frozen=True, slots=True)
class Rollup:
    """The counters of one minute or hour. ``at``: its start. ``span``: 60 or 3600 seconds."""

    at: int
    span: int
    counters: Mapping[str, int]
