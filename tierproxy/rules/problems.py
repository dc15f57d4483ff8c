"""Everything wrong with a rule file, each with its line, so that it is said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tierproxy.config.convert import nearest
from tierproxy.config.lines import Path
from tierproxy.errors import ConfigError

HINT = "docs/rules.md explains every word of a rule file"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Mistake:
    """Why a rule file cannot be used. ``line``: where, from 1; 0: nobody knows. ``fix``: what to write or do."""

    line: int
    text: str
    fix: str = ""
    rule: str = ""

    @classmethod
    def said(cls, line: int, text: str) -> Mistake:
        """Of a text in the form of this house: what is wrong; what to write."""
        what, _, fix = text.rpartition("; ")
        return cls(line, what, fix) if what else cls(line, text)

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}" if self.fix else self.text


class Unusable(ConfigError):
    """A rule file that cannot be used; each mistake is a line of the message. ``mistakes``: the same with places."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(located(file, one.line, str(one)) for one in mistakes), hint=HINT)
        self.mistakes = tuple(mistakes)


@dataclass
class Problems:
    """Faults of one file. ``lines``: as ``tierproxy.config.lines`` finds them."""

    file: str
    lines: Mapping[Path, int] = field(default_factory=dict)
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: Path, text: str) -> None:
        self.found.append((self.line(path), text))

    def line(self, path: Path) -> int:
        """Where ``path``, or the next thing around it, begins; 0: nobody knows."""
        while path and path not in self.lines:
            if (*path, 0) in self.lines:
                return self.lines[*path, 0]
            path = path[:-1]
        return self.lines.get(path, 0)

    def refusal(self) -> Unusable:
        """All of them as one error, in the order of the file."""
        found = sorted(self.found, key=lambda fault: fault[0])
        return Unusable(self.file, [Mistake.said(line, text) for line, text in found])


def located(file: str, line: int, text: str) -> str:
    """``rules.toml line 7: ...``"""
    return f"{file} line {line}: {text}" if line else f"{file}: {text}"


@dataclass
class Section:
    """A table of the file that is being read. ``label`` begins what is said of its options."""

    raw: Mapping[str, Any]
    path: Path
    label: str
    problems: Problems
    known: list[str] = field(default_factory=list)

    def take(self, name: str, make: Callable[[Any], _T], default: _T) -> _T:
        """The option as ``make`` reads it; ``default`` where it is not given or wrong (which is noted)."""
        self.known.append(name)
        if name not in self.raw:
            return default
        try:
            return make(self.raw[name])
        except ConfigError as error:
            self.fault(f"{name}: {error}", name)
            return default

    def fault(self, text: str, *steps: str | int) -> None:
        self.problems.add((*self.path, *steps), f"{self.label}: {text}")

    def close(self) -> None:
        """Note the options that nobody has asked for."""
        for name in unknown(self.raw, self.known):
            self.fault(f"there is no option {name}{nearest(name, self.known)}", name)


def unknown(raw: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names in ``raw`` that are not in ``known``, in their order."""
    names = set(known)
    return [name for name in raw if name not in names]
