"""A short run of the bench of Dovecot: every contender is measured, and nothing is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.dovecot.conftest import need_dovecot, need_fuse
from tests.loadtests.test_load_scripts import run

CONTENDERS = ("ext4", "tierproxy, both", "tierproxy, disk", "s3fs", "rclone", "bindfs")


def run_with_dovecot(script: str, *arguments: str) -> str:
    """As ``run``, with Dovecot on mounts; the script leaves nothing behind."""
    need_dovecot()
    need_fuse()
    with tempfile.TemporaryDirectory(prefix="tpb-") as name:  # pytest's own is too long for sockets
        Path(name).chmod(0o755)  # the owner of all mail passes through it
        output = run(script, *arguments, "--dir", name, seconds=240)
        assert not list(Path(name).iterdir())
    return output


@pytest.mark.slow
@pytest.mark.clients
@pytest.mark.timeout(300)
def test_every_contender_is_measured() -> None:
    size = ("--rounds", "1", "--size", "2", "--resync", "10", "--seconds", "1", "--users", "3")
    output = run_with_dovecot("bench_dovecot.py", *size)
    parts = ("30 ms added to each request", "force-resync of 10 mails", "3 users read and receive at once", "goals met")
    for line in (*CONTENDERS, *parts):
        assert line in output
