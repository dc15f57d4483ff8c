"""The hit lane in a whole node: where it is off, and that what it answers is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.server.side_by_side import MAIL, said
from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, ListenSection, MemorySection
from tierproxy.config.values import Size
from tierproxy.mail.names import Naming
from tierproxy.node import Node, Parts
from tierproxy.s3api.auth import Open
from tierproxy.server import ObjectServer
from tierproxy.testing.rig import Rig, config_for, rig
from tierproxy.wiring import assemble, hit_lane, object_server, open_local

GET = b"GET /mail/a HTTP/1.1\r\nhost: x\r\nuser-agent: mail\r\n\r\n"
LAST = b"GET /mail/a HTTP/1.1\r\nhost: x\r\nuser-agent: mail\r\nconnection: close\r\n\r\n"


@asynccontextmanager
async def node_with(config: Config) -> AsyncIterator[tuple[Rig, ObjectServer]]:
    async def open_parts() -> Parts:
        return assemble(await open_local(config, MemoryAlt(), SystemClock()))

    node = Node(open_parts, lambda parts: object_server(config, parts))
    await node.start()
    try:
        assert isinstance(node.server, ObjectServer)
        yield Rig(node, MemoryAlt(), Path(config.node.data_dir)), node.server
    finally:
        await node.stop(5)


def open_config(root: Path, **sections: object) -> Config:
    return config_for(root, listen=ListenSection(address="127.0.0.1:0", auth="none"), **sections)


@pytest.mark.parametrize("off", ["hit_lane", "access_log", "otel_endpoint"])
async def test_the_lane_is_off_where_every_request_is_to_be_seen(tmp_path: Path, off: str) -> None:
    async with rig(tmp_path) as one:
        parts, config = one.parts, one.parts.config
        given = parts.near, parts.hot, Open(), parts.clock, Naming(config.naming, config.folders)
        assert hit_lane(config, *given) is not None
        if off == "hit_lane":
            without = dataclasses.replace(config, listen=dataclasses.replace(config.listen, hit_lane=False))
        else:
            value = True if off == "access_log" else "http://127.0.0.1:1/v1/traces"
            without = dataclasses.replace(config, node=dataclasses.replace(config.node, **{off: value}))  # type: ignore[arg-type]
        assert hit_lane(without, *given) is None


async def test_what_the_lane_answered_is_counted_as_any_other_read(tmp_path: Path) -> None:
    async with node_with(open_config(tmp_path)) as (one, server):
        await one.put("a", MAIL)
        await one.drained()
        assert (await said(server, [GET * 9, LAST])).count(MAIL) == 10
        await server.stop(1)
        counters = one.parts.counters
        assert (counters.disk_hits, counters.memory_hits, counters.gets) == (1, 9, 10)
        assert sum(counters.delivered.values()) == 10 * len(MAIL)
        assert one.parts.activity().answers == {200: 10}
        await one.parts.tally.flush()
        row = one.row("a")
        assert row is not None
        assert row.reads == counters.reads["person"]  # type: ignore[index]
        assert row.reads > 0


async def test_so_it_is_from_disk_alone(tmp_path: Path) -> None:
    config = open_config(tmp_path, memory=MemorySection(max_bytes=Size(0)))
    async with node_with(config) as (one, server):
        await one.put("a", MAIL)
        await one.drained()
        assert (await said(server, [GET * 9, LAST])).count(MAIL) == 10
        await server.stop(1)
        assert (one.parts.counters.disk_hits, one.parts.counters.memory_hits) == (10, 0)


async def test_a_purge_is_seen_and_gives_the_memory_back(tmp_path: Path) -> None:
    async with node_with(open_config(tmp_path)) as (one, server):
        await one.put("a", MAIL)
        await one.drained()
        assert b"x-tierproxy-tier: memory" in await said(server, [GET * 3, LAST])
        await one.purge("a")
        assert one.parts.hot.bytes_used == 0
        assert b"x-tierproxy-tier: alt" in await said(server, [LAST])
