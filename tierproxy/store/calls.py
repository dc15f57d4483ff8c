"""What the object port asks of the store, and what it gets back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tierproxy.model import Ack, ByteRange, Entry, Headers, ObjectName, Stub, Tier
from tierproxy.ports import BodyCheck
from tierproxy.traffic import NOBODY, Outcome, Visitor

Select = Callable[[Entry], ByteRange | None]
"""Called once with the entry that would be served, before any of its bytes: evaluates the request's conditions
(raises NotModified, PreconditionFailed) and resolves its range (RangeUnsatisfiable). None means the whole object."""


def whole(_entry: Entry) -> None:
    """The select of a plain read."""


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold of the object a change replaces. ``create``: it does not exist (If-None-Match: *).
    ``match``: it exists with this ETag, or at all for ``*`` (If-Match). Checked in the same step as the change.
    ``change``: the client's name for it, "" for none; it must not have been withdrawn. ``withdraws``: of a delete, the
    change it takes back: that one never happens from now on, and doing it again deletes nothing."""

    create: bool = False
    match: str | None = None
    change: str = ""
    withdraws: str = ""


ANYTHING = Precondition()


@dataclass(frozen=True, slots=True)
class Write:
    """A PUT. ``size`` is the decoded length; ``body`` yields the decoded bytes in pieces of any size and raises
    BadBody or
    a disconnect error of its own when the client fails."""

    name: ObjectName
    headers: Headers
    size: int
    body: AsyncIterator[bytes]
    check: BodyCheck
    precondition: Precondition = ANYTHING
    ack: Ack | None = None
    visitor: Visitor = NOBODY


@dataclass(frozen=True, slots=True)
class Written:
    """An acknowledged change. ``entry.tiers`` says who holds it now; ``timings`` are milliseconds by phase
    (queue, disk, alt-first-byte, alt-body) for Server-Timing."""

    entry: Entry
    timings: Mapping[str, float] = field(default_factory=dict)


class Purge(NamedTuple):
    """What took a blob from the disk: ``by`` as ``Entry.purged_by``, ``at`` seconds since the epoch."""

    by: str
    at: float


class Room(NamedTuple):
    """The disk budget, in bytes. ``objects``: how many there are."""

    total: int
    used: int
    objects: int


class Reading(Protocol):
    """An open object. Close it always; closing early stops nothing but this reader."""

    @property
    def entry(self) -> Entry:
        """Headers are known here (never None)."""
        ...

    @property
    def range(self) -> ByteRange | None:
        """What ``select`` chose."""
        ...

    @property
    def tier(self) -> Tier: ...

    @property
    def fill(self) -> str:
        """``hit``; on a miss ``fill`` (a copy is being made on disk) or ``pass`` (it is not); ``stub``: neither."""
        ...

    @property
    def outcome(self) -> Outcome:
        """Where the bytes come from, as it was when the object was opened."""
        ...

    @property
    def purged(self) -> Purge | None:
        """The purge without which this would have been a hit; None: it was one, or nobody purged the blob."""
        ...

    @property
    def timings(self) -> Mapping[str, float]:
        """Milliseconds by phase, as known so far."""
        ...

    @property
    def stub(self) -> Stub | None:
        """If this is set, ``content`` is its head and tail one after the other, instead of the whole object."""
        ...

    @property
    def content(self) -> bytes | None:
        """The bytes of ``range`` when they are at hand; then ``chunks`` need not be called."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of ``range``: exactly as many, or an error (DiskError, AltError, Unreadable) after which the
        connection must be cut."""
        ...

    async def close(self) -> None: ...
