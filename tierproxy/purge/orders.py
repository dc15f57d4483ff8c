"""The orders in which undecided blobs go under pressure, as pure decisions over pages of candidates.

Sources: LRU, FIFO, LFU are textbook. GDSF: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-
Frequency Caching Policy", HP Labs 1998. SIEVE: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024. S3-FIFO: Yang et
al., "FIFO Queues are All You Need for Cache Eviction", SOSP 2023. The catalogue delivers candidates in the order's
rank and remembers what the deciders return; what may never go (dirty, pinned, young) is not among them, and the queues
are walked as if it were not there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tierproxy.model import ObjectName
from tierproxy.purge.plan import Need, first
from tierproxy.purges import Candidate, Eviction, Move, Place
from tierproxy.rules.model import Order

STATEFUL = frozenset({Order.SIEVE, Order.S3_FIFO})
SMALL_SHARE = 0.10  #: of the bytes in both queues that S3-FIFO's small queue may have
TICK = 1e-6  #: seconds between two places at the end of a queue; a float of today's seconds can tell them apart
LAST = chr(0x10FFFF)  #: greater than any bucket


@dataclass(frozen=True, slots=True)
class Turn:
    """What an order decides over one page.

    ``drops`` shall go, in order; ``moves`` are the new places of some that stay; ``eviction`` is what the order
    remembers then. ``looked``: how many candidates it looked at before the need was met or the page was used up.
    """

    drops: tuple[Candidate, ...]
    moves: tuple[Move, ...] = ()
    eviction: Eviction | None = None
    looked: int = 0


def place_of(candidate: Candidate) -> Place:
    """Where a walk goes on after ``candidate``."""
    return Place(candidate.rank, candidate.name)


def after_hand(eviction: Eviction) -> Place:
    """Where SIEVE's hand stands."""
    return Place(eviction.hand, ObjectName(LAST, ""))


def simple(required: Need, page: Sequence[Candidate]) -> Turn:
    """LRU, FIFO, LFU, SCORE: in the order delivered."""
    drops = first(required, page)
    return Turn(drops, looked=len(drops))


def gdsf(required: Need, page: Sequence[Candidate], eviction: Eviction) -> Turn:
    """The least worth first; the inflation becomes the worth of the last one that went, so that what is read later is
    worth more than what nobody has read since."""
    drops = first(required, page)
    inflation = max([eviction.inflation, *(drop.rank for drop in drops if drop.rule is None)])
    return Turn(drops, eviction=replace(eviction, inflation=inflation), looked=len(drops))


def sieve(required: Need, page: Sequence[Candidate], eviction: Eviction) -> Turn:
    """The hand goes from old to new: what was visited since it came by last stays where it is and loses its visits,
    the rest goes. ``page`` begins behind the hand; at its end the caller goes on at the oldest."""
    drops: list[Candidate] = []
    moves: list[Move] = []
    rest: Need | None = required
    looked = 0
    for candidate in page:
        if rest is None:
            break
        looked += 1
        eviction = replace(eviction, hand=candidate.queued_at)
        if candidate.visits:
            moves.append(_move(candidate, 0, candidate.main, candidate.queued_at))
        else:
            drops.append(candidate)
            rest = rest.less(candidate.blob_bytes, 1)
    return Turn(tuple(drops), tuple(moves), eviction, looked)


@dataclass(frozen=True, slots=True)
class Queues:
    """S3-FIFO's two queues: their first candidates, oldest first, and the bytes in the small one and in both.
    ``small_ends``, ``main_ends``: the page is all there is of the queue."""

    small: Sequence[Candidate]
    main: Sequence[Candidate]
    small_bytes: int
    bytes: int
    small_ends: bool = True
    main_ends: bool = True


@dataclass(slots=True)
class _S3Fifo:
    small: deque[Candidate]
    main: deque[Candidate]
    small_bytes: int
    bytes: int
    tail: float
    rest: Need | None
    drops: list[Candidate] = field(default_factory=list)
    moved: dict[ObjectName, Move] = field(default_factory=dict)

    def small_step(self) -> None:
        """Evict the oldest of the small queue, or let it into the main one: it was read more than once."""
        candidate = self.small.popleft()
        self.small_bytes -= candidate.blob_bytes
        if candidate.visits > 1:
            self._enqueue(candidate, 0)
        else:
            self._evict(candidate)

    def main_step(self) -> None:
        """Evict the oldest of the main queue, or give it another round: it was read since."""
        candidate = self.main.popleft()
        if candidate.visits > 0:
            self._enqueue(candidate, candidate.visits - 1)
        else:
            self._evict(candidate)

    def _enqueue(self, candidate: Candidate, visits: int) -> None:
        self.tail += TICK
        move = _move(candidate, visits, main=True, queued_at=self.tail)
        self.moved[candidate.name] = move
        self.main.append(replace(candidate, visits=visits, main=True, queued_at=self.tail, rank=self.tail))

    def _evict(self, candidate: Candidate) -> None:
        self.bytes -= candidate.blob_bytes
        self.moved.pop(candidate.name, None)
        self.drops.append(candidate)
        assert self.rest is not None
        self.rest = self.rest.less(candidate.blob_bytes, 1)


def s3_fifo(required: Need, queues: Queues, eviction: Eviction, tail: float) -> Turn:
    """While the small queue has more than its share, its oldest goes, else the oldest of the main queue. What was read
    more than once moves from the small to the main queue, what was read since goes to the main queue's end with a visit
    less, and the search goes on in the same queue. Ends early where a page ends and its queue does not.

    ``tail``: a time not before the newest place in the main queue. Ghosts are the rows of purged objects: the catalogue
    lets those that come back into the main queue. Unlike in the paper a move to the main queue evicts nothing by
    itself: space is asked for by the watermarks.
    """
    state = _S3Fifo(deque(queues.small), deque(queues.main), queues.small_bytes, queues.bytes, tail, required)
    looked, from_small, gone = 0, False, -1
    while state.rest is not None:
        if gone != len(state.drops):  # something went: which queue is next?
            gone, from_small = len(state.drops), state.small_bytes >= SMALL_SHARE * state.bytes
        if from_small and not state.small:
            if not queues.small_ends:
                break
            from_small = False
        if not from_small and _used_up(state.main, state):
            if not queues.main_ends:
                break
            if not state.main and not state.small:
                break
            from_small = not state.main
        if from_small:
            state.small_step()
        else:
            state.main_step()
        looked += 1
    return Turn(tuple(state.drops), tuple(state.moved.values()), eviction, looked)


def _used_up(main: deque[Candidate], state: _S3Fifo) -> bool:
    """What is left of the main page, if anything, was put at the queue's end just now."""
    return not main or main[0].name in state.moved


def _move(candidate: Candidate, visits: int, main: bool, queued_at: float) -> Move:
    return Move(candidate.name, candidate.generation, visits, main, queued_at)
