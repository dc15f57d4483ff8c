"""HEAD, and pages of listings."""

from __future__ import annotations

import http.client
import re
from dataclasses import replace

from keepalive import head, signed
from measuring import compare
from served import Failed

from compare.client import Ask, Taken, ask, exchange
from compare.hits import PEERS
from compare.peers import Server
from compare.stage import Measure, Stage, contender, named, plainly

CONNECTIONS = 16
PAGE = 1000


async def run_heads(stage: Stage) -> None:
    """wrk cannot: it waits for the body of a HEAD."""
    ours = await stage.workers()
    servers = await stage.warm([*ours, *await stage.servers(*PEERS)], stage.small)
    contenders = [contender(server, _heads(stage, server), plainly(server)) for server in servers]
    await compare(contenders, stage.options.rounds)
    references = [named(contenders, "nginx proxy_cache"), named(contenders, "SeaweedFS S3")]
    stage.findings.add(f"HEAD, {CONNECTIONS} at once, own client", contenders, references)


def _heads(stage: Stage, server: Server) -> Measure:
    async def measure(_round: int) -> Taken:
        requests = [ask(server, "HEAD", name) for name in stage.small.names]
        return await exchange(server, requests, CONNECTIONS, stage.options.seconds, again=True)

    return measure


async def run_lists(stage: Stage) -> None:
    """ListObjectsV2 of the directory of small objects: the first page. tierproxy answers from its catalogue when that
    is complete (``tierproxy catalogue sync``), and else asks S3."""
    ours = await stage.tierproxy(auth=True, mark="-synced", synced=True)
    asking = replace(await stage.tierproxy(auth=True), name="tierproxy, not synced: asks alt, SigV4")
    servers = [ours, asking, *await stage.servers("seaweed-s3", "juicefs")]
    wanted = min(PAGE, stage.small.count)
    for server in servers:
        _look_at_page(server, stage, wanted)
    contenders = [contender(server, _pages(stage, server), plainly(server)) for server in servers]
    await compare(contenders, stage.options.rounds)
    s3 = named(contenders, "SeaweedFS S3")
    stage.findings.add(f"LIST, pages of {wanted}, 4 at once", contenders, [s3], chart="list")


def _pages(stage: Stage, server: Server) -> Measure:
    async def measure(_round: int) -> Taken:
        return await exchange(server, [_page(server, stage)], 4, stage.options.seconds, again=True)

    return measure


def _page(server: Server, stage: Stage) -> Ask:
    query = f"list-type=2&max-keys={PAGE}&prefix={stage.small.directory}%2F"
    fields = {"host": server.host}
    if server.key is not None:
        fields = signed("GET", server.host, server.path, server.key, query=query)
    return Ask(head("GET", f"{server.path}?{query}", fields), least=100 * min(PAGE, stage.small.count))


def _look_at_page(server: Server, stage: Stage, wanted: int) -> None:
    """All names are on it. Raises Failed."""
    lines = _page(server, stage).head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if line)
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    try:
        connection.request("GET", lines[0].split()[1], headers=fields)
        answer = connection.getresponse()
        names = set(re.findall(r"<Key>([^<]+)</Key>", answer.read().decode()))
    finally:
        connection.close()
    if answer.status != 200 or len(names) < wanted or not names <= set(stage.small.names):
        raise Failed(f"{server.name}: a page was answered {answer.status} with {len(names)} of {wanted} names")
