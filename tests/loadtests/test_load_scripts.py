"""Short runs of the load tests, so that they go on working and what they show goes on being true."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TIERPROXY_", "AWS_"))}


def run(script: str, *arguments: str | Path, seconds: float = 240) -> str:
    """The script's output. Fails unless it ends with 0 within ``seconds``; one that does not is interrupted, so that it
    ends what it has started."""
    command = [sys.executable, str(ROOT / "loadtests" / script), *map(str, arguments)]
    with subprocess.Popen(
        command, text=True, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as script_process:
        try:
            output, errors = script_process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            script_process.send_signal(signal.SIGINT)
            output, errors = script_process.communicate()
    assert script_process.returncode == 0, output + errors
    return output


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_when_alt_and_then_the_proxy_are_killed(tmp_path: Path) -> None:
    output = run("outage.py", "--rounds", "1", "--seconds", "3", "--dir", tmp_path)
    assert output.splitlines()[-1].startswith("OK: nothing acknowledged was lost")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stampede_costs_alt_one_get(tmp_path: Path) -> None:
    output = run("stampede.py", "--readers", "1000", "--large-readers", "200", "--dir", tmp_path)
    assert output.splitlines()[-1] == "OK: each stampede cost alt one GET"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_large_object_goes_in_and_out_with_bounded_memory(tmp_path: Path) -> None:
    output = run("large.py", "--gib", "0.25", "--bound", "200", "--dir", tmp_path)
    assert output.splitlines()[-1].startswith("OK: 0.25 GiB in and out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_slow_readers_cost_little_each(tmp_path: Path) -> None:
    output = run("slow_readers.py", "--readers", "200", "--seconds", "2", "--dir", tmp_path)
    assert output.splitlines()[-1].startswith("OK: slow readers cost")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_bench_compares_every_contender(tmp_path: Path) -> None:
    output = run("bench_store.py", "--seconds", "0.1", "--rounds", "1", "--dir", tmp_path)
    for contender in ("hits", "misses", "writes", "plain write + fsync", "obstore", "SeaweedFS"):
        assert contender in output
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_plans_are_measured_beside_reads(tmp_path: Path) -> None:
    output = run("bench_plan.py", "--entries", "3000", "--seconds", "0.2", "--rounds", "1", "--dir", tmp_path)
    for line in ("dry run 1", "rule run", "s3-fifo", "dry runs in the node", "dry runs beside it", "hits from disk"):
        assert line in output
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium (tests/install-debian-packages.sh)")
def test_the_dashboard_is_measured_beside_reads(tmp_path: Path) -> None:
    short = ("--entries", "2000", "--objects", "50", "--rate", "100", "--seconds", "1", "--rounds", "1", "--noted", "4")
    output = run("bench_dashboard.py", *short, "--dir", tmp_path)
    for line in ("panels, started again", "Rule by rule", "one open", "one in Chromium", "node without readers"):
        assert line in output
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_locust_plays_mail_without_a_failure(tmp_path: Path) -> None:
    output = run("locustfile.py", "--seconds", "3", "--users", "5", "--dir", tmp_path)
    assert output.splitlines()[-1].startswith("OK:")
    assert not list(tmp_path.iterdir())


SCRIPTS = [
    "outage.py", "stampede.py", "large.py", "bench_store.py", "bench_plan.py", "bench_dashboard.py", "bench_scale.py",
    "locustfile.py", "slow_readers.py", "torture.py", "soak.py",
]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(script: str) -> None:
    command = [sys.executable, str(ROOT / "loadtests" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True)
    assert "--dir" in done.stdout
    assert len(done.stdout.splitlines()) > 10
