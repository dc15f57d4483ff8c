"""A short run of sixty days of mail, and that the script finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.loadtests.test_load_scripts import ENVIRONMENT, ROOT, run

SMALL = ("--scale", "0.02", "--owners", "4", "--mails-per-day", "15", "--budget", "260MB", "--samples", "300")


@pytest.mark.slow
def test_a_month_stays_within_the_budget_and_every_purge_is_explained(tmp_path: Path) -> None:
    output = run("sixty_days.py", *SMALL, "--days", "30", "--dir", tmp_path)
    assert output.splitlines()[-1] == "OK: 30 days within the budget, every purge explained"
    assert "rule:large and idle" in output
    assert "pressure" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_days_without_a_purge_prove_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "sixty_days.py"), *SMALL, "--days", "3", "--dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=110, check=False)
    assert done.returncode == 1
    assert "rules purged nothing: the test proves nothing" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED")


def test_the_script_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "sixty_days.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True)
    assert "--dir" in done.stdout
    assert "virtual time" in done.stdout
