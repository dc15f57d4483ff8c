"""The declarations of ``sections`` as data: what a loader, a describer and their tests walk over."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, Literal

from tierproxy.config.sections import Config
from tierproxy.config.values import Duration, Share, Size, show_duration, show_share, show_size

PREFIX = "TIERPROXY_"


@dataclass(frozen=True, slots=True)
class Option:
    """One option as declared. ``type`` is the annotation without ``| None``; ``optional`` says it was there."""

    name: str
    type: Any
    optional: bool
    default: Any
    help: str
    reload: bool
    secret: bool
    least: float | None

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def choices(self) -> tuple[str, ...]:
        """The values an enumeration or a Literal allows; empty for other types."""
        if typing.get_origin(self.type) is Literal:
            return typing.get_args(self.type)
        if isinstance(self.type, type) and issubclass(self.type, StrEnum):
            return tuple(str(member) for member in self.type)
        return ()


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table. ``path`` is its dotted name (``disk``, ``bucket.policy``); ``array``: written ``[[path]]``."""

    path: str
    type: Any
    array: bool
    help: str
    options: tuple[Option, ...]
    tables: tuple[Table, ...]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def header(self) -> str:
        return f"[[{self.path}]]" if self.array else f"[{self.path}]"

    def variable(self, option: Option, number: int = 0) -> str:
        """The environment variable that sets ``option``; entries of arrays are numbered from 0."""
        section = f"{self.name}_{number}" if self.array else self.name
        return f"{PREFIX}{section}_{option.name}".upper()


def tables() -> tuple[Table, ...]:
    """The tables of a configuration file, in the order of ``Config``."""
    return tuple(_nested(Config, ""))


def walk(found: tuple[Table, ...]) -> Iterator[Table]:
    """``found`` and the tables inside them, outer before inner."""
    for table in found:
        yield table
        yield from walk(table.tables)


def _nested(holder: Any, path: str) -> Iterator[Table]:
    hints = typing.get_type_hints(holder)
    for one in fields(holder):
        inner, array = _element(hints[one.name])
        if _is_table(inner):
            yield _table(inner, f"{path}{one.name}", array)


def _table(holder: Any, path: str, array: bool) -> Table:
    hints = typing.get_type_hints(holder)
    plain = [one for one in fields(holder) if not _is_table(_element(hints[one.name])[0])]
    options = tuple(_option(one, hints[one.name]) for one in plain)
    meaning = " ".join((holder.__doc__ or "").split())
    return Table(path, holder, array, meaning, options, tuple(_nested(holder, f"{path}.")))


def _is_table(kind: Any) -> bool:
    return is_dataclass(kind) and kind is not Share


def _element(hint: Any) -> tuple[Any, bool]:
    """``tuple[X, ...]`` -> X, True; anything else as it is."""
    if typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0], True
    return hint, False


def _option(one: Field[Any], hint: Any) -> Option:
    optional = isinstance(hint, types.UnionType)
    kind = next(arm for arm in typing.get_args(hint) if arm is not types.NoneType) if optional else hint
    facts = one.metadata
    return Option(
        one.name, kind, optional, one.default, facts["help"], facts["reload"], facts["secret"], facts["least"]
    )


def type_name(option: Option) -> str:
    """What to write, for people: ``size as in 64GiB``, ``one of both, disk, alt``."""
    if option.choices:
        return "one of " + ", ".join(choice or '""' for choice in option.choices)
    return _TYPE_NAMES[option.type]


_TYPE_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "number",
    float: "number",
    str: "text",
    Size: "size as in 64GiB",
    Duration: "duration as in 30s",
    Share: "size or percentage as in 20GiB, 5%",
    tuple[str, ...]: "list of texts",
}


def show(value: Any) -> str:
    """``value`` as it is written in TOML; None as the empty text."""
    match value:
        case bool():
            return "true" if value else "false"
        case Size():
            return quoted(show_size(value))
        case Duration():
            return quoted(show_duration(value))
        case Share():
            return quoted(show_share(value))
        case int() | float():
            return repr(value)
        case tuple():
            return "[" + ", ".join(show(item) for item in value) + "]"
        case None:
            return '""'
    return quoted(str(value))


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char >= " " and char != "\x7f" else f"\\u{ord(char):04x}" for char in escaped) + '"'
