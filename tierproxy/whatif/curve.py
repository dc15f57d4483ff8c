"""The miss-ratio curve of LRU: hit ratio against disk size, from one pass over the requests.

A read hits on a disk of C bytes if what was used since the object's last use, and the object itself, is at most C
bytes: its stack distance (Mattson et al., IBM Systems Journal 1970). A Fenwick tree over the order of last uses sums
bytes in logarithmic time. Of a long trace a sample of the objects is followed (``tierproxy.whatif.sample``), each
standing for several in the tree and in the counts. That those stand for more or fewer reads than there are is put right
at the least distance, as SHARDS-adj does (Waldspurger et al., FAST 2015): it is the more popular objects that are in
the sample or not. The least distance of reads that are lacking is their own mean size: no smaller disk holds them.

A delete leaves a hole in the stack. What comes in next takes the topmost hole, and what lies below stays where it is:
bytes that are free on a disk do not bring back what has left it. Without holes the curve would promise too much.

Exact when all is followed, but for two things: objects larger than a disk, which it does not take in (the curve lets
them push others out), and holes of another size than what fills them. Distances are kept in classes of less than 0.8 %.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate

from tierproxy.whatif.replay import Progress, quiet
from tierproxy.whatif.requests import DELETE, READ, Requests
from tierproxy.whatif.sample import sample

POINTS = 100
SAMPLED = 1_000_000
"""Events that are followed when no rate is asked for. What takes time is each of them."""
FINE = 7
"""Bits of a distance that its class keeps."""
_PART = 2**16


@dataclass(frozen=True, slots=True)
class Curve:
    """Hit ratios by disk size. ``sizes`` in bytes, rising, are where a class of distances ends; ``hits`` and
    ``hit_bytes``: of all reads how many hit on a disk of that size. ``requests`` and ``bytes``: all reads. ``sampled``
    events were followed, a share of ``rate``."""

    sizes: tuple[int, ...]
    hits: tuple[int, ...]
    hit_bytes: tuple[int, ...]
    requests: int
    bytes: int
    rate: float
    sampled: int

    def hit_ratio(self, size: float) -> float:
        """Of reads, on a disk of ``size`` bytes."""
        return _ratio(self.sizes, self.hits, size, self.requests)

    def byte_hit_ratio(self, size: float) -> float:
        """Of bytes of what was read."""
        return _ratio(self.sizes, self.hit_bytes, size, self.bytes)

    @property
    def working_set(self) -> int:
        """The smallest disk that is as good as one of any size; 0: nothing is ever read again."""
        return self.sizes[-1] if self.sizes else 0

    def size_for(self, hit_ratio: float, *, by_bytes: bool = False) -> int | None:
        """The smallest disk with that hit ratio; None: none has it."""
        values, whole = (self.hit_bytes, self.bytes) if by_bytes else (self.hits, self.requests)
        wanted = hit_ratio * whole
        for size, value in zip(self.sizes, values, strict=True):
            if value >= wanted - 1e-9 * whole:
                return size
        return None

    def points(self, count: int = POINTS) -> tuple[int, ...]:
        """At most ``count`` sizes, in equal steps up to the working set: where to draw it."""
        count = min(count, self.working_set)
        return tuple(-(-self.working_set * step // count) for step in range(1, count + 1))


def _ratio(sizes: Sequence[int], values: Sequence[float], size: float, whole: int) -> float:
    index = bisect_right(sizes, size)
    return min(values[index - 1] / whole, 1.0) if index and whole else 0.0


def curve(requests: Requests, *, rate: float | None = None, progress: Progress = quiet) -> Curve:
    """The curve of ``requests``. ``rate``: about the share of events that is followed; None: all, or as many as make
    ``SAMPLED``. ``progress`` is told events, as if all were followed."""
    share = SAMPLED / max(len(requests), 1) if rate is None else rate
    followed, stands = sample(requests, share)
    stack = Stack(stands, len(followed))
    for begin in range(0, len(followed), _PART):
        end = min(begin + _PART, len(followed))
        stack.replay(followed.kinds[begin:end], followed.numbers[begin:end], followed.sizes[begin:end])
        progress(len(requests) * end // len(followed))
    return _curve(requests, stack, len(followed))


def _curve(requests: Requests, stack: Stack, sampled: int) -> Curve:
    count, size = requests.reads()
    hits, hit_bytes = dict(stack.hits), dict(stack.hit_bytes)
    more, more_bytes = count - stack.reads, size - stack.read_bytes
    if more > 0:
        nearest = class_of(max(more_bytes, 0) // more)
        hits[nearest] = hits.get(nearest, 0) + more
        hit_bytes[nearest] = hit_bytes.get(nearest, 0) + max(more_bytes, 0)
    classes = sorted(hits)
    return Curve(
        tuple(map(end_of, classes)),
        _summed((hits[one] for one in classes), min(more, 0)),
        _summed((hit_bytes.get(one, 0) for one in classes), min(more_bytes, 0)),
        count,
        size,
        sampled / len(requests) if requests else 1.0,
        sampled,
    )


def _summed(values: Iterable[int], before: int) -> tuple[int, ...]:
    """Running sums from ``before`` on, which is not above 0; none is below."""
    return tuple(max(value, 0) for value in accumulate(values, initial=before))[1:]


def class_of(distance: int) -> int:
    """The class of ``distance``: its length in bits and its ``FINE`` leading bits. Classes sort as distances do."""
    shift = max(distance.bit_length() - FINE - 1, 0)
    return (shift << (FINE + 1)) + (distance >> shift)


def end_of(one: int) -> int:
    """The largest distance of a class."""
    shift, leading = one >> (FINE + 1), one & (2 ** (FINE + 1) - 1)
    end: int = ((leading + 1) << shift) - 1
    return end


class Stack:
    """Objects by last use, as a tree of bytes over the turns of use (Fenwick 1994). ``stands``: for how many objects
    each stands; ``uses``: at most as many.

    ``hits`` and ``hit_bytes``: reads that had a distance, and their bytes, by its class; ``reads`` and ``read_bytes``:
    all. Each weighs what it stands for."""

    def __init__(self, stands: array[int], uses: int) -> None:
        self.hits: dict[int, int] = {}
        self.hit_bytes: dict[int, int] = {}
        self.reads = 0
        self.read_bytes = 0
        self._stands = stands
        self._tree = [0] * (uses + 1)
        self._turn = array("q", bytes(8 * len(stands)))  # of the last use, from 1; 0: it is not in the stack
        self._held = array("q", bytes(8 * len(stands)))  # bytes in the tree
        self._now = 0
        self._total = 0
        self._holes: list[int] = []  # negative turns: the topmost is the latest
        self._free: dict[int, int] = {}  # bytes of a hole by turn

    def replay(self, kinds: bytes, numbers: Sequence[int], sizes: Sequence[int]) -> None:
        """Go on with these events."""
        turns, held, stands, tree, uses = self._turn, self._held, self._stands, self._tree, len(self._tree)
        for kind, number, size in zip(kinds, numbers, sizes, strict=True):
            turn = turns[number]
            if kind == READ:
                self._read(turn, size, stands[number])
            if kind == DELETE:
                turns[number] = 0
                self._dig(turn, held[number])
                held[number] = 0
                continue
            leaves, comes = held[number], size * stands[number]
            if self._free or comes < leaves:
                hole = max(leaves + self._fill(turn, comes) - comes, 0)
                self._dig(turn, hole)
                leaves -= hole
            place = turn
            while leaves and place < uses:
                tree[place] -= leaves
                place += place & -place
            self._now += 1
            turns[number] = place = self._now
            held[number] = comes
            while place < uses:
                tree[place] += comes
                place += place & -place
            self._total += comes - leaves

    def _read(self, turn: int, size: int, stands: int) -> None:
        self.reads += stands
        self.read_bytes += size * stands
        if not turn:
            return
        above, tree = self._total, self._tree
        while turn:
            above -= tree[turn]
            turn &= turn - 1
        one = class_of(above + size)
        self.hits[one] = self.hits.get(one, 0) + stands
        self.hit_bytes[one] = self.hit_bytes.get(one, 0) + size * stands

    def _dig(self, turn: int, size: int) -> None:
        """``size`` bytes of what was used at ``turn`` are free, and stay in the tree."""
        if size:
            self._free[turn] = size
            heappush(self._holes, -turn)

    def _fill(self, turn: int, size: int) -> int:
        """Put ``size`` bytes into holes above ``turn``, the topmost first. How many bytes found room."""
        rest = size
        while rest and self._holes and -self._holes[0] > turn:
            hole = -self._holes[0]
            taken = min(rest, self._free[hole])
            rest -= taken
            self._free[hole] -= taken
            if not self._free[hole]:
                del self._free[hole]
                heappop(self._holes)
            self._total -= taken
            while hole < len(self._tree):
                self._tree[hole] -= taken
                hole += hole & -hole
        return size - rest
