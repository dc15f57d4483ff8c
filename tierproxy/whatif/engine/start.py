"""The disk at the beginning of a trace."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from tierproxy.trace import HIT, Op, Trace
from tierproxy.whatif.engine.columns import Columns

STEP = 1e-6
"""Seconds between two that are there at the start, in the order of their names: nobody knows which was used last, and
the order of their first reads would be a look into the future."""

NONE = -1
READ, WRITE, PURGE = int(Op.READ), int(Op.WRITE), int(Op.PURGE)


def began(trace: Trace) -> Iterator[tuple[int, int]]:
    """Each object that has events, and the place of its first."""
    first = array("q", [NONE]) * len(trace.objects)
    place = len(trace)
    for number in reversed(trace.object):
        place -= 1
        first[number] = place
    return ((number, place) for number, place in enumerate(first) if place != NONE)


def was_there(trace: Trace, first: int) -> bool:
    """The object whose first event is at ``first`` was on disk before the trace: it was read from there, or purged."""
    op = trace.op[first]
    return op == PURGE or (op == READ and bool(trace.flags[first] & HIT))


def place(trace: Trace, columns: Columns, *, warm: bool) -> list[int]:
    """What is known of objects that were there before the trace: their first event is no write. Their age begins with
    the trace. Returns those on disk, in the order they shall come there: with ``warm``, all that ``was_there``."""
    begin = trace.span[0]
    there = []
    for number, first in began(trace):
        columns.written[number] = columns.used[number] = begin
        if trace.op[first] == WRITE:
            continue
        columns.alive[number] = True
        columns.size[number] = trace.size[first] or trace.sent[first]
        if warm and was_there(trace, first):
            there.append(number)
    return columns.names(there)
