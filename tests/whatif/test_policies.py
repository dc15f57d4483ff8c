"""What each plain policy holds and lets go, on sequences that can be followed by hand, and what is true of all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.whatif.generated import mail, requests, small, stored
from tierproxy.rules.model import Order
from tierproxy.trace import LATER, MACHINE, Objects, Op, Trace
from tierproxy.whatif.policies import POLICIES, Policy
from tierproxy.whatif.policies.gdsf import Gdsf
from tierproxy.whatif.policies.s3_fifo import S3Fifo
from tierproxy.whatif.policies.w_tinylfu import WTinyLfu
from tierproxy.whatif.replay import PART, replay
from tierproxy.whatif.requests import DELETE, READ, WRITE, Requests, requests_of
from tierproxy.whatif.tally import Tally

ALL = list(POLICIES)
PLAIN = ["lru", "fifo", "lfu", "sieve"]  #: they take in whatever fits


def hits(policy: Policy, of: Requests) -> str:
    """For each event "+", a hit, "-", a miss, or "." where nothing is read."""
    marks = ""
    for place, kind in enumerate(of.kinds):
        lost = policy.replay(of.kinds[place : place + 1], of.numbers[place : place + 1], of.sizes[place : place + 1])
        marks += "." if kind != READ else "-" if lost.misses else "+"
    return marks


def played(name: str, text: str, budget: int) -> str:
    """Reads of objects of one byte, a letter each; capitals are writes."""
    numbers = [ord(letter.lower()) - ord("a") for letter in text]
    kinds = [WRITE if letter.isupper() else READ for letter in text]
    return hits(POLICIES[name](budget, 26), requests(numbers, [1] * 26, kinds))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lru", "abcadab", "---+-+-"),  # d drives b out, not a
        ("fifo", "abcadab", "---+---"),  # d drives a out, though it was just read
        ("lfu", "aabbcdcab", "-+-+---++"),  # c and d drive each other out
        ("sieve", "abcadabc", "---+-+--"),  # the hand spares a, takes b, and goes on from there: c, d
        ("gdsf", "aabbcdcab", "-+-+-----"),  # d is worth as much as a and b, by inflation, and they are older
    ],
)
def test_a_sequence_by_hand(name: str, text: str, expected: str) -> None:
    assert played(name, text, 3) == expected


def test_sieve_spares_what_was_read_where_it_stands() -> None:
    """d and e come one after the other; a and c were read, and the hand leaves them where they are."""
    assert played("sieve", "abcacdeac", 3) == "---++--++"
    assert played("lru", "abcacdeac", 3) == "---++----"


def test_an_overwrite_where_the_hand_of_sieve_stands_moves_the_hand_on() -> None:
    """The hand took b and stands at c. Written again, c is the newest; next is d, not c."""
    assert played("sieve", "abcadCec", 3) == "---+-.-+"


def test_s3_fifo_keeps_one_hit_wonders_from_the_main_queue() -> None:
    policy = S3Fifo(20, 100)
    hot = requests([1, 2, 3] * 4 + list(range(10, 90)) + [1, 2, 3], [1] * 100)
    assert hits(policy, hot)[-3:] == "+++"
    assert hits(POLICIES["fifo"](20, 100), hot)[-3:] == "---"


def test_s3_fifo_takes_back_what_it_remembers_into_the_main_queue() -> None:
    policy = S3Fifo(20, 100)
    replay(policy, requests(list(range(30)), [1] * 100))  # 0 and 1 went to the main queue, later ones became ghosts
    assert hits(policy, requests([22, *range(50, 60), 22], [1] * 100))[-1] == "+"


def test_gdsf_prefers_many_small_objects() -> None:
    policy = Gdsf(100, 12)
    many = requests([0, *range(1, 11), 0, *range(1, 11)], [95] + [10] * 11)
    assert hits(policy, many)[-10:] == "+" * 10


def test_gdsf_leaves_outside_what_is_worth_least_itself() -> None:
    policy = Gdsf(100, 3)
    assert hits(policy, requests([0, 0, 1, 0, 1], [60, 90, 1])) == "-+-+-"


def test_w_tinylfu_lets_nothing_in_that_is_read_less_often() -> None:
    policy = WTinyLfu(100, 1000)
    hot = list(range(50)) * 4
    replay(policy, requests([*hot, *range(100, 900)], [1] * 1000))
    assert replay(policy, requests(list(range(50)), [1] * 1000)).hits == 50
    assert replay(POLICIES["lru"](100, 1000), requests([*hot, *range(100, 900), *range(50)], [1] * 1000)).hits == 150


def test_w_tinylfu_forgets_what_was_popular_long_ago() -> None:
    sizes = [1] * 100
    old, new = list(range(10)) * 15, list(range(50, 60)) * 15
    forgetful, stubborn = WTinyLfu(10, 100, window=0.1, sample=20), WTinyLfu(10, 100, window=0.1, sample=10**6)
    for policy in (forgetful, stubborn):
        replay(policy, requests(old, sizes))
    assert replay(forgetful, requests(new, sizes)).hits > replay(stubborn, requests(new, sizes)).hits


def test_the_orders_under_pressure_have_a_policy_of_their_name() -> None:
    assert {*Order} - {Order.SCORE} < {*POLICIES}


# ---------------------------------------------------------------- true of all


@pytest.mark.parametrize("name", ALL)
@given(of=small(largest=40), budget=st.integers(1, 120))
@settings(deadline=None, max_examples=60)
def test_the_budget_holds_and_what_is_deleted_or_too_large_is_no_hit(name: str, of: Requests, budget: int) -> None:
    policy = POLICIES[name](budget, of.objects)
    there: set[int] = set()  # on a disk without end
    for place, (kind, number, size) in enumerate(zip(of.kinds, of.numbers, of.sizes, strict=True)):
        lost = policy.replay(of.kinds[place : place + 1], [number], [size])
        assert 0 <= policy.used <= budget
        if kind == READ and not lost.misses:
            assert number in there
            assert size <= budget
        if kind == DELETE:
            there.discard(number)
        else:
            there.add(number)


@pytest.mark.parametrize("name", ALL)
@given(of=small(largest=40))
@settings(deadline=None, max_examples=30)
def test_a_disk_with_room_for_all_misses_only_what_was_never_there(name: str, of: Requests) -> None:
    tally = replay(POLICIES[name](10**6, of.objects), of)
    there: set[int] = set()
    expected = 0
    for kind, number in zip(of.kinds, of.numbers, strict=True):
        expected += kind == READ and number in there
        there = there - {number} if kind == DELETE else there | {number}
    assert (tally.hits, tally.evictions) == (expected, 0)


@pytest.mark.parametrize("name", ALL)
@given(of=small(events=40, largest=9), at=st.integers(0, 40))
@settings(deadline=None, max_examples=30)
def test_parts_make_the_whole(name: str, of: Requests, at: int) -> None:
    policy = POLICIES[name](20, of.objects)
    parts = [
        policy.replay(of.kinds[start:end], of.numbers[start:end], of.sizes[start:end])
        for start, end in ((0, at), (at, None))
    ]
    whole = POLICIES[name](20, of.objects).replay(of.kinds, of.numbers, of.sizes)
    assert tuple(map(sum, zip(*parts, strict=True))) == whole


@pytest.mark.parametrize("name", ALL)
def test_hits_grow_with_the_disk_on_mail(name: str) -> None:
    of = mail(sizes=True)
    ratios = [replay(POLICIES[name](int(stored(of) * share), of.objects), of).hit_ratio for share in (0.01, 0.1, 0.5)]
    assert all(less < more for less, more in pairwise(ratios))


@pytest.mark.parametrize("name", PLAIN)
def test_a_write_brings_an_object_in_without_a_read(name: str) -> None:
    assert played(name, "Aab", 2) == ".+-"


@pytest.mark.parametrize("name", ALL)
def test_an_overwrite_counts_with_its_new_size(name: str) -> None:
    policy = POLICIES[name](1000, 1)
    for size in (10, 3):
        policy.replay(bytes([WRITE]), [0], [size])
        assert policy.used == size


# ---------------------------------------------------------------- requests, tallies


def trace() -> Trace:
    flags = bytes([0, MACHINE, LATER, 0, 0, 0])
    ops = bytes([Op.READ, Op.READ, Op.READ, Op.WRITE, Op.PURGE, Op.DELETE])
    sizes = [10, 20, 30, 40, 50, 60]
    of = requests([0, 1, 2, 3, 4, 5], sizes)
    return Trace(of.at, ops, flags, of.numbers, of.sizes, of.sizes, Objects([""] * 6, list("abcdef")))


def test_requests_are_peoples_first_ranges_unless_others_are_let_in() -> None:
    assert list(requests_of(trace()).numbers) == [0, 3, 5]
    assert list(requests_of(trace(), machine=True).numbers) == [0, 1, 3, 5]
    everything = requests_of(trace(), machine=True, later=True)
    assert list(everything.numbers) == [0, 1, 2, 3, 5]
    assert (everything.kinds, everything.reads()) == (bytes([READ, READ, READ, WRITE, DELETE]), (3, 60))


def test_what_comes_before_the_warm_up_ends_is_not_counted() -> None:
    of = requests([0, 1, 0, 1, 2])
    assert replay(POLICIES["lru"](5, 3), of, counted_from=2.0) == Tally(3, 2, 3, 2, 0)


def test_progress_is_told_up_to_the_end() -> None:
    told: list[int] = []
    replay(POLICIES["lru"](5, 3), requests([0, 1, 2] * 100_000), progress=told.append)
    assert told == [PART, 300_000]


def test_ratios_of_nothing_are_zero() -> None:
    assert (Tally().hit_ratio, Tally().byte_hit_ratio, Tally().misses) == (0.0, 0.0, 0)
