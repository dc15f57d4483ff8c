"""The hit lane takes no more instructions than were recorded; and the command that says so says it rightly."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loadtests.programs import loaded
from tests.loadtests.test_load_scripts import run

FACTS = {"python": "3.11.7", "compiler": "GCC 12.2.0", "machine": "x86_64", "valgrind": "3.19.0"}


@pytest.fixture
def instructions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with loaded(monkeypatch, "instructions") as found:
        yield found.instructions


@pytest.fixture
def kept(tmp_path: Path, instructions: Any) -> Path:
    file = tmp_path / "kept.json"
    instructions.record({"memory hit": 1000, "disk hit": 2000}, FACTS, file)
    return file


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind (tests/install-debian-packages.sh)")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="instructions are counted on x86_64 alone")
def test_a_hit_takes_no_more_instructions_than_were_recorded(tmp_path: Path) -> None:
    """With another Python than the recorded one they are counted and not compared."""
    output = run("instructions.py", "--dir", tmp_path)
    for kind in ("memory hit", "memory hit, SigV4", "disk hit", "not modified", "memory hit, ordinary way"):
        assert f"| {kind} " in output
    assert output.splitlines()[-1].startswith("OK: ")
    assert not list(tmp_path.iterdir())


def test_what_takes_more_than_a_tenth_more_is_found(instructions: Any, kept: Path) -> None:
    figures, why_not = instructions.compare({"memory hit": 1101, "disk hit": 2200}, FACTS, kept)
    assert not why_not
    assert [figure.holds for figure in figures] == [False, True]


@pytest.mark.parametrize("fact", ["python", "compiler", "machine"])
def test_figures_of_another_interpreter_are_not_compared(instructions: Any, kept: Path, fact: str) -> None:
    figures, why_not = instructions.compare({"memory hit": 9000}, FACTS | {fact: "another"}, kept)
    assert fact in why_not
    assert figures[0].holds
    assert figures[0].ratio is None


def test_figures_of_another_valgrind_are_compared(instructions: Any, kept: Path) -> None:
    figures, why_not = instructions.compare({"memory hit": 9000}, FACTS | {"valgrind": "4"}, kept)
    assert not why_not
    assert not figures[0].holds


def test_recording_some_kinds_keeps_the_others(instructions: Any, kept: Path) -> None:
    instructions.record({"memory hit": 900}, FACTS, kept)
    assert json.loads(kept.read_text())["instructions"] == {"memory hit": 900, "disk hit": 2000}


def test_a_kind_that_was_never_recorded_is_no_regression(instructions: Any, kept: Path) -> None:
    figures, _ = instructions.compare({"not modified": 5}, FACTS, kept)
    assert figures[0].holds


def test_the_recorded_figures_are_of_all_kinds(instructions: Any) -> None:
    assert set(json.loads(instructions.RECORDED.read_text())["instructions"]) == set(instructions.KINDS)


def test_outside_valgrind_its_requests_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("x86_64 alone")
    with loaded(monkeypatch, "profiles.valgrind") as found:
        callgrind = found.valgrind.Callgrind()
        for ask in (callgrind.start, callgrind.zero, callgrind.dump, callgrind.stop):
            ask()


# ---------------------------------------------------------------- profiles


def speedscope(stacks: list[list[int]]) -> dict[str, Any]:
    frames = [
        {"name": "run", "file": "/usr/lib/python3.11/asyncio/runners.py"},
        {"name": "Reader.read", "file": "/srv/tierproxy/tierproxy/store/reader.py"},
        {"name": "_worker", "file": "/usr/lib/python3.11/concurrent/futures/thread.py"},
    ]
    return {"shared": {"frames": frames}, "profiles": [{"samples": stacks, "weights": [1] * len(stacks)}]}


def test_time_is_told_by_function_without_threads_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(speedscope([[0], [0, 1], [0, 1], [2], [], [0, 1]])))
    with loaded(monkeypatch, "profiles.stacks") as found:
        stacks = found.stacks.Stacks.read(file)
    assert stacks.samples == 4
    assert stacks.own == {"run (asyncio/runners.py)": 1, "Reader.read (tierproxy/store/reader.py)": 3}
    assert stacks.all["run (asyncio/runners.py)"] == 4
    assert "75.0%" in stacks.table(5)


@pytest.mark.slow
def test_a_node_under_load_is_profiled(tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    output = run("profile_node.py", "hit-memory", "--seconds", "1", "--dir", work, "--out", out)
    assert {file.name for file in out.iterdir()} == {
        "hit-memory.svg", "hit-memory.speedscope.json", "hit-memory.txt",
    }  # fmt: skip
    assert "with what it calls" in output
    assert "in the kernel" in output
    assert not list(work.iterdir())
