"""Whether a client can make a pattern for keys slow with a key of its own making.

Python's regular expressions try every way to match: ``(a+)+/x`` takes years over forty a's, and nothing stops it. There
is no telling from the expression alone, so it is tried on keys that make the usual mistakes show (repeats of repeats,
many repeats of the same in a row), each a little longer than the one before, until one is too slow or they are as long
as keys get. This finds mistakes; it is no proof.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from tierproxy.clock import cpu_seconds
from tierproxy.config.sections import NamingSection
from tierproxy.errors import ConfigError

LONGEST = 1024  #: bytes of a key
TOO_SLOW = 0.1
"""CPU seconds over one key; sound patterns take less than a thousandth of it."""

UNITS = ("a", "0", "A", "/", ".", "-", "a/", "a.", "a-", "a@")
ENDS = ("\n", "/", "!")
_LITERAL = re.compile(r"[^\\.\[\](){}*+?|^$]*")
_WORDS = re.compile(r"(?<!\\)[A-Za-z0-9_@=,:;!#%&~ /-]")


def refuse_slow(patterns: Sequence[NamingSection], spent: Callable[[], float] = cpu_seconds) -> None:
    """Raises ConfigError for the first pattern that a key can keep busy. ``patterns`` compile. Takes some
    milliseconds for each that is sound."""
    for number, one in enumerate(patterns, 1):
        key = slow_key(one.pattern, spent)
        if key is not None:
            raise ConfigError(
                f"[[naming]] number {number}: the pattern takes longer than {TOO_SLOW} s over the key {key[:60]!r} "
                f"({len(key)} characters)",
                hint="no repeat within a repeat; [^/]+ instead of .+ wherever a step of the key is meant",
            )


def slow_key(pattern: str, spent: Callable[[], float] = cpu_seconds) -> str | None:
    """A key that takes too long; None: none was found."""
    fullmatch = re.compile(pattern).fullmatch
    for key in _keys(pattern):
        begin = spent()
        fullmatch(key)
        if spent() - begin > TOO_SLOW:
            return key
    return None


def _keys(pattern: str) -> Iterator[str]:
    """Short ones first of each sort: what doubles with each character must not be met at its worst."""
    literal = _LITERAL.match(pattern)
    start = literal[0] if literal else ""
    units = dict.fromkeys((*UNITS, *_WORDS.findall(pattern)[:40]))
    for head in dict.fromkeys(("", start, start[:-1])):
        for unit in units:
            for end in ENDS:
                yield from (head + (unit * length)[:length] + end for length in _lengths(LONGEST - len(head) - 1))


def _lengths(longest: int) -> Iterator[int]:
    length = 8
    while length <= longest:
        yield length
        length += max(2, length // 5)
    yield longest
