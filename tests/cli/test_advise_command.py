"""``advise``: rule files ready to run, a document for the dashboard, and an end when it is asked for."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.aged import run
from tierproxy.rules.lint import accept
from tierproxy.wire.whatif import Advised, Progress

PRICES = Path(__file__).parents[2] / "config" / "prices.toml"


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated mail of some people."""
    place = tmp_path_factory.mktemp("traffic") / "history"
    made = run("history", "generate", place, "--days", "14", "--owners", "10", "--mails-per-day", "12", "--seed", "3")
    assert made.exit_code == 0
    return place


def test_advice_is_a_document_and_files_ready_to_run(
    month: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIERPROXY_CONFIG", raising=False)
    place = tmp_path / "advice"
    arguments: list[str | Path] = ["--from", month, "--budget", "20MB", "--prices", PRICES, "--write", place]
    result = run("advise", *arguments, "--json", "--progress", "json")
    assert result.exit_code == 0, result.output
    found = Advised.model_validate_json(result.stdout)
    assert 0 < len(found.proposals) <= 3
    assert found.since < found.split < found.until
    assert found.baseline.name == "age rule, 3 days"
    assert found.ceiling is not None
    assert found.live is None
    best = found.proposals[0]
    assert best.saves_reads == found.baseline.misses - best.held_out.misses > 0
    assert best.saves_dollars is not None
    assert best.held_out.reads == found.baseline.reads == found.ceiling.reads
    for one in found.proposals:
        text = (place / f"{one.name}.toml").read_text()
        assert text == one.rules
        accept(text, now=0.0)
        assert run("rules", "check", place / f"{one.name}.toml").exit_code in {0, 3}  # 3: nothing is set up here
    assert sorted(file.stem for file in place.iterdir()) == sorted(one.name for one in found.proposals)
    steps = [Progress.model_validate_json(line) for line in result.stderr.splitlines() if line.startswith("{")]
    assert {"reading history", "searching rules"} <= {one.phase for one in steps}
    simulated = run("simulate", "--from", month, place / f"{best.name}.toml", "--json")
    assert simulated.exit_code == 0
    again = run("advise", *arguments)  # before any work
    assert (again.exit_code, again.stdout) == (3, "")
    assert "is there already" in again.stderr


def test_too_short_a_history_is_no_advice_and_says_so(
    month: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TIERPROXY_CONFIG", raising=False)
    wish = tmp_path / "wish.json"
    wish.write_text(json.dumps({"until": 1_736_121_600 + 5 * 86_400, "held_out": 0.2, "budget": 5_000_000}))
    result = run("advise", "--from", month, "--wish", wish)
    assert result.exit_code == 0
    assert "too little history" in result.stdout


def test_the_rules_in_force_are_judged_beside(aged: Path, month: Path) -> None:
    result = run("advise", "--config", aged, "--from", month, "--until", "2025-01-10", "--json")
    found = Advised.model_validate_json(result.stdout)
    assert found.live is not None
    assert found.live.reads == found.baseline.reads


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_nothing_is_left(month: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tierproxy", "advise", "--from", str(month), "--budget", "5MB"]
    options = ["--json", "--progress", "json", "--wish", "/dev/stdin", "--write", str(tmp_path / "advice")]
    with subprocess.Popen(
        [*command[:-2], *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=tmp_path,
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stderr is not None
        child.stdin.write('{"budget": 5000000}')
        child.stdin.close()
        while '"searching rules"' not in (line := child.stderr.readline()):
            assert line
        child.send_signal(number)
        child.stderr.read()
        assert child.stdout is not None
        assert child.stdout.read() == ""
        assert child.wait() in {-signal.SIGTERM, 130, 1}
    assert list(tmp_path.iterdir()) == []
