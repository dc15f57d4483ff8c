"""``tierproxy rules``: is a rule file right, what is in force, what changed, and putting another one in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.catalogue import CatalogueReader, catalogue_file, open_reader
from tierproxy.cli import rulestest
from tierproxy.cli.comparison import compare
from tierproxy.cli.held import held_table, show_held
from tierproxy.cli.inforce import Source, accepted, in_force, needed_file, of_version
from tierproxy.cli.node import far, near, wish
from tierproxy.cli.outcome import Group, out, warn
from tierproxy.cli.questions import usage
from tierproxy.cli.rulefile import Shadow, apply, print_difference, restore
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import rules as desk
from tierproxy.desk.inforce import read_text
from tierproxy.errors import ConfigError
from tierproxy.rules.problems import Unusable
from tierproxy.wire.base import Kind
from tierproxy.wire.rules import LARGEST, RulesCheck, RulesHeld, RulesQuestion, Version

commands = typer.Typer(cls=Group, no_args_is_help=True, help="Purge rules: check, show, compare, put in force.")
MOST = 1000  #: versions that a node tells at once


# ------------------------------------------------------------ check


@commands.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Without: the configured one.")] = None,
    shadow: Shadow = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say everything that is wrong or doubtful about a rule file; with a data directory, what each rule matches."""
    found, kind = configuration(config), desk.kind_of(shadow)
    path = file or needed_file(found, kind)
    try:
        accepted(found, path)
    except ConfigError as error:
        if as_json:  # a script wants the faults where it reads the rest; the exit code is the same
            print_json(_unusable(error, path))
        raise
    checked = _checked(found, path, kind)
    if as_json:
        print_json(checked)
        return
    for text in checked.warnings:
        warn(text)
    out().print(f"{path} is good: {count_text(checked.rules, 'rule')}", markup=False)
    if checked.now is not None:
        console().print(held_table(checked.now))


def _unusable(error: ConfigError, path: Path) -> RulesCheck:
    if isinstance(error, Unusable):
        return desk.unusable(error, str(path))
    return RulesCheck(file=str(path), errors=str(error).splitlines())


def _known_as(checked: RulesCheck, path: Path) -> RulesCheck:
    """With the name of the file, which the node does not know."""
    now = checked.now and checked.now.model_copy(update={"about": str(path)})
    return checked.model_copy(update={"file": str(path), "now": now})


def _checked(config: Config, path: Path, kind: Kind) -> RulesCheck:
    """With what the rules match now, where there is a catalogue to ask, and this user may."""
    text, now = read_text(path), SystemClock().now()
    node = far(config) if len(text) <= LARGEST else None
    if node is not None:
        question = wish(RulesQuestion, text=text, kind=kind, effects=True)
        return _known_as(node.post(RulesCheck, "/rules/check", question), path)
    data = data_directory(config)
    try:
        if catalogue_file(data).exists():
            return near(config, lambda catalogue: desk.check_all(config, catalogue, text, now, str(path)))
    except PermissionError:
        warn(f"what the rules match now is not shown: this user may not read {data}")
    return desk.check(config, text, now, str(path))


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
    found, kind = configuration(config), desk.kind_of(shadow)
    with usage():
        if text:
            sys.stdout.write(_text(found, version, kind))
            return
        held = _held(found, version, kind, days)
    if not as_json:
        for line in held.words:
            out().print(line, markup=False)
    show_held(held, as_json)


def _text(config: Config, version: int | None, kind: Kind) -> str:
    with open_reader(data_directory(config)) as catalogue:
        if version is None:
            return in_force(config, catalogue, kind).rules.text
        return desk.known_version(catalogue, version).text


def _held(config: Config, version: int | None, kind: Kind, days: int) -> RulesHeld:
    node, now = far(config), SystemClock().now()
    if node is not None:
        return node.get(RulesHeld, "/rules", kind=kind, days=days, version=version, fresh=True)
    return near(config, lambda catalogue: desk.held(config, catalogue, now, kind=kind, days=days, version=version))


@commands.command()
def diff(
    old: Annotated[str, typer.Argument(help="A version or a file; without: what is in force.")] = "",
    new: Annotated[str, typer.Argument(help="A version or a file; without: the configured file.")] = "",
    shadow: Shadow = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """What differs between two versions or files: in words, then line by line."""
    found, kind = configuration(config), desk.kind_of(shadow)
    with usage(), open_reader(data_directory(found)) as catalogue:
        before = _named(found, catalogue, old) if old else in_force(found, catalogue, kind)
        after = _named(found, catalogue, new or str(needed_file(found, kind)))
        difference = desk.difference(found, catalogue, before, after, SystemClock().now())
    if as_json:
        print_json(difference)
    else:
        print_difference(difference)


def _named(config: Config, catalogue: CatalogueReader, text: str) -> Source:
    if not text.isdigit():
        return accepted(config, Path(text))[0]
    return of_version(config, desk.known_version(catalogue, int(text)))


# ------------------------------------------------------------ history


@commands.command()
def history(
    shadow: Shadow = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Versions to show, newest first.")] = 30,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Every version that was put in force: when, by whom, why, and what its runs purged."""
    versions = _versions(configuration(config), desk.kind_of(shadow), limit)
    if as_json:
        print_json(versions)
        return
    if not versions:
        text = "no version yet: the node records one when it reads [purge] rules, `rules apply` before that"
        out().print(text, markup=False)
        return
    made = table(["version", "written", "by", "live since", "reason"], ["purged", "bytes"])
    console().print(filled(made, map(_version_line, versions)))


def _versions(config: Config, kind: Kind, limit: int) -> list[Version]:
    node = far(config) if limit <= MOST else None
    if node is not None:
        return node.get(list[Version], "/rules/versions", kind=kind, limit=limit, texts=True)
    return near(config, lambda catalogue: desk.versions(catalogue, kind, limit, texts=True))


def _version_line(version: Version) -> list[str]:
    live = moment(version.live_at) if version.live_at is not None else "never"
    text = [str(version.number), moment(version.at), version.author, live, version.reason]
    return [*text, count_text(version.purged_objects), bytes_text(version.purged_bytes)]


commands.command()(apply)
commands.command()(restore)
commands.command()(compare)
commands.command("test")(rulestest.assess)
