#!/usr/bin/env python3
"""Measures simulations over generated mail traffic (docs/traffic.md): several offices of one model, beside one another.

  load      the history of many offices, one after the other, from segments into memory (10,000,000 events unless
            --events says otherwise)
  policies  events a CPU second of each plain policy and of the optimum, over the mail traffic of one office
  rules     the same with the example rules, as the live node works by them: on disks of several sizes, and on one that
            is always full of what rules keep and may never go
  curve     the miss-ratio curve of many offices (as many events): seconds by part, and how far it is from an LRU
            replay of all events

Each row is a process of its own, and its memory the most that this process had, with the history it reads. Replays are
one thread that waits for nothing: their CPU seconds are their seconds on a machine that has a processor for them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import report
from bench_store import Goal
from sixty_days import RULES

from tierproxy.config.values import Size
from tierproxy.disk.fsio import Files
from tierproxy.history.generate import Traffic
from tierproxy.history.reading import open_history
from tierproxy.history.segments import SegmentWriter
from tierproxy.history.trace import load
from tierproxy.history.traffic_model import model_for
from tierproxy.rules.language import parse
from tierproxy.rules.model import Kept, RuleSet
from tierproxy.trace import Objects, Trace
from tierproxy.whatif.belady import optimum
from tierproxy.whatif.curve import curve
from tierproxy.whatif.live import simulate
from tierproxy.whatif.policies import POLICIES
from tierproxy.whatif.policies.lru import Lru
from tierproxy.whatif.primed import primed
from tierproxy.whatif.replay import replay
from tierproxy.whatif.requests import Requests, requests_of

EVENTS = 10_000_000
SHARES = (0.001, 0.01, 0.05, 0.2)  #: of the bytes of all objects: disk sizes
FULL = 0.02  #: of the bytes of all objects: a disk that cannot hold what the rules keep
LONGEST = 1800.0  #: seconds a child has
BELADY = "belady"
OFFICES = "offices"
Answer = dict[str, Any]


# ---------------------------------------------------------------- traffic


def write(directory: Path, owners: int, days: int) -> int:
    """Traffic of one office as segments. How many events."""
    with SegmentWriter(directory, Files(), source="generated") as out:
        for lot in Traffic(model_for("office", owners=owners), days=days, seed=1).lots():
            out.extend(lot)
    return out.events


def write_offices(office: Path, directory: Path, events: int) -> int:
    """The office's history again and again, each time later and with mails of its own, until there are ``events``."""
    whole = open_history(office).scan().collect()
    span = whole["at"][-1] - whole["at"][0]
    with SegmentWriter(directory, Files(), source="generated") as out:
        for copy in range(-(-events // whole.height)):
            of_copy = whole["at"] + copy * span, whole["key"] + f"#{copy}", whole["object"] + copy
            out.add_frame(whole.with_columns(*of_copy))
    return out.events


def offices(trace: Trace, count: int) -> Trace:
    """``count`` copies of an office with mails of their own, at the same time."""
    events, objects = len(trace), len(trace.objects)
    number = array("I", bytes(4 * events * count))
    for copy in range(count):
        number[copy::count] = array("I", (copy * objects + one for one in trace.object))
    return Trace(
        array("d", (at for at in trace.at for _ in range(count))),
        _each(trace.op, count),
        _each(trace.flags, count),
        number,
        array("q", (size for size in trace.size for _ in range(count))),
        array("q", (sent for sent in trace.sent for _ in range(count))),
        Objects(*(column * count for column in _columns(trace.objects))),
    )


def _each(column: bytes, count: int) -> bytes:
    made = bytearray(len(column) * count)
    for copy in range(count):
        made[copy::count] = column
    return bytes(made)


def _columns(objects: Objects) -> tuple[list[str], ...]:
    return objects.buckets, objects.keys, objects.owners, objects.folders


def stored(requests: Requests) -> int:
    """Bytes of all objects."""
    return sum(dict(zip(requests.numbers, requests.sizes, strict=True)).values())


# ---------------------------------------------------------------- roles: a process each


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    found = work()
    return time.perf_counter() - begin, found


def peak() -> float:
    """MiB this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def play_policy(directory: Path, name: str) -> Answer:
    """One policy at each disk size."""
    requests = requests_of(load([directory]))
    whole = stored(requests)
    rows = [play_size(requests, name, int(whole * share)) for share in SHARES]
    return {"rows": rows, "events": len(requests), "peak": peak()}


def play_size(requests: Requests, name: str, budget: int) -> tuple[float, list[float]]:
    """Events a CPU second and hit ratios; of the optimum both bounds. The fastest of three rounds of a policy counts:
    the others were disturbed."""
    if name == BELADY:
        begin = time.process_time()
        found = optimum(requests, budget)
        speed = len(requests) / (time.process_time() - begin)
        return speed, [found.least.hit_ratio, found.most.hit_ratio]
    speeds = []
    for _ in range(3):
        policy = POLICIES[name](budget, requests.objects)
        begin = time.process_time()
        tally = replay(policy, requests)
        speeds.append(len(requests) / (time.process_time() - begin))
    return max(speeds), [tally.hit_ratio]


def play_curve(directory: Path, events: int) -> Answer:
    """Seconds of each part, and the difference to LRU replays."""
    trace = load([directory])
    trace = offices(trace, -(-events // len(trace)))
    begin = time.process_time()
    choosing, requests = timed(lambda: primed(trace, machine=True))
    making, found = timed(lambda: curve(requests))
    cpu = time.process_time() - begin
    memory = peak()
    whole, rows = stored(requests), []
    for share in SHARES:
        tally = replay(Lru(int(whole * share), requests.objects), requests)
        hits, hit_bytes = found.hit_ratio(whole * share), found.byte_hit_ratio(whole * share)
        rows.append(
            [share, tally.hit_ratio, hits - tally.hit_ratio, tally.byte_hit_ratio, hit_bytes - tally.byte_hit_ratio]
        )
    facts = {"events": len(requests), "objects": requests.objects, "sampled": found.sampled, "peak": memory}
    return facts | {"choosing": choosing, "making": making, "cpu": cpu, "rows": rows}


def play_offices(directory: Path, events: int) -> Answer:
    """History for ``play_load``, whose memory shall not be that of making it."""
    return {"events": write_offices(directory, directory.parent / OFFICES, events)}


def play_load(directory: Path, _: int) -> Answer:
    """Reading history into memory."""
    begin = time.process_time()
    seconds, trace = timed(lambda: load(open_history(directory.parent / OFFICES)))
    cpu = time.process_time() - begin
    return {"events": len(trace), "objects": len(trace.objects), "seconds": seconds, "cpu": cpu, "peak": peak()}


def play_rules(directory: Path, _: int) -> Answer:
    """The example rules at each disk size."""
    trace = load([directory])
    whole = stored(requests_of(trace, machine=True))
    return replays(trace, [example(int(whole * share)) for share in SHARES])


def play_full(directory: Path, _: int) -> Answer:
    """What is kept never goes, and there is more of it than the disk can hold: each write asks for space in vain."""
    trace = load([directory])
    rules = example(int(stored(requests_of(trace, machine=True)) * FULL))
    return replays(trace, [replace(rules, pressure=replace(rules.pressure, kept=Kept.NEVER))])


def example(budget: int) -> RuleSet:
    """The example rules for keys as they are generated, on a disk of ``budget`` bytes."""
    rules = parse(RULES.read_text().replace('key = "mail/*"', 'key = "*"'))
    return replace(rules, budget=replace(rules.budget, max_bytes=Size(budget)))


def replays(trace: Trace, files: list[RuleSet]) -> Answer:
    """Events a CPU second, hit ratio, and runs that did not find enough space, of each rule file."""
    rows = []
    for rules in files:
        begin = time.process_time()
        found = simulate(trace, rules)
        speed = len(trace) / (time.process_time() - begin)
        rows.append([speed, found.people.hit_ratio, found.pressure_runs, found.short])
    return {"rows": rows, "events": len(trace), "peak": peak()}


# ---------------------------------------------------------------- the run


class Bench:
    """Tables to print, and goals."""

    def __init__(self, options: argparse.Namespace, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.history = directory / "history"
        self.tables: list[str] = []
        self.goals: list[Goal] = []

    def add(self, title: str, table: str) -> None:
        self.tables.append(f"### {title}\n\n{table}")
        print(f"\n{title}\n\n{table}", flush=True)

    def child(self, role: str) -> Answer:
        """This script in another role. Raises CalledProcessError."""
        arguments = [
            sys.executable,
            __file__,
            "--role",
            role,
            "--dir",
            str(self.history),
            "--events",
            str(self.options.events),
        ]
        done = subprocess.run(arguments, stdout=subprocess.PIPE, check=True, timeout=LONGEST)
        answer: Answer = json.loads(done.stdout)
        return answer

    def text(self) -> str:
        facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(self.directory))
        goals = report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in self.goals])
        return "\n\n".join([facts, *self.tables, f"### Goals\n\n{goals}"])


def measure_policies(bench: Bench) -> None:
    head = [
        "",
        *(f"disk {share:.1%}: events/CPU s" for share in SHARES),
        *(f"hits {share:.1%}" for share in SHARES),
        "peak MiB",
    ]
    lines, events = [], 0
    for name in bench.options.policy or (*POLICIES, BELADY):
        found = bench.child(name)
        events = found["events"]
        speeds = [f"{rate:,.0f}" for rate, _ in found["rows"]]
        ratios = [" to ".join(f"{ratio:.3f}" for ratio in one) for _, one in found["rows"]]
        lines.append([name, *speeds, *ratios, f"{found['peak']:.0f}"])
        if name in {"lru", "sieve"}:
            slowest = min(rate for rate, _ in found["rows"])
            bench.goals.append(Goal(f"{name}, the slowest disk size: million events/CPU s", slowest / 1e6, 1))
    title = f"policies: {events:,} reads, writes and deletes; disk as a share of all bytes"
    bench.add(title, report.table(head, lines))


def measure_rules(bench: Bench) -> None:
    found = bench.child("rules")
    full = bench.child("full")
    names = [*(f"disk {share:.1%}" for share in SHARES), f"disk {FULL:.1%}, kept = never"]
    rows = [(*row, found["peak"]) for row in found["rows"]] + [(*row, full["peak"]) for row in full["rows"]]
    lines = [
        [name, f"{speed:,.0f}", f"{hits:.3f}", f"{runs:,}", f"{short:,}", f"{memory:.0f}"]
        for name, (speed, hits, runs, short, memory) in zip(names, rows, strict=True)
    ]
    head = ("", "events/CPU s", "hits", "pressure runs", "of them short", "peak MiB")
    bench.add(f"example rules: {found['events']:,} events; disk as a share of all bytes", report.table(head, lines))
    slowest = min(row[0] for row in found["rows"])
    bench.goals.append(Goal("example rules, the slowest disk size: million events/CPU s", slowest / 1e6, 0.2))
    never = full["rows"][0][0]
    bench.goals.append(Goal("a full disk of which nothing may go: million events/CPU s", never / 1e6, 0.2))


def measure_curve(bench: Bench) -> None:
    found = bench.child("curve")
    seconds = found["choosing"] + found["making"]
    parts = [
        ["requests of the trace, and what was there before", f"{found['choosing']:.1f}"],
        [f"curve, {found['sampled']:,} events followed", f"{found['making']:.1f}"],
        ["both", f"{seconds:.1f}"],
        ["CPU seconds of both", f"{found['cpu']:.1f}"],
    ]
    title = (
        f"miss-ratio curve of {found['events']:,} events, {found['objects']:,} objects; peak {found['peak']:.0f} MiB"
    )
    bench.add(title, report.table(("part", "seconds"), parts))
    head = ("disk", "hit ratio of LRU", "curve", "byte-hit ratio of LRU", "curve")
    lines = [[f"{share:.1%}", f"{a:.4f}", f"{b:+.4f}", f"{c:.4f}", f"{d:+.4f}"] for share, a, b, c, d in found["rows"]]
    bench.add("the curve beside LRU over all events", report.table(head, lines))
    bench.goals.append(Goal(f"curve of {found['events'] / 1e6:.1f} million events: seconds", seconds, 30, least=False))
    worst = max(abs(row[2]) for row in found["rows"])
    bench.goals.append(Goal("curve beside LRU: largest difference of hit ratio, percent", worst * 100, 2, least=False))


def measure_load(bench: Bench) -> None:
    bench.child(OFFICES)
    found = bench.child("load")
    line = [f"{found['events']:,}", f"{found['objects']:,}", f"{found['seconds']:.1f}", f"{found['cpu']:.1f}"]
    line += [f"{found['events'] / found['seconds']:,.0f}", f"{found['peak']:.0f}"]
    head = ("events", "objects", "seconds", "CPU seconds", "events/s", "peak MiB")
    bench.add("history into memory", report.table(head, [line]))


MEASURED: dict[str, Callable[[Bench], None]] = {
    "load": measure_load,
    "policies": measure_policies,
    "rules": measure_rules,
    "curve": measure_curve,
}
"""What ``--only`` names, in this order. A part has a function of its own, and a role for each process it needs."""

ROLES: dict[str, Callable[[Path, int], Answer]] = {
    OFFICES: play_offices,
    "load": play_load,
    "rules": play_rules,
    "full": play_full,
    "curve": play_curve,
}


def play(options: argparse.Namespace) -> int:
    role, directory = options.role, Path(options.dir)
    answer = ROLES[role](directory, options.events) if role in ROLES else play_policy(directory, role)
    print(json.dumps(answer))
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owners", type=int, default=300, help="mailboxes of an office (default: %(default)s)")
    parser.add_argument("--days", type=int, default=60, help="of traffic (default: %(default)s)")
    parser.add_argument(
        "--events", type=int, default=EVENTS, help="of the load and the curve, at least (default: %(default)s)"
    )
    parser.add_argument("--only", choices=tuple(MEASURED), action="append", help="repeat for several; default: all")
    parser.add_argument(
        "--policy", choices=(*POLICIES, BELADY), action="append", help="of policies these; default: all"
    )
    parser.add_argument("--write", action="store_true", help="record the results in docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work (default: a temporary directory)")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.role:
        return play(options)
    with TemporaryDirectory(dir=options.dir) as name:
        bench = Bench(options, Path(name))
        seconds, events = timed(lambda: write(bench.history, options.owners, options.days))
        print(f"{events:,} events of one office generated in {seconds:.0f} s", flush=True)
        for part in options.only or MEASURED:
            MEASURED[part](bench)
        text = bench.text()
    report.conclude("simulate", text, bench.goals, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
