"""Short runs of torture and soak with fixed seeds, and their parts: they must be able to find what they look for."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.loadtests.programs import loaded
from tests.loadtests.test_load_scripts import run
from tierproxy.testing.doomed import KINDS

PARTS = ("plan", "faults", "flatness", "tally", "player", "findings", "aims", "node", "rest")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_round_of_torture_ends_with_four_zeros(tmp_path: Path, workers: int) -> None:
    output = run(
        "torture.py", "--rounds", "1", "--round", "3", "--seed", "12", "--clients", "4", "--workers", str(workers),
        "--dir", tmp_path, seconds=280,
    )  # fmt: skip
    assert output.splitlines()[-1].startswith("OK: 0 lost, 0 resurrected, 0 wrong bytes, 0 leaked (seed 12, 1 rounds")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    names = ("ledger", *(f"torturing.{name}" for name in PARTS))
    with loaded(monkeypatch, *names) as found:
        yield found


def test_every_fault_comes_within_a_hundred_rounds(parts) -> None:  # type: ignore[no-untyped-def]
    drawn = list(islice(parts.plan.plans(1, small=True, breakable=True), 100))
    names = Counter(blow.fault.name for plan in drawn for blow in plan.blows)
    assert set(names) == {fault.name for fault in parts.faults.FAULTS}
    assert {plan.points > 0 for plan in drawn} == {True, False}


def test_a_run_may_be_of_one_meeting_of_faults_alone(parts) -> None:  # type: ignore[no-untyped-def]
    drawn = islice(parts.plan.plans(1, small=True, breakable=True, always=["disk full", "bits flipped"]), 10)
    assert all({blow.fault.name for blow in plan.blows} == {"disk full", "bits flipped"} for plan in drawn)


def test_a_point_that_is_never_reached_keeps_no_other_back_and_each_is_reached_on_both_sides(parts) -> None:  # type: ignore[no-untyped-def]
    aims, places = parts.aims.Aims(random.Random(3)), parts.aims.PLACES
    hard = places[7]
    for _ in range(4 * len(places)):
        easy = [point for point in aims.draw(3) if (point.door, point.kind) != hard]
        aims.came(easy[0])
    assert aims.missing == [hard]
    assert len(aims.reached) >= 2 * len(places) - 4


def test_a_point_is_no_later_than_such_calls_come(parts) -> None:  # type: ignore[no-untyped-def]
    aims = parts.aims.Aims(random.Random(1), [("files", "rename"), ("catalogue", "settle")])
    aims.saw(Counter({("files", "rename"): 600, ("catalogue", "settle"): 1}), 6.0)
    points = [point for _ in range(100) for point in aims.draw(2)]
    assert max(point.nth for point in points if point.kind == "rename") > 20
    assert {point.nth for point in points if point.kind == "settle"} == {1}


def test_every_point_is_one_that_a_node_can_end_itself_at(parts) -> None:  # type: ignore[no-untyped-def]
    assert {place for place in parts.aims.PLACES if place[1] not in KINDS[place[0]]} == set()
    assert set(parts.aims.FAULTS_FOR) <= set(parts.aims.PLACES)
    assert set(parts.aims.FAULTS_FOR.values()) <= {fault.name for fault in parts.faults.FAULTS}


def test_what_is_left_over_is_named(parts) -> None:  # type: ignore[no-untyped-def]
    rest = parts.rest
    before = rest.Idle(Counter({"queue": 1}), Counter({"blobs": 1}), Counter({"socket": 4, "catalogue": 6}))
    same = rest.Idle(Counter({"queue": 1}), Counter({"blobs": 8, "alt": 3}), Counter({"socket": 20, "catalogue": 9}))
    assert rest.left(same, before, disk_threads=8, sockets=64) == []
    more = rest.Idle(
        Counter({"queue": 1, "upload": 2}), Counter({"blobs": 9, "?Thread-N": 1}),
        Counter({"socket": 99, "gone": 1, "/stubs/N": 1}),
    )  # fmt: skip
    assert rest.left(more, before, disk_threads=8, sockets=64) == [
        "2 tasks 'upload'", "8 threads 'blobs' more", "1 threads '?Thread-N' more", "1 descriptors of gone",
        "95 sockets more", "1 descriptors of /stubs/N more",
    ]  # fmt: skip


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


def test_recorded_runs_become_the_section_of_the_page(parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- torture: begin -->\n<!-- torture: end -->\nafter\n")
    monkeypatch.setattr(parts.findings, "PAGE", page)
    found = parts.findings.Findings(3, options="--large", missing=["alt: put", "alt: copy"])
    tally = parts.tally.Tally(1)
    tally.points["files: rename, after"] += 2
    found.add(tally)
    for file in [tmp_path / "runs.jsonl"] * 2:
        parts.findings.remember(found, file)
        found.missing = ["alt: put"]
    parts.findings.write(tmp_path / "runs.jsonl", "torture.py")
    text = page.read_text()
    assert text.count("| 3 --large |") == 2
    assert "| files: rename  |        | 4     |" in text
    assert "alt: put" in text
    assert "alt: copy" not in text


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
    refilled = [(at, 47.0 if at < 60 else 42 + (at - 60) // 48) for at, _ in still]
    assert not parts.flatness.judge(bound, refilled).holds
    pool = parts.flatness.Bound("threads", "", 2.0, "none", peaks=True)
    assert parts.flatness.judge(pool, refilled).holds, "a pool is as full again as it was"
    assert not parts.flatness.judge(pool, leak).holds


def test_a_node_that_holds_still_has_no_thread_that_runs(parts) -> None:  # type: ignore[no-untyped-def]
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert not parts.node._stopped(busy.pid)
            busy.send_signal(signal.SIGSTOP)
            while not parts.node._stopped(busy.pid):
                os.sched_yield()
        finally:
            busy.kill()
    assert parts.node._stopped(busy.pid), "nor one that is gone"
