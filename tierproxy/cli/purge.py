"""``tierproxy purge`` and ``runs``: what the rules would remove, removing it, and the record of what was removed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tierproxy.catalogue import CatalogueReader, open_outside, open_reader
from tierproxy.cli.inforce import Source, in_force
from tierproxy.cli.objects import readable
from tierproxy.cli.outcome import ExitCode, err, out
from tierproxy.cli.purging import Order, carried_out
from tierproxy.cli.questions import agreed
from tierproxy.cli.rulefile import author
from tierproxy.cli.settings import AsJson, ConfigFile, calmly, configuration, data_directory, print_json
from tierproxy.cli.stats import reason_text
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import ago, bytes_text, count_text, moment, share_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.errors import NoSuchBucket
from tierproxy.purge.plan import doubtful
from tierproxy.purge.plan import everything as all_of
from tierproxy.purges import Candidate, PurgeRun, RuleCount, RunKind, RunState, Scope, Survey
from tierproxy.rules.model import ActionKind

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; also confirms a run that waits.")]


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
    found, now = configuration(config), SystemClock().now()
    with open_reader(data_directory(found)) as catalogue:
        wanted = Wanted(target, rule, everything)
        plan = calmly(lambda: _plan(found, catalogue, wanted, now, limit if dry_run else 0))
    if dry_run and as_json:
        print_json(plan.document())
        return
    if not as_json:
        _print_plan(plan)
    if dry_run:
        return
    if plan.going.objects:
        agreed(yes, plan.question())
    scope = plan.scope
    order = Order(
        scope.bucket, scope.prefix, rule, author(), reason, confirmed=yes or plan.risky, everything=everything
    )
    run = asyncio.run(carried_out(found, order, SystemClock(), quiet=as_json))
    _report(run, as_json)
    if run.state is not RunState.DONE:
        raise typer.Exit(ExitCode.FAILED)


@dataclass(frozen=True, slots=True)
class Plan:
    """A dry run. ``objects``: the first that would go, by name, with what is known of each. ``recent_bytes``: on disk
    and read recently, whatever the dry run is confined to."""

    source: Source
    scope: Scope
    survey: Survey
    objects: tuple[dict[str, Any], ...]
    recent_bytes: int

    def counts(self) -> Iterator[tuple[str, RuleCount]]:
        """Each rule that purges, by name, and what it decides."""
        found: dict[str, RuleCount] = {}  # an operator's word stands in several places
        for index, one in enumerate(self.scope.rules.rules):
            wanted = self.scope.rule is None or self.scope.rule == index
            if wanted and one.then is not None and one.then.kind is ActionKind.PURGE:
                name = one.name.strip()  # an operator's word begins with a space
                found[name] = _sum([self.survey.of(index), *filter(None, [found.get(name)])])
        yield from found.items()

    @property
    def going(self) -> RuleCount:
        """All that would go."""
        return _sum([count for _, count in self.counts()])

    @property
    def risky(self) -> bool:
        """More of what was read recently would go than [safety] lets go unasked."""
        return bool(doubtful(self.scope, self.survey, self.recent_bytes))

    def question(self) -> str:
        """Before the run."""
        safety, going = self.scope.rules.safety, self.going
        ask = f"remove {count_text(going.objects, 'object')} with {bytes_text(going.bytes)} from disk?"
        if not self.risky:
            return ask
        share = share_text(going.recent_bytes, self.recent_bytes)
        return (
            f"{share} of what was read in the last {safety.recent_days} days would go ({going.recent_objects:,}). {ask}"
        )

    def document(self) -> dict[str, Any]:
        """--dry-run --json."""
        survey = self.survey
        stays = {"dirty": survey.dirty, "pinned": survey.pinned, "young": survey.young}
        return {
            "rules_version": self.source.force.number,
            "bucket": self.scope.bucket or None, "prefix": self.scope.prefix,
            "rules": [_count(name, count) for name, count in self.counts()],
            "total": _count(None, self.going),
            "stays": {why: {"objects": pair[0], "bytes": pair[1]} for why, pair in stays.items()},
            "recent_bytes": self.recent_bytes, "asks_first": self.risky,
            "objects": list(self.objects),
        }  # fmt: skip


def _sum(counts: list[RuleCount]) -> RuleCount:
    return RuleCount(
        None, sum(one.objects for one in counts), sum(one.bytes for one in counts),
        sum(one.recent_objects for one in counts), sum(one.recent_bytes for one in counts),
        sum(one.reads_7d for one in counts), sum(one.reads_30d for one in counts),
    )  # fmt: skip


def _count(name: str | None, count: RuleCount) -> dict[str, Any]:
    document = asdict(count)
    return document | {"rule": name}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed. Raises a usage error when it contradicts itself."""

    target: str
    rule: str
    everything: bool

    def __post_init__(self) -> None:
        if self.everything and not self.target:
            raise typer.BadParameter("say of which BUCKET or BUCKET/PREFIX", param_hint="--all")
        if self.everything and self.rule:
            raise typer.BadParameter("--all and --rule exclude each other", param_hint="--all")


def _plan(config: Config, catalogue: CatalogueReader, wanted: Wanted, now: float, limit: int) -> Plan:
    bucket, prefix = _confined(wanted.target)
    if bucket and catalogue.bucket(bucket) is None:
        raise NoSuchBucket(f"there is no bucket {bucket!r}")
    source = in_force(config, catalogue)
    if wanted.everything:
        source = replace(source, force=replace(source.force, rules=all_of(source.rules)))
    scope = Scope(source.rules, now, bucket, prefix, _index(source, wanted.rule) if wanted.rule else None)
    candidates = catalogue.decided(scope, None, limit) if limit else []
    objects = tuple(_described(catalogue, source, one, now) for one in candidates)
    survey = catalogue.survey(scope)
    recent = (catalogue.survey(scope.whole()) if scope.confined else survey).recent_bytes
    return Plan(source, scope, survey, objects, recent)


def _confined(target: str) -> tuple[str, str]:
    """Bucket and prefix, both "" for everything. Raises a usage error."""
    bucket, _, prefix = readable(target).partition("/")
    if target and not bucket:
        raise typer.BadParameter(f"{target!r} does not begin with a bucket", param_hint="BUCKET[/PREFIX]")
    return bucket, prefix


def _index(source: Source, name: str) -> int:
    purging = {
        rule.name: index
        for index, rule in enumerate(source.rules.rules)
        if rule.then is not None and rule.then.kind is ActionKind.PURGE
    }
    if name not in purging:
        known = ", ".join(map(repr, purging)) or "there is none"
        raise typer.BadParameter(f"{name!r} is no rule that purges; those are: {known}", param_hint="--rule")
    return purging[name]


def _described(catalogue: CatalogueReader, source: Source, one: Candidate, now: float) -> dict[str, Any]:
    """Why it goes, in numbers. A row that has gone since the plan was read has none."""
    standing = catalogue.standing(one.name)
    entry = standing.entry if standing is not None else None
    return {
        "object": str(one.name), "rule": source.rules.rules[one.rule].name.strip() if one.rule is not None else None,
        "size": one.size, "disk_bytes": one.blob_bytes,
        "age": now - entry.written_at if entry else None, "reads": entry.reads if entry else None,
        "last_read_at": entry.last_read_at if entry else None,
    }  # fmt: skip


def _print_plan(plan: Plan) -> None:
    screen = console()
    screen.print(f"rules: {plan.source.about}", markup=False)
    days = plan.scope.rules.safety.recent_days
    made = table(["would go, by rule"], ["objects", "bytes", "reads 7d", "30d", f"read in {days}d", "bytes"])
    lines = [_count_line(name, count) for name, count in plan.counts()]
    screen.print(filled(made, [*lines, _count_line("total", plan.going)]))
    for why, (objects, size) in _stays(plan.survey):
        screen.print(f"stays: {count_text(objects, 'object')} with {bytes_text(size)} {why}")
    for line in _object_lines(plan) if plan.objects else ():
        out().print(line, markup=False)
    if plan.objects and plan.going.objects > len(plan.objects):
        screen.print(f"and {count_text(plan.going.objects - len(plan.objects))} more: --limit shows them")


def _count_line(name: str, count: RuleCount) -> list[str]:
    worth = [count_text(count.reads_7d), count_text(count.reads_30d)]
    recent = [count_text(count.recent_objects), bytes_text(count.recent_bytes)]
    return [name, count_text(count.objects), bytes_text(count.bytes), *worth, *recent]


def _stays(survey: Survey) -> Iterator[tuple[str, tuple[int, int]]]:
    for why, pair in (
        ("that alt does not have yet", survey.dirty),
        ("that are pinned", survey.pinned),
        ("younger on disk than min_on_disk", survey.young),
    ):
        if pair[0]:
            yield why, pair


def _object_lines(plan: Plan) -> Iterator[str]:
    """A line per object, as wide as it needs to be: for grep as much as for eyes."""
    form = "{:>8} {:>6} {:>6} {:>10}  {}"
    yield form.format("size", "age", "reads", "last read", "object (rule), by name")
    for one in plan.objects:
        last = f"{ago(plan.scope.now - one['last_read_at'])} ago" if one["last_read_at"] else "never"
        age = ago(one["age"]) if one["age"] is not None else "?"
        yield form.format(bytes_text(one["size"]), age, str(one["reads"]), last, f"{one['object']} ({one['rule']})")


# ------------------------------------------------------------ what a run did


def _report(run: PurgeRun, as_json: bool) -> None:
    if as_json:
        print_json(run_document(run))
        return
    done = f"{count_text(run.objects, 'object')} with {bytes_text(run.bytes)} removed from disk"
    skipped = f", {count_text(run.skipped)} had changed or were being read" if run.skipped else ""
    out().print(f"run {run.number} is {run.state}: {done}{skipped}")
    if run.note:
        out().print(run.note, markup=False)
    if run.state is RunState.WAITING:
        err().print("hint: `tierproxy purge --yes` with the same arguments confirms it, `runs --cancel` ends it")


def run_document(run: PurgeRun) -> dict[str, Any]:
    """--json: every field of the record; the cursor as BUCKET/KEY."""
    return asdict(run) | {"cursor": str(run.cursor) if run.cursor is not None else None}


def runs(
    number: Annotated[int | None, typer.Argument(help="One run, with what it removed by rule.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Runs to show, newest first.")] = 20,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    cancel: Annotated[int | None, typer.Option(metavar="NUMBER", help="Ask for the end of this run.")] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Purge runs, by rules, by pressure and by command: when, why, how much."""
    data = data_directory(configuration(config))
    if cancel is not None:
        _cancel(data, cancel, as_json)
        return
    with open_reader(data) as catalogue:
        if number is not None:
            _show_run(catalogue, number, as_json)
            return
        found = catalogue.runs(limit, open_only=open_only)
    if as_json:
        print_json([run_document(run) for run in found])
        return
    if not found:
        out().print("no run has not ended" if open_only else "no purge run yet")
        return
    made = table(["run", "asked", "by", "state", "for"], ["objects", "bytes"])
    console().print(filled(made, map(_run_line, found)))


def _run_line(run: PurgeRun) -> list[str]:
    confined = "/".join(part for part in (run.bucket, run.prefix) if part)
    about = ", ".join(part for part in (str(run.kind), run.rule, confined, run.reason, run.note) if part)
    text = [str(run.number), moment(run.at), run.author, str(run.state), about]
    return [*text, count_text(run.objects), bytes_text(run.bytes)]


def _show_run(catalogue: CatalogueReader, number: int, as_json: bool) -> None:
    run = catalogue.run(number)
    if run is None:
        raise typer.BadParameter(f"there is no run {number}")
    rules = catalogue.run_rules(number)
    if as_json:
        print_json(run_document(run) | {"by_rule": [asdict(rule) for rule in rules]})
        return
    made = table(["", "run " + str(number)], [])
    facts = {
        "kind": str(run.kind), "state": str(run.state), "asked": f"{moment(run.at)} by {run.author}",
        "rules": f"version {run.rules}", "only": "/".join(part for part in (run.bucket, run.prefix) if part),
        "only rule": run.rule, "reason": run.reason,
        "begun": moment(run.started_at) if run.started_at else "",
        "ended": moment(run.ended_at) if run.ended_at else "",
        "planned": _planned(run),
        "removed": f"{count_text(run.objects, 'object')}, {bytes_text(run.bytes)}; {run.skipped} stayed",
        "note": run.note,
    }  # fmt: skip
    console().print(filled(made, ([name, value] for name, value in facts.items() if value)))
    by = table(["removed by", "had been kept by"], ["objects", "bytes"])
    lines = ([reason_text(one.by), one.rule, count_text(one.objects), bytes_text(one.bytes)] for one in rules)
    console().print(filled(by, lines))


def _planned(run: PurgeRun) -> str:
    if run.kind is RunKind.PRESSURE:
        return f"as many objects as make {bytes_text(run.planned_bytes)}"
    return f"{count_text(run.planned_objects, 'object')}, {bytes_text(run.planned_bytes)}"


def _cancel(data: Path, number: int, as_json: bool) -> None:
    with open_reader(data) as catalogue:
        run = catalogue.run(number)
    if run is not None and run.kind is RunKind.PRESSURE:
        raise typer.BadParameter(
            f"run {number} is pressure's, which makes room for mail; raise the budget to end it", param_hint="--cancel"
        )
    with open_outside(data) as outside:
        run = outside.cancel_run(number, at=SystemClock().now())
    if run is None:
        raise typer.BadParameter(f"there is no run {number}, or it has ended", param_hint="--cancel")
    if as_json:
        print_json(run_document(run))
    else:
        out().print(f"run {number} is {run.state}" + (", and ends soon" if run.state is RunState.RUNNING else ""))
