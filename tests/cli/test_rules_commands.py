"""``rules``: a file is checked, shown, compared and put in force; a wrong one changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import GO, MAILS, RULES, answer, on_disk, purge_section, run
from tests.cli.live import live_node, until

OTHER = RULES.replace('"> 30d"', '"> 20d"') + '\n[pressure]\norder = "lfu"\n'
WRONG = {
    "unknown field": ('[[rule]]\nname = "a"\nwhen = { colour = "red" }\nthen = "purge"\n', "line 3"),
    "bad unit": ('[[rule]]\nname = "a"\nwhen = { age = "> 3 moons" }\nthen = "purge"\n', "line 3"),
    "contradiction": ('[[rule]]\nname = "a"\nwhen = { age = ["< 1d", "> 2d"] }\nthen = "purge"\n', "line 1"),
    "unreachable": (RULES + '\n[[rule]]\nname = "z"\nwhen = { age = "< 1d" }\nthen = "purge"\n', 'rule "z"'),
    "no TOML": ("[[rule\n", "line 1"),
    "empty": ("", "empty"),
}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A rule file that differs from the configured one."""
    file = tmp_path / "new.toml"
    file.write_text(OTHER)
    return file


# ---------------------------------------------------------------- check


def test_a_good_file_is_0_and_what_it_matches_now_is_told(aged: Path) -> None:
    document = answer("rules", "check", "--config", aged)
    assert document["rules"] == 4
    assert document["warnings"] == []
    assert {one["rule"]: one["objects"] for one in document["now"]["rules"]}["read once, long ago"] == 2
    shown = run("rules", "check", "--config", aged)
    assert "is good: 4 rules" in shown.stdout
    assert "large and idle" in shown.stdout


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_3_and_says_where_and_what_to_write(aged: Path, tmp_path: Path, what: str) -> None:
    file = tmp_path / "wrong.toml"
    text, where = WRONG[what]
    file.write_text(text)
    result = run("rules", "check", file, "--config", aged)
    assert result.exit_code == 3
    assert str(file) in result.stderr
    assert where in result.stderr
    assert "hint: " in result.stderr
    assert result.stdout == ""


def test_a_file_that_is_not_there_or_not_configured_is_3(aged: Path, tmp_path: Path) -> None:
    assert run("rules", "check", tmp_path / "absent", "--config", aged).exit_code == 3
    result = run("rules", "check", "--shadow", "--config", aged)
    assert result.exit_code == 3
    assert "hint: set [purge] shadow" in result.stderr


def test_check_warns_of_rules_without_objects_and_of_a_low_water_out_of_reach(aged: Path, tmp_path: Path) -> None:
    file = tmp_path / "doubtful.toml"
    file.write_text(
        '[budget]\nmax_bytes = "2MiB"\nhigh_water = 0.1\nlow_water = 0.05\n[pressure]\nkept = "never"\n'
        '[[rule]]\nname = "huge"\nwhen = { size = "> 1GiB" }\nthen = "purge"\n'
        '[[rule]]\nname = "stays"\nwhen = { age = "< 400d" }\nthen = "keep"\n'
    )
    warnings = answer("rules", "check", file, "--config", aged)["warnings"]
    assert any("huge" in text and "decides nothing now" in text for text in warnings)
    assert any("low water cannot be reached" in text for text in warnings)
    assert "warning: " in run("rules", "check", file, "--config", aged).stderr


def test_check_needs_no_data_directory(aged: Path, tmp_path: Path, rules: Path) -> None:
    config = tmp_path / "bare.toml"
    config.write_text(
        f'[node]\ndata_dir = "{tmp_path}/none"\n[listen]\nauth = "none"\n[[bucket]]\nname = "mail"\n'
        f'[purge]\nrules = "{rules}"\n'
    )
    assert answer("rules", "check", "--config", config)["now"] is None


# ---------------------------------------------------------------- show, diff


def test_show_puts_the_rules_in_words(aged: Path, rules: Path) -> None:
    shown = run("rules", "show", "--config", aged).stdout
    assert "3. large and idle: size >= 100KiB and idle > 2d: purge" in shown
    assert run("rules", "show", "--text", "--config", aged).stdout == RULES
    document = answer("rules", "show", "--config", aged)
    assert document["text"] == RULES
    assert len(document["rules"]) == 5, "and what none decides"
    assert run("rules", "show", "7", "--config", aged).exit_code == 2


def test_diff_says_it_in_words_and_line_by_line(aged: Path, rules: Path, new: Path) -> None:
    document = answer("rules", "diff", rules, new, "--config", aged)
    assert any("read once, long ago" in text for text in document["differences"])
    assert any("lfu" in text for text in document["differences"])
    assert '+when = { reads = "<= 1", idle = "> 20d" }' in document["diff"]
    assert run("rules", "diff", rules, rules, "--config", aged).stdout == "no difference\n"


# ---------------------------------------------------------------- apply, restore, history


def test_apply_without_a_node_writes_the_file_and_the_next_start_works_by_it(
    aged: Path, rules: Path, new: Path
) -> None:
    rules.chmod(0o640)
    applied = answer("rules", "apply", new, "--yes", "--reason", "why", "--author", "me", "--config", aged)
    assert applied == {"version": 1, "file": str(rules), "node": False, "live": False}
    assert rules.read_text() == OTHER
    assert rules.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in rules.parent.glob(".rules*")] == [], "no partial file is left"
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        [version] = answer("rules", "history", "--config", aged)
    assert (version["author"], version["reason"], version["text"]) == ("me", "why", OTHER)
    assert version["live_at"] is not None


def test_apply_beside_a_node_waits_until_it_works_by_it(aged: Path, rules: Path, new: Path) -> None:
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        result = run("rules", "apply", new, "--yes", "--config", aged)
        assert result.exit_code == 0, result.output
        assert "version 2 is written" in result.stdout
        assert "and in force" in result.stdout
        assert "read once, long ago" in result.stdout, "the difference"
        assert "purged by a rule" in result.stdout, "what it does to what is on disk"
        assert answer("rules", "show", "--config", aged)["version"] == 2
        restored = answer("rules", "restore", "1", "--yes", "--config", aged)
        assert (restored["version"], restored["live"]) == (3, True)
        history = answer("rules", "history", "--config", aged)
        assert [one["number"] for one in history] == [3, 2, 1]
        assert history[0]["reason"] == "version 1 restored"
        assert rules.read_text() == RULES
        assert run("rules", "history", "--config", aged).exit_code == 0
        assert answer("rules", "diff", "1", "2", "--config", aged)["differences"]


@pytest.mark.parametrize("what", WRONG)
def test_apply_of_a_wrong_file_changes_nothing(aged: Path, rules: Path, tmp_path: Path, what: str) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(WRONG[what][0])
    assert run("rules", "apply", file, "--yes", "--config", aged).exit_code == 3
    assert rules.read_text() == RULES
    assert answer("rules", "history", "--config", aged) == []


def test_apply_asks_before_it_does_anything(
    aged: Path, rules: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("rules", "apply", new, "--config", aged).exit_code == 2, "nobody can be asked"
    monkeypatch.setattr("tierproxy.cli.questions.interactive", lambda: True)
    assert run("rules", "apply", new, "--config", aged).exit_code == 1, "no answer is no"
    assert rules.read_text() == RULES
    assert answer("rules", "history", "--config", aged) == []


def test_a_directory_that_cannot_be_written_is_3_and_no_version_is_recorded(
    aged: Path, rules: Path, new: Path, tmp_path: Path
) -> None:
    aged.write_text(aged.read_text().replace(str(rules), str(tmp_path / "absent" / "rules.toml")))
    result = run("rules", "apply", new, "--yes", "--config", aged)
    assert result.exit_code == 3, result.output
    assert "may this user write there?" in result.stderr
    assert answer("rules", "history", "--config", aged) == []


def test_a_link_goes_on_pointing_to_its_file(aged: Path, rules: Path, new: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    rules.rename(real)
    rules.symlink_to(real)
    answer("rules", "apply", new, "--yes", "--config", aged)
    assert rules.is_symlink()
    assert real.read_text() == OTHER


def test_a_file_changed_by_hand_becomes_a_version_of_the_node(aged: Path, rules: Path) -> None:
    with live_node(aged.parent, sections={"purge": purge_section(rules)}):
        rules.write_text(OTHER)
        until(lambda: len(answer("rules", "history", "--config", aged)) == 2)
        assert answer("rules", "history", "--config", aged)[0]["author"] == "file"
        rules.write_text("nonsense")
        result = run("rules", "show", "--json", "--config", aged)
        assert "cannot be used" in result.stderr
        assert json.loads(result.stdout)["version"] == 2, "the old rules stay"


# ---------------------------------------------------------------- shadow


def test_shadow_rules_are_applied_and_compared(aged: Path, rules: Path, new: Path) -> None:
    shadow = rules.with_name("shadow.toml")
    with live_node(aged.parent, sections={"purge": purge_section(rules, shadow=str(shadow))}):
        assert run("rules", "compare", "--config", aged).exit_code == 3, "there is no shadow yet"
        new.write_text('[[rule]]\nname = "large"\nwhen = { size = "> 100KiB" }\nthen = "purge"\n')
        applied = answer("rules", "apply", new, "--shadow", "--yes", "--config", aged)
        assert applied["live"] is True
        until(lambda: _compared(aged) is not None)
        found = answer("rules", "compare", "--config", aged)
        assert found["live_objects"] == len(MAILS)
        assert set(found) >= {"since", "live", "shadow", "reads", "live_misses", "shadow_misses", "shadow_bytes"}
        shown = run("rules", "compare", "--config", aged)
        assert "objects on disk" in shown.stdout
        assert "the shadow began" in shown.stderr, "it is younger than a week"
        [version] = answer("rules", "history", "--shadow", "--config", aged)
        assert version["kind"] == "shadow"
        assert answer("rules", "show", "--shadow", "--config", aged)["version"] == version["number"]
        assert on_disk(aged) == set(MAILS), "a shadow removes nothing"
    assert set(MAILS) > GO


def _compared(aged: Path) -> Any:
    result = run("rules", "compare", "--json", "--config", aged)
    return json.loads(result.stdout) if result.exit_code == 0 else None
