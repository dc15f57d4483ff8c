"""What is wrong or doubtful about rules that can be read: contradictions, rules nothing reaches, waters that cross.

An error keeps a file from being used, a warning is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tierproxy.config.lines import Path, line_numbers
from tierproxy.config.sections import DiskSection
from tierproxy.model import State
from tierproxy.rules import show
from tierproxy.rules.bounds import always, contradiction, implies
from tierproxy.rules.conditions import LENGTHS
from tierproxy.rules.language import KEEP_DAYS, parse
from tierproxy.rules.model import (
    PURGING,
    ActionKind,
    Kept,
    NumberCondition,
    Operator,
    Rule,
    RuleSet,
    TextCondition,
    Trait,
    Word,
)
from tierproxy.rules.patterns import literal
from tierproxy.rules.problems import Mistake, Unusable

KEEPS = frozenset({ActionKind.KEEP})
"""Actions that leave an object on disk until pressure takes it."""


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """``line``: where, from 1; 0: nobody knows. ``fix``: what to write or do. ``rule``: whose name, "" for none."""

    level: Level
    line: int
    text: str
    fix: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is on disk now. ``decided``: index of a rule (None: none decides) to (objects, bytes) of clean blobs that
    may go. ``fixed_bytes``: of blobs that may not (dirty, pinned, younger than ``min_on_disk``)."""

    decided: Mapping[int | None, tuple[int, int]] = field(default_factory=dict)
    fixed_bytes: int = 0


def accept(
    text: str,
    *,
    now: float,
    file: str = "rules.toml",
    keep_days: int = KEEP_DAYS,
    disk: DiskSection | None = None,
) -> tuple[RuleSet, list[Finding]]:
    """The rules of a file that may be put in force, and its warnings. ``disk``: as for ``lint``.

    Raises ConfigError with a line for each problem: of the language, or, where that is right, each error found here.
    """
    ruleset = parse(text, file=file, keep_days=keep_days)
    findings = lint(ruleset, now=now, disk=disk)
    errors = [one for one in findings if one.level is Level.ERROR]
    if errors:
        raise Unusable(file, [Mistake(one.line, one.text, one.fix, one.rule) for one in errors])
    return ruleset, findings


class Patience:
    """How much lint compares: rules with rules, and their texts with patterns. A file that is made to be slow would
    keep whoever asks, and a node's thread, for hours; what lies beyond is not looked at."""

    MOST = 1_000_000  #: texts that are looked at, long patterns counting as several: a hundred rules with ten patterns

    def __init__(self) -> None:
        self._left = self.MOST

    def lasts(self, special: Rule, general: Rule) -> bool:
        """Whether the two may be compared."""
        mine, others = _texts(special), _texts(general)
        wild = sum(1 + len(text) // 16 for text in others if not literal(text))
        self._left -= 4 + len(mine) + len(others) + len(mine) * wild
        return self._left >= 0


def _texts(rule: Rule) -> list[str]:
    return [text for one in rule.when if isinstance(one, TextCondition) for text in (*one.wanted, *one.unwanted)]


def lint(ruleset: RuleSet, *, now: float, disk: DiskSection | None = None) -> list[Finding]:
    """All findings in the order of the file. ``disk``: what counts where the file says nothing of a budget; None: only
    what the file says is compared."""
    lines, patience = line_numbers(ruleset.text), Patience()
    found = [*_waters(ruleset, disk, lines), *_bucket_budgets(ruleset, disk, lines)]
    possible = []
    for rule in ruleset.rules:
        if patience.lasts(rule, rule):
            found += list(_never(rule)) or list(_doubtful(rule, now, ruleset.schedule.timezone))
            possible += [rule] if contradiction(rule) is None else []
    found += [*_unreachable(possible, patience), *_all_kept(ruleset, now, lines)]
    return sorted(found, key=lambda one: one.line)


def weigh(ruleset: RuleSet, holdings: Holdings, *, disk: DiskSection | None = None) -> list[Finding]:
    """Findings from what is on disk now: rules that decide nothing (unless nothing may go yet: then no rule decides
    anything), a low water that cannot be reached."""
    objects = sum(number for number, _ in holdings.decided.values())
    found = []
    for index, rule in enumerate(ruleset.rules):
        if objects and rule.then is not None and not holdings.decided.get(index, (0, 0))[0]:
            text = f"decides nothing now, of {show.count(objects, 'object')} on disk that may go"
            found.append(_of(rule, Level.WARNING, text, "look at its conditions with tierproxy explain, or remove it"))
    return [
        *found,
        *_at_once(ruleset, holdings, disk or DiskSection()),
        *_reach(ruleset, holdings, disk or DiskSection()),
    ]


def _of(rule: Rule, level: Level, text: str, fix: str) -> Finding:
    return Finding(level, rule.line, f'rule "{rule.name}": {text}', fix, rule.name)


def _waters(ruleset: RuleSet, disk: DiskSection | None, lines: Mapping[Path, int]) -> Iterator[Finding]:
    budget = ruleset.budget
    low = budget.low_water if budget.low_water is not None else disk.low_water if disk else 0.0
    high = budget.high_water if budget.high_water is not None else disk.high_water if disk else 1.0
    hard = budget.hard_limit if budget.hard_limit is not None else disk.hard_limit if disk else 1.0

    def wrong(option: str, other: str, text: str, fix: str) -> Finding:
        given = option if ("budget", option) in lines else other
        return Finding(Level.ERROR, lines.get(("budget", given), 0), f"[budget]: {text}", fix)

    if low >= high:
        text = f"low_water {low:g} is not below high_water {high:g}: a purge would end before it begins"
        yield wrong("low_water", "high_water", text, "write a smaller low_water, as in 0.80")
    if hard < 1:
        text = f"hard_limit {hard:g} is below max_bytes: writes would be refused before the disk is full"
        yield wrong("hard_limit", "hard_limit", text, 'write at least 1, as in "110%"')
    elif hard < high:
        text = f"hard_limit {hard:g} is below high_water {high:g}"
        yield wrong("hard_limit", "high_water", text, "write a larger hard_limit")


def _bucket_budgets(ruleset: RuleSet, disk: DiskSection | None, lines: Mapping[Path, int]) -> Iterator[Finding]:
    whole = ruleset.budget.max_bytes or (disk.max_bytes if disk else 0)
    for one in ruleset.budget.buckets:
        if 0 < whole <= one.max_bytes:
            line = lines.get(("budget", "bucket", one.bucket, "max_bytes"), 0)
            text = (
                f"[budget.bucket.{one.bucket}]: max_bytes {show.size(one.max_bytes)} is no less than that of the disk"
            )
            yield Finding(Level.WARNING, line, f"{text}, {show.size(whole)}", "write less, or leave it out")


def _never(rule: Rule) -> Iterator[Finding]:
    """Rules that cannot match, or do nothing if they do."""
    if (condition := contradiction(rule)) is not None:
        text = f"it can never match: {show.condition(condition)} contradicts the rest of {show.conditions(rule)}"
        yield _of(rule, Level.ERROR, text, "change or remove one of the conditions, or make two rules of it")
        return
    states = [one for one in rule.when if isinstance(one, TextCondition) and one.word is Word.STATE]
    if rule.then is not None and rule.then.purges and any(_without_clean(one) for one in states):
        text = f"it can never {rule.then.kind}: only clean objects are purged, the others are not in alt yet"
        yield _of(rule, Level.ERROR, text, "leave state out")


def _without_clean(one: TextCondition) -> bool:
    return (bool(one.wanted) and State.CLEAN not in one.wanted) or State.CLEAN in one.unwanted


def _doubtful(rule: Rule, now: float, timezone: str) -> Iterator[Finding]:
    action = rule.then
    for one in rule.when:
        if isinstance(one, NumberCondition) and one.operator is Operator.EQ and one.measure in LENGTHS:
            text = f"{show.condition(one)} holds for one instant and no longer"
            yield _of(rule, Level.WARNING, text, f"write {one.measure} with < or >=")
        if isinstance(one, TextCondition) and one.wanted == (Trait.PURGED_BEFORE,) and action is not None:
            text = "has purged-before is never true of an object on disk: its copy has come back"
            yield _of(rule, Level.WARNING, text, "write it in a rule with fill and without then")
    if action is None:
        return
    if action.until is not None and action.until <= now:
        text = f"the pin has run out ({show.action(action, timezone)}): the rule matches nothing any more"
        yield _of(rule, Level.WARNING, text, "write a later date, or remove the rule")
    if rule.regret is not None and not action.purges:
        yield _of(rule, Level.WARNING, "it purges nothing, so nothing can be regretted", "leave regret out")


def _unreachable(rules: Sequence[Rule], patience: Patience) -> Iterator[Finding]:
    """Rules that come after one that matches whenever they do."""
    for index, rule in enumerate(rules):
        roles = [role for role in ("then", "fill", "write") if getattr(rule, role) is not None]
        above = _above(rule, roles, rules[:index], patience)
        lost = [role for role in roles if role in above]
        if lost == roles:
            yield _lost(rule, above[roles[0]], Level.ERROR, "it is never reached")
        else:
            for role in lost:
                yield _lost(rule, above[role], Level.WARNING, f"its {role} is never used")


def _above(rule: Rule, roles: Sequence[str], earlier: Sequence[Rule], patience: Patience) -> dict[str, Rule]:
    """The first of ``earlier`` that takes each role from ``rule``."""
    found: dict[str, Rule] = {}
    for one in earlier:
        wanted = [role for role in roles if role not in found and getattr(one, role) is not None]
        if wanted and patience.lasts(rule, one) and implies(rule, one):
            found |= dict.fromkeys(wanted, one)
        if len(found) == len(roles):
            break
    return found


def _lost(rule: Rule, above: Rule, level: Level, text: str) -> Finding:
    if always(above):
        where = f'rule "{above.name}" in line {above.line} matches everything before it'
        return _of(rule, level, f"{text}: {where}", f'move "{above.name}" to the end of the file')
    where = f'rule "{above.name}" in line {above.line} matches whenever it does, and comes first'
    return _of(rule, level, f"{text}: {where}", f'move it above "{above.name}", or remove it')


def _all_kept(ruleset: RuleSet, now: float, lines: Mapping[Path, int]) -> Iterator[Finding]:
    for rule in ruleset.rules:
        if rule.then is None or not always(Rule(rule.name, rule.when)):
            continue
        if rule.then.kind in KEEPS and ruleset.pressure.kept is Kept.NEVER:
            text = 'it keeps everything, and [pressure] kept = "never" lets pressure take nothing of that'
            fix = f'give the rule conditions, or write kept = "last" (line {lines.get(("pressure", "kept"), 0)})'
            yield _of(rule, Level.ERROR, f"{text}: low water cannot be reached", fix)
        if rule.then.until is not None and rule.then.until > now:
            text = "it pins everything, and pressure can take nothing of that: low water cannot be reached"
            yield _of(rule, Level.ERROR, text, "give the rule conditions")


def _at_once(ruleset: RuleSet, holdings: Holdings, disk: DiskSection) -> Iterator[Finding]:
    """A budget below what is on disk and no rule purges: pressure asks nobody."""
    budget = ruleset.budget
    most = budget.max_bytes or disk.max_bytes
    high = budget.high_water if budget.high_water is not None else disk.high_water
    low = budget.low_water if budget.low_water is not None else disk.low_water
    purged = _bytes(ruleset, holdings, PURGING)
    held = holdings.fixed_bytes + sum(size for _, size in holdings.decided.values()) - purged
    if held > most * high:
        over = show.size(held - int(most * low))
        text = f"pressure removes {over} as soon as this is in force: {show.size(held)} are on disk that no rule purges"
        yield Finding(Level.WARNING, 0, text, f"is {show.size(most)} as [budget] max_bytes what you mean?")


def _reach(ruleset: RuleSet, holdings: Holdings, disk: DiskSection) -> Iterator[Finding]:
    budget, kept_rule = ruleset.budget, ruleset.pressure.kept
    low = budget.low_water if budget.low_water is not None else disk.low_water
    water = int((budget.max_bytes or disk.max_bytes) * low)
    fixed = holdings.fixed_bytes + _bytes(ruleset, holdings, frozenset({ActionKind.PIN}))
    kept = _bytes(ruleset, holdings, KEEPS)
    numbers = f"low water is {show.size(water)}; rules keep {show.size(kept)}, and {show.size(fixed)} may not go at all"
    fix = "keep less, or raise [budget] max_bytes"
    if fixed > water or (fixed + kept > water and kept_rule is Kept.NEVER):
        yield Finding(Level.WARNING, 0, f"with today's objects low water cannot be reached: {numbers}", fix)
    elif fixed + kept > water:
        over = show.size(fixed + kept - water)
        text = f"with today's objects pressure will take {over} of what rules keep: {numbers}"
        yield Finding(Level.WARNING, 0, text, fix)


def _bytes(ruleset: RuleSet, holdings: Holdings, kinds: frozenset[ActionKind]) -> int:
    """Bytes that rules with such an action decide."""
    total = 0
    for index, (_, size) in holdings.decided.items():
        action = ruleset.rules[index].then if index is not None else None
        total += size if action is not None and action.kind in kinds else 0
    return total
