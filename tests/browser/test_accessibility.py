"""Everybody can use the dashboard: axe-core finds nothing against WCAG 2 A and AA, whatever the window shows."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.stage import BUCKET, Stage
from tests.browser.windows import DESK, PHONE, Window, window

SIZES = [DESK, PHONE]
ONE_MORE = '\n[[rule]]\nname = "large"\nwhen = { size = ">= 4KiB" }\nthen = "purge"\n'


@pytest.mark.parametrize("size", SIZES, ids=["desktop", "phone"])
def test_no_page_and_no_state_of_it_keeps_anybody_out(browser: Browser, node: Stage, size: tuple[int, int]) -> None:
    with window(browser, node.url, size) as one:
        one.page.goto(node.url)
        one.page.get_by_label("Account").wait_for()
        both_themes(one, "html", "the login")
        one.log_in()
        fill_everything(one, node)
        both_themes(one, "html", "the dashboard", picture=f"everything-{size[0]}")
        assert one.overflow() <= 0
        with_faults(one)
        both_themes(one, "#change", "a text with faults")
        ask(one)
        both_themes(one, "dialog", "a question")


def both_themes(one: Window, place: str, what: str, picture: str = "") -> None:
    for scheme in ("light", "dark"):
        one.page.emulate_media(color_scheme=scheme)
        if picture:
            one.picture(f"{picture}-{scheme}", whole=True)
        assert one.faults(place) == [], f"{what}, {scheme}"


def fill_everything(one: Window, node: Stage) -> None:
    """Every panel has something to say, and says all of it."""
    page = one.page
    page.get_by_placeholder("bucket/key").fill(f"{BUCKET}/{node.keys[0]}")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.locator(".judgments").wait_for()
    editor = page.get_by_role("textbox", name="Rule file")
    editor.fill(editor.input_value() + ONE_MORE)
    page.locator("[data-part=difference] table").wait_for()
    if not page.locator(".beside-table").count():  # the node keeps the last one, and shows it to everybody
        page.get_by_role("button", name="Simulate").click()
        page.locator(".beside-table").wait_for()
    for title in page.locator("details > summary:visible").all():
        title.click()
    one.live()


def with_faults(one: Window) -> None:
    editor = one.page.get_by_role("textbox", name="Rule file")
    editor.fill(editor.input_value().replace("purge", "prge"))
    one.page.locator(".faults li[data-level=error]").first.wait_for()


def ask(one: Window) -> None:
    """A question before something is changed."""
    editor = one.page.get_by_role("textbox", name="Rule file")
    editor.fill(editor.input_value().replace("prge", "purge"))
    button = one.page.locator("[data-part=editor]").get_by_role("button", name="Make live")
    expect(button).to_be_enabled()
    button.click()
    one.page.get_by_role("dialog").wait_for()
