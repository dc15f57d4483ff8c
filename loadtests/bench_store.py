#!/usr/bin/env python3
"""Measures the store beside what it is made of: hits, misses and writes of 16 KiB, as ratios.

  hits    over HTTP, 32 keep-alive connections: from memory and from disk files, with SigV4 and with auth = "none",
          beside SeaweedFS' own S3 port with the same client (wrk, or one of our own)
  misses  with fill never, always and second-read, beside the same objects straight from SeaweedFS through obstore
          (in one process) and over HTTP
  writes  with ack disk, both and alt at 1, 16 and 64 at once, beside plain write + fsync in as many threads, and
          obstore's PUT to SeaweedFS; and over HTTP

Everybody is measured in the same run, in turns, in short rounds; medians count. Nothing is deleted meanwhile: ext4 is
slow to give out an inode that was freed within the last five seconds. With ack disk the uploads are held back, or else
the upload of what was acknowledged before would be measured; a line of its own shows the rate with them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import bench_hits
import bench_misses
import bench_writes
import measuring
import report
import uvloop
from keepalive import has_wrk
from measuring import Contender
from served import Failed, seaweed, workplace

from tierproxy.embedded import EmbeddedS3


@dataclass(frozen=True, slots=True)
class Goal:
    """A number to hold (see docs/benchmarks.md). ``least``: at least or at most."""

    text: str
    value: float
    goal: float
    least: bool = True

    def row(self) -> list[str]:
        met = self.value >= self.goal if self.least else self.value <= self.goal
        sign = "at least" if self.least else "at most"
        return [self.text, f"{self.value:.2f}", f"{sign} {self.goal:g}", "yes" if met else "no"]


@dataclass
class Bench:
    """What was measured: tables to print, and goals."""

    tables: list[tuple[str, str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def add(self, title: str, contenders: Sequence[Contender], reference: Contender) -> None:
        self.tables.append((title, report.table(measuring.HEAD, measuring.rows(contenders, reference))))
        print(f"\n{title}\n\n{self.tables[-1][1]}", flush=True)

    def text(self, directory: Path) -> str:
        facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(directory))
        goals = report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in self.goals])
        parts = [f"### {title}\n\n{table}" for title, table in self.tables]
        return "\n\n".join([facts, *parts, f"### Goals\n\n{goals}"])


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3, bench: Bench) -> None:
    chosen = set(options.only or ("hits", "misses", "writes"))
    if "hits" in chosen:
        hits = await bench_hits.run(options, directory / "hits", alt)
        client = "wrk" if has_wrk() else "own client"
        bench.add(f"hits, 16 KiB, 32 connections, {client}; ratio to SeaweedFS", hits.all, hits.seaweed)
        bench.goals += [
            Goal("hit from memory, SigV4, beside SeaweedFS S3", hits.memory_signed.rate / hits.seaweed.rate, 4),
            Goal("hit from memory, no auth, beside SeaweedFS S3", hits.memory_open.rate / hits.seaweed.rate, 10),
            Goal("hit from disk, SigV4, beside SeaweedFS S3", hits.disk_signed.rate / hits.seaweed.rate, 4),
        ]
    if "misses" in chosen:
        for title, misses in await bench_misses.run(options, directory / "misses", alt):
            bench.add(f"misses, 16 KiB, {title}; ratio to the same client without tierproxy", misses, misses[-1])
            plain, passing, filling = misses[-1], misses[0], misses[1]
            if "HTTP" in title:
                continue  # the goal is beside obstore
            bench.goals += [
                Goal(f"miss, {title}, not filled: rate", passing.rate / plain.rate, 0.9),
                Goal(f"miss, {title}, filled: rate", filling.rate / plain.rate, 0.9),
            ]
            if "1 at once" in title.split(", "):  # else it is the time of waiting for each other
                kinds = (("not filled", passing), ("filled", filling))
                bench.goals += [
                    Goal(
                        f"miss, {title}, {kind}: added milliseconds at the median",
                        one.milliseconds - plain.milliseconds, 1, least=False,
                    )
                    for kind, one in kinds
                ]  # fmt: skip
    if "writes" in chosen:
        for title, writes in await bench_writes.run(options, directory / "writes", alt):
            bench.add(f"writes, 16 KiB, {title}; ratio to plain write + fsync", writes.all, writes.plain)
            both, slower = writes.both.milliseconds, max(writes.alt.milliseconds, writes.plain.milliseconds)
            bench.goals.append(
                Goal(f"ack both, {title}: median beside max(alt, fsync)", both / slower, 1.1, least=False)
            )
            if writes.disk is not None:
                rate = writes.disk.rate
                bench.goals += [
                    Goal(f"ack disk, {title}: rate beside plain write + fsync", rate / writes.plain.rate, 0.75),
                    Goal(f"ack disk, {title}: the same with the directory", rate / writes.named.rate, 0.75),
                ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a contender's round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians count (default: %(default)s)")
    parser.add_argument("--only", nargs="*", choices=("hits", "misses", "writes"), help="measure only these")
    parser.add_argument("--write", action="store_true", help="record the results in docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work; the numbers are about this file system")
    options = parser.parse_args()
    bench = Bench()
    try:
        with workplace(options.dir, 8 * 2**30) as directory, seaweed(directory) as alt:
            uvloop.run(run(options, directory, alt, bench))
            text = bench.text(directory)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    report.conclude("store", text, bench.goals, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
