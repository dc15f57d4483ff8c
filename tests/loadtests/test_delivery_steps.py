"""A short run of the steps of a delivery: each station has its line, and nothing is left behind."""

from __future__ import annotations

import pytest

from tests.loadtests.test_bench_dovecot import run_with_dovecot


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.timeout(300)
def test_each_station_of_a_delivery_has_a_line() -> None:
    output = run_with_dovecot("delivery_steps.py", "--rounds", "1", "--size", "3")
    lines = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in output.splitlines() if line.startswith("|")}
    assert [float(one) > 0 for one in lines["median of the whole"]] == [True] * 3
    once = ("requests to the node", "kernel: rename", "kernel: create", "node: file: fsync", "node: file: fsync_dir")
    assert [one.strip() for line in once for one in lines[line][1:]] == ["1.0"] * 2 * len(once), output
