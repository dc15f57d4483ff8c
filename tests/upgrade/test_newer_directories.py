"""A downgrade: a directory of a newer version is refused, in words that say what to do, and is left as it is."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tierproxy.catalogue import catalogue_file
from tierproxy.catalogue.beside import CatalogueBeside
from tierproxy.cli import serve
from tierproxy.cli.outcome import ExitCode
from tierproxy.cli.program import app
from tierproxy.config.load import load
from tierproxy.config.sections import HistorySection, StubsSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError
from tierproxy.formats import KNOWN, NAME, record, refuse_newer
from tierproxy.testing.rig import BUCKET, rig

COMMANDS = (
    ("check",), ("check", "--repair"), ("catalogue", "stat"), ("catalogue", "rebuild"), ("catalogue", "sync", BUCKET),
    ("stats",), ("status",), ("queue", "list"), ("queue", "hurry"), ("runs",), ("pin", f"{BUCKET}/a"),
    ("purge", "--yes"), ("explain", f"{BUCKET}/a"), ("rules", "show"),
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The configuration file of a node that has run once."""
    data = tmp_path / "data"

    async def lived() -> None:
        async with rig(data, history=HistorySection(), stubs=StubsSection()) as one:
            await one.put("a", b"a mail")
            await one.drained()
            assert await one.get("a") == b"a mail"

    asyncio.run(lived())
    (data / "lock").write_text("4711\n")  # of the newer version's process
    file = tmp_path / "tierproxy.toml"
    file.touch(0o600)
    file.write_text(
        f'[node]\ndata_dir = "{data}"\n[listen]\naddress = "127.0.0.1:0"\nauth = "none"\n[admin]\nenabled = false\n'
        f'[alt]\nendpoint = "http://127.0.0.1:9"\naccess_key_id = "a"\nsecret_access_key = "b"\nmax_retries = 0\n'
        f'[[bucket]]\nname = "{BUCKET}"\n'
    )
    return file


def state(data: Path) -> dict[str, tuple[Any, ...]]:
    """Everything there is to be changed: names, modes, times and bytes."""
    found = {}
    for path in [data, *sorted(data.rglob("*"))]:
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (facts.st_mode, facts.st_mtime_ns, facts.st_ino, facts.st_size, content)
    return found


def newer(data: Path, name: str, number: int | None = None) -> None:
    said = json.loads((data / NAME).read_text())
    said["formats"][name] = KNOWN.get(name, 0) + 1 if number is None else number
    said["tierproxy"] = "9.9.9"
    (data / NAME).write_text(json.dumps(said))


def refused(file: Path, *command: str, hint: str = "run tierproxy 9.9.9 or newer") -> None:
    result = CliRunner().invoke(app, [*command, "--config", str(file)])
    told = result.output.replace("\n", " ")
    assert result.exit_code == ExitCode.CONFIG, (command, told)
    assert "was written by a newer tierproxy" in told, command
    assert hint in told


@pytest.mark.parametrize("name", [*KNOWN, "something-new"])
def test_every_command_refuses_and_changes_nothing(home: Path, name: str) -> None:
    data = home.parent / "data"
    newer(data, name)
    before = state(data)
    for command in COMMANDS:
        refused(home, *command)
    with pytest.raises(ConfigError, match="newer tierproxy") as caught:
        asyncio.run(serve.run(load(home, {}), home))
    assert "9.9.9" in caught.value.hint
    assert state(data) == before


def test_a_catalogue_alone_is_refused_as_well(home: Path) -> None:
    """No ``format`` file speaks for it: a version from before there was one, or a copy."""
    data = home.parent / "data"
    (data / NAME).unlink()
    with closing(sqlite3.connect(catalogue_file(data))) as catalogue:
        catalogue.execute("INSERT INTO migration VALUES ('0099_tomorrow')")
        catalogue.commit()
    assert sorted(path.name for path in catalogue_file(data).parent.iterdir()) == ["catalogue.sqlite"]
    before = state(data)
    for command in (("check",), ("catalogue", "rebuild"), ("catalogue", "sync", BUCKET)):
        refuse_with = CliRunner().invoke(app, [*command, "--config", str(home)])
        assert refuse_with.exit_code == ExitCode.CONFIG
        assert "0099_tomorrow" in refuse_with.output
    with pytest.raises(ConfigError, match="0099_tomorrow"):
        asyncio.run(serve.run(load(home, {}), home))
    assert state(data) == before
    for command in (("catalogue", "stat"), ("stats",)):
        assert "0099_tomorrow" in CliRunner().invoke(app, [*command, "--config", str(home)]).output


def test_the_mount_does_not_read_files_of_a_newer_node(home: Path) -> None:
    data = home.parent / "data"
    found = CatalogueBeside.open(data)
    assert found is not None
    found.close()
    newer(data, "blobs")
    assert CatalogueBeside.open(data) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}x", '{"formats": 7}', '{"formats": {"blobs": "1"}}', '{"formats": {"blobs": true}}',
             '{"formats": {"blobs": 1.0}}', "\0" * 100, "[" * 50_000],
)  # fmt: skip
def test_what_is_no_format_file_is_refused_and_kept(home: Path, text: str) -> None:
    data = home.parent / "data"
    (data / NAME).write_text(text)
    before = state(data)
    with pytest.raises(ConfigError) as caught:
        refuse_newer(data)
    assert caught.value.hint
    with pytest.raises(ConfigError):
        record(data, Files(), "1")
    assert state(data) == before


def test_an_older_directory_is_taken_and_says_so_before_anything_else(tmp_path: Path) -> None:
    calls: list[str] = []

    class Watched(Files):
        def call(self, kind: str, function: Any, *args: object) -> Any:
            calls.append(kind)
            return super().call(kind, function, *args)

    (tmp_path / NAME).write_text(json.dumps({"tierproxy": "0.0.1", "formats": {"blobs": 1, "catalogue": 1}}))
    record(tmp_path, Watched(), "1.2.3")
    assert json.loads((tmp_path / NAME).read_text()) == {"tierproxy": "1.2.3", "formats": dict(KNOWN)}
    assert [kind for kind in calls if kind not in {"unlink"}] == ["create", "write_at", "fsync", "rename", "fsync_dir"]
    calls.clear()
    record(tmp_path, Watched(), "1.2.4")
    assert calls == [], "the same formats: nothing to say"


def test_a_draft_that_a_crash_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.draft").write_text("{")
    refuse_newer(tmp_path)
    record(tmp_path, Files(), "1")
    assert os.listdir(tmp_path) == [NAME]
