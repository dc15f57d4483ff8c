"""``tierproxy purge``: what the rules would remove, and removing it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from tierproxy.cli.node import far, near, wish
from tierproxy.cli.objects import readable
from tierproxy.cli.outcome import ExitCode, err, out, warn
from tierproxy.cli.purging import carried_out
from tierproxy.cli.questions import agreed, usage
from tierproxy.cli.rulefile import user
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import ago, bytes_text, count_text, share_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk.plan import Wanted, plan
from tierproxy.wire.purges import PlanCount, PurgePlan, Run, RunWish

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; also confirms a run that waits.")]
STAYS = {
    "dirty": "that alt does not have yet",
    "pinned": "that are pinned",
    "young": "younger on disk than min_on_disk",
}
NAMED = 1000  #: objects that a node names at once


def purge(
    target: Annotated[str, typer.Argument(metavar="[BUCKET[/PREFIX]]", help="Only this; without: everything.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and why.")] = False,
    rule: Annotated[str, typer.Option(metavar="NAME", help="Only what this rule purges.")] = "",
    everything: Annotated[
        bool,
        typer.Option("--all", help="All below BUCKET/PREFIX that alt has, whatever rules keep; not what is pinned."),
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Objects to name in a dry run.")] = 20,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    yes: Yes = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove from disk what the rules purge, now. Alt has every object that goes. A running node does it; Ctrl-C asks
    it to stop."""
    found = configuration(config)
    with usage():
        wanted = Wanted(readable(target), rule, everything)
        planned = _planned(found, wanted, limit if dry_run else 0)
    for text in planned.warnings:
        warn(text)
    if dry_run and as_json:
        print_json(planned)
        return
    if not as_json:
        _print_plan(planned)
    if dry_run:
        return
    if planned.total.objects:
        agreed(yes, question(planned))
    order = wish(
        RunWish, target=target, rule=rule, everything=everything, reason=reason, author=user(),
        confirmed=yes or planned.asks_first,
    )  # fmt: skip
    run = asyncio.run(carried_out(found, order, SystemClock(), quiet=as_json))
    _report(run, as_json)
    if run.state != "done":
        raise typer.Exit(ExitCode.FAILED)


def _planned(config: Config, wanted: Wanted, limit: int) -> PurgePlan:
    """As it is now: a node computes it anew."""
    node, now = far(config) if limit <= NAMED else None, SystemClock().now()
    if node is None:
        return near(config, lambda catalogue: plan(config, catalogue, wanted, now, limit))
    return node.get(
        PurgePlan, "/purge/plan", target=wanted.target, rule=wanted.rule, everything=wanted.everything, limit=limit,
        fresh=True,
    )  # fmt: skip


def question(planned: PurgePlan) -> str:
    """Before the run."""
    going = planned.total
    ask = f"remove {count_text(going.objects, 'object')} with {bytes_text(going.bytes)} from disk?"
    if not planned.asks_first:
        return ask
    share = share_text(going.recent_bytes, planned.recent_bytes)
    return f"{share} of what was read in the last {planned.recent_days} days would go ({going.recent_objects:,}). {ask}"


def _print_plan(planned: PurgePlan) -> None:
    screen = console()
    screen.print(f"rules: {planned.rules_about}", markup=False)
    days = planned.recent_days
    made = table(["would go, by rule"], ["objects", "bytes", "reads 7d", "30d", f"read in {days}d", "bytes"])
    screen.print(filled(made, map(_count_line, [*planned.rules, planned.total])))
    for kind, amount in planned.stays.items():
        if amount.objects:
            why = STAYS.get(kind, kind)
            screen.print(f"stays: {count_text(amount.objects, 'object')} with {bytes_text(amount.bytes)} {why}")
    for line in _object_lines(planned) if planned.objects else ():
        out().print(line, markup=False)
    if planned.objects and planned.total.objects > len(planned.objects):
        screen.print(f"and {count_text(planned.total.objects - len(planned.objects))} more: --limit shows them")


def _count_line(count: PlanCount) -> list[str]:
    worth = [count_text(count.reads_7d), count_text(count.reads_30d)]
    recent = [count_text(count.recent_objects), bytes_text(count.recent_bytes)]
    name = count.rule if count.rule is not None else "total"
    return [name, count_text(count.objects), bytes_text(count.bytes), *worth, *recent]


def _object_lines(planned: PurgePlan) -> Iterator[str]:
    """A line per object, as wide as it needs to be: for grep as much as for eyes."""
    form = "{:>8} {:>6} {:>6} {:>10}  {}"
    yield form.format("size", "age", "reads", "last read", "object (rule), by name")
    for one in planned.objects:
        last = f"{ago(planned.computed_at - one.last_read_at)} ago" if one.last_read_at else "never"
        age = ago(one.age) if one.age is not None else "?"
        yield form.format(bytes_text(one.size), age, str(one.reads), last, f"{one.object} ({one.rule})")


def _report(run: Run, as_json: bool) -> None:
    if as_json:
        print_json(run)
        return
    done = f"{count_text(run.objects, 'object')} with {bytes_text(run.bytes)} removed from disk"
    skipped = f", {count_text(run.skipped)} had changed or were being read" if run.skipped else ""
    out().print(f"run {run.number} is {run.state}: {done}{skipped}")
    if run.note:
        out().print(run.note, markup=False)
    if run.state == "waiting":
        err().print("hint: `tierproxy purge --yes` with the same arguments confirms it, `runs --cancel` ends it")
