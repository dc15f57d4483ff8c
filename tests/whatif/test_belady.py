"""The optimum beside one found by trying everything."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.whatif.generated import mail, requests, small, stored, zipf
from tierproxy.whatif.belady import optimum
from tierproxy.whatif.policies import POLICIES
from tierproxy.whatif.replay import replay
from tierproxy.whatif.requests import DELETE, READ, WRITE, Requests


def brute_force(of: Requests, budget: int, *, by_bytes: bool = False, warm: int = 0) -> int:
    """The most hits (hit bytes) of all ways to keep things, event by event; a disk may let go of anything at any
    time, and need not take in what was read."""
    best: dict[frozenset[int], int] = {frozenset(): 0}
    sizes: dict[int, int] = {}
    for place, (kind, number, size) in enumerate(zip(of.kinds, of.numbers, of.sizes, strict=True)):
        sizes[number] = size
        following: dict[frozenset[int], int] = {}
        for held, value in best.items():
            hit = kind == READ and number in held and place >= warm
            gained = value + (size if by_bytes else 1) * hit
            possible = held - {number} if kind == DELETE else held | {number}
            for kept in subsets(possible):
                if sum(sizes[one] for one in kept) <= budget:
                    following[kept] = max(following.get(kept, 0), gained)
        best = following
    return max(best.values())


def subsets(of: frozenset[int]) -> list[frozenset[int]]:
    return [frozenset(one) for one in chain.from_iterable(combinations(of, count) for count in range(len(of) + 1))]


@given(of=small(objects=5, events=14), budget=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_of_one_size_it_is_the_optimum(of: Requests, budget: int) -> None:
    found = optimum(of, budget)
    assert found.least.hits == found.most.hits == brute_force(of, budget)
    assert found.exact or not of


@given(of=small(objects=5, events=12, largest=9), budget=st.integers(1, 20), warm=st.integers(0, 6))
@settings(deadline=None, max_examples=80)
def test_of_different_sizes_the_optimum_is_between_the_bounds(of: Requests, budget: int, warm: int) -> None:
    found = optimum(of, budget, counted_from=warm)
    hits, hit_bytes = brute_force(of, budget, warm=warm), brute_force(of, budget, by_bytes=True, warm=warm)
    assert found.least.hits <= hits <= found.most.hits
    assert found.least.hit_bytes <= hit_bytes <= found.most.hit_bytes
    assert found.most.hits <= found.unlimited.hits
    assert found.most.hit_bytes <= found.unlimited.hit_bytes


def test_what_is_read_next_farthest_goes() -> None:
    of = requests([0, 1, 2, 0, 1, 3, 0, 3, 1, 2])
    assert brute_force(of, 2) == optimum(of, 2).least.hits == 4
    assert replay(POLICIES["lru"](2, 4), of).hits == 1


def test_a_write_is_worth_a_place_only_if_a_read_follows() -> None:
    of = requests([0, 1, 0, 1], kinds=[WRITE, WRITE, WRITE, READ])
    assert optimum(of, 1).least.hits == 1


def test_greed_for_the_next_read_is_not_the_optimum_of_different_sizes() -> None:
    """A large object is read soon, and each of the small ones it keeps out a little later."""
    of = requests([1, 2, 3, 0, 0, 1, 2, 3], [3, 1, 1, 1])
    found = optimum(of, 3)
    assert (found.least.hits, brute_force(of, 3)) == (1, 3)
    assert found.most.hits >= 3


@pytest.mark.parametrize("warm", [0, 5])
def test_a_disk_that_is_always_full_and_always_hit_is_below_the_ceiling(warm: int) -> None:
    """All that there is to give is used: a ceiling that charges an interval too much, or gives too little, is red."""
    of = requests([0] * 20 + [1], [4, 1])
    found = optimum(of, 4, counted_from=warm)
    assert found.most.hits == brute_force(of, 4, warm=warm) == 20 - max(warm, 1)
    assert found.most.hit_bytes == 4 * found.most.hits


def test_what_lies_on_disk_before_the_warm_up_ends_takes_nothing_of_what_is_counted() -> None:
    of = requests([0] + [1] * 8 + [0] * 12, [4, 5])
    most = optimum(of, 4, counted_from=9).most
    assert (most.hits, most.hit_bytes) == (12, 48)
    assert brute_force(of, 4, warm=9) == 12


def test_the_ceiling_is_near_where_the_budget_is_short() -> None:
    """Eight objects in turn, room for two and a half: of each round about two and a half can hit."""
    of = requests([*range(8)] * 30, [4, 4, 4, 4, 4, 4, 4, 3])
    found = optimum(of, 10)
    assert found.least.hits <= found.most.hits <= 30 * 3
    assert found.unlimited.hits == 29 * 8


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_no_policy_is_above_the_ceiling(name: str, share: float) -> None:
    for of in (mail(sizes=True), mail(sizes=False), zipf(20_000, 3000, 0.9, sizes=True)):
        budget = int(stored(of) * share)
        found, tally = optimum(of, budget), replay(POLICIES[name](budget, of.objects), of)
        assert tally.hits <= found.most.hits
        assert tally.hit_bytes <= found.most.hit_bytes
        assert found.least.hits <= found.most.hits <= found.unlimited.hits
