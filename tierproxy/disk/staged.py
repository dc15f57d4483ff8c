"""A file before it is a blob. ``StagedFile`` is what worker threads see of it, ``StagedBlob`` what the loop sees."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from tierproxy.disk import trailer
from tierproxy.disk.commits import DirectoryCommits, DirectorySyncs, Errands
from tierproxy.disk.descriptor import Descriptor
from tierproxy.disk.digest import BodyDigest
from tierproxy.disk.fsio import Files, disk_errors
from tierproxy.disk.kept import KeptBlob
from tierproxy.disk.layout import FanOut
from tierproxy.errors import BlobCorrupt, BlobMissing, DiskError, DiskUnavailable
from tierproxy.logs import event
from tierproxy.model import BlobLabel, SealedBlob
from tierproxy.ports import Hands

T = TypeVar("T")

logger = logging.getLogger(__name__)

MEMORY = 1024 * 1024
"""Bytes kept in memory: a body up to this long has no file before ``seal``; a longer one is written in such pieces."""
INLINE = 64 * 1024
"""A body up to this long is hashed on the loop: a hop to a thread costs more."""


class StagedFile:
    """The file. Methods block and run in worker threads; those that change it wait for each other.

    The mutex is what makes cancellation safe: a cancelled task's job may still be writing when the cleanup job comes,
    which waits for it, then removes the file wherever it is by then; a job that comes after the cleanup does nothing.
    """

    def __init__(self, staging: Path, files: Files, digest: BodyDigest) -> None:
        self._staging = staging
        self._files = files
        self._digest = digest
        self._mutex = threading.Lock()
        self._descriptor: Descriptor | None = None  # of a file that readers may need
        self._fd: int | None = None
        self._path: Path | None = None
        self._gone = False

    def append(self, data: bytes | bytearray, offset: int) -> None:
        """Hash ``data`` and write it at ``offset``; the first call makes the file."""
        with self._mutex:
            self._digest.update(data)
            self._files.write_at(self._open(), data, offset)

    def seal(self, body: bytes | bytearray, label: BlobLabel) -> int:
        """Write ``body`` (empty if ``append`` wrote it) and the trailer, fsync. Returns the length of the file."""
        ending = self._digest.trailer(label)
        with self._mutex:
            fd = self._open()
            start = self._digest.size - len(body)
            self._files.write_at(fd, b"".join((body, ending)), start)
            self._files.fsync(fd)
            if start == 0:  # reads are served from memory
                self._close()
            return self._digest.size + len(ending)

    def keep(self, body: bytes | bytearray, ending: bytes, start: int, target: Path, fan_out: FanOut) -> None:
        """``body`` and ``ending`` at ``start``, the name ``target``, an fsync; the caller fsyncs the directory.

        Renamed before it is fsynced, so that content and name take one commit of the file system's journal. No row
        names it yet: a process that is killed leaves a whole file without a row, a power cut perhaps half a one.
        """
        with self._mutex:
            if start:
                self._name(self._open(), b"".join((body, ending)), start, target, fan_out)
                return
            fd = self._create()
            try:
                self._name(fd, b"".join((body, ending)), 0, target, fan_out)
            finally:
                os.close(fd)  # reads are served from memory

    def _name(self, fd: int, data: bytes, start: int, target: Path, fan_out: FanOut) -> None:
        self._files.write_at(fd, data, start)
        self._rename(self._staging, target, fan_out)
        self._path = target
        self._files.fsync(fd)

    def place(self, target: Path, fan_out: FanOut | None) -> None:
        """Rename to ``target``, whose directory the caller fsyncs."""
        with self._mutex:
            if self._gone or self._path is None:
                raise DiskUnavailable("the staged file was discarded")
            self._rename(self._path, target, fan_out)
            self._path = target

    def _rename(self, source: Path, target: Path, fan_out: FanOut | None) -> None:
        if fan_out is None:
            self._files.rename(source, target)
            return
        fan_out.ensure(target.parent)
        try:
            self._files.rename(source, target)
        except BlobMissing:  # an operator tidied empty directories
            fan_out.forget(target.parent)
            fan_out.ensure(target.parent)
            self._files.rename(source, target)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that ``append`` has written."""
        if self._descriptor is None:
            raise DiskUnavailable("the file is closed")
        with self._descriptor.use() as fd, disk_errors("read"):
            data = os.pread(fd, length, offset)
        if len(data) != length:
            raise BlobCorrupt("the staged file was cut short")
        return data

    def remove(self) -> None:
        """Unlink it, under whichever name it has. An error is logged: the next start clears what is left."""
        with self._mutex:
            self._gone = True
            if self._path is None:
                return
            try:
                self._files.unlink(self._path)
            except DiskError as error:
                event(logger, logging.WARNING, "staged file not removed", path=self._path, error=error)
            self._path = None

    def end(self, keep: bool) -> None:
        """Give the descriptor back when the last reader is done; unlink the file unless ``keep``."""
        try:
            if not keep:
                self.remove()
        finally:
            with self._mutex:
                self._gone = True
                self._close()

    def _create(self) -> int:
        if self._gone:
            raise DiskUnavailable("the staged file was discarded")
        fd = self._files.create(self._staging)
        self._path = self._staging
        return fd

    def _open(self) -> int:
        if self._gone:
            raise DiskUnavailable("the staged file was discarded")
        if self._fd is None:
            self._fd = self._create()
            self._descriptor = Descriptor()
            self._descriptor.attach(self._fd)
        return self._fd

    def _close(self) -> None:
        self._fd = None
        if self._descriptor is not None:
            self._descriptor.close()


class StagedBlob:
    """``tierproxy.ports.Staged``. ``_flushed`` bytes are in the file, the rest in ``_tail``."""

    def __init__(
        self, name: str, file: StagedFile, digest: BodyDigest, offload: Hands, publishes: DirectoryCommits,
        syncs: DirectorySyncs, errands: Errands, target: Path, fan_out: FanOut,
    ) -> None:  # fmt: skip
        self.name = name
        self._file = file
        self._digest = digest
        self._offload = offload
        self._publishes = publishes
        self._syncs = syncs
        self._errands = errands
        self._target = target
        self._fan_out = fan_out
        self._tail: bytes | bytearray = b""  # bytes: one piece, as it came
        self._flushed = 0
        self._whole: bytes | None = None
        self._spilled = False  # the body is longer than MEMORY: the file keeps a descriptor
        self._touched = False  # there may be a file
        self._finished = False
        self._sealed = False
        self._keeping: KeptBlob | None = None
        self._kept = False  # published: the name is the caller's
        self._closed = False
        self._failure: DiskError | None = None

    def __repr__(self) -> str:
        state = "published" if self._kept else "sealed" if self._sealed else "finished" if self._finished else "open"
        return f"<StagedBlob {self.name} {state} {self.size} bytes>"

    @property
    def size(self) -> int:
        return self._flushed + len(self._tail)

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
        return await self._offload.run(self._file.read, offset, min(stop, flushed) - offset) + ending

    async def finish(self) -> None:
        self._check_usable()
        if self._finished:
            return
        if self._spilled:
            await self._flush()
        elif len(self._tail) <= INLINE:
            self._digest.update(self._tail)
        else:
            await self._job(self._digest.update, self._tail)
        self._finished = True

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
        self._offload.begin(partial(self._keep, self._keeping, ending))
        return self._keeping

    def _keep(self, keeping: KeptBlob, ending: bytes) -> None:
        """In a thread. Whatever it is that goes wrong is the business of who waits."""
        try:
            self._file.keep(self._tail, ending, self._flushed, self._target, self._fan_out)
            self._syncs.sync(self._target.parent)
        except BaseException as error:  # noqa: BLE001 - as above
            self._failure = error if isinstance(error, DiskError) else DiskUnavailable("an earlier step did not end")
            keeping.settle(error)
        else:
            self._kept = True
            keeping.settle(None)
        finally:
            self._syncs.end()

    async def publish(self) -> None:
        await self.move_to(self._target, self._fan_out)

    async def move_to(self, target: Path, fan_out: FanOut | None = None) -> None:
        """Durable as ``target``, and the caller's, when this returns."""
        self._check_usable()
        if not self._sealed:
            raise ValueError(f"published before seal: {self!r}")
        await self._publishes.run(partial(self._file.place, target, fan_out), (target.parent,))
        self._kept = True

    async def discard(self) -> None:
        self._failure = self._failure or DiskUnavailable("the staged file was discarded")
        if self._touched and not self._kept:
            await self._errands.run(self._offload.run(self._file.remove))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._failure = self._failure or DiskUnavailable("the staged file is closed")
        claimed = self._kept and (self._keeping is None or self._keeping.claimed)
        if self._touched and (self._spilled or not claimed):
            await self._errands.run(self._end())

    async def _end(self) -> None:
        if self._keeping is not None:
            await self._keeping.settled()
            self._kept = self._kept and self._keeping.claimed
        await self._offload.run(self._file.end, self._kept)

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
        await self._job(self._file.append, self._tail, self._flushed)
        # A new tail, never an emptied one: a thread may still hold the old.
        self._flushed, self._tail = self._flushed + len(self._tail), bytearray()

    async def _job(self, call: Callable[..., T], *args: object) -> T:
        """A step in a thread. If it fails or its task is cancelled, only discard, read and close are left to do."""
        self._failure = DiskUnavailable("an earlier step did not end")
        try:
            result = await self._offload.run(call, *args)
        except DiskError as error:
            self._failure = error
            raise
        self._failure = None
        return result

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise self._failure
