#!/usr/bin/env python3
"""Measures a catalogue as it grows: 10,000, 100,000, 1,000,000 and 10,000,000 mails (--sizes).

  start   `tierproxy serve` from its exec to the first byte of an object on disk, with nothing of the catalogue in the
          kernel's page cache and with all of it there; and its end
  memory  of a node: after its start, random look-ups, listings, a dry run of config/rules.toml
  steps   look-ups, pages of listings, writes, deletes, read counts, dry runs, pages of candidates for a purge in each
          order, and what the dashboard counts: CPU microseconds, each kind in a process of its own

What does not look at every row may not grow faster than the logarithm of the number of entries. That is judged between
neighbouring sizes from 100,000 entries on, below which the whole catalogue lies in SQLite's own caches. The sizes take
turns (--rounds), and of times the least of the rounds counts: what a step needs is the same each time, and all that a
busy machine does is to add to it. (Medians of three were of a slow minute for one size, of a quick one for another.)

Ten million entries take 10 GB and some minutes to make; --keep leaves them in --dir for the next run. Smaller ones are
made anew each time: pages of a new one are full, a write splits the one it is for, and what an earlier run has split
would be cheaper in a small catalogue, of which a run touches much, than in a large one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import psutil
import report
import scale_roles
import uvloop
from bench_hits import gets
from bench_plan import Child
from bench_store import Goal
from keepalive import exchange, head
from scale_roles import LINEAR, Found, forget_pages, opened, remember_pages, some
from scale_rows import grow, keys, place
from served import BUCKET, ENVIRONMENT, Failed, Served, config_for, seaweed, workplace
from sqlite_pages import Pages

from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, DiskSection, MemorySection, ScrubSection
from tierproxy.config.values import Share, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.mail.names import Naming
from tierproxy.whatif.svg import Axes, Line, lines

SIZES = (10**4, 10**5, 10**6, 10**7)
ENTRY_BYTES = 1200  #: on disk, with room for what is made on the way
JUDGED = 10**5  #: the smallest size of which growth is judged
TOLERANCE = 1.5  #: times the growth of the logarithm: noise, and one more page that no cache holds
OBJECTS = 100  #: with real blobs
CHECKED = 10**6  #: entries up to which all invariants are looked at; ten times as many take minutes
KEPT = 10**7  #: entries from which a run changes too little to be seen by the next one
STARTS = 3
ROUNDS = 3
TIMES = frozenset({"wall", "late", "cpu", "mean"})  #: among the facts of a step
MIB = 2**20
CACHES = {"page cache empty": forget_pages, "page cache full": remember_pages}
CHART = report.PAGE.parent / "charts" / "scale.svg"
GOALS = (2.0, 500.0, 50.0, 20.0)  #: seconds to the first byte, MiB, microseconds of a look-up, seconds of a plan


@dataclass
class Grown:
    """What was found at one size. ``memory``: MiB after each step."""

    entries: int
    steps: Found = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)


# ---------------------------------------------------------------- catalogues


@contextmanager
def place_for(options: argparse.Namespace, entries: int) -> Iterator[Path]:
    """A directory with a catalogue of ``entries``, made unless it was kept. Raises Failed without room for it."""
    if not options.keep:
        with workplace(options.dir, 2**30 + entries * ENTRY_BYTES) as directory:
            make(directory / "data", entries)
            yield directory
        return
    if options.dir is None:
        raise Failed("--keep needs to know where: --dir")
    directory = Path(options.dir) / f"scale-{entries}"
    if entries < KEPT:
        shutil.rmtree(directory, ignore_errors=True)
    if not (directory / "made").exists():
        with workplace(options.dir, 2**30 + entries * ENTRY_BYTES):
            make(directory / "data", entries)
        (directory / "made").touch()
    yield directory


def make(data: Path, entries: int) -> None:
    """Raises Failed when what was made breaks an invariant."""
    begin = time.perf_counter()
    data.mkdir(parents=True, exist_ok=True)
    asyncio.run(broken(data, wanted=False))
    grow(data, entries, SystemClock().now())
    print(f"{entries:,} entries made in {time.perf_counter() - begin:.0f} s", flush=True)
    if wrong := asyncio.run(broken(data, wanted=entries <= CHECKED)):
        raise Failed("; ".join(wrong))


async def broken(data: Path, *, wanted: bool) -> list[str]:
    """Open the catalogue, which makes or migrates it, and say that its owners and folders are classified: else the
    first node does that beside all that is measured. Returns what breaks its invariants, if that is wanted."""
    async with opened(data) as catalogue:
        await catalogue.name_by(Naming(Config().naming, Config().folders).fingerprint())
        return await catalogue.check() if wanted else []


# ---------------------------------------------------------------- a node


def config_of(directory: Path, alt: EmbeddedS3) -> Config:
    """No scrub: it would miss the files. A budget that needs no purge. Every read is from disk."""
    base = config_for(directory, alt.section(), scrub=ScrubSection(enabled=False))
    disk = DiskSection(max_bytes=Size(2**50), min_free=Share(bytes=2**30))
    memory = MemorySection(max_bytes=Size(0))
    return replace(base, disk=disk, memory=memory, listen=replace(base.listen, auth="none"))


def names() -> list[str]:
    return [f"hits/{number}" for number in range(OBJECTS)]


async def put_objects(address: tuple[str, int]) -> None:
    """What is read: real objects with blobs, from which uploads go on to alt."""
    headers = {"host": f"{address[0]}:{address[1]}", "content-length": "16384"}
    puts = [(head("PUT", f"/{BUCKET}/{name}", headers), name[-1:].encode() * 16384) for name in names()]
    await exchange(address, puts, 8, 600, again=False)


async def measure_starts(proxy: Served, grown: Grown, starts: int) -> None:
    data = proxy.directory / "data"
    await asyncio.to_thread(proxy.start)
    await put_objects(proxy.address)
    await asyncio.to_thread(proxy.stop)
    for title, before in CACHES.items():
        taken, used, ended = [], [], []
        for number in range(starts):
            await asyncio.to_thread(before, data)
            begin = time.perf_counter()
            await asyncio.to_thread(proxy.start)
            await exchange(proxy.address, gets(proxy.address, names()[number : number + 1], None), 1, 60, again=False)
            taken.append(time.perf_counter() - begin)
            used.append(sum(psutil.Process(proxy.pid).cpu_times()[:2]))
            begin = time.perf_counter()
            await asyncio.to_thread(proxy.stop)
            ended.append(time.perf_counter() - begin)
        grown.starts |= {
            f"first byte after exec, {title}": statistics.median(taken),
            f"... of a processor, {title}": statistics.median(used),
            f"end after SIGTERM, {title}": statistics.median(ended),
        }


async def measure_memory(proxy: Served, grown: Grown, count: int) -> None:
    child = await Child.start("--role", "serve", "--config", proxy.file)
    try:
        host, _, port = str((await child.answer())["url"]).removeprefix("http://").rpartition(":")
        address = (host, int(port))

        def note(after: str) -> None:
            grown.memory[after] = child.resident() / MIB

        note("start")
        wanted = await asyncio.to_thread(keys, proxy.directory / "data", some(grown.entries, count, 5))
        host_header = {"host": f"{host}:{port}"}
        heads = [(head("HEAD", f"/{BUCKET}/{key}", host_header), b"") for key in wanted]
        await exchange(address, heads, 16, 600, again=False)
        note(f"{count:,} look-ups")
        places = map(place, some(grown.entries, max(count // 500, 1), 6))
        pages = [f"/{BUCKET}?list-type=2&start-after={after}" for after in places]
        await exchange(address, [(head("GET", page, host_header), b"") for page in pages], 4, 600, again=False)
        note(f"{len(pages):,} listings")
        await child.say("plan")
        await child.say("rest")
        await child.answer()
        note("a dry run")
    finally:
        await child.end()


def measure_steps(data: Path, entries: int, share: float) -> Found:
    """Each kind in a process of its own."""
    found: Found = {}
    for role, (_, count) in scale_roles.MEASURES.items():
        line = [sys.executable, __file__, "--role", role, "--data", str(data), "--sizes", str(entries)]
        line += ["--count", str(max(int(count * share), 1))]
        done = subprocess.run(line, stdout=subprocess.PIPE, env=ENVIRONMENT, check=False)
        if done.returncode:
            raise Failed(f"{role} ended with {done.returncode}")
        found.update(json.loads(done.stdout))
    return found


def together(rounds: Sequence[Found]) -> Found:
    """Of each fact of each step: the least of times, the median of what was counted."""
    return {
        step: {
            fact: (min if fact in TIMES else statistics.median)([one[step][fact] for one in rounds]) for fact in facts
        }
        for step, facts in rounds[0].items()
    }


def measured(options: argparse.Namespace) -> list[Grown]:
    """All sizes: their steps in turns, then a node on each."""
    with ExitStack() as places:
        directories = {entries: places.enter_context(place_for(options, entries)) for entries in options.sizes}
        rounds: dict[int, list[Found]] = {entries: [] for entries in directories}
        for number in range(options.rounds):
            for entries, directory in directories.items():
                rounds[entries].append(measure_steps(directory / "data", entries, options.share))
            print(f"round {number + 1} of {options.rounds} measured", flush=True)
        return [measure_node(directory, Grown(entries, together(rounds[entries])), options.share)
                for entries, directory in directories.items()]  # fmt: skip


def measure_node(directory: Path, grown: Grown, share: float) -> Grown:
    with tempfile.TemporaryDirectory(prefix="alt-", dir=directory) as beside, seaweed(Path(beside)) as alt:
        proxy = Served(directory, config_of(directory, alt))
        try:
            uvloop.run(measure_starts(proxy, grown, max(round(STARTS * share), 1)))
            uvloop.run(measure_memory(proxy, grown, max(int(100_000 * share), 500)))
        finally:
            proxy.kill()
    return grown


# ---------------------------------------------------------------- what it says


def growth(found: Sequence[Grown], step: str) -> float:
    """How many times as fast as the logarithm ``step`` grows, between those neighbours where it grows most; 0 when
    there are no two sizes to judge by."""
    judged = [grown for grown in found if grown.entries >= JUDGED]
    ratios = [
        large.steps[step]["cpu"] / small.steps[step]["cpu"] / (math.log(large.entries) / math.log(small.entries))
        for small, large in pairwise(judged)
    ]
    return max(ratios, default=0.0)


def step_table(found: Sequence[Grown], steps: Sequence[str], *, judged: bool) -> str:
    header = ["", *(f"{grown.entries:,}" for grown in found), *(["growth"] if judged else ["each, of the most"])]
    rows = []
    for step in steps:
        last = growth(found, step) if judged else found[-1].steps[step]["cpu"] / found[-1].entries
        rows.append([step, *(shown(grown.steps[step]["cpu"]) for grown in found), f"{last:.2f}"])
    return report.table(header, rows)


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def look_up_table(found: Sequence[Grown]) -> str:
    rows = []
    for step in ("look-up", "look-up, page cache empty"):
        for what, name in (("wall", "median"), ("late", "99 of 100"), ("mean", "CPU, mean")):
            rows.append([f"{step}: {name}", *(shown(grown.steps[step][what]) for grown in found)])
    rows.append(["commits a change, 16 at once", *(f"{grown.steps['PUT']['commits']:.2f}" for grown in found)])
    return report.table(["", *(f"{grown.entries:,}" for grown in found)], rows)


def page_table(found: Sequence[Grown], steps: Sequence[str]) -> str:
    """Means. No goal: they say why a step costs what it does."""
    rows = [
        [step, *(" / ".join(shown(grown.steps[step][what]) for what in Pages._fields) for grown in found)]
        for step in steps
    ]
    return report.table(["found / read / written", *(f"{grown.entries:,}" for grown in found)], rows)


def node_table(found: Sequence[Grown]) -> str:
    rows = [[f"{title}: s", *(f"{grown.starts[title]:.2f}" for grown in found)] for title in found[-1].starts]
    rows += [
        [f"memory after {after}: MiB", *(f"{grown.memory[after]:.0f}" for grown in found)] for after in found[-1].memory
    ]
    return report.table(["", *(f"{grown.entries:,}" for grown in found)], rows)


def goals(found: Sequence[Grown]) -> list[Goal]:
    most = found[-1]
    start, memory, look_up, plan = GOALS
    kinds = [step for step in most.steps if step not in LINEAR]
    return [
        *(
            Goal(
                f"first byte after start, {title}: seconds",
                most.starts[f"first byte after exec, {title}"],
                start,
                least=False,
            )
            for title in CACHES
        ),
        Goal("most memory of the node: MiB", max(most.memory.values()), memory, least=False),
        Goal("look-up, median: us", most.steps["look-up"]["wall"], look_up, least=False),
        Goal("dry run: seconds", most.steps["dry run"]["wall"] / 1e6, plan, least=False),
        *(
            Goal(f"{kind}: growth beside the logarithm", growth(found, kind), TOLERANCE, least=False)
            for kind in kinds
            if kind != "look-up, page cache empty"
        ),
    ]


def chart(found: Sequence[Grown]) -> str:
    """Both axes are logarithms."""
    axes = Axes(
        "What one step costs as the catalogue grows", "CPU time of a step by the number of entries, both logarithmic",
        x=lambda value: f"10^{value:.0f}", y=lambda value: f"{10**value:,.0f} us", x_name="entries",
        y_name="CPU time of one", y_from=None,
    )  # fmt: skip
    chosen = ("look-up", "PUT", "LIST, after a key", "page of a rule run", "page of lru", "page of lfu", "dry run")
    return lines(
        axes,
        [
            Line(step, [(math.log10(grown.entries), math.log10(grown.steps[step]["cpu"])) for grown in found])
            for step in chosen
        ],
    )


def text(found: Sequence[Grown], judged: Sequence[Goal]) -> str:
    where = Path(tempfile.gettempdir())
    facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(where))
    steps: Mapping[str, object] = found[-1].steps
    small = [step for step in steps if step not in LINEAR]
    tables = {
        "steps that look at a part: CPU us; growth beside that of the logarithm": step_table(found, small, judged=True),
        "steps that look at every entry: CPU us": step_table(found, LINEAR, judged=False),
        "look-ups: us": look_up_table(found),
        "pages of 4 KiB: in SQLite's cache, read from the kernel's, written to the log": page_table(found, small),
        "a node": node_table(found),
        "Goals": report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in judged]),
    }
    return "\n\n".join([facts, *(f"### {title}\n\n{table}" for title, table in tables.items())])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="entries, growing (default: 10^4 to 10^7)")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of steps (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of all sizes in turns (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="record the results in docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work; all sizes take 13 GB while they are made")
    parser.add_argument("--keep", action="store_true", help="leave the catalogues in --dir, and use the largest")
    parser.add_argument("--role", choices=tuple(scale_roles.MEASURES), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.role:
        step, _ = scale_roles.MEASURES[options.role]
        print(json.dumps(step(options.data, options.sizes[0], options.count)))
        return 0
    try:
        found = measured(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    judged = goals(found)
    said = text(found, judged)
    print(said[: said.index("### Goals")])
    if options.write:
        CHART.parent.mkdir(exist_ok=True)
        CHART.write_text(chart(found))
    report.conclude("scale", said, judged, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
