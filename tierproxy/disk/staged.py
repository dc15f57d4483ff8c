"""A file before it is a blob, as the loop sees it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from tierproxy.disk import trailer
from tierproxy.disk.commits import DirectoryCommits, DirectorySyncs, Errands
from tierproxy.disk.digest import BodyDigest
from tierproxy.disk.kept import KeptBlob
from tierproxy.disk.layout import FanOut
from tierproxy.disk.staged_file import StagedFile
from tierproxy.errors import DiskError, DiskHangs, DiskUnavailable
from tierproxy.model import BlobLabel, SealedBlob
from tierproxy.ports import Hands

T = TypeVar("T")

logger = logging.getLogger(__name__)

MEMORY = 1024 * 1024
"""Bytes kept in memory: a body up to this long has no file before ``seal``; a longer one is written in such pieces."""
INLINE = 64 * 1024
"""A body up to this long is hashed on the loop: a hop to a thread costs more."""


class StagedBlob:
    """``tierproxy.ports.Staged``. ``_flushed`` bytes are in the file, the rest in ``_tail``."""

    def __init__(
        self, name: str, file: StagedFile, digest: BodyDigest, offload: Hands, publishes: DirectoryCommits,
        syncs: DirectorySyncs, errands: Errands, target: Path, fan_out: FanOut, leftovers: list[Callable[[], None]],
    ) -> None:  # fmt: skip
        """``leftovers``: takes the cleaning up that could not be done."""
        self.name = name
        self._file = file
        self._digest = digest
        self._offload = offload
        self._publishes = publishes
        self._syncs = syncs
        self._errands = errands
        self._target = target
        self._fan_out = fan_out
        self._leftovers = leftovers
        self._tail: bytes | bytearray = b""  # bytes: one piece, as it came
        self._flushed = 0
        self._whole: bytes | None = None
        self._spilled = False  # the body is longer than MEMORY: the file keeps a descriptor
        self._touched = False  # there may be a file
        self._finished = False
        self._sealed = False
        self._keeping: KeptBlob | None = None
        self._published = False
        self._hung = False  # a job did not return in time
        self._closed = False
        self._failure: DiskError | None = None

    def __repr__(self) -> str:
        state = "published" if self.kept else "sealed" if self._sealed else "finished" if self._finished else "open"
        return f"<StagedBlob {self.name} {state} {self.size} bytes>"

    @property
    def size(self) -> int:
        return self._flushed + len(self._tail)

    @property
    def kept(self) -> bool:
        """Durable: the name is the caller's."""
        return self._published or (self._keeping is not None and self._keeping.durable)

    @property
    def content(self) -> bytes | None:
        if self._spilled:
            return None
        if self._whole is None or len(self._whole) != len(self._tail):
            self._whole = bytes(self._tail)  # no copy of bytes
        return self._whole

    @property
    def etag(self) -> str:
        """The check's ETag, "" without a check. After ``finish``."""
        return self._digest.check.etag() if self._digest.check is not None else ""

    async def write(self, data: bytes | memoryview) -> None:
        self._check_usable()
        if self._finished:
            raise ValueError(f"write after finish: {self!r}")
        if isinstance(data, bytes) and not self._tail and len(data) <= MEMORY:
            self._tail = data
            return
        if isinstance(self._tail, bytes):
            self._tail = bytearray(self._tail)
        rest = memoryview(data)
        while rest:
            room = MEMORY - len(self._tail)
            if not room:
                await self._make_room(rest)
                continue
            self._tail += rest[:room]
            rest = rest[room:]

    async def read(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        if stop <= offset:
            return b""
        flushed = self._flushed
        with memoryview(self._tail) as tail:
            ending = bytes(tail[max(offset - flushed, 0) : max(stop - flushed, 0)])
        if offset >= flushed:
            return ending
        try:
            return await self._offload.run(self._file.read, offset, min(stop, flushed) - offset) + ending
        except DiskHangs:
            self._hung = True
            raise

    async def finish(self) -> None:
        self._check_usable()
        if self._finished:
            return
        if self._spilled:
            await self._flush()
        elif len(self._tail) <= INLINE:
            self._digest.update(self._tail)
        else:
            await self._hash_apart()
        self._finished = True

    async def _hash_apart(self) -> None:
        try:
            await self._job(self._digest.update, self._tail)
        except DiskHangs:  # no thread was free; who goes on without the disk needs the digest
            if self._digest.size < self.size:
                self._digest.update(self._tail)
            raise

    async def seal(self, label: BlobLabel) -> SealedBlob:
        await self.finish()
        if self._sealed:
            raise ValueError(f"sealed twice: {self!r}")
        self._touched = True
        length = await self._job(self._file.seal, self._tail, label)
        self._sealed = True
        return SealedBlob(self.name, self.size, trailer.footprint(length), self._digest.xxh3())

    def keep(self, label: BlobLabel) -> KeptBlob:
        self._check_usable()
        if self._sealed or not self._finished:
            raise ValueError(f"kept twice, or before its end: {self!r}")
        ending = self._digest.trailer(label)
        length = self.size + len(ending)
        self._touched = self._sealed = True
        self._keeping = KeptBlob(
            SealedBlob(self.name, self.size, trailer.footprint(length), self._digest.xxh3()), self._syncs
        )  # fmt: skip
        self._syncs.begin()
        self._offload.begin(partial(self._keep, self._keeping, ending), partial(self._late, self._keeping))
        return self._keeping

    def _keep(self, keeping: KeptBlob, ending: bytes) -> None:
        """In a thread. Whatever it is that goes wrong is the business of who waits."""
        try:
            self._file.keep(self._tail, ending, self._flushed, self._target, self._fan_out)
            self._syncs.sync(self._target.parent)
        except BaseException as error:  # noqa: BLE001 - as above
            self._offload.note(error)
            self._failure = error if isinstance(error, DiskError) else DiskUnavailable("an earlier step did not end")
            keeping.settle(error)
        else:
            keeping.settle(None)  # if it was given up before, ``close`` removes the file
        finally:
            keeping.leave()

    def _late(self, keeping: KeptBlob, error: BaseException) -> None:
        """loop. It hangs, or no thread was free for it."""
        if keeping.settle(error):
            self._hung = True
            self._failure = error if isinstance(error, DiskError) else None
        keeping.leave()

    async def publish(self) -> None:
        await self.move_to(self._target, self._fan_out)

    async def move_to(self, target: Path, fan_out: FanOut | None = None) -> None:
        """Durable as ``target``, and the caller's, when this returns."""
        self._check_usable()
        if not self._sealed:
            raise ValueError(f"published before seal: {self!r}")
        try:
            await self._publishes.run(partial(self._file.place, target, fan_out), (target.parent,))
        except DiskHangs:
            self._hung = True
            raise
        self._published = True

    async def discard(self) -> None:
        self._failure = self._failure or DiskUnavailable("the staged file was discarded")
        if self._touched and not self.kept:
            await self._errands.run(self._cleaned_up(self._file.remove))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._failure = self._failure or DiskUnavailable("the staged file is closed")
        claimed = self.kept and (self._keeping is None or self._keeping.claimed)
        if self._touched and (self._spilled or not claimed):
            await self._errands.run(self._end())

    async def _end(self) -> None:
        kept = self._published
        if self._keeping is not None:
            await self._keeping.settled()
            kept = self._keeping.durable and self._keeping.claimed
        await self._cleaned_up(partial(self._file.end, kept, not self._hung))

    async def _cleaned_up(self, job: Callable[[], None]) -> None:
        """``job`` done in a thread; or left to the one that hangs, or for later."""
        if self._hung and self._file.abandon():
            return
        try:
            await self._offload.run(job)
        except DiskHangs:
            self._leftovers.append(job)

    async def _make_room(self, rest: memoryview) -> None:
        """If the disk refuses, what was handed in is all there all the same, hashed and readable from memory: the
        caller goes on without the disk."""
        try:
            await self._flush()
        except DiskError:
            # A new tail: the error's traceback still looks at the old one, which cannot grow then.
            self._tail = bytearray(self._tail) + rest
            self._digest.update(bytes(rest))
            raise

    async def _flush(self) -> None:
        self._spilled = self._touched = True
        try:
            await self._job(self._file.append, self._tail, self._flushed)
        except DiskHangs:  # as ``_hash_apart``: whatever is begun hashes first
            if self._digest.size == self._flushed:
                self._digest.update(self._tail)
            raise
        # A new tail, never an emptied one: a thread may still hold the old.
        self._flushed, self._tail = self._flushed + len(self._tail), bytearray()

    async def _job(self, call: Callable[..., T], *args: object) -> T:
        """A step in a thread. If it fails or its task is cancelled, only discard, read and close are left to do."""
        self._failure = DiskUnavailable("an earlier step did not end")
        try:
            result = await self._offload.run(call, *args)
        except DiskError as error:
            self._failure = error
            self._hung = isinstance(error, DiskHangs)
            raise
        self._failure = None
        return result

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
