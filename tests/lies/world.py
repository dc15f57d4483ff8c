"""A node as clients see it, over HTTP, and behind it a front that lies before a SeaweedFS that does not.

Three buckets: ``mail`` is the node's alone and its catalogue complete, ``old`` is the node's alone and holds objects
the catalogue has never heard of, ``shared`` has other writers.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from tierproxy.alt.opening import open_alt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import (
    AltSection,
    BucketSection,
    Config,
    FillSection,
    QueueSection,
    StubsSection,
    WriteSection,
)
from tierproxy.config.values import Duration, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import AltMissing
from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.ports import AltTier
from tierproxy.purges import OPERATOR, Drop
from tierproxy.store.body import MemorySource
from tierproxy.testing.lies import Rule
from tierproxy.testing.lying_s3 import Front, lying
from tierproxy.testing.rig import Rig, rig
from tierproxy.testing.wire import served
from tierproxy.wiring import Doors

KIB = 1024
HEALING = 60.0  #: seconds the queue has to run empty once nobody lies any more
TIMES = {"connect_timeout": Duration(1), "request_timeout": Duration(1), "retry_timeout": Duration(0.5)}
LATE = 1.3  #: seconds: after the client's timeout
ALT = "really"
BUCKETS = (
    BucketSection(name="mail", alt_bucket=ALT, alt_prefix="mail/"),
    BucketSection(name="old", alt_bucket=ALT, alt_prefix="old/"),
    BucketSection(name="shared", alt_bucket=ALT, alt_prefix="shared/", exclusive=False),
)
SECTIONS: dict[str, Any] = {
    "bucket": BUCKETS,
    "write": WriteSection(alt_patience=Duration(1.2)),
    "queue": QueueSection(backoff=Duration(0.05), max_backoff=Duration(0.1)),
    "fill": FillSection(coalesce_limit=Size(128 * KIB), range_limit=Size(256 * KIB)),
    "stubs": StubsSection(max_bytes=Size(32 * KIB * KIB)),
}


def content(seed: object, size: int = 20 * KIB) -> bytes:
    """``size`` bytes of which no two stretches are the same."""
    return hashlib.shake_256(repr(seed).encode()).digest(size)


def etag_of(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


@dataclass(frozen=True, slots=True)
class Said:
    """What a client saw. ``whole``: the body ended where the head said it would."""

    status: int
    body: bytes = b""
    whole: bool = True
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    def __str__(self) -> str:
        return f"{self.status}" if self.whole else "cut"

    @property
    def tiers(self) -> str:
        return str(self.headers.get("x-tierproxy-tiers", ""))


@dataclass
class World:
    """``direct`` asks SeaweedFS, behind the front's back. Nothing happens in here but while ``run`` runs."""

    rig: Rig
    front: Front
    http: httpx.AsyncClient
    direct: AltTier
    runner: asyncio.Runner
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def name(self, bucket: str = "mail") -> ObjectName:
        """Of an object nobody has had yet. No name is the end of another."""
        return ObjectName(bucket, f"user/u.{next(self._numbers):05}")

    def row(self, name: ObjectName) -> Entry | None:
        return self.rig.parts.catalogue.find(name)

    def tell(self, *rules: Rule) -> None:
        self.front.tell(*rules)

    # ------------------------------------------------------------ as a client

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Said:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.stream(method, path, content=body, headers=named) as answer:
            found = bytearray()
            try:
                async for piece in answer.aiter_raw():
                    found += piece
            except httpx.RemoteProtocolError:
                return Said(answer.status_code, bytes(found), whole=False, headers=answer.headers)
            return Said(answer.status_code, bytes(found), headers=answer.headers)

    async def get(self, name: ObjectName, **headers: str) -> Said:
        return await self.ask("GET", f"/{name.bucket}/{name.key}", None, **headers)

    async def head(self, name: ObjectName) -> Said:
        return await self.ask("HEAD", f"/{name.bucket}/{name.key}")

    async def put(self, name: ObjectName, body: bytes, **headers: str) -> Said:
        return await self.ask("PUT", f"/{name.bucket}/{name.key}", body, **headers)

    async def delete(self, name: ObjectName) -> Said:
        return await self.ask("DELETE", f"/{name.bucket}/{name.key}")

    async def copy(self, source: ObjectName, target: ObjectName, **headers: str) -> Said:
        where = f"/{source.bucket}/{source.key}"
        return await self.ask("PUT", f"/{target.bucket}/{target.key}", b"", x_amz_copy_source=where, **headers)

    async def patient(self, ask: Callable[[], Awaitable[Said]]) -> Said:
        """What a client is told that tries again when it is told to."""
        async with asyncio.timeout(HEALING):
            for _ in range(40):
                said = await ask()
                if said.status != 503:
                    break
                await asyncio.sleep(0.05)
            return said

    # ------------------------------------------------------------ as an operator

    async def purge(self, *names: ObjectName) -> None:
        """Nothing of them stays near but stubs."""
        rows = [row for name in names if (row := self.row(name)) is not None and row.blob is not None]
        await self.rig.parts.store.purge([Drop.of(row, OPERATOR) for row in rows])
        for name in names:
            self.rig.parts.hot.drop(name)

    async def idle(self) -> None:
        while len(self.rig.parts.tasks) or self.rig.parts.queue.running:
            await asyncio.sleep(0.001)

    async def healed(self) -> None:
        """Nobody lies any more, and the queue has run empty."""
        self.tell()
        parts = self.rig.parts
        async with asyncio.timeout(HEALING):
            while parts.catalogue.queue_totals().jobs:
                await parts.catalogue.hurry(None, parts.clock.now())
                parts.queue.wake()
                await asyncio.sleep(0.01)
        await self.idle()

    async def settled(self, name: ObjectName) -> None:
        """Nothing that alt was asked can still be on its way, and a read has found out what came of it."""
        async with asyncio.timeout(HEALING):
            while (row := self.row(name)) is not None and row.state is State.SUSPECT:
                await self.get(name)
                await asyncio.sleep(0.05)
            await self.idle()

    # ------------------------------------------------------------ in SeaweedFS

    async def store(self, name: ObjectName, body: bytes, **metadata: str) -> None:
        """Behind the node's back."""
        await self.direct.put(name, MemorySource(body), Headers(metadata=metadata), md5=etag_of(body))

    async def stored(self, name: ObjectName) -> bytes | None:
        """What SeaweedFS holds; None: nothing."""
        try:
            body = await self.direct.get(name)
        except AltMissing:
            return None
        try:
            return b"".join([piece async for piece in body.chunks()])
        finally:
            await body.close()


def config_at(endpoint: str, server: EmbeddedS3, **options: Any) -> Config:
    section: AltSection = server.section(
        endpoint=endpoint, max_retries=1, multipart_threshold=Size(5 * KIB * KIB),
        multipart_part_size=Size(5 * KIB * KIB), check_at_start=False, breaker_failures=10_000,
        breaker_pause=Duration(0.05), breaker_max_pause=Duration(0.1), **{**TIMES, **options},
    )  # fmt: skip
    return Config(alt=section, bucket=BUCKETS)


@asynccontextmanager
async def tier(endpoint: str, server: EmbeddedS3, **options: Any) -> AsyncIterator[AltTier]:
    """An alt tier as the node opens one."""
    alt = open_alt(config_at(endpoint, server, **options), SystemClock())
    try:
        yield alt
    finally:
        await alt.close()


def hurried(doors: Doors) -> Doors:
    """What alt was asked may be done late for no longer than the tier waits for its answers."""
    alt = replace(doors.config.alt, request_timeout=TIMES["request_timeout"])
    return replace(doors, config=replace(doors.config, alt=alt))


@asynccontextmanager
async def world(root: Path, server: EmbeddedS3, runner: asyncio.Runner) -> AsyncIterator[World]:
    """A started one. At its end the node's invariants are checked."""
    patient = {"request_timeout": Duration(20), "retry_timeout": Duration(20)}
    async with lying("127.0.0.1", server.ports["s3"]) as front, tier(server.endpoint, server, **patient) as direct:
        await direct.put(ObjectName("old", "unknown"), MemorySource(b"seed"), Headers(), md5=etag_of(b"seed"))
        async with (
            tier(front.endpoint, server) as alt,
            rig(root, alt=alt, wrap=hurried, **SECTIONS) as r,
            served(r.parts.store) as door,
            httpx.AsyncClient(base_url=door.url or "", timeout=60) as http,
        ):
            one = World(r, front, http, direct, runner)
            yield one
            await one.healed()
