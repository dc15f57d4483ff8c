#!/usr/bin/env python3
"""Measures the dashboard on a node with a large catalogue (1,000,000 mails unless --entries says otherwise), rules in
force, history on and a week of counters: what an open page costs readers, and how soon its panels have their numbers.

  panels    Chromium opens the page: on a node that has just started for the first time, on one that was started again,
            and on one that runs. Milliseconds from the navigation until a panel says something, and until it has its
            numbers, beside the request it waits for
  offered   readers who ask for --rate objects a second, each when its time has come: the rate that is achieved
  saturated readers who ask as fast as they are answered (wrk, or a client of our own)

Readers run in a process of their own, alternately without and with one open dashboard (A B B A). Node, readers and
dashboard share the machine; so that a browser's own work is not taken for the node's, the dashboard is played by a
small client: exactly the requests that Chromium was seen to make in its first minute, at the same times, the stream of
status events, and /metrics every fifteen seconds. One row has Chromium itself, for comparison. Medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil
import report
import uvloop
from bench_hits import fill, gets
from bench_store import Goal
from crowded import crowd
from dashboard_roles import Opened, Player, browser, dashboard, opened, play, remember_traffic
from keepalive import exchange, has_wrk
from measuring import Sample
from playwright.async_api import Browser
from served import ENVIRONMENT, Failed, Served, config_for, seaweed, workplace

from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, DiskSection, MemorySection, PurgeSection, ScrubSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.embedded import EmbeddedS3

RULES = Path(__file__).resolve().parent.parent / "config" / "rules.toml"
SECOND = 1000.0
NOTED = 62.0  #: seconds that the browser's requests are noted for: the slowest panel asks every 60
FEWER = 0.95
ITS_REQUEST = {
    "How often is a mail read?": "/api/stats/heat", "By age and reads": "/api/stats/heat",
    "Owners": "/api/stats?by=owner", "Rule by rule": "/api/rules?days", "What the next purge takes": "/api/purge/plan",
    "Purge runs": "/api/runs", "Upload queue": "/api/queue", "Over time": "/api/series", "Long work": "/api/jobs",
    "A month, in dollars": "/api/costs", "Versions": "/api/rules/versions", "Shadow beside live": "/api/rules/compare",
    "Charts": "/api/series", "Rule file": "/api/rules?counts", "What it says": "/api/rules/check",
}  # fmt: skip
"""Panels and the beginning of what they ask for; the others show what the stream of events says."""


# ---------------------------------------------------------------- the node


def rules_of(now: float) -> str:
    """config/rules.toml with room for the crowd, and a window that does not open within hours."""
    hour = (int(now // 3600) + 12) % 24
    text = RULES.read_text().replace('"750MB"', '"500TB"').replace('min_free    = "5%"', 'min_free    = "1GB"')
    return text.replace('["00:00-24:00"]', f'["{hour:02}:00-{hour:02}:30"]')


def config_of(directory: Path, alt: EmbeddedS3) -> Config:
    """No scrub: it would miss the files of the crowd."""
    file = directory / "rules.toml"
    file.write_text(rules_of(SystemClock().now()))
    base = config_for(directory, alt.section(), scrub=ScrubSection(enabled=False))
    return replace(
        base, listen=replace(base.listen, auth="none"), memory=MemorySection(max_bytes=Size(128 * 2**20)),
        disk=DiskSection(max_bytes=Size(2**49), min_free=Share(bytes=2**30)),
        purge=PurgeSection(rules=str(file), watch=Duration(3600.0)),
    )  # fmt: skip


def names(objects: int) -> list[str]:
    return [f"hits/{number}" for number in range(objects)]


async def read_all(served: Served, objects: int) -> None:
    requests = gets(served.address, names(objects), None)
    await exchange(served.address, requests, 8, 600, again=False)


async def prepared(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Served:
    """Stopped: some objects are on disk, the catalogue is crowded, and nothing was counted of it yet."""
    await fill(alt, names(options.objects))
    served = Served(directory, config_of(directory, alt))
    served.start()
    try:
        await read_all(served, options.objects)
        await read_all(served, options.objects)
    finally:
        served.stop()
    begin = time.perf_counter()
    await asyncio.to_thread(crowd, directory / "data", options.entries, SystemClock().now())
    await asyncio.to_thread(remember_traffic, directory / "data", SystemClock().now())
    for look in (directory / "data" / "looks").glob("*"):
        look.unlink()
    print(f"{options.entries:,} entries made in {time.perf_counter() - begin:.0f} s", flush=True)
    return served


def admin_of(served: Served) -> tuple[str, str]:
    """The admin port's URL, and the operator's token."""
    data = served.directory / "data"
    return json.loads((data / "admin.json").read_text())["url"], (data / "admin.token").read_text().strip()


def login(served: Served) -> str:
    found = re.search(r"http://\S+", (outcome := served.command("admin", "login")).text)
    if not found:
        raise Failed(f"no link to log in: {outcome.errors}")
    return found[0]


# ---------------------------------------------------------------- results


@dataclass
class Bench:
    tables: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def add(self, title: str, table: str) -> None:
        self.tables.append(f"### {title}\n\n{table}")
        print(f"\n{title}\n\n{table}", flush=True)

    def text(self, directory: Path) -> str:
        facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(directory))
        goals = report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in self.goals])
        return "\n\n".join([facts, *self.tables, f"### Goals\n\n{goals}"])


# ---------------------------------------------------------------- panels


async def measure_panels(options: argparse.Namespace, served: Served, bench: Bench) -> Opened:
    """Returns what was asked for by the page that was open longest."""
    async with browser() as chromium:
        async with dashboard(chromium, await _quiet(served)):
            pass  # the first page of a browser pays for the browser
        first = await _restarted(chromium, served, forget=True)
        again = await _restarted(chromium, served, forget=False)
        async with dashboard(chromium, login(served)) as page:
            warm = await opened(page, admin_of(served)[0], options.noted)
    for title, found in (("first start", first), ("started again", again), ("running", warm)):
        bench.add(f"panels, {title}: ms from the navigation", _panels(found))
    for title, found in (("running", warm), ("started again", again)):
        bench.goals.append(
            Goal(f"panels, {title}: the slowest has its numbers, ms", max(found.shown.values()), SECOND, least=False)
        )
    bench.goals.append(
        Goal("panels, first start: the slowest says something, ms", max(first.said.values()), SECOND, least=False)
    )
    return warm


async def _quiet(served: Served) -> str:
    """Started, and done with its first looks."""
    served.start()
    await asyncio.to_thread(_first_looks, served)
    return login(served)


def _first_looks(served: Served) -> None:
    url, token = admin_of(served)
    for path in ("/api/stats", "/api/rules"):
        query, headers = {"fresh": "true"}, {"authorization": f"Bearer {token}"}
        httpx.get(f"{url}{path}", params=query, headers=headers, timeout=600).raise_for_status()


async def _restarted(chromium: Browser, served: Served, *, forget: bool) -> Opened:
    """The page is opened as soon as the node serves, by a browser that has the files from before."""
    served.stop()
    if forget:
        for look in (served.directory / "data" / "looks").glob("*"):
            look.unlink()
    served.start()
    async with dashboard(chromium, login(served)) as page:
        return await opened(page, admin_of(served)[0], 0.0)


def _panels(found: Opened) -> str:
    lines = []
    for name, shown in sorted(found.shown.items(), key=lambda item: item[1]):
        begin = ITS_REQUEST.get(name, "-")
        its = next(((at, end) for path, at, end in found.asked if path.startswith(begin)), None)
        own = "-" if its is None else f"{its[1] - its[0]:.0f}"
        lines.append([name, f"{found.said[name]:.0f}", f"{shown:.0f}", own])
    lines.append(["the first chart by plotly", "-", f"{found.explorable:.0f}", "-"])
    return report.table(("panel", "says something", "has its numbers", "of it waiting for its request"), lines)


# ---------------------------------------------------------------- readers


@dataclass
class Row:
    """Readers with some company. ``spent``: CPU seconds of the node per thousand objects."""

    name: str
    company: Callable[[], AbstractAsyncContextManager[object]]
    samples: list[Sample] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return statistics.median(one.rate for one in self.samples)

    def cells(self, reference: Row) -> list[str]:
        median = statistics.median(one.milliseconds for one in self.samples)
        late = statistics.median(one.late for one in self.samples)
        spent, before = statistics.median(self.spent), statistics.median(reference.spent)
        return [
            self.name, f"{self.rate:,.0f}", f"{self.rate / reference.rate:.3f}", f"{median:.2f}", f"{late:.2f}",
            f"{spent:.3f}", f"{spent / before:.3f}",
        ]  # fmt: skip


HEAD = ("dashboard", "op/s", "ratio", "median ms", "99% ms", "node's CPU s per 1,000", "ratio")


async def readers(options: argparse.Namespace, served: Served, rate: float) -> tuple[Sample, float]:
    """A round: what they got, and what the node's process spent on a thousand."""
    node = psutil.Process(served.pid)
    before = node.cpu_times()
    address = ":".join(map(str, served.address))
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--role", "load", "--address", address, "--rate", str(rate), "--seconds",
        str(options.seconds), "--objects", str(options.objects), "--dir", str(served.directory),
        stdout=asyncio.subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise Failed("the readers failed")
    after, sample = node.cpu_times(), Sample(**json.loads(output))
    spent = after.user + after.system - before.user - before.system
    return sample, spent / (sample.rate * options.seconds) * 1000


async def measure_rest(options: argparse.Namespace, served: Served, player: Player, bench: Bench) -> None:
    """What an open page costs the node when nobody reads: that much is taken from readers at most."""
    await asyncio.to_thread(_first_looks, served)
    node, lines, shares = psutil.Process(served.pid), [], []
    for name, company in (("none", nobody), ("one open", player.open)):
        before, begin = _by_thread(node), time.perf_counter()
        async with company():
            await asyncio.sleep(options.noted)
        elapsed, after = time.perf_counter() - begin, _by_thread(node)
        spent = {number: after[number] - before.get(number, 0.0) for number in after}
        loop = spent.pop(served.pid)
        shares.append((loop + sum(spent.values())) / elapsed)
        lines.append([name, f"{loop / elapsed:.2%}", f"{sum(spent.values()) / elapsed:.2%}"])
    bench.add(
        f"node without readers, {options.noted:.0f} s: share of a processor",
        report.table(("dashboard", "loop", "other threads"), lines),
    )
    bench.goals.append(
        Goal("node without readers: % of a processor for an open page", 100 * (shares[1] - shares[0]), 5, least=False)
    )


def _by_thread(node: psutil.Process) -> dict[int, float]:
    """CPU seconds of each; the loop's has the number of the process."""
    return {one.id: one.user_time + one.system_time for one in node.threads()}


async def compare(options: argparse.Namespace, served: Served, rate: float, rows: list[Row]) -> None:
    """In turns: A B B A."""
    for number in range(options.rounds):
        for row in rows if number % 2 == 0 else reversed(rows):
            async with row.company():
                sample, spent = await readers(options, served, rate)
            row.samples.append(sample)
            row.spent.append(spent)


@asynccontextmanager
async def nobody() -> AsyncIterator[None]:
    yield


async def measure_readers(options: argparse.Namespace, served: Served, noted: Opened, bench: Bench) -> None:
    url, token = admin_of(served)
    player = Player(url, token, noted.requests, options.noted)
    await read_all(served, options.objects)
    client = "wrk" if has_wrk() else "a client of our own"
    await measure_rest(options, served, player, bench)
    kinds = (
        ("offered", options.rate, f"{options.rate:,.0f} a second offered"),
        ("saturated", 0.0, f"as fast as {client} can"),
    )
    for kind, rate, title in kinds:
        rows = [Row("none", nobody), Row("one open", player.open)]
        await compare(options, served, rate, rows)
        if kind == "offered":
            rows.append(await with_chromium(options, served, rate))
        bench.add(f"readers, {title}", report.table(HEAD, [row.cells(rows[0]) for row in rows]))
        bench.goals.append(Goal(f"readers, {kind}: rate with an open dashboard", rows[1].rate / rows[0].rate, FEWER))
    looks = len(player.looks)
    print(
        f"the played page made {player.played} requests, got {player.events} events and saw {looks} looks at every row"
    )


async def with_chromium(options: argparse.Namespace, served: Served, rate: float) -> Row:
    """One round beside a real browser, whose own work counts against the machine."""
    row = Row("one in Chromium on the same machine", nobody)
    async with browser() as chromium, dashboard(chromium, login(served)):
        sample, spent = await readers(options, served, rate)
    row.samples.append(sample)
    row.spent.append(spent)
    return row


# ---------------------------------------------------------------- the run


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Bench:
    bench = Bench()
    served = await prepared(options, directory, alt)
    try:
        noted = await measure_panels(options, served, bench)
        await measure_readers(options, served, noted, bench)
    finally:
        await asyncio.to_thread(served.stop)
    return bench


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, help="rows of the catalogue (default: %(default)s)")
    parser.add_argument("--objects", type=int, default=3000, help="of 16 KiB that are read (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=2000.0, help="objects offered a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="of each; medians count (default: %(default)s)")
    parser.add_argument("--noted", type=float, default=NOTED, help="seconds of the page to play (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="record the results in docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work; a million entries take 1 GB")
    parser.add_argument("--role", choices=("load",), help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.role:
        return play(options)
    try:
        with workplace(options.dir, 2**30 + options.entries * 2000) as directory, seaweed(directory) as alt:
            bench = uvloop.run(run(options, directory, alt))
            text = bench.text(directory)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    report.conclude("dashboard", text, bench.goals, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
