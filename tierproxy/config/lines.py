"""Line numbers of options in a TOML file: tomllib parses, but does not say where."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\-\s]+?)\s*\]\]?\s*(#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-]+|\"[^\"]*\")\s*=\s*(.*)")


def line_numbers(text: str) -> dict[tuple[str | int, ...], int]:
    """Paths of tables and options to their first line, from 1. Best effort: what it does not understand has no number
    (dotted keys, inline tables, texts of several lines that look like options)."""
    found: dict[tuple[str | int, ...], int] = {}
    entries: dict[tuple[str | int, ...], int] = {}
    here: tuple[str | int, ...] = ()
    fence = ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            fence = "" if fence in line else fence
        elif header := _HEADER.fullmatch(line):
            here = _table(tuple(header[2].split(".")), header[1] == "[[", entries)
            found.setdefault(here, number)
        elif key := _KEY.match(line):
            found.setdefault((*here, key[1].strip('"')), number)
            fence = next((mark for mark in ('"""', "'''") if key[2].count(mark) == 1), "")
    return found


def _table(names: tuple[str, ...], array: bool, entries: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """The path of a header: each name that is an array of tables is followed by the number of its current entry."""
    path: tuple[str | int, ...] = ()
    for depth, name in enumerate(names, 1):
        path = (*path, name.strip())
        if array and depth == len(names):
            entries[path] = entries.get(path, -1) + 1
        if path in entries:
            path = (*path, entries[path])
    return path
