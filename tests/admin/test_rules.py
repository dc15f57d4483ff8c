"""/rules: what an editor is told, and rules put in force by the node itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.admin.changing import ALL, OTHER, RULES, changing, on_disk, stored

WRONG = '[[rule]]\nname = "a"\nwhen = { colour = "red" }\nthen = "purge"\n'


# ---------------------------------------------------------------- looking


async def test_a_wrong_text_is_told_with_line_and_fix(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        checked = await node.post("/rules/check", client=node.reader, text=WRONG)
        [fault] = checked["faults"]
        assert (fault["level"], fault["line"]) == ("error", 3)
        assert "colour" in fault["text"]
        assert fault["fix"]
        assert checked["errors"] == [f"the text line 3: {fault['text']}; {fault['fix']}"]


async def test_a_text_that_is_no_toml_has_its_line(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        [fault] = (await node.post("/rules/check", text='[[rule]]\nname = "a'))["faults"]
        assert (fault["line"], fault["level"]) == (2, "error")


async def test_a_good_text_is_told_its_words_and_with_effects_what_it_matches(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        await stored(node, 3)
        quick = await node.post("/rules/check", text=RULES)
        assert (quick["rules"], quick["faults"], quick["now"]) == (1, [], None)
        assert quick["words"][0] == "1. large: size >= 100KiB: purge"
        slow = await node.post("/rules/check", text=RULES, effects=True)
        assert slow["now"]["rules"][0]["rule"] == "large"


async def test_a_misspelt_field_is_refused(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        problem = await node.post("/rules/check", 422, text=RULES, efects=True)
        assert "efects" in problem["detail"]


async def test_what_is_in_force_is_told_with_text_words_and_counts(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        held = await node.get("/rules")
        assert (held["version"], held["text"], held["kind"]) == (1, RULES, "live")
        assert [one["rule"] for one in held["rules"]] == ["large", None]
        assert held["file"] == str(node.rules)
        await node.get("/rules", 404, version=9)


async def test_an_editor_is_told_what_is_in_force_without_a_look_at_every_object(tmp_path: Path) -> None:
    async with changing(tmp_path, text=RULES) as node:
        await stored(node, 2)
        held = await node.get("/rules", counts=False)
        assert (held["version"], held["text"], held["file"]) == (1, RULES, str(node.rules))
        assert [rule["objects"] for rule in held["rules"]] == [0, 0]
        assert "0 questions" in repr(node.snapshots)


async def test_what_rules_hold_and_what_would_go_is_one_look(tmp_path: Path) -> None:
    async with changing(tmp_path, text=RULES) as node:
        await stored(node, 2)
        held, plan = await node.get("/rules"), await node.get("/purge/plan", limit=1)
        week = await node.get("/rules", days=7)
        assert held["computed_at"] == plan["computed_at"] == week["computed_at"]
        assert (held["days"], week["days"]) == (30, 7)
        assert len(plan["objects"]) == min(1, plan["total"]["objects"])
        assert "1 questions" in repr(node.snapshots)
        alone = await node.get("/purge/plan", limit=21)
        assert alone["total"] == plan["total"]
        assert alone["stays"] == plan["stays"]
        assert [rule["objects"] for rule in held["rules"][:1]] == [rule["objects"] for rule in alone["rules"]]


async def test_a_difference_is_told_in_words_lines_and_effects(tmp_path: Path) -> None:
    async with changing(tmp_path, text=RULES) as node:
        found = await node.post("/rules/diff", client=node.reader, text=OTHER, effects=True)
        assert any("200KiB" in line for line in found["changes"])
        assert '+when = { size = ">= 200KiB" }' in found["unified"]
        assert {one["what"] for one in found["effects"]} >= {"purged by a rule", "left to pressure"}
        assert (found["old"], found["diff"]) == (found["before"], found["unified"])
        await node.post("/rules/diff", 422, text=WRONG)


# ---------------------------------------------------------------- putting in force


async def test_applied_rules_are_in_force_when_it_answers(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        applied = await node.post("/rules/apply", text=OTHER, reason="larger mails", base=1)
        assert applied == {"version": 2, "file": str(node.rules), "node": True, "live": True}
        assert node.in_force == 2
        assert node.rules.read_text() == OTHER
        assert [path.name for path in tmp_path.glob(".rules*")] == []
        [newest, _] = await node.get("/rules/versions")
        assert (newest["author"], newest["reason"], newest["text"]) == ("ann", "larger mails", "")
        assert newest["live_at"] is not None
        assert (await node.get("/rules/versions/2"))["text"] == OTHER
        assert (await node.get("/rules/versions", texts=True))[0]["text"] == OTHER
        again = await node.post("/rules/apply", text=OTHER)
        assert again["version"] == 2, "what stands makes no version"


async def test_who_began_with_an_older_version_is_told_and_nothing_changes(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        await node.post("/rules/apply", text=OTHER, base=1)
        problem = await node.post("/rules/apply", 409, text=ALL, base=1)
        assert "version 2" in problem["detail"]
        assert "by ann is in force" in problem["detail"]
        assert problem["hint"]
        assert node.rules.read_text() == OTHER
        assert node.in_force == 2


async def test_of_two_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        texts = (OTHER, ALL)
        answers = await asyncio.gather(
            *(node.operator.post("/api/rules/apply", json={"text": text, "base": 1}) for text in texts)
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        won = next(text for text, answer in zip(texts, answers, strict=True) if answer.status_code == 200)
        assert node.rules.read_text() == won
        assert len(await node.get("/rules/versions")) == 2


async def test_what_was_written_by_hand_meanwhile_is_a_conflict_too(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        node.rules.write_text(OTHER)
        problem = await node.post("/rules/apply", 409, text=ALL, base=1)
        assert "by file" in problem["detail"]
        assert node.rules.read_text() == OTHER


async def test_wrong_rules_change_nothing(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        problem = await node.post("/rules/apply", 422, text=WRONG)
        assert "line 3" in problem["detail"]
        assert node.rules.read_text() == RULES
        assert len(await node.get("/rules/versions")) == 1


async def test_without_a_configured_file_the_problem_says_what_to_set(tmp_path: Path) -> None:
    async with changing(tmp_path, text=None) as node:
        problem = await node.post("/rules/apply", 422, text=RULES)
        assert "[purge] rules" in problem["hint"]
        problem = await node.post("/rules/apply", 422, text=RULES, kind="shadow")
        assert "[purge] shadow" in problem["hint"]


async def test_a_file_that_cannot_be_written_is_told_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    async with changing(tmp_path, rules=str(tmp_path / "gone" / "rules.toml")) as node:
        (tmp_path / "gone").rmdir()
        problem = await node.post("/rules/apply", 422, text=OTHER)
        assert "cannot write" in problem["detail"]
        assert problem["hint"] == "may this user write there?"
        assert await node.get("/rules/versions") == []


async def test_an_account_that_may_read_changes_nothing(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        for path, body in (
            ("apply", {"text": OTHER}),
            ("restore", {"version": 1}),
            ("promote", {}),
            ("shadow/end", {}),
        ):
            await node.post(f"/rules/{path}", 403, client=node.reader, **body)
        assert node.in_force == 1


async def test_an_earlier_version_is_restored_as_a_new_one(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        await node.post("/rules/apply", text=OTHER)
        restored = await node.post("/rules/restore", version=1)
        assert (restored["version"], restored["live"]) == (3, True)
        assert node.rules.read_text() == RULES
        assert (await node.get("/rules/versions"))[0]["reason"] == "version 1 restored"
        await node.post("/rules/restore", 404, version=99)


async def test_a_change_is_logged_with_who_and_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with changing(tmp_path) as node:
        await node.post("/rules/apply", text=OTHER, reason="larger")
    said = [getattr(record, "facts", {}) for record in caplog.records]
    assert any("ann" in facts.values() and facts.get("version") == 2 for facts in said)


async def test_counts_are_told_anew_after_a_change(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        await node.get("/rules")
        await node.post("/rules/apply", text=OTHER)
        assert (await node.get("/rules", fresh=True))["version"] == 2


# ---------------------------------------------------------------- shadow


async def test_shadow_rules_are_put_beside_compared_promoted_and_ended(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        keys = await stored(node, 2)
        await node.get("/rules/compare", 404)
        await node.post("/rules/promote", 404)
        await node.post("/rules/shadow/end", 404)
        applied = await node.post("/rules/apply", text=OTHER, kind="shadow")
        assert applied["live"] is True
        assert (await node.get("/rules", kind="shadow"))["text"] == OTHER
        assert (await node.get("/rules/compare", days=3))["days"] == 3
        promoted = await node.post("/rules/promote")
        assert (promoted["live"], node.rules.read_text()) == (True, OTHER)
        newest = (await node.get("/rules/versions"))[0]
        assert newest["reason"] == f"shadow version {applied['version']} promoted"
        await node.post("/rules/shadow/end", 204)
        assert not node.shadow.exists()
        assert node.rig.parts.purges.live.shadow is None
        await node.get("/rules/compare", 404)
        assert on_disk(node, keys) == set(keys)
