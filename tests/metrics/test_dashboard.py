"""Grafana's dashboard: about metrics and labels that exist, in the order of the questions, of no other host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metrics.promtool import needs_promtool, promtool
from tests.metrics.watched import family_of, scrape, watched
from tierproxy.metrics.exposition import ROOMS

FILE = Path("config/grafana/tierproxy.json")
BOARD: dict[str, Any] = json.loads(FILE.read_text())
ORDER = [
    "Is mail safe?", "Is it fast?", "Is the disk well used?", "What do the rules do?", "What would change?",
    "What does it cost?",
]  # fmt: skip
NAME = re.compile(r"\b(?:tierproxy|process)_\w+")
SELECTED = re.compile(r"\b((?:tierproxy|process)_\w+)\{([^}]*)\}")
SUMMED = re.compile(r"\bby \(([^)]*)\)")
GIVEN = {"job", "instance", "le"}
LABELS = {metric.name: set(metric.labels) for room in ROOMS for metric in room.metrics}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]


def test_it_is_a_dashboard_of_grafana_10_with_a_data_source_to_choose() -> None:
    assert BOARD["schemaVersion"] >= 38
    assert BOARD["id"] is None
    source, *others = BOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [variable["name"] for variable in others] == ["job", "instance"]
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_it_asks_no_other_host() -> None:
    assert re.findall(r"https?://|//\w+\.", FILE.read_text()) == []


def test_the_questions_come_in_their_order_and_each_has_panels() -> None:
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows == ORDER
    kinds = [panel["type"] for panel in BOARD["panels"]]
    assert "row" not in {kind for kind, after in pairwise(kinds) if kind == after}
    assert kinds[-1] != "row"


def test_no_two_panels_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


async def test_every_metric_it_shows_is_in_a_scrape(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await scrape(rig)
    names = {name for query in queries() for name in NAME.findall(query)}
    assert len(names) >= 40
    assert [name for name in names if family_of(name, found) is None] == []


@pytest.mark.parametrize("query", [*queries()])
def test_every_label_it_asks_for_is_one_of_the_metric(query: str) -> None:
    known = set(GIVEN)
    for name, selectors in SELECTED.findall(query):
        labels = LABELS.get(re.sub(r"_(bucket|count|sum)$", "", name), set())
        known |= labels
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selectors))
        assert asked <= labels | GIVEN, name
        assert {"job", "instance"} <= asked, "a panel must keep to what is chosen"
    for grouped in SUMMED.findall(query):
        assert {label.strip() for label in grouped.split(",")} <= known


@needs_promtool
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
