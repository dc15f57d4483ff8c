"""A short run of the steps of a write: every number of clients has its line, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loadtests.test_load_scripts import run


@pytest.mark.parametrize("ack", ["disk", "both"])
def test_every_number_of_clients_has_a_line(tmp_path: Path, ack: str) -> None:
    output = run("write_steps.py", "--writes", "30", "--at-once", "1", "8", "--ack", ack, "--dir", tmp_path)
    head, _, *lines = [line for line in output.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines] == ["1", "8"]
    assert "fsync_dir" in head
    assert not list(tmp_path.iterdir())
