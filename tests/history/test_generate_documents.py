"""docs/traffic.md has every parameter with its default and source, and every source."""

from __future__ import annotations

import re
from pathlib import Path

from tierproxy.history.traffic_model import Source, described

PAGE = Path("docs/traffic.md").read_text()


def rows(width: int) -> list[list[str]]:
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line[:1] == "|"]
    return [row for row in found if len(row) == width]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


def test_every_parameter_is_documented_with_unit_meaning_and_source() -> None:
    page = {name.strip("`"): (unit, meaning, source) for name, _, unit, meaning, source in rows(5)[1:]}
    assert page == {one.name: (one.unit, one.meaning, one.source.value) for one in described()}


def test_the_defaults_on_the_page_are_those_of_the_model() -> None:
    page = {name.strip("`"): numbers(default) for name, default, *_ in rows(5)[1:]}
    assert page == {
        one.name: [float(part) for part in (one.default if isinstance(one.default, tuple) else (one.default,))]
        for one in described()
    }


def test_every_source_is_given_in_full() -> None:
    listed = {name for name, _ in rows(2)}
    for source in Source:
        cited = re.search(r"([A-Z][^;]*\d{4})$", source.value)
        name = source.value if cited is None else re.sub(r"^.* in ", "", cited[1])
        assert name in listed, source
