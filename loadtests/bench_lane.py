#!/usr/bin/env python3
"""Measures what one hit costs a processor: in the hit lane by kind of request, and on the ordinary way.

Requests are fed into the object port's connection without sockets, so the kernel's part of a connection is in no row;
opening and reading of files is. CPU time of the process, not time: other work of the machine is not in it. What the
bench itself costs is measured as a row of its own and taken off the others.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import report
import uvloop
from bench_store import Goal
from profiles.feeding import Feed, Sink
from profiles.kinds import HOST, KEY, SECRET, Kind
from served import workplace
from signing import Signer

from tierproxy.alt.memory import MemoryAlt
from tierproxy.node import Node
from tierproxy.s3api.auth import ALGORITHM, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_stamp
from tierproxy.server import ObjectServer
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import BUCKET, Rig
from tierproxy.wiring import assemble, object_server, open_local

OBJECTS = 100
SIZE = 16 * 1024
WARM = 3  #: rounds over all objects before anything is measured


@dataclass(frozen=True, slots=True)
class Shape(Kind):
    """A kind of request. ``lines``: headers it has besides. ``presigned``: the signature is in its query."""

    lines: tuple[tuple[str, str], ...] = ()
    presigned: bool = False
    method: str = "GET"
    status: str = "200"

    def request(self, key: str, etag: str, now: float) -> bytes:
        path = f"/{BUCKET}/{key}"
        headers = {"host": HOST, "user-agent": "mail/1.0", "accept": "*/*"} | dict(self.lines)
        if self.known:
            headers["if-none-match"] = f'"{etag}"'
        target = path
        if self.presigned:
            target = presigned(path, now)
        elif self.auth == "sigv4":
            headers |= Signer(KEY, SECRET).headers(self.method, HOST, path, now)
        text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{self.method} {target} HTTP/1.1\r\n{text}\r\n".encode()


SHAPES = (
    Shape("memory"),
    Shape("memory, HEAD", method="HEAD"),
    Shape("memory, 304", known=True, status="304"),
    Shape("memory, range", lines=(("range", "bytes=0-1023"),), status="206"),
    Shape("memory, SigV4", auth="sigv4"),
    Shape("memory, presigned", auth="sigv4", presigned=True),
    Shape("disk", memory=False),
    Shape("disk, SigV4", auth="sigv4", memory=False),
    Shape("memory, ordinary way", lane=False),
    Shape("memory, SigV4, ordinary way", lane=False, auth="sigv4"),
    Shape("disk, ordinary way", lane=False, memory=False),
)


def presigned(path: str, now: float) -> str:
    """``path`` with a signature in its query that is good for an hour."""
    stamp = amz_stamp(now)
    scope = f"{stamp[:8]}/us-east-1/s3/aws4_request"
    pairs = {
        "X-Amz-Algorithm": ALGORITHM, "X-Amz-Credential": f"{KEY}/{scope}", "X-Amz-Date": stamp,
        "X-Amz-Expires": "3600", "X-Amz-SignedHeaders": "host",
    }  # fmt: skip
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs.items())
    canonical = f"GET\n{path}\n{query}\nhost:{HOST}\n\nhost\nUNSIGNED-PAYLOAD"
    signature = sign(derive_key(SECRET, stamp[:8], "us-east-1"), string_to_sign(stamp, scope, canonical.encode()))
    return f"{path}?{query}&X-Amz-Signature={signature}"


class Still(asyncio.Protocol):
    """Answers everything with the same bytes: what the bench costs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Sink)
        self._sink = transport

    def data_received(self, data: bytes) -> None:
        self._sink.writelines((b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""))


@dataclass
class Row:
    """One kind of request and what it took, in microseconds a request, round by round."""

    name: str
    feed: Feed
    taken: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.taken)

    async def measure(self, count: int) -> None:
        began = time.process_time()
        await self.feed.play(count)
        self.taken.append((time.process_time() - began) / count * 1e6)


@asynccontextmanager
async def opened(shape: Shape, root: Path) -> AsyncIterator[Row]:
    """A node with objects on its disk and in its memory, and a connection to it."""
    clock, config, alt = VirtualClock(), shape.config(root), MemoryAlt()

    async def open_parts() -> Any:
        return assemble(await open_local(config, alt, clock))

    node = Node(open_parts, lambda parts: object_server(config, parts))
    await node.start()
    try:
        rig, chance, requests = Rig(node, alt, root), random.Random(1), []
        for number in range(OBJECTS):
            key = f"user{number % 4}/mailboxes/INBOX/dbox-Mails/u.{number + 1}"
            written = await rig.put(key, chance.randbytes(SIZE))
            requests.append(shape.request(key, written.entry.etag, clock.now()))
        await rig.drained()
        assert isinstance(node.server, ObjectServer)
        feed = Feed(node.server._factory()(), requests)
        for _ in range(WARM):
            await learn(feed, requests, shape)
        check(feed, shape)
        yield Row(shape.name, feed)
        feed.end()
    finally:
        await node.stop(5)


async def learn(feed: Feed, requests: Sequence[bytes], shape: Shape) -> None:
    """Each request once, to know how long its answer is."""
    for number, request in enumerate(requests):
        feed._sink.expect(0)
        feed._protocol.data_received(request)
        async with asyncio.timeout(60):
            while not await _complete(feed, shape):
                pass
        feed._sizes[number] = len(feed._sink.answer)


def check(feed: Feed, shape: Shape) -> None:
    """Raises ValueError when the last answer is not what is to be measured."""
    head = feed._sink.answer.partition(b"\r\n\r\n")[0].decode()
    tier = f"x-tierproxy-tier: {'memory' if shape.memory else 'disk'}"
    body = shape.method == "GET" and not shape.known
    if head[9:12] != shape.status or (body and tier not in head):
        raise ValueError(f"no {shape.name}: {head}")


async def _complete(feed: Feed, shape: Shape) -> bool:
    if shape.method == "HEAD":
        await asyncio.sleep(0)
        return b"\r\n\r\n" in feed._sink.answer
    return await feed._complete()


async def run(options: argparse.Namespace, directory: Path) -> list[Row]:
    async with AsyncExitStack() as stack:
        still = Feed(Still(), [b"GET / HTTP/1.1\r\n\r\n"])
        await still.learn()
        rows = [Row("the bench itself", still)]
        for number, shape in enumerate(SHAPES):
            rows.append(await stack.enter_async_context(opened(shape, directory / str(number))))
        for number in range(options.rounds):
            for row in rows if number % 2 == 0 else reversed(rows):
                await row.measure(options.requests)
                await asyncio.sleep(0)
    return rows


def lines(rows: Sequence[Row]) -> list[list[str]]:
    """Name, microseconds, spread, and the ratio to the ordinary way of a plain hit from memory."""
    bench, *others = rows
    reference = next(row for row in others if row.name == "memory, ordinary way").median - bench.median
    shown = []
    for row in others:
        net = row.median - bench.median
        low, high = min(row.taken) - bench.median, max(row.taken) - bench.median
        shown.append([row.name, f"{net:.1f}", f"{low:.1f} - {high:.1f}", f"{net / reference:.2f}"])
    return shown


def goals(rows: Sequence[Row]) -> list[Goal]:
    net = {row.name: row.median - rows[0].median for row in rows}
    return [
        Goal("plain hit from memory: microseconds", net["memory"], 15, least=False),
        Goal("hit from memory, SigV4: microseconds", net["memory, SigV4"], 30, least=False),
        Goal("hit from disk, 16 KiB: microseconds", net["disk"], 30, least=False),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="of each kind a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help="record the results in docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work (default: a temporary directory)")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    with workplace(options.dir, 200 * 2**20) as directory:
        facts = report.table(("machine", ""), report.machine(directory))
        rows = uvloop.run(run(options, directory))
    table = report.table(("hit of 16 KiB", "CPU us", "least - most", "ratio"), lines(rows))
    print(table, end="\n\n")
    held = goals(rows)
    judged = report.table(("goal", "measured", "to hold", "met"), [goal.row() for goal in held])
    report.conclude("lane", f"{facts}\n\n{table}\n\n### Goals\n\n{judged}", held, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
