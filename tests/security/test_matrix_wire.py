"""The table of ``test_matrix`` once more, through sockets: the ordinary way, a unix socket, the hit lane, workers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.security.signing import Wanted
from tests.security.test_matrix import KEYS, READS, WAYS, WHO, WRITES, credentials, may
from tests.server.test_workers_of_a_node import Fronts, fronts
from tierproxy.clock import SystemClock
from tierproxy.config.sections import KeySection, ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.s3api.lane.ports import Served
from tierproxy.server import ObjectServer
from tierproxy.testing.wire import PATIENCE, Client, until
from tierproxy.wiring_worker import authenticator

MAIL = b"From: ann@example.org\r\n\r\nHello\r\n" * 30
PLACES = ("mail/ann/1", "mail/anna/1", "mail/ann/none")
SECTIONS = tuple(
    KeySection(
        access_key_id=f"AKIA{who}", secret=f"secret of {who}", buckets=KEYS.get(who, (("*",), ""))[0],
        access="read" if KEYS.get(who, ((), "write"))[1] == "read" else "write",
    )
    for who in (*KEYS, "wrong")
    if KEYS.get(who, (("*",), ""))[0]
)  # fmt: skip


@dataclass
class Ways:
    """``path``: of the unix socket. ``given``: what the lane has reported."""

    both: Fronts
    laned: ObjectServer
    path: Path
    lane: HitLane
    given: list[Served]

    async def client(self, way: str) -> Client:
        if way == "unix":
            return Client(*await asyncio.open_unix_connection(str(self.path)))
        server = {"plain": self.both.plain, "lane": self.laned, "workers": self.both.shared}[way]
        assert server.address is not None
        return Client(*await asyncio.open_connection(*server.address))

    async def status(self, way: str, wanted: Wanted) -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            client = await self.client(way)
            try:
                await client.send(wanted.wire())
                status, _, body = await client.response(head=wanted.method == "HEAD")
                return status, body
            finally:
                await client.close()


@asynccontextmanager
async def ways(directory: Path) -> AsyncIterator[Ways]:
    async with fronts(directory / "data", idle=5, key=SECTIONS) as both:
        one, clock = both.rig, SystemClock()
        await one.put("ann/1", MAIL)
        await one.put("anna/1", MAIL)
        for key in ("ann/1", "anna/1"):
            await one.get(key)
        path = directory / "s"
        listen = ListenSection(address="127.0.0.1:0", unix_socket=str(path), region="us-east-1")
        guard = authenticator(both.config, clock)
        lane = HitLane(one.parts.near, one.parts.hot, guard, clock)
        app = ObjectApp(one.parts.store, guard, listen, clock)
        given: list[Served] = []
        laned = ObjectServer(listen, app, clock, lane=lane, served=given.append)
        await laned.start()
        try:
            yield Ways(both, laned, path, lane, given)
        finally:
            await laned.stop(0)


_VARIES = re.compile(rb"<(RequestId|Resource)>[^<]*</")


async def test_the_ways_in_grant_alike_and_refuse_alike(tmp_path: Path) -> None:
    async with ways(tmp_path) as all_ways:
        before = {place: all_ways.both.rig.row(place.removeprefix("mail/")) for place in PLACES}
        for way in ("plain", "unix", "lane", "workers"):
            for who in WHO:
                refusals: set[bytes] = set()
                for place in PLACES:
                    for how in ("header", "presigned"):
                        for method in ("GET", "GET", "HEAD", "PUT", "DELETE"):
                            allowed = may(READS if method in {"GET", "HEAD"} else WRITES, who, place)
                            if method in {"PUT", "DELETE"} and allowed:
                                continue  # that they may, test_matrix shows
                            wanted = Wanted(method, f"/{place}", body=b"other" if method == "PUT" else b"")
                            sent = wanted if who == "unsigned" else WAYS[how](wanted, credentials(who))
                            status, body = await all_ways.status(way, sent)
                            expected = (404 if place.endswith("none") else 200) if allowed else 403
                            assert status == expected, (way, who, place, how, method)
                            if status == 200 and method == "GET":
                                assert body == MAIL
                            if not allowed and body:
                                refusals.add(_VARIES.sub(b"", body))
                assert len(refusals) <= 1, (way, who, refusals)
        found = {place: all_ways.both.rig.row(place.removeprefix("mail/")) for place in PLACES}
        assert {place: row and row.etag for place, row in found.items()} == {
            place: row and row.etag for place, row in before.items()
        }
        await until(lambda: all_ways.given)
        await until(lambda: all_ways.both.answered)


async def test_what_one_key_was_answered_by_the_lane_another_is_refused(tmp_path: Path) -> None:
    """The lane remembers who may read what it has prepared: for each key its own answer."""
    async with ways(tmp_path) as all_ways:
        for _ in range(3):
            for who in ("all", "other", "writer", "wrong secret", "reader", "unknown", "ann", "nothing"):
                wanted = Wanted("GET", "/mail/anna/1")
                status, _ = await all_ways.status("lane", WAYS["header"](wanted, credentials(who)))
                assert status == (200 if may(READS, who, "mail/anna/1") else 403), who
