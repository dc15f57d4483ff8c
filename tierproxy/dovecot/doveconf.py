"""What ``doveconf -n`` and ``doveconf -a`` print, of Dovecot 2.3 and 2.4, as a tree.

Both write ``name = value`` lines and blocks in braces (Dovecot manual, "Configuration file syntax"); -n leaves out
what has its default. Lists are one line of words in 2.3 and, in 2.4, that or a block of ``name = yes``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tierproxy.dovecot.versions import NoDovecot, Version, version_of
from tierproxy.errors import TierproxyError

YES = frozenset({"yes", "y", "1", "true"})


class Unparsable(TierproxyError):
    """This is not what doveconf prints."""

    hint = "doveconf -n must end without an error; see what it says"


@dataclass(slots=True)
class Block:
    """``kind name { ... }``; the whole configuration is a block without either."""

    kind: str = ""
    name: str = ""
    values: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()

    def get(self, name: str, default: str = "") -> str:
        """The value as it is written, without quotes."""
        return self.values.get(name, default)

    def true(self, name: str, default: bool = False) -> bool:
        """A setting that is yes or no."""
        return self.values[name].lower() in YES if self.values.get(name) else default

    def words(self, name: str) -> list[str]:
        """A list."""
        found = self.values.get(name, "").split()
        inner = next((block for block in self.blocks if block.kind == name and not block.name), None)
        return found + ([key for key, value in inner.values.items() if value.lower() in YES] if inner else [])

    def of_kind(self, kind: str) -> Iterator[Block]:
        """Blocks directly in this one."""
        return (block for block in self.blocks if block.kind == kind)


@dataclass(frozen=True, slots=True)
class Configuration:
    """``source``: the file Dovecot read, "" if doveconf did not say."""

    version: Version
    top: Block
    source: str = ""


_HEADER = re.compile(r"# (\d+\.\d+\S*)(?: \([^)]*\))?:? *(\S*)")
_OPENS = re.compile(r"(?P<kind>[^\s{=]+)(?:\s+(?P<name>[^{]*?))?\s*\{")


def parsed(text: str, version: Version | None = None) -> Configuration:
    """``version``: of the Dovecot that printed it, where the first line does not say. Raises Unparsable."""
    said, source = _header(text)
    known = said or version
    if known is None:
        raise Unparsable("there is no line like '# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf'")
    return Configuration(known, _tree(text), source)


def _header(text: str) -> tuple[Version | None, str]:
    for line in text.splitlines():
        found = _HEADER.match(line)
        if found is not None:
            try:
                return version_of(found[1]), found[2]
            except NoDovecot as error:
                raise Unparsable(str(error), hint=error.hint) from error
    return None, ""


def _tree(text: str) -> Block:
    stack = [Block()]
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line == "}" and len(stack) > 1:
            stack.pop()
        elif "=" in line and not _opens(line):
            name, _, value = line.partition("=")
            stack[-1].values[name.strip()] = _unquoted(value.strip())
        elif opened := _opens(line):
            block = Block(opened["kind"], _unquoted((opened["name"] or "").strip()))
            stack[-1].blocks.append(block)
            stack.append(block)
        else:
            raise Unparsable(f"line {number} of what doveconf printed is neither a setting nor a block: {line[:80]!r}")
    if len(stack) > 1:
        raise Unparsable(f"what doveconf printed ends inside of {stack[-1]} {{")
    return stack[0]


def _opens(line: str) -> re.Match[str] | None:
    return _OPENS.fullmatch(line)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
