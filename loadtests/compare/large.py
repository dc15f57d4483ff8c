"""Large objects, one at a time, in and out."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from measuring import Contender, compare

from compare.client import Taken, ask, check, exchange, sample
from compare.objects import large
from compare.stage import Stage, contender, named, plainly
from compare.writes import ACKS, Writer, settled, writers

OUT = (
    "nginx-static", "nginx-cache", "varnish-malloc", "varnish-file", "rclone", "seaweed-filer", "seaweed-s3", "juicefs",
)  # fmt: skip
IN = ("seaweed-s3", "seaweed-filer", "juicefs", "nginx-static")
PUTS = 2  #: in a round


async def run(stage: Stage) -> None:
    mib = stage.options.large / 2**20
    await _out(stage, mib)
    await _in(stage, mib)


async def _out(stage: Stage, mib: float) -> None:
    servers = [*await stage.workers(), *await stage.servers(*OUT)]
    servers = await stage.warm(servers, stage.large, stage.options.large)
    contenders = []
    for server in servers:

        async def measure(_round: int, server=server) -> Taken:  # type: ignore[no-untyped-def]
            requests = [ask(server, "GET", name, least=stage.options.large) for name in stage.large.names]
            return await exchange(server, requests, 1, stage.options.seconds, again=True)

        contenders.append(contender(server, measure, plainly(server)))
    await compare(contenders, stage.options.rounds)
    references = [named(contenders, "nginx proxy_cache"), named(contenders, "SeaweedFS S3")]
    stage.findings.add(f"GET, {mib:g} MiB", contenders, references, scale=mib, unit="MiB/s", chart="large-get")


async def _in(stage: Stage, mib: float) -> None:
    contenders = [_putting(stage, writer) for writer in await writers(stage, ACKS, *IN)]
    plain = _plain(stage)
    contenders.append(plain)
    await compare(contenders, stage.options.rounds)
    references = [plain, named(contenders, "SeaweedFS S3")]
    stage.findings.add(f"PUT, {mib:g} MiB", contenders, references, scale=mib, unit="MiB/s", chart="large-put")


def _putting(stage: Stage, writer: Writer) -> Contender:
    """The same names in every round: they would fill the disk."""

    async def measure(number: int) -> Taken:
        puts = [writer.put(f"large-puts/{writer.mark}/{one}", large(one, stage.options.large)) for one in range(PUTS)]
        taken = await exchange(writer.server, puts, 1, 600)
        await settled(stage, writer)()
        if number == 0:
            name = f"large-puts/{writer.mark}/0"
            await asyncio.to_thread(check, writer.server, [(name, large(0, stage.options.large))], hit=False)
        return taken

    return Contender(writer.name, measure, settled(stage, writer))


def _plain(stage: Stage) -> Contender:
    def write(path: Path) -> float:
        begin = time.perf_counter()
        with path.open("wb", buffering=0) as file:
            content = memoryview(large(0, stage.options.large))
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        return time.perf_counter() - begin

    async def measure(_round: int) -> Taken:
        own = time.process_time()
        taken = [await asyncio.to_thread(write, stage.directory / f"large-plain-{one}") for one in range(PUTS)]
        wall = sum(taken)
        return sample(taken, wall, time.process_time() - own, 0.0)

    return Contender("plain write + fsync", measure)
