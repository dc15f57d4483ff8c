"""Line numbers of tables and options in a TOML file: tomllib parses, but does not say where."""

from __future__ import annotations

import re
from contextlib import suppress

Path = tuple[str | int, ...]
"""Where in the file: ``("disk", "max_bytes")``, ``("bucket", 0, "name")``, ``("rule", 2, "when", "age", 1)``."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_NAME = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_TEXT = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?!")|\'\'\'.*?\'\'\'(?!\')|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'''',
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def line_numbers(text: str) -> dict[Path, int]:
    """Paths of tables, options, members of lists and of inline tables to their first line, from 1.

    ``text`` is TOML that tomllib has read; of anything else only what stands before the fault is found.
    """
    scanner = _Scanner(text)
    with suppress(_Lost):
        scanner.document()
    return scanner.found


class _Lost(Exception):
    """The text is not TOML from here on."""


class _Scanner:
    """Walks over a document once and notes where each name begins."""

    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._entries: dict[Path, int] = {}

    def document(self) -> None:
        here: Path = ()
        while self._skip(_BLANK):
            if self._peek("["):
                here = self._header()
            else:
                self._pair(here)

    def _header(self) -> Path:
        array = self._peek("[[")
        line = self._number()
        self._at += 2 if array else 1
        path = self._table(self._names(), array)
        self._expect("]]" if array else "]")
        self.found.setdefault(path, line)
        return path

    def _table(self, names: list[str], array: bool) -> Path:
        """The path of a header: each name that is an array of tables is followed by the number of its current entry."""
        path: Path = ()
        for depth, name in enumerate(names, 1):
            path = (*path, name)
            if array and depth == len(names):
                self._entries[path] = self._entries.get(path, -1) + 1
            if path in self._entries:
                path = (*path, self._entries[path])
        return path

    def _pair(self, here: Path) -> None:
        line = self._number()
        path = here
        for name in self._names():
            path = (*path, name)
            self.found.setdefault(path, line)
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)

    def _names(self) -> list[str]:
        """One key, or several with dots between them."""
        names = [self._name()]
        while self._peek("."):
            self._at += 1
            names.append(self._name())
        return names

    def _name(self) -> str:
        self._skip(_SPACE)
        name = self._take(_NAME)
        self._skip(_SPACE)
        return name[1:-1] if name[0] in "\"'" else name

    def _value(self, path: Path) -> None:
        if self._peek("["):
            self._list(path)
        elif self._peek("{"):
            self._inline(path)
        elif self._peek('"') or self._peek("'"):
            self._take(_TEXT)
        else:
            self._take(_PLAIN)

    def _list(self, path: Path) -> None:
        self._at += 1
        number = 0
        while self._skip(_BLANK) and not self._peek("]"):
            self.found.setdefault((*path, number), self._number())
            self._value((*path, number))
            number += 1
            self._skip(_BLANK)
            if self._peek(","):
                self._at += 1
        self._expect("]")

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._skip(_BLANK) and not self._peek("}"):
            self._pair(path)
            self._skip(_BLANK)
            if self._peek(","):
                self._at += 1
        self._expect("}")

    def _number(self) -> int:
        """The line of the place the walk has come to."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _peek(self, mark: str) -> bool:
        return self._text.startswith(mark, self._at)

    def _expect(self, mark: str) -> None:
        if not self._peek(mark):
            raise _Lost
        self._at += len(mark)

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Whether there is something left after what ``pattern`` takes away."""
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            raise _Lost
        self._at = found.end()
        return found[0]
