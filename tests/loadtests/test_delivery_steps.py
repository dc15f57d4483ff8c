"""A short run of the steps of a delivery: each station has its line, and nothing is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.dovecot.conftest import need_dovecot, need_fuse
from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.timeout(300)
def test_each_station_of_a_delivery_has_a_line() -> None:
    need_dovecot()
    need_fuse()
    with tempfile.TemporaryDirectory(prefix="tpb-") as name:  # pytest's own is too long for sockets
        Path(name).chmod(0o755)  # the owner of all mail passes through it
        output = run("delivery_steps.py", "--rounds", "1", "--size", "3", "--dir", Path(name), seconds=240)
        assert not list(Path(name).iterdir())
    lines = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in output.splitlines() if line.startswith("|")}
    assert [float(one) > 0 for one in lines["median of the whole"]] == [True] * 3
    once = ("requests to the node", "kernel: rename", "kernel: create", "node: file: fsync", "node: file: fsync_dir")
    assert [one.strip() for line in once for one in lines[line][1:]] == ["1.0"] * 2 * len(once), output
