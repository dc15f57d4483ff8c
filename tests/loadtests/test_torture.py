"""Short runs of torture and soak with fixed seeds, and their parts: they must be able to find what they look for."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.loadtests.programs import loaded
from tests.loadtests.test_load_scripts import run

PARTS = ("plan", "faults", "flatness", "tally", "player", "findings")


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_round_of_torture_ends_with_four_zeros(tmp_path: Path, workers: int) -> None:
    output = run(
        "torture.py", "--rounds", "1", "--round", "3", "--seed", "12", "--clients", "4", "--workers", str(workers),
        "--dir", tmp_path, seconds=180,
    )  # fmt: skip
    assert output.splitlines()[-1].startswith("OK: 0 lost, 0 resurrected, 0 wrong bytes, 0 leaked (seed 12, 1 rounds")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    names = ("ledger", *(f"torturing.{name}" for name in PARTS))
    with loaded(monkeypatch, *names) as found:
        yield found


def test_every_fault_and_every_point_comes_within_a_hundred_rounds(parts) -> None:  # type: ignore[no-untyped-def]
    drawn = list(islice(parts.plan.plans(1, small=True, breakable=True), 100))
    names = Counter(blow.fault.name for plan in drawn for blow in plan.blows)
    assert set(names) == {fault.name for fault in parts.faults.FAULTS}
    points = {(plan.point.door, plan.point.kind) for plan in drawn if plan.point}
    assert len(points) >= len(parts.faults.POINTS) * 0.9


def test_a_seed_always_plans_the_same(parts) -> None:  # type: ignore[no-untyped-def]
    once, again = (list(map(str, islice(parts.plan.plans(5, small=True, breakable=True), 20))) for _ in range(2))
    assert once == again
    assert once != list(map(str, islice(parts.plan.plans(6, small=True, breakable=True), 20)))


def test_a_disk_that_may_not_be_filled_is_not(parts) -> None:  # type: ignore[no-untyped-def]
    drawn = islice(parts.plan.plans(1, small=False, breakable=False), 100)
    assert not [blow for plan in drawn for blow in plan.blows if blow.fault.small]


def test_a_worker_is_only_killed_where_there_is_one(parts) -> None:  # type: ignore[no-untyped-def]
    drawn = list(islice(parts.plan.plans(1, small=True, breakable=True, workers=0), 100))
    assert not [blow for plan in drawn for blow in plan.blows if blow.fault.worker]


def test_what_is_allowed_is_what_was_acknowledged_last_and_what_came_after(parts, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ledger = parts.ledger.Ledger(tmp_path / "ledger.jsonl")
    ledger.intend("b/k", "one")
    assert ledger.allowed["b/k"] == {"", "one"}
    ledger.acknowledge("b/k", "one", "PUT")
    ledger.intend("b/k", "two")
    assert ledger.allowed["b/k"] == {"one", "two"}
    ledger.withdraw("b/k", "two", {"one"})
    assert ledger.allowed["b/k"] == {"one"}
    assert ledger.certain(["b/k"]) == ["b/k"]
    assert [next(iter(note)) for note in ledger.history("b/k")] == ["intend", "acknowledged", "intend", "refused"]
    ledger.close()


def test_verdicts_tell_lost_from_resurrected_from_wrong(parts) -> None:  # type: ignore[no-untyped-def]
    judged, wrong = parts.player.judged, parts.tally.Wrong
    assert judged("", {"new"}, known=True)[0] is wrong.LOST
    assert judged("old", {"new"}, known=True)[0] is wrong.LOST
    assert judged("old", {""}, known=True)[0] is wrong.RESURRECTED
    assert judged("never", {"new", ""}, known=False)[0] is wrong.BYTES


def test_the_summary_is_not_ok_with_anything_wrong(parts) -> None:  # type: ignore[no-untyped-def]
    tally = parts.tally.Tally(1)
    found = parts.findings.Findings(3)
    found.add(tally)
    assert found.summary().startswith("OK: 0 lost, 0 resurrected, 0 wrong bytes, 0 leaked (seed 3")
    tally.fail(parts.tally.Wrong.VAIN, "S3 killed, and nothing was pending")
    found.add(tally)
    assert found.summary().startswith("FAILED: ")
    assert "1 proves nothing" in found.summary()


def test_a_leak_is_seen_through_noise_and_a_burst_is_not_taken_for_one(parts) -> None:  # type: ignore[no-untyped-def]
    bound = parts.flatness.Bound("descriptors", "", 2.0, "none")
    still = [(float(at), 100.0 + (at * 7919 % 5)) for at in range(300)]
    burst = [(at, value + (500 if 150 <= at < 200 else 0)) for at, value in still]
    leak = [(at, value + at * 0.05) for at, value in still]
    assert parts.flatness.judge(bound, still).holds
    assert parts.flatness.judge(bound, burst).holds
    assert not parts.flatness.judge(bound, leak).holds
    warm = [(at, value + min(at, 90) * 1.0) for at, value in still]
    assert parts.flatness.judge(bound, warm).holds, "what grows while it warms up is no leak"
