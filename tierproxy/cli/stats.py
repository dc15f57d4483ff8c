"""``tierproxy stats``: how often mails are read, what lives on disk, what the rules hold, removed and cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.table import Table

from tierproxy.cli.held import show_held
from tierproxy.cli.node import far, near
from tierproxy.cli.outcome import out, warn
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bar, bytes_text, count_text, share_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import rules as rule_desk
from tierproxy.desk import stats as desk
from tierproxy.stats import READ_CLASSES, Breakdown
from tierproxy.wire.rules import RulesHeld
from tierproxy.wire.stats import StatsRow, StatsTable


def stats(
    by: Annotated[Breakdown, typer.Option("--by", help="What the rows are.")] = Breakdown.AGE,
    bucket: Annotated[str, typer.Option(help="Only this bucket; empty for all.")] = "",
    days: Annotated[int, typer.Option(min=1, help="--by rule: removed and regretted in so many days.")] = 30,
    search: Annotated[str, typer.Option(help="Only rows with this in their name, as in alice.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Rows to show; 0 for all.")] = 30,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """How many mails were read 0, 1, 2, 3-5, 6+ times, by age; or by owner, folder, rule or day of reading."""
    found = configuration(config)
    if by is Breakdown.RULE:
        show_held(_held(found, bucket, days), as_json)
        return
    counted = _counted(found, by, bucket, search)
    for text in counted.warnings:
        warn(text)
    if as_json:
        print_json(counted)
        return
    _print(counted, limit)


def _counted(config: Config, by: Breakdown, bucket: str, search: str) -> StatsTable:
    """All rows, as they are now: a node that has counted before counts anew."""
    node, now = far(config), SystemClock().now()
    if node is not None:
        query = {"by": str(by), "bucket": bucket, "search": search}
        return node.get(StatsTable, "/stats", limit=0, fresh=True, **query)
    return near(config, lambda catalogue: desk.part(desk.table(config, catalogue, now, by, bucket), search=search))


def _held(config: Config, bucket: str, days: int) -> RulesHeld:
    node, now = far(config), SystemClock().now()
    if node is not None:
        return node.get(RulesHeld, "/rules", days=days, bucket=bucket or None, fresh=True)
    return near(config, lambda catalogue: rule_desk.held(config, catalogue, now, days=days, bucket=bucket))


# ------------------------------------------------------------ tables


def _print(counted: StatsTable, limit: int) -> None:
    shown = desk.part(counted, limit).rows
    screen, total = console(), counted.total
    if counted.by is Breakdown.DAY:
        screen.print(_by_day(shown, total))
    else:
        screen.print(_by_reads(counted.by, shown, total))
    if len(shown) < len(counted.rows):
        screen.print(f"{len(counted.rows) - len(shown)} more rows: --limit 0 shows all")
    if counted.by is Breakdown.AGE:
        screen.print(_question(total))
    for line in _sentences(counted) if counted.by is not Breakdown.DAY else _hit_lines(counted):
        out().print(line, markup=False)


def _by_reads(by: Breakdown, rows: Sequence[StatsRow], total: StatsRow) -> Table:
    made = table([str(by)], ["objects", "bytes", "on disk", *READ_CLASSES], title="Read by people, times:")
    lines = [_reads_line(row, row.label or "(not known)") for row in rows]
    return filled(made, [*lines, _reads_line(total, "all")])


def _reads_line(row: StatsRow, label: str) -> list[str]:
    shares = [share_text(count, row.objects) for count in row.by_reads]
    return [label, count_text(row.objects), bytes_text(row.bytes), bytes_text(row.disk_bytes), *shares]


def _question(total: StatsRow) -> Table:
    """The seed's question, answered once over all ages."""
    made = table(["times read"], ["objects", "share"], title="How many mails were read how often:")
    made.add_column("")
    parts = zip(READ_CLASSES, total.by_reads, strict=True)
    return filled(
        made,
        (
            [name, count_text(count), share_text(count, total.objects), bar(count, total.objects)]
            for name, count in parts
        ),
    )


def _by_day(rows: Sequence[StatsRow], total: StatsRow) -> Table:
    most = max((row.reads for row in rows), default=0)
    made = table(["day"], ["objects read", "by people", "by machines"], title="Reads by day (UTC):")
    made.add_column("")
    lines = [[*_day_line(row), bar(row.reads, most)] for row in rows]
    return filled(made, [*lines, ["all", *_day_line(total)[1:], ""]])


def _day_line(row: StatsRow) -> list[str]:
    return [row.label, count_text(row.objects), count_text(row.reads), count_text(row.machine_reads)]


def _sentences(counted: StatsTable) -> Iterator[str]:
    total, disk = counted.total, counted.disk
    yield f"objects   {count_text(total.objects)} with {bytes_text(total.bytes)}"
    yield f"on disk   {count_text(total.disk_objects)} with {bytes_text(total.disk_bytes)}"
    waters = f"pressure from {bytes_text(disk.high)} down to {bytes_text(disk.low)}"
    yield f"budget    {share_text(disk.used, disk.max_bytes)} of {bytes_text(disk.max_bytes)} used; {waters}"
    for bucket, part in counted.bucket_budgets.items():
        taken = share_text(part.used, part.max_bytes)
        yield f"          bucket {bucket}: {taken} of {bytes_text(part.max_bytes)} used"
    yield f"reads     {count_text(total.reads)} by people, {count_text(total.machine_reads)} by machines"
    yield from _hit_lines(counted)


def _hit_lines(counted: StatsTable) -> Iterator[str]:
    """People's first: what machines get says nothing of how mail is served."""
    people = {label: (one.hits, one.reads) for label, one in counted.people.items()}
    yield f"hits      people: {_of_times(people)} reads"
    yield f"          all:    {_of_times({label: (one.hits, one.gets) for label, one in counted.hits.items()})} gets"
    stubs = [f"{label} {count_text(one.stubs)}" for label, one in counted.hits.items() if one.stubs]
    if stubs:
        yield f"          beside: {', '.join(stubs)} gets from stubs"


def _of_times(shares: dict[str, tuple[int, int]]) -> str:
    return ", ".join(
        f"{label} {share_text(hits, all_)} of {count_text(all_)}" for label, (hits, all_) in shares.items()
    )
