#!/usr/bin/env python3
"""An hour of mixed load with mild faults: memory, descriptors, threads and the queue stay flat, and nothing is lost.

The world and the clients are those of ``torture.py``, but the node runs from the beginning to the end. Every twenty
seconds something happens for a few seconds: S3 is slow, restarts, answers 503 or is unreachable, connections are cut,
blobs are damaged, rules change, everything is purged. Every few seconds the node's resident memory, its descriptors and
threads, the journal's jobs and the staged files are counted.

Of each series the slope after the warm-up (the first third) is taken as the median of the slopes of all pairs of
samples (Theil and Sen), times the time measured: what the series has grown by. The bounds are below, with their
reasons. At the end everything is judged as after a round of torture. Exit 0 only if all is flat, with four zeros.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import report
from torturing.contents import Contents
from torturing.faults import FAULTS, Fault
from torturing.findings import PAGE, Findings
from torturing.flatness import HEAD, Bound, Flat, judge
from torturing.judge import Judge
from torturing.node import settled
from torturing.player import Player
from torturing.tally import Tally
from torturing.world import World, world

from tierproxy.config.values import Duration, Size
from tierproxy.testing.doomed import SetClock
from tierproxy.whatif.svg import Axes, Line, lines

CHARTS = report.PAGE.parent / "charts"
MEGABYTE = 2**20
EVERY = 20.0  #: seconds from one fault to the next
LASTING = 4.0
NAMES = 1000  #: that the node remembers: its own bounds would be reached in the course of the hour
MILD = (
    "S3 restarted", "S3 answers 503", "connections cut", "each connection cut early", "network slow",
    "network trickles", "connections reset", "connections refused", "bits flipped", "blobs deleted",
    "rules changed", "everything purged", "clock jumps minutes",
)  # fmt: skip
MEMORY = Bound(
    "resident memory", "MiB", 12.0,
    "the allocator keeps what bursts needed and gives it back in its own time, a few MiB to and fro. A leak of "
    "100 bytes an operation is more than this in an hour",
)  # fmt: skip
BOUNDS = (
    MEMORY,
    Bound("sockets", "", 4.0, "connections to S3 are pooled, and their number follows the last burst"),
    Bound("files without a name", "", 4.0, "small blobs stay open between reads and are let go of at the next sweep"),
    Bound("other descriptors", "", 1.0, "there is no reason for one more"),
    Bound("threads", "", 1.0, "pools are full after the warm-up; the most counts, for idle ones end", peaks=True),
    Bound("uploads pending", "", 4.0, "the queue is empty again before the next fault"),
    Bound("staged files", "", 1.0, "as many as bodies are arriving"),
)


@dataclass
class Samples:
    """By the name of a bound: seconds since the start, and values."""

    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def take(self, at: float, scene: World) -> None:
        node = scene.node
        files = node.open_files()
        memory = node.resident() + sum(_resident(worker) for worker in node.workers())
        values = {
            "resident memory": memory / MEGABYTE,
            "sockets": files["socket"],
            "files without a name": files["gone"],
            "other descriptors": files["other"] + files["memory"],
            "threads": node.threads(),
            "uploads pending": node.pending() or 0,
            "staged files": sum(1 for _ in (node.data / "staging").iterdir()),
        }
        for name, value in values.items():
            self.series.setdefault(name, []).append((at, value))

    def judged(self) -> list[Flat]:
        return [judge(bound, self.series[bound.name]) for bound in BOUNDS]


def _resident(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


class Soak:
    """One node through the whole time."""

    def __init__(self, scene: World, options: argparse.Namespace) -> None:
        self._scene = scene
        self._options = options
        self._chance = random.Random(options.seed)
        self.tally = Tally(1, "soak")
        self.samples = Samples()
        clock, contents = SetClock(scene.directory / "clock"), Contents(options.seed)
        self._players = [
            Player(number, options.seed, scene.ledger, contents, scene.buckets, clock)
            for number in range(options.clients)
        ]

    def run(self) -> None:
        """Everything, to the judgement."""
        config = settled(self._scene.node.config, workers=self._options.workers, linger=0.0)
        # What fills up in hours by default is full in the warm-up: events that wait for their segment, memory,
        # and what is kept by name.
        history = replace(config.history, segment_age=Duration(30))
        memory = replace(config.memory, max_bytes=Size(8 * MEGABYTE))
        self._scene.node.configure(replace(config, history=history, memory=memory))
        self._scene.node.names = NAMES
        self._scene.node.start()
        stop, door = threading.Event(), self._scene.node.door
        with ThreadPoolExecutor(len(self._players)) as threads:
            running = [threads.submit(one.play, lambda: door, self.tally, stop) for one in self._players]
            try:
                self._conduct(self._options.minutes * 60)
            finally:
                stop.set()
        for one in running:
            one.result()
        self._judge()

    def _conduct(self, seconds: float) -> None:
        begin, faults = time.monotonic(), self._faults()
        for number in itertools.count():
            at = number * self._options.every
            while (now := time.monotonic() - begin) < at:
                time.sleep(min(0.2, at - now))
            if now >= seconds:
                return
            faults(now, seconds)
            self.samples.take(now, self._scene)
            self._forget()

    def _faults(self) -> Callable[[float, float], None]:
        """What is to be called now and then, to begin a fault or to end one."""
        known = [fault for fault in FAULTS if fault.name in MILD]
        lasting: list[tuple[float, Fault]] = []
        following = EVERY

        def conduct(now: float, seconds: float) -> None:
            nonlocal following
            for end, fault in list(lasting):
                if now >= end:
                    fault.end(self._scene)
                    lasting.remove((end, fault))
            if now >= following and now < seconds - 2 * LASTING:
                fault = self._chance.choice(known)
                fault.begin(self._scene, self._chance)
                self.tally.faults[fault.name] += 1
                lasting.append((now + LASTING, fault))
                following = now + EVERY

        return conduct

    def _forget(self) -> None:
        """The judge looks at the keys that clients still use; what is gone shows in the listings."""
        used = {key for player in self._players for key in player.keys}
        for key in [key for key in list(self._scene.ledger.allowed) if key not in used]:
            if self._scene.ledger.allowed.get(key) == {""}:
                self._scene.ledger.forget(key)

    def _judge(self) -> None:
        self._scene.heal()
        self._scene.node.reload()
        with closing(Judge(self._scene, self.tally)) as judge:
            if judge.drained():
                judge.uploads()
                judge.contents()
                judge.after_purge()
                judge.at_rest()
                judge.stopped(killed=False, disk=False, damaged=True)


def charts(samples: Samples) -> dict[str, str]:
    """SVG by file name."""
    memory = [Line("resident memory", samples.series["resident memory"])]
    counted = [Line(bound.name, samples.series[bound.name]) for bound in BOUNDS if bound is not MEMORY]
    about = "one node under mixed load with a mild fault every twenty seconds"
    return {
        "soak-memory": lines(Axes("Resident memory of the node, MiB", about, x=_minutes, y=_whole), memory),
        "soak-counts": lines(Axes("Descriptors, threads and the queue", about, x=_minutes, y=_whole), counted),
    }


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def text(options: argparse.Namespace, flats: list[Flat], findings: Findings, directory: Path) -> str:
    """The section of docs/reliability.md."""
    facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(directory))
    pictures = "\n".join(f"![{name}](charts/{name}.svg)" for name in ("soak-memory", "soak-counts"))
    reasons = "\n".join(f"- {bound.name}: {bound.why}." for bound in BOUNDS)
    given = f"--minutes {options.minutes:g} --seed {options.seed} --workers {options.workers}"
    command = f"loadtests/soak.py {given} --write"
    return (
        f"`{command}`:\n\n{facts}\n\n{pictures}\n\n{report.table(HEAD, [flat.row() for flat in flats])}\n\n"
        f"Growth is the slope after the warm-up times the time measured. Why so much is allowed:\n\n{reasons}\n\n"
        f"{conclusion(flats, findings)}"
    )


def conclusion(flats: list[Flat], findings: Findings) -> str:
    """The last line of a run."""
    grown = ", ".join(flat.bound.name for flat in flats if not flat.holds)
    return f"FAILED: growing: {grown}; {findings.summary()}" if grown else findings.summary()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="time under load (default: %(default)s)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between samples (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="connections at once (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="hit workers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides who does what (default: %(default)s)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    parser.add_argument("--write", action="store_true", help="put the result into docs/reliability.md, with charts")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="tierproxy-soak-", dir=options.dir))
    begin = time.monotonic()
    with world(directory, options.seed) as scene:
        scene.prepare()
        soak = Soak(scene, options)
        soak.run()
    findings = Findings(options.seed, time.monotonic() - begin)
    findings.add(soak.tally)
    flats = soak.samples.judged()
    for failing in soak.tally.failings[:20]:
        print(failing)
    print(report.table(HEAD, [flat.row() for flat in flats]))
    if options.write:
        for name, drawn in charts(soak.samples).items():
            (CHARTS / f"{name}.svg").write_text(drawn)
        report.put("soak", text(options, flats, findings, directory), PAGE)
    holds = findings.sound and all(flat.holds for flat in flats)
    if holds:
        shutil.rmtree(directory)
    else:
        print(f"kept: {directory}")
    print(conclusion(flats, findings))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
