"""Reads that are not near: each object once. The same client library straight to S3 and through tierproxy; and the same
HTTP client through everybody who has a cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import boto3
import obstore
from botocore.config import Config as BotoConfig
from measuring import Contender, compare
from obstore.store import S3Store
from served import BUCKET, Failed

from compare.client import Ask, Taken, ask, exchange, gets, sample
from compare.objects import SIZE, Objects
from compare.peers import Server
from compare.programs import processor_seconds
from compare.stage import Stage, contender, named

AT_ONCE = (1, 16)
LOOKING = 32  #: HEADs at once
PEERS = ("seaweed-s3", "seaweed-filer", "nginx-cache", "varnish-malloc", "rclone", "juicefs-cold")
Read = Callable[[str], Awaitable[int]]


class Cold:
    """Objects for every round and concurrency: a set for each client, because a second one would find them near."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.per_round = stage.options.cold
        many = self.per_round * stage.options.rounds * len(AT_ONCE)
        self._sets = {mark: stage.cold(mark, many) for mark in ("obstore", "boto3", "http", "unseen")}

    def names(self, mark: str, at_once: int, number: int) -> list[str]:
        first = (AT_ONCE.index(at_once) * self.stage.options.rounds + number) * self.per_round
        return self._sets[mark].names[first : first + self.per_round]

    def known(self) -> list[Objects]:
        return [kept for mark, kept in self._sets.items() if mark != "unseen"]


async def run(stage: Stage, cold: Cold) -> None:
    open_, signed = await stage.tierproxy(), await stage.tierproxy(auth=True)
    for server in (open_, signed):
        for kept in cold.known():  # rows as of mail that was purged: learning of an object is a commit of its own
            await exchange(server, [ask(server, "HEAD", name) for name in kept.names], LOOKING, 600)
    peers = await stage.servers(*PEERS)
    for at_once in AT_ONCE:
        await _libraries(stage, cold, signed, at_once)
        await _http(stage, cold, open_, peers, at_once)


# ---------------------------------------------------------------- client libraries


async def _libraries(stage: Stage, cold: Cold, ours: Server, at_once: int) -> None:
    alt = await stage.server("seaweed-s3")
    if alt is None:
        return
    contenders = []
    for library, make in (("obstore", _obstore), ("boto3", _boto3)):
        if stage.wants(library):
            for server, name in ((alt, f"{library} straight"), (ours, f"{library} through tierproxy")):
                contenders.append(_reading(stage, cold, library, make(server), server, name, at_once))
    if not contenders:
        return
    await compare(contenders, stage.options.rounds)
    straight, through = named(contenders, "obstore straight"), named(contenders, "obstore through")
    title = f"misses, {SIZE // 1024} KiB, {at_once} at once, SigV4"
    stage.findings.add(
        f"{title}, client libraries", contenders, [straight], chart="misses-libraries" if at_once > 1 else ""
    )
    if straight is not None and through is not None:
        stage.findings.at_least(f"miss, obstore, {at_once} at once: rate", through.rate / straight.rate, 0.9)
        if at_once == 1:
            added = through.milliseconds - straight.milliseconds
            stage.findings.at_most("miss, obstore, 1 at once: added to the median, ms", added, 1.0)


def _reading(
    stage: Stage, cold: Cold, library: str, read: Read, server: Server, name: str, at_once: int
) -> Contender:  # fmt: skip
    async def measure(number: int) -> Taken:
        return await _once(read, cold.names(library, at_once, number), server, at_once)

    return Contender(name, measure, lambda: asyncio.sleep(stage.options.rest))


async def _once(read: Read, names: Sequence[str], server: Server, at_once: int) -> Taken:
    """Each of ``names`` once."""
    waiting, taken = iter(names), list[float]()
    served, own, begin = processor_seconds(server.pid), time.process_time(), time.perf_counter()

    async def loop() -> None:
        for name in waiting:
            start = time.perf_counter()
            if await read(name) != SIZE:
                raise Failed(f"{server.name}: {name} is short")
            taken.append(time.perf_counter() - start)

    await asyncio.gather(*(loop() for _ in range(at_once)))
    wall, own = time.perf_counter() - begin, time.process_time() - own
    return sample(taken, wall, own, processor_seconds(server.pid) - served)


def _obstore(server: Server) -> Read:
    assert server.key is not None
    store = S3Store(
        BUCKET, endpoint=f"http://{server.host}", access_key_id=server.key[0], secret_access_key=server.key[1],
        region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip

    async def read(name: str) -> int:
        return len(await (await obstore.get_async(store, name)).bytes_async())

    return read


def _boto3(server: Server) -> Read:
    """In threads, as many as read at once; boto3.amazonaws.com/v1/documentation/api/latest/guide/clients.html: one
    client may be shared, with a pool of connections as large."""
    assert server.key is not None
    client: Any = boto3.client(
        "s3", endpoint_url=f"http://{server.host}", aws_access_key_id=server.key[0],
        aws_secret_access_key=server.key[1], region_name="us-east-1",
        config=BotoConfig(max_pool_connections=max(AT_ONCE), s3={"addressing_style": "path"}),
    )  # fmt: skip

    async def read(name: str) -> int:
        return await asyncio.to_thread(lambda: len(client.get_object(Bucket=BUCKET, Key=name)["Body"].read()))

    return read


# ---------------------------------------------------------------- HTTP


async def _http(stage: Stage, cold: Cold, ours: Server, peers: Sequence[Server], at_once: int) -> None:
    contenders = [
        _asking(stage, cold, ours, "http", at_once, "tierproxy"),
        _asking(stage, cold, ours, "unseen", at_once, "tierproxy, never heard of"),
        *(_asking(stage, cold, server, "http", at_once) for server in peers),
    ]
    await compare(contenders, stage.options.rounds)
    straight = named(contenders, "SeaweedFS S3")
    title = f"misses, {SIZE // 1024} KiB, {at_once} at once, HTTP client"
    stage.findings.add(title, contenders, [straight], chart="misses" if at_once > 1 else "")


def _asking(stage: Stage, cold: Cold, server: Server, mark: str, at_once: int, name: str = "") -> Contender:
    def requests(number: int) -> list[Ask]:
        return gets(server, cold.names(mark, at_once, number))

    async def measure(number: int) -> Taken:
        return await exchange(server, requests(number), at_once, 600)

    return contender(server, measure, name, lambda: asyncio.sleep(stage.options.rest))
