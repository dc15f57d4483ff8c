"""``tierproxy rules``: is a rule file right, what is in force, what changed, and putting another one in force."""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tierproxy.catalogue import CatalogueReader, catalogue_file, open_reader
from tierproxy.cli.comparison import compare
from tierproxy.cli.inforce import (
    LIVE,
    SHADOW,
    Source,
    accepted,
    in_force,
    needed_file,
    node_runs,
    of_version,
    stands,
    strange_buckets,
)  # fmt: skip
from tierproxy.cli.outcome import ExitCode, Group, out, warn
from tierproxy.cli.questions import agreed
from tierproxy.cli.rulefile import Applied, author
from tierproxy.cli.rulefile import apply as put_in_force
from tierproxy.cli.settings import AsJson, ConfigFile, calmly, configuration, data_directory, print_json
from tierproxy.cli.stats import Held, held_table, rules_document, show_rules
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError
from tierproxy.purges import Scope, Survey, Version
from tierproxy.rules.lint import Holdings, lint, weigh
from tierproxy.rules.model import ActionKind, RuleSet
from tierproxy.rules.show import difference, options
from tierproxy.rules.show import rule as rule_words
from tierproxy.traffic import DAY

commands = typer.Typer(cls=Group, no_args_is_help=True, help="Purge rules: check, show, compare, put in force.")
Shadow = Annotated[bool, typer.Option("--shadow", help="The shadow rules instead of the live ones.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Author = Annotated[str, typer.Option(help="Who; without: the user's name.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]
RUNS = 100_000


# ------------------------------------------------------------ check


@commands.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Without: the configured one.")] = None,
    shadow: Shadow = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong or doubtful about a rule file; with a data directory, what each rule matches."""
    found = configuration(config)
    path = file or needed_file(found, kind_of(shadow))
    try:
        source, findings = accepted(found, path)
    except ConfigError as error:
        if as_json:  # a script wants the faults where it reads the rest; the exit code is the same
            print_json({"file": str(path), "errors": str(error).splitlines()})
        raise
    held = _held(found, source)
    if held is not None:
        findings += weigh(source.rules, holdings(held.survey), disk=found.disk)
    doubts = [f"line {one.line}: {one}" if one.line else str(one) for one in findings]
    if as_json:
        document = rules_document(held) if held is not None else None
        print_json({"file": str(path), "rules": len(source.rules.rules), "warnings": doubts, "now": document})
        return
    for text in doubts:
        warn(text)
    out().print(f"{path} is good: {count_text(len(source.rules.rules), 'rule')}", markup=False)
    if held is not None:
        console().print(held_table(held))


def kind_of(shadow: bool) -> str:
    return SHADOW if shadow else LIVE


def _held(config: Config, source: Source) -> Held | None:
    """What the rules match now; None where there is no catalogue to ask, or this user may not."""
    data = data_directory(config)
    try:
        if not catalogue_file(data).exists():
            return None
    except PermissionError:
        warn(f"what the rules match now is not shown: this user may not read {data}")
        return None
    now = SystemClock().now()
    with open_reader(data) as catalogue:
        survey = calmly(lambda: catalogue.survey(Scope(source.rules, now)))
        return Held(source, survey, {}, 30)


def holdings(survey: Survey) -> Holdings:
    """What is on disk, as the lint weighs rules by it."""
    decided = {count.rule: (count.objects, count.bytes) for count in survey.rules}
    return Holdings(decided, survey.dirty[1] + survey.pinned[1] + survey.young[1])


# ------------------------------------------------------------ show, diff


@commands.command()
def show(
    version: Annotated[int | None, typer.Argument(help="A number of `rules history`; without: in force.")] = None,
    shadow: Shadow = False,
    days: Annotated[int, typer.Option(min=1, help="Removed and regretted in so many days.")] = 30,
    text: Annotated[bool, typer.Option("--text", help="The file as it was written, and nothing else.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The rules in words, and what each holds, removed and cost."""
    found, now = configuration(config), SystemClock().now()
    with open_reader(data_directory(found)) as catalogue:
        source = _source(found, catalogue, version, kind_of(shadow))
        if text:
            sys.stdout.write(source.rules.text)
            return
        survey = calmly(lambda: catalogue.survey(Scope(source.rules, now, shadow=shadow)))
        records = _records(catalogue, shadow, int(now // DAY) - days)
    held = Held(source, survey, records, days)
    if as_json:
        print_json({"text": source.rules.text} | rules_document(held))
        return
    for line in in_words(source.rules):
        out().print(line, markup=False)
    show_rules(held, as_json=False)


def in_words(rules: RuleSet) -> Iterator[str]:
    """A line per rule, then a line per option that is set."""
    for number, one in enumerate(rules.rules, 1):
        yield f"{number}. {one.name}: {rule_words(one, rules.schedule.timezone)}"
    for name, value in options(rules).items():
        if value:
            yield f"   {name} = {value}"


def _records(catalogue: CatalogueReader, shadow: bool, since_day: int) -> dict[str, Any]:
    if not shadow:
        return {record.by: record for record in catalogue.records(since_day)}
    record = catalogue.shadow()
    return dict(record.shadow) if record is not None else {}


def _source(config: Config, catalogue: CatalogueReader, number: int | None, kind: str) -> Source:
    if number is None:
        return in_force(config, catalogue, kind)
    version = known_version(catalogue, number)
    about = f"version {version.number} of {moment(version.at)} by {version.author}"
    return replace(of_version(config, version), about=about)


def known_version(catalogue: CatalogueReader, number: int) -> Version:
    """Raises a usage error."""
    version = catalogue.version(number)
    if version is None:
        raise typer.BadParameter(f"there is no version {number}: see `tierproxy rules history`")
    return version


@commands.command()
def diff(
    old: Annotated[str, typer.Argument(help="A version or a file; without: what is in force.")] = "",
    new: Annotated[str, typer.Argument(help="A version or a file; without: the configured file.")] = "",
    shadow: Shadow = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """What differs between two versions or files: in words, then line by line."""
    found, kind = configuration(config), kind_of(shadow)
    with open_reader(data_directory(found)) as catalogue:
        before = _named(found, catalogue, old) if old else in_force(found, catalogue, kind)
        after = _named(found, catalogue, new or str(needed_file(found, kind)))
    words, lines = difference(before.rules, after.rules), list(_unified(before, after))
    if as_json:
        print_json({"old": before.about, "new": after.about, "differences": words, "diff": lines})
        return
    _print_difference(words, lines)


def _named(config: Config, catalogue: CatalogueReader, text: str) -> Source:
    if not text.isdigit():
        return accepted(config, Path(text))[0]
    return of_version(config, known_version(catalogue, int(text)))


def _unified(before: Source, after: Source) -> Iterator[str]:
    old, new = before.rules.text.splitlines(), after.rules.text.splitlines()
    return difflib.unified_diff(old, new, before.about, after.about, lineterm="")


def _print_difference(words: list[str], lines: list[str]) -> None:
    console = out()
    if not lines:
        console.print("no difference")
        return
    for line in words or ["no difference in what the rules mean"]:
        console.print(line, markup=False)
    console.print()
    for line in lines:
        console.print(line, markup=False)


# ------------------------------------------------------------ apply, restore


@commands.command()
def apply(
    file: Annotated[Path, typer.Argument(help="The rule file to put in force.")],
    reason: Reason = "",
    author: Author = "",
    shadow: Shadow = False,
    yes: Yes = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check a rule file, show what it changes, put it in the place of the configured one and wait for the node."""
    found = configuration(config)
    _apply(found, accepted(found, file)[0], kind_of(shadow), Wish(author, reason, yes, as_json))


@commands.command()
def restore(
    version: Annotated[int, typer.Argument(help="A number of `rules history`.")],
    reason: Reason = "",
    author: Author = "",
    shadow: Shadow = False,
    yes: Yes = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put the text of an earlier version in force again, as a new version."""
    found = configuration(config)
    with open_reader(data_directory(found)) as catalogue:
        source = of_version(found, known_version(catalogue, version))
    wish = Wish(author, reason or f"version {version} restored", yes, as_json)
    _apply(found, source, kind_of(shadow), wish)


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants it, why, and how to talk to them."""

    author: str
    reason: str
    yes: bool
    as_json: bool


def _apply(config: Config, new: Source, kind: str, wish: Wish) -> None:
    data, clock, target = data_directory(config), SystemClock(), needed_file(config, kind)
    with open_reader(data) as catalogue:
        before = in_force(config, catalogue, kind)
        if stands(before, new, target):
            _tell_it_stands(before, target, node_runs(data), wish.as_json)
            return
        if not wish.as_json:
            for finding in strange_buckets(config, new.rules):
                warn(str(finding))
            _show_change(config, catalogue, before, new)
    agreed(wish.yes, f"put it in force as {target}?")
    version = Version(0, kind, clock.now(), wish.author or author(), wish.reason, new.rules.text)
    applied = asyncio.run(put_in_force(data, target, version, clock, Files(), watch=config.purge.watch))
    _tell(applied, target, wish.as_json)
    if applied.node and not applied.live:
        raise typer.Exit(ExitCode.FAILED)


def _tell_it_stands(source: Source, target: Path, node: bool, as_json: bool) -> None:
    number = source.force.number
    if as_json:
        print_json({"version": number, "file": str(target), "node": node, "live": node})
    else:
        out().print(f"no difference: version {number} is in force, and {target} has its text", markup=False)


def _show_change(config: Config, catalogue: CatalogueReader, before: Source, after: Source) -> None:
    """A new shadow begins with a copy of the live disk, so that is what both kinds are measured on."""
    now = SystemClock().now()
    surveys = calmly(lambda: [catalogue.survey(Scope(source.rules, now)) for source in (before, after)])
    for finding in [*lint(after.rules, now=now), *weigh(after.rules, holdings(surveys[1]), disk=config.disk)]:
        warn(str(finding))
    _print_difference(difference(before.rules, after.rules), list(_unified(before, after)))
    made = table(["what happens to what is on disk"], ["before", "bytes", "after", "bytes"])
    pairs = [effects(source.rules, survey) for source, survey in zip((before, after), surveys, strict=True)]
    lines = []
    for what, (objects, size) in pairs[0].items():
        then = pairs[1][what]
        lines.append([what, count_text(objects), bytes_text(size), count_text(then[0]), bytes_text(then[1])])
    console().print(filled(made, lines))


def effects(rules: RuleSet, survey: Survey) -> dict[str, tuple[int, int]]:
    """What a survey means for the next run, as (objects, bytes): goes, stays by rule, left to pressure, may not go."""
    sums = {"purged by a rule": (0, 0), "kept by a rule": (0, 0)}
    for index, rule in enumerate(rules.rules):
        if rule.then is not None:
            what = "purged by a rule" if rule.then.kind is ActionKind.PURGE else "kept by a rule"
            sums[what] = _sum(sums[what], (survey.of(index).objects, survey.of(index).bytes))
    undecided = survey.of(None)
    stuck = _sum(_sum(survey.dirty, survey.pinned), survey.young)
    return sums | {
        "left to pressure": (undecided.objects, undecided.bytes),
        "dirty, pinned or young": stuck,
    }


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def _tell(applied: Applied, target: Path, as_json: bool) -> None:
    version = applied.version
    if as_json:
        print_json({"version": version.number, "file": str(target), "node": applied.node, "live": applied.live})
        return
    where = f"version {version.number} is written to {target}"
    if applied.live:
        out().print(f"{where} and in force", markup=False)
    elif not applied.node:
        out().print(f"{where}; no node runs: it is in force with the next start", markup=False)
    else:
        out().print(f"{where}; the node has not taken it up yet: see its log", markup=False)


# ------------------------------------------------------------ history


@commands.command()
def history(
    shadow: Shadow = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Versions to show, newest first.")] = 30,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Every version that was put in force: when, by whom, why, and what its runs purged."""
    with open_reader(data_directory(configuration(config))) as catalogue:
        versions = catalogue.versions(kind_of(shadow), limit)
        purged: dict[int, tuple[int, int]] = {}
        for run in catalogue.runs(RUNS):
            purged[run.rules] = _sum(purged.get(run.rules, (0, 0)), (run.objects, run.bytes))
    if as_json:
        print_json([asdict(one) | _purged(purged.get(one.number, (0, 0))) for one in versions])
        return
    if not versions:
        text = "no version yet: the node records one when it reads [purge] rules, `rules apply` before that"
        out().print(text, markup=False)
        return
    made = table(["version", "written", "by", "live since", "reason"], ["purged", "bytes"])
    console().print(filled(made, (_version_line(one, purged.get(one.number, (0, 0))) for one in versions)))


def _purged(sums: tuple[int, int]) -> dict[str, int]:
    return {"purged_objects": sums[0], "purged_bytes": sums[1]}


def _version_line(version: Version, purged: tuple[int, int]) -> list[str]:
    live = moment(version.live_at) if version.live_at is not None else "never"
    text = [str(version.number), moment(version.at), version.author, live, version.reason]
    return [*text, count_text(purged[0]), bytes_text(purged[1])]


commands.command()(compare)
