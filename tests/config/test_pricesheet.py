"""Which price sheet counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.config.pricesheet import SHIPPED, price_sheet
from tierproxy.errors import ConfigError

COPY = Path(__file__).parents[2] / "config" / "prices.toml"


def test_without_any_file_the_sheet_of_the_package_counts_and_it_is_the_documented_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for config_file in (None, tmp_path / "tierproxy.toml"):
        found = price_sheet(config_file)
        assert (found.name, found.own) == (SHIPPED, False)
        assert found.text == COPY.read_text()


def test_the_named_sheet_comes_before_that_beside_the_configuration_and_this_before_the_working_directorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named, beside, below = tmp_path / "mine.toml", tmp_path / "etc" / "prices.toml", Path("config") / "prices.toml"
    config_file = beside.with_name("tierproxy.toml")
    for place in (below, beside, named):
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"# {place.name}")
        found = price_sheet(config_file, named if named.exists() else None)
        assert (found.name, found.own) == (str(place), True)


def test_a_sheet_that_cannot_be_read_is_a_fault_and_not_the_other_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere\.toml"):
        price_sheet(None, tmp_path / "nowhere.toml")
    (tmp_path / "prices.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        price_sheet(tmp_path / "tierproxy.toml")
