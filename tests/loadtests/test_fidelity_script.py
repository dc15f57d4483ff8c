"""A short run of the comparison of simulator and live node."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
def test_the_simulator_agrees_with_a_node_on_a_fortnight_of_mail(tmp_path: Path) -> None:
    small = ("--days", "14", "--owners", "3", "--budget", "25MB", "--orders", "lru", "sieve")
    output = run("fidelity.py", *small, "--dir", tmp_path)
    assert output.splitlines()[-1] == "OK: hits within 1%, purged bytes within 2%, of 2 orders"
    assert "pressure: bytes" in output
    assert not list(tmp_path.iterdir())
