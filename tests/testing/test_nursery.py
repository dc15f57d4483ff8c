"""Processes that begin at once: they do what a program of its own would, and end as one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tierproxy.testing.nursery import Nursery


def test_a_child_does_what_the_program_does_and_its_end_is_told(tmp_path: Path) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    with Nursery(os.environ) as nursery:
        child = nursery.begin(["config", "describe"], out, errors)
        assert child.wait(60) == 0
        assert "[alt]" in out.read_text()
        again = nursery.begin(["no-such-command"], out, errors)
        assert again.wait(60) == 2
        assert "no-such-command" in errors.read_text()


def test_a_child_has_a_group_of_its_own_and_does_not_outlive_the_nursery(tmp_path: Path) -> None:
    fifo = tmp_path / "config.toml"
    os.mkfifo(fifo)
    with Nursery(os.environ) as nursery:
        child = nursery.begin(["config", "check", "--config", str(fifo)], Path(os.devnull), Path(os.devnull))
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
        assert os.getpgid(child.pid) == child.pid
    assert child.returncode == -signal.SIGKILL
