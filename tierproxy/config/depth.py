"""How deep the keys of a TOML text go.

tomllib takes time and memory with the square of the parts of a dotted key: ``a.a.a...``, a few hundred kilobytes of it,
takes minutes and all of a machine's memory. So texts of strangers are looked at before they are parsed.
"""

from __future__ import annotations

import re

MOST_PARTS = 32  #: of a key, with its table's; rule files and configurations have keys of three

_TEXTS = re.compile(
    r'''"""(?:[^\\]|\\.)*?(?:"""|\Z)|\'\'\'.*?(?:\'\'\'|\Z)|"(?:[^"\\\n]|\\.)*"?|\'[^\'\n]*\'?|\#[^\n]*''', re.DOTALL
)
"""Strings and comments. One that has no end reaches to the end of its line or of the text: each character is looked at
once."""


def deep_line(text: str) -> int:
    """The first line with a key of more than ``MOST_PARTS`` parts; 0: there is none. A line with as many dots outside
    of its strings is taken for one: no rule file has so many numbers with a point in a line."""
    bare = _TEXTS.sub(_lines_of, text)
    return next((number for number, line in enumerate(bare.split("\n"), 1) if line.count(".") >= MOST_PARTS), 0)


def _lines_of(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")
