"""``simulate``, ``curve`` and ``rules test``: recorded traffic, without a node and beside what is in force."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import run
from tierproxy.wire.whatif import Curve, Progress, Simulation

SMALL = '[budget]\nmax_bytes = "3MB"\n'
GONE = SMALL + '[[rule]]\nname = "all goes"\nwhen = { idle = "> 1h" }\nthen = "purge"\n'
PRICES = Path(__file__).parents[2] / "config" / "prices.toml"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some days of generated mail; nobody changes it."""
    place = tmp_path_factory.mktemp("traffic") / "history"
    assert run("history", "generate", place, "--days", "10", "--owners", "5", "--seed", "7").exit_code == 0
    return place


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two rule files of one budget: nothing, and everything after an hour."""
    monkeypatch.delenv("TIERPROXY_CONFIG", raising=False)
    small, gone = tmp_path / "small.toml", tmp_path / "gone.toml"
    small.write_text(SMALL)
    gone.write_text(GONE)
    return small, gone


def simulated(*arguments: str | Path) -> Simulation:
    result = run("simulate", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return Simulation.model_validate_json(result.stdout)


# ---------------------------------------------------------------- simulate


def test_files_policies_and_the_ceiling_stand_beside_one_another(month: Path, files: tuple[Path, Path]) -> None:
    found = simulated("--from", month, *files, "--policy", "lru", "--policy", "sieve", "--belady", "--budget", "3MB")
    by_name = {one.name: one for one in found.outcomes}
    assert list(by_name) == ["small", "gone", "lru", "sieve", "belady"]
    assert len({one.reads for one in found.outcomes}) == 1
    assert all(one.hits + one.misses == one.reads for one in found.outcomes)
    ceiling = by_name["belady"]
    assert ceiling.ceiling
    assert all(one.hits <= ceiling.hits for one in found.outcomes)
    assert by_name["gone"].misses > by_name["small"].misses
    assert found.budget == 3_000_000
    assert found.events_per_second > 0


def test_an_outcome_says_what_the_dashboard_draws(month: Path, files: tuple[Path, Path]) -> None:
    found = simulated("--from", month, files[1], "--prices", PRICES)
    gone = found.outcomes[0]
    assert [one.by for one in gone.by_reason if one.by != "pressure"] == ["rule:all goes"]
    assert sum(one.regrets for one in gone.by_reason) == gone.regrets > 0
    assert all(sum(one.soon) == one.regrets for one in gone.by_reason)
    assert sum(one.objects for one in gone.by_reason) == gone.purged.objects
    assert len(gone.disk) == 10
    assert max(most for _, most in gone.disk) == gone.disk_peak >= gone.disk_mean > 0
    assert gone.dollars == pytest.approx(sum(line.dollars for line in gone.bill))
    assert gone.alt is not None
    assert gone.alt.requests["get"] >= gone.misses
    assert gone.delay_p99 is not None


def test_without_a_price_sheet_the_one_of_the_package_counts_and_this_is_said(
    month: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = simulated("--from", month, files[0])
    assert found.outcomes[0].bill == simulated("--from", month, files[0], "--prices", PRICES).outcomes[0].bill
    assert any("prices.toml that comes with tierproxy" in text for text in found.warnings)
    assert any("latencies" in text for text in found.warnings)


def test_people_see_tables_and_the_differences_in_words(month: Path, files: tuple[Path, Path]) -> None:
    shown = run("simulate", "--from", month, *files).stdout
    assert "hit ratio" in shown
    assert "all goes" in shown
    assert "gone beside small: " in shown
    assert "misses more" in shown


def test_the_rules_in_force_come_first(aged: Path, month: Path, files: tuple[Path, Path]) -> None:
    found = simulated("--config", aged, "--from", month, files[1])
    assert [one.name for one in found.outcomes] == ["live", "gone"]
    assert any("gone has a budget of its own: 3 MB" in text for text in found.warnings)


def test_a_nodes_own_history_is_replayed_by_its_own_rules(aged: Path) -> None:
    found = simulated("--config", aged, "--belady")
    assert [(one.name, one.reads) for one in found.outcomes] == [("live", 10), ("belady", 10)]
    assert found.outcomes[0].hits == 10


def test_a_node_that_has_not_begun_has_no_history(aged: Path) -> None:
    for place in ("data", "history"):
        for found in aged.parent.glob(f"**/{place}"):
            if found.is_dir():
                shutil.rmtree(found)
    result = run("simulate", "--config", aged)
    assert result.exit_code == 1
    assert "there is no history" in result.stderr
    assert "history generate" in result.stderr


def test_with_nothing_in_force_and_no_file_pressure_alone_is_simulated(month: Path, files: tuple[Path, Path]) -> None:
    assert [one.name for one in simulated("--from", month).outcomes] == ["no rules"]


def test_a_sample_stands_for_all(month: Path, files: tuple[Path, Path]) -> None:
    whole = simulated("--from", month, files[0])
    part = simulated("--from", month, files[0], "--sample", "0.5")
    assert part.outcomes[0].reads == pytest.approx(whole.outcomes[0].reads, rel=0.25)
    assert part.outcomes[0].reads != whole.outcomes[0].reads
    assert part.outcomes[0].disk_peak == pytest.approx(whole.outcomes[0].disk_peak, rel=0.35)
    assert part.events == whole.events
    assert any("50.0% of the objects" in text for text in part.warnings)


def test_times_and_a_warm_up_leave_events_out(month: Path, files: tuple[Path, Path]) -> None:
    whole = simulated("--from", month, files[0]).outcomes[0].reads
    late = simulated("--from", month, files[0], "--since", "2025-01-10", "--until", "2025-01-13")
    assert late.since >= 1_736_467_200
    assert late.until < 1_736_726_400
    assert 0 < late.outcomes[0].reads < whole
    warm = simulated("--from", month, files[0], "--policy", "lru", "--warm-up", "5d")
    assert 0 < warm.outcomes[0].reads == warm.outcomes[1].reads < whole


# ---------------------------------------------------------------- what is wrong


def test_a_wrong_rule_file_is_told_as_by_rules_check(month: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rule]]\nname = "a"\nwhen = { colour = "red" }\nthen = "purge"\n')
    result = run("simulate", "--from", month, wrong)
    assert result.exit_code == 3
    assert f"{wrong} line 3" in result.stderr
    assert "hint: " in result.stderr
    result = run("simulate", "--from", month, wrong, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["faults"][0]["line"] == 3


@pytest.mark.parametrize("command", ["simulate", "curve", "advise"])
def test_without_history_it_is_said_what_to_do(command: str, tmp_path: Path, files: tuple[Path, Path]) -> None:
    (tmp_path / "empty").mkdir()
    result = run(command, "--from", tmp_path / "empty")
    assert result.exit_code == 1
    assert "there is no history at" in result.stderr
    assert "history import" in result.stderr
    assert run(command, "--from", tmp_path / "absent").exit_code == 1


def test_times_without_events_are_said_with_those_there_are(month: Path, files: tuple[Path, Path]) -> None:
    result = run("simulate", "--from", month, "--since", "2031-01-01")
    assert result.exit_code == 1
    assert "no events from 2031-01-01 00:00 on" in result.stderr
    assert "hint: it goes from 2025-01-06" in result.stderr


@pytest.mark.parametrize(
    "options",
    [["--policy", "lifo"], ["--budget", "much"], ["--sample", "0"], ["--sample", "1.5"], ["--chart", "a.png"],
     ["--since", "soon"], ["--wish", "absent.json"]],
)  # fmt: skip
def test_wrong_usage_is_2(month: Path, options: list[str]) -> None:
    assert run("simulate", "--from", month, *options).exit_code == 2


# ---------------------------------------------------------------- wishes and progress


def wish(tmp_path: Path, **fields: Any) -> Path:
    file = tmp_path / "wish.json"
    file.write_text(json.dumps(fields))
    return file


def test_a_wish_is_the_same_as_options(month: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    candidates = [{"name": "gone", "text": GONE}, {"name": "nothing", "text": ""}, {"name": "now", "version": "live"}]
    file = wish(tmp_path, candidates=candidates, policies=["lru", "belady"], budget=3_000_000)
    asked = simulated("--from", month, "--wish", file)
    assert [one.name for one in asked.outcomes] == ["gone", "nothing", "now", "lru", "belady"]
    given = simulated("--from", month, files[1], "--policy", "lru", "--belady", "--budget", "3MB")
    assert asked.outcomes[0] == given.outcomes[0]
    assert asked.outcomes[3:] == given.outcomes[1:]


def test_a_wish_names_all_candidates_or_means_those_in_force(aged: Path, month: Path, tmp_path: Path) -> None:
    arguments: list[str | Path] = ["--config", aged, "--from", month, "--wish"]
    draft = wish(tmp_path, candidates=[{"name": "draft", "text": GONE}])
    assert [one.name for one in simulated(*arguments, draft).outcomes] == ["draft"]
    assert [one.name for one in simulated(*arguments, wish(tmp_path)).outcomes] == ["live"]
    twice = wish(tmp_path, candidates=[{"name": "draft", "text": GONE}] * 2)
    assert run("simulate", *arguments, twice).exit_code == 2
    shadow = wish(tmp_path, candidates=[{"name": "shadow", "version": "shadow"}])
    assert run("simulate", *arguments, shadow).exit_code == 3


def test_the_faults_of_a_wish_are_in_the_document(month: Path, tmp_path: Path) -> None:
    file = wish(tmp_path, candidates=[{"name": "edited", "text": "[[rule]]\nname = 1\n"}])
    result = run("simulate", "--from", month, "--wish", file, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["faults"]
    assert "edited line" in result.stderr


def test_a_wish_says_everything_and_nothing_unknown(month: Path, tmp_path: Path) -> None:
    file = wish(tmp_path, policies=["lru"])
    beside = run("simulate", "--from", month, "--wish", file, "--policy", "fifo")
    assert (beside.exit_code, "--policy" in beside.stderr) == (2, True)
    strange = run("curve", "--from", month, "--wish", file)
    assert (strange.exit_code, "policies" in strange.stderr) == (2, True)


def test_progress_as_json_is_a_document_a_line_that_grows(month: Path, files: tuple[Path, Path]) -> None:
    for command in ("simulate", "curve"):
        result = run(command, "--from", month, "--json", "--progress", "json")
        steps = [Progress.model_validate_json(line) for line in result.stderr.splitlines() if line.startswith("{")]
        assert len({one.phase for one in steps}) == 2
        for phase in {one.phase for one in steps}:
            done = [one.done for one in steps if one.phase == phase]
            assert done == sorted(done)
        assert steps[-1].done == steps[-1].total
        json.loads(result.stdout)


# ---------------------------------------------------------------- charts


def test_a_chart_is_a_picture_with_the_numbers_as_text(month: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    chart = tmp_path / "a.svg"
    found = simulated("--from", month, *files, "--chart", chart)
    root = ET.fromstring(chart.read_text())
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert {"small", "gone", f"{100 * (found.outcomes[1].hit_ratio or 0):.2f}%"} <= set(texts)
    assert root.find(f"{SVG}title") is not None
    assert "gone" in (root.findtext(f"{SVG}desc") or "")


def test_a_page_needs_nothing_else(month: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    odd = tmp_path / "<b>&.toml"
    odd.write_text(SMALL)
    simulated("--from", month, files[0], odd, "--chart", page)
    text = page.read_text()
    assert text.count("<svg") == 2
    assert "<table>" in text
    assert "&lt;b&gt;&amp;" in text
    assert "<b>" not in text
    assert "<script" not in text
    assert "href" not in text
    assert "src=" not in text
    assert len(text) < 50_000
    assert sorted(one.name for one in tmp_path.iterdir()) == ["<b>&.toml", "a.html", "gone.toml", "small.toml"]


def test_a_chart_that_cannot_be_written_is_an_error(month: Path, files: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("curve", "--from", month, "--chart", tmp_path / "absent" / "a.svg")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr


# ---------------------------------------------------------------- curve


def test_the_curve_rises_and_the_smallest_disk_is_read_off_it(month: Path, files: tuple[Path, Path]) -> None:
    result = run("curve", "--from", month, "--hit", "0.85", "--json")
    found = Curve.model_validate_json(result.stdout)
    ratios = [ratio for _, ratio in found.hit_ratio]
    assert ratios == sorted(ratios)
    assert found.hit_ratio[-1][0] == found.working_set > 0
    size = found.wanted["0.85"]
    assert size is not None
    sizes = [one for one in found.wanted.values() if one is not None]
    assert sizes == sorted(sizes)
    at = simulated("--from", month, "--policy", "lru", "--budget", str(max(size, 2**20)))
    assert at.outcomes[1].hit_ratio == pytest.approx(0.85, abs=0.02) or size < 2**20
    assert "smallest disk for 85.00%" in run("curve", "--from", month, "--hit", "0.85").stdout


def test_the_curve_is_drawn_with_the_live_budget_on_it(aged: Path, month: Path, tmp_path: Path) -> None:
    chart = tmp_path / "curve.html"
    result = run("curve", "--config", aged, "--from", month, "--chart", chart, "--json")
    found = Curve.model_validate_json(result.stdout)
    texts = chart.read_text()
    assert (">now</text>" in texts) == (found.budget <= found.working_set)
    assert "95.00%" in texts


# ---------------------------------------------------------------- rules test


def test_assertions_that_hold_are_0_and_one_that_does_not_is_1(month: Path, files: tuple[Path, Path]) -> None:
    good = ["--assert", "hit >= 0.5", "--assert", "disk_peak <= 4MB", "--assert", "delay_p99 < 1s"]
    result = run("rules", "test", month, "--rules", files[0], *good)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("ok  ") == 3
    result = run("rules", "test", month, "--rules", files[0], *good, "--assert", "regrets <= 1")
    assert result.exit_code == 1
    assert "FAILED  regrets <= 1: " in result.stdout


def test_the_measured_values_are_those_of_simulate(month: Path, files: tuple[Path, Path]) -> None:
    found = simulated("--from", month, files[1]).outcomes[0]
    result = run("rules", "test", month, "--rules", files[1], "--assert", f"misses = {found.misses}", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["holds"]
    assert document["assertions"][0]["measured"] == found.misses
    assert document["outcome"]["regrets"] == found.regrets


def test_what_is_not_known_never_holds(files: tuple[Path, Path], tmp_path: Path) -> None:
    log, unread = tmp_path / "access.log", tmp_path / "unread"
    log.write_text('::1 - - [01/Jan/2026:12:00:00 +0000] "PUT /mail/alice/u.1 HTTP/1.1" 200 0 "-" "-"\n')
    assert run("history", "import", "nginx", log, "--out", unread).exit_code == 0
    result = run("rules", "test", unread, "--rules", files[0], "--assert", "hit >= 0")
    assert result.exit_code == 1
    assert "not known" in result.stdout


def test_a_test_of_rules_draws_what_it_measured_also_when_it_fails(
    month: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    chart = tmp_path / "tested.html"
    asked = run("rules", "test", month, "--rules", files[1], "--assert", "hit >= 1", "--chart", chart)
    assert asked.exit_code == 1
    assert "by gone.toml" in chart.read_text()


def test_dollars_need_no_price_sheet_of_ones_own(
    month: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ((), ("--prices", PRICES)):
        asked = run("rules", "test", month, "--rules", files[0], "--assert", "dollars < 9", *more)
        assert asked.exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [("hot >= 1", "alt_requests"), ("hit", "as in"), ("hit >= much", "no number"), ("disk_peak < 7 stones", "size"),
     ("delay_p99 < 3", "duration"), ("hit >= 95", "")],
)  # fmt: skip
def test_an_assertion_nobody_understands_is_2_and_says_what_to_write(
    month: Path, files: tuple[Path, Path], text: str, said: str
) -> None:
    result = run("rules", "test", month, "--rules", files[0], "--assert", text)
    assert result.exit_code == (2 if said else 1)
    assert said in result.stderr
    assert run("rules", "test", month, "--rules", files[0]).exit_code == 2
