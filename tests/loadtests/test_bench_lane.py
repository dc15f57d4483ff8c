"""A short run of the bench of the hit lane: it measures every kind of hit, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
def test_every_kind_of_hit_is_measured(tmp_path: Path) -> None:
    output = run("bench_lane.py", "--rounds", "1", "--requests", "200", "--dir", tmp_path)
    kinds = ("memory, 304", "memory, range", "memory, SigV4", "memory, presigned", "disk", "ordinary way", "goals met")
    for line in kinds:
        assert line in output
    assert not list(tmp_path.iterdir())
