"""Options from the environment: ``TIERPROXY_<SECTION>_<OPTION>``; ``TIERPROXY_BUCKET_0_NAME`` in arrays of tables."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping
from typing import Any

from tierproxy.config.convert import Problems
from tierproxy.config.schema import PREFIX, Option, Table

CONFIG_FILE = PREFIX + "CONFIG"
"""Names the configuration file for the command line; not an option."""


def overlay(
    raw: Mapping[str, Any], environment: Mapping[str, str], tables: tuple[Table, ...], problems: Problems
) -> tuple[dict[str, Any], list[str]]:
    """``raw`` with the options the environment sets. Returns it with warnings: a variable that names no section is not
    ours to refuse (a Kubernetes service called tierproxy brings ``TIERPROXY_PORT`` and more)."""
    merged = copy.deepcopy(dict(raw))
    warnings: list[str] = []
    for variable in sorted(name for name in environment if name.startswith(PREFIX) and name != CONFIG_FILE):
        found = _table_of(variable, tables)
        if found is None:
            warnings.append(f"the environment variable {variable} names no section and is ignored")
        else:
            _set(merged, found[1], environment[variable], found[0], problems)
    return merged, warnings


def _table_of(variable: str, tables: tuple[Table, ...]) -> tuple[Table, re.Match[str]] | None:
    found = [(table, match) for table in tables if (match := re.match(_pattern(table), variable))]
    return max(found, key=lambda pair: len(pair[0].name), default=None)


def _pattern(table: Table) -> str:
    return rf"{PREFIX}{table.name.upper()}_" + (r"(\d+)_" if table.array else "")


def _set(merged: dict[str, Any], match: re.Match[str], text: str, table: Table, problems: Problems) -> None:
    variable = match.string
    options = {option.name.upper(): option for option in table.options}
    name = variable[match.end() :]
    if name not in options:
        close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
        guess = f"; did you mean {match[0]}{close[0]}?" if close else ""
        problems.add((variable,), f"is an environment variable for {table.header}, which has no such option{guess}")
        return
    target = _entry(merged, table, int(match[1])) if table.array else merged.setdefault(table.name, {})
    if target is None:
        problems.add((variable,), f"skips a number: entries of {table.header} are numbered from 0 without gaps")
    elif isinstance(target, dict):
        target[options[name].name] = _untyped(text, options[name])


def _entry(merged: dict[str, Any], table: Table, number: int) -> Any:
    """Entry ``number``, new when it is the next one; None when that leaves a gap."""
    entries = merged.setdefault(table.name, [])
    if not isinstance(entries, list) or number > len(entries):
        return None
    if number == len(entries):
        entries.append({})
    return entries[number]


def _untyped(text: str, option: Option) -> Any:
    """``text`` as TOML would give it; what does not fit stays a text, for the conversion to complain about."""
    if option.type is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), text)
    if option.type in {int, float}:
        return _number(text)
    if option.type == tuple[str, ...]:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
