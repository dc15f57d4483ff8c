"""Each command asks a running node or, without one, the data directory: the documents are the same."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import answer, name, purge_section, run
from tests.cli.live import Live, live_node, until
from tierproxy.admin.local import DOOR, LocalDoor
from tierproxy.alt.memory import MemoryAlt
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.node import NodeClient, far
from tierproxy.disk.fsio import Files
from tierproxy.errors import AltUnavailable, NoSuchBucket, NoSuchKey, RequestError
from tierproxy.wire.objects import Account
from tierproxy.wire.status import Status

SMALL, LARGE = str(name("alice:old-unread")), str(name("bob:old-large"))


@pytest.fixture
def both(aged: Path, rules: Path, alt: MemoryAlt) -> Iterator[Live]:
    """A node that works by the rules."""
    with live_node(aged.parent, alt, sections={"purge": purge_section(rules)}) as running:
        with ObjectClient(Door.of(running.config)) as client:
            client.read(name("bob:new"))
        until(lambda: answer("stats", "--config", aged)["people"]["hour"]["reads"] == 1)
        yield running


def door_file(running: Live) -> Path:
    return Path(running.config.node.data_dir) / DOOR


@contextlib.contextmanager
def no_door(running: Live) -> Iterator[None]:
    """The command line finds no admin port."""
    file = door_file(running)
    hidden = file.with_name("hidden")
    file.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(file)


TIMES = {"now", "computed_at", "at", "value", "text", "change_text", "changes_at"}


def timeless(document: Any) -> Any:
    """Without what the time of the question changes."""
    if isinstance(document, dict):
        return {key: timeless(value) for key, value in document.items() if key not in TIMES}
    return [timeless(one) for one in document] if isinstance(document, list) else document


@pytest.mark.parametrize(
    "command",
    [
        ["explain", SMALL],
        ["explain", LARGE],
        ["stats"],
        ["stats", "--by", "owner"],
        ["stats", "--by", "owner", "--search", "ali"],
        ["stats", "--by", "folder", "--bucket", "mail"],
        ["stats", "--by", "day"],
        ["stats", "--by", "rule"],
        ["queue", "list"],
        ["queue", "list", "--failing"],
        ["pin", "--list"],
    ],
)
def test_the_documents_of_both_ways_are_the_same(both: Live, command: list[str]) -> None:
    run("pin", LARGE, "--config", both.file)
    assert far(both.config) is not None
    by_node, shown = answer(*command, "--config", both.file), run(*command, "--config", both.file)
    with no_door(both):
        assert far(both.config) is None
        by_directory = answer(*command, "--config", both.file)
        assert run(*command, "--config", both.file).exit_code == shown.exit_code == 0
    assert timeless(by_node) == timeless(by_directory)


def test_the_status_of_a_node_says_more_and_nothing_else(both: Live) -> None:
    by_node = answer("status", "--config", both.file)
    with no_door(both):
        by_directory = answer("status", "--config", both.file)
    assert set(by_node) == set(by_directory)
    assert (by_node["node"], by_directory["node"]) == (True, False)
    assert by_node["url"] == both.node.url
    assert (by_node["safety"]["alt"], by_directory["safety"]["alt"]) == ("ok", "unknown")
    assert by_node["rules_about"] == by_directory["rules_about"] == "version 1"
    for same in ("speed", "rules_version", "data", "open_runs", "shadow", "version"):
        assert by_node[same] == by_directory[same]
    for same in ("used", "max_bytes", "high", "low", "hard", "min_free_bytes", "inodes"):
        assert by_node["disk"][same] == by_directory["disk"][same]
    assert [tier["tier"] for tier in by_node["tiers"]] == ["memory", "disk", "stub", "alt"]
    assert by_node["tiers"][1::2] == by_directory["tiers"]


def test_status_tells_people_whether_mail_is_safe(both: Live) -> None:
    shown = run("status", "--config", both.file).stdout
    assert "everything is on alt" in shown
    assert "alt       takes changes" in shown
    assert "health    disk: normal" in shown
    assert "          alt, bucket mail: normal" in shown
    assert "rules     version 1" in shown
    with no_door(both):
        assert "none is to be had" in run("status", "--config", both.file).stdout


@pytest.mark.parametrize("command", [["pin", LARGE], ["unpin", LARGE], ["queue", "hurry"], ["queue", "retry"]])
def test_changes_are_the_same_both_ways(both: Live, command: list[str]) -> None:
    target = [LARGE] if command[-1] == "retry" else []
    ways = [run(*command, *target, "--json", "--config", both.file)]
    with no_door(both):
        ways.append(run(*command, *target, "--json", "--config", both.file))
    assert ways[0].stdout == ways[1].stdout
    assert ways[0].exit_code == ways[1].exit_code == (6 if target else 0)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["explain", "mail/absent"], 6),
        (["explain", "absent/key"], 6),
        (["stats", "--bucket", "absent"], 6),
        (["stats", "--by", "owner", "--bucket", "absent"], 6),
        (["pin", "mail/absent"], 6),
        (["pin", SMALL, "mail/absent"], 6),
    ],
)
def test_errors_and_exit_codes_are_the_same_both_ways(both: Live, command: list[str], code: int) -> None:
    by_node = run(*command, "--config", both.file)
    with no_door(both):
        by_directory = run(*command, "--config", both.file)
    assert (by_node.exit_code, by_directory.exit_code) == (code, code)
    assert by_node.stderr == by_directory.stderr


def test_a_pin_through_the_node_is_in_its_catalogue(both: Live) -> None:
    assert answer("pin", LARGE, "--for", "30d", "--config", both.file)["not_on_disk"] == []
    with no_door(both):
        assert answer("explain", LARGE, "--config", both.file)["fate"] == "pinned"


# ---------------------------------------------------------------- finding the node


def test_a_door_that_a_killed_node_left_is_no_node(aged: Path) -> None:
    data = aged.parent / "data"
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    LocalDoor("http://127.0.0.1:9", process.pid, "token").write(data, Files())
    assert answer("queue", "list", "--config", aged)["totals"]["jobs"] == 0


def test_a_port_that_somebody_else_has_now_is_no_node(aged: Path) -> None:
    data = aged.parent / "data"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        port = silent.getsockname()[1]
        LocalDoor(f"http://127.0.0.1:{port}", os.getpid(), "token").write(data, Files())
        assert answer("queue", "list", "--config", aged)["totals"]["jobs"] == 0


def test_a_token_that_the_node_does_not_know_finds_no_node(both: Live) -> None:
    door = LocalDoor.read(Path(both.config.node.data_dir))
    assert door is not None
    assert NodeClient(door).answers()
    assert not NodeClient(replace(door, token="another")).answers()


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no json", '{"url": 1}'])
def test_a_door_that_cannot_be_read_is_no_node(aged: Path, text: str) -> None:
    (aged.parent / "data" / DOOR).write_text(text)
    assert answer("queue", "list", "--config", aged)["totals"]["jobs"] == 0


# ---------------------------------------------------------------- the client


def client(running: Live) -> NodeClient:
    found = far(running.config)
    assert found is not None
    return found


def test_problems_become_errors_with_their_hints(both: Live) -> None:
    node = client(both)
    with pytest.raises(NoSuchKey, match="knows no object mail/absent") as key:
        node.get(Account, "/objects/explain", object="mail/absent")
    assert "catalogue sync" in key.value.hint
    with pytest.raises(NoSuchBucket):
        node.get(Account, "/objects/explain", object="absent/key")
    with pytest.raises(RequestError, match=r"query\.limit"):
        node.get(Account, "/queue", limit=-1)
    with pytest.raises(NoSuchKey):
        node.get(Account, "/nowhere")


def test_events_are_read_as_they_come(both: Live) -> None:
    stream = client(both).events("/status/events")
    label, document = next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert label == "status"
    assert Status.model_validate(document).node


def test_a_node_that_went_is_told_as_unreachable(aged: Path) -> None:
    with live_node(aged.parent) as running:
        node = client(running)
    with pytest.raises(AltUnavailable, match="no answer"):
        node.get(Status, "/status")


def test_documents_on_stdout_are_json_alone(both: Live) -> None:
    for command in (["status"], ["stats"], ["explain", SMALL], ["queue", "list"], ["pin", "--list"]):
        json.loads(run(*command, "--json", "--config", both.file).stdout)
