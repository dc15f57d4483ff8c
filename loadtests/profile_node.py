#!/usr/bin/env python3
"""A node under load of one kind, and where its time goes: a flame graph, a file for speedscope, a table of functions.

Kinds: hit-memory, hit-disk, miss (passed through, nothing is filled), put (new objects, ack both). A SeaweedFS and a
``tierproxy serve`` are started; clients ask for objects of 16 KiB over 32 connections, signed (SigV4), while py-spy
looks at the node a hundred times a second. To ./var/profile are written:

    KIND.svg               flame graph: open it in a browser
    KIND.speedscope.json   the same, in the order of time: open it at https://www.speedscope.app
    KIND.txt               the functions with most time of their own, and what the kernel took

py-spy reads the memory of another process: where the system allows that to root alone, run this as root.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench_hits import CONNECTIONS, OBJECTS, SIZE, fill, gets
from keepalive import exchange, head, signed
from profiles.processor import Spent
from profiles.stacks import Stacks
from served import ACCESS_KEY_ID, BUCKET, SECRET, Failed, Served, config_for, seaweed, workplace

from tierproxy.config.sections import Config, FillSection, MemorySection
from tierproxy.config.values import Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import FillPolicy

KEY = (ACCESS_KEY_ID, SECRET)
RATE = 100  #: samples a second
FASTEST = 1500  #: more PUTs a second than a node makes: so many are prepared
SHOWN = 25
SPARE = 10.0  #: seconds of load beyond the recordings
Requests = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of load, and what the node is configured with for it."""

    name: str
    memory: bool = True
    fills: bool = True
    writes: bool = False

    def config(self, config: Config, workers: int) -> Config:
        config = replace(config, listen=replace(config.listen, workers=workers))
        if not self.memory:
            config = replace(config, memory=MemorySection(max_bytes=Size(0)))
        return config if self.fills else replace(config, fill=FillSection(policy=FillPolicy.NEVER))


KINDS = {
    one.name: one
    for one in (
        Kind("hit-memory"), Kind("hit-disk", memory=False), Kind("miss", memory=False, fills=False),
        Kind("put", writes=True),
    )
}  # fmt: skip


def puts(address: tuple[str, int], count: int) -> Requests:
    """PUTs of ``count`` new objects."""
    host, body = f"{address[0]}:{address[1]}", bytes(range(256)) * (SIZE // 256)
    paths = (f"/{BUCKET}/profile/{number}" for number in range(count))
    length = {"content-length": str(SIZE)}
    return [(head("PUT", path, signed("PUT", host, path, KEY, body) | length), body) for path in paths]


def requests_of(kind: Kind, proxy: Served, names: list[str], seconds: float) -> Requests:
    return puts(proxy.address, int(seconds * FASTEST)) if kind.writes else gets(proxy.address, names, KEY)


async def record(proxy: Served, out: Path, form: str, seconds: float) -> None:
    """One recording of the node and its workers. Raises Failed."""
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}")
    if program is None:
        raise Failed("no py-spy: pip install 'tierproxy[dev]'")
    workers = ["--subprocesses"] if proxy.config.listen.workers else []
    process = await asyncio.create_subprocess_exec(
        program, "record", "--pid", str(proxy.pid), *workers, "--function", "--rate", str(RATE),
        "--duration", str(max(1, round(seconds))), "--format", form, "--output", str(out),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode or not out.exists():
        raise Failed(f"py-spy: {output[-800:]}")


async def profile(kind: Kind, proxy: Served, names: list[str], out: Path, seconds: float) -> str:
    """Write the files of one kind; returns the table. Raises Failed, also when the load failed meanwhile."""
    requests = requests_of(kind, proxy, names, 2 * seconds + SPARE)
    if not kind.writes:
        for _ in range(2):  # a miss and its fill; then from disk into memory
            await exchange(proxy.address, requests, 8, 60, again=False)
            await asyncio.sleep(0.2)
    load = asyncio.create_task(
        exchange(proxy.address, requests, CONNECTIONS, 2 * seconds + SPARE, again=not kind.writes)
    )  # fmt: skip
    try:
        before = Spent.by(proxy.pid)
        await record(proxy, out / f"{kind.name}.svg", "flamegraph", seconds)
        await record(proxy, out / f"{kind.name}.speedscope.json", "speedscope", seconds)
        spent = Spent.by(proxy.pid).since(before)
        if load.done():
            load.result()
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)
    stacks = Stacks.read(out / f"{kind.name}.speedscope.json")
    if not stacks.samples:
        raise Failed(f"{kind.name}: the node was never seen at work")
    text = f"{kind.name}: {stacks.samples} samples; {spent.shares()}\n\n{stacks.table(SHOWN)}\n"
    (out / f"{kind.name}.txt").write_text(text)
    return text


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> None:
    names = [f"profile/cold/{number}" for number in range(OBJECTS)]
    await fill(alt, names)
    for name in options.kinds or KINDS:
        kind = KINDS[name]
        below = directory / name
        below.mkdir()
        proxy = Served(below, kind.config(config_for(below, alt.section()), options.workers))
        await asyncio.to_thread(proxy.start)
        try:
            print(await profile(kind, proxy, names, options.out, options.seconds), flush=True)
        finally:
            await asyncio.to_thread(proxy.stop)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each of two recordings (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="hit workers of the node (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("var/profile"), help="default: ./%(default)s")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        with workplace(options.dir, 2**30) as directory, seaweed(directory) as alt:
            asyncio.run(run(options, directory, alt))
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    files = sorted(file.name for file in options.out.iterdir())
    print(f"OK: {options.out}: {', '.join(files)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
