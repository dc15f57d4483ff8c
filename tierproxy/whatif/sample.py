"""Which objects of a long trace are followed, and how many each stands for.

Spatial sampling (SHARDS: Waldspurger et al., FAST 2015) follows a share of the objects, chosen by hash, with all that
happens to them. A few very popular or very large objects make it wrong: whether they are in the sample decides. So the
most popular are always followed, and those that are largest beside the mean (by the variance they would bring: uses
times the square of the size). They stand for themselves and take at most a third of the events each. Of the rest a
share is followed, each object standing for several (Horvitz and Thompson, 1952).

An object that alone has more than such a third (what a monitor reads every second) is not followed at all: it is on any
disk, and reads that nobody followed count as that.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, compress

from tierproxy.trace import sampled_objects
from tierproxy.whatif.requests import Requests

LARGE = 2
"""Times the mean size: what is smaller brings little variance."""


def sample(requests: Requests, rate: float) -> tuple[Requests, array[int]]:
    """The events of the objects that are followed, about ``rate`` of all events, with object numbers of their own; and
    for how many each object stands."""
    if rate >= 1:
        return requests, array("I", [1]) * requests.objects
    stands = _stands(requests, rate)
    chosen = bytes(map(bool, stands))
    wanted = bytes(map(chosen.__getitem__, requests.numbers))
    places = array("I", accumulate(chosen, initial=0))
    followed = Requests(
        bytes(compress(requests.kinds, wanted)),
        array("I", map(places.__getitem__, compress(requests.numbers, wanted))),
        array("q", compress(requests.sizes, wanted)),
        array("d", compress(requests.at, wanted)),
        sum(chosen),
    )
    return followed, array("I", compress(stands, chosen))


def _stands(requests: Requests, rate: float) -> array[int]:
    """For how many each object stands; 0: it is not followed."""
    uses, sizes = _known(requests)
    wanted = max(int(rate * len(requests)), 1)
    most = wanted // 3
    always = {*_popular(uses, most), *_large(uses, sizes, most)}
    taken = sum(uses[number] for number in always)
    too_much = [number for number, count in enumerate(uses) if count > most]
    rest = len(requests) - taken - sum(uses[number] for number in too_much)
    every = max(-(-rest // max(wanted - taken, 1)), 1)
    stands = array("I", map(every.__mul__, sampled_objects(requests.objects, 1 / every)))
    for number in always:
        stands[number] = 1
    for number in too_much:
        stands[number] = 0
    return stands


def _known(requests: Requests) -> tuple[list[int], list[int]]:
    """How many events each object has, and its last size."""
    uses, sizes = [0] * requests.objects, [0] * requests.objects
    for number, size in zip(requests.numbers, requests.sizes, strict=True):
        uses[number] += 1
        sizes[number] = size
    return uses, sizes


def _popular(uses: list[int], most: int) -> Iterator[int]:
    """Those with the most events, with at most ``most`` together."""
    least, left = most + 1, most
    for count, objects in sorted(Counter(uses).items(), reverse=True):
        if not 0 < count <= most:
            continue
        left -= count * objects
        if left < 0:
            break
        least = count
    return (number for number, count in enumerate(uses) if least <= count <= most)


def _large(uses: list[int], sizes: list[int], most: int) -> Iterator[int]:
    """Those that would bring the most variance, with at most ``most`` events together."""
    least = LARGE * sum(sizes) / max(sum(map(bool, uses)), 1)
    large = [number for number, size in enumerate(sizes) if size > least and uses[number] <= most]
    large.sort(key=lambda number: uses[number] * sizes[number] ** 2, reverse=True)
    for number in large:
        most -= uses[number]
        if most < 0:
            return
        yield number
