"""``purge`` and ``runs``: what would go, what goes, what was recorded; beside a running node and without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import GO, MAILS, answer, name, on_disk, purge_section, run
from tests.cli.live import live_node, until
from tierproxy.catalogue import open_outside
from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.purges import PurgeRun, RunKind, RunState


def without_keeps() -> str:
    """A rule file that purges what was read yesterday."""
    return '[[rule]]\nname = "all of it"\nwhen = { size = ">= 0" }\nthen = "purge"\n'


# ---------------------------------------------------------------- dry run


def test_a_dry_run_says_what_would_go_and_why_and_removes_nothing(aged: Path) -> None:
    plan = answer("purge", "--dry-run", "--config", aged)
    assert {one["rule"]: one["objects"] for one in plan["rules"]} == {"large and idle": 1, "read once, long ago": 2}
    assert plan["total"]["objects"] == 3
    assert plan["asks_first"] is False
    assert plan["stays"] == {why: {"objects": 0, "bytes": 0} for why in ("dirty", "pinned", "young")}
    assert {one["object"] for one in plan["objects"]} == {str(name(mail)) for mail in GO}
    assert all(one["rule"] and one["age"] > 49 * 86_400 for one in plan["objects"])
    assert on_disk(aged) == set(MAILS)
    shown = run("purge", "--dry-run", "--config", aged)
    assert shown.exit_code == 0
    assert "large and idle" in shown.stdout
    assert answer("runs", "--config", aged) == []


def test_a_dry_run_is_confined_to_a_rule_a_prefix_and_a_number_of_names(aged: Path) -> None:
    only = answer("purge", "--dry-run", "--rule", "large and idle", "--config", aged)
    assert [one["rule"] for one in only["rules"]] == ["large and idle"]
    assert answer("purge", "mail/alice/", "--dry-run", "--config", aged)["total"]["objects"] == 2
    assert len(answer("purge", "--dry-run", "--limit", "1", "--config", aged)["objects"]) == 1


def test_what_is_pinned_is_named_as_staying(aged: Path) -> None:
    run("pin", str(name("bob:old-large")), "--config", aged)
    plan = answer("purge", "--dry-run", "--config", aged)
    assert plan["stays"]["pinned"]["objects"] == 1
    assert "that are pinned" in run("purge", "--dry-run", "--config", aged).stdout


@pytest.mark.parametrize(
    ("wrong", "code"),
    [(["absent/"], 6), (["--rule", "absent"], 2), (["--rule", "read often"], 2), (["--all"], 2),
     (["mail", "--all", "--rule", "large and idle"], 2), (["mail"], 2)],
    ids=str,
)  # fmt: skip
def test_wrong_wishes_remove_nothing(aged: Path, wrong: list[str], code: int) -> None:
    result = run("purge", *wrong, "--config", aged)
    assert result.exit_code == code, result.output
    assert on_disk(aged) == set(MAILS)
    assert answer("runs", "--config", aged) == []


# ---------------------------------------------------------------- runs


def test_a_purge_without_a_node_does_it_itself_and_is_recorded(aged: Path) -> None:
    done = answer("purge", "--yes", "--reason", "spring", "--config", aged)
    assert (done["state"], done["objects"], done["planned_objects"], done["reason"]) == ("done", 3, 3, "spring")
    assert set(MAILS) - on_disk(aged) == GO
    [record] = answer("runs", "--config", aged)
    assert record == done
    shown = answer("runs", "1", "--config", aged)
    assert {one["by"]: one["objects"] for one in shown["by_rule"]} == {
        "rule:large and idle": 1, "rule:read once, long ago": 2,
    }  # fmt: skip
    assert "3 objects" in run("runs", "1", "--config", aged).stdout
    assert run("runs", "2", "--config", aged).exit_code == 2
    [version] = answer("rules", "history", "--config", aged)
    assert version["purged_objects"] == 3
    assert run("check", "--config", aged).exit_code == 0, "files and rows agree"
    DataLock.take(aged.parent / "data", Files()).release()


def test_a_purge_beside_a_node_is_done_by_the_node(aged: Path, rules: Path) -> None:
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        result = run("purge", "mail/alice/", "--yes", "--config", aged)
        assert result.exit_code == 0, result.output
        assert "2 objects" in result.stdout
        assert set(MAILS) - on_disk(aged) == {"alice:old-unread", "alice:old-read-once"}
        done = answer("purge", "--rule", "large and idle", "--yes", "--config", aged)
        assert (done["state"], done["objects"], done["rule"]) == ("done", 1, "large and idle")
    assert set(MAILS) - on_disk(aged) == GO


@pytest.mark.parametrize("node", [True, False])
def test_all_below_a_prefix_goes_whatever_rules_keep(aged: Path, rules: Path, node: bool) -> None:
    run("pin", str(name("bob:new")), "--config", aged)
    command: list[str | Path] = ["purge", "mail/bob/", "--all", "--yes", "--config", aged]
    if node:
        with live_node(aged.parent, sections={"purge": purge_section(rules)}):
            done = answer(*command)
    else:
        assert answer("purge", "mail/bob/", "--all", "--dry-run", "--config", aged)["total"]["objects"] == 2
        done = answer(*command)
    assert (done["kind"], done["objects"]) == ("operator", 2)
    assert set(MAILS) - on_disk(aged) == {"bob:old-large", "bob:new-large"}


def waiting(aged: Path) -> Any:
    """A run that somebody asked for, and that waits because what it removes was read lately."""
    with open_outside(aged.parent / "data") as outside:
        outside.add_run(PurgeRun(0, RunKind.RULES, RunState.ASKED, 0.0, author="test"))
    until(lambda: answer("runs", "--config", aged)[0]["state"] == "waiting")
    return answer("runs", "--config", aged)[0]


def test_a_run_that_waits_says_why_and_is_confirmed_by_yes(aged: Path, rules: Path) -> None:
    rules.write_text(without_keeps())
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        assert "of the bytes read within 7 days" in waiting(aged)["note"]
        assert on_disk(aged) == set(MAILS)
        assert answer("purge", "--dry-run", "--config", aged)["asks_first"] is True
        done = answer("purge", "--yes", "--config", aged)
        assert (done["number"], done["state"], done["objects"]) == (1, "done", 7)
    assert on_disk(aged) == set()


def test_a_run_that_waits_can_be_ended(aged: Path, rules: Path) -> None:
    rules.write_text(without_keeps())
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        number = str(waiting(aged)["number"])
        assert answer("runs", "--cancel", number, "--config", aged)["state"] == "cancelled"
        assert run("runs", "--cancel", number, "--config", aged).exit_code == 2
        assert answer("runs", "--open", "--config", aged) == []
    assert on_disk(aged) == set(MAILS)


def test_who_answers_no_changes_nothing(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.cli.questions.interactive", lambda: True)
    assert run("purge", "--config", aged).exit_code == 1
    assert on_disk(aged) == set(MAILS)


def test_a_directory_somebody_else_owns_and_no_node_works_on_is_4(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.cli.purging.PATIENCE", 0.0)
    lock = DataLock.take(aged.parent / "data", Files())
    try:
        assert run("purge", "--yes", "--config", aged).exit_code == 4
    finally:
        lock.release()
    assert [one["state"] for one in answer("runs", "--config", aged)] == ["cancelled"]


@pytest.mark.parametrize("node", [True, False])
def test_an_interrupt_ends_the_run_after_what_is_under_way(aged: Path, rules: Path, node: bool) -> None:
    text = aged.read_text().replace("# max_objects_per_second = 2000", "max_objects_per_second = 1")
    assert text != aged.read_text()
    aged.write_text(text)
    if node:
        with live_node(aged.parent, sections={"purge": purge_section(rules, max_objects_per_second=1)}):
            aged.write_text(text)
            _interrupted(aged)
    else:
        _interrupted(aged)
    [record] = answer("runs", "--config", aged)
    assert record["state"] == "cancelled"
    assert len(set(MAILS) - on_disk(aged)) == record["objects"] in {1, 2}


def _interrupted(aged: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TIERPROXY_")}
    command = [sys.executable, "-m", "tierproxy", "purge", "--yes", "--json", "--config", str(aged)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            until(lambda: any(one["objects"] for one in answer("runs", "--config", aged)))
            process.send_signal(signal.SIGINT)
            told, complaint = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1, complaint
    assert json.loads(told)["state"] == "cancelled"
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
