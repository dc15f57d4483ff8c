"""``tierproxy history generate`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from tierproxy.cli.generate import generate
from tierproxy.history.generate import Traffic
from tierproxy.history.names import check_of, segments
from tierproxy.history.traffic_model import model_for
from tierproxy.traffic import EventKind

FEW = ("--owners", "3", "--days", "4", "--mails-per-day", "15")


def command(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(generate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def frame(directory: Path) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(one.path) for one in segments(directory))


def test_segments_hold_the_events_in_order(tmp_path: Path) -> None:
    done = command(tmp_path / "out", *FEW, "--seed", "5", "--json")
    assert done.exit_code == 0, done.output
    rows, events = frame(tmp_path / "out"), list(
        Traffic(model_for("office", owners=3, mails_per_day=15.0), days=4, seed=5).events()
    )  # fmt: skip
    assert rows["key"].to_list() == [event.name.key for event in events]
    assert rows["at"].is_sorted()
    assert rows["kind"].to_list() == [event.kind for event in events]
    assert rows["size"].to_list() == [event.size for event in events]


def test_json_has_the_summary(tmp_path: Path) -> None:
    told = json.loads(command(tmp_path, *FEW, "--json").stdout)
    rows = frame(tmp_path)
    assert told["events"] == rows.height
    assert told["objects"] == rows.filter(pl.col("kind") == EventKind.WRITE).height == sum(told["by_reads"].values())
    assert told["segments"] == 1


def test_people_get_a_table_of_how_often_mail_is_read(tmp_path: Path) -> None:
    done = command(tmp_path, *FEW)
    for text in ("events in 1 segment in", "read by people", "0 times", "3-5 times", "6+ times", "backup"):
        assert text in done.output, text


def test_the_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("one", "1"), ("same", "1"), ("other", "2")):
        assert command(tmp_path / name, *FEW, "--seed", seed).exit_code == 0
    checks = {name: [check_of(one.path) for one in segments(tmp_path / name)] for name in ("one", "same", "other")}
    assert checks["one"] == checks["same"]
    assert checks["one"] != checks["other"]


def test_start_and_bucket_can_be_chosen(tmp_path: Path) -> None:
    assert command(tmp_path, *FEW, "--start", "2026-03-02", "--bucket", "post", "--profile", "home").exit_code == 0
    rows = frame(tmp_path)
    assert str(rows["at"].min()).startswith("2026-03-02")
    assert set(rows["bucket"].to_list()) == {"post"}


def test_history_that_is_there_is_not_mixed_with_other(tmp_path: Path) -> None:
    assert command(tmp_path, *FEW).exit_code == 0
    again = command(tmp_path, *FEW)
    assert again.exit_code != 0
    assert "holds history already" in str(again.exception)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is not a directory" in str(command(tmp_path / "file", *FEW).exception)


@pytest.mark.parametrize("wrong", [("--owners", "0"), ("--days", "0"), ("--profile", "school"), ("--start", "soon")])
def test_wrong_options_are_refused(tmp_path: Path, wrong: tuple[str, str]) -> None:
    assert command(tmp_path, *wrong).exit_code == 2
