"""``locustfile.py`` as a program: with a SeaweedFS and a proxy of its own, headless, with a verdict."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import report
from served import ACCESS_KEY_ID, ENVIRONMENT, SECRET, Failed, config_for, seaweed, served, workplace

FILE = Path(__file__).with_name("locustfile.py")


def play(options: argparse.Namespace) -> list[dict[str, object]]:
    """Locust's statistics. Raises Failed when locust saw a failure."""
    with (
        workplace(options.dir, 2 * 2**30) as directory,
        seaweed(directory) as alt,
        served(directory, config_for(directory, alt.section())) as proxy,
    ):
        command = [
            sys.executable, "-m", "locust", "-f", str(FILE), "--host", proxy.url, "--headless",
            "-u", str(options.users), "-r", str(options.users), "-t", f"{options.seconds:g}s",
            "--json", "--loglevel", "ERROR", "--stop-timeout", "10",
        ]  # fmt: skip
        environment = ENVIRONMENT | {"TIERPROXY_LOAD_KEY": ACCESS_KEY_ID, "TIERPROXY_LOAD_SECRET": SECRET}
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=directory, check=False,
            timeout=options.seconds + 90,
        )  # fmt: skip
    if done.returncode:
        raise Failed(f"locust ended with {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def main(about: str) -> int:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (default: %(default)s)")
    parser.add_argument("--users", type=int, default=20, help="mailboxes at once (default: %(default)s)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    os.environ.pop("LOCUST_HOST", None)
    try:
        found = play(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    rows = [[str(one["name"]), str(one["num_requests"]), str(one["num_failures"]), _mean(one)] for one in found]
    print(report.table(("what", "requests", "failures", "mean ms"), rows))
    requests = sum(int(row[1]) for row in rows)
    print(f"OK: {requests} requests, none failed" if requests else "FAILED: locust made no request")
    return 0 if requests else 1


def _mean(one: dict[str, object]) -> str:
    return f"{float(str(one['total_response_time'])) / max(int(str(one['num_requests'])), 1):.1f}"
