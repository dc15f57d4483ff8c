"""``bench_store.py``: reads that are served from memory and from disk, over HTTP."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from keepalive import exchange, has_wrk, head, signed, wrk
from measuring import Contender, Sample, compare
from served import ACCESS_KEY_ID, BUCKET, SECRET, Served, config_for

from tierproxy.config.sections import MemorySection
from tierproxy.config.values import Size
from tierproxy.embedded import EmbeddedS3

OBJECTS = 200
SIZE = 16 * 1024
CONNECTIONS = 32


@dataclass
class Hits:
    memory_open: Contender
    memory_signed: Contender
    disk_open: Contender
    disk_signed: Contender
    seaweed: Contender

    @property
    def all(self) -> list[Contender]:
        return [self.memory_open, self.memory_signed, self.disk_open, self.disk_signed, self.seaweed]


@asynccontextmanager
async def running(
    directory: Path, alt: EmbeddedS3, auth: Literal["sigv4", "none"], **sections: object
) -> AsyncIterator[Served]:
    """A ``tierproxy serve`` below ``directory``."""
    directory.mkdir(parents=True)
    config = config_for(directory, alt.section(), **sections)
    proxy = Served(directory, replace(config, listen=replace(config.listen, auth=auth)))
    await asyncio.to_thread(proxy.start)
    try:
        yield proxy
    finally:
        await asyncio.to_thread(proxy.kill)


def gets(address: tuple[str, int], names: list[str], key: tuple[str, str] | None) -> list[tuple[bytes, bytes]]:
    """GET requests for ``names`` of the bucket, signed with ``key`` if there is one."""
    host = f"{address[0]}:{address[1]}"
    paths = [f"/{BUCKET}/{name}" for name in names]
    return [
        (head("GET", path, {"host": host} if key is None else signed("GET", host, path, key)), b"") for path in paths
    ]  # fmt: skip


async def fill(alt: EmbeddedS3, names: list[str]) -> None:
    """Objects in alt, without the proxy."""
    address = ("127.0.0.1", alt.ports["s3"])
    host, key = f"127.0.0.1:{alt.ports['s3']}", (alt.access_key, alt.secret_key)
    chance = random.Random(1)
    puts = []
    for name in names:
        body, path = chance.randbytes(SIZE), f"/{BUCKET}/{name}"
        headers = signed("PUT", host, path, key, body) | {"content-length": str(SIZE)}
        puts.append((head("PUT", path, headers), body))
    await exchange(address, puts, 16, 600, again=False)


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Hits:
    names = [f"hits/{number}" for number in range(OBJECTS)]
    await fill(alt, names)
    key = (ACCESS_KEY_ID, SECRET)
    none = MemorySection(max_bytes=Size(0))
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context

        async def contender(name: str, address: tuple[str, int], key: tuple[str, str] | None) -> Contender:
            requests = gets(address, names, key)
            await exchange(address, requests, 8, 60, again=False)  # a miss, and its fill
            await asyncio.sleep(0.2)

            async def measure(_round: int) -> Sample:
                if has_wrk():
                    heads = [request for request, _ in requests]
                    return await wrk(directory, address, heads, CONNECTIONS, options.seconds)
                return await exchange(address, requests, CONNECTIONS, options.seconds, again=True)

            return Contender(name, measure)

        open_memory = await enter(running(directory / "memory-open", alt, "none"))
        signed_memory = await enter(running(directory / "memory-signed", alt, "sigv4"))
        open_disk = await enter(running(directory / "disk-open", alt, "none", memory=none))
        signed_disk = await enter(running(directory / "disk-signed", alt, "sigv4", memory=none))
        seaweed = ("127.0.0.1", alt.ports["s3"])
        hits = Hits(
            await contender("from memory, auth none", open_memory.address, None),
            await contender("from memory, SigV4", signed_memory.address, key),
            await contender("from disk, auth none", open_disk.address, None),
            await contender("from disk, SigV4", signed_disk.address, key),
            await contender("SeaweedFS S3, SigV4", seaweed, (alt.access_key, alt.secret_key)),
        )
        await compare(hits.all, options.rounds)
    return hits
