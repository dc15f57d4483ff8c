"""``tierproxy pin | unpin``: keep objects on disk, whatever rules and pressure say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.catalogue import open_outside, open_reader
from tierproxy.cli.node import far, near, wish
from tierproxy.cli.objects import parse
from tierproxy.cli.outcome import out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.values import date_of, duration_of
from tierproxy.cli.words import count_text, for_json, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import objects as desk
from tierproxy.model import ObjectName
from tierproxy.wire.base import Moment
from tierproxy.wire.objects import Objects, Pin, Pinned, PinWish, Unpinned

Targets = Annotated[list[str], typer.Argument(metavar="BUCKET/KEY...", help="The objects.")]
Wanted = Annotated[list[str] | None, typer.Argument(metavar="BUCKET/KEY...", help="The objects.")]
LISTED = 10_000  #: pins that --list shows
AT_ONCE = 1000  #: objects of a request to a node


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
        _list(_pinned(configuration(config), now), as_json=as_json)
        return
    end = _end(until, for_, now)
    if end <= now:
        raise typer.BadParameter("that is over already", param_hint="--until")
    names = [parse(target) for target in targets]
    done = _pin(configuration(config), names, end)
    absent = done.not_on_disk
    if as_json:
        print_json(done)
        return
    out().print(f"pinned {count_text(len(names), 'object')} until {moment(end)}".replace("until for ever", "for ever"))
    if absent:
        out().print(f"{count_text(len(absent))} of them not on disk now: `tierproxy warm` or the next read brings them")


def unpin(targets: Targets, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Leave objects to the rules again; those that are not pinned are fine. A rule's pin is not changed by this."""
    names = [parse(target) for target in targets]
    done = _unpin(configuration(config), names)
    if as_json:
        print_json(done)
    else:
        out().print(f"unpinned {count_text(len(names), 'object')}")


def _list(found: list[Pin], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for one in found:
        out().print(f"{_moment(one.until):<17} {one.name}", markup=False)
    more = f"; the first {count_text(LISTED)} are shown" if len(found) == LISTED else ""
    out().print(f"{count_text(len(found), 'object')} pinned by commands{more}")


def _moment(until: Moment) -> str:
    return "for ever" if isinstance(until, str) else moment(until)


def _end(until: str, for_: str, now: float) -> float:
    if until and for_:
        raise typer.BadParameter("--until and --for exclude each other", param_hint="--for")
    if for_:
        return now + duration_of(for_, "--for")
    return date_of(until, "--until") if until else math.inf


# ------------------------------------------------------------ far and near


def _pinned(config: Config, now: float) -> list[Pin]:
    node = far(config)
    if node is not None:
        return node.get(list[Pin], "/pins", limit=LISTED)
    return near(config, lambda catalogue: desk.pins(catalogue, now, LISTED))


def _pin(config: Config, names: Sequence[ObjectName], until: float) -> Pinned:
    node, texts = far(config), [str(name) for name in names]
    moment_ = for_json(until) or 0.0
    if node is None:
        return Pinned(pinned=texts, until=moment_, not_on_disk=_set(data_directory(config), names, until))
    pinned = [
        node.post(Pinned, "/objects/pin", wish(PinWish, objects=part, until=moment_)).not_on_disk
        for part in _parts(texts)
    ]
    return Pinned(pinned=texts, until=moment_, not_on_disk=[name for part in pinned for name in part])


def _unpin(config: Config, names: Sequence[ObjectName]) -> Unpinned:
    node, texts = far(config), [str(name) for name in names]
    if node is None:
        _set(data_directory(config), names, None)
    else:
        for part in _parts(texts):
            node.post(Unpinned, "/objects/unpin", wish(Objects, objects=part))
    return Unpinned(unpinned=texts)


def _parts(texts: list[str]) -> Iterator[list[str]]:
    """As many as a request takes."""
    return (texts[begin : begin + AT_ONCE] for begin in range(0, len(texts), AT_ONCE))


def _set(data: Path, names: Sequence[ObjectName], until: float | None) -> list[str]:
    """Look for all of them first: a wrong name among them changes nothing. Returns those that are not on disk."""
    with open_reader(data) as catalogue:
        found = desk.entries(catalogue, names)
    with open_outside(data) as outside:
        for name in names:
            outside.pin(name, until)
    return [str(name) for name, entry in found.items() if entry.blob is None]
