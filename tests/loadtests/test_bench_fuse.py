"""A short run of the bench of FUSE bindings: who is there is measured, nothing stays mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dovecot.conftest import need_dovecot, need_fuse
from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
@pytest.mark.clients
def test_our_kit_is_measured_beside_the_others(tmp_path: Path) -> None:
    need_dovecot()  # root
    need_fuse()
    size = ("--files", "40", "--mails", "20", "--rounds", "1")
    output = run("bench_fuse.py", *size, "--dir", tmp_path, "--bindings", tmp_path / "none")
    for line in ("| ext4 ", "| our kit ", "| our kit, passthrough ", "| s3fs ", "| rclone "):
        assert line in output
    assert "mfusepy" not in output.split("| file system")[-1]
    assert not list(tmp_path.iterdir())
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
