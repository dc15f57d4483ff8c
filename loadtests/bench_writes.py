"""``bench_store.py``: writes with each acknowledgement, beside plain files and plain S3."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import obstore
from bench_hits import SIZE, running
from bench_misses import NUMBERS, direct, node_in_front
from keepalive import exchange, head, signed
from measuring import Contender, Sample, compare, many, until
from served import BUCKET, Served

from tierproxy.embedded import EmbeddedS3
from tierproxy.model import Ack, Headers, ObjectName
from tierproxy.node import Node
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Write
from tierproxy.store.tiered import TieredStore

AT_ONCE = (1, 16, 64)
CONTENT = random.Random(1).randbytes(SIZE)
HEADERS = Headers(content_type="message/rfc822")
MOST = 100_000  #: numbers a round may use


@dataclass
class Writes:
    plain: Contender
    named: Contender
    disk: Contender | None  #: with the uploads held back; not over HTTP
    disk_uploading: Contender
    both: Contender
    around: Contender
    alt: Contender

    @property
    def all(self) -> list[Contender]:
        every = [self.plain, self.named, self.disk, self.disk_uploading, self.both, self.around, self.alt]
        return [one for one in every if one is not None]


class PlainFiles:
    """open, write, fsync, close in as many threads as there are writers; a new file each, below ``directory`` laid out
    as the disk tier's: one directory for all that are written within a minute."""

    def __init__(self, directory: Path, *, names: bool = False) -> None:
        """``names``: the directory is fsynced too, so that the file's name is as durable as its bytes."""
        self._directory = directory / "00" / "00"
        self._directory.mkdir(parents=True)
        self._names = names

    async def measure(self, first: int, at_once: int, seconds: float) -> Sample:
        return await asyncio.to_thread(self._measure, first, at_once, seconds)

    def _measure(self, first: int, at_once: int, seconds: float) -> Sample:
        lock, taken = threading.Lock(), list[float]()
        end = time.perf_counter() + seconds

        def work(number: int) -> None:
            while (begin := time.perf_counter()) < end:
                self._write(number)
                number += at_once
                with lock:
                    taken.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(work, range(first, first + at_once)))
        return Sample(len(taken) / (time.perf_counter() - begin), statistics.median(taken) * 1000)

    def _write(self, number: int) -> None:
        file = os.open(self._directory / f"{number:032x}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, CONTENT)
            os.fsync(file)
        finally:
            os.close(file)
        if self._names:
            parent = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(parent)
            finally:
                os.close(parent)


def plainly(directory: Path, at_once: int, seconds: float, *, names: bool) -> Contender:
    """Plain files as a contender."""
    files = PlainFiles(directory / f"plain-{next(NUMBERS)}", names=names)

    async def measure(number: int) -> Sample:
        return await files.measure(number * MOST, at_once, seconds)

    return Contender("plain write + fsync of file and directory" if names else "plain write + fsync", measure)


async def body() -> AsyncIterator[bytes]:
    yield CONTENT


def pending(proxy: Served) -> int:
    """Jobs in the upload journal."""
    answer = proxy.command("queue", "list", "--json", "--limit", "1")
    return int(json.loads(answer.text)["totals"]["jobs"])


async def put(store: TieredStore, name: str, ack: Ack) -> None:
    await store.write(Write(ObjectName(BUCKET, name), HEADERS, SIZE, body(), Md5Check(SIZE), ack=ack))


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> list[tuple[str, Writes]]:
    found: list[tuple[str, Writes]] = []
    for at_once in AT_ONCE:
        found += [(f"in process, {at_once} at once", await in_process(at_once, options, directory, alt))]
    found.append(("HTTP, 16 at once", await over_http(16, options, directory, alt)))
    return found


async def in_process(at_once: int, options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Writes:
    straight, serial = direct(alt), next(NUMBERS)
    async with AsyncExitStack() as stack:

        def node() -> AbstractAsyncContextManager[Node]:
            return node_in_front(directory / f"node-{next(NUMBERS)}", alt)

        def contender(name: str, node: Node, ack: Ack, mark: str) -> Contender:
            async def one(number: int) -> None:
                await put(node.store, f"writes/{serial}/{mark}/{number}", ack)

            async def measure(number: int) -> Sample:
                return await many(one, number * MOST, at_once, options.seconds)

            async def settle() -> None:
                if node is not held:
                    await until(lambda: not node.parts.catalogue.queue_totals().jobs)

            return Contender(name, measure, settle)

        async def to_alt(number: int) -> None:
            await obstore.put_async(straight, f"writes/{serial}/straight/{number}", CONTENT, use_multipart=False)

        async def straightly(number: int) -> Sample:
            return await many(to_alt, number * MOST, at_once, options.seconds)

        held, uploading = await stack.enter_async_context(node()), await stack.enter_async_context(node())
        await held.quiet()
        writes = Writes(
            plainly(directory, at_once, options.seconds, names=False),
            plainly(directory, at_once, options.seconds, names=True),
            contender("ack disk", held, Ack.DISK, "disk"),
            contender("ack disk, uploading meanwhile", uploading, Ack.DISK, "uploading"),
            contender("ack both", held, Ack.BOTH, "both"),
            contender("ack alt", held, Ack.ALT, "alt"),
            Contender("obstore PUT to SeaweedFS", straightly),
        )
        await compare(writes.all, options.rounds)
    return writes


async def over_http(at_once: int, options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Writes:
    most = int(3000 * options.seconds) + at_once
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(running(directory / "proxy", alt, "none"))

        def contender(name: str, ack: str, mark: str) -> Contender:
            address = proxy.address
            host = f"{address[0]}:{address[1]}"
            headers = {"host": host, "content-length": str(SIZE), "x-tierproxy-ack": ack}

            async def measure(number: int) -> Sample:
                paths = (f"/{BUCKET}/http/{mark}/{number}-{one}" for one in range(most))
                requests = [(head("PUT", path, headers), CONTENT) for path in paths]
                return await exchange(address, requests, at_once, options.seconds, again=False)

            async def settle() -> None:
                while ack == "disk" and (await asyncio.to_thread(pending, proxy)) > 0:
                    await asyncio.sleep(0.1)

            return Contender(name, measure, settle)

        async def straightly(number: int) -> Sample:
            address, key = ("127.0.0.1", alt.ports["s3"]), (alt.access_key, alt.secret_key)
            host = f"127.0.0.1:{address[1]}"
            paths = [f"/{BUCKET}/http/straight/{number}-{one}" for one in range(most)]
            requests = [
                (head("PUT", path, signed("PUT", host, path, key, CONTENT) | {"content-length": str(SIZE)}), CONTENT)
                for path in paths
            ]  # fmt: skip
            return await exchange(address, requests, at_once, options.seconds, again=False)

        writes = Writes(
            plainly(directory, at_once, options.seconds, names=False),
            plainly(directory, at_once, options.seconds, names=True),
            None,
            contender("ack disk, uploading meanwhile", "disk", "disk"),
            contender("ack both", "both", "both"),
            contender("ack alt", "alt", "alt"),
            Contender("PUT to SeaweedFS", straightly),
        )
        await compare(writes.all, options.rounds)
    return writes
