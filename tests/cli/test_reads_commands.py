"""``stats``, ``explain``, ``pin`` and ``warm``: what they say, beside a running node and without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import GO, MAILS, answer, name, on_disk, purge_section, run
from tests.cli.live import Live, live_node, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET
from tierproxy.config.sections import FillSection
from tierproxy.config.values import Size
from tierproxy.model import ObjectName
from tierproxy.testing.faults import FaultyAlt

# ---------------------------------------------------------------- stats


def test_stats_says_how_many_mails_were_read_how_often_by_age(aged: Path) -> None:
    document = answer("stats", "--config", aged)
    assert document["read_classes"] == ["0", "1", "2", "3-5", "6+"]
    by_age = {row["label"]: row["by_reads"] for row in document["rows"]}
    assert by_age["1-7d"] == [1, 1, 0, 0, 0]
    assert by_age["30-90d"] == [1, 1, 2, 1, 0]
    assert document["total"]["objects"] == 7
    assert document["total"]["reads"] == 10
    assert document["disk"]["max_bytes"] == 2 * 2**30
    assert set(document["hits"]) == {"hour", "day", "week"}
    shown = run("stats", "--config", aged).stdout
    assert "How many mails were read how often:" in shown
    assert "28.6%" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_stats_by_owner_day_and_rule(aged: Path) -> None:
    owners = answer("stats", "--by", "owner", "--config", aged)["rows"]
    assert {row["label"]: row["objects"] for row in owners} == {"alice": 4, "bob": 3}
    assert [row["reads"] for row in answer("stats", "--by", "day", "--config", aged)["rows"]] == [9, 1]
    held = answer("stats", "--by", "rule", "--config", aged)
    assert {row["rule"]: row["objects"] for row in held["rules"]} == {
        "new mail stays": 2, "read often": 1, "large and idle": 1, "read once, long ago": 2, None: 1,
    }  # fmt: skip
    for by in ("owner", "folder", "day", "rule"):
        shown = run("stats", "--by", by, "--config", aged)
        assert shown.exit_code == 0, shown.output
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_stats_of_a_bucket_that_is_not_there_is_6_and_of_nonsense_2(aged: Path) -> None:
    assert run("stats", "--bucket", "absent", "--config", aged).exit_code == 6
    assert run("stats", "--by", "nonsense", "--config", aged).exit_code == 2


def test_stats_counts_hits_beside_a_running_node(aged: Path, rules: Path) -> None:
    with live_node(aged.parent, sections={"purge": purge_section(rules)}) as running:
        with ObjectClient(Door.of(running.config)) as client:
            client.read(name("bob:new"))
        one = {"gets": 1, "hits": 1, "ratio": 1.0, "stubs": 0}
        until(lambda: answer("stats", "--config", aged)["hits"]["hour"] == one)


def test_stats_by_rule_says_what_was_removed_and_read_again_and_how_soon(
    aged: Path, rules: Path, alt: MemoryAlt
) -> None:
    with live_node(aged.parent, alt, sections={"purge": purge_section(rules)}) as running:
        answer("purge", "--yes", "--config", aged)
        with ObjectClient(Door.of(running.config)) as client:
            client.read(name("bob:old-large"))

        def removed() -> Any:
            return {one["by"]: one for one in answer("stats", "--by", "rule", "--config", aged)["removed"]}

        until(lambda: removed()["rule:large and idle"]["regrets"] == 1)
        record = removed()["rule:large and idle"]
        assert (record["objects"], record["soon"]) == (1, [1, 0, 0, 0, 0])
        shown = run("stats", "--by", "rule", "--config", aged).stdout
        assert "1 100.0%" in shown
        assert max(map(len, shown.splitlines())) <= 80


# ---------------------------------------------------------------- explain


def test_explain_names_the_rule_that_decides_and_its_numbers(aged: Path) -> None:
    target = str(name("alice:old-read-once"))
    document = answer("explain", target, "--config", aged)
    assert (document["decided_by"], document["fate"], document["goes"]) == ("read once, long ago", "goes", True)
    assert document["by"] == "rule:read once, long ago"
    assert document["tiers"] == ["disk", "alt"]
    assert (document["owner"], document["folder"]) == ("alice", "inbox")
    last = document["rules"][-1]["conditions"][-1]
    assert last["condition"] == "idle > 30d"
    assert last["value"] == pytest.approx(50 * 86_400, rel=0.01)
    [place] = document["pressure"]
    assert {"bucket": None, "order": "lru", "objects_before": 0, "bytes_before": 0, "need": 0}.items() <= place.items()
    assert (place["reached"], place["need_reason"]) == (False, "")
    assert 0 < place["used"] < place["high"]
    shown = run("explain", target, "--config", aged).stdout
    assert "-> read once, long ago: decides (purge)" in shown
    assert "true   idle > 30d: it is 50d" in shown
    assert "next run      goes: rule 'read once, long ago' purges it" in shown


def test_explain_says_when_the_fate_changes_by_itself(aged: Path) -> None:
    document = answer("explain", str(name("bob:new")), "--config", aged)
    assert (document["fate"], document["changes_to"]) == ("kept", "undecided")
    assert document["changes_at"] - document["now"] == pytest.approx(13 * 86_400, rel=0.01)


def test_explain_of_what_nobody_knows_is_6_and_of_nonsense_2(aged: Path) -> None:
    assert run("explain", "mail/absent", "--config", aged).exit_code == 6
    assert run("explain", "nonsense", "--config", aged).exit_code == 2


def test_explain_tells_who_purged_it_and_agrees_with_the_run(aged: Path) -> None:
    said = {mail for mail in MAILS if answer("explain", str(name(mail)), "--config", aged)["goes"]}
    assert said == GO
    assert run("purge", "--yes", "--config", aged).exit_code == 0
    assert set(MAILS) - on_disk(aged) == said
    gone = answer("explain", str(name("bob:old-large")), "--config", aged)
    assert (gone["fate"], gone["purged_by"], gone["purged_run"]) == ("absent", "rule:large and idle", 1)
    assert "by rule 'large and idle', run 1" in run("explain", str(name("bob:old-large")), "--config", aged).stdout


def test_a_rule_file_that_cannot_be_used_is_warned_of(aged: Path, rules: Path) -> None:
    rules.write_text("[[rule]]\nnonsense = 1\n")
    result = run("explain", str(name("bob:new")), "--config", aged)
    assert result.exit_code == 0
    assert "cannot be used" in result.stderr
    assert "no rules in force yet" in result.stdout


# ---------------------------------------------------------------- pin, unpin


def test_a_pin_holds_against_the_rules_until_it_is_taken_back(aged: Path) -> None:
    target = str(name("bob:old-large"))
    pinned = answer("pin", target, "--for", "30d", "--config", aged)
    document = answer("explain", target, "--config", aged)
    assert document["fate"] == "pinned"
    assert document["pinned_until"] == pinned["until"] == document["changes_at"]
    assert document["changes_to"] == "goes"
    run("purge", "--yes", "--config", aged)
    assert "bob:old-large" in on_disk(aged)
    assert answer("unpin", target, "--config", aged) == {"unpinned": [target]}
    assert answer("explain", target, "--config", aged)["fate"] == "goes"


def test_pins_are_listed_by_their_end(aged: Path) -> None:
    soon, never = str(name("bob:old-large")), str(name("bob:new"))
    assert "0 objects pinned" in run("pin", "--list", "--config", aged).stdout
    run("pin", never, "--config", aged)
    until = answer("pin", soon, "--for", "30d", "--config", aged)["until"]
    assert answer("pin", "--list", "--config", aged) == [
        {"name": soon, "until": until}, {"name": never, "until": "forever"},
    ]  # fmt: skip
    shown = run("pin", "--list", "--config", aged).stdout
    assert never in shown
    assert "2 objects pinned" in shown
    run("unpin", soon, never, "--config", aged)
    assert answer("pin", "--list", "--config", aged) == []


@pytest.mark.parametrize("wrong", [[], ["--list", "mail/x"]])
def test_pin_wants_objects_or_a_list(aged: Path, wrong: list[str]) -> None:
    assert run("pin", *wrong, "--config", aged).exit_code == 2


def test_a_pin_without_an_end_is_for_ever(aged: Path) -> None:
    target = str(name("bob:new"))
    assert answer("pin", target, "--config", aged)["until"] == "forever"
    assert "for ever" in run("pin", target, "--config", aged).stdout
    assert "pinned       for ever" in run("explain", target, "--config", aged).stdout


@pytest.mark.parametrize(
    "wrong", [["--until", "soon"], ["--for", "30"], ["--until", "2001-01-01"], ["--until", "2999-01-01", "--for", "1d"]]
)
def test_a_pin_with_a_wrong_end_is_2(aged: Path, wrong: list[str]) -> None:
    assert run("pin", str(name("bob:new")), *wrong, "--config", aged).exit_code == 2


def test_one_name_that_nobody_knows_pins_nothing(aged: Path) -> None:
    assert run("pin", str(name("bob:new")), "mail/absent", "--config", aged).exit_code == 6
    assert answer("explain", str(name("bob:new")), "--config", aged)["pinned_until"] is None


def test_a_running_node_heeds_a_pin(aged: Path, rules: Path) -> None:
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        assert run("pin", str(name("bob:old-large")), "--config", aged).exit_code == 0
        assert run("purge", "--yes", "--config", aged).exit_code == 0
        assert set(MAILS) - on_disk(aged) == GO - {"bob:old-large"}


# ---------------------------------------------------------------- warm


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[tuple[Live, MemoryAlt]]:
    """A node whose bucket has seven objects of 1,000 bytes that are not on disk."""
    alt = MemoryAlt()
    with live_node(tmp_path / "cold", alt) as running:
        with ObjectClient(Door.of(running.config)) as client:
            for number in range(7):
                client.put(ObjectName(BUCKET, f"cold/{number}"), b"x" * 1000, 1000, {"x-tierproxy-ack": "alt"})
        yield running, alt


def warm(running: Live, *arguments: str) -> Any:
    return answer("warm", "mail/cold/", *arguments, "--config", running.file)


def test_warm_brings_to_disk_what_is_not_there_and_reads_for_nobody(cold: tuple[Live, MemoryAlt]) -> None:
    running, _ = cold
    report = warm(running)
    assert (report["fetched"], report["bytes"], report["on_disk"], report["stopped"]) == (7, 7000, 0, "")
    assert warm(running)["on_disk"] == 7

    def counted() -> bool:
        found = answer("explain", "mail/cold/0", "--config", running.file)
        return bool(found["tiers"] == ["disk", "alt"] and found["machine_reads"] == 1 and found["reads"] == 0)

    until(counted)
    assert "7 were there" in run("warm", "mail/cold/", "--config", running.file).stdout


@pytest.mark.parametrize("limit", [["--max-objects", "3"], ["--max-bytes", "3500B"]])
def test_warm_stops_at_its_limits(cold: tuple[Live, MemoryAlt], limit: list[str]) -> None:
    report = warm(cold[0], *limit)
    assert (report["fetched"], report["refused"]) == (3, False)
    assert "limit" in report["stopped"]


def test_warm_stops_when_the_proxy_keeps_nothing(tmp_path: Path) -> None:
    sections = {"fill": FillSection(max_object=Size(10))}
    with live_node(tmp_path / "cold", sections=sections) as running:
        with ObjectClient(Door.of(running.config)) as client:
            for number in range(20):
                client.put(ObjectName(BUCKET, f"cold/{number}"), b"x" * 100, 100, {"x-tierproxy-ack": "alt"})
        result = run("warm", "mail/cold/", "--concurrency", "1", "--json", "--config", running.file)
        assert result.exit_code == 1
        report = json.loads(result.stdout)
        assert (report["passed"], report["fetched"], report["refused"]) == (5, 0, True)
        assert "kept no copy of 5 objects in a row" in report["stopped"]


def test_warm_tries_again_and_gives_up_when_alt_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tierproxy.cli.warm.TRIES", (0.0,))
    alt = FaultyAlt(MemoryAlt())
    with live_node(tmp_path / "cold", alt) as running:
        with ObjectClient(Door.of(running.config)) as client:
            for number in range(20):
                client.put(ObjectName(BUCKET, f"cold/{number}"), b"x" * 100, 100, {"x-tierproxy-ack": "alt"})
        alt.down()
        result = run("warm", "mail/cold/", "--concurrency", "1", "--json", "--config", running.file)
        assert result.exit_code == 4
        report = json.loads(result.stdout)
        assert (report["failed"], report["fetched"]) == (5, 0)
        assert "5 objects in a row failed" in report["stopped"]
        alt.heal()
        assert answer("warm", "mail/cold/", "--config", running.file)["fetched"] == 20


def test_an_interrupted_warm_says_what_was_done(cold: tuple[Live, MemoryAlt]) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TIERPROXY_")}
    slow = ["--rate", "1000B", "--concurrency", "1", "--json", "--config", str(cold[0].file)]
    command = [sys.executable, "-m", "tierproxy", "warm", "mail/cold/", *slow]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            until(lambda: answer("explain", "mail/cold/0", "--config", cold[0].file)["tiers"] == ["disk", "alt"])
            process.send_signal(signal.SIGINT)
            told, complaint = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1, complaint
    report = json.loads(told)
    assert report["interrupted"] is True
    assert 1 <= report["fetched"] < 7
    assert "Traceback" not in complaint


def test_warm_of_wrong_things(cold: tuple[Live, MemoryAlt], aged: Path) -> None:
    running, _ = cold
    assert run("warm", "absent/", "--config", running.file).exit_code == 6
    assert run("warm", "mail", "--rate", "fast", "--config", running.file).exit_code == 2
    assert run("warm", "mail", "--config", aged).exit_code == 4, "no node runs"
    assert warm(running, "--rate", "100MB", "--concurrency", "2")["fetched"] == 7
