"""Traffic with a known answer."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable

from tierproxy.trace import Objects, Op, Trace
from tierproxy.traffic import DAY

START = 1_736_121_600.0  #: a Monday, midnight UTC
SIZE = 8_000
BLOB = 12_288  #: what a mail of SIZE takes on disk
OWNERS = 20

Line = tuple[float, int, int]
"""Days since the start, ``Op``, object."""


def trace_of(lines: Iterable[Line], objects: int, *, size: int = SIZE) -> Trace:
    """All mails of one size, by 20 owners."""
    events = sorted(lines)
    owners = [f"owner{number % OWNERS}" for number in range(objects)]
    keys = [f"{owner}/{number}" for number, owner in enumerate(owners)]
    return Trace(
        array("d", (START + day * DAY for day, _, _ in events)), bytes(op for _, op, _ in events), bytes(len(events)),
        array("I", (number for _, _, number in events)), array("q", [size]) * len(events),
        array("q", [size]) * len(events), Objects(["mail"] * objects, keys, owners, [""] * objects),
    )  # fmt: skip


def read_once_and_again(days: int = 11, seed: int = 1) -> Trace:
    """300 mails are read every two to four days for ever; of 120 new ones a day each is read once, soon, and never
    again. What is best: mail that was read at most once goes after a day."""
    draw, lines, number = random.Random(seed), list[Line](), 300
    for hot in range(300):
        at = draw.uniform(0, 0.5)
        lines.append((at, Op.WRITE, hot))
        while (at := at + draw.uniform(2, 4)) < days:
            lines.append((at, Op.READ, hot))
    for day in range(days):
        for _ in range(120):
            at = day + draw.uniform(0, 0.95)
            lines += [(at, Op.WRITE, number), (at + draw.uniform(0.001, 0.04), Op.READ, number)]
            number += 1
    return trace_of(lines, number)


BEST = """\
[budget]
max_bytes = 6000000

[[rule]]
name = "read once"
when = { reads = "<= 1", idle = "> 1d" }
then = "purge"
"""
"""For that traffic on that disk."""


def uniform(days: int = 11, objects: int = 400, reads: int = 400, seed: int = 1) -> Trace:
    """Any mail is as likely to be read next as any other, whatever went before."""
    draw = random.Random(seed)
    lines: list[Line] = [(draw.uniform(0, 0.2), Op.WRITE, number) for number in range(objects)]
    for day in range(days):
        lines += [(day + draw.uniform(0.2 * (not day), 1), Op.READ, draw.randrange(objects)) for _ in range(reads)]
    return trace_of(lines, objects)
