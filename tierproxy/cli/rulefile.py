"""``tierproxy rules apply | restore``: putting a rule file in force. A running node does it itself; without one, or
beside one whose admin port is closed, the version is recorded, the file replaced, and a node takes it up."""

from __future__ import annotations

import asyncio
import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.catalogue import open_outside, open_reader
from tierproxy.cli.inforce import Source, accepted, in_force, needed_file, node_runs, of_version, stands
from tierproxy.cli.node import NodeClient, far, wish
from tierproxy.cli.outcome import ExitCode, out, warn
from tierproxy.cli.questions import agreed, usage
from tierproxy.cli.settings import AsJson, ConfigFile, calmly, configuration, data_directory, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import rules as desk
from tierproxy.desk.applying import replace_file
from tierproxy.disk.fsio import Files
from tierproxy.ports import Clock
from tierproxy.purges import Version
from tierproxy.rules.lint import Finding
from tierproxy.wire.base import Kind
from tierproxy.wire.rules import LARGEST, Applied, ApplyWish, Effect, RulesDifference, RulesQuestion

PATIENCE = 10.0  #: seconds; [purge] watch is added
LOOK = 0.1  #: seconds between looks for the node's answer

Shadow = Annotated[bool, typer.Option("--shadow", help="The shadow rules instead of the live ones.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Author = Annotated[str, typer.Option(help="Who; without: the user's name.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]


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
    new, findings = accepted(found, file)
    _apply(found, new, findings, Wish(desk.kind_of(shadow), author or user(), reason, yes, as_json))


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
    with usage(), open_reader(data_directory(found)) as catalogue:
        source = of_version(found, desk.known_version(catalogue, version))
    told = reason or f"version {version} restored"
    _apply(found, source, [], Wish(desk.kind_of(shadow), author or user(), told, yes, as_json))


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants it, why, and how to talk to them."""

    kind: Kind
    author: str
    reason: str
    yes: bool
    as_json: bool


def _apply(config: Config, new: Source, findings: list[Finding], wanted: Wish) -> None:
    target = needed_file(config, wanted.kind)
    node = far(config) if len(new.rules.text) <= LARGEST else None
    if node is not None:
        _by_the_node(node, new, target, wanted)
        return
    with open_reader(data_directory(config)) as catalogue:
        newest = next((one.number for one in catalogue.versions(wanted.kind, 1)), 0)
        before = in_force(config, catalogue, wanted.kind)
        if stands(before, new, target):
            node_there = node_runs(data_directory(config))
            applied = Applied(version=before.force.number, file=str(target), node=node_there, live=node_there)
            _tell(applied, wanted, stood=True)
            return
        if not wanted.as_json:
            now = SystemClock().now()
            show_change(
                calmly(
                    lambda: desk.difference(config, catalogue, before, new, now, findings=findings, effects=True),
                    catalogue.interrupt,
                )
            )
    agreed(wanted.yes, f"put it in force as {target}?")
    version = Version(0, wanted.kind, SystemClock().now(), wanted.author, wanted.reason, new.rules.text)
    _tell(asyncio.run(_in_force(config, target, version, newest, SystemClock())), wanted)


def _by_the_node(node: NodeClient, new: Source, target: Path, wanted: Wish) -> None:
    """``base``: what the difference was shown to; who is overtaken meanwhile is told, and changes nothing."""
    text = new.rules.text
    question = wish(RulesQuestion, text=text, kind=wanted.kind, effects=not wanted.as_json)
    difference = node.post(RulesDifference, "/rules/diff", question)
    if difference.unified:
        if not wanted.as_json:
            show_change(difference)
        agreed(wanted.yes, f"put it in force as {target}?")
    order = wish(
        ApplyWish, text=text, kind=wanted.kind, reason=wanted.reason, author=wanted.author, base=difference.base
    )
    applied = node.post(Applied, "/rules/apply", order)
    _tell(applied, wanted, stood=applied.version == difference.base)


async def _in_force(config: Config, target: Path, version: Version, newest: int, clock: Clock) -> Applied:
    """Record ``version``, write its text to ``target``, wait for a node. Raises ConfigError, DiskError, and
    StaleGeneration when ``newest`` is not the newest any more; until the file is replaced nothing has changed for a
    node."""
    recorded: list[Version] = []

    def record() -> None:
        with open_outside(data_directory(config)) as outside:
            recorded.append(outside.add_version(version, newest=newest))

    replace_file(target, version.text, Files(), before=record)
    number = recorded[0].number
    node, live = await _taken_up(data_directory(config), number, clock, config.purge.watch + PATIENCE)
    return Applied(version=number, file=str(target), node=node, live=live)


async def _taken_up(data: Path, number: int, clock: Clock, patience: float) -> tuple[bool, bool]:
    """Whether a node runs, and works by it."""
    if not node_runs(data):
        return False, False
    until = clock.monotonic() + patience
    with open_reader(data) as catalogue:
        while clock.monotonic() < until:
            found = catalogue.version(number)
            if found is not None and found.live_at is not None:
                return True, True
            await clock.sleep(LOOK)
    return True, False


def user() -> str:
    """Who types: the name of this process' user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


# ------------------------------------------------------------ in words


def show_change(difference: RulesDifference) -> None:
    """Warnings, the difference, and what it means for what is on disk."""
    for text in difference.warnings:
        warn(text)
    print_difference(difference)
    made = table(["what happens to what is on disk"], ["before", "bytes", "after", "bytes"])
    console().print(filled(made, map(_effect_line, difference.effects)))


def _effect_line(effect: Effect) -> list[str]:
    before, after = effect.before, effect.after
    pairs = ([count_text(one.objects), bytes_text(one.bytes)] for one in (before, after))
    return [effect.what, *next(pairs), *next(pairs)]


def print_difference(difference: RulesDifference) -> None:
    """In words, then line by line."""
    screen = out()
    if not difference.unified:
        screen.print("no difference")
        return
    for line in difference.changes or ["no difference in what the rules mean"]:
        screen.print(line, markup=False)
    screen.print()
    for line in difference.unified:
        screen.print(line, markup=False)


def _tell(applied: Applied, wanted: Wish, *, stood: bool = False) -> None:
    if wanted.as_json:
        print_json(applied)
    else:
        out().print(_told(applied, stood), markup=False)
    if applied.node and not applied.live:
        raise typer.Exit(ExitCode.FAILED)


def _told(applied: Applied, stood: bool) -> str:
    if stood:
        return f"no difference: version {applied.version} is in force, and {applied.file} has its text"
    where = f"version {applied.version} is written to {applied.file}"
    if applied.live:
        return f"{where} and in force"
    if not applied.node:
        return f"{where}; no node runs: it is in force with the next start"
    return f"{where}; the node has not taken it up yet: see its log"
