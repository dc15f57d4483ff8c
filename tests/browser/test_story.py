"""An operator's morning: log in, look, ask why, write a rule, try it, put it in force, purge, and see what it cost."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.stage import BUCKET, Stage
from tests.browser.windows import DESK, Window, window

NEW_RULE = """
[[rule]]
name = "the rest goes"
when = { size = ">= 4KiB" }
then = "purge"
"""


@pytest.fixture
def pane(browser: Browser, node: Stage) -> Iterator[Window]:
    with window(browser, node.url, DESK) as one:
        yield one


def test_an_operator_finds_out_why_mail_is_on_disk_and_changes_what_stays(pane: Window, node: Stage) -> None:
    page = pane.page
    steps = Steps(pane)
    pane.log_in()
    expect(pane.section("safe")).to_contain_text("All mail is in S3")
    steps.done("logged in")

    reads = page.locator("#fast table").first.locator("tbody tr").first.locator("td").nth(1)
    before = int(reads.inner_text().replace(",", ""))
    node.read(node.keys[5])
    expect(reads).to_have_text(f"{before + 1:,}")
    steps.done("traffic live")

    page.get_by_placeholder("bucket/key").fill(f"{BUCKET}/{node.keys[5]}")
    page.get_by_role("button", name="Explain", exact=True).click()
    expect(pane.section("explain").locator(".verdict")).to_have_text("It stays: the rule “new mail stays” keeps it.")
    expect(page.locator(".judgments li[data-decides=true]")).to_have_count(1)
    steps.done("why it is on disk")

    editor = page.get_by_role("textbox", name="Rule file")
    text = editor.input_value().replace("64KiB", "16KiB")
    wrong = text + NEW_RULE.replace('"purge"', '"prge"')
    editor.fill(wrong)
    expect(page.locator("#change .verdict")).to_have_text("This text cannot be used: it has 1 error.")
    fault = page.locator(".faults li")
    expect(fault).to_contain_text("there is no action 'prge'")
    page.get_by_role("button", name=re.compile(r"^Line \d+$")).click()
    assert selected(editor) == 'then = "prge"'
    expect(button(page.locator("#change"), "Make live")).to_be_disabled()
    steps.done("the fault of a rule")

    page.keyboard.type('then = "purge"')
    expect(page.locator("#change .verdict")).to_have_text("Your draft is right, and not in force.")
    expect(page.locator("[data-part=difference]")).to_contain_text('rule "the rest goes" is new')
    button(page.locator("#change"), "Simulate").click()
    table = page.get_by_role("table", name="Candidates beside one another")
    expect(table.get_by_role("columnheader")).to_have_text(
        ["Measure", "your text", "in force", "no rules (LRU)", "ceiling"]
    )
    expect(page.locator(".simulated .panel-lead")).to_contain_text("Your text would have served")
    table.evaluate("one => one.scrollIntoView()")  # at once: the next report draws another table
    steps.done("simulated")

    button(page.locator("[data-part=editor]"), "Put in shadow").click()
    answer(page.get_by_role("dialog"), "Put in shadow", why="to see what it would miss")
    expect(page.locator("[data-part=versions] tbody tr").first).to_contain_text("to see what it would miss")
    node.read(node.keys[5])
    expect(page.locator("[data-part=shadow] .panel-lead")).to_contain_text("the shadow rules miss")
    steps.done("in the shadow")

    button(page.locator("[data-part=editor]"), "Make live").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(re.compile(r"The next run would purge [1-9]\d* mails? \("))
    steps.done("asked before it is live")
    answer(dialog, "Make live", why="the disk is for what is read")
    expect(page.locator("#change .verdict")).to_have_text(re.compile(r"The text below is version \d+, in force now."))
    assert node.rules.read_text() == text + NEW_RULE
    expect(page.locator("[data-part=versions] tbody tr").first).to_contain_text("the disk is for what is read")
    steps.done("in force")

    gone = page.locator(".going a").first
    button(page.locator("#rules"), "Purge now").click()
    key = gone.text_content() or ""
    answer(page.get_by_role("dialog"), re.compile("^Purge"))
    expect(page.locator("[data-module=plan]")).to_contain_text(re.compile(r"Run \d+ removed [1-9]\d* mails? \("))
    expect(page.locator("#rules .verdict")).to_contain_text("purged within 30 days")
    steps.done("purged")

    node.read(key.removeprefix(f"{BUCKET}/"))
    expect(page.locator("#rules .verdict")).to_contain_text("people wanted 1 of them back", timeout=60_000)
    row = page.get_by_role("table", name="What each rule holds").get_by_role("row", name=re.compile("the rest goes"))
    expect(row).to_contain_text("1 within an hour")
    steps.done("a regret")

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Account")).to_be_visible()
    page.goto(node.url)
    expect(page.get_by_label("Account")).to_be_visible()
    steps.done("logged out")


class Steps:
    """A picture of each, in order."""

    def __init__(self, pane: Window) -> None:
        self._pane = pane
        self._number = 0

    def done(self, name: str) -> None:
        self._number += 1
        self._pane.picture(f"story-{self._number:02}-{name.replace(' ', '-')}")


def button(place: Locator, name: str) -> Locator:
    return place.get_by_role("button", name=name, exact=True).first


def answer(dialog: Locator, name: str | re.Pattern[str], why: str = "") -> None:
    if why:
        dialog.get_by_label("Why").fill(why)
    dialog.get_by_role("button", name=name).last.click()
    expect(dialog).to_have_count(0)


def selected(editor: Locator) -> str:
    return str(editor.evaluate("one => one.value.slice(one.selectionStart, one.selectionEnd)"))
