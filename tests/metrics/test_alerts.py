"""The alert rules: right in themselves, about metrics that exist, each proven to fire and to be quiet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metrics.promtool import needs_promtool, promtool
from tests.metrics.watched import family_of, scrape, watched

RULES = Path("config/prometheus/alerts.yml")
UNITS = Path("tests/metrics/alerts_test.yml")
SCRAPE = Path("config/prometheus/scrape.yml")
NAME = re.compile(r"\b(?:tierproxy|process)_\w+")


def alerts() -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


@needs_promtool
def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", SCRAPE)


@needs_promtool
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", UNITS)


def test_every_alert_has_such_a_test() -> None:
    fired = set()
    for case in yaml.safe_load(UNITS.read_text())["tests"]:
        fired |= {check["alertname"] for check in case["alert_rule_test"] if check["exp_alerts"]}
    assert fired == {alert["alert"] for alert in alerts()}


async def test_every_metric_that_an_alert_asks_for_is_in_a_scrape(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await scrape(rig)
    names = {name for alert in alerts() for name in NAME.findall(alert["expr"])}
    assert len(names) >= 15
    assert [name for name in names if family_of(name, found) is None] == []


@pytest.mark.parametrize("alert", [*alerts()], ids=lambda alert: alert["alert"])
def test_every_alert_says_how_bad_it_is_and_what_it_means(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]


def test_every_alert_is_documented_with_its_severity() -> None:
    page = Path("docs/metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(Tierproxy\w+)` \| (\w+) \|", page, flags=re.MULTILINE))
    assert rows == {alert["alert"]: alert["labels"]["severity"] for alert in alerts()}
