"""Rules and the numbers behind them in words: the file's own for conditions and actions, people's for amounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tierproxy.config.schema import quoted
from tierproxy.config.values import show_duration, show_share, show_size
from tierproxy.rules.conditions import LENGTHS, TIME
from tierproxy.rules.evaluate import Truth
from tierproxy.rules.model import (
    Action,
    ActionKind,
    Condition,
    Measure,
    NumberCondition,
    Rule,
    RuleSet,
    TextCondition,
    TimeCondition,
)
from tierproxy.rules.spans import zone

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def condition(one: Condition) -> str:
    """``age < 14d``, ``reads >= 3 in 30d``, ``key mail/* or lists/*, not *.index``, ``time 01:00-05:00``."""
    match one:
        case NumberCondition():
            return f"{one.measure} {_comparison(one)}"
        case TextCondition():
            parts = [" or ".join(map(_shown, one.wanted))] if one.wanted else []
            if one.unwanted:
                parts.append("not " + " or ".join(map(_shown, one.unwanted)))
            return f"{one.word} {', '.join(parts)}"
        case TimeCondition():
            return f"{TIME} {' or '.join(map(span, one.spans))}"


def conditions(rule: Rule) -> str:
    """All of them: ``age < 14d and size >= 1MiB``; ``always`` without any."""
    return " and ".join(condition(one) for one in rule.when) or "always"


def action(one: Action, timezone: str = "UTC") -> str:
    """As in the file: ``keep``, ``pin until 2027-01-31``, ``pin until age 90d``."""
    if one.kind is not ActionKind.PIN:
        return str(one.kind)
    if one.until is None:
        return f"pin until age {show_duration(one.until_age or 0)}"
    local = datetime.fromtimestamp(one.until, zone(timezone))
    return f"pin until {local:%Y-%m-%d}" + (f" {local:%H:%M}" if (local.hour, local.minute) != (0, 0) else "")


def deeds(rule: Rule, timezone: str = "UTC") -> str:
    """What a rule does: ``purge``, ``keep, fill never``, ``write disk``."""
    parts = [action(rule.then, timezone)] if rule.then else []
    parts += [f"fill {rule.fill}"] if rule.fill else []
    parts += [f"write {rule.write}"] if rule.write else []
    return ", ".join(parts)


def rule(one: Rule, timezone: str = "UTC") -> str:
    """``idle > 30d and reads <= 1: purge``."""
    budget = f", regret {_percent(one.regret)}" if one.regret is not None else ""
    return f"{conditions(one)}: {deeds(one, timezone)}{budget}"


def value(truth: Truth) -> str:
    """The number or text behind a truth: ``3d 4h``, ``1.2 MiB``, ``5 reads``, ``mail/a``; ``unknown`` without any."""
    if truth.value is None:
        return "not on disk"
    if isinstance(truth.value, tuple):
        return ", ".join(truth.value) or "nothing"
    if isinstance(truth.value, str):
        return truth.value or "unknown"
    if isinstance(truth.condition, TimeCondition):
        return clock(int(truth.value))
    assert isinstance(truth.condition, NumberCondition)
    if truth.condition.measure in LENGTHS:
        return duration(truth.value)
    return size(int(truth.value)) if truth.condition.measure is Measure.SIZE else count(int(truth.value), "read")


def duration(seconds: float) -> str:
    """The two largest units: ``3d 4h``, ``12min 5s``; ``0.4s`` below a second; ``-2h`` when a clock jumped back."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    if left < 1:
        return f"{sign}{left:.1g}s"
    parts: list[str] = []
    whole = int(left)
    for unit, length in _UNITS:
        number, whole = divmod(whole, length)
        if parts or number:
            parts.append(f"{number}{unit}" if number else "")
    return sign + " ".join(filter(None, parts[:2]))


def size(number: int) -> str:
    """``1.2 MiB``, ``750 MiB``, ``312 bytes``."""
    amount = float(number)
    if abs(amount) < 1024:
        return f"{number} bytes"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= 1024
        if abs(amount) < 1023.95 or unit == "TiB":
            break
    return f"{amount:.1f} {unit}" if abs(amount) < 99.95 else f"{amount:,.0f} {unit}"


def count(number: int, noun: str) -> str:
    """``1 read``, ``12,345 reads``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clock(minute: int) -> str:
    """``01:30``"""
    return f"{minute // 60:02}:{minute % 60:02}"


def span(one: tuple[int, int]) -> str:
    """``01:00-05:00``"""
    return f"{clock(one[0])}-{clock(one[1])}"


def difference(old: RuleSet, new: RuleSet) -> list[str]:
    """What differs, one line each: rules added, removed, changed and moved, then options. Empty: they mean the same."""
    return [*_rule_differences(old, new), *_option_differences(old, new)]


def options(ruleset: RuleSet) -> dict[str, str]:
    """Every option beside the rules by its dotted name, as in the file; "" where the configuration has the word."""
    budget, safety, regret = ruleset.budget, ruleset.safety, ruleset.regret
    return {
        "budget.max_bytes": "" if budget.max_bytes is None else quoted(show_size(budget.max_bytes)),
        "budget.high_water": "" if budget.high_water is None else repr(budget.high_water),
        "budget.low_water": "" if budget.low_water is None else repr(budget.low_water),
        "budget.hard_limit": "" if budget.hard_limit is None else repr(budget.hard_limit),
        "budget.min_free": "" if budget.min_free is None else quoted(show_share(budget.min_free)),
        "budget.min_on_disk": quoted(show_duration(budget.min_on_disk)),
        **{f"budget.bucket.{quoted(one.bucket)}.max_bytes": quoted(show_size(one.max_bytes)) for one in budget.buckets},
        "pressure.order": quoted(ruleset.pressure.order),
        "pressure.kept": quoted(ruleset.pressure.kept),
        "schedule.every": quoted(show_duration(ruleset.schedule.every)),
        "schedule.windows": _list([span(one) for one in ruleset.schedule.spans]) if ruleset.schedule.spans else "",
        "schedule.timezone": quoted(ruleset.schedule.timezone),
        "safety.recent": quoted(f"{safety.recent_days}d"),
        "safety.max_share": repr(safety.max_share),
        "regret.within": quoted(f"{regret.days}d"),
        "regret.max_share": repr(regret.max_share),
        "regret.least": str(regret.least),
    }


def written(ruleset: RuleSet) -> str:
    """A rule file that means ``ruleset``; without its comments. Conditions on one word must stand side by side."""
    lines = [f"{name} = {shown}" for name, shown in options(ruleset).items() if shown]
    for one in ruleset.rules:
        lines += ["", *_written(one, ruleset.schedule.timezone)]
    return "\n".join(lines) + "\n"


def _written(one: Rule, timezone: str) -> list[str]:
    lines = ["[[rule]]", f"name = {quoted(one.name)}"]
    if one.when:
        fields: dict[str, list[str]] = {}
        for each in one.when:
            fields.setdefault(_field(each), []).extend(_texts(each))
        lines.append(f"when = {{ {', '.join(f'{field} = {_list(texts)}' for field, texts in fields.items())} }}")
    lines += [f"then = {quoted(action(one.then, timezone))}"] if one.then else []
    lines += [f"fill = {quoted(one.fill)}"] if one.fill else []
    lines += [f"write = {quoted(one.write)}"] if one.write else []
    lines += [f"regret = {one.regret!r}"] if one.regret is not None else []
    return lines


def _field(one: Condition) -> str:
    match one:
        case NumberCondition():
            return one.measure
        case TextCondition():
            return one.word
        case TimeCondition():
            return TIME


def _texts(one: Condition) -> list[str]:
    match one:
        case NumberCondition():
            return [_comparison(one)]
        case TextCondition():
            return [*one.wanted, *(f"!{pattern}" for pattern in one.unwanted)]
        case TimeCondition():
            return [span(each) for each in one.spans]


def _comparison(one: NumberCondition) -> str:
    """``>= 3 in 30d``"""
    window = f" in {one.days}d" if one.days is not None else ""
    if one.measure in LENGTHS:
        return f"{one.operator} {show_duration(one.value)}"
    return f"{one.operator} {show_size(int(one.value)) if one.measure is Measure.SIZE else int(one.value)}{window}"


def _list(texts: Sequence[str]) -> str:
    return quoted(texts[0]) if len(texts) == 1 else f"[{', '.join(map(quoted, texts))}]"


def _shown(pattern: str) -> str:
    return pattern if pattern and pattern == pattern.strip() else quoted(pattern)


def _percent(share: float) -> str:
    return f"{share * 100:g}%"


def _rule_differences(old: RuleSet, new: RuleSet) -> list[str]:
    before = {one.name: one for one in old.rules}
    after = {one.name: one for one in new.rules}
    lines = [f'rule "{name}" is gone: {_of(one, old)}' for name, one in before.items() if name not in after]
    lines += [
        f'rule "{name}" is new, at {_place(new, name)}: {_of(one, new)}'
        for name, one in after.items()
        if name not in before
    ]
    for name, one in after.items():
        if name in before and _of(before[name], old) != _of(one, new):
            lines.append(f'rule "{name}" changes: {_of(before[name], old)} -> {_of(one, new)}')
    for name in _moved([name for name in before if name in after], [name for name in after if name in before]):
        lines.append(f'rule "{name}" moves from {_place(old, name)} to {_place(new, name)}')
    return lines


def _of(one: Rule, ruleset: RuleSet) -> str:
    return rule(one, ruleset.schedule.timezone)


def _place(ruleset: RuleSet, name: str) -> str:
    number = next(index for index, one in enumerate(ruleset.rules, 1) if one.name == name)
    return f"place {number} of {len(ruleset.rules)}"


def _moved(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """The fewest names that must move to get from one order to the other: all but a longest common subsequence."""
    best: list[list[str]] = []  # the longest run of names in both orders that ends with new[i]
    place = {name: number for number, name in enumerate(old)}
    for name in new:
        shorter = [run for run in best if place[run[-1]] < place[name]]
        best.append([*max(shorter, key=len, default=[]), name])
    longest: list[str] = max(best, key=len, default=[])
    stays = set(longest)
    return [name for name in new if name not in stays]


def _option_differences(old: RuleSet, new: RuleSet) -> list[str]:
    before, after = options(old), options(new)
    lines = []
    for name in dict.fromkeys([*before, *after]):
        left, right = before.get(name, ""), after.get(name, "")
        if left != right:
            lines.append(f"{name} changes: {left or 'not set'} -> {right or 'not set'}")
    return lines
