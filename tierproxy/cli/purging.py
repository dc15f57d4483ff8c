"""Carrying out a purge: by the node, asked over its admin port or by a row it looks at; or here when no node runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tierproxy.alt.opening import open_alt
from tierproxy.catalogue import CatalogueReader, OutsideChanges, open_outside, open_reader
from tierproxy.cli.following import Work
from tierproxy.cli.node import NodeClient, far
from tierproxy.cli.outcome import err
from tierproxy.cli.settings import data_directory
from tierproxy.cli.words import bytes_text
from tierproxy.config.sections import Config
from tierproxy.desk.runs import asked, document, settled, waiting_for
from tierproxy.errors import Busy, DataDirectoryInUse
from tierproxy.node import Parts
from tierproxy.ports import Clock
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.wire.purges import Run, RunWish
from tierproxy.wiring import assemble, open_local

LOOK = 0.2  #: seconds between looks at a run's row
PATIENCE = 30.0  #: seconds until a node must have begun; [purge] watch is added

Show = Callable[[Run], None]


async def carried_out(config: Config, wish: RunWish, clock: Clock, *, quiet: bool) -> Run:
    """Until it has ended, or waits for a confirmation. An interruption cancels the run and waits for its end; a second
    one leaves it to the node. Raises ConfigError, DiskError, Busy when nobody takes it up."""
    node = far(config)
    if node is not None:
        return await _over_the_port(node, wish, quiet=quiet)
    try:
        return await _here(config, wish, clock, quiet=quiet)
    except DataDirectoryInUse:
        return await _by_its_row(config, wish, clock, quiet=quiet)


# ------------------------------------------------------------ by the node, over its port


async def _over_the_port(node: NodeClient, wish: RunWish, *, quiet: bool) -> Run:
    run = node.post(Run, "/runs", wish)
    left = f"it goes on when the node does; `tierproxy runs {run.number}` says how far it is"
    work = Work(node, Run, f"/runs/{run.number}", f"run {run.number}", _settled, left)
    with bars(quiet) as show:
        return await work.followed(show)


def _settled(run: Run) -> bool:
    return run.ended or (run.state == "waiting" and not run.confirmed)


# ------------------------------------------------------------ by the node, which looks at the row


async def _by_its_row(config: Config, wish: RunWish, clock: Clock, *, quiet: bool) -> Run:
    data = data_directory(config)
    with open_reader(data) as catalogue, open_outside(data) as outside, bars(quiet) as show:
        number = _row(catalogue, outside, wish, clock)
        watch = Watch(catalogue, number, clock, lambda run: show(document(run)))
        try:
            return document(await watch.until_settled(config.purge.watch + PATIENCE))
        except asyncio.CancelledError:
            outside.cancel_run(number, at=clock.now())
            err().print(f"interrupted: run {number} is asked to end; Ctrl-C again leaves it to the node")
            return document(await watch.until_settled(config.purge.watch + PATIENCE))
        except Busy:
            outside.cancel_run(number, at=clock.now())
            raise


def _row(catalogue: CatalogueReader, outside: OutsideChanges, wish: RunWish, clock: Clock) -> int:
    """A new run, or the one that waits for just this confirmation."""
    run = asked(wish, wish.author, clock.now())
    waiting = waiting_for(catalogue, run) if wish.confirmed else None
    if waiting is not None and outside.confirm_run(waiting.number) is not None:
        return waiting.number
    return outside.add_run(run).number


class Watch:
    """Follows the row of a run that another process carries out."""

    def __init__(self, catalogue: CatalogueReader, number: int, clock: Clock, show: Callable[[PurgeRun], None]) -> None:
        self._catalogue = catalogue
        self._number = number
        self._clock = clock
        self._show = show

    async def until_settled(self, patience: float) -> PurgeRun:
        """Raises Busy when nobody begins within ``patience`` seconds."""
        until = self._clock.monotonic() + patience
        while True:
            run = self._catalogue.run(self._number)
            if run is None:
                raise Busy(f"run {self._number} is gone")
            self._show(run)
            if settled(run):
                return run
            if run.state is RunState.RUNNING or self._another_runs():
                until = self._clock.monotonic() + patience
            elif self._clock.monotonic() > until:
                raise Busy("whoever owns the data directory has not begun", hint="is it a node? see its log")
            await self._clock.sleep(LOOK)

    def _another_runs(self) -> bool:
        """Ours has its turn after it."""
        runs = self._catalogue.runs(1000, open_only=True)
        return any(run.state is RunState.RUNNING and run.kind is not RunKind.PRESSURE for run in runs)


# ------------------------------------------------------------ here


async def _here(config: Config, wish: RunWish, clock: Clock, *, quiet: bool) -> Run:
    """With the data directory locked. Alt is opened and not contacted. Raises DataDirectoryInUse."""
    parts = assemble(await open_local(config, open_alt(config, clock), clock))
    try:
        await parts.purges.live.start()
        with bars(quiet) as show:
            return document(await _to_its_end(parts, asked(wish, wish.author, clock.now()), clock, show))
    finally:
        await parts.tasks.drain(PATIENCE)
        await parts.history.stop()
        parts.mark.write(parts.catalogue.committed())
        for close in reversed(parts.closers):
            await close()


async def _to_its_end(parts: Parts, order: PurgeRun, clock: Clock, show: Show) -> PurgeRun:
    catalogue = parts.catalogue
    waiting = waiting_for(catalogue, order) if order.confirmed else None
    if waiting is not None:
        await catalogue.confirm_run(waiting.number)
    run = waiting or await catalogue.add_run(order)
    work = asyncio.create_task(parts.purges.runs.carry_out(catalogue.run(run.number) or run))
    while not work.done():
        try:
            await asyncio.wait({work}, timeout=LOOK)
        except asyncio.CancelledError:
            await catalogue.cancel_run(run.number, at=clock.now())
            err().print("interrupted: ends after the objects under way")
        show(document(catalogue.run(run.number) or run))
    return work.result()


@contextmanager
def bars(quiet: bool) -> Iterator[Show]:
    """A bar on stderr: objects of those planned, bytes, time left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err(), disable=quiet, transient=True) as progress:
        tasks: dict[int, TaskID] = {}

        def show(run: Run) -> None:
            if run.number not in tasks:
                tasks[run.number] = progress.add_task(f"run {run.number}", total=None, size="", rate="")
            task = tasks[run.number]
            speed = next((one.speed for one in progress.tasks if one.id == task), None)
            progress.update(
                task, completed=run.objects + run.skipped, total=run.planned_objects or None,
                description=f"run {run.number} {run.state}", size=bytes_text(run.bytes),
                rate=f"{speed:,.0f}/s" if speed else "",
            )  # fmt: skip

        yield show
