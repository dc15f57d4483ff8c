"""Small traces by hand."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from tierproxy.trace import Objects, Op, Trace

START = 20_800.0 * 86_400
"""Midnight."""
HOUR, DAY = 3600.0, 86_400.0

Step = tuple[float, Op, str, int, int]
"""Seconds after ``START``, what, key, size, flags."""


def write(at: float, key: str, size: int = 1000) -> Step:
    return at, Op.WRITE, key, size, 0


def read(at: float, key: str, size: int = 1000, flags: int = 0) -> Step:
    return at, Op.READ, key, size, flags


def delete(at: float, key: str) -> Step:
    return at, Op.DELETE, key, 0, 0


def trace_of(steps: Iterable[Step], bucket: str = "mail") -> Trace:
    """What was read was delivered as a whole. The owner is the key up to its first slash."""
    at, op, flags = array("d"), bytearray(), bytearray()
    numbers, size, sent = array("I"), array("q"), array("q")
    objects, known = Objects(), dict[str, int]()
    for when, what, key, length, flag in steps:
        if key not in known:
            known[key] = len(known)
            objects.buckets.append(bucket)
            objects.keys.append(key)
            objects.owners.append(key.partition("/")[0])
            objects.folders.append("inbox")
        at.append(START + when)
        op.append(what)
        flags.append(flag)
        numbers.append(known[key])
        size.append(length)
        sent.append(length if what is Op.READ else 0)
    return Trace(at, bytes(op), bytes(flags), numbers, size, sent, objects)
