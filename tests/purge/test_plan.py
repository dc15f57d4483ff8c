"""What a pressure purge takes, and why."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import DiskSection
from tierproxy.config.values import Share, Size
from tierproxy.model import Entry, FreeSpace, ObjectName, State
from tierproxy.purge.plan import Need, need, plan
from tierproxy.store.space import Space

BUDGET = DiskSection(max_bytes=Size(1000), high_water=0.9, low_water=0.5, min_free=Share(bytes=0))
ROOMY = FreeSpace(total_bytes=100_000, free_bytes=100_000, total_inodes=1000, free_inodes=1000)


def _space(used: int, *, reserved: int = 0, budget: DiskSection = BUDGET, free: FreeSpace = ROOMY) -> Space:
    space = Space(budget, used, lambda: free)
    space.reserved = reserved
    return space


def _entry(number: int, *, footprint: int = 100, state: State = State.CLEAN, blob: bool = True) -> Entry:
    name = ObjectName("mail", f"{number:04}")
    blob_name = f"b{number}" if blob else None
    return Entry(name, number, state, footprint, "e", 0.0, blob=blob_name, blob_bytes=footprint if blob else 0)


def test_nothing_is_needed_up_to_high_water() -> None:
    assert need(_space(900)) is None


def test_beyond_high_water_the_need_goes_down_to_low_water() -> None:
    assert need(_space(901)) == Need(401, 0, "high water")


def test_space_that_is_promised_counts_as_used() -> None:
    assert need(_space(800, reserved=150)) == Need(450, 0, "high water")


def test_a_refused_claim_counts_as_used() -> None:
    assert need(_space(800), wanted=150) == Need(450, 0, "high water")


def test_a_file_system_with_too_few_free_bytes_is_a_need_with_some_slack() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    free = replace(ROOMY, free_bytes=9_900)
    assert need(_space(100, budget=budget, free=free)) == Need(100 + 10, 0, "min_free bytes")


def test_promised_and_refused_bytes_count_against_the_free_bytes() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    free = replace(ROOMY, free_bytes=10_050)
    assert need(_space(100, budget=budget, free=free)) is None
    assert need(_space(100, reserved=60, budget=budget, free=free)) == Need(10 + 10, 0, "min_free bytes")
    assert need(_space(100, budget=budget, free=free), wanted=70) == Need(20 + 10, 0, "min_free bytes")


def test_a_file_system_with_too_few_free_inodes_is_a_need_for_files() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    free = replace(ROOMY, free_inodes=95)
    assert need(_space(100, budget=budget, free=free)) == Need(0, 6, "min_free inodes")


def test_a_size_as_min_free_does_not_look_at_inodes() -> None:
    budget = replace(BUDGET, min_free=Share(bytes=500))
    assert need(_space(100, budget=budget, free=replace(ROOMY, free_inodes=0))) is None


def test_a_file_system_without_an_inode_count_has_no_need_for_files() -> None:
    budget = replace(BUDGET, min_free=Share(percent=10))
    assert need(_space(100, budget=budget, free=replace(ROOMY, total_inodes=0, free_inodes=0))) is None


def test_a_plan_takes_the_first_candidates_until_the_need_is_met() -> None:
    chosen = plan(Need(250, 0, "high water"), [_entry(number) for number in range(10)])
    assert [entry.generation for entry in chosen.entries] == [0, 1, 2]
    assert chosen.bytes == 300
    assert chosen.rest is None
    assert {choice.reason for choice in chosen.choices} == {"high water"}


def test_a_plan_takes_as_many_files_as_inodes_are_needed() -> None:
    chosen = plan(Need(0, 4, "min_free inodes"), [_entry(number) for number in range(10)])
    assert len(chosen.choices) == 4


def test_a_plan_says_what_it_could_not_meet() -> None:
    chosen = plan(Need(250, 0, "high water"), [_entry(0)])
    assert chosen.rest == Need(150, 0, "high water")


def test_dirty_bytes_are_never_in_a_plan() -> None:
    candidates = [_entry(number, state=state) for number, state in enumerate(State)]
    chosen = plan(Need(10_000, 0, "high water"), candidates)
    assert [entry.state for entry in chosen.entries] == [State.CLEAN]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 500), st.sampled_from(State), st.booleans()), max_size=30),
    st.integers(0, 3000),
    st.integers(0, 10),
)
def test_a_plan_is_the_shortest_run_of_candidates_that_meets_the_need(
    rows: list[tuple[int, State, bool]], bytes_needed: int, files_needed: int
) -> None:
    if not (bytes_needed or files_needed):
        return
    candidates = [_entry(i, footprint=size, state=state, blob=blob) for i, (size, state, blob) in enumerate(rows)]
    chosen = plan(Need(bytes_needed, files_needed, "high water"), candidates)
    eligible = [entry for entry in candidates if entry.state is State.CLEAN and entry.blob is not None]
    assert chosen.entries == eligible[: len(chosen.entries)]
    met = chosen.bytes >= bytes_needed and len(chosen.entries) >= files_needed
    assert met == (chosen.rest is None)
    if chosen.entries:
        without_last = chosen.bytes - chosen.entries[-1].blob_bytes
        assert without_last < bytes_needed or len(chosen.entries) - 1 < files_needed
    assert met or chosen.entries == eligible
