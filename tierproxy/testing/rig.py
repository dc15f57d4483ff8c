"""A whole store on a temporary directory, with the alt tier and the clock a test chooses."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import BucketSection, Config, HistorySection, NodeSection, ScrubSection, StubsSection
from tierproxy.config.values import Size
from tierproxy.disk.fsio import Files
from tierproxy.model import Ack, Entry, Headers, JobKind, ObjectName, Tier
from tierproxy.node import Node, Parts
from tierproxy.ports import AltTier, Clock
from tierproxy.purges import OPERATOR, Drop
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import ANYTHING, Precondition, Select, Write, Written, whole
from tierproxy.testing.invariants import check_invariants
from tierproxy.traffic import NOBODY, Visitor
from tierproxy.wiring import Doors, assemble, open_local

BUCKET = "mail"


def config_for(root: Path, **sections: object) -> Config:
    """A configuration of one exclusive bucket ``mail`` below ``root``, without scrub, history and stubs; ``sections``
    replace whole sections."""
    base = Config(
        node=NodeSection(data_dir=str(root)), bucket=(BucketSection(name=BUCKET),), scrub=ScrubSection(enabled=False),
        history=HistorySection(enabled=False), stubs=StubsSection(max_bytes=Size(0)),
    )  # fmt: skip
    return dataclasses.replace(base, **sections)  # type: ignore[arg-type]


class Rig:
    """A started node without a server, and the few verbs tests need."""

    def __init__(self, node: Node, alt: AltTier, root: Path) -> None:
        self.node = node
        self.alt = alt
        self.root = root

    @property
    def parts(self) -> Parts:
        return self.node.parts

    def row(self, key: str) -> Entry | None:
        return self.parts.catalogue.find(name(key))

    async def put(
        self, key: str, body: bytes, *, ack: Ack | None = None, precondition: Precondition = ANYTHING,
        headers: Headers | None = None, piece: int = 64 * 1024, remembered: bool = False,
    ) -> Written:  # fmt: skip
        """A write, which memory then forgets: most tests want to see what the disk has. ``remembered``: it does not."""
        written = await self.parts.store.write(
            Write(
                name(key), headers or Headers(content_type="message/rfc822"), len(body), pieces(body, piece),
                Md5Check(len(body)), precondition, ack,
            )
        )  # fmt: skip
        if not remembered:
            self.parts.hot.drop(name(key))
        return written

    async def get(self, key: str, select: Select = whole, visitor: Visitor = NOBODY) -> bytes:
        return (await self.read(key, select, visitor))[1]

    async def read(self, key: str, select: Select = whole, visitor: Visitor = NOBODY) -> tuple[Tier, bytes]:
        """The tier the bytes came from, and the bytes; all that arrived is delivered."""
        reading = await self.parts.store.open(name(key), select, visitor=visitor)
        body = bytearray(reading.content or b"")
        try:
            if reading.content is None:
                async for chunk in reading.chunks():
                    body += chunk
            return reading.tier, bytes(body)
        finally:
            self.parts.store.delivered(reading, visitor, len(body), 0.0)
            await reading.close()

    async def delete(self, key: str) -> None:
        await self.parts.store.delete(name(key))

    async def purge(self, *keys: str) -> int:
        """Drop the blobs of ``keys`` (all: none given), as a purge would."""
        rows = [row for key in keys if (row := self.row(key))] if keys else self.parts.catalogue.victims(10_000)
        drops = [Drop.of(row, OPERATOR) for row in rows if row.blob is not None]
        return (await self.parts.store.purge(drops)).bytes

    async def idle(self) -> None:
        """Until no background work of the store is left: fills, unlinks, running uploads."""
        while len(self.parts.tasks) or self.parts.queue.running:
            await asyncio.sleep(0)

    async def drained(self) -> None:
        """Until alt has everything."""
        self.parts.queue.wake()
        while self.parts.catalogue.queue_totals().jobs:
            await asyncio.sleep(0.001)
        await self.idle()

    async def drained_now(self) -> None:
        """As ``drained``, and nothing waits for its next try. The one under way ends first: failing, it would put the
        next one off again."""
        await self.idle()
        await self.parts.catalogue.hurry(None, self.parts.clock.now())
        await self.drained()

    async def check(self) -> None:
        """The invariants of the data directory and of the store's accounting, once no pressure run changes them."""
        parts = self.parts
        await self.idle()
        while not parts.purges.pressure.calm:
            await asyncio.sleep(0)
            await self.idle()
        await check_invariants(parts.catalogue, parts.disk, parts.space, root=self.root)

    def journal(self) -> list[tuple[str, JobKind]]:
        return [(job.name.key, job.kind) for job in self.parts.catalogue.jobs()]


def name(key: str) -> ObjectName:
    return ObjectName(BUCKET, key)


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    """``body`` as a client sends it."""
    for offset in range(0, len(body), size):
        yield body[offset : offset + size]


@asynccontextmanager
async def rig(
    root: Path, *, alt: AltTier | None = None, clock: Clock | None = None, files: Files | None = None,
    check: bool = True, wrap: Callable[[Doors], Doors] = lambda doors: doors, shared: bool = False,
    calls_clock: Clock | None = None, reserve_size: int | None = 0, **sections: object,
) -> AsyncIterator[Rig]:  # fmt: skip
    """A started node; on the way out its invariants are checked and it is stopped in order. ``alt`` is not closed, so
    that a second rig on the same ``root`` finds it again. ``shared``: other processes find its version table.
    ``calls_clock``: by which calls to the disk hang, the machine's unless a test says otherwise. ``reserve_size``: what
    is kept back for the catalogue; None: as in a node."""
    backend = alt or MemoryAlt()
    time = clock or SystemClock()
    node = stopped_node(
        root, backend, time, files, wrap, shared=shared, calls_clock=calls_clock, reserve_size=reserve_size, **sections
    )  # fmt: skip
    await node.start()
    one = Rig(node, backend, root)
    try:
        yield one
        if check:
            await one.check()
    finally:
        await node.stop(5)


def stopped_node(
    root: Path, alt: AltTier, clock: Clock, files: Files | None = None,
    wrap: Callable[[Doors], Doors] = lambda doors: doors, *, shared: bool = False, calls_clock: Clock | None = None,
    reserve_size: int | None = 0, **sections: object,
) -> Node:  # fmt: skip
    """A node without a server, not started. ``wrap`` may replace implementations of ports."""
    opener = _opener(
        config_for(root, **sections), cast(AltTier, Kept(alt)), clock, files, wrap, shared, calls_clock, reserve_size
    )  # fmt: skip
    return Node(opener, lambda _parts: None)


def _opener(
    config: Config, alt: AltTier, clock: Clock, files: Files | None, wrap: Callable[[Doors], Doors], shared: bool,
    calls_clock: Clock | None, reserve_size: int | None,
) -> Callable[[], Awaitable[Parts]]:  # fmt: skip
    async def open_parts() -> Parts:
        doors = await open_local(
            config, alt, clock, files, shared=shared, calls_clock=calls_clock, reserve_size=reserve_size
        )  # fmt: skip
        return assemble(wrap(doors))

    return open_parts


class Kept:  # an AltTier by delegation
    """An alt tier that survives the node's ``close``."""

    def __init__(self, alt: AltTier) -> None:
        self._alt = alt

    def __getattr__(self, attribute: str) -> object:
        return getattr(self._alt, attribute)

    async def close(self) -> None:
        """Not ours."""


async def abandon(node: Node) -> None:
    """The machine has stopped: nothing is finished, flushed or journaled; only descriptors and threads are given
    back."""
    parts = node.parts
    with suppress(BaseException):
        await node.quiet()
    await parts.queue.stop(0)
    await parts.tasks.drain(0)
    for close in reversed(parts.closers):
        with suppress(BaseException):
            await close()
