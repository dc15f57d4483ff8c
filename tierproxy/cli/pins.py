"""``tierproxy pin | unpin``: keep objects on disk, whatever rules and pressure say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.catalogue import open_outside, open_reader
from tierproxy.cli.objects import parse
from tierproxy.cli.outcome import out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.values import date_of, duration_of
from tierproxy.cli.words import count_text, for_json, moment
from tierproxy.clock import SystemClock
from tierproxy.errors import NoSuchKey
from tierproxy.model import ObjectName, State

Targets = Annotated[list[str], typer.Argument(metavar="BUCKET/KEY...", help="The objects.")]
Wanted = Annotated[list[str] | None, typer.Argument(metavar="BUCKET/KEY...", help="The objects.")]
LISTED = 10_000  #: pins that --list shows


def pin(
    targets: Wanted = None,
    until: Annotated[str, typer.Option(metavar="DATE", help="As in 2027-01-31; without: for ever.")] = "",
    for_: Annotated[str, typer.Option("--for", metavar="DURATION", help="As in 30d, from now.")] = "",
    listed: Annotated[bool, typer.Option("--list", help="Show what commands have pinned.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Keep objects on disk until then. All of them or, when one is not known, none. Works beside a running node."""
    now = SystemClock().now()
    if listed == bool(targets):
        raise typer.BadParameter("name the objects to pin, or give --list alone", param_hint="BUCKET/KEY")
    if listed or targets is None:
        _list(data_directory(configuration(config)), now, as_json=as_json)
        return
    end = _end(until, for_, now)
    if end <= now:
        raise typer.BadParameter("that is over already", param_hint="--until")
    names = [parse(target) for target in targets]
    absent = _set(data_directory(configuration(config)), names, end)
    if as_json:
        print_json({"pinned": [str(name) for name in names], "until": for_json(end), "not_on_disk": absent})
        return
    out().print(f"pinned {count_text(len(names), 'object')} until {moment(end)}".replace("until for ever", "for ever"))
    if absent:
        out().print(f"{count_text(len(absent))} of them not on disk now: `tierproxy warm` or the next read brings them")


def unpin(targets: Targets, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Leave objects to the rules again; those that are not pinned are fine. A rule's pin is not changed by this."""
    names = [parse(target) for target in targets]
    _set(data_directory(configuration(config)), names, None)
    if as_json:
        print_json({"unpinned": [str(name) for name in names]})
    else:
        out().print(f"unpinned {count_text(len(names), 'object')}")


def _list(data: Path, now: float, *, as_json: bool) -> None:
    with open_reader(data) as catalogue:
        found = catalogue.pinned(now, LISTED)
    if as_json:
        print_json([{"name": str(name), "until": for_json(until)} for name, until in found])
        return
    for name, until in found:
        out().print(f"{moment(until):<17} {name}", markup=False)
    more = f"; the first {count_text(LISTED)} are shown" if len(found) == LISTED else ""
    out().print(f"{count_text(len(found), 'object')} pinned by commands{more}")


def _end(until: str, for_: str, now: float) -> float:
    if until and for_:
        raise typer.BadParameter("--until and --for exclude each other", param_hint="--for")
    if for_:
        return now + duration_of(for_, "--for")
    return date_of(until, "--until") if until else math.inf


def _set(data: Path, names: Sequence[ObjectName], until: float | None) -> list[str]:
    """Look for all of them first: a wrong name among them changes nothing. Returns those that are not on disk."""
    with open_reader(data) as catalogue:
        entries = {name: catalogue.find(name) for name in names}
    for name, entry in entries.items():
        if entry is None or entry.state is State.DELETING:
            raise NoSuchKey(f"the catalogue knows no object {name}", hint="nothing was changed")
    with open_outside(data) as outside:
        for name in names:
            outside.pin(name, until)
    return [str(name) for name, entry in entries.items() if entry is not None and entry.blob is None]
