"""Which blobs have to go, and why. Pure: the same facts give the same plan, so it is its own dry run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tierproxy.config.sections import DiskSection
from tierproxy.model import FreeSpace
from tierproxy.purges import OPERATOR, PRESSURE, Candidate, Drop, Scope, Survey, by_rule
from tierproxy.rules.model import Action, ActionKind, Budget, Order, Rule, RuleSet

SLACK = 0.01  #: share of max_bytes freed beyond min_free, so that not every write at the edge starts a run
EVERYTHING = " everything"  #: name of the rule that stands for an operator's word: no rule of a file begins so


class Pressure(Protocol):
    """What a purge has to know of the space accounting. ``tierproxy.store.space.Space`` is one."""

    def claimed(self, bucket: str = "") -> int:
        """Bytes of blobs and staged parts on disk and those claimed for files being written, of ``bucket`` or all."""
        ...

    @property
    def reserved(self) -> int:
        """Bytes claimed for files that are still being written."""
        ...

    @property
    def settings(self) -> DiskSection:
        """The budget as it is now."""
        ...

    @property
    def budgets(self) -> Mapping[str, int]:
        """``max_bytes`` of the buckets that have a budget of their own."""
        ...

    def free(self) -> FreeSpace:
        """The file system, at most a second old."""
        ...


@dataclass(frozen=True, slots=True)
class Need:
    """How much has to go. ``reason`` is the strongest: ``high water``, ``min_free bytes``, ``min_free inodes`` or
    ``bucket budget``. ``bucket``: whose blobs have to go, "" for any."""

    bytes: int
    files: int
    reason: str
    bucket: str = ""

    def less(self, released: int, removed: int) -> Need | None:
        """What is left of the need after ``removed`` blobs of together ``released`` bytes are gone; None: it is met."""
        size, files = max(0, self.bytes - released), max(0, self.files - removed)
        return Need(size, files, self.reason, self.bucket) if size or files else None


@dataclass(frozen=True, slots=True)
class Choice:
    """One blob that should go, and why, for people."""

    drop: Drop
    reason: str


def need(pressure: Pressure, wanted: int = 0, bucket: str = "") -> Need | None:
    """What has to go now, of ``bucket`` or ("") of the whole disk; None when the budget holds.

    Between high and low water nothing starts: a purge that has begun goes down to low water, the next one begins at
    high water. ``wanted`` are bytes that a caller was just refused: they count as if they were on disk already.
    """
    if bucket:
        return _bucket_need(pressure, wanted, bucket)
    over = _over_water(pressure.settings, pressure.settings.max_bytes, pressure.claimed() + wanted)
    short_bytes, short_files = _below_min_free(pressure, wanted)
    if not (over or short_bytes or short_files):
        return None
    reason = "high water" if over >= short_bytes and over else "min_free bytes" if short_bytes else "min_free inodes"
    return Need(max(over, short_bytes), short_files, reason)


def _bucket_need(pressure: Pressure, wanted: int, bucket: str) -> Need | None:
    budget = pressure.budgets.get(bucket)
    if budget is None:
        return None
    over = _over_water(pressure.settings, budget, pressure.claimed(bucket) + wanted)
    return Need(over, 0, "bucket budget", bucket) if over else None


def _over_water(settings: DiskSection, max_bytes: int, claimed: int) -> int:
    """Bytes down to low water, once high water is reached."""
    if claimed <= max_bytes * settings.high_water:
        return 0
    return claimed - int(max_bytes * settings.low_water)


def _below_min_free(pressure: Pressure, wanted: int) -> tuple[int, int]:
    """Bytes and inodes the file system lacks. ``min_free`` as a size counts bytes only; so does a file system that has
    no fixed number of inodes (btrfs and its kin report zero)."""
    settings, free = pressure.settings, pressure.free()
    keep = settings.min_free
    lacking = keep.of(free.total_bytes) + pressure.reserved + wanted - free.free_bytes
    lacking_bytes = lacking + int(settings.max_bytes * SLACK) if lacking > 0 else 0
    if keep.percent is None or not free.total_inodes:
        return lacking_bytes, 0
    return lacking_bytes, max(0, keep.of(free.total_inodes) + 1 - free.free_inodes)


def first(required: Need, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The first of ``candidates`` that meet ``required``; all of them if they do not."""
    taken: list[Candidate] = []
    rest: Need | None = required
    for candidate in candidates:
        if rest is None:
            break
        taken.append(candidate)
        rest = rest.less(candidate.blob_bytes, 1)
    return tuple(taken)


def pressed(rules: RuleSet, candidate: Candidate, required: Need, order: Order, *, kept: bool = False) -> Choice:
    """Why pressure takes ``candidate``. What a rule purges is booked on the rule: pressure only was in a hurry.
    ``kept``: nothing else is left, and the rules allow it."""
    rule = rules.rules[candidate.rule] if candidate.rule is not None else None
    name = rule.name if rule is not None else ""
    if kept:
        return Choice(
            _drop(candidate, PRESSURE, name), f"{required.reason}: kept by rule {name!r}, but nothing else is left"
        )
    if rule is not None:
        drop = _drop(candidate, by_rule(name), trim=_trims(rule))
        return Choice(drop, f"{required.reason}: rule {name!r} {_verb(rule)} it")
    return Choice(_drop(candidate, PRESSURE), f"{required.reason}: no rule decides it, next by {order}")


def ruled(rules: RuleSet, page: Sequence[Candidate]) -> list[Choice]:
    """What the rules purge of ``page``; those of ``everything`` are the operator's."""
    return [_ruled(rules.rules[candidate.rule], candidate) for candidate in page if candidate.rule is not None]


def _ruled(rule: Rule, candidate: Candidate) -> Choice:
    if rule.name == EVERYTHING:
        return Choice(_drop(candidate, OPERATOR, trim=_trims(rule)), "an operator asked for it")
    return Choice(_drop(candidate, by_rule(rule.name), trim=_trims(rule)), f"rule {rule.name!r} {_verb(rule)} it")


def _trims(rule: Rule) -> bool:
    return rule.then is not None and rule.then.kind is ActionKind.TRIM


def _verb(rule: Rule) -> str:
    return "trims" if _trims(rule) else "purges"


def purging(scope: Scope) -> list[int]:
    """The rules of ``scope`` that purge."""
    return [
        index
        for index, rule in enumerate(scope.rules.rules)
        if rule.then is not None and rule.then.purges and scope.rule in {None, index}
    ]


def doubtful(scope: Scope, survey: Survey, recent_bytes: int) -> str:
    """Why a run over ``scope`` should ask first; "": it need not. ``recent_bytes``: everything on disk, of all buckets
    and rules, that people read within the safety's days."""
    safety = scope.rules.safety
    going = sum(survey.of(index).recent_bytes for index in purging(scope))
    if going <= safety.max_share * recent_bytes:
        return ""
    share = going / recent_bytes if recent_bytes else 1.0
    return (
        f"would remove {share:.0%} of the bytes read within {safety.recent_days} days"
        f" ({going} of {recent_bytes}); {safety.max_share:.0%} are allowed without asking"
    )


def everything(rules: RuleSet) -> RuleSet:
    """Rules that purge whatever may go: an operator's word against ``rules``. What they pin stays pinned, of what they
    trim head and tail stay; a blob is kept for the minimum time on disk as well."""
    purge = Action(ActionKind.PURGE)
    whatever = tuple(
        rule
        if rule.then.kind is ActionKind.PIN
        else replace(rule, name=EVERYTHING, then=rule.then if _trims(rule) else purge)
        for rule in rules.rules
        if rule.then is not None
    )
    return replace(rules, rules=(*whatever, Rule(EVERYTHING, then=purge)))


def merged(disk: DiskSection, budget: Budget) -> DiskSection:
    """``[disk]`` of the configuration, overridden option by option by ``[budget]`` of the rule file."""
    names = ("max_bytes", "high_water", "low_water", "hard_limit", "min_free")
    said = {name: value for name in names if (value := getattr(budget, name)) is not None}
    return replace(disk, **said)


def _drop(candidate: Candidate, by: str, rule: str = "", *, trim: bool = False) -> Drop:
    return Drop(candidate.name, candidate.generation, candidate.blob, candidate.blob_bytes, by, rule, trim)
