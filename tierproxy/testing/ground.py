"""A data directory on a real disk with a real catalogue, an alt tier in memory and virtual time: the ground on which
tests of single rooms stand, and the ways to damage it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue.sqlite import SqliteCatalogue
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import DataDirectory
from tierproxy.model import BlobLabel, BucketRow, Entry, Headers, Job, JobKind, ObjectName, SealedBlob, State
from tierproxy.offload import ThreadPool
from tierproxy.store.body import MemorySource
from tierproxy.testing.clock import VirtualClock

BUCKET = "mail"


class Ground:
    """See the module. Make it with ``ground``."""

    def __init__(
        self, root: Path, pool: ThreadPool, disk: DiskBlobs, catalogue: SqliteCatalogue, clock: VirtualClock
    ) -> None:
        self.root = root
        self.pool = pool
        self.disk = disk
        self.catalogue = catalogue
        self.clock = clock
        self.alt = MemoryAlt(clock=clock)
        self.files = DataDirectory(root)

    # ------------------------------------------------------------ objects

    async def clean(self, key: str, content: bytes = b"a mail") -> Entry:
        """An object on disk and in alt."""
        return await self.write(key, content, State.CLEAN)

    async def dirty(self, key: str, content: bytes = b"a mail") -> Entry:
        """An object on disk, with an upload in the journal."""
        return await self.write(key, content, State.DIRTY)

    async def write(self, key: str, content: bytes, state: State) -> Entry:
        """Publish ``content`` in the order a write does: file, alt when CLEAN, row."""
        label = self.label(key, content)
        sealed = await self.blob(label, content)
        entry = entry_of(label, sealed, state, at=self.clock.now())
        if state is State.CLEAN:
            entry = replace(entry, alt_etag=await self.put_alt(key, content))
        await self.catalogue.publish(entry, job=put_job(entry) if state is State.DIRTY else None)
        return self.catalogue.find(entry.name) or entry

    def label(self, key: str, content: bytes, generation: int | None = None) -> BlobLabel:
        """What a blob of ``content`` says of itself; a fresh generation unless one is given."""
        number = self.catalogue.next_generation() if generation is None else generation
        return BlobLabel(ObjectName(BUCKET, key), number, etag_of(content), Headers(), self.clock.now())

    async def blob(self, label: BlobLabel, content: bytes) -> SealedBlob:
        """A published file that no row names yet."""
        staged = self.disk.stage()
        try:
            await staged.write(content)
            sealed = await staged.seal(label)
            await staged.publish()
            return sealed
        finally:
            await staged.close()

    async def part(self, content: bytes = b"a part") -> str:
        """A staged part that no row names yet."""
        staged = self.disk.stage()
        try:
            await staged.write(content)
            return await self.disk.keep_part(staged)
        finally:
            await staged.close()

    async def put_alt(self, key: str, content: bytes) -> str:
        """An object in alt; returns its ETag."""
        name = ObjectName(BUCKET, key)
        return await self.alt.put(name, MemorySource(content), Headers(), md5=etag_of(content))

    def row(self, key: str) -> Entry | None:
        return self.catalogue.find(ObjectName(BUCKET, key))

    async def blobs(self) -> set[str]:
        """Every blob file there is."""
        return {name async for names in self.disk.scan() for name in names}

    def quarantined(self) -> set[str]:
        return set(os.listdir(self.files.quarantine))

    # ------------------------------------------------------------ damage

    def truncate(self, blob: str, by: int = 1) -> None:
        """The end of the file is missing."""
        path = self.files.blob(blob)
        os.truncate(path, path.stat().st_size - by)

    def flip(self, blob: str, offset: int = 0) -> None:
        """One bit is wrong."""
        content = bytearray(self.files.blob(blob).read_bytes())
        content[offset] ^= 1
        self.files.blob(blob).write_bytes(content)

    def zero(self, blob: str) -> None:
        """Only zeroes, as after a power cut on a file system that allocates late."""
        path = self.files.blob(blob)
        path.write_bytes(bytes(path.stat().st_size))

    def vanish(self, blob: str) -> None:
        """The file is gone."""
        self.files.blob(blob).unlink()

    def swap(self, blob: str, other: str) -> None:
        """``blob`` has the bytes of ``other``: sound, but foreign."""
        self.files.blob(blob).write_bytes(self.files.blob(other).read_bytes())

    def duplicate(self, blob: str) -> str:
        """A second file with the same bytes; its name."""
        name = f"{int(blob, 16) + 1:032x}"
        self.files.blob(name).write_bytes(self.files.blob(blob).read_bytes())
        return name


@asynccontextmanager
async def ground(root: Path) -> AsyncIterator[Ground]:
    """A fresh (or the old) ``root``, opened; closed at the end, whatever happens."""
    pool, clock = ThreadPool("ground", 4), VirtualClock()
    try:
        disk = await DiskBlobs.start(root, Files(), pool, clock)
        catalogue = SqliteCatalogue(root, pool, generation_block=1000)
        try:
            if catalogue.bucket(BUCKET) is None:
                await catalogue.add_bucket(BucketRow(BUCKET, clock.now(), created=False, complete=False))
            yield Ground(root, pool, disk, catalogue, clock)
        finally:
            await catalogue.close()
            await disk.close()
    finally:
        await pool.close()


def entry_of(label: BlobLabel, sealed: SealedBlob, state: State, *, at: float) -> Entry:
    """The row of a blob."""
    entry = Entry(
        label.name, label.generation, state, sealed.size, label.etag, label.written_at, headers=label.headers
    )  # fmt: skip
    return entry.with_blob(sealed, at=at)


def put_job(entry: Entry) -> Job:
    return Job(entry.name, entry.generation, JobKind.PUT, entry.size, queued_at=entry.written_at)


def etag_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
