"""``tierproxy catalogue``: numbers, and the two ways to make it anew."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tierproxy.catalogue import RESERVE, catalogue_file, open_reader
from tierproxy.cli.offline import Offline, offline, progress_bars, run_offline
from tierproxy.cli.outcome import ExitCode, Group, out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_of, print_json
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.errors import BlobMissing, ConfigError, NoSuchBucket
from tierproxy.model import BucketRow, Totals
from tierproxy.store.rebuild import Rebuild, RebuildReport
from tierproxy.store.sync import Sync, SyncReport

commands = typer.Typer(cls=Group, no_args_is_help=True, help="The catalogue: numbers, rebuild, sync with alt.")


@commands.command()
def stat(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Objects, bytes and queue by bucket. Works beside a running node."""
    with open_reader(data_of(config)) as catalogue:
        buckets = {row.name: (row, catalogue.totals(row.name)) for row in catalogue.buckets()}
        everything, queue = catalogue.totals(), catalogue.queue_totals()
    if as_json:
        rows = {name: asdict(row) | asdict(totals) for name, (row, totals) in buckets.items()}
        print_json({"buckets": rows, "total": asdict(everything), "queue": asdict(queue)})
        return
    out().print(_table(buckets, everything))


def _table(buckets: Mapping[str, tuple[BucketRow, Totals]], everything: Totals) -> Table:
    table = Table("bucket", "complete", "objects", "bytes", "on disk", "disk bytes", "only on disk", show_footer=True)
    footer = ["total", "", *_numbers(everything)]
    for column, text in zip(table.columns, footer, strict=True):
        column.footer = text
    for name, (row, totals) in buckets.items():
        table.add_row(name, "yes" if row.complete else "no", *_numbers(totals))
    return table


def _numbers(totals: Totals) -> list[str]:
    dirty = f"{totals.dirty} ({bytes_text(totals.dirty_bytes)})"
    return [str(totals.objects), bytes_text(totals.bytes), str(totals.blobs), bytes_text(totals.blob_bytes), dirty]


@commands.command()
def sync(
    buckets: Annotated[list[str] | None, typer.Argument(metavar="BUCKET", help="Default: every exclusive one.")] = None,
    heads: Annotated[
        bool,
        typer.Option("--heads", help="Ask alt for the headers of every object as well, and make stubs of mails' own."),
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Learn from alt what exclusive buckets hold, so that they answer for themselves. Stop the node first."""
    found = configuration(config)
    chosen = _exclusive(found, buckets or [])
    reports = run_offline(_sync(found, chosen, heads, as_json))
    if as_json:
        print_json([report.as_dict() for report in reports])
    for report in reports if not as_json else []:
        out().print(
            f"{report.bucket}: {report.objects} objects in alt, {report.added} new, {report.lost} lost in alt, "
            f"{report.differing} differing" + (_learnt(report) if heads else "")
        )
    if any(report.lost or report.differing for report in reports):
        raise typer.Exit(ExitCode.FAILED)


def _learnt(report: SyncReport) -> str:
    return f"; headers of {count_text(report.heads, 'object')} learnt, {count_text(report.stubs, 'stub')} made of them"


def _exclusive(config: Config, wanted: list[str]) -> list[str]:
    known = {bucket.name: bucket.exclusive for bucket in config.bucket}
    for name in wanted:
        if name not in known:
            raise NoSuchBucket(f"the configuration has no bucket {name!r}")
        if not known[name]:
            raise ConfigError(f"bucket {name} is not exclusive: alt is asked anyway, there is nothing to complete")
    return wanted or [name for name, exclusive in known.items() if exclusive]


async def _sync(config: Config, buckets: list[str], heads: bool, quiet: bool) -> list[SyncReport]:
    async with offline(config, with_alt=True, begin=True) as room:
        assert room.alt is not None
        stubs = await room.stubs(config.stubs) if heads else None
        mail = {bucket.name for bucket in config.bucket if bucket.mail_metadata}
        catalogue = room.catalogue()
        reports = []
        with progress_bars(quiet=quiet) as progress:
            for name in buckets:
                if catalogue.bucket(name) is None:
                    await catalogue.add_bucket(BucketRow(name, room.clock.now(), created=False, complete=False))
                walk = Sync(
                    catalogue=catalogue,
                    alt=room.alt,
                    bucket=name,
                    heads=heads,
                    progress=progress,
                    stubs=stubs if name in mail else None,
                )
                reports.append(await walk.run())
        return reports


@commands.command()
def rebuild(
    without_alt: Annotated[
        bool,
        typer.Option("--without-alt", help="Do not ask alt: every object will be uploaded, over whatever is there."),
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a new catalogue from the blob files; the old one is moved aside. Stop the node first."""
    found = configuration(config)
    report, aside = run_offline(_rebuild(found, without_alt, as_json))
    if as_json:
        print_json(report.as_dict() | {"old_catalogue": str(aside) if aside else None})
    else:
        _show(report, aside)
    if report.damaged or report.unreadable or report.conflicts:
        raise typer.Exit(ExitCode.FAILED)


def _show(report: RebuildReport, aside: Path | None) -> None:
    console = out()
    counts = {
        "files": report.files, "in alt too": report.clean, "to be uploaded": report.dirty,
        "superseded": report.superseded, "damaged": report.damaged, "unreadable": report.unreadable,
        "conflicts": report.conflicts,
    }  # fmt: skip
    console.print(", ".join(f"{count} {what}" for what, count in counts.items()))
    for kind, examples in report.examples.items():
        console.print(f"{kind}: " + "; ".join(examples), markup=False)
    if aside is not None:
        console.print(f"the old catalogue is in {aside}", markup=False)
    console.print("next: tierproxy catalogue sync, so that exclusive buckets are complete again")


async def _rebuild(config: Config, without_alt: bool, quiet: bool) -> tuple[RebuildReport, Path | None]:
    async with offline(config, with_alt=not without_alt) as room:
        new = room.data / "rebuild"
        _clear(new, room.files)
        catalogue = room.catalogue(new)
        configured = [bucket.name for bucket in config.bucket]
        with progress_bars(quiet=quiet) as progress:
            report = await Rebuild(
                catalogue=catalogue, disk=room.disk, clock=room.clock, alt=room.alt, configured=configured,
                progress=progress,
            ).run()  # fmt: skip
        await catalogue.close()
        await room.stubs(config.stubs, anew=True)  # the new catalogue may give out their generations again
        return report, _exchange(room, new)


def _clear(directory: Path, files: Files) -> None:
    """What a rebuild that was cut off, or one that is done, left."""
    for path in sorted(directory.rglob("*"), reverse=True):
        (files.rmdir if path.is_dir() else files.unlink)(path)


def _exchange(room: Offline, new: Path) -> Path | None:
    """The old catalogue moves aside, the new one takes its place; both durable. Cut off in between there is no
    catalogue at all: this command can simply be run again."""
    files = room.files
    old = catalogue_file(room.data).parent
    aside = room.data / f"catalogue.{int(room.clock.now())}"
    had_one = old.exists()
    if had_one:
        files.rename(old, aside)
        with suppress(BlobMissing):
            files.unlink(aside / RESERVE)  # the room is the new one's
    files.rename(catalogue_file(new).parent, old)
    _clear(new, files)
    files.rmdir(new)
    files.fsync_dir(room.data)
    return aside if had_one else None
