#!/usr/bin/env python3
"""Measures plans over a large catalogue (1,000,000 mails unless --entries says otherwise), by config/rules.toml.

  dry run   in a process of its own: seconds, and the most memory it had
  pages     1,000 candidates of a rule run and of each order of pressure
  counts    flushes of reads of 1,000, 10,000 and 40,000 mails: seconds, and how long a PUT may have waited
  reads     hits from memory and from disk over HTTP, at rest and while dry runs go on one after the other: in the node
            (a thread at low priority) and in another process (as the command line does it); and how long one takes then

Reads are measured twice. A client that sends as fast as it can (wrk, or one of our own) keeps both cores of a small
machine busy: what a dry run takes there is taken from somebody. A client that sends half of that at a steady rate shows
what a machine with something left has to give. Rounds are taken in turns; medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import report
import uvloop
from bench_hits import OBJECTS, fill, gets
from bench_store import Goal
from crowded import crowd
from keepalive import KeepAlive, exchange, has_wrk, wrk
from measuring import HEAD, Contender, Sample, compare, rows
from plan_roles import PAGE, play
from served import ENVIRONMENT, Failed, Served, config_for, seaweed, workplace

from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, DiskSection, MemorySection, ScrubSection
from tierproxy.config.values import Share, Size
from tierproxy.embedded import EmbeddedS3

CONNECTIONS = 32
PACED = 16  #: connections of the steady client
LONGEST = 600.0  #: seconds a child has for anything


# ---------------------------------------------------------------- reads beside


class Child:
    """This script in another role."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, *arguments: str | Path) -> Child:
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                *map(str, arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
            )
        )

    async def say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    async def answer(self) -> dict[str, object]:
        """Its next line. Raises Failed when it has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LONGEST):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):
                    answer: dict[str, object] = json.loads(line)
                    return answer
        raise Failed(f"a child ended with {await self._process.wait()}")

    def resident(self) -> int:
        """Bytes of memory it has now (RSS)."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@dataclass
class Reading:
    """A node that serves hits, and ways to keep it company."""

    directory: Path
    data: Path
    node: Child
    requests: list[tuple[bytes, bytes]]
    address: tuple[str, int]
    seconds: float
    surveys: int = 0

    async def saturating(self) -> Sample:
        if has_wrk():
            heads = [request for request, _ in self.requests]
            return await wrk(self.directory, self.address, heads, CONNECTIONS, self.seconds)
        return await exchange(self.address, self.requests, CONNECTIONS, self.seconds, again=True)

    async def paced(self, rate: float) -> Sample:
        return await steady(self.address, self.requests, rate, self.seconds)

    @asynccontextmanager
    async def company(self, where: str) -> AsyncIterator[None]:
        """Dry runs ``in the node``, ``beside it`` or not at all, one after the other."""
        if where == "in the node":
            await self.node.say("plan")
            yield
            await self.node.say("rest")
            done = (await self.node.answer())["surveys"]
            assert isinstance(done, list)
            self.surveys += len(done)
        elif where == "beside it":
            child = await Child.start("--role", "survey", "--data", self.data, "--times", "100000")
            await child.answer()
            try:
                yield
            finally:
                await child.end()
        else:
            yield

    async def dry_run(self, where: str, load: Callable[[], Awaitable[Sample]] | None) -> float:
        """Seconds of one from its begin to its end, while ``load`` goes on."""
        ended = asyncio.Event()

        async def loaded() -> None:
            while load is not None and not ended.is_set():
                await load()

        loading = asyncio.create_task(loaded())
        try:
            if where == "in the node":
                await self.node.say("plan")
                await self.node.say("rest")
                return float((await self.node.answer())["surveys"][0])  # type: ignore[index]
            child = await Child.start("--role", "survey", "--data", self.data)
            await child.answer()
            taken = (await child.answer())["seconds"]
            await child.end()
            return float(taken[0])  # type: ignore[index]
        finally:
            ended.set()
            await loading


async def steady(
    address: tuple[str, int], requests: Sequence[tuple[bytes, bytes]], rate: float, seconds: float
) -> Sample:
    """``rate`` requests a second, each sent when its time has come however long the one before took, as far as
    ``PACED`` connections go. Milliseconds are from that time to the last byte."""
    connections = [await KeepAlive.open(*address) for _ in range(PACED)]
    taken: list[float] = []
    begin = time.perf_counter()

    async def loop(number: int, connection: KeepAlive) -> None:
        while (due := number / rate) < seconds:
            wait = begin + due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            request, body = requests[number % len(requests)]
            if await connection.ask(request, body) >= 300:
                raise Failed("a read failed")
            taken.append(time.perf_counter() - begin - due)
            number += PACED

    try:
        async with asyncio.timeout(LONGEST):
            await asyncio.gather(*(loop(number, one) for number, one in enumerate(connections)))
    finally:
        for connection in connections:
            connection.close()
    elapsed = max(time.perf_counter() - begin, seconds)
    return Sample(len(taken) / elapsed, statistics.median(taken) * 1000)


COMPANY = ("at rest", "in the node", "beside it")


def contenders(reading: Reading, measure: Callable[[], Awaitable[Sample]]) -> list[Contender]:
    def contender(where: str) -> Contender:
        async def measured(_round: int) -> Sample:
            async with reading.company(where):
                return await measure()

        return Contender(where if where == "at rest" else f"dry runs {where}", measured)

    return [contender(where) for where in COMPANY]


@asynccontextmanager
async def reading(directory: Path, config: Config, memory: int, seconds: float) -> AsyncIterator[Reading]:
    """A node on the crowded catalogue that has served every object once."""
    config = replace(config, memory=MemorySection(max_bytes=Size(memory)))
    served = Served(directory, config)  # it writes the configuration
    child = await Child.start("--role", "serve", "--config", served.file)
    try:
        url = str((await child.answer())["url"])
        host, _, port = url.removeprefix("http://").rpartition(":")
        address = (host, int(port))
        requests = gets(address, names(), None)
        await exchange(address, requests, 8, LONGEST, again=False)
        await exchange(address, requests, 8, LONGEST, again=False)
        yield Reading(directory, directory / "data", child, requests, address, seconds)
    finally:
        await child.end()


# ---------------------------------------------------------------- the run


def names() -> list[str]:
    return [f"hits/{number}" for number in range(OBJECTS)]


def config_of(directory: Path, alt: EmbeddedS3) -> Config:
    """No scrub: it would miss the files of the crowd. A budget that needs no purge."""
    base = config_for(directory, alt.section(), scrub=ScrubSection(enabled=False))
    disk = DiskSection(max_bytes=Size(2**50), min_free=Share(bytes=2**30))
    return replace(base, disk=disk, listen=replace(base.listen, auth="none"))


async def prepared(directory: Path, alt: EmbeddedS3, entries: int) -> Config:
    """The objects to read are on disk, and the catalogue is crowded."""
    config = config_of(directory, alt)
    await fill(alt, names())
    async with reading(directory, config, 0, 1.0):
        pass
    begin = time.perf_counter()
    await asyncio.to_thread(crowd, directory / "data", entries, SystemClock().now())
    print(f"{entries:,} entries made in {time.perf_counter() - begin:.0f} s", flush=True)
    return config


@dataclass
class Bench:
    tables: list[str]
    goals: list[Goal]

    def add(self, title: str, table: str) -> None:
        self.tables.append(f"### {title}\n\n{table}")
        print(f"\n{title}\n\n{table}", flush=True)

    def text(self, directory: Path) -> str:
        facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(directory))
        goals = report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in self.goals])
        return "\n\n".join([facts, *self.tables, f"### Goals\n\n{goals}"])


async def measure_alone(data: Path, bench: Bench) -> None:
    """Nobody else is there."""
    child = await Child.start("--role", "survey", "--data", data, "--times", "3")
    await child.answer()
    found = await child.answer()
    await child.end()
    seconds, cpu, peak = found["seconds"], found["cpu"], found["peak"]
    assert isinstance(seconds, list)
    assert isinstance(cpu, list)
    assert isinstance(peak, float)
    lines = [
        [f"dry run {number}", f"{value:.2f}", f"{own:.2f}", f"{peak:.0f}"]
        for number, (value, own) in enumerate(zip(seconds, cpu, strict=True), 1)
    ]
    bench.add("dry run in a process of its own", report.table(("", "seconds", "CPU seconds", "peak MiB"), lines))
    bench.goals.append(Goal("dry run, the slowest of three: seconds", max(seconds), 2, least=False))
    bench.goals.append(Goal("dry run: most memory of its process, MiB", peak, 200, least=False))
    child = await Child.start("--role", "pages", "--data", data)
    pages = await child.answer()
    await child.end()
    lines = [[name, *(f"{value:.0f}" for value in values)] for name, values in pages.items()]  # type: ignore[attr-defined]
    bench.add(f"pages of {PAGE:,}: ms", report.table(("walk", "first", "next", "first of the kept"), lines))


async def measure_counts(data: Path, bench: Bench) -> None:
    """Nobody else is there; the pieces of a flush are booked one after the other, as the node does it."""
    child = await Child.start("--role", "count", "--data", data)
    found = await child.answer()
    await child.end()
    lines = []
    for names, values in found.items():
        assert isinstance(values, list)
        seconds, cpu, longest = values
        lines.append([names, f"{seconds:.2f}", f"{cpu:.2f}", f"{longest:.0f}"])
    head = ("mails read", "seconds", "CPU seconds", "longest piece, ms")
    bench.add("counts of one flush, in a process of its own", report.table(head, lines))


async def measure_reads(options: argparse.Namespace, directory: Path, config: Config, bench: Bench) -> None:
    for kind, memory in (("memory", 64 * 2**20), ("disk", 0)):
        async with reading(directory, config, memory, options.seconds) as one:
            full = contenders(one, one.saturating)
            await compare(full, options.rounds)
            rate = full[0].rate / 2
            gently = partial(one.paced, rate)
            calm = contenders(one, gently)
            await compare(calm, options.rounds)
            loads = {"at rest": None, "half load": gently, "saturated": one.saturating}
            lines = [
                [load, *[f"{await one.dry_run(where, how):.1f}" for where in COMPANY[1:]]]
                for load, how in loads.items()
            ]
        bench.add(f"one dry run beside hits from {kind}: seconds", report.table(("load", *COMPANY[1:]), lines))
        client = "wrk" if has_wrk() else "own client"
        for title, found in ((f"as fast as {client} can", full), (f"steadily {rate:,.0f} a second", calm)):
            bench.add(f"hits from {kind}, {title}; ratio to at rest", report.table(HEAD, rows(found, found[0])))
        print(f"{one.surveys} dry runs in the node meanwhile", flush=True)
        bench.goals += [
            Goal(f"hits from {kind}, {load}, {one_.name}", one_.rate / found[0].rate, 0.95)
            for load, found in (("saturated", full), ("at half load", calm))
            for one_ in found[1:]
        ]


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Bench:
    bench = Bench([], [])
    config = await prepared(directory, alt, options.entries)
    await measure_alone(directory / "data", bench)
    await measure_counts(directory / "data", bench)
    await measure_reads(options, directory, config, bench)
    return bench


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="rows of the catalogue (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a contender's round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians count (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="record the results in docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work; a million entries take 1 GB")
    parser.add_argument("--role", choices=("serve", "survey", "pages", "count"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.role:
        return play(options)
    try:
        with workplace(options.dir, 2**30 + options.entries * 2000) as directory, seaweed(directory) as alt:
            bench = uvloop.run(run(options, directory, alt))
            text = bench.text(directory)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    report.conclude("plan", text, bench.goals, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
