"""Shell patterns of rules: those on which Python's fnmatchcase and SQLite's GLOB agree, and no others.

``*`` any text, ``/`` too; ``?`` one character; ``[abc]``, ``[a-z]`` one of them; ``[!abc]`` none of them. In brackets
``*``, ``?`` and ``[`` stand for themselves. Case counts.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

LONGEST = 1024
"""Characters in a pattern; S3 keys have at most as many bytes."""

_CLASS = re.compile(r"\[(!?)([^]]+)\]")
_MEMBERS = re.compile(r"-?(?:[^-](?:-[^-])?)*-?")
_RANGE = re.compile(r"([^-])-([^-])")
_WILD = re.compile(r"[*?[]")


def fault(pattern: str) -> str:
    """What is wrong with ``pattern`` and what to write instead; empty when nothing is."""
    if len(pattern) > LONGEST:
        return f"the pattern has {len(pattern)} characters; write at most {LONGEST}"
    if "\0" in pattern:
        return "the pattern has a NUL character, which no pattern can match; leave it out"
    rest = pattern
    while (start := rest.find("[")) >= 0:
        found = _CLASS.match(rest, start)
        if problem := _class_fault(rest[start:], found):
            return f"{pattern!r}: {problem}"
        rest = rest[found.end() :] if found else ""
    return ""


def _class_fault(text: str, found: re.Match[str] | None) -> str:
    """What is wrong with the class that ``text`` begins with."""
    if text.startswith(("[]", "[!]")):
        return "[] is an empty class; a ] outside of brackets stands for itself"
    if text.startswith("[^"):
        return "[^ does not mean none of these here; write [!abc]"
    if found is None:
        return "the [ is not closed; write [[] for a [ that stands for itself"
    if not _MEMBERS.fullmatch(found[2]):
        return f"{found[0]} has a - that is no range; put it first or last"
    backward = next((pair[0] for pair in _RANGE.finditer(found[2]) if pair[1] > pair[2]), "")
    if backward:
        return f"the range {backward} goes backwards; write {backward[::-1]}"
    return ""


def literal(pattern: str) -> bool:
    """Whether it matches one text only: itself."""
    return _WILD.search(pattern) is None


def matches(text: str, pattern: str) -> bool:
    """As ``fnmatch.fnmatchcase``, which forgets what it has compiled when a file has many patterns."""
    return _compiled(pattern).match(text) is not None


@lru_cache(maxsize=8192)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))


def covers(general: str, special: str) -> bool:
    """Whether ``general`` certainly matches whatever ``special`` does (False: perhaps not)."""
    if general == special or (general and not general.strip("*")):
        return True
    if literal(special):
        return matches(special, general)
    if general.endswith("*") and literal(general[:-1]):
        return special.startswith(general[:-1])
    if general.startswith("*") and literal(general[1:]):
        return special.endswith(general[1:]) and _after_wildcards(special, general[1:])
    return False


def _after_wildcards(pattern: str, end: str) -> bool:
    """Whether the last characters of ``pattern``, as many as ``end``, are no part of a wildcard or class."""
    head = pattern[: len(pattern) - len(end)]
    return "[" not in head.rpartition("]")[2] and "]" not in end
