"""``tierproxy check``: do files, catalogue and alt agree?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from tierproxy.cli.offline import offline, progress_bars, run_offline
from tierproxy.cli.outcome import ExitCode, out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.words import bytes_text
from tierproxy.config.sections import Config
from tierproxy.store.check import Check, CheckReport


def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Forget damaged copies, remove leftovers; never the only copy of anything.")
    ] = False,
    with_alt: Annotated[bool, typer.Option("--alt", help="Compare exclusive buckets with alt as well.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare files with the catalogue, and the catalogue with files (and with alt: --alt). Stop the node first."""
    report = run_offline(_run(configuration(config), repair, with_alt, as_json))
    if as_json:
        print_json(report.as_dict())
    else:
        _show(report)
    if report.unrepaired:
        raise typer.Exit(ExitCode.FAILED)


async def _run(config: Config, repair: bool, with_alt: bool, quiet: bool) -> CheckReport:
    buckets = [bucket.name for bucket in config.bucket if bucket.exclusive]
    async with offline(config, with_alt=with_alt) as room:
        with progress_bars(quiet=quiet) as progress:
            return await Check(
                catalogue=room.catalogue(), disk=room.disk, clock=room.clock, alt=room.alt, buckets=buckets,
                repair=repair, progress=progress,
            ).run()  # fmt: skip


def _show(report: CheckReport) -> None:
    alt = f", {report.alt_objects} objects in alt" if report.alt_objects else ""
    console = out()
    rows = f"{report.rows} rows with {bytes_text(report.blob_bytes)}"
    console.print(f"checked {rows}, {report.files} files, {report.parts} parts{alt}")
    if report.sound:
        console.print("everything agrees")
        return
    table = Table("found", "times", "repaired")
    for kind, finding in report.findings.items():
        table.add_row(kind.value, str(finding.count), str(finding.repaired))
    console.print(table)
    for kind, finding in report.findings.items():  # not in the table, which would fold or cut them
        for example in finding.examples:
            console.print(f"{kind.value}: {example}", markup=False)
    console.print("what each of them means, and what --repair does: docs/operations.md")
