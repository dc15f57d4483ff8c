"""docs/metrics.md names every metric as it is."""

from __future__ import annotations

import re
from pathlib import Path

from tierproxy.config import schema as sections
from tierproxy.metrics.reference import tables

PAGE = Path("docs/metrics.md").read_text()
REGION = re.compile(r"<!-- begin: tables of tierproxy.metrics.reference -->\n(.*?)<!-- end -->", re.DOTALL)


def test_the_tables_are_those_of_the_program() -> None:
    found = REGION.search(PAGE)
    assert found is not None
    assert found[1] == tables(), "put what tierproxy.metrics.reference.tables() returns between the marks"


def test_the_options_it_names_exist() -> None:
    known = {(table.header, option.name) for table in sections.tables() for option in table.options}
    named = set(re.findall(r"`(\[\w+\]) (\w+)", PAGE))
    assert len(named) >= 5
    assert named <= known
