"""Browser windows on the dashboard: Debian's Chromium, driven by Playwright, that note every request, console message
and violation, and axe-core for accessibility."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.admin.served import PASSWORD

HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
DRAWN = """async () => {
  const seen = [...document.querySelectorAll(".chart")].filter((one) => {
    const { top, bottom, width } = one.getBoundingClientRect();
    return width && bottom > 0 && top < innerHeight;
  });
  while (!seen.every((one) => one.querySelector("svg"))) await new Promise(requestAnimationFrame);
}"""
PICTURES = HERE.parents[1] / "var" / "browser"
"""Where every step of a story leaves a picture; CI keeps ``var``."""

ARGUMENTS = (
    "--no-sandbox",  # tests may run as root in a container
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
DESK, TABLET, PHONE = (1440, 900), (768, 1024), (360, 740)


def chromium() -> str | None:
    """The program; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def missing() -> str:
    """What is not installed for these tests, in words; empty: nothing."""
    found = [] if chromium() else ["chromium (tests/install-debian-packages.sh)"]
    return ", ".join(found + ([] if AXE.is_file() else ["axe-core (tests/browser/install.sh)"]))


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Window:
    """One browser session with its own cookies. ``complaints``: what must not happen."""

    page: Page
    url: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def log_in(self, name: str = "ann") -> None:
        """As a person does; returns when numbers are live."""
        self.page.goto(self.url)
        self.page.get_by_label("Account").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").first.click()
        self.live()

    def live(self) -> None:
        """When the page has heard of the node, and shows no shimmer any more."""
        self.page.locator("#pulse[data-state=live]").wait_for()
        expect(self.page.locator(".waiting")).to_have_count(0)

    def drawn(self) -> None:
        """When every chart that is in the window has its lines."""
        self.page.locator("body").evaluate(DRAWN)

    def section(self, name: str) -> Any:
        return self.page.locator(f"#{name}")

    def picture(self, name: str, folder: Path = PICTURES, *, whole: bool = False) -> Path:
        """What the window shows now."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    def faults(self, place: str = "html") -> list[str]:
        """What axe-core finds against WCAG 2 A and AA at a place (a CSS selector)."""
        self.page.evaluate(AXE.read_text())  # not by a script element: the page's policy forbids it
        result = self.page.evaluate(
            "([place, rules]) => axe.run(place, {runOnly: rules, resultTypes: ['violations']})", [place, RULES]
        )
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in result["violations"]
            for node in one["nodes"]
        ]

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def check(self) -> None:
        """Nothing went wrong on the way, and nobody else was asked for anything."""
        assert self.complaints == []
        assert self.hosts == {urlsplit(self.url).netloc}


@contextmanager
def window(
    browser: Browser, url: str, size: tuple[int, int] = DESK, scheme: Any = "light", **options: Any
) -> Iterator[Window]:
    """Checked at its end."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce",
        has_touch=size == PHONE, **options,
    )  # fmt: skip
    context.set_default_timeout(30_000)
    page = context.new_page()
    one = Window(page, url)
    context.on("request", lambda request: one.hosts.add(urlsplit(request.url).netloc))
    page.on("pageerror", lambda error: one.complaints.append(f"error: {error}"))
    page.on("console", lambda message: _note(one, message))
    try:
        yield one
        one.check()
    finally:
        context.close()


def _note(one: Window, message: ConsoleMessage) -> None:
    """Warnings and errors of the page; a violated policy is one of them."""
    if message.type in {"error", "warning"} and not any(text in message.text for text in one.expected):
        one.complaints.append(f"console: {message.text}")


def in_ci() -> bool:
    """There nothing is skipped."""
    return os.environ.get("CI") == "true"
