"""Commands that change something, through a running node's admin port and past it: the same documents and exit codes,
and nobody overwrites what somebody else has put in force meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import GO, MAILS, answer, on_disk, purge_section, run
from tests.cli.live import Live, live_node, until
from tests.cli.test_rules_commands import OTHER, WRONG
from tests.cli.test_two_ways import no_door, timeless
from tierproxy.alt.memory import MemoryAlt
from tierproxy.cli.node import far

THIRD = OTHER.replace('"> 20d"', '"> 25d"')
ALL = '[[rule]]\nname = "all of it"\nwhen = { size = ">= 0" }\nthen = "purge"\n'


@pytest.fixture
def node(aged: Path, rules: Path, alt: MemoryAlt) -> Iterator[Live]:
    shadow = rules.with_name("shadow.toml")
    with live_node(aged.parent, alt, sections={"purge": purge_section(rules, shadow=str(shadow))}) as running:
        yield running


@contextlib.contextmanager
def way(node: Live, door: bool) -> Iterator[None]:
    with contextlib.nullcontext() if door else no_door(node):
        assert (far(node.config) is not None) is door
        yield


@pytest.fixture
def new(tmp_path: Path) -> Path:
    file = tmp_path / "new.toml"
    file.write_text(OTHER)
    return file


DOORS = pytest.mark.parametrize("door", [True, False], ids=["port", "directory"])


@pytest.mark.parametrize(
    "command",
    [
        ["rules", "check"], ["rules", "show"], ["rules", "show", "1"], ["rules", "show", "--shadow"],
        ["rules", "history"], ["purge", "--dry-run"], ["purge", "--dry-run", "mail/alice/", "--limit", "1"],
        ["purge", "--dry-run", "mail", "--all"], ["purge", "--dry-run", "--rule", "large and idle"], ["runs"],
        ["runs", "1"], ["runs", "--open"],
    ],
)  # fmt: skip
def test_the_documents_of_both_ways_are_the_same(node: Live, command: list[str]) -> None:
    answer("purge", "mail/alice/", "--yes", "--config", node.file)
    documents, texts = [], []
    for door in (True, False):
        with way(node, door):
            documents.append(answer(*command, "--config", node.file))
            texts.append(run(*command, "--config", node.file).output)
    found = [json.loads(json.dumps(timeless(one))) for one in documents]
    for one in found if command[0] == "purge" else []:
        for going in one["objects"]:
            going["age"] = 0
    assert found[0] == found[1]
    if command[0] != "purge":
        assert texts[0] == texts[1]


@DOORS
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["rules", "show", "99"], 2), (["rules", "restore", "99", "--yes"], 2), (["rules", "compare"], 3),
        (["purge", "--dry-run", "--rule", "absent"], 2), (["purge", "absent/", "--yes"], 6), (["runs", "99"], 2),
        (["runs", "--cancel", "99"], 2), (["purge", "--all", "--yes"], 2),
    ],
)  # fmt: skip
def test_the_exit_codes_of_both_ways_are_the_same(node: Live, door: bool, command: list[str], code: int) -> None:
    with way(node, door):
        result = run(*command, "--config", node.file)
        assert result.exit_code == code, result.output


@DOORS
def test_rules_are_applied_and_restored(node: Live, rules: Path, new: Path, door: bool) -> None:
    with way(node, door):
        asked: list[str | Path] = [
            "rules",
            "apply",
            new,
            "--yes",
            "--author",
            "me",
            "--reason",
            "why",
            "--config",
            node.file,
        ]
        shown = run(*asked)
        assert shown.exit_code == 0, shown.output
        assert "version 2 is written" in shown.stdout
        assert "and in force" in shown.stdout
        assert "purged by a rule" in shown.stdout
        assert rules.read_text() == OTHER
        newest = answer("rules", "history", "--config", node.file)[0]
        assert (newest["author"], newest["reason"], newest["text"]) == ("me", "why", OTHER)
        assert "no difference: version 2" in run(*asked).stdout
        restored = answer("rules", "restore", "1", "--yes", "--config", node.file)
        assert restored == {"version": 3, "file": str(rules), "node": True, "live": True}
        shadow = answer("rules", "apply", new, "--shadow", "--yes", "--config", node.file)
        assert (shadow["version"], shadow["live"]) == (4, True)


@DOORS
def test_wrong_rules_are_3_and_change_nothing(node: Live, rules: Path, tmp_path: Path, door: bool) -> None:
    before = rules.read_text()
    file = tmp_path / "wrong.toml"
    file.write_text(WRONG["unknown field"][0])
    with way(node, door):
        assert run("rules", "apply", file, "--yes", "--config", node.file).exit_code == 3
        assert rules.read_text() == before
        assert len(answer("rules", "history", "--config", node.file)) == 1


@DOORS
def test_who_is_overtaken_is_told_and_overwrites_nothing(
    node: Live, rules: Path, new: Path, tmp_path: Path, door: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one thinks about the question another one is faster."""
    faster = tmp_path / "faster.toml"
    faster.write_text(THIRD)
    asked: list[str] = []

    def think(yes: bool, question: str) -> None:
        asked.append(question)
        if len(asked) == 1:
            assert answer("rules", "apply", faster, "--yes", "--config", node.file)["live"] is True

    monkeypatch.setattr("tierproxy.cli.rulefile.agreed", think)
    with way(node, door):
        result = run("rules", "apply", new, "--config", node.file)
    assert result.exit_code == 1, result.output
    assert "version 2" in result.stderr
    assert rules.read_text() == THIRD
    assert [path.name for path in rules.parent.glob(".rules*")] == []
    assert len(answer("rules", "history", "--config", node.file)) == 2


def test_two_at_once_without_a_node_are_told_apart_too(
    aged: Path, rules: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster = tmp_path / "faster.toml"
    faster.write_text(THIRD)
    asked: list[str] = []

    def think(yes: bool, question: str) -> None:
        asked.append(question)
        if len(asked) == 1:
            answer("rules", "apply", faster, "--yes", "--config", aged)

    monkeypatch.setattr("tierproxy.cli.rulefile.agreed", think)
    assert run("rules", "apply", new, "--config", aged).exit_code == 1
    assert rules.read_text() == THIRD


# ---------------------------------------------------------------- purges


@DOORS
def test_a_purge_is_done_and_told(node: Live, door: bool) -> None:
    with way(node, door):
        shown = run("purge", "mail/alice/", "--yes", "--reason", "spring", "--config", node.file)
        assert shown.exit_code == 0, shown.output
        assert "2 objects" in shown.stdout
        [record] = answer("runs", "--config", node.file)
        assert (record["state"], record["reason"], record["by_rule"]) == ("done", "spring", None)
        assert record["author"] not in {"", "command line"}
        assert len(answer("runs", "1", "--config", node.file)["by_rule"]) == 1


@DOORS
def test_a_run_that_waits_is_confirmed_by_the_next_yes(node: Live, rules: Path, door: bool) -> None:
    rules.write_text(ALL)
    until(lambda: answer("rules", "show", "--config", node.file)["version"] == 2)
    asked = _waiting(node)
    with way(node, door):
        done = answer("purge", "--yes", "--config", node.file)
    assert (done["number"], done["state"], done["objects"]) == (asked, "done", len(MAILS))


def _waiting(node: Live) -> int:
    client = far(node.config)
    assert client is not None
    from tierproxy.wire.purges import Run, RunWish

    number = client.post(Run, "/runs", RunWish()).number
    until(lambda: client.get(Run, f"/runs/{number}").state == "waiting")
    return number


@DOORS
def test_a_run_is_ended_by_its_number(node: Live, rules: Path, door: bool) -> None:
    rules.write_text(ALL)
    until(lambda: answer("rules", "show", "--config", node.file)["version"] == 2)
    number = str(_waiting(node))
    with way(node, door):
        assert answer("runs", "--cancel", number, "--config", node.file)["state"] == "cancelled"
        assert run("runs", "--cancel", number, "--config", node.file).exit_code == 2
    assert on_disk(node.file) == set(MAILS)


def test_a_second_interrupt_leaves_the_run_to_the_node(aged: Path, rules: Path, alt: MemoryAlt) -> None:
    slow = purge_section(rules, max_objects_per_second=1)
    with live_node(aged.parent, alt, sections={"purge": slow}) as node:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TIERPROXY_")}
        command = [sys.executable, "-m", "tierproxy", "purge", "--yes", "--json", "--config", str(node.file)]
        hold = _Held(node)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
            try:
                until(lambda: any(one["objects"] for one in answer("runs", "--config", node.file)))
                hold.hold()
                process.send_signal(signal.SIGINT)
                until(lambda: answer("runs", "--config", node.file)[0]["cancel"])
                process.send_signal(signal.SIGINT)
                _, complaint = process.communicate(timeout=60)
                assert answer("runs", "--config", node.file)[0]["state"] == "running", "the node was not waited for"
            finally:
                hold.release()
                process.kill()
        assert process.returncode not in {0, None}
        assert b"leaves it to the node" in complaint
        until(lambda: answer("runs", "--config", node.file)[0]["state"] == "cancelled")


class _Held:
    """The node's runs cannot end."""

    def __init__(self, node: Live) -> None:
        self._runs: Any = node.node.parts.purges.runs
        self._loop = node.node._background[0].get_loop()
        self._free = asyncio.Event()

    def hold(self) -> None:
        save = self._runs._save

        async def held(*arguments: Any, **changes: Any) -> Any:
            await self._free.wait()
            return await save(*arguments, **changes)

        self._runs._save = held

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._free.set)


# ---------------------------------------------------------------- undo


def test_warm_brings_back_what_a_run_removed(node: Live, aged: Path) -> None:
    number = str(answer("purge", "--yes", "--config", node.file)["number"])
    assert set(MAILS) - on_disk(aged) == GO
    done = answer("warm", "--run", number, "--config", node.file)
    assert (done["fetched"], done["failed"], done["stopped"]) == (3, 0, "")
    until(lambda: on_disk(aged) == set(MAILS))
    shown = run("warm", "--run", number, "--config", node.file)
    assert shown.exit_code == 0, shown.output
    assert run("warm", "--run", "99", "--config", node.file).exit_code == 2
    assert run("warm", "mail", "--run", number, "--config", node.file).exit_code == 2
    with no_door(node):
        assert run("warm", "--run", number, "--config", node.file).exit_code == 4
