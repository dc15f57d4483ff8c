"""``tierproxy history``: what was read, written, deleted and purged. Works beside a running node."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tierproxy.cli.generate import generate
from tierproxy.cli.outcome import ExitCode, Group, err, out, warn
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.values import date_of
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError
from tierproxy.mail.names import Naming
from tierproxy.traffic import Reason

if TYPE_CHECKING:
    from tierproxy.history.importers import ImportReport
    from tierproxy.history.reading import History
    from tierproxy.history.summary import Summary

commands = typer.Typer(
    cls=Group, no_args_is_help=True, help="History: what was read, written, deleted and purged; import and export."
)
commands.command()(generate)

From = Annotated[
    list[Path] | None,
    typer.Option("--from", help="Directory of segments, or a Parquet file. Default: the data directory."),
]
Since = Annotated[str | None, typer.Option(help="From this date or time on, as 2027-01-31 or 2027-01-31T12:00 (UTC).")]
Until = Annotated[str | None, typer.Option(help="Before this date or time.")]
DAYS_SHOWN = 14


class Format(StrEnum):
    """What can be imported."""

    NGINX = "nginx"
    S3 = "s3"
    JSONL = "jsonl"
    CSV = "csv"


def _opened(config: Path | None, places: list[Path] | None) -> History:
    from tierproxy.history.reading import open_history

    history = open_history(*(places or [data_directory(configuration(config))]))
    _tell_skipped(history)
    return history


def _tell_skipped(history: History, told: int = 0) -> None:
    for skipped in history.skipped[told:]:
        warn(f"skipped {skipped.path}: {skipped.why}")


def _time(text: str | None, option: str) -> float | None:
    return None if text is None else date_of(text, option)


@commands.command()
def head(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Events to show, oldest first.")] = 20,
    since: Since = None,
    until: Until = None,
    key: Annotated[str, typer.Option(help="Only keys that match this shell pattern.")] = "*",
    places: From = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show events, oldest first; as JSON one object a line."""
    from tierproxy.history.records import written_time

    history = _opened(config, places)
    found = history.events(_time(since, "--since"), _time(until, "--until"), key=key)
    shown = [event | {"at": written_time(event["at"])} for event in islice(found, limit)]
    if as_json:
        sys.stdout.writelines(json.dumps(event) + "\n" for event in shown)
        return
    for line in _lines(shown):
        out().print(line, markup=False)
    if not shown:
        out().print("no events")


def _lines(events: list[dict[str, Any]]) -> Iterator[str]:
    """A line per event, as wide as it needs to be: for grep as much as for eyes."""
    form = "{:<19}  {:<12} {:<8} {:<8} {:>8} {:>8}  {}"
    if events:
        yield form.format("time (UTC)", "kind", "outcome", "reason", "size", "sent", "object")
    for event in events:
        kind = event["kind"] if event["first"] else f"{event['kind']} (range)"
        sizes = bytes_text(event["size"]), bytes_text(event["sent"])
        name = f"{event['bucket']}/{event['key']}" + (f"  ({event['by']})" if event["by"] else "")
        time = event["at"][:19].replace("T", " ")
        yield form.format(time, kind, event["outcome"] or "-", event["reason"] or "-", *sizes, name)


@commands.command()
def stats(
    since: Since = None,
    until: Until = None,
    days: Annotated[int, typer.Option(min=0, help="Days to show, the last ones; 0 for all.")] = DAYS_SHOWN,
    places: From = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Count events: reads by outcome and reason, hit ratio, objects, owners, bytes, days."""
    from tierproxy.history.summary import summarise

    history = _opened(config, places)
    summary = summarise(history, _time(since, "--since"), _time(until, "--until"))
    if as_json:
        print_json(asdict(summary) | {"skipped": [asdict(one) for one in history.skipped]})
        return
    _show(summary, days)


def _show(summary: Summary, days: int) -> None:
    from tierproxy.history.records import written_time

    if summary.first is None or summary.last is None:
        out().print("no events")
        return
    first, last = (written_time(round(at * 1_000_000))[:19].replace("T", " ") for at in (summary.first, summary.last))
    counts = ", ".join(f"{count:,} {kind}s" for kind, count in summary.kinds.items())
    out().print(f"{summary.events:,} events from {first} to {last} UTC: {counts}")
    out().print(
        f"{summary.objects:,} objects of {summary.owners:,} owners; {bytes_text(summary.sent)} read, "
        f"{bytes_text(summary.written)} written; {summary.regretted:,} reads missed because of a purge"
    )
    out().print(f"hit ratio {_percent(summary.hit_ratio)}, of bytes {_percent(summary.byte_hit_ratio)}")
    reads = [
        [row.outcome or "not known", row.reason or "-", f"{row.reads:,}", f"{row.gets:,}", bytes_text(row.sent)]
        for row in summary.reads
    ]
    console().print(filled(table(["from", "for"], ["reads", "requests", "bytes"]), reads))
    rows = [
        [day.day, *(f"{count:,}" for count in (day.events, day.reads, day.writes, day.deletes, day.purges)),
         bytes_text(day.sent)]
        for day in summary.days[-days or None :]
    ]  # fmt: skip
    console().print(filled(table(["day"], ["events", "reads", "writes", "deletes", "purges", "bytes read"]), rows))
    if days and len(summary.days) > days:
        out().print(f"{len(summary.days) - days} earlier days: --days 0")


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{share:.1%}"


@commands.command()
def export(
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Directory for segments; or a file that ends in .jsonl or .csv.")
    ],
    since: Since = None,
    until: Until = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Replace buckets, keys, owners, clients and folder names by hashes.")
    ] = False,
    salt_file: Annotated[
        Path | None,
        typer.Option(help="Secret of the hashes, made if need be: exports with the same one fit together."),
    ] = None,
    places: From = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write history somewhere else, with --anonymise without the people in it.

    Times, sizes, kinds, outcomes, reasons and folder classes stay readable, and of keys their depth, the words of mail
    formats, numbers as in u.17, and known extensions.
    """
    from tierproxy.history.anonymise import Anonymiser
    from tierproxy.history.export import Export

    if salt_file is not None and not anonymise:
        raise typer.BadParameter("it is for --anonymise", param_hint="--salt-file")
    _check_target(target)
    history = _opened(config, places)
    with _bar("exporting", history.rows, quiet=as_json) as progress:
        work = Export(
            history, since=_time(since, "--since"), until=_time(until, "--until"),
            anonymiser=Anonymiser(_salt(salt_file)) if anonymise else None, progress=progress,
        )  # fmt: skip
        before = len(history.skipped)
        _write(work, target)
    _tell_skipped(history, before)
    if as_json:
        print_json({"events": work.events, "out": str(target), "skipped": [asdict(one) for one in history.skipped]})
    else:
        out().print(f"{work.events:,} events in {target}", markup=False)


def _check_target(target: Path) -> None:
    from tierproxy.history.names import segments

    if target.exists() and (not target.is_dir() or segments(target)):
        raise ConfigError(f"{target} is there already", hint="name another place, or remove it first")


def _write(work: Any, target: Path) -> None:
    form = target.suffix.lstrip(".")
    if form not in {"jsonl", "csv"}:
        work.to_directory(target, Files())
        return
    with target.open("xb") as file:
        work.to_text(form, file)


def _salt(path: Path | None) -> bytes:
    """The content of ``path``, which is made with 32 random bytes (mode 0600) when it is not there. Without a path
    nobody keeps the salt: another export cannot be put beside this one."""
    if path is None:
        return secrets.token_bytes(32)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        salt = path.read_bytes()
        if len(salt) < 16:
            raise ConfigError(f"{path} holds less than 16 bytes, which can be guessed") from None
        return salt
    salt = secrets.token_bytes(32)
    with os.fdopen(fd, "wb") as file:
        file.write(salt)
    return salt


@commands.command("import")
def import_logs(
    form: Annotated[Format, typer.Argument(metavar="FORMAT", help="nginx, s3, jsonl or csv.")],
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Logs, plain or gzip, oldest first."),
    ],
    directory: Annotated[Path | None, typer.Option("--out", help="Directory for the segments.")] = None,
    into_data: Annotated[bool, typer.Option("--into-data", help="Into the data directory, beside its own.")] = False,
    bucket: Annotated[str, typer.Option(help="Bucket of all objects; default: the path or the log says it.")] = "",
    pattern: Annotated[
        str,
        typer.Option(
            "--path",
            help="Regular expression for whole paths, with the groups key and bucket. Default: /BUCKET/KEY.",
        ),
    ] = "",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Read access logs into history segments.

    GET 200 and 206 become reads, PUT 200 writes, DELETE 204 deletes; everything else is left out and counted. Owners
    and folders come from the keys as `naming` and `folders` of the configuration say.
    """
    from tierproxy.history.importers import Importer, Target
    from tierproxy.history.segments import SegmentWriter

    if (directory is None) != into_data:
        raise typer.BadParameter("say one of --out DIR and --into-data")
    found = configuration(config) if config or into_data else Config()  # to be tried before anything is set up
    target = Target.of(pattern, bucket)
    writer = SegmentWriter(directory or data_directory(found) / "history", Files(), source=form.value)
    with _bar("importing", sum(path.stat().st_size for path in paths), quiet=as_json) as progress:
        report = Importer(
            form.value, writer, target=target, naming=Naming(found.naming, found.folders).of, reason=_reasons(found),
            window=found.counting.range_window, progress=progress,
        ).run(paths)  # fmt: skip
    _report(report, writer.directory, as_json)
    if into_data:
        _tell_doomed(found, writer.directory)
    if not report.events:
        raise typer.Exit(ExitCode.FAILED)


def _tell_doomed(config: Config, directory: Path) -> None:
    """What was taken in may be older, or more, than a node keeps."""
    from tierproxy.history.names import segments
    from tierproxy.history.retention import surplus

    kept, limits = sorted(segments(directory)), config.history
    oldest = (SystemClock().now() - limits.max_age) * 1000
    going = [one for one in surplus(kept, oldest=oldest, max_bytes=limits.max_bytes) if one.source]
    if going:
        warn(
            f"{count_text(len(going), 'imported segment')} older than [history] max_age or beyond max_bytes: a node "
            "removes them. Raise these options, or import with --out"
        )


def _reasons(config: Config) -> Callable[[str, str], Reason]:
    """What ``[counting]`` says of user agents and keys, as for requests."""
    import fnmatch
    import re

    def one_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
        return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")

    keys, agents = one_of(config.counting.machine_keys), one_of(config.counting.machine_user_agents)

    def reason(agent: str, key: str) -> Reason:
        if keys.match(key):
            return Reason.INDEX
        return Reason.SCAN if agent and agents.match(agent) else Reason.PERSON

    return reason


def _report(report: ImportReport, directory: Path, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict() | {"out": str(directory)})
        return
    for example in report.examples:
        warn(example)
    if report.bad > len(report.examples):
        warn(f"{report.bad - len(report.examples)} more lines could not be understood")
    for what, count in report.skipped.most_common(10):
        err().print(f"left out: {count:,} {what}", markup=False)
    out().print(
        f"{count_text(report.events, 'event')} of {count_text(report.lines, 'line')} in "
        f"{count_text(report.segments, 'segment')} in {directory}; {count_text(report.bad, 'bad line')}, "
        f"{report.skipped.total():,} left out",
        markup=False,
    )


@contextmanager
def _bar(what: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    if quiet:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err(), transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
        bars.update(task, completed=total)
