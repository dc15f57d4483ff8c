"""Rules at the desk: faults with line and fix, words, what stands and what a file replacement leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tierproxy.config.sections import Config, DiskSection
from tierproxy.config.values import Size
from tierproxy.desk import rules as desk
from tierproxy.desk.applying import Replacement, remove_file, replace_file
from tierproxy.desk.plan import Wanted
from tierproxy.desk.wishes import WrongWish
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError, DiskUnavailable

NOW = 1_700_000_000.0
RULE = '[[rule]]\nname = "{}"\nwhen = {{ {} }}\nthen = "purge"\n'


def faults(text: str, config: Config | None = None) -> list[tuple[str, int, str]]:
    return [(one.level, one.line, one.rule) for one in desk.check(config or Config(), text, NOW).faults]


# ---------------------------------------------------------------- faults


def test_every_fault_of_the_language_has_its_line() -> None:
    text = RULE.format("a", 'colour = "red"') + RULE.format("b", 'age = "> 3 moons"')
    found = desk.check(Config(), text, NOW)
    assert faults(text) == [("error", 3, ""), ("error", 7, "")]
    assert all(one.fix for one in found.faults)
    assert found.errors == [f"the text line {one.line}: {one.text}; {one.fix}" for one in found.faults]


@pytest.mark.parametrize(("text", "line"), [("[[rule\n", 1), ('[[rule]]\nname = "a', 2), ("", 0)])
def test_what_is_no_rule_file_at_all_has_a_place_and_advice(text: str, line: int) -> None:
    found = desk.check(Config(), text, NOW)
    assert [one.line for one in found.faults] == [line]
    assert all(one.fix for one in found.faults)
    assert found.rules == 0


def test_a_contradiction_is_an_error_of_its_rule() -> None:
    assert faults(RULE.format("never", 'age = ["< 1d", "> 2d"]')) == [("error", 1, "never")]


def test_a_rule_that_is_never_reached_is_named_with_its_line_and_fix() -> None:
    text = RULE.format("all", 'size = ">= 0"') + RULE.format("after it", 'age = "> 1d"')
    [fault] = desk.check(Config(), text, NOW).faults
    assert (fault.level, fault.line, fault.rule) == ("error", 5, "after it")
    assert fault.fix == 'move "all" to the end of the file'


def test_a_budget_of_a_bucket_nobody_has_is_a_warning_with_its_line() -> None:
    config = Config(disk=DiskSection(max_bytes=Size(2**30)))
    text = RULE.format("a", 'age = "> 1d"') + '[budget.bucket.nowhere]\nmax_bytes = "1MiB"\n'
    found = desk.check(config, text, NOW)
    assert [(one.level, one.line) for one in found.faults] == [("warning", 6)]
    assert found.warnings[0].startswith("line 6: ")
    assert found.errors == []


# ---------------------------------------------------------------- wishes


@pytest.mark.parametrize("wanted", [("", "", True), ("mail", "a rule", True), ("/key", "", False)])
def test_a_wish_that_contradicts_itself_is_refused(wanted: tuple[str, str, bool]) -> None:
    with pytest.raises(WrongWish):
        Wanted(*wanted)


def test_a_target_is_a_bucket_and_a_prefix() -> None:
    wanted = Wanted("mail/alice/INBOX/")
    assert (wanted.bucket, wanted.prefix) == ("mail", "alice/INBOX/")


# ---------------------------------------------------------------- the file


class Failing(Files):
    """``kind`` fails."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def call(self, kind: str, function: object, *args: object) -> object:  # type: ignore[override]
        if kind == self._kind:
            raise OSError(5, "it is broken")
        return function(*args)  # type: ignore[operator]


@pytest.mark.parametrize("kind", ["create", "write_at", "fsync", "rename"])
def test_a_replacement_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "rules.toml"
    target.write_text("old")
    with pytest.raises(ConfigError) as raised:
        replace_file(target, "new", Failing(kind), before=lambda: None)
    assert raised.value.hint == "may this user write there?"
    assert [path.name for path in tmp_path.iterdir()] == ["rules.toml"]
    assert target.read_text() == "old"


def test_what_speaks_against_it_at_the_last_moment_leaves_nothing(tmp_path: Path) -> None:
    def refuse() -> None:
        raise DiskUnavailable("no")

    with pytest.raises(DiskUnavailable):
        replace_file(tmp_path / "rules.toml", "new", Files(), before=refuse)
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_keeps_permissions_and_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real.toml", tmp_path / "rules.toml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    replacement = Replacement(link, "new", Files())
    replacement.prepare()
    assert real.read_text() == "old"
    replacement.commit()
    assert (real.read_text(), real.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
    replacement.discard()
    assert link.read_text() == "new"


def test_a_new_file_can_be_read_by_the_node(tmp_path: Path) -> None:
    replace_file(tmp_path / "rules.toml", "new", Files(), before=lambda: None)
    assert (tmp_path / "rules.toml").stat().st_mode & 0o777 == 0o644


def test_a_file_is_removed_once_and_a_failure_is_told(tmp_path: Path) -> None:
    target = tmp_path / "shadow.toml"
    target.write_text("x")
    with pytest.raises(ConfigError, match="cannot remove"):
        remove_file(target, Failing("unlink"))
    remove_file(target, Files())
    remove_file(target, Files())
    assert os.listdir(tmp_path) == []
