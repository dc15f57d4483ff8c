"""The pictures in the documentation, taken of a real node: ``make screenshots``.

python -m tests.browser.pictures DIRECTORY
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.stage import BUCKET, Stage, stage
from tests.browser.test_accessibility import ONE_MORE
from tests.browser.windows import PHONE, Window, launched, missing, window
from tierproxy.embedded import EmbeddedS3

WIDE = (1280, 800)


def main(arguments: Sequence[str]) -> None:
    if missing():
        raise SystemExit(f"not installed: {missing()}")
    folder = Path(arguments[0])
    with (
        tempfile.TemporaryDirectory() as place, EmbeddedS3(Path(place) / "alt") as alt, launched() as browser,
        stage(Path(place) / "node", alt) as node,
    ):  # fmt: skip
        take(browser, node, folder)


def take(browser: Browser, node: Stage, folder: Path) -> None:
    """The start of the page dark and light, a rule that is tried, and a phone."""
    for scheme in ("dark", "light"):
        with window(browser, node.url, WIDE, scheme) as one:
            one.log_in()
            one.page.locator("#series-title").wait_for()
            show(one, "safe", f"dashboard-{scheme}", folder)
            if scheme == "light":
                show(one, "disk", "disk-light", folder)
                try_a_rule(one)
                show(one, "change", "rules-editor", folder)
                one.page.locator("[data-part=simulate]").scroll_into_view_if_needed()
                show(one, "simulate-title", "simulation", folder)
            else:
                explain(one, node)
                show(one, "explain", "explain", folder)
    with window(browser, node.url, PHONE, "dark") as one:
        one.log_in()
        one.page.locator("#rules tbody tr").first.get_by_text("mails").wait_for()
        show(one, "rules", "phone", folder)


def try_a_rule(one: Window) -> None:
    page = one.page
    editor = page.get_by_role("textbox", name="Rule file")
    editor.fill(editor.input_value() + ONE_MORE)
    page.locator("[data-part=difference] table").wait_for()
    page.get_by_role("button", name="Simulate").click()
    page.locator(".beside-table").wait_for()


def explain(one: Window, node: Stage) -> None:
    one.page.get_by_placeholder("bucket/key").fill(f"{BUCKET}/{node.keys[1]}")
    one.page.get_by_role("button", name="Explain", exact=True).click()
    one.page.locator(".judgments").wait_for()


def show(one: Window, anchor: str, name: str, folder: Path) -> None:
    """The window with the part ``anchor`` at its top, with all charts in it drawn."""
    one.page.evaluate("id => document.getElementById(id).scrollIntoView()", anchor)
    one.live()
    one.drawn()
    path = one.picture(name, folder)
    print(path, f"{path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
