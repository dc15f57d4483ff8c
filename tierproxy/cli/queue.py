"""``tierproxy queue``: what alt does not have yet. Works beside a running node and without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.catalogue import hurry_from_outside
from tierproxy.cli.node import far, near, wish
from tierproxy.cli.objects import parse
from tierproxy.cli.outcome import Group, out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.words import ago, bytes_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import queue as desk
from tierproxy.errors import NoSuchKey
from tierproxy.model import ObjectName
from tierproxy.wire.objects import Hurried, HurryWish, Queue, QueueJob, QueueTotals

commands = typer.Typer(cls=Group, no_args_is_help=True, help="The upload queue: what alt does not have yet.")


@commands.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Jobs to show, oldest first; 0 for all.")] = 50,
    failing: Annotated[bool, typer.Option("--failing", help="Only jobs that have failed before.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the jobs that wait: uploads and deletes, oldest first."""
    found, now = _asked(configuration(config), limit, failing), SystemClock().now()
    if as_json:
        print_json(found)
        return
    for line in _lines(found.jobs, now) if found.jobs else ():
        out().print(line, markup=False)
    out().print(_sentence(found.totals, now))


def _asked(config: Config, limit: int, failing: bool) -> Queue:
    node = far(config)
    if node is not None:
        return node.get(Queue, "/queue", limit=limit, failing=failing)
    return near(config, lambda catalogue: desk.queue(catalogue, limit, failing=failing))


def _lines(jobs: list[QueueJob], now: float) -> Iterator[str]:
    """A line per job, as wide as it needs to be: for grep as much as for eyes."""
    form = "{:<7} {:>8} {:>10} {:>5} {:>9}  {}"
    yield form.format("kind", "size", "queued", "tries", "next", "object")
    for job in jobs:
        next_try = "now" if job.next_try_at <= now else f"in {ago(job.next_try_at - now)}"
        facts = (job.kind, bytes_text(job.size), f"{ago(now - job.queued_at)} ago", str(job.attempts), next_try)
        yield form.format(*facts, job.name) + (f"  ({job.last_error})" if job.last_error else "")


def _sentence(totals: QueueTotals, now: float) -> str:
    if totals.oldest_queued_at is None:
        return "the queue is empty: alt has everything"
    return (
        f"{totals.jobs} waiting, {bytes_text(totals.bytes)}, {totals.failing} failing; "
        f"the oldest for {ago(now - totals.oldest_queued_at)}"
    )


@commands.command()
def retry(
    objects: Annotated[list[str], typer.Argument(metavar="BUCKET/KEY", help="Objects whose jobs are to run now.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Try the jobs of these objects now, whatever their backoff says."""
    names = [parse(text) for text in objects]
    hurried = _hurry(config, names, as_json)
    if hurried < len(names):
        raise NoSuchKey(f"{len(names) - hurried} of {len(names)} objects are not in the queue")


@commands.command()
def hurry(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Try every job now: after alt has come back."""
    _hurry(config, None, as_json)


def _hurry(config: Path | None, names: list[ObjectName] | None, as_json: bool) -> int:
    found = configuration(config)
    hurried = _done(found, names)
    if as_json:
        print_json(Hurried(hurried=hurried))
    else:
        out().print(f"{hurried} job{'' if hurried == 1 else 's'} due now; a running node begins within a second or two")
    return hurried


def _done(config: Config, names: list[ObjectName] | None) -> int:
    node = far(config)
    if node is None:
        return hurry_from_outside(data_directory(config), names, SystemClock().now())
    objects = [str(name) for name in names] if names is not None else None
    return node.post(Hurried, "/queue/hurry", wish(HurryWish, objects=objects)).hurried
