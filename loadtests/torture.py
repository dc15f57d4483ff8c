#!/usr/bin/env python3
"""Everything around the node breaks, again and again, for a set time. Nothing acknowledged may be lost or come back.

A real ``tierproxy serve`` on a small file system of its own, a real SeaweedFS, and between them a relay of TCP and one
of HTTP that fail on purpose. Clients put (ack both, disk and alt), overwrite, put under conditions, get, get ranges,
head, copy, delete, list and upload in parts, in three buckets. A ledger outside the node notes each operation before it
is sent and again when it is acknowledged; every line is fsynced. In each round the seed decides which faults meet: the
node is killed at a random time or kills itself at a named point, S3 is killed, frozen, restarted or takes no key any
more, the network is cut, slow, mute or half open, the disk is full, has no inodes or goes read-only, blobs are damaged
or deleted, the clock jumps, rules change, everything is purged. Then everything is healed, and when the queue is empty

  1. every key is compared, in the node, in SeaweedFS itself, on the disk, and in the node after a purge of it all;
  2. listings of the node and of SeaweedFS name what is there and nothing else;
  3. space accounting is exact, nothing is staged, no client's connection, no task, thread, descriptor or draft of a
     file is left, and the node stops in order;
  4. ``tierproxy check --alt`` finds nothing but what a kill explains, and nothing at all after its repair.

An operation that was never acknowledged may have happened or not; anything else is a failure, and so is an outage
during which nothing was pending: it proves nothing. Exit 0 only with four zeros: lost, resurrected, wrong bytes and
leaked.
After a failure everything is kept, and the history of each key that is wrong is printed. Filling and breaking the disk
needs root (for an ext4 on a loop device, or a tmpfs); without, these faults are left out.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
from served import Failed
from torturing.findings import Findings, remember, story, write
from torturing.plan import plans
from torturing.rounds import Rounds
from torturing.tally import Tally, Wrong
from torturing.world import World, world

from tierproxy.errors import TierproxyError
from tierproxy.testing.doomed import SetClock

RESULTS = Path("var/torture.jsonl")
SHOWN = 12  #: failings with their stories


def run(options: argparse.Namespace, directory: Path, findings: Findings) -> list[Tally]:
    """Rounds until the time is over, or one has failed."""
    tallies: list[Tally] = []
    begin = time.monotonic()
    with world(directory, options.seed) as scene:
        clock = SetClock(directory / "clock")
        scene.prepare()
        rounds = Rounds(scene, options.seed, options.clients, clock, large=options.large)
        for plan in plans(
            options.seed, small=scene.volume.small, breakable=scene.volume.breakable, workers=options.workers,
            always=[name for name in options.faults.split(",") if name],
        ):  # fmt: skip
            print(f"{time.monotonic() - begin:5.0f} s  {plan}", file=sys.stderr, flush=True)
            try:
                tallies.append(rounds.play(plan, options.round))
            except (Failed, TierproxyError) as error:
                tallies.append(rounds.tally)
                tallies[-1].fail(Wrong.BROKEN, f"{type(error).__name__}: {error}")
            findings.add(tallies[-1])
            findings.seconds = time.monotonic() - begin
            findings.missing = [f"{door}: {kind}" for door, kind in rounds.aims.missing]
            print(f"         {tallies[-1].line()}", file=sys.stderr, flush=True)
            if tallies[-1].failings:
                _keep(scene, tallies[-1])
            if tallies[-1].failings or _over(findings, options):
                return tallies
    return tallies


def _over(findings: Findings, options: argparse.Namespace) -> bool:
    enough: bool = options.rounds and findings.rounds >= options.rounds
    return enough or findings.seconds >= options.seconds


def _keep(scene: World, tally: Tally) -> None:
    """The data directory is on a file system that goes; and what its keys have been through is printed."""
    scene.node.kill()
    with suppress(OSError, shutil.Error):
        shutil.copytree(scene.volume.data, scene.directory / "kept-data", symlinks=True)
    print(f"\n{tally.plan}")
    for failing in tally.failings[:SHOWN]:
        print(story(failing, scene.ledger.history(failing.key) if failing.key else []))


def leftovers(before: set[int]) -> list[str]:
    """Processes that this one has started and not ended."""
    children = psutil.Process().children(recursive=True)
    return [f"{child.pid} {' '.join(child.cmdline())[:100]}" for child in children if child.pid not in before]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=300.0, help="no round begins after this (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="decides who does what to whom (default: %(default)s)")
    parser.add_argument("--round", type=float, default=6.0, help="seconds of load in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=0, help="no more than so many; 0: as many as there is time for")
    parser.add_argument("--clients", type=int, default=6, help="connections at once (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="hit workers in every round (default: sometimes two)")
    parser.add_argument("--large", action="store_true", help="many objects of megabytes, whole and in parts")
    parser.add_argument("--faults", default="", help="these meet in every round, and no others: NAME,NAME")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    parser.add_argument("--record", action="store_true", help=f"add the result to {RESULTS}")
    parser.add_argument("--write", action="store_true", help="put all results recorded there into docs/reliability.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # mounts, loop devices and servers end with it
    directory = Path(tempfile.mkdtemp(prefix="tierproxy-torture-", dir=options.dir))
    chosen = [f"--workers {options.workers}"] if options.workers is not None else []
    chosen += ["--large"] if options.large else []
    chosen += [f'--faults "{options.faults}"'] if options.faults else []
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    findings = Findings(options.seed, date=today, options=" ".join(chosen))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    run(options, directory, findings)
    for text in leftovers(before):
        findings.wrong[Wrong.LEAKED] += 1
        print(f"LEAKED: process {text}")
    if findings.sound:
        shutil.rmtree(directory)
    else:
        print(f"\nkept: {directory} (ledger.jsonl, tierproxy*.log, alt, kept-data)")
    if options.record:
        remember(findings, RESULTS)
    if options.write:
        write(RESULTS, "loadtests/torture.py --seconds N --seed N --record --write")
    print(f"\n{findings.tables()}\n\n{findings.summary()}")
    return 0 if findings.sound else 1


if __name__ == "__main__":
    sys.exit(main())
