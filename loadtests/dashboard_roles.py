"""What ``bench_dashboard.py`` sets against the node: a real browser, the requests it made played again, and readers."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from bench_hits import gets
from keepalive import KeepAlive, exchange, has_wrk, wrk
from measuring import Sample
from playwright.async_api import Browser, Page, Request, async_playwright
from served import Failed

from tierproxy.catalogue import catalogue_file

PACED = 16  #: connections of the steady client
SATURATING = 32
SCRAPED = 15.0  #: seconds between two looks at /metrics
LONGEST = 120.0
SIZE = {"width": 1440, "height": 1400}  #: the first charts are on the screen
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
# When each panel first says something, and when it has its numbers (or says that there are none).
WATCH = """
window.seen = {};
const look = () => {
  for (const body of document.querySelectorAll(".panel-body, .panel-body *")) {
    const state = body.dataset.state;
    if (!state || state === "loading") continue;
    const panel = body.closest(".panel");
    const name = panel.querySelector("h3")?.textContent ?? panel.getAttribute("aria-label");
    const one = (window.seen[name] ??= {});
    one.said ??= performance.now();
    if (state !== "counting") one.shown ??= performance.now();
  }
  if (document.querySelector(".chart svg")) (window.seen["Charts"] ??= {}).shown ??= performance.now();
  if (document.querySelector(".chart .main-svg")) window.explorable ??= performance.now();
};
const changes = {subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"]};
new MutationObserver(look).observe(document, changes);
"""
ASKED = "() => performance.getEntriesByType('resource').map((one) => [one.name, one.startTime, one.responseEnd])"


# ---------------------------------------------------------------- a browser


@dataclass
class Opened:
    """A page that was opened. Milliseconds from the navigation by panel: ``said`` something, ``shown`` its numbers;
    ``explorable``: the first chart is plotly's, with values under the pointer; before that it is a drawing.
    ``asked``: path, begin and end of requests to the API. ``requests``: (seconds, path) of everything it asked for."""

    said: dict[str, float] = field(default_factory=dict)
    shown: dict[str, float] = field(default_factory=dict)
    explorable: float = 0.0
    asked: list[tuple[str, float, float]] = field(default_factory=list)
    requests: list[tuple[float, str]] = field(default_factory=list)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium without a window. Raises Failed without one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise Failed("no browser: apt-get install chromium")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield found
        finally:
            await found.close()


@asynccontextmanager
async def dashboard(browser: Browser, link: str) -> AsyncIterator[Page]:
    """A page of a browser that is logged in by ``link`` and has the static files: it shows the dashboard."""
    context = await browser.new_context(viewport=SIZE, bypass_csp=True)  # type: ignore[arg-type]
    try:
        await context.add_init_script(WATCH)
        page = await context.new_page()
        await page.goto(link)
        await page.wait_for_selector("#safe .panel-body[data-state=ready]", timeout=LONGEST * 1000)
        yield page
    finally:
        await context.close()


async def opened(page: Page, url: str, seconds: float) -> Opened:
    """Open the dashboard at ``url`` and look at it until all panels have their numbers, for ``seconds`` at least."""
    found, begin = Opened(), time.monotonic()

    def note(request: Request) -> None:
        parts = urlsplit(request.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        found.requests.append((time.monotonic() - begin, path))

    page.on("request", note)
    await page.goto(url, wait_until="commit")
    await page.wait_for_function("Object.keys(window.seen).length > 0", timeout=LONGEST * 1000)
    await page.wait_for_timeout(max(seconds, 3) * 1000)
    await page.wait_for_function(
        "Object.values(window.seen).every((one) => one.shown) && window.explorable",
        timeout=LONGEST * 1000,
    )
    page.remove_listener("request", note)
    for name, times in (await page.evaluate("() => window.seen")).items():
        found.shown[name], found.said[name] = times["shown"], times.get("said", times["shown"])
    found.explorable = await page.evaluate("() => window.explorable")
    for address, start, end in await page.evaluate(ASKED):
        parts = urlsplit(address)
        if parts.path.startswith("/api/") and end:
            found.asked.append((f"{parts.path}?{parts.query}".rstrip("?"), start, end))
    return found


# ---------------------------------------------------------------- its requests, played


class Player:
    """An open dashboard without a browser: the requests that a real page made, at the same times after it was opened,
    and its event stream; and /metrics as a Prometheus scrapes it. From one ``open`` to the next the page goes on where
    it was; behind its last request it is opened anew."""

    def __init__(self, url: str, token: str, requests: Sequence[tuple[float, str]], length: float) -> None:
        """``requests``: as ``Opened`` has them, without the static files, which a browser has. ``length``: seconds that
        they were noted for."""
        self._url = url
        self._headers = {"authorization": f"Bearer {token}", "accept-encoding": "gzip"}
        self._requests = [
            (at, path) for at, path in requests if not path.startswith("/static/") and "/events" not in path
        ]
        self._next = 0
        self._length = length
        self._at = 0.0
        self.played = 0
        self.failed: list[str] = []
        self.events = 0
        self.looks: set[float] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self._url, headers=self._headers, timeout=LONGEST)
            )
            tasks = [
                asyncio.create_task(work(client)) for work in (self._play, self._listen, self._scrape)
            ]  # fmt: skip
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                broken = [repr(error) for error in ended if not isinstance(error, asyncio.CancelledError)] + self.failed
                if broken:
                    raise Failed(f"the played page broke: {broken[0]}")

    async def _play(self, client: httpx.AsyncClient) -> None:
        asking: set[asyncio.Task[None]] = set()
        begin = time.monotonic() - self._at
        try:
            while True:
                while self._next < len(self._requests):
                    at, path = self._requests[self._next]
                    await asyncio.sleep(begin + at - time.monotonic())
                    self._next += 1
                    asking.add(task := asyncio.create_task(self._ask(client, path)))
                    task.add_done_callback(asking.discard)
                await asyncio.sleep(begin + self._length - time.monotonic())
                begin, self._next = time.monotonic(), 0
        finally:
            self._at = time.monotonic() - begin
            for task in asking:
                task.cancel()

    async def _ask(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        self.played += 1
        if answer.status_code >= 500:
            self.failed.append(f"{path} was answered {answer.status_code}")
        if path.startswith(("/api/stats", "/api/rules?")) and "computed_at" in answer.text:
            self.looks.add(answer.json()["computed_at"])

    async def _listen(self, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/api/status/events") as answer:
            async for line in answer.aiter_lines():
                self.events += line.startswith("data:")

    async def _scrape(self, client: httpx.AsyncClient) -> None:
        while True:
            await client.get("/metrics")
            await asyncio.sleep(SCRAPED)


# ---------------------------------------------------------------- readers


async def steady(
    address: tuple[str, int], requests: Sequence[tuple[bytes, bytes]], rate: float, seconds: float
) -> Sample:
    """``rate`` requests a second, each due at its time however long those before took, over ``PACED`` connections.
    Milliseconds are from that time to the last byte."""
    connections = [await KeepAlive.open(*address) for _ in range(PACED)]
    taken: list[float] = []
    begin = time.perf_counter()

    async def loop(number: int, connection: KeepAlive) -> None:
        while (due := number / rate) < seconds and time.perf_counter() - begin < seconds + 1:
            wait = begin + due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            request, body = requests[number % len(requests)]
            if await connection.ask(request, body) >= 300:
                raise Failed("a read failed")
            taken.append(time.perf_counter() - begin - due)
            number += PACED

    try:
        await asyncio.gather(*(loop(number, one) for number, one in enumerate(connections)))
    finally:
        for connection in connections:
            connection.close()
    elapsed = max(time.perf_counter() - begin, seconds)
    late = statistics.quantiles(taken, n=100)[98]
    return Sample(len(taken) / elapsed, statistics.median(taken) * 1000, late * 1000)


def play(options: argparse.Namespace) -> int:
    """The readers, in a process of their own. ``--rate`` 0: as fast as the node answers."""
    host, _, port = options.address.rpartition(":")
    names = [f"hits/{number}" for number in range(options.objects)]
    requests = gets((host, int(port)), names, None)
    if options.rate:
        sample = asyncio.run(steady((host, int(port)), requests, options.rate, options.seconds))
    elif has_wrk():
        heads = [request for request, _ in requests]
        sample = asyncio.run(wrk(Path(options.dir), (host, int(port)), heads, SATURATING, options.seconds))
    else:
        sample = asyncio.run(exchange((host, int(port)), requests, SATURATING, options.seconds, again=True))
    print(json.dumps(asdict(sample)), flush=True)
    return 0


def remember_traffic(data: Path, now: float) -> None:
    """Counters of a week of hours and six hours of minutes, as many as the node of ``data``, which is stopped, has
    names for: a status sums them up."""
    hour, minute = now // 3600 * 3600, now // 60 * 60
    with closing(sqlite3.connect(catalogue_file(data), isolation_level=None)) as connection, suppress(sqlite3.Error):
        names = [row[0] for row in connection.execute("SELECT DISTINCT counter FROM rollup")]
        for span, last, times in ((3600, hour, 24 * 7), (60, minute, 360)):
            rows = [(span, last - back * span, name, 1000 + back) for back in range(1, times) for name in names]
            connection.execute("BEGIN")
            connection.executemany("INSERT OR IGNORE INTO rollup VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
