"""What a new operator stumbled over: a message that is missing, or does not say what to do."""

from __future__ import annotations

from pathlib import Path, PosixPath

import pytest

from tests.cli.aged import RULES, answer, name, purge_section, run
from tests.cli.live import live_node


def test_a_missing_rule_file_is_told_with_how_to_get_it_back(aged: Path, rules: Path) -> None:
    rules.unlink()
    result = run("rules", "check", "--config", aged)
    assert result.exit_code == 3
    assert f"there is no rule file {rules}" in result.stderr
    assert "tierproxy rules restore" in result.stderr


def test_one_bracket_instead_of_two_is_told_as_that(aged: Path, rules: Path) -> None:
    rules.write_text(RULES.replace("[[rule]]", "[rule]"))
    result = run("rules", "check", "--config", aged)
    assert result.exit_code == 3
    assert "[[rule]] with two brackets" in result.stderr


def test_a_budget_of_a_bucket_that_is_not_there_is_doubtful(aged: Path, rules: Path) -> None:
    rules.write_text(RULES + '\n[budget.bucket.mial]\nmax_bytes = "2MB"\n')
    (doubt,) = answer("rules", "check", "--config", aged)["warnings"]
    assert "there is no bucket 'mial'; write one of mail" in doubt
    assert doubt.startswith(f"line {len(rules.read_text().splitlines())}: ")


def test_stats_has_the_budget_of_each_bucket(aged: Path, rules: Path) -> None:
    rules.write_text(RULES + '\n[budget.bucket.mail]\nmax_bytes = "2MB"\n')
    budget = answer("stats", "--config", aged)["bucket_budgets"]["mail"]
    assert budget["max_bytes"] == 2_000_000
    assert 0 < budget["used"] < 2_000_000
    assert "bucket mail: " in run("stats", "--config", aged).stdout


def test_what_is_in_force_already_is_not_made_a_version_again(aged: Path, rules: Path) -> None:
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        result = run("rules", "apply", rules, "--yes", "--config", aged)
        assert result.exit_code == 0
        assert result.stdout.startswith("no difference: version 1 is in force")
        assert answer("rules", "apply", rules, "--config", aged)["version"] == 1, "nobody is asked"
        assert len(answer("rules", "history", "--config", aged)) == 1
        rules.unlink()
        assert run("rules", "restore", "1", "--yes", "--config", aged).exit_code == 0
        assert rules.read_text() == RULES, "the file was gone"


def test_no_runs_are_told_in_words(aged: Path) -> None:
    assert run("runs", "--config", aged).stdout == "no purge run yet\n"
    assert run("runs", "--open", "--config", aged).stdout == "no run has not ended\n"
    assert answer("runs", "--config", aged) == []


def test_a_bucket_that_is_not_there_is_told_as_that(aged: Path) -> None:
    result = run("explain", "nosuch/alice/u.1", "--config", aged)
    assert result.exit_code == 6
    assert "there is no bucket 'nosuch'" in result.stderr


def test_rules_of_a_run_are_named_as_in_the_file(aged: Path) -> None:
    assert run("purge", "--yes", "--config", aged).exit_code == 0
    shown = run("runs", "1", "--config", aged).stdout
    assert "large and idle" in shown
    assert "rule:" not in shown
    assert "by rule 'large and idle', run 1" in run("explain", str(name("bob:old-large")), "--config", aged).stdout


def test_moments_are_not_broken_in_80_columns(aged: Path, rules: Path) -> None:
    reason = "because the disk was full and everybody wanted their mail back"
    assert run("rules", "apply", rules, "--yes", "--reason", reason, "--config", aged).exit_code == 0
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        assert run("purge", "--yes", "--config", aged).exit_code == 0
    (version,) = answer("rules", "history", "--config", aged)
    shown = run("rules", "history", "--config", aged).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert version["at"] > 0
    lines = [line for line in shown.splitlines() if line.startswith(" 1 ")]
    assert len(lines[0].split()[1]) == len("2026-11-21")
    assert ":" in lines[0].split()[2]


def test_a_file_can_be_checked_by_whoever_may_not_read_the_data(
    aged: Path, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(PosixPath):
        def exists(self) -> bool:
            raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("tierproxy.cli.rules.catalogue_file", Closed)
    result = run("rules", "check", rules, "--config", aged)
    assert result.exit_code == 0
    assert "is good" in result.stdout
    assert "may not read" in result.stderr
