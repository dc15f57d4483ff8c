"""Mail behaviour, played short; and the judgement on it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.loadtests.programs import loaded
from tests.loadtests.test_load_scripts import ENVIRONMENT, ROOT, run

SHORT = ("--seconds", "3", "--users", "10", "--mails", "25", "--no-ratios")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    names = ("samples", "verdicts", "plays", "page", "town", "orders", "director")
    with loaded(monkeypatch, *(f"behaviour.{name}" for name in names)) as found:
        yield found


def play(tmp_path: Path, scenario: str, *arguments: str) -> str:
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    output = run("scenarios.py", scenario, *SHORT, *arguments, "--dir", work, "--out", out)
    assert {file.name for file in out.iterdir()} == {"summary.html", f"{scenario}.html"}
    assert "All held" in (out / "summary.html").read_text()
    assert not list(work.iterdir())
    return output


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["new-server", "slow-s3"])
def test_a_short_play_is_right(tmp_path: Path, scenario: str) -> None:
    assert play(tmp_path, scenario).splitlines()[-1].startswith("OK: everything held")


@pytest.mark.slow
def test_a_short_play_with_hit_workers_is_right(tmp_path: Path) -> None:
    assert play(tmp_path, "cold-start", "--workers", "2").splitlines()[-1].startswith("OK: everything held")


@pytest.mark.slow
def test_a_search_is_a_machine_and_no_person(tmp_path: Path) -> None:
    output = play(tmp_path, "search-scan")
    assert "machine reads counted too many or too few (0 of 0)" not in output


@pytest.mark.parametrize("script", ["scenarios.py", "profile_node.py", "instructions.py"])
def test_every_script_explains_itself(script: str) -> None:
    command = [sys.executable, str(ROOT / "loadtests" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True)
    assert "--dir" in done.stdout
    assert len(done.stdout.splitlines()) > 10


def test_it_is_a_locustfile_too() -> None:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "scenarios.py"), "--list"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True)
    for name in ("MorningInbox", "DeliveryBurst", "SearchScan"):
        assert name in done.stdout + done.stderr


# ---------------------------------------------------------------- judgement


def reads(made: Any, phase: str, source: str, times: list[float], **changes: Any) -> list[Any]:
    facts = {
        "phase": phase, "who": "people", "client": "ann", "verb": "read", "source": source, "owner": "ann",
        "key": "ann/u.1", "size": 1, "at": 0.0,
    }  # fmt: skip
    return [made.samples.Sample(**(facts | {"milliseconds": one} | changes)) for one in times]


def test_a_ratio_compares_the_same_quantile_of_two_phases(made: Any) -> None:
    found = made.samples.Samples(reads(made, "calm", "hit", [2.0] * 9) + reads(made, "slow", "hit", [3.0] * 9))
    part = made.verdicts.Part
    ratio = made.verdicts.Ratio("hits", part("slow", source="hit"), part("calm", source="hit"), 1.4)
    assert ratio.judge(found).measured == 1.5
    assert not ratio.judge(found).holds
    assert made.verdicts.Ratio("hits", ratio.top, ratio.bottom, 1.4, added=1.0).judge(found).holds


def test_a_ratio_of_next_to_nothing_does_not_hold(made: Any) -> None:
    found = made.samples.Samples(reads(made, "calm", "hit", [2.0] * 9) + reads(made, "slow", "hit", [1.0]))
    part = made.verdicts.Part
    verdict = made.verdicts.Ratio("hits", part("slow"), part("calm"), 5.0).judge(found)
    assert math.isnan(verdict.measured)
    assert not verdict.holds


def test_the_share_of_hits_can_be_that_of_the_end(made: Any) -> None:
    early = reads(made, "cold", "miss", [1.0] * 8, at=1.0)
    found = made.samples.Samples(early + reads(made, "cold", "hit", [1.0] * 2, at=2.0))
    assert made.verdicts.HitShare("cold", 0.5).judge(found).measured == 0.2
    assert made.verdicts.HitShare("cold", 0.5, 0.2).judge(found).holds


def test_one_failure_in_a_hundred_and_one_wrong_byte_do_not_hold(made: Any) -> None:
    good = reads(made, "calm", "hit", [1.0] * 99)
    failed = made.verdicts.right(made.samples.Samples(good + reads(made, "calm", "miss", [1.0], error="503")))
    assert [verdict.holds for verdict in failed] == [False, True]
    wrong = reads(made, "calm", "hit", [1.0], error="k: 3 bytes that are not the 4 of the mail")
    assert not made.verdicts.right(made.samples.Samples(good + wrong))[1].holds


def scan(made: Any, numbers: range) -> list[Any]:
    return [
        one for number in numbers
        for one in reads(made, "search", "hit", [1.0], who="scan", client="search1", key=f"ann/u.{number}")
    ]  # fmt: skip


def test_twenty_mails_in_order_are_a_machines_and_fewer_are_a_persons(made: Any) -> None:
    """Two walks: 8 to 27, by numbers, and from the beginning again."""
    found = made.samples.Samples(scan(made, range(8, 28)) + scan(made, range(1, 20)))
    wanted = made.verdicts.expected(found, Counter({"ann": 5}))
    assert wanted.machines == {"ann": 20}
    assert wanted.people == {"ann": 24}


def test_a_read_that_was_not_counted_and_one_of_somebody_else_are_two_wrongs(made: Any) -> None:
    found = made.verdicts.Counted(Counter({"ann": 2, "bob": 1}), Counter())
    wanted = made.verdicts.Counted(Counter({"ann": 3}), Counter())
    people, machines = made.verdicts.counts(found, wanted)
    assert (people.measured, machines.measured) == (2, 0)
    assert not people.holds


def test_times_are_left_out_of_the_judgement_on_a_busy_machine(made: Any) -> None:
    verdict = made.verdicts.Verdict("hits", 9.0, 1.0, timed=True)
    samples = made.samples.Samples([])
    judged, shown = (
        made.page.Played(made.plays.MORNING, samples, [verdict], "x.html", timed) for timed in (True, False)
    )
    assert judged.wrong == [verdict]
    assert not shown.wrong
    assert shown.verdict_rows()[0][-1] == "(no)"


def test_the_page_shows_what_did_not_hold_and_escapes_what_came_from_outside(made: Any, tmp_path: Path) -> None:
    samples = made.samples.Samples(reads(made, "calm", "miss", [1.0], error="<Error>no</Error>"))
    played = made.page.Played(made.plays.SLOW_S3, samples, made.verdicts.right(samples), "slow-s3.html", True)
    made.page.write([played], [("cpu", "2")], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "1 did not hold" in text
    assert "&lt;Error&gt;" in text
    assert "<Error>" not in text


# ---------------------------------------------------------------- the town


def test_a_town_is_the_same_again_and_busy_owners_have_more(made: Any, tmp_path: Path) -> None:
    town = made.town.Town.drawn(8, 20, cold=0.5)
    town.save(tmp_path / "town.json")
    again = made.town.Town.load(tmp_path / "town.json")
    assert [(box.owner, box.mails, box.cold) for box in again.boxes] == [
        (box.owner, box.mails, box.cold) for box in town.boxes
    ]
    assert len(town.boxes[0].mails) > len(town.boxes[-1].mails)
    assert all(abs(len(box.mails) - len(box.cold)) <= 1 for box in town.boxes)


def test_users_are_shared_out_by_the_size_of_the_play(made: Any) -> None:
    acts = made.director.scaled(made.plays.BURST, 20).acts
    assert [act.phase.burst for act in acts] == [0, 4]
    assert made.director.scaled(made.plays.SEARCH, 3).acts[1].phase.scans == 1


def test_every_play_reads_as_a_scenario(made: Any) -> None:
    assert set(made.plays.PLAYS) == {
        "morning-inbox", "delivery-burst", "search-scan", "cold-start", "new-server", "slow-s3",
    }  # fmt: skip
    for one in made.plays.PLAYS.values():
        assert sum(act.share for act in one.acts) == pytest.approx(1.0)
        assert one.users
        assert one.sees
