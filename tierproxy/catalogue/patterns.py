"""Shell patterns as SQLite's GLOB, with the meaning of ``fnmatch.fnmatchcase``.

They differ in ``[!x]`` (GLOB: ``[^x]``), in ``[`` without an end (a plain character; to GLOB no match at all), in
``[^x]`` (the character ``^`` or ``x``) and in ranges that are empty. So a class is read as fnmatch reads it and
written anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Class:
    """``[...]``: single characters and ranges (first, last)."""

    negative: bool
    items: list[tuple[str, str]] = field(default_factory=list)


def is_literal(pattern: str) -> bool:
    """Whether only the text itself matches."""
    return not set(pattern) & set("*?[")


def glob_of(pattern: str) -> str | None:
    """The GLOB for ``pattern``; None: nothing matches it."""
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        stop = _end_of_class(pattern, at) if pattern[at] == "[" else None
        if stop is None:
            parts.append("[[]" if pattern[at] == "[" else pattern[at])
            at += 1
            continue
        part = _written(_read(pattern[at + 1 : stop]))
        if part is None:
            return None
        parts.append(part)
        at = stop + 1
    return "".join(parts)


def _end_of_class(pattern: str, at: int) -> int | None:
    """Where the class that begins at ``at`` ends; a ``]`` at its very beginning is one of its characters."""
    start = at + 1 + pattern.startswith("!", at + 1)
    found = pattern.find("]", start + 1)
    return None if found < 0 else found


def _read(inside: str) -> _Class:
    negative = inside.startswith("!")
    text = inside[negative:]
    found, at = _Class(negative), 0
    while at < len(text):
        if text[at + 1 : at + 2] == "-" and at + 2 < len(text):
            first, last, at = text[at], text[at + 2], at + 3
        else:
            first = last = text[at]
            at += 1
        if first <= last:
            found.items.append((first, last))
        elif not negative and not found.items and text.startswith("!", at):
            return _read(text[at:])  # fnmatch drops an empty range before it looks for the "!"
    return found


def _written(found: _Class) -> str | None:
    """``]`` can only come first, ``-`` last, and ``^`` not first; ranges are made shorter to keep to that."""
    items = [part for item in found.items for part in _trimmed(*item)]
    singles = {first for first, last in items if first == last}
    ranges = [f"{first}-{last}" for first, last in items if first < last]
    if not items:
        return "?" if found.negative else None
    plain = "".join(sorted(singles - set("]^-")))
    text = "]" * ("]" in singles) + plain + "".join(ranges) + "^" * ("^" in singles) + "-" * ("-" in singles)
    if found.negative:
        return f"[^{text}]"
    if text == "^":
        return "^"
    if text == "^-":
        return "[-^]"
    return f"[{text}]"


def _trimmed(first: str, last: str) -> list[tuple[str, str]]:
    """A range whose ends are none of ``] ^ -``, and what that cut off as single characters."""
    cut: list[tuple[str, str]] = []
    while first < last and first in "]^-":
        cut.append((first, first))
        first = chr(ord(first) + 1)
    while first < last and last in "]^-":
        cut.append((last, last))
        last = chr(ord(last) - 1)
    return [*cut, (first, last)]
