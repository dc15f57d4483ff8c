"""Places for the contract: a store in memory, and a real one with readers in the node and beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import xxhash

from tierproxy.config.sections import BucketSection
from tierproxy.disk.layout import DataDirectory
from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.near.beside import NearBeside
from tierproxy.ports import Near
from tierproxy.purges import OPERATOR, Drop
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Write
from tierproxy.testing.contracts.near import Place
from tierproxy.testing.memory_near import MemoryNear
from tierproxy.testing.rig import BUCKET, Rig, pieces, rig

BUCKETS = (BucketSection(name=BUCKET), BucketSection(name="shared", exclusive=False))
Make = Callable[[Path], AbstractAsyncContextManager[Place]]


class MemoryPlace:
    def __init__(self) -> None:
        self.memory = MemoryNear()
        self.memory.shared.add("shared")
        self._blobs = 0

    @property
    def near(self) -> Near:
        return self.memory

    async def put(self, name: ObjectName, body: bytes) -> None:
        self._blobs += 1
        entry = Entry(name, self._blobs, State.CLEAN, len(body), "etag", 0.0, headers=Headers())
        digest = xxhash.xxh3_128_digest(body)
        self.memory.put(replace(entry, blob=f"{self._blobs:032x}", blob_bytes=4096, xxh3=digest), body)

    async def delete(self, name: ObjectName) -> None:
        self.memory.drop(name)

    async def purge(self, name: ObjectName) -> None:
        self.memory.drop(name)

    async def suspect(self, name: ObjectName) -> None:
        standing = self.memory.find(name)
        assert standing is not None
        self.memory.put(replace(standing.entry, state=State.SUSPECT), b"")

    def damage(self, name: ObjectName) -> None:
        self.memory.damaged.add(name)

    def all_changed(self) -> None:
        self.memory.versions.all_changed()


class RealPlace:
    def __init__(self, rig: Rig, near: Near) -> None:
        self.rig = rig
        self.near = near

    async def put(self, name: ObjectName, body: bytes) -> None:
        check = Md5Check(len(body))
        await self.rig.parts.store.write(Write(name, Headers(), len(body), pieces(body, 2**16), check))

    async def delete(self, name: ObjectName) -> None:
        await self.rig.parts.store.delete(name)

    async def purge(self, name: ObjectName) -> None:
        assert (await self.rig.parts.store.purge([Drop.of(self._row(name), OPERATOR)])).objects == 1

    async def suspect(self, name: ObjectName) -> None:
        await self.rig.parts.catalogue.suspect(name, self._row(name).generation)

    def damage(self, name: ObjectName) -> None:
        path = DataDirectory(self.rig.root).blob(self._row(name).blob or "")
        content = bytearray(path.read_bytes())
        content[0] ^= 1
        path.write_bytes(content)

    def all_changed(self) -> None:
        self.rig.parts.versions.all_changed()

    def _row(self, name: ObjectName) -> Entry:
        row = self.rig.parts.catalogue.find(name)
        assert row is not None
        return row


@asynccontextmanager
async def in_memory(_root: Path) -> AsyncIterator[Place]:
    yield MemoryPlace()


@asynccontextmanager
async def in_the_node(root: Path) -> AsyncIterator[Place]:
    async with rig(root, check=False, bucket=BUCKETS) as node:
        yield RealPlace(node, node.parts.near)


@asynccontextmanager
async def beside_the_node(root: Path) -> AsyncIterator[Place]:
    async with rig(root, check=False, shared=True, bucket=BUCKETS) as node:
        near = NearBeside(root)
        try:
            yield RealPlace(node, near)
        finally:
            near.close()
