"""The mount's HTTP client beside aiohttp, over a unix socket: ``python loadtests/bench_mount_client.py``.

A GET and a conditional PUT of a mail of 16 KiB, one after the other, against an object port on a store with a disk tier
and an alt tier in memory, in a process of its own. Printed are milliseconds a request, the client's CPU milliseconds a
request, and how many times those of the mount's client aiohttp's are. Without aiohttp (``pip install aiohttp``) only
the mount's own is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Contender, Sample, compare

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.disk.fsio import Files
from tierproxy.mount.client import HttpNode
from tierproxy.mount.client_address import Address
from tierproxy.mount.ports import Upload
from tierproxy.offload import ThreadPool
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.server import ObjectServer
from tierproxy.testing.rig import rig

MAIL = os.urandom(16 * 1024)
Request = Callable[[], Awaitable[object]]


async def serve(root: Path) -> None:
    """The node, until standard input ends."""
    async with rig(root / "data", check=False) as node:
        await node.put("mail", MAIL)
        listen = ListenSection(address="", unix_socket=str(root / "s3.sock"), auth="none")
        server = ObjectServer(listen, ObjectApp(node.parts.store, Open(), listen, SystemClock()), SystemClock())
        await server.start()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await server.stop(0)


@asynccontextmanager
async def ours(root: Path) -> AsyncIterator[tuple[Request, Request]]:
    threads, numbers = ThreadPool("bench", 1), count()
    client = HttpNode(
        Address(socket=str(root / "s3.sock")), "mail", credentials=None, clock=SystemClock(), files=Files(),
        threads=threads, scratch=root, version="bench",
    )  # fmt: skip
    fd = os.memfd_create("mail")
    os.write(fd, MAIL)

    async def get() -> None:
        assert len((await client.open("mail")).head) == len(MAIL)

    async def put() -> None:
        await client.put(Upload(f"ours/{next(numbers)}", fd, len(MAIL), 1.5e9, 1.5e9, create=True))

    try:
        yield get, put
    finally:
        os.close(fd)
        await client.close()
        await threads.close()


@asynccontextmanager
async def theirs(root: Path, aiohttp: Any) -> AsyncIterator[tuple[Request, Request]]:
    numbers = count()
    headers = {"if-none-match": "*", "x-amz-meta-mtime": "1.5e9", "x-amz-meta-ctime": "1.5e9"}
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(root / "s3.sock"))) as session:

        async def get() -> None:
            async with session.get("http://localhost/mail/mail") as answer:
                assert len(await answer.read()) == len(MAIL)

        async def put() -> None:
            url = f"http://localhost/mail/theirs/{next(numbers)}"
            async with session.put(url, data=MAIL, headers=headers) as answer:
                await answer.read()
                assert answer.status == 200

        yield get, put


def contender(name: str, request: Request, times: int) -> Contender:
    """``late`` of its samples are CPU milliseconds."""

    async def measure(_number: int) -> Sample:
        taken, before = [], time.process_time()
        for _ in range(times):
            begin = time.perf_counter()
            await request()
            taken.append(time.perf_counter() - begin)
        return Sample(times / sum(taken), median(taken) * 1000, (time.process_time() - before) / times * 1000)

    return Contender(name, measure)


async def run(root: Path, rounds: int) -> None:
    async with ours(root) as (opened, sent):
        pairs = {"GET": [contender("the mount's", opened, 400)], "PUT": [contender("the mount's", sent, 100)]}
        try:
            aiohttp = importlib.import_module("aiohttp")
        except ImportError:
            print("aiohttp is not installed")
            await measured(pairs, rounds)
            return
        async with theirs(root, aiohttp) as (get, put):
            pairs["GET"].append(contender(f"aiohttp {aiohttp.__version__}", get, 400))
            pairs["PUT"].append(contender(f"aiohttp {aiohttp.__version__}", put, 100))
            await measured(pairs, rounds)


async def measured(pairs: dict[str, list[Contender]], rounds: int) -> None:
    for what, contenders in pairs.items():
        await compare(contenders, rounds)
        first = contenders[0]
        for one in contenders:
            late, base = (median(sample.late for sample in each.samples) for each in (one, first))
            print(
                f"{what} 16 KiB  {one.name:16} {one.milliseconds:6.3f} ms {one.milliseconds / first.milliseconds:5.2f} "
                f"times   CPU {late:6.3f} ms {late / base:5.2f} times"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each contender")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory(prefix="tierproxy-bench-") as directory:
        command = [sys.executable, __file__, "--serve", directory]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
            assert node.stdout is not None
            if node.stdout.readline() != b"ready\n":
                sys.exit("the node did not start")
            asyncio.run(run(Path(directory), options.rounds))


if __name__ == "__main__":
    main()
