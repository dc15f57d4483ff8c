"""Reads that history has as a person's and that turned out to be the beginning of a scan.

The live node takes the first reads of a resync for a person's, recognises the scan at read ``[counting] scan_objects``
and corrects its counts (``docs/decisions/0015-what-a-read-is.md``). History is written as things happen and stays as it
was, so a replay has to correct it again: else rules that ask for reads see people where there were none.
"""

from __future__ import annotations

from array import array
from dataclasses import replace

from tierproxy.config.sections import CountingSection
from tierproxy.store.scans import Run
from tierproxy.trace import LATER, MACHINE, PREFETCH, Op, Trace

TAKEN = 32
"""Flag of a read, beside ``MACHINE``: it was served as a person's, so that it may have left a copy on disk."""

NONE = -1
READ = int(Op.READ)


def corrected(trace: Trace, counting: CountingSection) -> Trace:
    """``trace`` with the first reads of every scan as the machine's that they were. A trace has no clients: reads of
    one owner's objects count as one client's, and where somebody else reads the same mailbox in the same seconds, a
    scan's beginning stays a person's. Correcting twice changes nothing."""
    if not counting.scan_objects:
        return trace
    flags = bytearray(trace.flags)
    before = array("q", [NONE]) * len(trace)  # of a person's read: the one before of the same owner
    latest: dict[tuple[str, str], int] = {}
    owners, buckets = trace.objects.owners, trace.objects.buckets
    for place, (op, flag, number) in enumerate(zip(trace.op, trace.flags, trace.object, strict=True)):
        if op != READ or flag & (LATER | PREFETCH):
            continue
        owner = buckets[number], owners[number]
        previous = latest.get(owner, NONE)
        latest[owner] = place
        if not flag & MACHINE:
            before[place] = previous
        elif previous != NONE and not trace.flags[previous] & MACHINE:
            for one in _beginning(trace, before, place, previous, counting):
                flags[one] |= MACHINE | TAKEN
    return replace(trace, flags=bytes(flags))


def _beginning(trace: Trace, before: array[int], place: int, previous: int, counting: CountingSection) -> list[int]:
    """The reads up to that at ``place``, if it, a machine's, is the one by which a scan was recognised; else none. It
    was open before anybody knew."""
    found: list[int] = []
    at, number = trace.at[place], trace.object[place]
    while len(found) < counting.scan_objects - 1:
        if previous == NONE or trace.flags[previous] & MACHINE or at - trace.at[previous] > counting.scan_gap:
            return []
        at = trace.at[previous]
        if trace.object[previous] != number:  # the same object again is another read, and no part of the run
            number = trace.object[previous]
            found.append(previous)
        previous = before[previous]
    whole = [*reversed(found), place]
    return whole if _in_order(trace, whole) else []


def _in_order(trace: Trace, places: list[int]) -> bool:
    keys = [trace.objects.keys[trace.object[place]] for place in places]
    run = Run[int](keys[0], 0.0)
    return all(run.goes_on(key, 0.0) for key in keys[1:])
