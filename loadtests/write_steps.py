#!/usr/bin/env python3
"""Where the processor time of a write goes: loop, files, catalogue; and how often files are called and rows committed.

A node in this process with an S3 server in memory and the uploads held back writes 16 KiB mails, for each number of
clients. Microseconds of processor time a write:

  loop       the event loop's thread: everything that is no file and no SQL
  files      calls that change a file or a directory, in the disk tier's threads, by kind
  threads    what these threads take beside: digests of large bodies, waiting for one another, rows they commit
  catalogue  the catalogue's thread: rows committed for many at once

Processor time, because it can be compared on a busy machine; what a write waits for is measured by bench_store.py.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import report
import uvloop
from served import Failed, workplace

from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import SqliteCatalogue
from tierproxy.clock import SystemClock
from tierproxy.disk.fsio import Files
from tierproxy.model import Ack, Headers, ObjectName
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Write
from tierproxy.store.tiered import TieredStore
from tierproxy.testing.rig import BUCKET, stopped_node

T = TypeVar("T")

CONTENT = random.Random(1).randbytes(16 * 1024)
HEADERS = Headers(content_type="message/rfc822")
KINDS = ("create", "write_at", "rename", "fsync", "fsync_dir")
AT_ONCE = (1, 16, 64)
HEAD = ("clients", "loop", "files", *KINDS, "threads", "catalogue", "all", "commits a write", "calls a write")


class CountedFiles(Files):
    """Processor seconds and calls by kind."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self._mutex = threading.Lock()

    def call(self, kind: str, function: Callable[..., T], *args: object) -> T:
        begin = time.thread_time()
        try:
            return super().call(kind, function, *args)
        finally:
            with self._mutex:
                self.seconds[kind] = self.seconds.get(kind, 0.0) + time.thread_time() - begin
                self.calls[kind] += 1


def spent() -> dict[str, float]:
    """Processor seconds of the threads that live, by whose they are."""
    found = dict.fromkeys(("loop", "disk", "catalogue", "others"), 0.0)
    for thread in threading.enumerate():
        line = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
        found[_owner(thread.name)] += int(line.split()[0]) / 1e9
    return found


def _owner(name: str) -> str:
    if name == "tierproxy-catalogue":
        return "catalogue"
    return "disk" if name.startswith("tierproxy-blobs") else "loop" if name == "MainThread" else "others"


async def body() -> AsyncIterator[bytes]:
    yield CONTENT


async def write_all(store: TieredStore, first: int, writes: int, at_once: int, ack: Ack) -> None:
    numbers = iter(range(first, first + writes))

    async def client() -> None:
        for number in numbers:
            name = ObjectName(BUCKET, f"users/{number % 97}/mail/{number:08d}")
            await store.write(Write(name, HEADERS, len(CONTENT), body(), Md5Check(len(CONTENT)), ack=ack))

    await asyncio.gather(*(client() for _ in range(at_once)))


async def measure(root: Path, at_once: int, writes: int, ack: Ack) -> list[str]:
    """One line of the table."""
    files = CountedFiles()
    node = stopped_node(root, MemoryAlt(), SystemClock(), files)
    await node.start()
    try:
        await node.quiet()
        await write_all(node.store, 0, max(10, writes // 10), at_once, ack)  # threads and directories are there
        calls, seconds = files.calls.total(), dict(files.seconds)
        catalogue = cast(SqliteCatalogue, node.parts.catalogue)
        threads, commits = spent(), catalogue.commits
        await write_all(node.store, writes, writes, at_once, ack)
        threads, commits = since(threads, spent()), catalogue.commits - commits
        calls, seconds = files.calls.total() - calls, since(seconds, files.seconds)
    finally:
        await node.stop(10)
    return line(at_once, writes, threads, seconds, commits, calls)


def since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in now.items()}


def line(
    at_once: int, writes: int, threads: Mapping[str, float], seconds: Mapping[str, float], commits: int, calls: int
) -> list[str]:  # fmt: skip
    files = sum(seconds.values())
    times = [
        threads["loop"], files, *(seconds[kind] for kind in KINDS), threads["disk"] - files,
        threads["catalogue"], threads["loop"] + threads["disk"] + threads["catalogue"],
    ]  # fmt: skip
    microseconds = [f"{second / writes * 1e6:.0f}" for second in times]
    return [str(at_once), *microseconds, f"{commits / writes:.2f}", f"{calls / writes:.1f}"]


async def run(options: argparse.Namespace, directory: Path) -> list[list[str]]:
    return [
        await measure(directory / f"{at_once}-at-once", at_once, options.writes, Ack(options.ack))
        for at_once in options.at_once
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=2000, help="for each number of clients (default: %(default)s)")
    parser.add_argument("--at-once", type=int, nargs="+", default=AT_ONCE, help="clients (default: 1 16 64)")
    parser.add_argument("--ack", choices=("disk", "both"), default="disk", help="default: %(default)s")
    parser.add_argument("--dir", help="where to work; the numbers are about this file system")
    options = parser.parse_args()
    try:
        with workplace(options.dir, 2**30) as directory:
            print(report.table(HEAD, uvloop.run(run(options, directory))))
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
