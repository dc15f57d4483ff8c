"""``bench_store.py``: reads that are not on disk, beside the same reads without tierproxy."""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import obstore
from bench_hits import SIZE, fill, gets, running
from keepalive import exchange, head
from measuring import Contender, Sample, compare, many, until
from obstore.store import S3Store
from served import BUCKET, Failed, config_for

from tierproxy.config.sections import FillSection
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import FillPolicy, ObjectName
from tierproxy.node import Node
from tierproxy.store.tiered import TieredStore
from tierproxy.wiring import build

POLICIES = (FillPolicy.NEVER, FillPolicy.ALWAYS, FillPolicy.SECOND_READ)
RATE = 2500  #: more reads a second than any contender makes: so many objects are made for each second
AT_ONCE = (1, 16)
LONGEST = 0.5  #: seconds of a round, because every read needs an object of its own
LOOKING = 32  #: HEADs at once
NUMBERS = itertools.count()


def direct(alt: EmbeddedS3) -> S3Store:
    """obstore without anything in between."""
    return S3Store(
        BUCKET, endpoint=alt.endpoint, access_key_id=alt.access_key, secret_access_key=alt.secret_key,
        region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip


@asynccontextmanager
async def node_in_front(directory: Path, alt: EmbeddedS3, **sections: object) -> AsyncIterator[Node]:
    """A node in this process."""
    directory.mkdir(parents=True)
    node = build(config_for(directory, alt.section(), **sections))
    await node.start()
    try:
        yield node
    finally:
        await node.stop(10)


async def look(node: Node, names: list[str]) -> None:
    """Make the rows known, as they are of mail that was purged: learning of an object is a commit of its own."""
    waiting = iter(names)

    async def loop() -> None:
        for name in waiting:
            await node.store.head(ObjectName(BUCKET, name))

    await asyncio.gather(*(loop() for _ in range(LOOKING)))


async def read(store: TieredStore, name: str) -> None:
    reading = await store.open(ObjectName(BUCKET, name))
    try:
        size = (
            len(reading.content) if reading.content is not None else sum([len(one) async for one in reading.chunks()])
        )
    finally:
        await reading.close()
    if size != SIZE:
        raise Failed(f"{name} has {size} bytes")


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> list[tuple[str, list[Contender]]]:
    seconds = min(options.seconds, LONGEST)
    per_round = max(64, int(RATE * seconds))
    names = [f"misses/{number}" for number in range(per_round * options.rounds)]
    await fill(alt, names)
    found: list[tuple[str, list[Contender]]] = []
    for at_once in AT_ONCE:
        contenders = await in_process(names, per_round, at_once, seconds, options, directory, alt)
        found += [(f"in process, {at_once} at once", contenders)]
    found.append(("HTTP, 16 at once", await over_http(names, per_round, 16, seconds, options, directory, alt)))
    return found


async def in_process(
    names: list[str], per_round: int, at_once: int, seconds: float, options: argparse.Namespace, directory: Path,
    alt: EmbeddedS3,
) -> list[Contender]:  # fmt: skip
    store = direct(alt)

    async def straight(number: int) -> None:
        content = await (await obstore.get_async(store, names[number])).bytes_async()
        if len(content) != SIZE:
            raise Failed(f"{names[number]} has {len(content)} bytes")

    def contender(name: str, node: Node | None) -> Contender:
        async def through(number: int) -> None:
            assert node is not None
            await read(node.store, names[number])

        async def measure(number: int) -> Sample:
            operation = straight if node is None else through
            return await many(operation, number * per_round, at_once, seconds, per_round)

        async def settle() -> None:
            if node is not None:
                await until(lambda: not len(node.parts.tasks))

        return Contender(name, measure, settle)

    async with AsyncExitStack() as stack:
        contenders = []
        for policy in POLICIES:
            place = directory / f"node-{next(NUMBERS)}"
            node = await stack.enter_async_context(node_in_front(place, alt, fill=FillSection(policy=policy)))
            await look(node, names)
            contenders.append(contender(f"TieredStore, fill {policy}", node))
        contenders.append(contender("obstore, straight", None))
        await compare(contenders, options.rounds)
    return contenders


async def over_http(
    names: list[str], per_round: int, at_once: int, seconds: float, options: argparse.Namespace, directory: Path,
    alt: EmbeddedS3,
) -> list[Contender]:  # fmt: skip
    def contender(name: str, address: tuple[str, int], key: tuple[str, str] | None) -> Contender:
        async def measure(number: int) -> Sample:
            chosen = names[number * per_round : (number + 1) * per_round]
            return await exchange(address, gets(address, chosen, key), at_once, seconds, again=False)

        return Contender(name, measure)

    async with AsyncExitStack() as stack:
        contenders = []
        for policy in POLICIES:
            place = directory / f"served-{next(NUMBERS)}"
            proxy = await stack.enter_async_context(running(place, alt, "none", fill=FillSection(policy=policy)))
            host = f"{proxy.address[0]}:{proxy.address[1]}"
            heads = [(head("HEAD", f"/{BUCKET}/{name}", {"host": host}), b"") for name in names]
            await exchange(proxy.address, heads, LOOKING, 600, again=False)
            contenders.append(contender(f"tierproxy, fill {policy}", proxy.address, None))
        straight = ("127.0.0.1", alt.ports["s3"])
        contenders.append(contender("SeaweedFS, straight", straight, (alt.access_key, alt.secret_key)))
        await compare(contenders, options.rounds, pause=1.0)
    return contenders
