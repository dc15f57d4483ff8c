"""What the desk tells of a data directory without a node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.aged import RULES, populated
from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import CatalogueReader, Wanted, open_reader
from tierproxy.cli.demo.home import BUCKET
from tierproxy.clock import SystemClock
from tierproxy.config.load import load
from tierproxy.config.sections import Config
from tierproxy.desk import costs, explain, objects, stats, status
from tierproxy.desk.inforce import data_directory, in_force, node_runs
from tierproxy.errors import NoSuchBucket, NoSuchKey, RequestError
from tierproxy.model import ObjectName
from tierproxy.stats import Breakdown
from tierproxy.traffic import Rollup

NOW = SystemClock().now()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return populated(tmp_path_factory.mktemp("desk") / "home", MemoryAlt())


@pytest.fixture
def config(home: Path) -> Config:
    return load(home, {name: value for name, value in os.environ.items() if not name.startswith("TIERPROXY_")})


@pytest.fixture
def catalogue(config: Config) -> Iterator[CatalogueReader]:
    with open_reader(data_directory(config)) as reader:
        yield reader


def test_doubts_about_the_rules_are_values_and_not_printed(
    home: Path, config: Config, catalogue: CatalogueReader, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = home.parent / "rules.toml"
    rules.write_text("[[rule]]\nnonsense = 1\n")
    try:
        [warning] = in_force(config, catalogue, NOW).warnings
        assert "cannot be used" in warning
        assert status.status(config, catalogue, NOW).warnings == [warning]
        assert stats.table(config, catalogue, NOW).warnings == [warning]
    finally:
        rules.write_text(RULES)
    assert in_force(config, catalogue, NOW).warnings == ()
    assert capsys.readouterr() == ("", "")


def test_no_node_runs_and_looking_leaves_the_directory_free(config: Config) -> None:
    assert not node_runs(data_directory(config))
    assert not node_runs(data_directory(config))


def test_the_status_without_a_node_says_what_the_directory_knows(config: Config, catalogue: CatalogueReader) -> None:
    found = status.status(config, catalogue, NOW)
    assert (found.node, found.url, found.started_at, found.alarms) == (False, None, None, [])
    assert [tier.tier for tier in found.tiers] == ["disk", "alt"]
    assert found.tiers[0].objects == 7
    assert found.disk.used == found.tiers[0].bytes
    assert found.disk.low < found.disk.high < found.disk.max_bytes
    assert found.disk.peak is None
    assert found.safety.alt == "unknown"


def test_the_budget_is_everywhere_the_one_of_the_rule_file(
    home: Path, config: Config, catalogue: CatalogueReader
) -> None:
    rules = home.parent / "rules.toml"
    rules.write_text('[budget]\nmax_bytes = "123MB"\n' + RULES)
    try:
        found = status.status(config, catalogue, NOW)
        assert found.disk.max_bytes == found.tiers[0].max_bytes == 123_000_000
        assert costs.usage(config, catalogue, NOW, 30).disk_budget == 123_000_000
    finally:
        rules.write_text(RULES)


def test_a_young_node_is_measured_from_its_first_minute_and_not_from_the_hour(
    config: Config, catalogue: CatalogueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    hour, counters = int(NOW // 3600) * 3600, {"gets.hits.disk": 1}
    grown = {3600: [Rollup(hour, 3600, counters)], 60: [Rollup(hour + 1800, 60, counters)]}
    monkeypatch.setattr(catalogue, "rollups", lambda span, since, until: grown[span])
    assert costs.usage(config, catalogue, hour + 1890.0, 30).seconds == 90
    assert costs.usage(config, catalogue, hour + 5 * 86400.0, 1).seconds == 86400


def test_stats_by_age_and_the_heat_map_agree(config: Config, catalogue: CatalogueReader) -> None:
    table, heat = stats.table(config, catalogue, NOW), stats.heat(catalogue, NOW)
    assert heat.ages == [row.label for row in table.rows]
    for row, cells in zip(table.rows, heat.cells, strict=True):
        assert tuple(cell.objects for cell in cells) == row.by_reads
        assert sum(cell.bytes for cell in cells) == row.bytes
        assert sum(cell.disk_bytes for cell in cells) == row.disk_bytes
        assert sum(cell.disk_objects for cell in cells) == row.disk_objects


def test_stats_are_confined_to_a_bucket_that_is_there(config: Config, catalogue: CatalogueReader) -> None:
    assert stats.table(config, catalogue, NOW, Breakdown.OWNER, BUCKET).total.objects == 7
    with pytest.raises(NoSuchBucket):
        stats.table(config, catalogue, NOW, bucket="absent")
    with pytest.raises(NoSuchBucket):
        stats.heat(catalogue, NOW, "absent")


def test_a_part_of_a_table_keeps_the_whole_total(config: Config, catalogue: CatalogueReader) -> None:
    whole = stats.table(config, catalogue, NOW, Breakdown.OWNER)
    part = stats.part(whole, search="ALI")
    assert [row.label for row in part.rows] == ["alice"]
    assert (part.total, part.rows_total) == (whole.total, 1)
    days = stats.table(config, catalogue, NOW, Breakdown.DAY)
    assert stats.part(days, 1).rows == days.rows[-1:]


def test_an_object_nobody_knows_is_told_with_a_hint(config: Config, catalogue: CatalogueReader) -> None:
    with pytest.raises(NoSuchKey, match="no object mail/absent") as caught:
        explain.account(config, catalogue, NOW, ObjectName(BUCKET, "absent"))
    assert "catalogue sync" in caught.value.hint


def test_pages_of_objects_follow_one_another(catalogue: CatalogueReader) -> None:
    found, wanted = [], Wanted()
    while True:
        page = objects.page(catalogue, wanted, 2)
        found += [one.object for one in page.objects]
        if page.next is None:
            break
        wanted = Wanted(after=objects.name_of(page.next))
    assert len(found) == 7
    assert found == sorted(found)


@pytest.mark.parametrize("text", ["", "mail", "mail/", "/key"])
def test_a_name_has_a_bucket_and_a_key(text: str) -> None:
    with pytest.raises(RequestError):
        objects.name_of(text)
