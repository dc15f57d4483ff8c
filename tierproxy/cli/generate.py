"""``tierproxy history generate``: realistic mail traffic out of a seed."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tierproxy.cli.outcome import err, out
from tierproxy.cli.settings import AsJson, print_json
from tierproxy.cli.words import bytes_text, count_text, share_text
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError
from tierproxy.traffic import DAY, Event

if TYPE_CHECKING:
    from tierproxy.history.generate import Traffic
    from tierproxy.history.traffic_summary import TrafficSummary

SOURCE = "generated"


class Profile(StrEnum):
    """Which of the documented models."""

    OFFICE = "office"
    HOME = "home"
    ISP = "isp"


def generate(
    directory: Annotated[Path, typer.Argument(metavar="OUT", help="Directory for the segments; made if need be.")],
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days of traffic.")] = 60,
    owners: Annotated[int | None, typer.Option(min=1, help="Mailboxes. Default: the profile's.")] = None,
    mails_per_day: Annotated[
        float | None, typer.Option(min=0, help="Deliveries to one owner on a weekday, on average.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 1,
    start: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC). Default: 2025-01-06, a Monday.")
    ] = None,
    profile: Annotated[Profile, typer.Option(help="Model: docs/traffic.md has every parameter.")] = Profile.OFFICE,
    bucket: Annotated[str, typer.Option(help="Bucket of the objects.")] = "mail",
    as_json: AsJson = False,
) -> None:
    """Generate mail traffic as history segments, for trying rules and sizes without a node.

    Deliveries with bursts and a rhythm, reads, re-reads, searches, downloads, moves, deletions, backups and scans.
    """
    from tierproxy.history.generate import START, Traffic
    from tierproxy.history.traffic_model import model_for
    from tierproxy.history.traffic_summary import TrafficSummary

    wanted = {"owners": owners, "mails_per_day": mails_per_day}
    model = model_for(profile.value, **{name: value for name, value in wanted.items() if value is not None})
    _check_empty(directory)
    begin = start.replace(tzinfo=UTC).date() if start is not None else START
    traffic = Traffic(model, days=days, seed=seed, start=begin, bucket=bucket)
    summary = TrafficSummary()
    files = _write(directory, traffic, summary, quiet=as_json)
    if as_json:
        print_json({"directory": str(directory), "segments": len(files), **summary.as_dict()})
    else:
        _show(summary, directory, files)


def _check_empty(directory: Path) -> None:
    """Two generated histories in one directory would be one history that no node has seen."""
    from tierproxy.history.names import segments

    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is not a directory")
    if segments(directory):
        raise ConfigError(f"{directory} holds history already", hint="name another directory, or remove it first")


def _write(directory: Path, traffic: Traffic, summary: TrafficSummary, *, quiet: bool) -> list[Path]:
    from tierproxy.history.segments import SegmentWriter

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("day {task.completed:.0f} of {task.total:.0f}"),
    )
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err(), disable=quiet) as bars:
        bar = bars.add_task("generating", total=traffic.days)
        begin: float | None = None
        with SegmentWriter(directory, Files(), source=SOURCE) as writer:
            for lot in traffic.lots():
                writer.extend(lot)
                summary.extend(lot)
                begin = lot[0].at if begin is None else begin
                bars.update(bar, completed=_days(lot, begin))
        bars.update(bar, completed=traffic.days)
    return writer.written


def _days(lot: list[Event], begin: float) -> int:
    return int((lot[-1].at - begin) // DAY)


def _show(summary: TrafficSummary, directory: Path, files: list[Path]) -> None:
    console = out()
    segments = count_text(len(files), "segment")
    console.print(f"{count_text(summary.events, 'event')} in {segments} in {directory}", markup=False)
    written = f"{count_text(summary.objects, 'object')} ({bytes_text(summary.bytes)}) written"
    written += f", {summary.deletes:,} deleted"
    console.print(f"{written}; {bytes_text(summary.sent)} read", markup=False)
    reads = ", ".join(f"{reason} {count:,}" for reason, count in summary.reads.most_common())
    console.print(f"reads: {reads or 'none'}", markup=False)
    table = Table("read by people", "objects", "share")
    for times, objects in summary.by_reads().items():
        table.add_row(f"{times} times", f"{objects:,}", share_text(objects, summary.objects))
    console.print(table)
