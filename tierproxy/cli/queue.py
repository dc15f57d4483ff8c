"""``tierproxy queue``: what alt does not have yet. Works beside a running node and without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tierproxy.catalogue import CatalogueReader, hurry_from_outside, open_reader
from tierproxy.cli.objects import parse
from tierproxy.cli.outcome import Group, out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.words import ago, bytes_text
from tierproxy.clock import SystemClock
from tierproxy.errors import NoSuchKey
from tierproxy.model import Job, ObjectName, QueueTotals

commands = typer.Typer(cls=Group, no_args_is_help=True, help="The upload queue: what alt does not have yet.")
PAGE = 1000


@commands.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Jobs to show, oldest first; 0 for all.")] = 50,
    failing: Annotated[bool, typer.Option("--failing", help="Only jobs that have failed before.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the jobs that wait: uploads and deletes, oldest first."""
    with open_reader(data_of(config)) as catalogue:
        totals = catalogue.queue_totals()
        shown = list(_first(_jobs(catalogue, failing), limit))
    now = SystemClock().now()
    if as_json:
        print_json({"totals": asdict(totals), "jobs": [_row(job) for job in shown]})
        return
    for line in _lines(shown, now) if shown else ():
        out().print(line, markup=False)
    out().print(_sentence(totals, now))


def data_of(config: Path | None) -> Path:
    return data_directory(configuration(config))


def _jobs(catalogue: CatalogueReader, failing: bool) -> Iterator[Job]:
    after = 0
    while page := catalogue.jobs(after, PAGE):
        yield from (job for job in page if job.attempts or not failing)
        after = page[-1].generation


def _first(jobs: Iterator[Job], limit: int) -> Iterator[Job]:
    for number, job in enumerate(jobs):
        if limit and number >= limit:
            return
        yield job


def _row(job: Job) -> dict[str, Any]:
    return asdict(job) | {"name": str(job.name), "kind": str(job.kind)}


def _lines(jobs: list[Job], now: float) -> Iterator[str]:
    """A line per job, as wide as it needs to be: for grep as much as for eyes."""
    form = "{:<7} {:>8} {:>10} {:>5} {:>9}  {}"
    yield form.format("kind", "size", "queued", "tries", "next", "object")
    for job in jobs:
        next_try = "now" if job.next_try_at <= now else f"in {ago(job.next_try_at - now)}"
        facts = (str(job.kind), bytes_text(job.size), f"{ago(now - job.queued_at)} ago", str(job.attempts), next_try)
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
    hurried = hurry_from_outside(data_of(config), names, SystemClock().now())
    if as_json:
        print_json({"hurried": hurried})
    else:
        out().print(f"{hurried} job{'' if hurried == 1 else 's'} due now; a running node begins within a second or two")
    return hurried
