"""Recorded traffic as columns: what simulations replay. No I/O, no clock."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import compress


class Op(IntEnum):
    """What happened. Every event of history is one of these; purges are what the live rules did, not replayed."""

    READ = 0
    WRITE = 1
    DELETE = 2
    PURGE = 3


MACHINE = 1  #: flag of a read: by a machine (scan, index, backup, prefetch)
LATER = 2  #: flag of a read: a later range of a read already counted
HIT = 4  #: flag of a read: it was a hit when it was recorded
REGRET = 8  #: flag of a read: it missed because of a purge when it was recorded
PREFETCH = 16  #: flag of a machine's read: it asks for a copy on disk


@dataclass(frozen=True, slots=True)
class Objects:
    """What is known of each object of a trace, by its number (0, 1, ...). ``owners`` and ``folders`` are "" where they
    are not known."""

    buckets: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Trace:
    """Events in order of time, one column an attribute, all of the same length. ``at``: seconds since the epoch
    (array 'd'); ``op``: ``Op`` values; ``flags``: of reads, see above; ``object``: numbers of ``objects`` (array 'I');
    ``size``: bytes of the object at that moment (array 'q'), 0 where a log does not say; ``sent``: body bytes
    delivered (array 'q')."""

    at: array[float]
    op: bytes
    flags: bytes
    object: array[int]
    size: array[int]
    sent: array[int]
    objects: Objects

    def __len__(self) -> int:
        return len(self.op)

    def __repr__(self) -> str:
        return f"<Trace of {len(self)} events, {len(self.objects)} objects>"

    @property
    def span(self) -> tuple[float, float]:
        """Seconds since the epoch of the first and the last event; (0, 0) of an empty trace."""
        return (self.at[0], self.at[-1]) if self.op else (0.0, 0.0)


def cut(trace: Trace, at: float) -> tuple[Trace, Trace]:
    """What came before ``at`` (seconds since the epoch), and the rest. Both keep all objects and their numbers, so that
    a state left by the first fits the second."""
    place = bisect_left(trace.at, at)
    return _part(trace, 0, place), _part(trace, place, len(trace))


def sampled(trace: Trace, rate: float) -> Trace:
    """All events of a share ``rate`` of the objects, chosen by hash: what each of them went through is whole, and a
    disk of ``rate`` times the size does with them what a whole disk does with all (SHARDS: Waldspurger et al., FAST
    2015). Objects keep their numbers."""
    if rate >= 1:
        return trace
    chosen = sampled_objects(len(trace.objects), rate)
    wanted = bytes(map(chosen.__getitem__, trace.object))
    return Trace(
        array("d", compress(trace.at, wanted)),
        bytes(compress(trace.op, wanted)),
        bytes(compress(trace.flags, wanted)),
        array("I", compress(trace.object, wanted)),
        array("q", compress(trace.size, wanted)),
        array("q", compress(trace.sent, wanted)),
        trace.objects,
    )


def sampled_objects(objects: int, rate: float) -> bytearray:
    """For each of ``objects`` numbers 1 if it is of the share ``rate``, else 0. A larger share has all of a smaller."""
    below = rate * 2**32
    return bytearray(_hash(number) < below for number in range(objects))


def _hash(number: int) -> int:
    """32 bits that depend on all bits of ``number``: the finaliser of MurmurHash3 (Appleby, public domain), which maps
    0 to 0; so it is given the next number."""
    number = (number + 1) & 0xFFFFFFFF
    number = (number ^ (number >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
    number = (number ^ (number >> 13)) * 0xC2B2AE35 & 0xFFFFFFFF
    return number ^ (number >> 16)


def _part(trace: Trace, start: int, end: int) -> Trace:
    return Trace(
        trace.at[start:end],
        trace.op[start:end],
        trace.flags[start:end],
        trace.object[start:end],
        trace.size[start:end],
        trace.sent[start:end],
        trace.objects,
    )
