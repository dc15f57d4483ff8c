"""Commands of purging in odd cases: strange names, wishes nobody can grant, runs of others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.cli.aged import MAILS, RULES, answer, name, on_disk, run
from tierproxy.catalogue import open_outside, open_reader
from tierproxy.cli.demo.home import BUCKET
from tierproxy.cli.outcome import ExitCode
from tierproxy.cli.purging import Watch
from tierproxy.errors import Busy
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.testing.clock import VirtualClock

STRANGE = ["[/x]", "[red]x[/red]", "a,b", "größe 📬", "50%", "--all", "rule:x", "pressure", "O'Brien"]


def named(rule: str) -> str:
    return f'[[rule]]\nname = {json.dumps(rule, ensure_ascii=False)}\nwhen = {{ idle = "> 30d" }}\nthen = "purge"\n'


@pytest.mark.parametrize("rule", STRANGE)
def test_a_rule_may_have_any_name_in_every_command(aged: Path, rules: Path, rule: str) -> None:
    rules.write_text(named(rule))
    key = str(name("alice:old-unread"))
    for command in (
        ["rules", "check"], ["rules", "show"], ["purge", "--dry-run"], ["purge", "--dry-run", f"--rule={rule}"],
        ["explain", key], ["stats", "--by", "rule"], ["purge", "--yes", f"--rule={rule}"], ["runs"], ["runs", "1"],
        ["rules", "history"], ["explain", key], ["stats", "--by", "rule"],
    ):  # fmt: skip
        shown = run(*command, "-c", aged)
        assert shown.exit_code == 0, (command, shown.output)
        again = run(*command, "-c", aged, "--json")
        assert again.exit_code == 0, (command, again.output)
        json.loads(again.stdout)
    with open_reader(aged.parent / "data") as catalogue:
        entry = catalogue.find(name("alice:old-unread"))
        assert entry is not None
        assert entry.purged_by == f"rule:{rule}"


@pytest.mark.parametrize("target", ["/", "/mail", "//"])
def test_a_target_without_a_bucket_is_not_everything(aged: Path, target: str) -> None:
    refused = run("purge", target, "--all", "--yes", "-c", aged)
    assert refused.exit_code == ExitCode.USAGE
    assert on_disk(aged) == set(MAILS)


@pytest.mark.parametrize("key", ["%", "_", "*", "[a]", "a\x01", "größe/📬", "\U0010ffff", "..", "'"])
def test_a_prefix_is_a_text_and_no_pattern(aged: Path, key: str) -> None:
    plan = answer("purge", f"{BUCKET}/{key}", "--dry-run", "-c", aged)
    assert (plan["prefix"], plan["total"]["objects"]) == (key, 0)
    whole = answer("purge", f"{BUCKET}/", "--dry-run", "-c", aged)
    assert whole["total"]["objects"] == 3


def test_bytes_that_are_no_text_are_wrong_usage(aged: Path) -> None:
    for command in (
        ["purge", f"{BUCKET}/\udcff", "--dry-run"],
        ["explain", f"{BUCKET}/\udcff"],
        ["pin", f"{BUCKET}/\udcff"],
    ):
        refused = run(*command, "-c", aged)
        assert refused.exit_code in {ExitCode.USAGE, ExitCode.NOT_FOUND}, (command, refused.output, refused.exception)


def test_the_question_of_one_rule_is_about_all_that_was_read(aged: Path, rules: Path) -> None:
    """One of eight mails that were read lately: not all of what the rule itself decides."""
    rules.write_text('[[rule]]\nname = "new"\nwhen = { key = "bob*", size = "< 100KiB" }\nthen = "purge"\n' + RULES)
    plan = answer("purge", "--rule", "new", "--dry-run", "-c", aged)
    assert plan["total"]["recent_bytes"] > 0
    assert plan["recent_bytes"] >= plan["total"]["recent_bytes"]
    everything = answer("purge", "--dry-run", "-c", aged)
    assert plan["recent_bytes"] == everything["recent_bytes"]


def test_a_pressure_run_cannot_be_cancelled_and_nobody_says_that_it_was(aged: Path) -> None:
    with open_outside(aged.parent / "data") as outside:
        number = outside.add_run(PurgeRun(0, RunKind.PRESSURE, RunState.RUNNING, 1.0)).number
    refused = run("runs", "--cancel", str(number), "-c", aged)
    assert refused.exit_code == ExitCode.USAGE
    assert "pressure" in refused.output
    with open_reader(aged.parent / "data") as catalogue:
        kept = catalogue.run(number)
    assert kept is not None
    assert not kept.cancel


@pytest.mark.parametrize("value", ["9999999d", "99999999999999999999d"])
def test_a_pin_for_longer_than_there_are_dates(aged: Path, value: str) -> None:
    key = str(name("alice:old-unread"))
    pinned = run("pin", key, "--for", value, "-c", aged)
    assert pinned.exit_code in {0, ExitCode.USAGE}, pinned.exception
    shown = run("explain", key, "-c", aged)
    assert shown.exit_code == 0, shown.exception


def test_a_pin_by_command_outlasts_that_of_a_rule_and_both_are_told(aged: Path, rules: Path) -> None:
    key = str(name("alice:old-unread"))
    rules.write_text('[[rule]]\nname = "hold"\nwhen = { key = "alice*" }\nthen = "pin until 2100-01-01"\n' + RULES)
    assert answer("explain", key, "-c", aged)["pinned_until"] == 4102444800.0
    run("pin", key, "-c", aged)
    told = answer("explain", key, "-c", aged)
    assert (told["fate"], told["pinned_until"], told["decided_by"]) == ("pinned", "forever", "hold")
    run("unpin", key, "-c", aged)
    assert answer("explain", key, "-c", aged)["fate"] == "pinned", "a rule's pin is not changed by this"
    assert run("purge", f"{BUCKET}/alice", "--all", "--yes", "-c", aged).exit_code == 0
    assert "alice:old-unread" in on_disk(aged)


async def test_a_wish_waits_while_another_run_is_under_way(aged: Path) -> None:
    """One at a time: to say that nobody has begun would be wrong, and to cancel the wish as well."""
    data, clock = aged.parent / "data", VirtualClock()
    with open_outside(data) as outside, open_reader(data) as catalogue:
        outside.add_run(PurgeRun(0, RunKind.RULES, RunState.RUNNING, 1.0))
        wish = outside.add_run(PurgeRun(0, RunKind.RULES, RunState.ASKED, 1.0))
        watching = asyncio.create_task(Watch(catalogue, wish.number, clock, lambda run: None).until_settled(10))
        await clock.advance(20)
        assert not watching.done()
        outside.cancel_run(wish.number, at=1.0)
        await clock.advance(1)
        assert (await watching).state is RunState.CANCELLED


async def test_a_wish_that_nobody_takes_up_is_given_back(aged: Path) -> None:
    data, clock = aged.parent / "data", VirtualClock()
    with open_outside(data) as outside, open_reader(data) as catalogue:
        wish = outside.add_run(PurgeRun(0, RunKind.RULES, RunState.ASKED, 1.0))
        watching = asyncio.create_task(Watch(catalogue, wish.number, clock, lambda run: None).until_settled(10))
        await clock.advance(20)
        with pytest.raises(Busy, match="has not begun"):
            await watching


def test_a_rule_file_with_the_mark_of_other_systems_is_checked(aged: Path, rules: Path) -> None:
    rules.write_bytes(b"\xef\xbb\xbf" + RULES.replace("\n", "\r\n").encode())
    assert run("rules", "check", "-c", aged).exit_code == 0


@pytest.mark.parametrize("order", ["sieve", "s3-fifo", "lru"])
def test_what_rules_purge_is_before_the_undecided_in_every_order(aged: Path, rules: Path, order: str) -> None:
    """As a pressure run does it."""
    rules.write_text(RULES + f'[pressure]\norder = "{order}"\n')
    (ahead,) = answer("explain", str(name("alice:old-read-twice")), "-c", aged)["pressure"]
    assert (ahead["order"], ahead["objects_before"]) == (order, 3)
