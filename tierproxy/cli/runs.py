"""``tierproxy runs``: the record of what was removed, and the end of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from tierproxy.catalogue import open_outside
from tierproxy.cli.held import reason_text
from tierproxy.cli.node import far, near
from tierproxy.cli.outcome import out
from tierproxy.cli.questions import usage
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import runs as desk
from tierproxy.errors import StaleGeneration
from tierproxy.wire.purges import Run

MOST = 1000  #: runs that a node tells at once


def runs(
    number: Annotated[int | None, typer.Argument(help="One run, with what it removed by rule.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Runs to show, newest first.")] = 20,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    cancel: Annotated[int | None, typer.Option(metavar="NUMBER", help="Ask for the end of this run.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Purge runs, by rules, by pressure and by command: when, why, how much."""
    found = configuration(config)
    with usage():
        if cancel is not None:
            _tell_end(_cancelled(found, cancel), as_json)
        elif number is not None:
            _tell_run(_run(found, number), as_json)
        else:
            _tell_runs(_runs(found, limit, open_only), open_only, as_json)


def _runs(config: Config, limit: int, open_only: bool) -> list[Run]:
    node = far(config) if limit <= MOST else None
    if node is not None:
        return node.get(list[Run], "/runs", limit=limit, open=open_only)
    return near(config, lambda catalogue: desk.listed(catalogue, limit, open_only=open_only))


def _run(config: Config, number: int) -> Run:
    node = far(config)
    if node is not None:
        return node.get(Run, f"/runs/{number}")
    return near(config, lambda catalogue: desk.one(catalogue, number))


def _cancelled(config: Config, number: int) -> Run:
    """Raises a usage error for one that cannot be ended (any more)."""
    node = far(config)
    try:
        if node is not None:
            return node.post(Run, f"/runs/{number}/cancel")
        near(config, lambda catalogue: desk.cancellable(desk.known(catalogue, number)))
        with open_outside(data_directory(config)) as outside:
            run = outside.cancel_run(number, at=SystemClock().now())
        if run is None:
            raise StaleGeneration(f"run {number} has ended")
        return desk.document(run)
    except StaleGeneration as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise typer.BadParameter(f"{error}{hint}", param_hint="--cancel") from error


# ------------------------------------------------------------ in words


def _tell_runs(found: list[Run], open_only: bool, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif not found:
        out().print("no run has not ended" if open_only else "no purge run yet")
    else:
        made = table(["run", "asked", "by", "state", "for"], ["objects", "bytes"])
        console().print(filled(made, map(_run_line, found)))


def _run_line(run: Run) -> list[str]:
    about = ", ".join(part for part in (run.kind, run.rule, _confined(run), run.reason, run.note) if part)
    text = [str(run.number), moment(run.at), run.author, run.state, about]
    return [*text, count_text(run.objects), bytes_text(run.bytes)]


def _confined(run: Run) -> str:
    return "/".join(part for part in (run.bucket, run.prefix) if part)


def _tell_run(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    facts = {
        "kind": run.kind, "state": run.state, "asked": f"{moment(run.at)} by {run.author}",
        "rules": f"version {run.rules}", "only": _confined(run), "only rule": run.rule, "reason": run.reason,
        "begun": moment(run.started_at) if run.started_at else "",
        "ended": moment(run.ended_at) if run.ended_at else "",
        "planned": _planned(run),
        "removed": f"{count_text(run.objects, 'object')}, {bytes_text(run.bytes)}; {run.skipped} stayed",
        "note": run.note,
    }  # fmt: skip
    made = table(["", f"run {run.number}"], [])
    console().print(filled(made, ([name, value] for name, value in facts.items() if value)))
    by = table(["removed by", "had been kept by"], ["objects", "bytes"])
    lines = (
        [reason_text(one.by), one.rule, count_text(one.objects), bytes_text(one.bytes)] for one in run.by_rule or ()
    )
    console().print(filled(by, lines))


def _planned(run: Run) -> str:
    if run.kind == "pressure":
        return f"as many objects as make {bytes_text(run.planned_bytes)}"
    return f"{count_text(run.planned_objects, 'object')}, {bytes_text(run.planned_bytes)}"


def _tell_end(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(run)
    else:
        out().print(f"run {run.number} is {run.state}" + (", and ends soon" if run.state == "running" else ""))
