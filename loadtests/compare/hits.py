"""Reads that are near: small objects, from memory and from files, with and without signatures."""

from __future__ import annotations

from collections.abc import Sequence

from keepalive import has_wrk
from measuring import Contender, compare

from compare.client import Taken, check, exchange, gets, wrk
from compare.objects import SIZE
from compare.peers import Server
from compare.stage import CHECKED, Measure, Stage, contender, named

CONNECTIONS = 32
PEERS = (
    "nginx-static", "nginx-cache", "varnish-malloc", "varnish-file", "rclone", "seaweed-filer", "seaweed-s3", "juicefs",
)  # fmt: skip
TEN_TIMES = ("rclone serve http", "JuiceFS gateway", "SeaweedFS S3")


async def run(stage: Stage) -> None:
    ours = [
        *await stage.workers(), *await stage.workers(memory=False),
        *await stage.workers(auth=True), *await stage.workers(auth=True, memory=False),
    ]  # fmt: skip
    servers = await stage.warm([*ours, *await stage.servers(*PEERS)], stage.small)
    contenders = [contender(server, _measure(stage, server)) for server in servers]
    for server in servers:
        await _measure(stage, server)(0)  # a round that does not count: what grows on demand has grown
    before = await stage.counted(ours)
    await compare(contenders, stage.options.rounds)
    after = await stage.counted(ours)
    for server in servers:
        check(server, stage.small.sample(CHECKED), hit=True)
    _conclude(stage, contenders)
    for one, first, last in zip(contenders, before, after, strict=False):  # ours come first
        asked = sum(sample.asked for sample in one.samples if isinstance(sample, Taken))
        stage.findings.at_least(f"hits, {one.name}: reads counted beside answers received", (last - first) / asked, 1)


def _measure(stage: Stage, server: Server) -> Measure:
    async def measure(_round: int) -> Taken:
        requests = gets(server, stage.small.names)
        if has_wrk():
            return await wrk(stage.directory, server, requests, CONNECTIONS, stage.options.seconds)
        return await exchange(server, requests, CONNECTIONS, stage.options.seconds, again=True)

    return measure


def _conclude(stage: Stage, contenders: Sequence[Contender]) -> None:
    cache, s3 = named(contenders, "nginx proxy_cache"), named(contenders, "SeaweedFS S3")
    client = "wrk" if has_wrk() else "own client"
    signed = [one for one in contenders if "SigV4" in one.name or one.name in ("SeaweedFS S3", "JuiceFS gateway")]
    open_ = [one for one in contenders if one not in signed]
    title = f"{SIZE // 1024} KiB, {CONNECTIONS} connections, {client}"
    stage.findings.add(f"hits without signature, {title}", open_, [cache, s3], chart="hits")
    stage.findings.add(f"hits with SigV4 in the header, {title}", signed, [s3], chart="hits-signed")
    for one in contenders:
        if one.name.startswith("tierproxy"):
            _goals(stage, one, contenders)


def _goals(stage: Stage, one: Contender, contenders: Sequence[Contender]) -> None:
    goal = stage.findings.at_least
    if "SigV4" in one.name:
        s3 = named(contenders, "SeaweedFS S3")
        if s3 is not None:
            goal(f"hits, {one.name}, beside SeaweedFS S3", one.rate / s3.rate, 4)
        return
    cache = named(contenders, "nginx proxy_cache")
    if cache is not None:
        goal(f"hits, {one.name}, beside nginx proxy_cache", one.rate / cache.rate, 1.2 if "memory" in one.name else 0.9)
    for name in TEN_TIMES if "memory" in one.name else ():
        peer = named(contenders, name)
        if peer is not None:
            goal(f"hits, {one.name}, beside {name}", one.rate / peer.rate, 10)
