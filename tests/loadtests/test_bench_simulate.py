"""A short run of the bench of simulations: it measures every part, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
def test_policies_the_curve_and_loading_are_measured(tmp_path: Path) -> None:
    size = ("--owners", "4", "--days", "8", "--events", "4000", "--policy", "lru", "--policy", "belady")
    output = run("bench_simulate.py", *size, "--dir", tmp_path)
    for line in ("lru", "belady", "requests of the trace", "the curve beside LRU", "history into memory", "goals met"):
        assert line in output
    assert not list(tmp_path.iterdir())
