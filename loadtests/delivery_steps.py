#!/usr/bin/env python3
"""Where the time of one delivery by LMTP goes: what the kernel asks the mount, what the mount asks the node, what the
node does meanwhile, and the rest, which is Dovecot's own and the kernel's.

A stock Dovecot, a mount and a node as in bench_dovecot.py, ext4 beside them, letters in turns. The mount and the node
note the time at their stations (mounts/marked.py; one clock for all). Milliseconds of one delivery, as means of those
in the middle half; needs root, /dev/fuse and the packages of tests/install-debian-packages.sh.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import report
from bench_dovecot import letters
from mounts.contenders import AckBoth, AckDisk, Contender
from served import Failed, workplace

from tierproxy.embedded import EmbeddedS3
from tierproxy.fuse.protocol import Opcode
from tierproxy.testing.children import Node
from tierproxy.testing.imap import Letter

ROOM = 2 * 2**30
MARKED = Path(__file__).parent / "mounts" / "marked.py"
UNHEARD = {Opcode.RELEASE, Opcode.RELEASEDIR, Opcode.FORGET, Opcode.BATCH_FORGET}
"""Nobody waits for their answers."""


class MarkedNode(Node):
    """With a clock at its stations."""

    def command(self) -> Sequence[str]:
        words = list(super().command())
        return [words[0], str(MARKED), "node", str(self.directory / "marks"), *words[3:]]


def marked(kind: type[AckDisk | AckBoth], home: Path, seaweed: EmbeddedS3) -> AckDisk | AckBoth:
    """The contender, whose mount and node note times."""

    class Marked(kind):  # type: ignore[valid-type, misc]
        node_kind = MarkedNode

        def mounting(self, url: str, *options: str) -> list[str]:
            words = super().mounting(url, *options)
            return [words[0], str(MARKED), "mount", str(self.home / "marks"), *words[3:]]

    return Marked(home, seaweed, ["u1"])


# ---------------------------------------------------------------- what was seen


@dataclass
class Seen:
    """Of one delivery, in milliseconds. ``requests``: of the kernel, those somebody waits for."""

    whole: float
    requests: Counter[str] = field(default_factory=Counter)
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: Counter[str] = field(default_factory=Counter)


class Marks:
    """Of one process, by time."""

    def __init__(self, path: Path) -> None:
        self._all = sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda one: one[0])
        self._times = [one[0] for one in self._all]

    def between(self, begin: int, end: int) -> list[list[Any]]:
        return self._all[bisect_left(self._times, begin) : bisect_left(self._times, end)]


def seen(window: tuple[int, int], mount: Marks | None, node: Marks | None) -> Seen:
    found = Seen((window[1] - window[0]) / 1e6)
    if mount is not None and node is not None:
        _mount(found, mount.between(*window))
        _node(found, node.between(*window))
        found.spent["Dovecot, kernel, waking"] = found.whole - found.spent["mount, all"]
    return found


def _mount(found: Seen, marks: list[list[Any]]) -> None:
    """The kernel's requests, and of those that ask the node the time until it answers."""
    running: dict[int, tuple[int, int]] = {}
    sent = 0
    for at, _, station, name in marks:
        if station == "asked":
            opcode, unique = name
            running[unique] = (opcode, at)
            heard = "" if opcode in UNHEARD else ", waited for"
            found.requests[Opcode(opcode).name.lower() if opcode in set(Opcode) else str(opcode)] += 1
            found.calls[f"requests of the kernel{heard}"] += 1
        elif station == "answered" and name in running:
            opcode, since = running.pop(name)
            if opcode not in UNHEARD:
                found.spent["mount, all"] += (at - since) / 1e6
                found.spent[f"  {Opcode(opcode).name.lower()}"] += (at - since) / 1e6
        elif station == "sent":
            sent = at
            found.calls["requests to the node"] += 1
        elif station == "heard" and sent:
            found.spent["node, seen from the mount"] += (at - sent) / 1e6
            sent = 0


def _node(found: Seen, marks: list[list[Any]]) -> None:
    """What the node does, from the bytes that come to the answer."""
    begun: dict[tuple[int, str], tuple[int, Any]] = {}
    came = 0
    for at, thread, station, name in marks:
        if station == "came":
            came = came or at
        elif station == "answered":
            if came:
                found.spent["node, from the first byte to the answer"] += (at - came) / 1e6
            came = 0
        elif station.endswith(" >"):
            begun[thread, station[:-2]] = (at, name)
        elif (since := begun.pop((thread, station[:-2]), None)) is not None:
            what = f"file: {since[1]}" if since[1] else station[:-2]
            found.spent[f"  node: {what}"] += (at - since[0]) / 1e6
            found.calls[f"node: {what}"] += 1


# ---------------------------------------------------------------- tables


def middle(found: list[Seen]) -> list[Seen]:
    """The half whose times are in the middle."""
    ordered = sorted(found, key=lambda one: one.whole)
    return ordered[len(ordered) // 4 : max(len(ordered) * 3 // 4, 1)]


def table(names: Sequence[str], columns: Sequence[list[Seen]]) -> str:
    kept = [middle(one) for one in columns]
    parts = _ordered(name for one in kept for each in one for name in each.spent)
    rows = [["median of the whole", *(f"{statistics.median(one.whole for one in each):.2f}" for each in columns)]]
    rows += [[part, *(_mean([one.spent.get(part, 0.0) for one in each]) for each in kept)] for part in parts]
    return report.table(["ms of one delivery", *names], rows)


def counts(names: Sequence[str], columns: Sequence[list[Seen]]) -> str:
    kept = [middle(one) for one in columns]
    parts = _ordered(name for one in kept for each in one for name in each.calls)
    asked = _ordered(name for one in kept for each in one for name in each.requests)
    rows = [[part, *(_mean([one.calls[part] for one in each], 1) for each in kept)] for part in parts]
    rows += [[f"kernel: {part}", *(_mean([one.requests[part] for one in each], 1) for each in kept)] for part in asked]
    return report.table(["times in one delivery", *names], rows)


def _ordered(names: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _mean(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.fmean(values):.{digits}f}" if any(values) else "-"


# ---------------------------------------------------------------- the run


class Lane:
    """One contender, with its windows and the processor time of its two processes."""

    def __init__(self, contender: Contender, drawn: Sequence[Letter]) -> None:
        self.contender = contender
        self.windows: list[tuple[int, int]] = []
        self.cpu: dict[str, float] = defaultdict(float)
        self._letters = iter(drawn)

    def round(self, size: int) -> None:
        self.contender.settle()
        with self.contender.lmtp() as post:
            post.deliver("u1", next(self._letters))
            before = self._processors()
            for one in islice(self._letters, size):
                begin = time.monotonic_ns()
                post.deliver("u1", one)
                self.windows.append((begin, time.monotonic_ns()))
            for name, value in self._processors().items():
                self.cpu[name] += value - before[name]

    def _processors(self) -> dict[str, float]:
        if not isinstance(self.contender, AckDisk | AckBoth):
            return {}
        pids = {"mount": self.contender.mounted.pid, "node": self.contender.node.pid}
        return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in pids.items()}

    def seen(self) -> list[Seen]:
        """After its processes have ended."""
        home = self.contender.home
        if not isinstance(self.contender, AckDisk | AckBoth):
            return [seen(window, None, None) for window in self.windows]
        mount, node = Marks(home / "marks"), Marks(home / "node" / "marks")
        return [seen(window, mount, node) for window in self.windows]


def run(options: argparse.Namespace, directory: Path, seaweed: EmbeddedS3) -> list[Lane]:
    drawn = list(islice(letters(11), options.rounds * (options.size + 1)))
    home = directory / "steps"
    made = [Contender(home, seaweed, ["u1"]), *(marked(kind, home, seaweed) for kind in (AckDisk, AckBoth))]
    with ExitStack() as stack:
        lanes = []
        for contender in made:
            stack.enter_context(contender.running())
            lanes.append(Lane(contender, drawn))
        for number in range(options.rounds):
            for lane in lanes if number % 2 == 0 else reversed(lanes):
                lane.round(options.size)
    return lanes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--size", type=int, default=16, help="letters in a round (default: %(default)s)")
    parser.add_argument("--dir", help="where to work; paths of sockets must be short")
    options = parser.parse_args()
    try:
        with workplace(options.dir, ROOM) as directory:
            directory.chmod(0o755)
            with EmbeddedS3(directory / "alt") as seaweed:
                lanes = run(options, directory, seaweed)
                names, columns = [lane.contender.name for lane in lanes], [lane.seen() for lane in lanes]
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    print(f"{table(names, columns)}\n\n{counts(names, columns)}\n")
    for lane in lanes:
        for name, seconds in lane.cpu.items():
            print(f"{lane.contender.name}: {name} {seconds / len(lane.windows) * 1000:.2f} ms of processor time each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
