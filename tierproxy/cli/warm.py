"""``tierproxy warm``: bring objects that only alt has to disk, before somebody asks for them.

Below a prefix over the object port, as any client, with ``x-tierproxy-reason: prefetch``: nothing is counted as a
person's read, and the proxy's own policies, budget and checks decide what stays. What a purge run removed only the node
knows: that is a job of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.following import Work
from tierproxy.cli.node import far
from tierproxy.cli.offline import run_offline
from tierproxy.cli.outcome import ExitCode, err, out
from tierproxy.cli.questions import usage
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.values import size_of
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.errors import AltUnavailable, NoSuchKey, TierproxyError
from tierproxy.model import Listed, ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock
from tierproxy.wire.whatif import Job, Warmed, WarmWish

HEADERS = {"x-tierproxy-reason": "prefetch"}
PASSES = 5  #: passes in a row after which the proxy does not want more
FAILURES = 5  #: objects in a row that failed after which it makes no sense to go on
TRIES = (1.0, 2.0, 4.0)  #: seconds before each further try of one object
T = TypeVar("T")


def warm(
    target: Annotated[str, typer.Argument(metavar="BUCKET[/PREFIX]", help="What is to be on disk.")] = "",
    run: Annotated[int | None, typer.Option(metavar="NUMBER", help="What this purge run removed, instead.")] = None,
    max_bytes: Annotated[str, typer.Option(metavar="SIZE", help="At most so much, as in 1GB; 0: no limit.")] = "0",
    max_objects: Annotated[int, typer.Option(min=0, help="Fetch at most so many objects; 0: no limit.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Objects fetched at once.")] = 4,
    rate: Annotated[str, typer.Option(metavar="SIZE", help="Bytes per second, as in 50MB; 0: no limit.")] = "0",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Fetch what is below a prefix and not on disk. Needs a running node. Ctrl-C stops after the objects under way."""
    if run is not None:
        _again(configuration(config), run, target, size_of(max_bytes, "--max-bytes"), as_json)
        return
    limits = Limits(size_of(max_bytes, "--max-bytes"), max_objects, size_of(rate, "--rate"))
    bucket, _, prefix = target.partition("/")
    if not bucket:
        raise typer.BadParameter(f"{target!r} is not BUCKET or BUCKET/PREFIX, as in mail/alice/")
    report = run_offline(_run(configuration(config), ObjectName(bucket, prefix), limits, concurrency, as_json))
    if as_json:
        print_json(asdict(report))
    else:
        _show(report)
    if report.failed:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if report.refused or report.interrupted:
        raise typer.Exit(ExitCode.FAILED)


def _again(config: Config, run: int, target: str, max_bytes: int, as_json: bool) -> None:
    """Undo a purge run. Raises AltUnavailable without a node that can be asked."""
    if target:
        raise typer.BadParameter("give BUCKET/PREFIX or --run, not both", param_hint="--run")
    node = far(config)
    if node is None:
        raise AltUnavailable("no node can be asked", hint="start it; its admin port must be open ([admin] enabled)")
    with usage():
        job = node.post(Job, "/jobs/warm", WarmWish(run=run, max_bytes=max_bytes))
    left = "it ends with the node; what was brought to disk stays, and asking again brings the rest"
    work = Work(node, Job, f"/jobs/{job.id}", job.title, lambda found: found.ended_at is not None, left)
    with _bars(as_json) as progress:
        done = asyncio.run(work.followed(lambda found: progress(int(found.progress.done), 0)))
    warmed = Warmed.model_validate(done.result) if done.result is not None else None
    if as_json:
        print_json(warmed or done)
    elif warmed is not None:
        _show(warmed)
    if warmed is None or done.state != "done":
        raise TierproxyError(f"{job.title} {done.state}: {done.error or 'ended by a wish'}")
    if warmed.failed:
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _show(report: Report | Warmed) -> None:
    console = out()
    console.print(
        f"{count_text(report.fetched, 'object')} brought to disk ({bytes_text(report.bytes)}), "
        f"{count_text(report.on_disk)} were there, {count_text(report.passed)} not kept, "
        f"{count_text(report.gone)} gone meanwhile, {count_text(report.failed)} failed"
    )
    if report.stopped:
        console.print(f"stopped early: {report.stopped}", markup=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """0: none. ``rate``: bytes per second."""

    bytes: int = 0
    objects: int = 0
    rate: int = 0


@dataclass(slots=True)
class Report:
    """``fetched`` objects with ``bytes`` are on disk now; ``on_disk`` were there before; ``passed``: the proxy gave
    them and kept no copy; ``gone``: deleted meanwhile. ``stopped``: why it ended before the end, "" if it did not.
    ``refused``: that was because the proxy does not keep what it is asked to."""

    fetched: int = 0
    bytes: int = 0
    on_disk: int = 0
    passed: int = 0
    gone: int = 0
    failed: int = 0
    refused: bool = False
    interrupted: bool = False
    stopped: str = ""


@dataclass(slots=True)
class Warming:
    """Walks a listing with several workers. All its state belongs to the loop; the requests are made in threads."""

    names: Iterator[Listed]
    bucket: str
    limits: Limits
    clock: Clock
    threads: ThreadPool
    progress: Callable[[int, int], None]
    report: Report = field(default_factory=Report)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _due: float = 0.0
    _seen: int = 0
    _taken: int = 0
    _taken_bytes: int = 0
    _passes: int = 0
    _failures: int = 0

    async def work(self, client: ObjectClient) -> None:
        """One worker: until the listing, the limits or the patience end."""
        while not self.report.stopped:
            async with self._turn:  # a listing is one generator: one thread at a time
                one = await self.threads.run(next, self.names, None)
            if one is None:
                return
            self._seen += 1
            try:
                await self._one(client, ObjectName(self.bucket, one.key), one.size)
            except AltUnavailable as error:
                self._failed(error)
            except NoSuchKey:
                self.report.gone += 1
            self.progress(self._seen, self.report.bytes)

    async def _one(self, client: ObjectClient, name: ObjectName, size: int) -> None:
        head = await self._patiently(lambda: client.head(name, HEADERS))
        if "disk" in head.headers.get("x-tierproxy-tiers", ""):
            self.report.on_disk += 1
        elif self._allowed(size):
            await self._pace(size)
            self._done(await self._patiently(lambda: fetch(client, name)), size)

    def _allowed(self, size: int) -> bool:
        """Claims the object within the limits, or says which one ends the walk."""
        limits = self.limits
        if limits.objects and self._taken >= limits.objects:
            self._stop(f"the limit of {count_text(limits.objects, 'object')} is reached")
        elif limits.bytes and self._taken_bytes + size > limits.bytes:
            self._stop(f"the limit of {bytes_text(limits.bytes)} is reached")
        if self.report.stopped:
            return False
        self._taken, self._taken_bytes = self._taken + 1, self._taken_bytes + size
        return True

    async def _pace(self, size: int) -> None:
        """Wait until the bytes that were taken before are due at the rate wanted, however many workers there are."""
        if self.limits.rate:
            now = self.clock.monotonic()
            begin = max(self._due, now)
            self._due = begin + size / self.limits.rate
            await self.clock.sleep(begin - now)

    def _done(self, fill: str, size: int) -> None:
        self._failures = 0
        if fill != "pass":
            self._passes = 0
            self.report.fetched += 1
            self.report.bytes += size
            return
        self.report.passed += 1
        self._passes += 1
        if self._passes >= PASSES:
            self.report.refused = True
            self._stop(
                f"the proxy kept no copy of {PASSES} objects in a row: the disk, or the bucket's budget, has no room "
                "for them, or they are larger than [fill] max_object"
            )

    def _failed(self, error: AltUnavailable) -> None:
        self.report.failed += 1
        self._failures += 1
        if self._failures >= FAILURES:
            self._stop(f"{FAILURES} objects in a row failed, the last with: {error}")

    def _stop(self, why: str) -> None:
        self.report.stopped = self.report.stopped or why

    async def _patiently(self, request: Callable[[], T]) -> T:
        """``request`` in a thread, and again after a while when the proxy cannot answer now."""
        for pause in TRIES:
            try:
                return await self._to_its_end(request)
            except AltUnavailable:
                await self.clock.sleep(pause)
        return await self._to_its_end(request)

    async def _to_its_end(self, request: Callable[[], T]) -> T:
        """A thread cannot be stopped: who is interrupted waits for the answer, and it counts. ``work`` ends then,
        because ``stopped`` is set before anybody is interrupted."""
        answer = asyncio.ensure_future(self.threads.run(request))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            return await answer


def fetch(client: ObjectClient, name: ObjectName) -> str:
    """GetObject to its last byte. Returns what the proxy did with it: ``hit``, ``fill``, ``pass``."""
    with client.get(name, HEADERS) as answer:
        for _block in answer.blocks():
            pass
        return answer.headers.get("x-tierproxy-fill", "")


async def _run(config: Config, below: ObjectName, limits: Limits, concurrency: int, quiet: bool) -> Report:
    door, threads = Door.of(config), ThreadPool("warm", concurrency)
    with ExitStack() as stack:
        progress = stack.enter_context(_bars(quiet))
        lister, *clients = [stack.enter_context(ObjectClient(door)) for _ in range(concurrency + 1)]
        try:
            await threads.run(lister.page, *below)  # no such bucket, nobody there: said at once, without the patience
            names = lister.objects(*below)
            warming = Warming(names, below.bucket, limits, SystemClock(), threads, progress)
            await _all([warming.work(client) for client in clients], warming.report)
            return warming.report
        finally:
            await threads.close()


async def _all(works: list[Coroutine[Any, Any, None]], report: Report) -> None:
    """Until all have ended; an interruption (the first Ctrl-C) ends them, and what was done is told."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        report.interrupted = True
    report.stopped = report.stopped or ("interrupted" if report.interrupted else "")
    failed = [task.exception() for task in tasks if task.done() and not task.cancelled()]
    error = next((one for one in failed if one is not None), None)
    if error is not None:
        report.stopped = report.stopped or str(error)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if error is not None:
        raise error


@contextmanager
def _bars(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Objects looked at and bytes fetched, on stderr; how many there are is known at the end only."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err(), disable=quiet, transient=True) as bars:
        task = bars.add_task("looking", total=None)

        def show(seen: int, size: int) -> None:
            bars.update(task, description=f"{count_text(seen, 'object')} looked at, {bytes_text(size)} fetched")

        yield show
