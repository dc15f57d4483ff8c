#!/usr/bin/env python3
"""The power fails at every operation of everything a node writes, and the disk forgets what was not fsynced.

A file system of our own (``tierproxy.testing.forgetful_fs``, on FUSE) knows what is durable and what is not: of files,
of directories, and of the catalogue, which is SQLite with a log. A node writes to it: PUT in all its ways, overwrites,
fills, purges, deletes, uploads, copies, renames, multipart uploads, history, the migration of an older catalogue, start
and stop. After each operation the power is cut in several ways (all that is not durable dropped; pieces of 512 bytes or
4 KiB of it kept by chance, later ones without earlier ones; all of it up to some point), and a node starts on what is
left. It must open; every acknowledged write must be there and right, at once, in alt, and after a purge; every
acknowledged delete gone from both; nothing staged or half there; sums exact; uploads go on; ``check`` finds nothing.

  --all       every boundary: everything dropped, and another kind of cut a --seeds (otherwise --rounds a story)
  --without   leave fsyncs out, to see what is lost then: fsync, fsync_dir, catalogue-off, catalogue-normal
  --live N    instead N rounds of a real ``tierproxy serve`` and a real SeaweedFS: clients write, the machine stops
              in the middle of an operation, the node is killed, the cut is made in place, and the node starts again

Wants root and /dev/fuse. Exit 0 only if nothing was lost, resurrected, wrong, unopenable or half there.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import report
from ledger import GONE, Ledger
from outage import Outage, State
from outage import Tally as Seen
from served import Failed, config_for, seaweed, served, workplace

from tierproxy.config.sections import NodeSection, QueueSection
from tierproxy.config.values import Duration
from tierproxy.testing.forgetful_disk import DROPPED, cuts_of
from tierproxy.testing.forgetful_fs import Forgetful, forgetful
from tierproxy.testing.power_cuts import Kind, Tally, Without, catalogue_at, record, sweep
from tierproxy.testing.power_stories import STORIES

PAGE = report.PAGE.with_name("reliability.md")
MEMORY = "/dev/shm"  #: what is left is written there: an fsync of the node that is judged costs nothing
WITHOUT = {"fsync": "fsync of files", "fsync_dir": "fsync of directories", "catalogue-off": "fsync of the catalogue",
           "catalogue-normal": "fsync of the catalogue's log at each commit"}  # fmt: skip
HEAD = ["what the node does", "boundaries", "rounds", "states", *Kind]
OPERATIONS = 2000  #: of the disk, at most, until the machine of a live round stops


def recorded(options: argparse.Namespace, without: str = "") -> dict[str, Tally]:
    """Every story's rounds, some stories at once."""
    titles = options.story or list(STORIES)
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as processes:
        tallies = {}
        for title, tally in zip(titles, processes.map(told, titles, repeat(options), repeat(without)), strict=True):
            tallies[title], wrong = tally, sum(tally.counts.values())
            print(f"{title}: {tally.boundaries} boundaries, {tally.rounds} rounds, {wrong} wrong", file=sys.stderr)
            print("\n".join(tally.examples[:3]), file=sys.stderr, end="\n" if wrong else "")
        return tallies


def told(title: str, options: argparse.Namespace, without: str) -> Tally:
    """One story's rounds, on a disk of its own."""
    logging.disable(logging.CRITICAL)  # nodes that wonder what happened
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="tierproxy-power-", dir=options.dir)))
        room = Path(stack.enter_context(TemporaryDirectory(prefix="tierproxy-power-", dir=MEMORY)))
        disk = stack.enter_context(forgetful(directory))
        return asyncio.run(swept(title, options, without, disk, room))


async def swept(title: str, options: argparse.Namespace, without: str, disk: Forgetful, room: Path) -> Tally:
    with ExitStack() as stack:
        if without.startswith("catalogue"):
            stack.enter_context(catalogue_at(without.partition("-")[2].upper()))
        recording = await record(STORIES[title], disk, Without(without) if without.startswith("fsync") else None)
    if without or not options.all:
        return await sweep(recording, recording.sample(options.rounds, options.seed), room)
    seeds = range(options.seed, options.seed + options.seeds)
    return await sweep(recording, dict.fromkeys(one for seed in seeds for one in recording.every_round(seed)), room)


def rows(tallies: dict[str, Tally]) -> str:
    """A line for each story, and their sum."""
    lines = [line(title, [tally]) for title, tally in tallies.items()]
    return report.table(HEAD, [*lines, line("**all**", tallies.values())])


def line(what: str, tallies: Iterable[Tally]) -> list[str]:
    """Sums."""
    every = list(tallies)
    kinds = [sum(one.counts[kind] for one in every) for kind in Kind]
    sums = [sum(one.boundaries for one in every), sum(one.rounds for one in every), sum(one.states for one in every)]
    return [what, *(str(number) for number in (*sums, *kinds))]


def examples(tallies: dict[str, Tally], most: int = 3) -> str:
    """The first few of each story."""
    return "\n".join(f"{title}: {text}" for title, one in tallies.items() for text in one.examples[:most])


# ------------------------------------------------------------------------------ real programs


class Live(Outage):
    """Rounds in which the machine of a real node stops; alt goes on."""

    def with_disk(self, disk: Forgetful, seed: int) -> Live:
        self._disk = disk
        self._chance = random.Random(seed)
        self._number = 0
        self._ghosts: dict[str, set[str]] = {}
        return self

    def round(self) -> Seen:
        seen = Seen()
        self._number += 1
        self._work_until_it_stops(seen)
        self._compare("after the power cut", seen, self._through_proxy())
        self._drain(seen)
        self._compare("in SeaweedFS", seen, self._in_alt())
        self._purge(seen)
        self._compare("after a purge", seen, self._through_proxy())
        self._settle(seen)
        return seen

    def _settle(self, seen: Seen) -> None:
        """A new mail that nobody was told of may be in alt and have no row: the next write of its key replaces it."""
        for key, allowed in self._ledger.allowed.items():
            if len(allowed) > 1 and self._last[key] == GONE:
                self._ghosts.setdefault(key, set()).update(allowed)
        super()._settle(seen)

    def _in_alt(self) -> dict[str, str]:
        found = super()._in_alt()
        return {key: GONE if digest in self._ghosts.get(key, ()) else digest for key, digest in found.items()}

    def _work_until_it_stops(self, seen: Seen) -> None:
        state, cut = State(), self._chance.choice([DROPPED, *cuts_of(self._number)])
        self._disk.stop(self._disk.count() + self._chance.randrange(1, OPERATIONS))
        with ThreadPoolExecutor(len(self._writers)) as threads:
            running = [threads.submit(writer.work, self._proxy, seen, state) for writer in self._writers]
            try:
                self._disk.stopped()
            finally:
                state.proxy_killed.set()
                state.stop.set()
                os.kill(self._proxy.pid, signal.SIGKILL)  # it waits for the disk, and dies when that answers
                self._disk.fail(cut)
                self._proxy.kill()
            for one in running:
                one.result()
        seen.counts[f"cuts: {str(cut).partition(', seed')[0]}"] += 1
        self._proxy.start()


def live(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The table of all rounds, and what was wrong."""
    with ExitStack() as stack:
        directory = stack.enter_context(workplace(options.dir, 2**30))
        alt = stack.enter_context(seaweed(directory))
        disk = stack.enter_context(forgetful(directory))
        config = config_for(
            directory, alt.section(max_retries=0), queue=QueueSection(max_backoff=Duration(2)),
            node=NodeSection(data_dir=str(disk.point / "data")),
        )  # fmt: skip
        ledger = stack.enter_context(closing(Ledger(directory / "ledger.jsonl")))
        proxy = stack.enter_context(served(directory, config))
        outage = Live(options, alt, proxy, ledger).with_disk(disk, options.seed)
        seen = Seen()
        for number in range(options.live):
            one = outage.round()
            seen.counts.update(one.counts)
            seen.wrong += one.wrong
            print(f"live round {number + 1} of {options.live}: {len(one.wrong)} wrong", file=sys.stderr)
        seen.counts.update({f"acknowledged: {kind}": count for kind, count in ledger.counts.items()})
        names = sorted(seen.counts)
        table = report.table(["live rounds", str(options.live)], [[name, str(seen.counts[name])] for name in names])
        return table, seen.wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every boundary of every story")
    parser.add_argument("--rounds", type=int, default=20, help="of each story, without --all (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="with --all: other cuts at each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the choices (default: %(default)s)")
    parser.add_argument("--story", action="append", choices=list(STORIES), help="only this one; may be repeated")
    parser.add_argument("--without", action="append", choices=list(WITHOUT), default=[], help="leave fsyncs out")
    parser.add_argument("--live", type=int, default=0, help="rounds with real programs, and no stories")
    parser.add_argument("--clients", type=int, default=4, help="in live rounds (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="stories at once (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/reliability.md")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    try:
        section = "live" if options.live else "stories"
        text, bad = live(options) if options.live else stories(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    print(text)
    if options.write:
        keep(section, text)
    print("\n".join(bad[:20]) or "OK: nothing was lost, resurrected, wrong, unopenable or half there")
    return 1 if bad else 0


def keep(section: str, text: str) -> None:
    """Into docs/reliability.md, with the command."""
    words = " ".join(word for word in sys.argv[1:] if word != "--write")
    page = report._with(PAGE.read_text(), f"power-cuts-{section}", f"`loadtests/power_cut.py {words}`:\n\n{text}")
    PAGE.write_text(page)


def stories(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The tables, and what is wrong: with fsyncs left out something must be, and that is none."""
    tallies = recorded(options)
    bad, red = examples(tallies).splitlines(), []
    for without in options.without:
        found = recorded(options, without).values()
        red.append(line(f"all, without {WITHOUT[without]}", found))
        if not any(sum(one.counts.values()) for one in found):
            bad.append(f"without {WITHOUT[without]} nobody noticed anything")
    return "\n\n".join([rows(tallies), *([report.table(HEAD, red)] if red else [])]), bad


if __name__ == "__main__":
    sys.exit(main())
