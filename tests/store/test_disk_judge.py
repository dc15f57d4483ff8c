"""The state machine of the disk: every transition, and that getting well takes more than falling ill."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.ports import State
from tierproxy.store.disk_health import Bounds, DiskJudge

BOUNDS = Bounds()


def state_of(judge: DiskJudge) -> State:
    return judge.state


def unstable(now: float = 0.0) -> DiskJudge:
    judge = DiskJudge()
    judge.saw(now, 10, BOUNDS.few, "EIO")
    assert state_of(judge) is State.UNSTABLE
    return judge


def down(now: float = 0.0) -> DiskJudge:
    judge = unstable(now)
    for _ in range(BOUNDS.failed_probes):
        judge.probed(now, "EIO")
    assert state_of(judge) is State.DOWN
    return judge


def probing(now: float = 0.0) -> DiskJudge:
    judge = down(now)
    for _ in range(BOUNDS.good_probes):
        judge.probed(now)
    assert state_of(judge) is State.PROBING
    return judge


def back(judge: DiskJudge, now: float) -> int:
    """Probes until it is looked through; then it is well."""
    probes = 0
    while judge.state is State.DOWN:
        judge.probed(now)
        probes += 1
    judge.looked_through(now)
    assert state_of(judge) is State.NORMAL
    return probes


# ---------------------------------------------------------------- normal


def test_a_disk_nobody_complains_of_is_normal() -> None:
    judge = DiskJudge()
    for second in range(100):
        judge.saw(second, 1000, 0)
    assert (judge.state, judge.reason, judge.changes) == (State.NORMAL, "", 0)


def test_a_few_bad_calls_make_it_unstable_and_say_why() -> None:
    judge = DiskJudge()
    judge.saw(0, 10, BOUNDS.few - 1, "EIO")
    assert state_of(judge) is State.NORMAL
    judge.saw(1, 10, 1, "read: Input/output error")
    assert state_of(judge) is State.UNSTABLE
    assert judge.reason == "5 of 20 calls failed or were slow: read: Input/output error"
    assert judge.changes == 1


def test_one_bad_sector_among_many_calls_is_not_a_bad_disk() -> None:
    judge = DiskJudge()
    for second in range(25):
        judge.saw(second, 100, 1, "EIO")
    assert state_of(judge) is State.NORMAL


def test_bad_calls_long_ago_do_not_count() -> None:
    judge = DiskJudge()
    for number in range(20):
        judge.saw(number * BOUNDS.window, 1, 1, "EIO")
    assert state_of(judge) is State.NORMAL


def test_a_call_that_hangs_makes_it_unstable_at_once() -> None:
    judge = DiskJudge()
    judge.hung(0, "a call has not returned for 10.0 s")
    assert (judge.state, judge.reason) == (State.UNSTABLE, "a call has not returned for 10.0 s")


def test_probes_and_look_throughs_say_nothing_against_a_normal_disk() -> None:
    judge = DiskJudge()
    judge.probed(0, "late answer of an earlier doubt")
    judge.looked_through(0, "the same")
    assert state_of(judge) is State.NORMAL


# ---------------------------------------------------------------- unstable


def test_an_unstable_disk_is_down_when_most_calls_fail() -> None:
    judge = unstable()
    judge.saw(1, 19, BOUNDS.many - 1, "EIO")
    judge.saw(2, 0, 0)
    assert state_of(judge) is State.UNSTABLE
    judge.saw(3, 1, 1, "EIO")
    assert state_of(judge) is State.DOWN


def test_what_made_it_unstable_does_not_count_again_towards_down() -> None:
    judge = DiskJudge()
    judge.saw(0, 20, BOUNDS.many, "EIO")
    assert state_of(judge) is State.UNSTABLE
    judge.saw(1, 1, 1, "EIO")
    assert state_of(judge) is State.UNSTABLE


def test_many_bad_calls_among_far_more_good_ones_leave_it_unstable() -> None:
    judge = unstable()
    judge.saw(1, 100, 30, "slow")
    assert state_of(judge) is State.UNSTABLE


def test_one_failed_probe_is_not_enough_but_two_in_a_row_are() -> None:
    judge = unstable()
    judge.probed(1, "EIO")
    judge.probed(2)
    judge.probed(3, "EIO")
    assert state_of(judge) is State.UNSTABLE
    judge.probed(4, "EIO")
    assert (judge.state, judge.reason) == (State.DOWN, "a probe failed: EIO")


def test_after_a_call_that_hung_one_failed_probe_is_enough() -> None:
    judge = DiskJudge()
    judge.hung(0, "hangs")
    judge.probed(1, "EIO")
    assert state_of(judge) is State.DOWN


def test_a_good_probe_forgives_the_call_that_hung() -> None:
    judge = DiskJudge()
    judge.hung(0, "hangs")
    judge.probed(1)
    judge.probed(2, "EIO")
    assert state_of(judge) is State.UNSTABLE


def test_an_unstable_disk_is_normal_after_a_quiet_time_and_a_good_probe() -> None:
    judge = unstable()
    judge.saw(BOUNDS.quiet + 1, 5, 0)
    assert state_of(judge) is State.UNSTABLE, "nobody has asked it"
    judge.probed(BOUNDS.quiet + 2)
    judge.saw(BOUNDS.quiet + 3, 5, 0)
    assert (judge.state, judge.reason) == (State.NORMAL, "")


@pytest.mark.parametrize("what", ["call", "hang", "probe"])
def test_anything_bad_begins_the_quiet_time_anew(what: str) -> None:
    judge = unstable()
    judge.probed(1)
    late = BOUNDS.quiet - 1
    if what == "call":
        judge.saw(late, 100, 1, "EIO")
    elif what == "hang":
        judge.hung(late, "hangs")
    else:
        judge.probed(late, "EIO")
    judge.probed(late + 1)
    judge.saw(BOUNDS.quiet + 1, 100, 0)
    assert state_of(judge) is State.UNSTABLE
    judge.saw(late + BOUNDS.quiet, 100, 0)
    assert state_of(judge) is State.NORMAL


# ---------------------------------------------------------------- down, probing


def test_a_disk_that_is_down_is_looked_through_after_good_probes_in_a_row() -> None:
    judge = down()
    for failure in ("", "", "EIO", "", ""):
        judge.probed(1, failure)
    assert state_of(judge) is State.DOWN
    judge.probed(2)
    assert state_of(judge) is State.PROBING


def test_calls_neither_raise_nor_sink_a_disk_that_is_down() -> None:
    judge = down()
    judge.saw(1, 1000, 0)
    judge.saw(2, 1000, 1000, "EIO")
    judge.hung(3, "the only copy of something")
    assert state_of(judge) is State.DOWN
    for _ in range(BOUNDS.good_probes):
        judge.probed(4)
    assert state_of(judge) is State.PROBING


def test_a_look_through_makes_it_normal() -> None:
    judge = probing()
    judge.probed(1)
    assert state_of(judge) is State.PROBING, "only the look-through does"
    judge.looked_through(2)
    assert (judge.state, judge.reason) == (State.NORMAL, "")


def test_a_probe_or_a_look_through_that_fails_sinks_it_again() -> None:
    judge = probing()
    judge.probed(1, "EIO")
    assert state_of(judge) is State.DOWN
    judge = probing()
    judge.looked_through(1, "EIO")
    assert (judge.state, judge.reason) == (State.DOWN, "the look-through failed: EIO")


def test_a_look_through_that_ends_after_the_disk_went_down_raises_nothing() -> None:
    judge = probing()
    judge.probed(1, "EIO")
    judge.looked_through(2)
    assert state_of(judge) is State.DOWN


def test_a_disk_that_relapses_has_to_answer_longer_each_time_but_not_for_ever() -> None:
    judge, now, asked = down(), 0.0, []
    for _ in range(6):
        asked.append(back(judge, now))
        now += 10
        judge.hung(now, "hangs")
        judge.probed(now, "EIO")
    assert asked == [3, 6, 12, 24, 24, 24]


def test_a_relapse_long_after_is_a_new_story() -> None:
    judge = down()
    assert back(judge, 0) == BOUNDS.good_probes
    judge.hung(BOUNDS.relapse + 1, "hangs")
    judge.probed(BOUNDS.relapse + 1, "EIO")
    assert back(judge, BOUNDS.relapse + 2) == BOUNDS.good_probes


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("saw"), st.integers(0, 50), st.integers(0, 50)),
        st.tuples(st.just("hung"), st.just(0), st.just(0)),
        st.tuples(st.just("probed"), st.booleans(), st.just(0)),
        st.tuples(st.just("looked"), st.booleans(), st.just(0)),
    ),
    max_size=60,
)
ALLOWED = {
    (State.NORMAL, State.UNSTABLE), (State.UNSTABLE, State.NORMAL), (State.UNSTABLE, State.DOWN),
    (State.DOWN, State.PROBING), (State.PROBING, State.NORMAL), (State.PROBING, State.DOWN),
}  # fmt: skip


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_whatever_happens_only_the_moves_of_the_table_are_made_and_all_of_them_count(
    steps: list[tuple[str, int, int]],
) -> None:
    judge, now, moves = DiskJudge(), 0.0, 0
    for kind, first, second in steps:
        before, now = judge.state, now + 7
        if kind == "saw":
            judge.saw(now, first, min(first, second), "EIO")
        elif kind == "hung":
            judge.hung(now, "hangs")
        elif kind == "probed":
            judge.probed(now, "EIO" if first else "")
        else:
            judge.looked_through(now, "EIO" if first else "")
        if judge.state is not before:
            assert (before, judge.state) in ALLOWED
            moves += 1
        assert bool(judge.reason) == (judge.state is not State.NORMAL)
    assert judge.changes == moves
