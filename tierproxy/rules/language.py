"""The language of rule files: TOML text -> ``RuleSet``, or every problem with its line and what to write instead."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from tierproxy.config.convert import nearest
from tierproxy.config.depth import MOST_PARTS, deep_line
from tierproxy.config.lines import line_numbers
from tierproxy.errors import ConfigError
from tierproxy.model import Ack, FillPolicy
from tierproxy.rules import amounts, options, patterns
from tierproxy.rules.conditions import FILL_FIELDS, TIME, WRITE_FIELDS, Reader
from tierproxy.rules.model import (
    Action,
    ActionKind,
    Condition,
    NumberCondition,
    Rule,
    RuleSet,
    TextCondition,
    TimeCondition,
)
from tierproxy.rules.problems import Mistake, Problems, Section, Unusable, unknown

KEEP_DAYS = 400
"""Default of ``[counting] keep_days``."""

LONGEST_NAME = 64
MOST_RULES = 1000
MOST_PATTERNS = 5000
"""With a wildcard, in all rules: each is compared with each object. Plain texts in a list are looked up at once."""

RULE_OPTIONS = ("name", "when", "then", "fill", "write", "regret")

_MEANT = {
    "delete": "purge", "remove": "purge", "evict": "purge", "drop": "purge", "expire": "purge", "stay": "keep",
    "stays": "keep", "hold": "keep", "stub": "trim", "truncate": "trim",
}  # fmt: skip
_THEN = 'write "keep", "purge", "trim", "pin until 2027-01-31" or "pin until age 90d"'


def parse(text: str, *, file: str = "rules.toml", keep_days: int = KEEP_DAYS) -> RuleSet:
    """The rules of a file. ``file`` names it in what is said, ``keep_days`` is ``[counting] keep_days``.

    Raises ConfigError whose message has one line for each problem: ``FILE line N: what is wrong; what to write``.
    """
    raw = _toml(text, file)
    problems = Problems(file, line_numbers(text))
    _refuse_strangers(raw, problems)
    schedule = options.schedule(options.section(raw, "schedule", problems))
    ruleset = RuleSet(
        rules=_rules(raw, problems, Reader(keep_days), schedule.timezone),
        budget=options.budget(options.section(raw, "budget", problems)),
        pressure=options.pressure(options.section(raw, "pressure", problems)),
        schedule=schedule,
        safety=options.safety(options.section(raw, "safety", problems), keep_days),
        regret=options.regret(options.section(raw, "regret", problems), keep_days),
        text=text,
    )
    if problems.found:
        raise problems.refusal()
    return ruleset


def _toml(text: str, file: str) -> dict[str, Any]:
    if line := deep_line(text):
        raise Unusable(file, [Mistake(line, f"a key has more than {MOST_PARTS} parts", "write it more simply")])
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line (\d+)", str(error))
        line = int(where[1]) if where else text.count("\n") + 1
        what = re.sub(r" \(at .*\)", "", str(error))
        raise Unusable(file, [Mistake(line, f"this is not TOML: {what}", _advice(text, line))]) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets in brackets
        raise Unusable(file, [Mistake(0, f"this cannot be read: {error}", "write it more simply")]) from error
    if not any(raw.get(name) for name in ("rule", "budget", "pressure")) and not unknown(raw, _known()):
        advice = 'write at least one [[rule]], or set [purge] rules = "" in the configuration to work without rules'
        raise Unusable(file, [Mistake(0, "the file is empty, it has no rule and no budget", advice)])
    return raw


def _advice(text: str, line: int) -> str:
    lines = text.split("\n")  # as TOML counts them
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    if re.match(r"\s*\[\s*rule\s*\]", shown):
        return "write [[rule]] with two brackets above each rule"
    if "{" in shown and "}" not in shown:
        return "write all of { ... } on one line, or its options below [rule.when]"
    if re.search(r'=\s*[^"\'\[{\s]', shown):
        return 'write texts in quotes, as in age = "< 14d"'
    return "look for a quote, bracket or comma that is missing"


def _known() -> tuple[str, ...]:
    return ("rule", *options.SECTIONS)


def _refuse_strangers(raw: Mapping[str, Any], problems: Problems) -> None:
    for name in unknown(raw, _known()):
        section = next((section for section, names in options.SECTIONS.items() if name in names), "")
        if section and not isinstance(raw[name], (Mapping, list)):
            problems.add((name,), f"{name} stands outside of its section; write it below [{section}]")
        else:
            problems.add((name,), f"there is no section {name}{nearest(name, _known())}")


def _rules(raw: Mapping[str, Any], problems: Problems, reader: Reader, timezone: str) -> tuple[Rule, ...]:
    tables = raw.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        problems.add(("rule",), "rules are tables in a list; write [[rule]] with two brackets above each")
        return ()
    if len(tables) > MOST_RULES:
        problems.add(("rule", MOST_RULES), f"there are {len(tables)} rules; write at most {MOST_RULES}")
        return ()
    names: dict[str, int] = {}
    found = []
    for number, table in enumerate(tables):
        rule = _rule(table, number, problems, reader, timezone)
        if rule.name and rule.name in names:
            problems.add(
                ("rule", number, "name"),
                f'the name "{rule.name}" is taken by the rule in line {names[rule.name]}; write another',
            )
        names.setdefault(rule.name, rule.line)
        found.append(rule)
    if (wild := sum(map(_wild, found))) > MOST_PATTERNS:
        advice = f"write at most {MOST_PATTERNS}; plain texts without * ? [ may be more"
        problems.add(("rule",), f"there are {wild} patterns with a wildcard; {advice}")
    return tuple(found)


def _wild(rule: Rule) -> int:
    texts = (condition for condition in rule.when if isinstance(condition, TextCondition))
    return sum(not patterns.literal(value) for one in texts for value in (*one.wanted, *one.unwanted))


def _rule(raw: Mapping[str, Any], number: int, problems: Problems, reader: Reader, timezone: str) -> Rule:
    given = raw.get("name")
    label = f'rule "{given}"' if isinstance(given, str) and given.isprintable() else f"rule {number + 1}"
    table = Section(raw, ("rule", number), label, problems)
    rule = Rule(
        name=table.take("name", _name, ""),
        when=_when(table, reader),
        then=table.take("then", lambda text: action(text, timezone), None),
        fill=table.take("fill", options.one_of(FillPolicy), None),
        write=table.take("write", options.one_of(Ack), None),
        regret=table.take("regret", amounts.part, None),
        line=problems.line(("rule", number)),
    )
    table.close()
    _examine(table, rule)
    return rule


def _when(table: Section, reader: Reader) -> tuple[Condition, ...]:
    table.known.append("when")
    raw = table.raw.get("when", {})
    if not isinstance(raw, Mapping):
        table.fault('when is not a table; write when = { age = "< 14d" }', "when")
        return ()
    return reader.read(Section(raw, (*table.path, "when"), table.label, table.problems))


def _examine(table: Section, rule: Rule) -> None:
    """What must hold between the options of a rule."""
    if "name" not in table.raw:
        table.fault('it has no name; write name = "..." below [[rule]], it is shown wherever the rule decides')
    if not {"then", "fill", "write"} & table.raw.keys():
        table.fault(f"it does nothing; {_THEN} as then, or a fill or write policy")
    if rule.fill is not None:
        _confine(table, rule, "fill", FILL_FIELDS)
    if rule.write is not None:
        _confine(table, rule, "write", WRITE_FIELDS)
    if rule.regret is not None and "then" not in table.raw:
        table.fault("regret is counted on purges, and this rule has no then; leave it out", "regret")


def _confine(table: Section, rule: Rule, policy: str, allowed: frozenset[str]) -> None:
    advice = f"write a rule of its own for {policy}, which may look at {', '.join(sorted(allowed))}"
    for condition in rule.when:
        field = TIME if isinstance(condition, TimeCondition) else _field(condition)
        if field not in allowed:
            table.fault(f"a rule with {policy} cannot look at {field}; {advice}", "when", field)
        elif isinstance(condition, NumberCondition) and condition.days is not None:
            table.fault(f'a rule with {policy} cannot count in a window; write {field} = ">= 3" alone', "when", field)
        elif "machine-read" in getattr(condition, "wanted", ()) + getattr(condition, "unwanted", ()):
            table.fault(f"a rule with {policy} cannot look at machine reads; {advice}", "when", field)


def _field(condition: Condition) -> str:
    match condition:
        case NumberCondition():
            return condition.measure
        case TimeCondition():
            return TIME
    return condition.word


def _name(raw: Any) -> str:
    if not isinstance(raw, str) or not 1 <= len(raw) <= LONGEST_NAME or not raw.isprintable() or raw != raw.strip():
        raise ConfigError(f'{raw!r} is no name; write 1 to {LONGEST_NAME} printable characters, as in "new mail stays"')
    return raw


def action(raw: Any, timezone: str) -> Action:
    """``keep``, ``purge``, ``trim``, ``pin until DATE``, ``pin until age DURATION``. Raises ConfigError."""
    if not isinstance(raw, str):
        raise ConfigError(f"{raw!r} is no action; {_THEN}")
    words = raw.split()
    if words[:1] == ["pin"]:
        return _pin(words, timezone)
    if raw in tuple(ActionKind):
        return Action(ActionKind(raw))
    meant = _MEANT.get(raw.lower()) or nearest(raw, ActionKind).removeprefix("; did you mean ").removesuffix("?")
    advice = f'write "{meant}"' if meant in tuple(ActionKind) else _THEN
    raise ConfigError(f"there is no action {raw!r}; {advice}")


def _pin(words: list[str], timezone: str) -> Action:
    match words:
        case ["pin", "until", "age", age]:
            return Action(ActionKind.PIN, until_age=amounts.duration(age))
        case ["pin", "until", date, *clock] if date != "age" and len(clock) <= 1:
            return Action(ActionKind.PIN, until=amounts.moment(" ".join([date, *clock]), timezone))
    raise ConfigError(
        f'{" ".join(words)!r} does not say until when; write "pin until 2027-01-31" or "pin until age 90d"'
    )
