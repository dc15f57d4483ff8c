"""What ``bench_plan.py`` does in processes of its own: dry runs, pages, and a node."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import uvloop
from crowded import PREFIX
from served import BUCKET, ENVIRONMENT

from tierproxy.catalogue import CatalogueReader, SqliteCatalogue, open_reader
from tierproxy.cli.settings import calmly
from tierproxy.clock import SystemClock
from tierproxy.config.load import load
from tierproxy.model import ListRequest, ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.purges import Place, Scope
from tierproxy.rules.language import parse
from tierproxy.rules.model import Order
from tierproxy.store.pending import Pending, PendingRead
from tierproxy.traffic import DAY
from tierproxy.wiring import build

RULES = Path(__file__).resolve().parent.parent / "config" / "rules.toml"
PAGE = 1000
COUNTED = (1_000, 10_000, 40_000)


def play(options: argparse.Namespace) -> int:
    """What a child does."""
    if options.role == "serve":
        uvloop.run(serve(options.config))
    elif options.role == "count":
        print(json.dumps(asyncio.run(count_alone(options.data))), flush=True)
    elif options.role == "survey":
        print(json.dumps(survey_alone(options.data, options.times)), flush=True)
    else:
        print(json.dumps(pages_alone(options.data)), flush=True)
    return 0


def scope_now() -> Scope:
    return Scope(parse(RULES.read_text(), file=str(RULES)), SystemClock().now())


def survey_alone(data: Path, times: int) -> dict[str, object]:
    """``times`` dry runs on the catalogue of ``data``, as the command line makes them: their seconds,
    those of a processor, the peak of memory in MiB, and what was found."""
    taken, used = [], []
    with open_reader(data) as reader:
        print(json.dumps({"ready": True}), flush=True)
        for _ in range(times):
            begin, cpu = time.perf_counter(), time.process_time()
            survey = calmly(lambda: reader.survey(scope_now()), reader.interrupt)
            taken.append(time.perf_counter() - begin)
            used.append(time.process_time() - cpu)
    return {
        "seconds": taken,
        "cpu": used,
        "peak": _peak(),
        "decided": {str(count.rule): count.objects for count in survey.rules},
    }


def _peak() -> float:
    """The most memory this process ever had, in MiB. Not ru_maxrss: a child inherits that of its parent."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def pages_alone(data: Path) -> dict[str, list[float]]:
    """Milliseconds of the pages of a rule run and of each order: the first, one after it, the first of the kept."""
    scope = scope_now()
    found: dict[str, list[float]] = {}
    with open_reader(data) as reader:

        def timed(query: Callable[[], Sequence[object]]) -> float:
            begin = time.perf_counter()
            query()
            return (time.perf_counter() - begin) * 1000

        first = reader.decided(scope, None, PAGE)
        after = first[-1].name if first else None
        found["rule run"] = [
            timed(lambda: reader.decided(scope, None, PAGE)), timed(lambda: reader.decided(scope, after, PAGE)), 0.0,
        ]  # fmt: skip
        for order in Order:
            undecided = Place(-0.5, ("", ""))  # type: ignore[arg-type]  # behind what rules purge

            def page(order: Order = order, place: Place | None = undecided, kept: bool = False) -> Sequence[object]:
                return reader.pressed(scope, order, PAGE, after=place, kept=kept)

            last = reader.pressed(scope, order, PAGE, after=undecided)
            place = Place(last[-1].rank, last[-1].name) if last else undecided
            found[str(order)] = [
                timed(page), timed(lambda page=page, place=place: page(place=place)),  # type: ignore[misc]
                timed(lambda page=page: page(place=None, kept=True)),  # type: ignore[misc]
            ]  # fmt: skip
    return found


async def count_alone(data: Path) -> dict[str, list[float]]:
    """Flushes of reads of so many mails, anywhere in the catalogue: seconds, CPU seconds, and the longest that the
    catalogue's writer was busy with one piece, in ms."""
    found: dict[str, list[float]] = {}
    threads = ThreadPool("reads", 2)
    catalogue = SqliteCatalogue(data, threads)
    try:
        chance, now = random.Random(1), SystemClock().now()
        with open_reader(data) as reader:
            known = [ObjectName(BUCKET, key) for key in _mails(reader)]
        for names in COUNTED:
            flush = Pending(0)
            for name in chance.sample(known, min(names, len(known))):
                flush.reads[name, int(now // DAY)] = read = PendingRead()
                read.by_person(now, hit=True)
            begin, cpu, longest = time.perf_counter(), time.process_time(), 0.0
            for piece in flush.pieces():
                since = time.perf_counter()
                await catalogue.count(piece.counts(now))
                longest = max(longest, time.perf_counter() - since)
            found[f"{len(flush.reads):,}"] = [
                time.perf_counter() - begin, time.process_time() - cpu, longest * 1000,
            ]  # fmt: skip
    finally:
        await catalogue.close()
        await threads.close()
    return found


def _mails(reader: CatalogueReader) -> Iterator[str]:
    """Every tenth key, so that a flush finds none of its pages twice."""
    after: str | None = ""
    while after is not None:
        page = reader.page(ListRequest(BUCKET, PREFIX, after=after))
        yield from (listed.key for listed in page.objects[::10])
        after = page.next_after


async def serve(config_file: Path) -> None:
    """A node. A line ``plan`` on standard input begins dry runs, ``rest`` ends them and answers how many
    seconds each took."""
    node = build(load(config_file, ENVIRONMENT))
    await node.start()
    print(json.dumps({"url": node.url}), flush=True)
    loop = asyncio.get_running_loop()
    planning: asyncio.Task[list[float]] | None = None
    ended = asyncio.Event()
    try:
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if line == "plan":
                ended.clear()
                planning = asyncio.create_task(_plan_again(node.parts.catalogue.survey, ended))
            elif planning is not None:
                ended.set()
                print(json.dumps({"surveys": await planning}), flush=True)
    finally:
        await node.stop(5)


async def _plan_again(survey: Callable[[Scope], Awaitable[object]], ended: asyncio.Event) -> list[float]:
    taken = []
    while not ended.is_set():
        begin = time.perf_counter()
        await survey(scope_now())
        taken.append(time.perf_counter() - begin)
    return taken
