#!/usr/bin/env python3
"""Many clients that read slowly: what each of them costs the proxy's memory.

--readers real connections with small receive buffers ask a ``tierproxy serve`` for ranges of a large object, take the
first bytes, and then a few hundred now and then. The proxy's resident memory is sampled all the time. Then all of them
read to the end of what they asked for: nobody was forgotten, and every byte is right. Once from disk, and once straight
from alt, with as many as ``[alt] concurrency`` lets in: more would wait for their turn.

Why a bound can be given: of each answer one piece of 256 KiB is in memory, between the disk (which is read and verified
in blocks of that size) and the client; the next is not read before the client has taken it. The HTTP client of alt has
buffers of its own beside it. What the kernel keeps in sockets is its own and bounded by its settings.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import socket
import sys
from contextlib import closing
from dataclasses import dataclass, replace

import report
import uvloop
from large import Memory, Phase
from served import BUCKET, Failed, Served, allow_sockets, config_for, seaweed, served, workplace

from tierproxy.alt.client import s3_client
from tierproxy.config.sections import BucketSection, Config
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import FillPolicy

KEY = "slow/object.bin"
UNFILLED = "unfilled"
TAKEN = 512  #: bytes a slow client takes at a time
PAUSE = 0.5  #: seconds between two times
RECEIVE = 4096  #: bytes of its receive buffer, as far as the kernel allows


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the object is read from."""

    name: str
    bucket: str
    readers: int


class SlowReader:
    """One connection. ``start`` is where its range begins."""

    def __init__(self, address: tuple[str, int], scene: Scene, content: bytes, start: int, length: int) -> None:
        self._address = address
        self._scene = scene
        self._content = content[start : start + length]
        self._start = start
        self._taken = bytearray()
        self._socket = socket.socket()

    async def ask(self) -> None:
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
        await loop.sock_connect(self._socket, self._address)
        stop = self._start + len(self._content) - 1
        request = (
            f"GET /{self._scene.bucket}/{KEY} HTTP/1.1\r\nhost: x\r\nrange: bytes={self._start}-{stop}\r\n"
            "connection: close\r\n\r\n"
        )
        await loop.sock_sendall(self._socket, request.encode())
        await self.take()

    async def take(self) -> None:
        self._taken += await asyncio.get_running_loop().sock_recv(self._socket, TAKEN)

    async def finish(self) -> bool:
        """Read the rest. Whether it was all there, and right."""
        loop = asyncio.get_running_loop()
        while piece := await loop.sock_recv(self._socket, 2**16):
            self._taken += piece
        head, _, body = bytes(self._taken).partition(b"\r\n\r\n")
        right = hashlib.sha256(body).digest() == hashlib.sha256(self._content).digest()
        return head.startswith(b"HTTP/1.1 206") and right

    def close(self) -> None:
        self._socket.close()


async def read_slowly(proxy: Served, scene: Scene, content: bytes, readers: int, length: int, seconds: float) -> str:
    """What went wrong; "" if nothing did."""
    chance = random.Random(scene.name)
    starts = [chance.randrange(0, len(content) - length + 1) for _ in range(readers)]
    clients = [SlowReader(proxy.address, scene, content, start, length) for start in starts]
    try:
        await asyncio.gather(*(client.ask() for client in clients))
        for _ in range(int(seconds / PAUSE)):
            await asyncio.sleep(PAUSE)
            await asyncio.gather(*(client.take() for client in clients))
        right = sum(await asyncio.gather(*(client.finish() for client in clients)))
    except OSError as error:
        return f"a connection broke: {error}"
    finally:
        for client in clients:
            client.close()
    return "" if right == readers else f"{readers - right} of {readers} did not get what they asked for"


def prepared(alt: EmbeddedS3, config: Config, content: bytes) -> Config:
    """The object in alt, in both buckets; ``unfilled`` never makes a copy of it."""
    alt.make_bucket(UNFILLED)
    with closing(s3_client(alt.section())) as client:
        for bucket in (BUCKET, UNFILLED):
            client.put_object(Bucket=bucket, Key=KEY, Body=content)
    buckets = (BucketSection(name=BUCKET, fill=FillPolicy.ALWAYS), BucketSection(name=UNFILLED, fill=FillPolicy.NEVER))
    listen = replace(config.listen, auth="none", max_concurrent_requests=100_000)
    return replace(config, bucket=buckets, listen=listen)


def run(options: argparse.Namespace) -> list[Phase]:
    size = options.mib * 2**20
    length = options.each_mib * 2**20
    content = random.Random(1).randbytes(size)
    with workplace(options.dir, 3 * size + 2**30) as directory, seaweed(directory) as alt:
        config = prepared(alt, config_for(directory, alt.section()), content)
        with served(directory, config) as proxy:
            memory = Memory(proxy)
            with closing(s3_client(replace(alt.section(), endpoint=proxy.url))) as client:
                client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()  # a copy for the disk
            near = Scene("from disk", BUCKET, options.readers)
            far = Scene("straight from alt", UNFILLED, min(options.readers, config.alt.concurrency))
            for scene in (near, far):
                with memory.watching(f"{scene.readers:,} slow readers {scene.name}", scene.readers * length) as phase:
                    work = read_slowly(proxy, scene, content, scene.readers, length, options.seconds)
                    phase.failure = uvloop.run(work)
    return memory.phases


def above(phase: Phase) -> float:
    """MiB of memory above idle."""
    return (phase.peak - phase.before) / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=1000, help="connections (default: %(default)s)")
    parser.add_argument("--mib", type=int, default=64, help="size of the object (default: %(default)s)")
    parser.add_argument("--each-mib", type=int, default=2, help="of a reader's range (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that they read slowly (default: %(default)s)")
    parser.add_argument("--bound", type=int, default=400, help="MiB above idle that are allowed (default: %(default)s)")
    parser.add_argument("--dir", help="where to work")
    parser.add_argument("--write", action="store_true", help="record the result in docs/benchmarks.md")
    options = parser.parse_args()
    try:
        allow_sockets(2 * options.readers + 500)
        phases = run(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    head = ("what", "idle MiB", "peak MiB", "above idle", "bytes right")
    rows = [
        [phase.name, f"{phase.before / 2**20:.0f}", f"{phase.peak / 2**20:.0f}", f"{above(phase):.0f}",
         phase.failure or "yes"]
        for phase in phases
    ]  # fmt: skip
    text = report.table(head, rows)
    print(text)
    if options.write:
        report.keep("slow", text)
    wrong = [f"{phase.name}: {phase.failure}" for phase in phases if phase.failure]
    wrong += [
        f"{phase.name}: {above(phase):.0f} MiB above idle, {options.bound} are allowed"
        for phase in phases
        if above(phase) > options.bound
    ]
    most = max(map(above, phases))
    print("\n".join(["FAILED:", *wrong]) if wrong else f"OK: slow readers cost {most:.0f} MiB at most")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
