#!/usr/bin/env python3
"""Measures `tierproxy advise` over generated mail (docs/traffic.md): seconds and peak memory of the command as a
process of its own, and what it found.

    python loadtests/bench_advise.py --days 60 --owners 150 --budget 400MB
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

TIERPROXY = [sys.executable, "-m", "tierproxy"]


def run(*arguments: str) -> dict[str, object]:
    """The document that a command prints."""
    done = subprocess.run([*TIERPROXY, *arguments, "--json"], check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> int:
    """Always 0: it measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", default="60")
    parser.add_argument("--owners", default="150")
    parser.add_argument("--budget", default="400MB")
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        history = str(Path(place) / "history")
        made = run("history", "generate", history, "--days", given.days, "--owners", given.owners)
        begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        found = run("advise", "--from", history, "--budget", given.budget)
    seconds, used = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{made['events']:,} events of {made['objects']:,} objects, {found['tried']} rule files tried")
    print(f"{seconds:.0f} s, of which {used.ru_utime - before:.0f} s on a processor")
    print(f"at most {used.ru_maxrss / 1024:.0f} MiB, of this or of generating the history")
    print(found["verdict"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
