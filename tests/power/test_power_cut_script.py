"""``loadtests/power_cut.py``, shortly: a story, the same without an fsync, and one round with real programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuse.world import needs_fuse
from tests.loadtests.test_load_scripts import ENVIRONMENT, ROOT, run

pytestmark = needs_fuse


def test_a_story_and_what_is_lost_without_its_fsyncs(tmp_path: Path) -> None:
    words = ["--story", "PUT, ack disk", "--rounds", "2", "--without", "fsync", "--jobs", "1"]
    output = run("power_cut.py", *words, "--dir", tmp_path)
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in output.splitlines() if line.startswith("|")}
    assert [int(cell) for cell in rows["**all**"][3:]] == [0] * 5
    assert sum(int(cell) for cell in rows["all, without fsync of files"][3:]) > 0
    assert output.splitlines()[-1].startswith("OK:")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_real_programs_lose_nothing_by_a_power_cut(tmp_path: Path) -> None:
    output = run("power_cut.py", "--live", "1", "--clients", "2", "--dir", tmp_path)
    assert output.splitlines()[-1].startswith("OK:")
    assert not list(tmp_path.iterdir())


def test_the_script_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "power_cut.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True)
    assert "--live" in done.stdout
