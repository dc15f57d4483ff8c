"""Charts are there before plotly is, and whoever opens the page knows the traffic at once."""

from __future__ import annotations

from threading import Event

from playwright.sync_api import Browser, Route, expect

from tests.browser.stage import Stage
from tests.browser.windows import window


def test_a_chart_is_drawn_before_plotly_has_started_and_explored_with_it(browser: Browser, node: Stage) -> None:
    held: list[Route] = []
    gate = Event()

    def hold(route: Route) -> None:
        if gate.is_set():
            route.continue_()
        else:
            held.append(route)

    with window(browser, node.url) as one:
        one.page.route("**/plotly.min*", hold)
        one.log_in()
        sketches = one.page.locator(".plots .sketch")
        expect(sketches).to_have_count(3)
        expect(sketches.nth(1).locator("rect")).not_to_have_count(0)
        assert one.page.locator(".main-svg").count() == 0
        gate.set()
        for route in held:
            route.continue_()
        expect(one.page.locator(".plots .main-svg")).not_to_have_count(0)
        expect(sketches).to_have_count(0)
