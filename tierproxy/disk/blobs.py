"""The disk tier: blob files below one data directory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import xxhash

from tierproxy.disk import layout, reading, trailer
from tierproxy.disk.commits import DirectoryCommits, DirectorySyncs, Errands
from tierproxy.disk.descriptor import Descriptor
from tierproxy.disk.digest import BodyDigest
from tierproxy.disk.fsio import Files, disk_errors
from tierproxy.disk.layout import DataDirectory, FanOut
from tierproxy.disk.reading import ANYTHING, BlockedBlob, Expected, WholeBlob
from tierproxy.disk.staged import StagedBlob
from tierproxy.disk.staged_file import StagedFile
from tierproxy.errors import BlobCorrupt
from tierproxy.model import BlobFacts, BlobLabel, FreeSpace, Headers, ObjectName, SealedBlob, Stub
from tierproxy.ports import BodyCheck, Clock, Hands, Staged

NAMES = 100
"""Blob names for which random bytes are asked for at once: each time is a system call."""
BATCH = 1000
"""Names in one batch of ``scan``."""
FREE_SPACE_AGE = 1.0
"""Seconds for which a statvfs is good."""


class DiskBlobs:
    """``tierproxy.ports.DiskTier``. Make it with ``start``. One per data directory: hold the ``DataLock``."""

    def __init__(
        self, root: Path, files: Files, offload: Hands, clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:  # fmt: skip
        self._directory = DataDirectory(root)
        self._files = files
        self._offload = offload
        self._clock = clock
        self._random_bytes = random_bytes
        self._random = b""
        self._errands = Errands()
        self._fan_out = FanOut(self._directory.blobs, files)
        self._publishes = DirectoryCommits(files, offload, self._errands)
        self._syncs = DirectorySyncs(files)
        # Apart, so that a purge of thousands of files does not hold up a write.
        self._removals = DirectoryCommits(files, offload, self._errands, gone_is_fine=True)
        self._leftovers: list[Callable[[], None]] = []
        self._free: FreeSpace | None = None
        self._free_at = 0.0

    def __repr__(self) -> str:
        return f"<DiskBlobs {self._directory.root}>"

    @classmethod
    async def start(
        cls, root: Path, files: Files, offload: Hands, clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> DiskBlobs:  # fmt: skip
        """Make the directories below ``root``, durably. Raises OutOfSpace, DiskUnavailable."""
        disk = cls(root, files, offload, clock, random_bytes)
        await offload.run(disk._directory.make, files)
        return disk

    # writing

    def stage(self, check: BodyCheck | None = None) -> StagedBlob:
        name = layout.new_name(self._clock.now(), self._some_random_bytes)
        digest = BodyDigest(check)
        file = StagedFile(self._directory.staged(name), self._files, digest)
        target = self._directory.blob(name)
        return StagedBlob(
            name, file, digest, self._offload, self._publishes, self._syncs, self._errands, target, self._fan_out,
            self._leftovers,
        )  # fmt: skip

    def _some_random_bytes(self, count: int) -> bytes:
        if len(self._random) < count:
            self._random = self._random_bytes(NAMES * count)
        taken, self._random = self._random[:count], self._random[count:]
        return taken

    async def remove(self, blobs: Sequence[str]) -> None:
        await self._remove([self._directory.blob(name) for name in blobs if layout.is_name(name)])

    async def quarantine(self, blob: str) -> None:
        source, target = self._directory.blob(blob), self._directory.quarantined(blob)
        move = partial(self._files.rename, source, target)
        await self._removals.run(move, (target.parent, source.parent))  # found before it is forgotten

    async def tidy(self) -> None:
        jobs = list(self._leftovers)
        for job in jobs:
            await self._offload.run(job)
            self._leftovers.remove(job)

    async def clear_staging(self) -> int:
        return await self._offload.run(layout.clear, self._directory.staging, self._files)

    async def _remove(self, paths: list[Path]) -> None:
        if paths:
            unlink = partial(layout.unlink_all, paths, self._files)
            await self._removals.run(unlink, dict.fromkeys(path.parent for path in paths))

    # reading

    async def open(self, blob: str, *, size: int, generation: int, xxh3: bytes | None) -> WholeBlob | BlockedBlob:
        return await self._open(self._directory.blob(blob), Expected(size, generation, xxh3))

    async def _open(self, path: Path, expected: Expected) -> WholeBlob | BlockedBlob:
        pin = Descriptor()
        try:
            found, content = await self._offload.run(reading.load, path, pin, expected)
        except BaseException:  # cancelled too: the job may be about to open the file
            pin.abandon()
            raise
        if content is not None:
            return WholeBlob(found, content)
        return BlockedBlob(found, pin, self._offload, self._errands, self._leftovers)

    async def ends(self, blobs: Sequence[BlobFacts], head: int, tail: int) -> list[Stub | None]:
        paths = [self._directory.blob(one.name) for one in blobs]
        return await self._offload.run(reading.ends, paths, blobs, head, tail)

    async def footprints(self, blobs: Sequence[str]) -> list[int | None]:
        return await self._offload.run(reading.footprints, [self._directory.blob(name) for name in blobs])

    async def verify(self, blob: str) -> tuple[BlobLabel, SealedBlob]:
        opened = await self._open(self._directory.blob(blob), ANYTHING)
        try:
            if isinstance(opened, BlockedBlob):
                await _verify_blocks(opened)
        finally:
            await opened.close()
        return opened.label, SealedBlob(blob, opened.size, trailer.footprint(opened.file_size), opened.xxh3)

    async def scan(self) -> AsyncIterator[list[str]]:
        for directory in await self._offload.run(layout.blob_directories, self._directory.blobs):
            names = await self._offload.run(layout.names_in, directory)
            for start in range(0, len(names), BATCH):
                yield names[start : start + BATCH]

    def free(self) -> FreeSpace:
        now = self._clock.monotonic()
        if self._free is None or now - self._free_at >= FREE_SPACE_AGE:
            self._free, self._free_at = _free_space(self._directory.root), now
        return self._free

    # parts of multipart uploads

    async def keep_part(self, staged: Staged) -> str:
        if not isinstance(staged, StagedBlob):
            raise TypeError(f"not staged here: {staged!r}")
        await staged.finish()
        etag = staged.etag
        await staged.seal(BlobLabel(ObjectName("", etag), 0, etag, Headers(), self._clock.now()))
        await staged.move_to(self._directory.part(staged.name))
        return staged.name

    async def open_part(self, file: str, size: int, etag: str) -> WholeBlob | BlockedBlob:
        return await self._open(self._directory.part(file), Expected(size, 0, etag=etag))

    async def remove_parts(self, files: Sequence[str]) -> None:
        await self._remove([self._directory.part(name) for name in files if layout.is_name(name)])

    async def scan_parts(self) -> list[str]:
        return await self._offload.run(layout.names_in, self._directory.parts)

    async def close(self) -> None:
        """Wait for cleanup and commits under way. The pool is its owner's to close."""
        await self._errands.drain()


async def _verify_blocks(blob: BlockedBlob) -> None:
    """One thread job a step, so that a walk over a large blob lets others have the thread in between."""
    digest = xxhash.xxh3_128()
    for offset in range(0, blob.size, reading.STEP):
        digest.update(await blob.read(offset, reading.STEP))
    if digest.digest() != blob.xxh3:
        raise BlobCorrupt("the body is not what was written")


def _free_space(root: Path) -> FreeSpace:
    with disk_errors(f"statvfs {root}"):
        found = os.statvfs(root)
    return FreeSpace(
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        total_inodes=found.f_files,
        free_inodes=found.f_favail,
    )
