"""TOML values to the typed values of the sections; every problem is collected with its place."""

from __future__ import annotations

import difflib
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from tierproxy.config.schema import Option, Table, show
from tierproxy.config.values import Duration, Share, Size, parse_duration, parse_share, parse_size
from tierproxy.errors import ConfigError

Path = tuple[str | int, ...]
"""Where in the file: ``("disk", "max_bytes")``, ``("bucket", 0, "name")``."""

MASKED = "****"


@dataclass
class Problems:
    """Everything wrong with a configuration, so that it is reported at once and not one run at a time."""

    found: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, path: Path, text: str) -> None:
        self.found.append((path, text))


def place(path: Path) -> str:
    """``("bucket", 0, "name")`` -> ``bucket[0].name``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` or, when nothing is near, the names there are."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def sections(raw: Mapping[str, Any], tables: tuple[Table, ...], problems: Problems, path: Path = ()) -> dict[str, Any]:
    """The tables of ``raw`` as section objects by name. Tables that have problems are left out."""
    made: dict[str, Any] = {}
    known = {table.name: table for table in tables}
    for name, table in known.items():
        if name in raw:
            made[name] = _array(raw[name], table, problems, (*path, name)) if table.array else None
            if not table.array:
                made[name] = _section(raw[name], table, problems, (*path, name))
    if not path:
        for name in raw.keys() - known.keys():
            problems.add((name,), f"there is no such section{nearest(name, known)}")
    return {name: value for name, value in made.items() if value is not None}


def _array(raw: Any, table: Table, problems: Problems, path: Path) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        problems.add(path, f"is one of several: write [[{table.path}]]")
        return ()
    entries = (_section(entry, table, problems, (*path, number)) for number, entry in enumerate(raw))
    return tuple(entry for entry in entries if entry is not None)


def _section(raw: Any, table: Table, problems: Problems, path: Path) -> Any:
    if not isinstance(raw, Mapping):
        problems.add(path, f"{_shown(raw)} is not a table: write {table.header}")
        return None
    before = len(problems.found)
    values = sections(raw, table.tables, problems, path)
    options = {option.name: option for option in table.options}
    for name in raw:
        if name in options:
            _take(values, raw[name], options[name], problems, (*path, name))
        elif name not in values and name not in {inner.name for inner in table.tables}:
            problems.add((*path, name), f"there is no such option{nearest(name, options)}")
    for option in table.options:
        if option.required and option.name not in raw:
            problems.add(path, f"{option.name} is missing ({option.help})")
    return table.type(**values) if len(problems.found) == before else None


def _take(values: dict[str, Any], raw: Any, option: Option, problems: Problems, path: Path) -> None:
    try:
        values[option.name] = value = convert(raw, option)
    except ConfigError as error:
        problems.add(path, str(error))
        return
    if option.least is not None and value < option.least:
        least = option.type(option.least) if option.type is not float else option.least
        problems.add(path, f"{show(raw)} is too small: at least {show(least)}")


def convert(raw: Any, option: Option) -> Any:
    """``raw`` as the option's type. Raises ConfigError, whose message begins with what was given."""
    if option.optional and raw == "":
        return None
    if option.secret and raw == MASKED:
        raise ConfigError(f"{MASKED} stands for a secret that was not shown: put the secret there")
    if option.choices:
        return _choice(raw, option)
    if option.type == tuple[str, ...]:
        return _texts(raw)
    allowed, make, words = _KINDS[option.type]
    if isinstance(raw, bool) is not (option.type is bool) or not isinstance(raw, allowed):
        raise ConfigError(f"{MASKED if option.secret else _shown(raw)} is not {words}")
    return make(raw)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ConfigError(f"{number} is not a finite number")
    return float(number)


_KINDS: dict[Any, tuple[Any, Any, str]] = {
    bool: (bool, bool, "true or false"),
    int: (int, int, "a whole number"),
    float: ((int, float), _finite, "a number"),
    str: (str, str, 'a text: write it in quotes, as in "mail"'),
    Size: ((str, int), parse_size, "a size: write 64GiB, 750MB or a number of bytes"),
    Duration: (str, parse_duration, 'a duration: write it with a unit, as in "30s"'),
    Share: ((str, int), parse_share, 'a share: write "5%" or a size'),
}


def _choice(raw: Any, option: Option) -> Any:
    if not isinstance(raw, str) or raw not in option.choices:
        words = [choice or '""' for choice in option.choices]
        close = difflib.get_close_matches(str(raw), words, n=1, cutoff=0.6)
        guess = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{_shown(raw)} is not one of {', '.join(words)}{guess}")
    is_enum = typing.get_origin(option.type) is not Literal and issubclass(option.type, StrEnum)
    return option.type(raw) if is_enum else raw


def _texts(raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise ConfigError(f'{_shown(raw)} is not a list of texts: write ["mail"]')
    return tuple(raw)


def _shown(raw: Any) -> str:
    return show(raw) if isinstance(raw, (str, int, float, bool)) else f"a {type(raw).__name__}"
