"""What of a trace a cache sees: reads, writes and deletes, as columns of one length."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import compress
from operator import or_

from tierproxy.trace import LATER, MACHINE, Op, Trace

READ, WRITE, DELETE = int(Op.READ), int(Op.WRITE), int(Op.DELETE)

_LEFT_OUT = 0x80
"""Set in a kind by ``requests_of`` for what a cache does not see."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Events in order of time. ``kinds``: READ, WRITE or DELETE; ``numbers``: objects, all below ``objects``;
    ``sizes``: bytes of the object then; ``at``: seconds since the epoch."""

    kinds: bytes
    numbers: array[int]
    sizes: array[int]
    at: array[float]
    objects: int

    def __len__(self) -> int:
        return len(self.kinds)

    def __repr__(self) -> str:
        return f"<Requests: {len(self)} of {self.objects} objects>"

    def index(self, at: float) -> int:
        """Of the first event not before ``at``."""
        return bisect_left(self.at, at)

    def reads(self, start: int = 0, end: int | None = None) -> tuple[int, int]:
        """How many reads there are from ``start`` up to ``end``, and the bytes of what they read."""
        kinds = self.kinds[start:end]
        if DELETE not in kinds and WRITE not in kinds:
            return len(kinds), sum(self.sizes[start:end])
        return kinds.count(READ), sum(compress(self.sizes[start:end], kinds.translate(_IS_READ)))

    def equal_sizes(self) -> int:
        """The size that all objects have; 0: they differ, or there are none."""
        first = self.sizes[0] if self.sizes else 0
        return first if self.sizes.count(first) == len(self.sizes) else 0


def requests_of(trace: Trace, *, machine: bool = False, later: bool = False) -> Requests:
    """The reads, writes and deletes of ``trace``. By default people's reads only, and of the ranges of one read the
    first, as caching papers count requests; ``machine`` and ``later`` let the others in. Purges are what the live rules
    did, not requests."""
    out = 0 if machine else MACHINE
    out |= 0 if later else LATER
    flags = trace.flags.translate(bytes(_LEFT_OUT if value & out else 0 for value in range(256)))
    marked = bytes(map(or_, trace.op, flags)) if any(flags) else trace.op
    wanted = marked.translate(_IS_SEEN)
    if 0 not in wanted:
        return Requests(marked, trace.object, trace.size, trace.at, len(trace.objects))
    return Requests(
        bytes(compress(marked, wanted)),
        array("I", compress(trace.object, wanted)),
        array("q", compress(trace.size, wanted)),
        array("d", compress(trace.at, wanted)),
        len(trace.objects),
    )


_IS_READ = bytes(kind == READ for kind in range(256))
_IS_SEEN = bytes(kind in {READ, WRITE, DELETE} for kind in range(256))
