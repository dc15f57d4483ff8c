#!/usr/bin/env python3
"""The numbers tierproxy holds itself to, gathered from what the benchmarks wrote into docs/benchmarks.md: what was
promised, by which command it is shown, what was measured, and whether it is met.

Every benchmark that records its section brings this table up to date; run it to do so by hand, or with --check to see
whether the table says what the sections say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SECTION = "numbers"
HEAD = ("promise", "wanted", "measured", "met", "shown by")
COMPARE, STORE, SCALE, LARGE, STAMPEDE, SLOW = (
    f"loadtests/{name}.py"
    for name in ("bench_compare", "bench_store", "bench_scale", "large", "stampede", "slow_readers")
)
MEMORY, DISK = r"hits, tierproxy memory(, workers \d+)?", r"hits, tierproxy disk(, workers \d+)?"


@dataclass(frozen=True, slots=True)
class Promise:
    """``goals``: the goals that show it, by a pattern of their texts, in ``section``; ``best``: one of them is enough,
    as of settings to choose from, else the worst counts; ``cell``: where their rows have what was measured."""

    text: str
    wanted: str
    command: str
    section: str
    goals: str
    best: bool = False
    cell: int = 1

    def row(self, page: str) -> list[str]:
        found = list(measured(page, self.section, self.goals, self.cell))
        if not found:
            return [self.text, self.wanted, "-", "not measured", f"`{self.command}`"]
        least = self.wanted.startswith("at least")
        _, value, shown = (max if least == self.best else min)(found, key=lambda one: one[1])
        wanted = float(self.wanted.split()[2].replace(",", ""))
        met = value >= wanted if least else value <= wanted
        return [self.text, self.wanted, shown, "yes" if met else "no", f"`{self.command}`"]


PROMISES = (
    Promise("hits from memory, 16 KiB, beside nginx proxy_cache", "at least 1.2", COMPARE, "compare",
            f"{MEMORY}, beside nginx proxy_cache", best=True),
    Promise("hits from disk files, beside nginx proxy_cache", "at least 0.9", COMPARE, "compare",
            f"{DISK}, beside nginx proxy_cache", best=True),
    Promise("... of these, reads counted beside answers received", "at least 1", COMPARE, "compare",
            r"hits, .*: reads counted beside answers received"),
    Promise("hits beside rclone serve", "at least 10", COMPARE, "compare",
            f"{MEMORY}, beside rclone serve http", best=True),
    Promise("hits beside the JuiceFS gateway", "at least 10", COMPARE, "compare",
            f"{MEMORY}, beside JuiceFS gateway", best=True),
    Promise("hits beside SeaweedFS S3", "at least 10", COMPARE, "compare",
            f"{MEMORY}, beside SeaweedFS S3", best=True),
    Promise("hits with SigV4 beside SeaweedFS S3", "at least 4", COMPARE, "compare",
            f"{MEMORY}, SigV4, beside SeaweedFS S3", best=True),
    Promise("misses by obstore, beside obstore straight to S3: rate", "at least 0.9", COMPARE, "compare",
            r"miss, obstore, \d+ at once: rate"),
    Promise("... the store alone, in the client's process", "at least 0.9", STORE, "store",
            r"miss, in process, .*: rate"),
    Promise("... latency a miss adds at the median, ms", "at most 1", COMPARE, "compare", r"miss, obstore, .* ms"),
    Promise("1,000 readers of one cold object: GETs to alt", "at most 1", STAMPEDE, "stampede", r".*", cell=5),
    Promise("PUT, ack both: median beside max(PUT to alt, plain write + fsync)", "at most 1.1", COMPARE, "compare",
            r"PUT, ack both, .*"),
    Promise("... the store alone, in the client's process", "at most 1.1", STORE, "store",
            r"ack both, in process, .*"),
    Promise("PUT, ack disk: rate beside plain write + fsync", "at least 0.75", COMPARE, "compare",
            r"PUT, ack disk, .*"),
    Promise("... the store alone, uploads held back", "at least 0.75", STORE, "store",
            r"ack disk, in process, .*: rate beside plain write \+ fsync"),
    Promise("10,000,000 entries: first byte after start, s", "at most 2", SCALE, "scale",
            r"first byte after start, .*"),
    Promise("10,000,000 entries: resident memory, MiB", "at most 500", SCALE, "scale",
            r"most memory of the node: MiB"),
    Promise("10,000,000 entries: look-up, us", "at most 50", SCALE, "scale", r"look-up, median: us"),
    Promise("10,000,000 entries: plan, s", "at most 20", SCALE, "scale", r"dry run: seconds"),
    Promise("look-up, PUT, LIST page and plan: growth beside log n", "at most 1.5", SCALE, "scale",
            r".*: growth beside the logarithm"),
    Promise("5 GiB object in and out: MiB above idle", "at most 400", LARGE, "large",
            r"(multipart|download).*", cell=4),
    Promise("1,000 slow readers: MiB above idle", "at most 400", SLOW, "slow",
            r"1,?000 slow readers .*", cell=3),
)  # fmt: skip


def section_of(page: str, name: str) -> str:
    """What stands between the marks of ``name``; nothing without marks."""
    found = re.search(f"<!-- {name}: begin -->\n(.*?)<!-- {name}: end -->", page, re.DOTALL)
    return found[1] if found else ""


def measured(page: str, section: str, goals: str, cell: int) -> Iterator[tuple[str, float, str]]:
    """Text, number and number as written of all rows of a section whose first cell is one of ``goals``."""
    for line in section_of(page, section).splitlines():
        cells = [part.strip() for part in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if len(cells) <= cell or not re.fullmatch(goals, cells[0]):
            continue
        number = cells[cell].replace(",", "")
        if re.fullmatch(r"-?\d+(\.\d+)?", number):
            yield cells[0], float(number), cells[cell]


def rows(page: str) -> Sequence[list[str]]:
    return [promise.row(page) for promise in PROMISES]


def main() -> int:
    import report  # which brings this table up to date itself

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when the table is not up to date")
    parser.add_argument("--page", type=Path, default=report.PAGE, help="default: %(default)s")
    options = parser.parse_args()
    page = options.page.read_text()
    text = report.table(HEAD, rows(page))
    print(text)
    if options.check:
        return 0 if section_of(page, SECTION).strip() == text else 1
    report.keep(SECTION, text, options.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
