"""``tierproxy reindex``: what the mails below a prefix are, or those of an owner, without reading bodies.

Over the object port of a running node, as any client: LIST, and a HEAD for each. The node answers a HEAD from its
catalogue, asks alt where a row has no headers yet, and keeps what it learns. What has no metadata is read with
``--bodies``: its first 32 KiB and its last one, as a machine's read; ``--write`` stores what they say with a CopyObject
onto itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.indexing import Indexer, Search
from tierproxy.cli.offline import run_offline
from tierproxy.cli.outcome import ExitCode, err, shown
from tierproxy.cli.settings import AsJson, ConfigFile, configuration
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.errors import AltUnavailable, ConfigError
from tierproxy.mail.index import Line, Summary
from tierproxy.mail.names import Naming
from tierproxy.model import Listed, ObjectName
from tierproxy.offload import ThreadPool

BATCH = 256  #: objects whose lines are put in order before they are printed
FAILURES = 5  #: objects in a row that could not be asked for, after which it makes no sense to go on
FOLDERS = 30  #: rows of the table of folders
Emit = Callable[[Line], None]


def reindex(
    target: Annotated[
        str, typer.Argument(metavar="OWNER|BUCKET/PREFIX", help="Whose mails, or below which prefix; a bucket, too.")
    ],
    bodies: Annotated[bool, typer.Option("--bodies", help="Read the two ends of what has no metadata.")] = False,
    write: Annotated[bool, typer.Option("--write", help="With --bodies: store what they say as metadata.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Objects asked for at once.")] = 8,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Mails to show; 0 for all.")] = 50,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say what the mails of an owner or below a prefix are, from their metadata. Needs a running node; reads no
    bodies."""
    if write and not bodies:
        raise typer.BadParameter(
            "nothing is read, so there is nothing to store; say --bodies, too", param_hint="--write"
        )
    found = configuration(config)
    search = search_of(found, target)
    if write:
        _refuse_silent_buckets(found, search)
    lines: list[Line] = []
    emit = _print_line if as_json else _first(lines, limit)
    summary = run_offline(_run(found, search, Indexer(bodies, write), concurrency, emit))
    if not as_json:
        _show(lines, summary)
    _tell(summary)
    if summary.failed or summary.stopped:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def search_of(config: Config, target: str) -> Search:
    """``mail/alice/`` is a prefix, ``mail`` a bucket if there is one of that name, anything else an owner in every
    bucket of the configuration. Raises a usage error."""
    bucket, slash, prefix = target.partition("/")
    known = [one.name for one in config.bucket]
    if not target or (slash and not bucket):
        raise typer.BadParameter(f"{target!r} is not OWNER or BUCKET/PREFIX, as in mail/alice/")
    if slash or bucket in known:
        return Search((bucket,), prefix)
    if not known:
        raise ConfigError("the configuration has no bucket", hint="give BUCKET/PREFIX")
    return Search(tuple(known), owner=target)


def _refuse_silent_buckets(config: Config, search: Search) -> None:
    for bucket in config.bucket:
        if bucket.name in search.buckets and not bucket.mail_metadata:
            raise ConfigError(
                f"bucket {bucket.name} is not to hold what mails say of themselves",
                hint="set mail_metadata = true in its [[bucket]] section, and restart",
            )


async def _run(config: Config, search: Search, indexer: Indexer, concurrency: int, emit: Emit) -> Summary:
    door, threads = Door.of(config), ThreadPool("reindex", concurrency)
    naming = Naming(config.naming, config.folders)
    with ExitStack() as stack:
        bar = stack.enter_context(_bar())
        lister, *clients = [stack.enter_context(ObjectClient(door)) for _ in range(concurrency + 1)]
        try:
            for bucket in search.buckets:  # no such bucket, nobody there: said at once
                await threads.run(lister.page, bucket, search.prefix)
            walk = Walk(search.names(lister, naming), clients, indexer, naming, threads, emit, bar)
            return await walk.run()
        finally:
            await threads.close()


@dataclass
class Walk:
    """Through a listing, in its order, with a worker for each of ``clients``. State belongs to the loop; requests are
    made in threads."""

    names: Iterator[tuple[str, Listed]]
    clients: Sequence[ObjectClient]
    indexer: Indexer
    naming: Naming
    threads: ThreadPool
    emit: Emit
    bar: Callable[[int, int | None], None]

    def __post_init__(self) -> None:
        self.summary = Summary()
        self._clock = SystemClock()
        self._in_a_row = 0
        self._seen = 0

    async def run(self) -> Summary:
        while not self.summary.stopped:
            batch = await self.threads.run(lambda: list(islice(self.names, BATCH)))
            if not batch:
                self.bar(self._seen, self._seen)
                break
            for line in await self._lines(batch):
                if line is not None:
                    self.summary.add(line)
                    self.emit(line)
        return self.summary

    async def _lines(self, batch: list[tuple[str, Listed]]) -> list[Line | None]:
        """In the order of ``batch``; None for what is gone or failed."""
        found: list[Line | None] = [None] * len(batch)
        waiting = iter(enumerate(batch))

        async def work(client: ObjectClient) -> None:
            for place, (bucket, listed) in waiting:
                if self.summary.stopped:
                    return
                found[place] = await self._one(client, bucket, listed)

        workers = [asyncio.create_task(work(client)) for client in self.clients]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return found

    async def _one(self, client: ObjectClient, bucket: str, listed: Listed) -> Line | None:
        name = ObjectName(bucket, listed.key)
        try:
            line = await self.threads.run(self.indexer.line, client, name, self.naming, self._clock.now())
        except AltUnavailable as error:
            self._failed(error)
            return None
        self._seen += 1
        self._in_a_row = 0
        self.summary.gone += line is None
        self.bar(self._seen, None)
        return line

    def _failed(self, error: AltUnavailable) -> None:
        self.summary.failed += 1
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            self.summary.stopped = f"{FAILURES} objects in a row could not be asked for, the last with: {error}"


# ---------------------------------------------------------------- for people and scripts


def _print_line(line: Line) -> None:
    sys.stdout.write(json.dumps(line.as_dict(), ensure_ascii=False) + "\n")


def _first(kept: list[Line], limit: int) -> Emit:
    def emit(line: Line) -> None:
        if not limit or len(kept) < limit:
            kept.append(line)

    return emit


def _show(lines: list[Line], summary: Summary) -> None:
    page = console()
    made = table(("key", "received", "from", "subject"), ("bytes",))
    page.print(filled(made, ([*_texts(line), bytes_text(line.stored)] for line in lines)))
    if len(lines) < summary.objects:
        page.print(f"and {count_text(summary.objects - len(lines))} more; --limit 0 shows all")
    if summary.folders:
        made = table(("owner", "folder"), ("mails",))
        most = summary.folders.most_common(FOLDERS)
        page.print(filled(made, ([owner or "-", folder or "-", str(count)] for (owner, folder), count in most)))


def _texts(line: Line) -> list[str]:
    at = line.number("received") or line.number("date")
    said = [shown(line.facts.get(name, "-"))[:60] for name in ("from", "subject")]
    return [str(line.name), "-" if at is None else moment(at), *said]


def _tell(summary: Summary) -> None:
    """On stderr: stdout is for the lines."""
    formats = ", ".join(f"{count} {name}" for name, count in summary.formats.most_common())
    err().print(
        f"{count_text(summary.objects, 'object')}, {bytes_text(summary.bytes)}: {summary.told} by their metadata, "
        f"{summary.read} by their bodies ({summary.written} of them written), {summary.silent} say nothing"
        + (f"; {formats}" if formats else "")
        + (f"; {summary.gone} gone meanwhile" if summary.gone else "")
        + (f"; {summary.failed} failed" if summary.failed else ""),
        markup=False,
    )
    if summary.earliest is not None and summary.latest is not None:
        err().print(f"received between {moment(summary.earliest)} and {moment(summary.latest)}", markup=False)
    if summary.stopped:
        err().print(f"stopped early: {summary.stopped}", markup=False)


@contextmanager
def _bar() -> Iterator[Callable[[int, int | None], None]]:
    """On stderr, where somebody looks; how many there are is known at the end of the listing."""
    columns = (SpinnerColumn(), TextColumn("objects"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err(), disable=not sys.stderr.isatty(), transient=True) as bars:
        task = bars.add_task("objects", total=None)
        yield lambda seen, total: bars.update(task, completed=seen, total=total)
