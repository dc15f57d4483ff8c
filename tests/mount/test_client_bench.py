"""The script that measures the client goes on working."""

from __future__ import annotations

from tests.loadtests.test_load_scripts import run


def test_the_client_is_measured() -> None:
    output = run("bench_mount_client.py", "--rounds", "1")
    assert "GET 16 KiB  the mount's" in output
    assert "PUT 16 KiB  the mount's" in output
