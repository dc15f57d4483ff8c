"""Carrying out a purge: asked of the node by a row it looks at, or done here when no node runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tierproxy.catalogue import CatalogueReader, OutsideChanges, open_outside, open_reader
from tierproxy.cli.outcome import err
from tierproxy.cli.settings import data_directory
from tierproxy.cli.words import bytes_text
from tierproxy.config.sections import Config
from tierproxy.errors import Busy, DataDirectoryInUse
from tierproxy.node import Parts
from tierproxy.ports import Clock
from tierproxy.purges import ENDED, PurgeRun, RunKind, RunState
from tierproxy.wiring import assemble, open_alt, open_local

LOOK = 0.2  #: seconds between looks at a run's row
PATIENCE = 30.0  #: seconds until a node must have begun; [purge] watch is added


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted. ``confirmed``: may remove what was read recently. ``everything``: whatever rules say."""

    bucket: str
    prefix: str
    rule: str
    author: str
    reason: str
    confirmed: bool
    everything: bool = False

    def run(self, at: float) -> PurgeRun:
        """As a row."""
        kind = RunKind.OPERATOR if self.everything else RunKind.RULES
        return PurgeRun(
            0, kind, RunState.ASKED, at, rule=self.rule, bucket=self.bucket, prefix=self.prefix, author=self.author,
            reason=self.reason, confirmed=self.confirmed,
        )  # fmt: skip

    def same(self, run: PurgeRun) -> bool:
        """``run`` waits for a confirmation of just this."""
        confined = (run.bucket, run.prefix, run.rule) == (self.bucket, self.prefix, self.rule)
        return run.state is RunState.WAITING and confined and run.kind is self.run(0).kind


async def carried_out(config: Config, order: Order, clock: Clock, *, quiet: bool) -> PurgeRun:
    """Until it has ended, or waits for a confirmation. An interruption cancels the run and waits for its end; a second
    one leaves it to the node. Raises ConfigError, DiskError, Busy when nobody takes it up."""
    try:
        return await _here(config, order, clock, quiet=quiet)
    except DataDirectoryInUse:
        return await _by_the_node(config, order, clock, quiet=quiet)


# ------------------------------------------------------------ by the node


async def _by_the_node(config: Config, order: Order, clock: Clock, *, quiet: bool) -> PurgeRun:
    data = data_directory(config)
    with open_reader(data) as catalogue, open_outside(data) as outside, bars(quiet) as show:
        number = _asked(catalogue, outside, order, clock)
        watch = Watch(catalogue, number, clock, show)
        try:
            return await watch.until_settled(config.purge.watch + PATIENCE)
        except asyncio.CancelledError:
            outside.cancel_run(number, at=clock.now())
            err().print(f"interrupted: run {number} is asked to end; Ctrl-C again leaves it to the node")
            return await watch.until_settled(config.purge.watch + PATIENCE)
        except Busy:
            outside.cancel_run(number, at=clock.now())
            raise


def _asked(catalogue: CatalogueReader, outside: OutsideChanges, order: Order, clock: Clock) -> int:
    """A new run, or the one that waits for just this confirmation."""
    if order.confirmed:
        waiting = next((run for run in catalogue.runs(1000, open_only=True) if order.same(run)), None)
        if waiting is not None and outside.confirm_run(waiting.number) is not None:
            return waiting.number
    return outside.add_run(order.run(clock.now())).number


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
            if run.state in ENDED or (run.state is RunState.WAITING and not run.confirmed):
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


async def _here(config: Config, order: Order, clock: Clock, *, quiet: bool) -> PurgeRun:
    """With the data directory locked. Alt is opened and not contacted. Raises DataDirectoryInUse."""
    parts = assemble(await open_local(config, open_alt(config, clock), clock))
    try:
        await parts.purges.live.start()
        with bars(quiet) as show:
            return await _to_its_end(parts, order, clock, show)
    finally:
        await parts.tasks.drain(PATIENCE)
        await parts.history.stop()
        parts.mark.write(parts.catalogue.committed())
        for close in reversed(parts.closers):
            await close()


async def _to_its_end(parts: Parts, order: Order, clock: Clock, show: Callable[[PurgeRun], None]) -> PurgeRun:
    catalogue = parts.catalogue
    waiting = next((run for run in catalogue.runs(1000, open_only=True) if order.confirmed and order.same(run)), None)
    if waiting is not None:
        await catalogue.confirm_run(waiting.number)
    asked = waiting or await catalogue.add_run(order.run(clock.now()))
    work = asyncio.create_task(parts.purges.runs.carry_out(catalogue.run(asked.number) or asked))
    while not work.done():
        try:
            await asyncio.wait({work}, timeout=LOOK)
        except asyncio.CancelledError:
            await catalogue.cancel_run(asked.number, at=clock.now())
            err().print("interrupted: ends after the objects under way")
        show(catalogue.run(asked.number) or asked)
    return work.result()


@contextmanager
def bars(quiet: bool) -> Iterator[Callable[[PurgeRun], None]]:
    """A bar on stderr: objects of those planned, bytes, time left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err(), disable=quiet, transient=True) as progress:
        tasks: dict[int, TaskID] = {}

        def show(run: PurgeRun) -> None:
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
