#!/usr/bin/env python3
"""Many readers of one cold object cost one GET to alt, and a reader that leaves stops nothing.

--readers real connections ask a ``tierproxy serve`` for one object that only SeaweedFS has, at the same time. A relay
between the two counts the GETs and holds SeaweedFS' answer back (a small object's whole answer, a large one's second
half) until every reader is waiting and every second one has left in the middle. The others must get every byte; the
relay must have seen one GET. Then one more reader is answered without alt.

Runs with the object small and filled, small and not filled (``fill = "never"``), and large.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import report
import uvloop
from counting import CountingRelay, counting
from served import BUCKET, Failed, Served, allow_sockets, config_for, seaweed, workplace

from tierproxy.alt.client import s3_client
from tierproxy.config.sections import BucketSection, Config
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import FillPolicy

UNFILLED = "unfilled"
PIECE = 256 * 1024
SETTLING = 1.0  #: seconds between the last request's leaving here and alt's answer


@dataclass(frozen=True, slots=True)
class Scene:
    """One stampede. ``stays``: readers that wait for the end; the others leave."""

    name: str
    bucket: str
    size: int
    readers: int

    @property
    def held_after(self) -> int:
        """Bytes of alt's answer that pass before it is held."""
        return 0 if self.size <= 2**20 else self.size // 2


@dataclass
class Result:
    scene: Scene
    served: int = 0
    left: int = 0
    gets: int = 0
    seconds: float = 0.0
    again: str = ""

    def row(self) -> list[str]:
        size = f"{self.scene.size / 2**20:.2f} MiB"
        return [
            self.scene.name, size, str(self.scene.readers), str(self.left), str(self.served), str(self.gets),
            self.again, f"{self.seconds:.1f}",
        ]  # fmt: skip

    def wrong(self) -> list[str]:
        expected = self.scene.readers - self.scene.readers // 2
        found = []
        if self.gets != 1:
            found.append(f"{self.scene.name}: alt saw {self.gets} GETs instead of one")
        if self.served != expected:
            found.append(f"{self.scene.name}: {self.served} of {expected} readers got every byte")
        return found


class Reader:
    """One connection that asks for the object."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self._content = content
        self._at = 0
        self.tier = ""

    @classmethod
    async def connect(cls, proxy: Served, content: bytes) -> Reader:
        return cls(*await asyncio.open_connection(*proxy.address, limit=PIECE), content)

    def ask(self, bucket: str) -> None:
        self._writer.write(f"GET /{bucket}/cold HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())

    async def head(self) -> None:
        """Raises Failed unless it is 200 with the right length."""
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if " 200 " not in text[:20] or f"content-length: {len(self._content)}\r\n" not in text:
            raise Failed(f"the answer begins with {text[:200]!r}")
        self.tier = text.partition("x-tierproxy-tier: ")[2].partition("\r\n")[0]

    async def read(self, stop: int) -> bool:
        """Read up to ``stop`` bytes of the body; whether they are the right ones."""
        while self._at < stop:
            piece = await self._reader.read(min(PIECE, stop - self._at))
            if not piece or piece != self._content[self._at : self._at + len(piece)]:
                return False
            self._at += len(piece)
        return True

    async def rest(self) -> bool:
        """Head, if it is still to come, and body to its end."""
        try:
            if not self.tier:
                await self.head()
            return await self.read(len(self._content))
        except (OSError, asyncio.IncompleteReadError):
            return False

    def leave(self) -> None:
        self._writer.transport.abort()


async def play(scene: Scene, proxy: Served, relay: CountingRelay, content: bytes) -> Result:
    """The stampede, and one reader after it."""
    result = Result(scene)
    relay.gate.clear()
    relay.reached.clear()
    relay.gets.clear()
    relay.held_after = scene.held_after
    readers = [await Reader.connect(proxy, content) for _ in range(scene.readers)]
    try:
        begin = time.monotonic()
        for reader in readers:
            reader.ask(scene.bucket)
        await relay.reached.wait()
        if scene.held_after:  # everybody is in the middle of the body
            await asyncio.gather(*(reader.head() for reader in readers))
            await asyncio.gather(*(reader.read(2**20) for reader in readers))
        await asyncio.sleep(SETTLING)
        leaving = set(readers[::2][: scene.readers // 2])
        for reader in leaving:
            reader.leave()
        await asyncio.sleep(SETTLING / 4)
        relay.gate.set()
        staying = [reader for reader in readers if reader not in leaving]
        whole = await asyncio.gather(*(reader.rest() for reader in staying))
        result.seconds = time.monotonic() - begin
        result.served, result.left = sum(whole), len(leaving)
        result.gets = relay.gets[f"/{scene.bucket}/cold"]
    finally:
        for reader in readers:
            reader.leave()
    result.again = await once_more(scene, proxy, content)
    return result


async def once_more(scene: Scene, proxy: Served, content: bytes) -> str:
    """The tier that answers the next reader, once what is being filled is filled."""
    await asyncio.sleep(SETTLING / 2)
    reader = await Reader.connect(proxy, content)
    try:
        reader.ask(scene.bucket)
        if not await reader.rest():
            raise Failed(f"{scene.name}: the reader after the stampede got other bytes")
        return reader.tier
    finally:
        reader.leave()


def scenes(options: argparse.Namespace) -> list[Scene]:
    small, large = options.small, int(options.large_mb * 10**6)
    found = [
        Scene("small, filled", BUCKET, small, options.readers),
        Scene("small, not filled", UNFILLED, small, options.readers),
    ]
    many = options.readers if options.large_readers is None else options.large_readers
    return [*found, Scene("large, filled", f"{BUCKET}-large", large, many)] if many else found


def configured(directory: Path, alt: EmbeddedS3, relay: CountingRelay, wanted: list[Scene]) -> Config:
    section = replace(alt.section(), endpoint=f"http://127.0.0.1:{relay.port}")
    buckets = tuple(
        BucketSection(name=scene.bucket, fill=FillPolicy.NEVER if scene.bucket == UNFILLED else None)
        for scene in wanted
    )  # fmt: skip
    most = max(scene.readers for scene in wanted)
    base = config_for(directory, section, bucket=buckets, key=())
    return replace(base, listen=replace(base.listen, auth="none", max_concurrent_requests=2 * most))


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3, wanted: list[Scene]) -> list[Result]:
    contents = {scene.bucket: random.Random(scene.bucket).randbytes(scene.size) for scene in wanted}
    with closing(s3_client(alt.section())) as client:
        for scene in wanted:
            client.put_object(Bucket=scene.bucket, Key="cold", Body=contents[scene.bucket])
    async with counting("127.0.0.1", alt.ports["s3"]) as relay:
        loop = asyncio.get_running_loop()
        proxy = Served(directory, configured(directory, alt, relay, wanted))
        await loop.run_in_executor(None, proxy.start)  # it asks alt, through the relay of this loop
        try:
            async with asyncio.timeout(options.timeout):
                return [await play(scene, proxy, relay, contents[scene.bucket]) for scene in wanted]
        except TimeoutError:
            raise Failed(f"not done after {options.timeout:g} s") from None
        finally:
            await loop.run_in_executor(None, proxy.kill)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=1000, help="connections at once (default: %(default)s)")
    parser.add_argument("--large-readers", type=int, help="the same for the large object; 0 leaves it out")
    parser.add_argument("--small", type=int, default=16 * 1024, help="bytes of the small object (default: %(default)s)")
    parser.add_argument("--large-mb", type=float, default=20.0, help="MB of the large object (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for all of it (default: %(default)s)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    parser.add_argument("--write", action="store_true", help="record the result in docs/benchmarks.md")
    options = parser.parse_args()
    wanted = scenes(options)
    try:
        allow_sockets(2 * max(scene.readers for scene in wanted) + 200)
        with (
            workplace(options.dir, 2 * 2**30) as directory,
            seaweed(directory, *(scene.bucket for scene in wanted)) as alt,
        ):
            results = uvloop.run(run(options, directory, alt, wanted))
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    head = ("object", "size", "readers", "left", "got all", "alt GETs", "then from", "seconds")
    rows = report.table(head, [result.row() for result in results])
    print(rows)
    if options.write:
        report.keep("stampede", rows)
    wrong = [text for result in results for text in result.wrong()]
    print("\n".join(["FAILED:", *wrong]) if wrong else "OK: each stampede cost alt one GET")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
