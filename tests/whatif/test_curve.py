"""The miss-ratio curve beside LRU replays of all events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.whatif.generated import mail, requests, small, stored, zipf
from tierproxy.whatif.curve import Curve, class_of, curve, end_of
from tierproxy.whatif.policies.lru import Lru
from tierproxy.whatif.replay import replay
from tierproxy.whatif.requests import DELETE, READ, WRITE, Requests
from tierproxy.whatif.sample import sample
from tierproxy.whatif.tally import Tally

SHARES = (0.05, 0.1, 0.2, 0.5)


def lru(of: Requests, budget: int) -> Tally:
    return replay(Lru(budget, of.objects), of)


@given(of=small(objects=8, events=60), budget=st.integers(1, 9))
@settings(deadline=None, max_examples=150)
def test_of_one_size_it_is_exact_with_writes_and_deletes(of: Requests, budget: int) -> None:
    assert curve(of).hit_ratio(budget) == pytest.approx(lru(of, budget).hit_ratio)


@given(of=small(objects=8, events=60, largest=9, reads_only=True), budget=st.integers(9, 40))
@settings(deadline=None, max_examples=100)
def test_of_different_sizes_reads_are_exact(of: Requests, budget: int) -> None:
    found, expected = curve(of), lru(of, budget)
    assert found.hit_ratio(budget) == pytest.approx(expected.hit_ratio)
    assert found.byte_hit_ratio(budget) == pytest.approx(expected.byte_hit_ratio)


def test_what_a_delete_freed_does_not_bring_back_what_had_left() -> None:
    of = requests([0, 1, 2, 2, 0], kinds=[READ, READ, READ, DELETE, READ])
    assert lru(of, 2).hits == 0
    assert curve(of).hit_ratio(2) == 0


def test_what_a_delete_freed_is_used_before_others_go() -> None:
    of = requests([0, 1, 1, 2, 0], kinds=[READ, READ, DELETE, READ, READ])
    assert lru(of, 2).hits == 1
    assert curve(of).hit_ratio(2) == pytest.approx(1 / 4)


@pytest.mark.parametrize("share", SHARES)
def test_all_of_a_traffic_followed_it_is_as_a_replay(share: float) -> None:
    """Of the small mail here a smaller disk would be less than its largest mails: see the curve's exceptions."""
    for of in (mail(sizes=True), mail(sizes=False), zipf(40_000, 5000, 0.8, sizes=True)):
        budget = int(stored(of) * share)
        found, expected = curve(of, rate=1), lru(of, budget)
        assert found.hit_ratio(budget) == pytest.approx(expected.hit_ratio, abs=0.005)
        assert found.byte_hit_ratio(budget) == pytest.approx(expected.byte_hit_ratio, abs=0.005)


@pytest.mark.parametrize("share", SHARES)
def test_a_third_of_the_events_tells_nearly_the_same(share: float) -> None:
    of = mail(sizes=True, owners=40)
    found, expected = curve(of, rate=0.33), lru(of, int(stored(of) * share))
    assert found.sampled < 0.4 * len(of)
    assert found.hit_ratio(int(stored(of) * share)) == pytest.approx(expected.hit_ratio, abs=0.02)
    assert found.byte_hit_ratio(int(stored(of) * share)) == pytest.approx(expected.byte_hit_ratio, abs=0.03)


def test_a_few_popular_objects_are_always_followed() -> None:
    """Half of the reads are of one object: following it or not would decide everything."""
    of = requests([0 if place % 2 else 1 + place % 4000 for place in range(80_000)])
    for rate in (0.9, 0.7, 0.3, 0.03):
        assert curve(of, rate=rate).hit_ratio(100) == pytest.approx(lru(of, 100).hit_ratio, abs=0.04)
        assert curve(of, rate=rate).sampled < 1.2 * rate * len(of)


def test_what_is_always_read_and_not_followed_hits_on_no_disk_smaller_than_itself() -> None:
    of = requests([0 if place % 2 else 1 + place % 4000 for place in range(40_000)], [700] * 4001)
    found = curve(of, rate=0.3)
    assert found.hit_ratio(690) == 0
    assert found.hit_ratio(1400) == pytest.approx(0.5, abs=0.02)


def test_the_smallest_disk_for_a_hit_ratio() -> None:
    of = mail(sizes=True)
    found = curve(of, rate=1)
    for wanted in (0.85, 0.9, 0.95):
        size = found.size_for(wanted)
        assert size is not None
        assert lru(of, size).hit_ratio == pytest.approx(wanted, abs=0.005)
        assert found.hit_ratio(size - 1) < wanted
    assert found.size_for(1.01) is None
    assert found.size_for(1.01, by_bytes=True) is None


def test_points_to_draw_rise_to_the_working_set() -> None:
    found = curve(mail(sizes=True))
    points = found.points()
    assert len(points) == 100
    assert list(points) == sorted({*points})
    assert points[-1] == found.working_set
    ratios = [found.hit_ratio(size) for size in points]
    assert ratios == sorted(ratios)
    assert found.hit_ratio(found.working_set) == found.hit_ratio(10**18) <= 1


def test_of_nothing_there_is_an_empty_curve() -> None:
    for of in (requests([], [1]), requests([0], kinds=[WRITE]), requests([0])):
        found = curve(of)
        assert (found.working_set, found.points(), found.size_for(0.5), found.hit_ratio(100)) == (0, (), None, 0.0)
    assert isinstance(found, Curve)


@given(distance=st.integers(0, 2**50))
@settings(deadline=None)
def test_a_class_of_distances_is_narrow_and_ends_at_its_largest(distance: int) -> None:
    end = end_of(class_of(distance))
    assert distance <= end <= distance * 1.008
    assert class_of(end) == class_of(distance) < class_of(end + 1)


def test_progress_is_told_as_if_all_were_followed() -> None:
    told: list[int] = []
    of = mail(sizes=True, owners=40)
    curve(of, rate=0.5, progress=told.append)
    assert told[-1] == len(of)


def test_the_objects_followed_stand_for_all() -> None:
    of = mail(sizes=True, owners=40)
    followed, stands = sample(of, 0.3)
    assert len(followed) == pytest.approx(0.3 * len(of), rel=0.15)
    assert {*followed.numbers} == {*range(followed.objects)}
    assert sum(stands) == pytest.approx(of.objects, rel=0.1)
    weighed = sum(size * stands[number] for number, size in zip(followed.numbers, followed.sizes, strict=True))
    assert weighed == pytest.approx(sum(of.sizes), rel=0.05)
