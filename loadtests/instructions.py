#!/usr/bin/env python3
"""Instructions per request of the hit lane and of the ordinary way, counted by valgrind's callgrind.

A processor does not run the same request twice in the same time, but it runs the same instructions: the figures repeat
to a few in a thousand on any machine, however busy, with the same Python. Requests are fed into the port's connection
without sockets, so nothing of the kernel is in them. They are compared with the recorded ones
(loadtests/profiles/instructions.json); more than 1.1 times as many is a regression, and the exit code is 1.

With another Python than the recorded one the figures are shown and not compared. After a change that is meant to cost
or to save something, --record writes the new ones: commit them with the change.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import report
from profiles.kinds import KINDS
from served import ENVIRONMENT, Failed, workplace

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "profiles" / "instructions.json"
MOST = 1.1  #: times the recorded instructions
COUNT = 64  #: requests of the smaller of the two counted lots; a multiple of profiles.feeding.OBJECTS
DECIDING = ("python", "compiler", "machine")  #: figures of others are not compared
PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Figure:
    """Instructions of one request of one kind; ``recorded``: None: nothing to compare with."""

    kind: str
    measured: int
    recorded: int | None

    @property
    def ratio(self) -> float | None:
        return self.measured / self.recorded if self.recorded else None

    @property
    def holds(self) -> bool:
        return self.ratio is None or self.ratio <= MOST

    def row(self) -> list[str]:
        if self.recorded is None or self.ratio is None:
            return [self.kind, f"{self.measured:,}", "-", "-", "-"]
        word = "yes" if self.holds else "no"
        return [self.kind, f"{self.measured:,}", f"{self.recorded:,}", f"{self.ratio:.3f}", word]


def facts() -> dict[str, str]:
    """What the figures depend on beside the code."""
    packages = {name: version(name) for name in ("httptools", "uvloop", "uvicorn", "xxhash")}
    return {
        "python": platform.python_version(), "compiler": platform.python_compiler(), "machine": platform.machine(),
        "valgrind": _valgrind(), **packages,
    }  # fmt: skip


def _valgrind() -> str:
    if shutil.which("valgrind") is None:
        raise Failed("no valgrind: run tests/install-debian-packages.sh valgrind")
    done = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("valgrind-")


def measure(kinds: Sequence[str], count: int, directory: Path) -> dict[str, int]:
    """Instructions of a request of each kind. Raises Failed."""
    out = directory / "callgrind"
    command = [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}",
        sys.executable, "-m", "profiles.feeding", str(count), str(directory), *kinds,
    ]  # fmt: skip
    environment = ENVIRONMENT | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(HERE)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=HERE.parent, check=False, timeout=PATIENCE
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"callgrind ended with {done.returncode}: {done.stderr[-1500:]}")
    totals = [_total(out.with_name(f"{out.name}.{number}")) for number in range(1, 2 * len(kinds) + 1)]
    lots = list(pairwise(totals))[::2]
    return {kind: round((large - small) / (2 * count)) for kind, (small, large) in zip(kinds, lots, strict=True)}


def _total(dump: Path) -> int:
    found = re.search(r"^totals: (\d+)$", dump.read_text(errors="replace"), re.MULTILINE)
    if found is None:
        raise Failed(f"{dump} has no totals")
    return int(found[1])


def compare(measured: Mapping[str, int], now: Mapping[str, str], kept: Path = RECORDED) -> tuple[list[Figure], str]:
    """The figures, and why they are not compared ("": they are)."""
    if not kept.exists():
        return [Figure(kind, one, None) for kind, one in measured.items()], "nothing is recorded"
    document = json.loads(kept.read_text())
    there, figures = document["facts"], document["instructions"]
    other = [f"{name} {there.get(name)}, here {now[name]}" for name in DECIDING if there.get(name) != now[name]]
    if other:
        return [Figure(kind, one, None) for kind, one in measured.items()], f"recorded with {'; '.join(other)}"
    return [Figure(kind, one, figures.get(kind)) for kind, one in measured.items()], ""


def record(measured: Mapping[str, int], now: Mapping[str, str], kept: Path = RECORDED) -> None:
    """Keep the figures; those of kinds that were not measured stay."""
    before = json.loads(kept.read_text())["instructions"] if kept.exists() else {}
    figures = {kind: (before | dict(measured))[kind] for kind in KINDS if kind in before or kind in measured}
    kept.write_text(json.dumps({"facts": dict(now), "instructions": figures}, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=COUNT, help="requests of the smaller lot (default: %(default)s)")
    parser.add_argument("--only", action="append", choices=sorted(KINDS), help="one kind; may be repeated")
    parser.add_argument("--record", action="store_true", help=f"write them to {RECORDED.relative_to(HERE.parent)}")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    os.environ.pop("PYTHONPATH", None)
    try:
        now = facts()
        with workplace(options.dir, 2**28) as directory:
            measured = measure(options.only or list(KINDS), options.count, directory)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    figures, why_not = compare(measured, now)
    print(
        report.table(("instructions of one", "measured", "recorded", "ratio", "holds"), [one.row() for one in figures])
    )
    print(", ".join(f"{name} {value}" for name, value in now.items()))
    if options.record:
        record(measured, now)
        print(f"OK: recorded in {RECORDED.relative_to(HERE.parent)}")
        return 0
    worse = [one.kind for one in figures if not one.holds]
    if worse:
        print(f"FAILED: more than {MOST} times the recorded instructions: {', '.join(worse)}")
    else:
        print(f"OK: not compared: {why_not}" if why_not else f"OK: within {MOST} times the recorded instructions")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
