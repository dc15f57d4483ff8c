"""``tierproxy history`` says what is there, and what it left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.history.rigs import events, history_files, names, numbers, read_event
from tests.history.test_importers import KEY, combined, lines
from tierproxy.cli.program import app
from tierproxy.config.sections import HistorySection
from tierproxy.disk.fsio import Files
from tierproxy.history import schema
from tierproxy.history.segments import write
from tierproxy.model import ObjectName
from tierproxy.testing.clock import EPOCH
from tierproxy.testing.rig import rig
from tierproxy.traffic import Event, EventKind, Outcome, Reason

AT = "2023-11-14 22:13:20"


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("TIERPROXY_"):
            monkeypatch.delenv(name)


def tierproxy(*words: object) -> Result:
    return CliRunner().invoke(app, ["history", *map(str, words)])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Ten reads of a person, one range, one scan from alt, a write, a delete and a purge."""
    directory = tmp_path / "segments"
    directory.mkdir()
    name = ObjectName("mail", "new")
    more = [
        read_event(0, EPOCH + 20, first=False, sent=10), read_event(1, EPOCH + 86_400, outcome=Outcome.PASS, sent=90,
                                                                    reason=Reason.SCAN, by="rule:old"),
        Event(EPOCH + 30, EventKind.WRITE, name, "bob", size=500, outcome="both"),
        Event(EPOCH + 31, EventKind.PURGE, name, "bob", size=500, by="pressure"),
        Event(EPOCH + 32, EventKind.DELETE, name, "bob", size=500),
    ]  # fmt: skip
    write(directory, schema.frame_of(events(0, 10) + more), files=Files())
    return directory


def test_head_shows_events_oldest_first(place: Path) -> None:
    result = tierproxy("head", "--from", place, "-n", 2)
    assert result.exit_code == 0
    told = result.stdout.splitlines()
    assert len(told) == 3
    assert told[1].startswith(AT)
    assert told[1].endswith("mail/example.org/alice/u.0")


def test_head_is_one_object_a_line_for_programs(place: Path) -> None:
    result = tierproxy("head", "--from", place, "--json", "--key", "*/u.3", "--since", "2023-11-14")
    (event,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert event["at"] == "2023-11-14T22:13:23.000000Z"
    assert list(event) == list(schema.NAMES)


def test_stats_counts_what_is_there(place: Path) -> None:
    told = json.loads(tierproxy("stats", "--from", place, "--json").stdout)
    assert told["kinds"] == {"read": 12, "write": 1, "delete": 1, "purge": 1}
    assert (told["events"], told["objects"], told["owners"], told["regretted"]) == (15, 11, 2, 1)
    assert (told["sent"], told["written"]) == (10_100, 500)
    assert told["hit_ratio"] == pytest.approx(11 / 12)
    assert told["byte_hit_ratio"] == pytest.approx(10_010 / 10_100)
    assert [(row["outcome"], row["reason"], row["gets"], row["reads"]) for row in told["reads"]] == [
        ("disk", "person", 11, 10), ("pass", "scan", 1, 1),
    ]  # fmt: skip
    assert [(day["day"], day["events"]) for day in told["days"]] == [("2023-11-14", 14), ("2023-11-15", 1)]


def test_stats_are_tables_for_people(place: Path) -> None:
    result = tierproxy("stats", "--from", place, "--days", 1, "--until", "2023-11-15")
    assert "14 events from 2023-11-14 22:13:20 to 2023-11-14 22:13:52 UTC" in result.stdout
    assert "hit ratio 100.0%" in result.stdout


def test_nothing_is_no_error(tmp_path: Path) -> None:
    assert tierproxy("stats", "--from", tmp_path).stdout == "no events\n"
    assert tierproxy("head", "--from", tmp_path).stdout == "no events\n"


def test_a_torn_segment_is_a_warning(place: Path) -> None:
    (path,) = place.iterdir()
    (place / "other.parquet").write_bytes(path.read_bytes()[:-1])
    result = tierproxy("stats", "--from", place, "--json")
    assert result.exit_code == 0
    assert "warning: skipped" in result.stderr
    assert "other.parquet" in json.loads(result.stdout)["skipped"][0]["path"]


def test_the_data_directory_is_the_place_unless_told_otherwise(tmp_path: Path) -> None:
    log = history_files(tmp_path)
    log.append(events(0, 3), EPOCH)
    log.close()
    config = tmp_path / "tierproxy.toml"
    config.write_text(f'[node]\ndata_dir = "{tmp_path}"\n[listen]\nauth = "none"\n[[bucket]]\nname = "mail"\n')
    assert json.loads(tierproxy("stats", "--json", "-c", config).stdout)["events"] == 3


def test_an_anonymous_export_says_nothing_of_alice(place: Path, tmp_path: Path) -> None:
    salt = tmp_path / "salt"
    for target in ("a.jsonl", "b.jsonl", "c"):
        result = tierproxy("export", tmp_path / target, "--from", place, "--anonymise", "--salt-file", salt)
        assert result.exit_code == 0, result.stderr
    first = (tmp_path / "a.jsonl").read_text()
    assert "alice" not in first
    assert "u.3" in first
    assert first == (tmp_path / "b.jsonl").read_text()
    assert salt.stat().st_mode & 0o777 == 0o600
    assert json.loads(tierproxy("stats", "--from", tmp_path / "c", "--json").stdout)["objects"] == 11


def test_an_export_overwrites_nothing(place: Path, tmp_path: Path) -> None:
    (tmp_path / "there.csv").touch()
    assert tierproxy("export", tmp_path / "there.csv", "--from", place).exit_code == 3
    assert tierproxy("export", place, "--from", place).exit_code == 3


def test_a_salt_that_can_be_guessed_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "salt").write_text("pepper")
    result = tierproxy("export", tmp_path / "x", "--from", place, "--anonymise", "--salt-file", tmp_path / "salt")
    assert result.exit_code == 3


def test_a_log_is_imported_without_a_configuration(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(lines(combined(f"GET /mail/{KEY} HTTP/1.1"), "nonsense", combined(f"HEAD /mail/{KEY} HTTP/1.1")))
    result = tierproxy("import", "nginx", log, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "1 event of 3 lines in 1 segment in " in result.stdout
    assert "line 2: not of the combined format" in result.stderr
    assert "left out: 1 HEAD 200" in result.stderr
    again = json.loads(tierproxy("import", "nginx", log, "--out", tmp_path / "out", "--json").stdout)
    assert (again["bad"], again["skipped"]) == (1, {"HEAD 200": 1})
    assert json.loads(tierproxy("stats", "--from", tmp_path / "out", "--json").stdout)["events"] == 1


def test_an_import_that_the_node_would_remove_says_so(tmp_path: Path) -> None:
    log, config = tmp_path / "access.log", tmp_path / "tierproxy.toml"
    log.write_bytes(lines(combined(f"GET /mail/{KEY} HTTP/1.1")))
    kept = '[node]\ndata_dir = "{}"\n[alt]\nendpoint = "http://127.0.0.1:1"\n[listen]\nauth = "none"\n{}'
    for name, limit, doomed in (("short", "1d", True), ("long", "36500d", False)):
        text = kept.format(tmp_path / name, f'[history]\nmax_age = "{limit}"\n[[bucket]]\nname = "mail"\n')
        config.write_text(text)
        result = tierproxy("import", "nginx", log, "--into-data", "--config", config)
        assert result.exit_code == 0, result.stderr
        assert ("a node removes them" in " ".join(result.stderr.split())) == doomed


def test_a_log_without_any_event_is_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("nonsense\n")
    assert tierproxy("import", "s3", log, "--out", tmp_path / "out").exit_code == 1


def test_an_import_needs_one_place(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.touch()
    assert tierproxy("import", "s3", log).exit_code == 2
    assert tierproxy("import", "s3", log, "--out", tmp_path, "--into-data").exit_code == 2


def test_help_and_start_do_not_load_polars() -> None:
    code = "import sys, tierproxy.cli.program, tierproxy.wiring; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_node_writes_history_and_the_next_one_goes_on(tmp_path: Path) -> None:
    for first in (0, 3):
        async with rig(tmp_path, history=HistorySection()) as one:
            for event in events(first, 3):
                one.parts.history.note(event)
        assert ".journal" in names(tmp_path)
    assert numbers(tmp_path) == list(range(6))


async def test_a_node_without_history_leaves_no_trace(tmp_path: Path) -> None:
    async with rig(tmp_path, history=HistorySection(enabled=False)) as one:
        one.parts.history.note(read_event(1))
    assert not (tmp_path / "history").exists()
