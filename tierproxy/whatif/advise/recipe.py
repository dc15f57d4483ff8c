"""What rule files the search can write, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from tierproxy.config.sections import DiskSection
from tierproxy.rules.lint import accept
from tierproxy.rules.model import ActionKind, Budget, Rule, RuleSet

NONE = ""  #: an ingredient that is left out


@dataclass(frozen=True, slots=True)
class Recipe:
    """Ingredients by name, each one of ``CHOICES``; ``NONE``: without it. Durations and sizes as in rule files."""

    order: str = "lru"
    fill: str = NONE
    new: str = NONE
    often: str = NONE
    folders: str = NONE
    large: str = NONE
    once: str = NONE
    unread: str = NONE
    idle: str = NONE
    age: str = NONE

    @property
    def size(self) -> int:
        """Ingredients beside the order."""
        return sum(bool(getattr(self, one.name)) for one in fields(self)) - 1

    def without(self) -> Iterator[Recipe]:
        """Each with one ingredient less."""
        for name in PIECES:
            if getattr(self, name) != NONE:
                yield replace(self, **{name: NONE})


CHOICES: dict[str, tuple[str, ...]] = {
    "order": ("lru", "gdsf", "lfu", "s3-fifo", "sieve", "score", "fifo"),
    "large": (NONE, "100KB 1d", "100KB 7d", "1MB 6h", "1MB 2d", "1MB 7d", "5MB 2d"),
    "once": (NONE, "1d", "3d", "7d", "14d", "30d"),
    "often": (NONE, "2 7d", "2 30d", "3 14d", "3 30d"),
    "new": (NONE, "1d", "3d", "7d", "14d"),
    "unread": (NONE, "1d", "3d", "7d", "14d"),
    "idle": (NONE, "2d", "7d", "14d", "30d", "60d"),
    "folders": (NONE, "1h", "1d", "7d"),
    "age": (NONE, "7d", "14d", "30d", "60d", "90d"),
    "fill": (NONE, "second-read", "never"),
}
"""Values of each ingredient, in the order in which the search changes them."""

STARTS = (
    *(Recipe(order=order) for order in CHOICES["order"]),
    Recipe(new="7d"), Recipe(often="2 30d"), Recipe(large="1MB 2d"), Recipe(once="7d"), Recipe(once="1d"),
    Recipe(fill="second-read"), Recipe(often="2 7d", once="1d"), Recipe(order="gdsf", once="3d"),
    Recipe(new="3d", often="3 30d", large="1MB 2d", once="14d"),
)  # fmt: skip
"""Where the search begins."""


def planned(sweeps: int) -> int:
    """About how many recipes the search tries."""
    return len(STARTS) + sweeps * sum(len(values) - 1 for values in CHOICES.values())


# ------------------------------------------------------------ as text

Piece = tuple[str, str, str]
"""What for, conditions and action, as in a rule file."""


def _new(value: str) -> Piece:
    return f"mail younger than {value} stays", f'when = {{ age = "< {value}" }}', 'then = "keep"'


def _often(value: str) -> Piece:
    reads, days = value.split()
    return f"read {reads} times in {days} stays", f'when = {{ reads = ">= {reads} in {days}" }}', 'then = "keep"'


def _folders(value: str) -> Piece:
    when = f'when = {{ folder = ["junk", "trash"], idle = "> {value}" }}'
    return f"junk and trash idle for {value} go", when, 'then = "purge"'


def _large(value: str) -> Piece:
    size, idle = value.split()
    when = f'when = {{ size = ">= {size}", idle = "> {idle}" }}'
    return f"{size} and more, idle for {idle}, go", when, 'then = "purge"'


def _once(value: str) -> Piece:
    when = f'when = {{ reads = "<= 1", idle = "> {value}" }}'
    return f"read at most once, idle for {value}, goes", when, 'then = "purge"'


def _unread(value: str) -> Piece:
    when = f'when = {{ reads = "= 0", idle = "> {value}" }}'
    return f"unread for {value} goes", when, 'then = "purge"'


def _idle(value: str) -> Piece:
    return f"not read for {value} goes", f'when = {{ idle = "> {value}" }}', 'then = "purge"'


def _age(value: str) -> Piece:
    return f"older than {value} goes", f'when = {{ age = "> {value}" }}', 'then = "purge"'


def _fill(value: str) -> Piece:
    words = {"second-read": "a miss leaves a copy at the second read", "never": "a miss leaves no copy"}
    return words[value], "", f'fill = "{value}"'


PIECES: dict[str, Callable[[str], Piece]] = {
    "fill": _fill, "folders": _folders, "new": _new, "often": _often, "large": _large, "once": _once,
    "unread": _unread, "idle": _idle, "age": _age,
}  # fmt: skip
"""Rules in the order of the file."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What every proposal has in common with the rules in force: their budget, their pins, and their rules that say
    only where writes go or what is filled. ``disk``: what counts where the rules say nothing; ``now``: when they are
    made, seconds since the epoch."""

    rules: RuleSet
    disk: DiskSection
    budget: int
    now: float
    keep_days: int = 400

    def text(self, recipe: Recipe, *, budget: int | None = None, why: str = "") -> str:
        """A whole rule file. ``budget``: bytes, None: that in force; ``why``: lines of a comment at its head."""
        kept = [rule for rule in self.rules.rules if _stays(rule)]
        names = {rule.name for rule in kept}
        parts = [f"# {line}".rstrip() for line in why.splitlines()]
        parts += ["", *self._budget(budget or self.budget), ""]
        for rule in kept:
            parts += [*_said(self.rules, rule), ""]
        for name, piece in PIECES.items():
            if (value := getattr(recipe, name)) != NONE:
                parts += [*_lines(piece(value), names), ""]
        parts += ["[pressure]", f'order = "{recipe.order}"', f'kept  = "{self.rules.pressure.kept}"']
        return "\n".join([*parts, *self._rest()]).lstrip("\n") + "\n"

    def read(self, text: str) -> RuleSet:
        """The rules of such a text. Raises ConfigError when they contradict one another."""
        rules, _ = accept(text, now=self.now, file="advice", keep_days=self.keep_days, disk=self.disk)
        return rules

    def _budget(self, most: int) -> Iterator[str]:
        given, plain = self.rules.budget, Budget()
        yield "[budget]"
        yield f"max_bytes = {most}"
        for name in ("high_water", "low_water", "hard_limit"):
            if getattr(given, name) is not None:
                yield f"{name} = {getattr(given, name)}"
        if given.min_free is not None:
            share = given.min_free
            yield f'min_free = "{share.percent:g}%"' if share.percent is not None else f"min_free = {share.bytes}"
        if given.min_on_disk != plain.min_on_disk:
            yield f'min_on_disk = "{given.min_on_disk:g}s"'
        for bucket in given.buckets:
            yield f'[budget.bucket."{bucket.bucket}"]'
            yield f"max_bytes = {min(bucket.max_bytes, most)}"

    def _rest(self) -> Iterator[str]:
        """Sections that are the operator's own, as they are written."""
        for name in ("schedule", "safety", "regret"):
            said = _section(self.rules.text, name)
            if said:
                yield from ["", *said]


def _stays(rule: Rule) -> bool:
    return rule.then is None or rule.then.kind is ActionKind.PIN


def _lines(piece: Piece, taken: set[str]) -> Iterator[str]:
    name, when, does = piece
    yield "[[rule]]"
    yield f'name = "{name if name not in taken else name + " (advised)"}"'
    if when:
        yield when
    yield does


def _said(rules: RuleSet, rule: Rule) -> list[str]:
    """The lines of a rule in its file."""
    return _table(rules.text.splitlines()[rule.line - 1 :])


def _section(text: str, name: str) -> list[str]:
    lines = text.splitlines()
    begin = next((place for place, line in enumerate(lines) if line.split("#")[0].strip() == f"[{name}]"), None)
    return _table(lines[begin:]) if begin is not None else []


def _table(lines: list[str]) -> list[str]:
    """The first table of ``lines``, without what comes behind it."""
    end = next((place for place, line in enumerate(lines) if place and line.startswith("[")), len(lines))
    found = lines[:end]
    while found and (not found[-1].strip() or found[-1].startswith("#")):
        found.pop()
    return found


def changed(recipe: Recipe, name: str, value: Any) -> Recipe:
    """With another ingredient."""
    return replace(recipe, **{name: value})
