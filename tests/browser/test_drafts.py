"""Drafts of rules: kept, compared, never in force by accident."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.stage import Stage
from tests.browser.windows import PHONE, TABLET, window

COMMENT = "# a remark of mine\n"


def test_a_draft_survives_a_reload_and_can_be_given_up(browser: Browser, node: Stage) -> None:
    with window(browser, node.url, TABLET) as one:
        one.log_in()
        editor = one.page.get_by_role("textbox", name="Rule file")
        text = editor.input_value()
        editor.fill(COMMENT + text)
        expect(one.page.locator("#change .verdict")).to_have_text("Your draft is right, and not in force.")
        one.page.reload()
        one.live()
        expect(editor).to_have_value(COMMENT + text)
        one.page.get_by_role("button", name="Give the draft up").click()
        one.page.get_by_role("dialog").get_by_role("button", name="Give it up").click()
        expect(editor).to_have_value(text)


def test_who_is_too_late_is_told_and_nothing_is_lost(browser: Browser, node: Stage) -> None:
    with window(browser, node.url) as one:
        one.expected = ("409",)
        one.log_in()
        editor = one.page.get_by_role("textbox", name="Rule file")
        text = editor.input_value()
        editor.fill(text + COMMENT)
        one.page.locator("[data-part=editor]").get_by_role("button", name="Make live").click()
        dialog = one.page.get_by_role("dialog")
        dialog.wait_for()
        node.apply("# theirs\n" + text)
        dialog.get_by_role("button", name="Make live").click()
        expect(one.page.locator("[data-part=editor]")).to_contain_text("Somebody else was faster: nothing was changed")
        assert node.rules.read_text() == "# theirs\n" + text
        expect(editor).to_have_value(text + COMMENT)
        one.page.get_by_role("button", name="Keep my text").click()
        one.page.locator("[data-part=editor]").get_by_role("button", name="Make live").click()
        dialog.get_by_role("button", name="Make live").click()
        expect(one.page.locator("#change .verdict")).to_contain_text("in force now")
        assert node.rules.read_text() == text + COMMENT
        one.page.get_by_role("button", name="Put version 1 in force").click()
        dialog.get_by_role("button", name="Put version 1 in force").click()
        expect(editor).to_have_value(text)


def test_a_slider_changes_the_number_in_the_text(browser: Browser, node: Stage) -> None:
    with window(browser, node.url) as one:
        one.log_in()
        editor = one.page.get_by_role("textbox", name="Rule file")
        one.page.get_by_role("slider", name="age <").press("ArrowRight")
        expect(editor).to_have_value(editor.input_value().replace('"< 14d"', '"< 21d"'))
        one.page.get_by_role("slider", name="Disk budget").press("ArrowLeft")
        assert 'max_bytes   = "22MB"' in editor.input_value()
        assert 'age = "< 21d"' in editor.input_value()


def test_who_may_only_read_sees_all_and_changes_nothing(browser: Browser, node: Stage) -> None:
    with window(browser, node.url, PHONE, "dark") as one:
        one.log_in("bob")
        for section in ("rules", "change", "costs", "jobs"):
            expect(one.section(section).locator(".verdict").first).not_to_be_empty()
        for name in ("Make live", "Put in shadow", "Purge now", "Restore", "Undo"):
            expect(one.page.get_by_role("button", name=name)).to_have_count(0)
        expect(one.section("change")).to_contain_text("putting rules in force takes the role operate")
        assert one.faults() == []
        assert one.overflow() <= 0
