"""The machine stops at every call of an hour of history; nothing is there twice, and what was written is there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from tests.history.rigs import events, history_files, numbers
from tierproxy.errors import DiskError
from tierproxy.history.files import HistoryFiles
from tierproxy.testing.clock import EPOCH
from tierproxy.testing.crash import CrashFiles, SimulatedCrash

LINES = 700  #: events of a batch: two lines of a journal


class Told:
    """What the log was told, what of it was written, and what of that is in a closed journal or a segment."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.written: list[int] = []
        self.closed: list[int] = []


def an_hour(log: HistoryFiles, told: Told) -> None:
    """Two journals become segments, a third stays open."""
    for journal in range(3):
        for _batch in range(2):
            first = len(told.asked)
            wanted = list(range(first, first + LINES))
            told.asked += wanted
            log.append(events(first, LINES), EPOCH + first)
            told.written += wanted
        log.close()
        told.closed = list(told.written)
        if journal < 2:
            log.settle()


def crashed(root: Path, files: CrashFiles) -> Told:
    told = Told()
    log = history_files(root, files)
    with suppress(SimulatedCrash):
        an_hour(log, told)
    with suppress(SimulatedCrash, DiskError):
        log.close()  # only gives the descriptor back: the machine is off
    return told


MOST = 200  #: calls an hour of history may take here


@pytest.mark.parametrize("torn", [False, True])
def test_after_a_crash_everything_written_is_there_once(tmp_path: Path, torn: bool) -> None:
    for step in range(1, MOST):
        root, files = tmp_path / str(step), CrashFiles(step, torn=torn)
        root.mkdir()
        told = crashed(root, files)
        check(root, told)
        restart(root)
        check(root, told)
        assert list(root.rglob("*.journal")) == list(root.rglob("*.part")) == []
        if not files.crashed:
            return
    raise AssertionError("an hour has no end")


def check(root: Path, told: Told) -> None:
    found = numbers(root) if (root / "history").exists() else []
    assert found[: len(told.written)] == told.written
    assert found == told.asked[: len(found)]


def restart(root: Path) -> None:
    """What a node does with what it finds; a second crash in the middle is one of ours as well."""
    log = history_files(root)
    log.tidy()
    log.settle()


@pytest.mark.parametrize(("keep", "seed"), [(0.0, 0), *((0.5, seed) for seed in range(1, 6))])
def test_after_a_power_cut_what_was_closed_is_there_and_nothing_twice(tmp_path: Path, keep: float, seed: int) -> None:
    for step in range(1, MOST):
        root, files = tmp_path / str(step), CrashFiles(step)
        root.mkdir()
        told = crashed(root, files)
        ended = not files.crashed
        files.power_cut(root, seed=step * seed, keep=keep)
        restart(root)
        found = numbers(root) if (root / "history").exists() else []
        assert found[: len(told.closed)] == told.closed
        assert len(found) == len(set(found))
        assert set(found) <= set(told.asked)
        if ended:
            return
    raise AssertionError("an hour has no end")


def test_a_crash_while_the_leftovers_are_settled_does_no_harm(tmp_path: Path) -> None:
    for step in range(1, 30):
        root = tmp_path / str(step)
        root.mkdir()
        log = history_files(root)
        log.append(events(0, LINES), EPOCH)
        log.close()
        files = CrashFiles(step)
        with suppress(SimulatedCrash):
            history_files(root, files).settle()
        assert numbers(root) == list(range(LINES))
        restart(root)
        assert numbers(root) == list(range(LINES))
        if not files.crashed:
            return
    raise AssertionError("settling has no end")
