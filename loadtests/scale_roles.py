"""What ``bench_scale.py`` does in processes of its own, each with nothing of another in its memory: look-ups, pages,
changes and plans on a catalogue; and a node.

Every figure is microseconds of the median (of a processor, unless the name says otherwise), so that sizes can be
compared on a machine that does other things beside.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from plan_roles import scope_now
from scale_rows import keys, place
from served import BUCKET
from sqlite_pages import Pages, counted

from tierproxy.catalogue import SqliteCatalogue, catalogue_file, open_reader
from tierproxy.clock import SystemClock
from tierproxy.model import Entry, Headers, Job, JobKind, ListRequest, ObjectName, State
from tierproxy.offload import ThreadPool
from tierproxy.purges import Place
from tierproxy.rules.model import Order
from tierproxy.store.pending import Pending, PendingRead
from tierproxy.traffic import DAY, Counts

MICRO = 1e6
PAGE = 1000
USERS = 4  #: common prefixes of one page: the smallest catalogue has some more behind each place
UNDECIDED = Place(-0.5, ObjectName("", ""))  #: behind what rules purge


@dataclass
class Timed:
    """Wall-clock and CPU microseconds of one kind of step, and the pages that ``connection`` had to do with."""

    connection: sqlite3.Connection | None = None
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    pages: list[list[float]] = field(default_factory=list)

    def add(self, wall: float, cpu: float, steps: int = 1) -> None:
        self.wall.append(wall * MICRO / steps)
        self.cpu.append(cpu * MICRO / steps)
        self.pages.append([pages / steps for pages in self._pages()])

    def _pages(self) -> Pages:
        """Since the last time."""
        return Pages() if self.connection is None else counted(self.connection)

    def run(self, step: Callable[[], object]) -> None:
        self._pages()
        begin, cpu = time.perf_counter(), time.process_time()
        step()
        self.add(time.perf_counter() - begin, time.process_time() - cpu)

    async def ran(self, changes: Sequence[Coroutine[Any, Any, object]], steps: int = 0) -> None:
        """All ``changes`` at once, which are ``steps`` steps (0: each is one)."""
        self._pages()
        begin, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*changes)
        self.add(time.perf_counter() - begin, time.process_time() - cpu, steps or len(changes))

    def facts(self) -> dict[str, float]:
        late = sorted(self.wall)[max(-(-len(self.wall) * 99 // 100) - 1, 0)]
        return {
            "wall": statistics.median(self.wall), "late": late, "cpu": statistics.median(self.cpu),
            "mean": statistics.fmean(self.cpu),
            **dict(zip(Pages._fields, map(statistics.fmean, zip(*self.pages, strict=True)), strict=True)),
        }  # fmt: skip


Found = dict[str, dict[str, float]]


def forget_pages(data: Path) -> None:
    """The kernel has nothing of the catalogue in its page cache any more (as far as it was on disk)."""
    for file in catalogue_file(data).parent.iterdir():
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fdatasync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def remember_pages(data: Path) -> None:
    """All of the catalogue is in the kernel's page cache, if there is room for it."""
    with catalogue_file(data).open("rb", buffering=0) as file:
        while file.read(2**22):
            pass


def some(entries: int, count: int, seed: int | None) -> list[int]:
    """Numbers of mails, the same ones for each ``seed``; None: others every time."""
    return random.Random(seed).choices(range(entries), k=count)


def look_up(data: Path, entries: int, count: int) -> Found:
    """``catalogue.find`` of random keys: by a process that has just begun, with nothing in the page cache; and with all
    of it there."""
    return asyncio.run(_look_up(data, entries, count))


async def _look_up(data: Path, entries: int, count: int) -> Found:
    wanted = [ObjectName(BUCKET, key) for key in keys(data, some(entries, count, 1))]
    forget_pages(data)
    async with opened(data) as catalogue:
        cold = _finds(catalogue, wanted[: max(count // 20, 1)])
    remember_pages(data)
    async with opened(data) as catalogue:
        _finds(catalogue, wanted[: count // 2])
        warm = _finds(catalogue, wanted[count // 2 :])
    return {"look-up, page cache empty": cold.facts(), "look-up": warm.facts()}


def _finds(catalogue: SqliteCatalogue, wanted: Sequence[ObjectName]) -> Timed:
    timed = Timed(catalogue._database.reads.connection)
    for name in wanted:
        timed.run(lambda name=name: catalogue.find(name))  # type: ignore[misc]
    return timed


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[SqliteCatalogue]:
    """The catalogue as a node has it."""
    threads = ThreadPool("bench", 2)
    catalogue = SqliteCatalogue(data, threads)
    try:
        yield catalogue
    finally:
        await catalogue.close()
        await threads.close()


# ---------------------------------------------------------------- pages


def listings(data: Path, entries: int, count: int) -> Found:
    """Pages anywhere in the bucket, a thousand objects each but where the name says otherwise."""
    places = [place(number) for number in some(entries // 2, count, 2)]  # as many rows behind each, however small
    users = [begin.split("/")[1] for begin in places]
    kinds: dict[str, list[ListRequest]] = {
        "LIST, after a key": [ListRequest(BUCKET, after=after, limit=PAGE) for after in places],
        "LIST, a user's prefix": [ListRequest(BUCKET, prefix=f"mail/{user}/", limit=PAGE) for user in users],
        "LIST, a user's folders": [
            ListRequest(BUCKET, prefix=f"mail/{user}/", delimiter="/", limit=PAGE) for user in users
        ],
        f"LIST, {USERS} users by delimiter": [
            ListRequest(BUCKET, prefix="mail/", delimiter="/", after=f"mail/{user}/", limit=USERS) for user in users
        ],
    }
    found: Found = {}
    with open_reader(data) as reader:
        for kind, requests in kinds.items():
            timed = Timed(reader._reads.connection)
            for request in requests:
                timed.run(lambda request=request: reader.page(request))  # type: ignore[misc]
            found[kind] = timed.facts()
    return found


# ---------------------------------------------------------------- changes


def changes(data: Path, entries: int, count: int) -> Found:
    """A new object anywhere, its upload told of, and its end, sixteen at once; and reads of other objects booked. Each
    time elsewhere: a page that is full is split by the first that comes. The catalogue is in the page cache."""
    remember_pages(data)
    return asyncio.run(_changes(data, entries, count))


async def _changes(data: Path, entries: int, count: int) -> Found:
    at_once = 16
    names = [ObjectName(BUCKET, f"{place(number)}new") for number in set(some(entries, count, None))]
    groups = [names[first : first + at_once] for first in range(0, len(names), at_once)]
    async with opened(data) as catalogue:
        put, told, gone, booked = (Timed(catalogue._database._connection) for _ in range(4))
        commits = catalogue.commits
        for group in groups:
            new = [_new(name, catalogue.next_generation()) for name in group]
            await put.ran([catalogue.publish(entry, job=_job(entry)) for entry in new])
            await told.ran([catalogue.uploaded(entry.name, entry.generation, entry.etag) for entry in new])
            await gone.ran([catalogue.forget(entry.name, entry.generation) for entry in new])
        each = (catalogue.commits - commits) / (3 * len(names))
        for piece in _reads(data, entries, count):
            await booked.ran([catalogue.count(piece)], len(piece.reads))
    return {
        "PUT": put.facts() | {"commits": each}, "upload told of": told.facts(), "DELETE": gone.facts(),
        "read booked": booked.facts(),
    }  # fmt: skip


def _new(name: ObjectName, generation: int) -> Entry:
    now = SystemClock().now()
    return Entry(
        name, generation, State.DIRTY, 14_000, os.urandom(16).hex(), now, headers=Headers("message/rfc822"),
        blob=f"{int(now * 1000):012x}{os.urandom(10).hex()}", blob_bytes=16384, xxh3=os.urandom(16), stored_at=now,
    )  # fmt: skip


def _job(entry: Entry) -> Job:
    return Job(entry.name, entry.generation, JobKind.PUT, entry.size, queued_at=entry.written_at, next_try_at=9e9)


def _reads(data: Path, entries: int, count: int) -> Iterator[Counts]:
    """Pieces of a flush of reads of ``count`` mails anywhere."""
    now, flush = SystemClock().now(), Pending(0)
    for key in keys(data, some(entries, count * 4, None)):
        flush.reads[ObjectName(BUCKET, key), int(now // DAY)] = read = PendingRead()
        read.by_person(now, hit=True)
    for piece in flush.pieces():
        yield piece.counts(now)


# ---------------------------------------------------------------- plans


def plans(data: Path, entries: int, count: int) -> Found:
    """The dry run of all, pages of candidates (of a rule run, and of each order of pressure), and what the dashboard
    counts. The catalogue is in the page cache, as far as there is room."""
    remember_pages(data)
    scope, middle = scope_now(), ObjectName(BUCKET, place(entries // 2))
    with open_reader(data) as reader:
        reader.hurry()
        steps: dict[str, Callable[[], object]] = {
            "dry run": lambda: reader.survey(scope),
            "page of a rule run": lambda: reader.decided(scope, middle, PAGE),
            **{f"page of {order}": partial(reader.pressed, scope, order, PAGE, after=UNDECIDED) for order in Order},
            "dashboard, all there is": lambda: reader.overview(bucket="", now=scope.now),
        }
        connection = reader._reads.connection
        return {name: _timed(connection, step, 1 if name in LINEAR else count) for name, step in steps.items()}


def _timed(connection: sqlite3.Connection, step: Callable[[], object], times: int) -> dict[str, float]:
    timed = Timed(connection)
    for _ in range(times):
        timed.run(step)
    return timed.facts()


LINEAR = ("dry run", "page of lfu", "page of gdsf", "page of score", "dashboard, all there is")
"""What looks at every row, because it sums up all of them, or puts them in an order that no index has."""
MEASURES: dict[str, tuple[Callable[[Path, int, int], Found], int]] = {
    "look-ups": (look_up, 20_000), "listings": (listings, 200), "changes": (changes, 2000), "plans": (plans, 5),
}  # fmt: skip
"""And how many steps each takes."""
