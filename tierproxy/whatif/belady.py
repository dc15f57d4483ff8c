"""What nobody can do better: the optimum of who knows the future, or bounds of it.

**Equal sizes.** Belady's MIN (IBM Systems Journal 1966): whose next read is farthest goes. As a reader may be served
without keeping a copy, what has just come in may go at once. That is the optimum, exactly.

**Different sizes.** The optimum is NP-hard (Chrobak et al. 2012), so there are two numbers. *At least*: the same
replay, farthest next read first; a disk that knew the future could do it, and might do better. *At most*: PFOO-L
(Berger, Beckmann and Harchol-Balter, "Practical Bounds on Optimal Caching with Variable Object Sizes", POMACS 2018). To
hit, an object lies on disk from one event to its next read; that takes its size times the events in between. All there
is to give is the budget times the events. The cheapest intervals that fit into that sum are at least as many hits as
any disk can have, because a disk must also keep to its budget at each moment. No policy is above it.

An object larger than the budget is never a hit, and a write is followed by a free copy on disk, as for all policies.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import compress

from tierproxy.whatif.replay import Progress, quiet
from tierproxy.whatif.requests import DELETE, READ, Requests
from tierproxy.whatif.tally import Tally

NEVER = 0
"""In the columns of ``next_reads``: the first event is nobody's next read."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """``least``: what a disk that knows the future reaches by MIN; ``most``: what none exceeds, hits and hit bytes each
    by itself. ``exact``: all sizes are equal, and both are the optimum. ``unlimited``: a disk of any size."""

    least: Tally
    most: Tally
    unlimited: Tally
    exact: bool


def optimum(
    requests: Requests, budget: int, *, counted_from: float | None = None, progress: Progress = quiet
) -> Optimum:
    """The bounds for a disk of ``budget`` bytes. Events before ``counted_from`` (seconds since the epoch) fill the disk
    and are not counted."""
    warm = 0 if counted_from is None else requests.index(counted_from)
    following = next_reads(requests)
    least = farthest_first(requests, following, budget, warm)
    progress(len(requests))
    unlimited = _tally(requests, warm, *_total(requests, following, warm))
    exact = requests.equal_sizes() > 0
    return Optimum(least, least if exact else ceiling(requests, following, budget, warm), unlimited, exact)


def next_reads(requests: Requests) -> array[int]:
    """For each event the next read of what its object is then; ``NEVER``: there is none before it is written again,
    deleted, or the end."""
    following = array("q", bytes(8 * len(requests)))
    upcoming = array("q", bytes(8 * requests.objects))
    index = len(requests)
    for kind, number in zip(reversed(requests.kinds), reversed(requests.numbers), strict=True):
        index -= 1
        if kind != DELETE:
            following[index] = upcoming[number]
        upcoming[number] = index if kind == READ else NEVER
    return following


def farthest_first(requests: Requests, following: array[int], budget: int, warm: int = 0) -> Tally:
    """MIN: what is read next farthest in the future goes. Hits are counted from the event ``warm`` on."""
    numbers, due = requests.numbers, array("q", bytes(8 * requests.objects))  # due: when it is read next, if held
    held = array("q", bytes(8 * requests.objects))
    farthest: list[int] = []  # negative; lines of what has been read since, or went, are void
    used = hits = hit_bytes = evictions = 0
    for index, (kind, number, size, after) in enumerate(
        zip(requests.kinds, numbers, requests.sizes, following, strict=True)
    ):
        if due[number]:
            used -= held[number]
            if kind == READ and index >= warm:
                hits += 1
                hit_bytes += size
        due[number] = NEVER
        if not after or size > budget:
            continue
        due[number], held[number] = after, size
        used += size
        heappush(farthest, -after)
        while used > budget:
            latest = -heappop(farthest)
            loser = numbers[latest]
            if due[loser] == latest:
                due[loser] = NEVER
                used -= held[loser]
                evictions += index >= warm
    count, read = requests.reads(warm)
    return Tally(count, hits, read, hit_bytes, evictions)


def ceiling(requests: Requests, following: array[int], budget: int, warm: int = 0) -> Tally:
    """PFOO-L: hits, and hit bytes, that no disk of ``budget`` bytes exceeds. Only events from ``warm`` on count, and
    only their share of an interval costs."""
    whole = budget * (len(requests) - warm)
    areas = sorted(size * length for size, length in _intervals(requests, following, budget, warm))
    hits = _fit(whole, ((area, 1) for area in areas))
    del areas
    by_length = sorted(_intervals(requests, following, budget, warm), key=lambda interval: interval[1])
    hit_bytes = _fit(whole, ((size * length, size) for size, length in by_length))
    return _tally(requests, warm, hits, hit_bytes)


def _intervals(requests: Requests, following: array[int], budget: int, warm: int) -> Iterator[tuple[int, int]]:
    """Size and length in events of what lies between an event and the next read, if that counts."""
    for index, (size, after) in enumerate(zip(requests.sizes, following, strict=True)):
        if after >= warm and after and size <= budget:
            yield size, after - max(index, warm)


def _fit(whole: int, items: Iterable[tuple[int, int]]) -> int:
    """The value of ``items`` (cost, value), the best first, as far as ``whole`` goes; of the one that is too much the
    part that fits, rounded up: a bound must not be below."""
    total = 0
    for cost, value in items:
        if cost > whole:
            return total + -(-value * whole // cost)
        whole -= cost
        total += value
    return total


def _total(requests: Requests, following: array[int], warm: int) -> tuple[int, int]:
    hits = [after >= warm and after != NEVER for after in following]
    return sum(hits), sum(compress(requests.sizes, hits))


def _tally(requests: Requests, warm: int, hits: int, hit_bytes: int) -> Tally:
    count, read = requests.reads(warm)
    return Tally(count, hits, read, hit_bytes)
