"""docs/rules.md and config/rules.toml know every word of the language, and no other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tierproxy.config.values import DURATIONS, SIZES
from tierproxy.model import Ack, FillPolicy, State
from tierproxy.rules import show
from tierproxy.rules.conditions import FIELDS, FILL_FIELDS, WRITE_FIELDS
from tierproxy.rules.language import RULE_OPTIONS
from tierproxy.rules.lint import accept
from tierproxy.rules.model import ActionKind, Kept, Operator, Order, RuleSet, Trait
from tierproxy.rules.options import SECTIONS

PAGE = Path("docs/rules.md").read_text()
EXAMPLE = Path("config/rules.toml").read_text()
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
NOW = 1_796_000_000.0


def table(header: str) -> dict[str, list[str]]:
    """First column (without backticks) to the others, of the table whose first heading is ``header``."""
    start = re.search(rf"^\| {re.escape(header)} \|.*\n\|---", PAGE, flags=re.MULTILINE)
    assert start is not None
    lines = PAGE[start.start() :].split("\n\n", maxsplit=1)[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    return {row[0].strip("` |"): row[1:] for row in rows}


def test_every_option_of_a_rule_has_a_row() -> None:
    assert tuple(table("option of a rule")) == RULE_OPTIONS


def test_every_condition_is_explained() -> None:
    rows = PAGE[PAGE.index("## Conditions") : PAGE.index("## Actions")]
    named = set(re.findall(r"^\| `(\w+)` \|", rows, flags=re.MULTILINE)) | {"time"}
    assert named == set(FIELDS)


def test_every_value_of_has_and_state_is_explained() -> None:
    rows = PAGE[PAGE.index("| `has` |") : PAGE.index("`time` is the time of day")]
    assert re.findall(r"^\| (?:`has`)? ?\| `([^`]+)` \|", rows, flags=re.MULTILINE) == sorted(
        [*Trait, "metadata:NAME"], key=rows.index
    )
    assert set(re.findall(r"`(\w+)`", PAGE[PAGE.index("| `state` |") :].split("|")[2])) == set(State)


def test_every_action_policy_order_and_operator_is_explained() -> None:
    assert {name.split()[0] for name in table("`then`")} == set(ActionKind)
    assert set(table("`fill`")) == set(FillPolicy)
    assert set(table("`write`")) == set(Ack)
    assert list(table("`order`")) == list(Order)
    assert all(f"`{kept}`" in PAGE for kept in Kept)
    assert f"`{' '.join(Operator)}`" in PAGE


@pytest.mark.parametrize("section", SECTIONS)
def test_every_option_of_a_section_has_a_row_with_its_default(section: str) -> None:
    rows = table(f"`[{section}]`")
    assert tuple(rows) == SECTIONS[section]
    defaults = show.options(RuleSet())
    for name, (default, *_) in rows.items():
        expected = defaults[f"{section}.{name}"].strip('"')
        if name == "max_share":
            expected = f"{float(expected) * 100:g}%"
        if expected:
            assert default == f"`{expected}`", name
        else:
            assert "`[disk]`" in default or default == "always", name


def test_every_unit_is_named() -> None:
    units = PAGE[PAGE.index("- **Durations**") : PAGE.index("- **Shares**")]
    named = {unit.upper() for unit in re.findall(r"`([A-Za-z]+)`", units)}
    assert named == {unit.upper() for unit in DURATIONS if unit != "min"} | set(SIZES) - {"", "B"}


def test_what_policies_may_look_at_is_what_they_may() -> None:
    said = PAGE[PAGE.index("A rule with `fill` may look at") :].split("\n\n", maxsplit=1)[0]
    fill, write = said.split("A rule with\n`write` may look at")
    fields = set(FIELDS)
    assert set(re.findall(r"`([\w-]+)`", fill)) & fields == FILL_FIELDS
    assert set(re.findall(r"`([\w-]+)`", write)) & fields == WRITE_FIELDS


@pytest.mark.parametrize("text", [*BLOCKS, EXAMPLE], ids=lambda text: text.split("\n")[1][:30])
def test_every_example_loads_without_a_finding(text: str) -> None:
    _, findings = accept(text, now=NOW)
    assert findings == []


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 3


def test_the_example_file_has_every_option_of_every_section() -> None:
    given = tomllib.loads(EXAMPLE)
    assert {section: set(given[section]) for section in SECTIONS} == {one: set(SECTIONS[one]) for one in SECTIONS}
