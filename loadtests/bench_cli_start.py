"""How long commands take to start, beside a Python that does nothing: ``python loadtests/bench_cli_start.py``.

CPU time of the process (user and system), the least of several runs: what other work on the machine adds is left out.
"""

from __future__ import annotations

import os
import subprocess
import sys

RUNS = 3
COMMANDS = (
    ("--version",),
    ("--help",),
    ("queue", "list", "--help"),
    ("stats", "--help"),
    ("rules", "check", "--help"),
    ("purge", "--help"),
    ("serve", "--help"),
)


def least(command: list[str]) -> float:
    """CPU seconds."""
    return min(_spent(command) for _ in range(RUNS))


def _spent(command: list[str]) -> float:
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    nothing = least([sys.executable, "-c", "pass"])
    print(f"{'python -c pass':28} {nothing * 1000:6.0f} ms")
    for words in COMMANDS:
        spent = least([sys.executable, "-m", "tierproxy", *words])
        print(f"{'tierproxy ' + ' '.join(words):28} {spent * 1000:6.0f} ms {spent / nothing:6.1f} times")


if __name__ == "__main__":
    main()
