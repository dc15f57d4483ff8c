#!/usr/bin/env python3
"""A directory through ``tierproxy.fuse``: ``fuse_kit.py DIRECTORY POINT [--passthrough]``, until SIGTERM.

For ``bench_fuse.py``: as little file system as its three measures need, the same as in ``fuse_mfusepy.py`` and
``fuse_pyfuse3.py``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tierproxy.clock import SystemClock
from tierproxy.fuse.mounting import MountOptions
from tierproxy.fuse.operations import (
    ROOT,
    Attributes,
    Caller,
    Change,
    DirectoryEntry,
    Found,
    Kernel,
    Opened,
    Space,
)
from tierproxy.fuse.session import Session

REMEMBERED = 1.0  #: seconds for names and attributes: libfuse's default


class Mirror:
    """``tierproxy.fuse.operations.Operations``, of what the measures use. Nodes are paths."""

    def __init__(self, directory: Path, kernel: Kernel | None) -> None:
        self._paths = {ROOT: os.fsencode(directory)}
        self._nodes: dict[bytes, int] = {self._paths[ROOT]: ROOT}
        self._counts: dict[int, int] = {}
        self._backings: dict[int, int] = {}
        self._last = ROOT
        self._kernel = kernel

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Found:
        return self._found(self._path(parent, name))

    def _found(self, path: bytes) -> Found:
        attributes = _attributes(os.lstat(path))
        node = self._nodes.get(path)
        if node is None:
            node = self._last = self._last + 1
            self._nodes[path], self._paths[node] = node, path
        self._counts[node] = self._counts.get(node, 0) + 1
        return Found(node, attributes, REMEMBERED, REMEMBERED)

    def _path(self, parent: int, name: bytes) -> bytes:
        return self._paths[parent] + b"/" + name

    def forget(self, node: int, count: int) -> None:
        left = self._counts.get(node, 0) - count
        self._counts[node] = left
        if left <= 0 and node != ROOT:
            self._counts.pop(node, None)
            path = self._paths.pop(node, b"")
            if self._nodes.get(path) == node:
                del self._nodes[path]

    async def getattr(self, node: int, handle: int | None, who: Caller) -> tuple[Attributes, float]:
        return _attributes(os.lstat(self._paths[node]) if handle is None else os.fstat(handle)), REMEMBERED

    async def setattr(self, node: int, change: Change, who: Caller) -> tuple[Attributes, float]:
        if change.size is not None:
            os.truncate(self._paths[node], change.size)
        return await self.getattr(node, None, who)

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        os.unlink(self._path(parent, name))

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Found:
        path = self._path(parent, name)
        os.mkdir(path, mode)
        return self._found(path)

    async def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller) -> None:
        source, target = self._path(parent, name), self._path(new_parent, new_name)
        os.rename(source, target)
        node = self._nodes.pop(source, None)
        if node is not None:
            self._nodes[target], self._paths[node] = node, target

    async def open(self, node: int, flags: int, who: Caller) -> Opened:
        return self._opened(os.open(self._paths[node], flags & ~os.O_NOFOLLOW))

    def _opened(self, fd: int) -> Opened:
        backing = self._kernel.back(fd) if self._kernel is not None else None
        if backing is not None:
            self._backings[fd] = backing
        return Opened(fd, no_flush=True, backing=backing)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, who: Caller) -> tuple[Found, Opened]:
        path = self._path(parent, name)
        fd = os.open(path, flags | os.O_CREAT, mode)
        return self._found(path), self._opened(fd)

    async def read(self, node: int, handle: int, offset: int, size: int, who: Caller) -> bytes:
        return os.pread(handle, size, offset)

    async def write(self, node: int, handle: int, offset: int, data: memoryview, who: Caller) -> int:
        return os.pwrite(handle, data, offset)

    async def flush(self, node: int, handle: int, who: Caller) -> None:
        """Nothing is held back."""

    async def release(self, node: int, handle: int) -> None:
        backing = self._backings.pop(handle, None)
        if backing is not None and self._kernel is not None:
            self._kernel.unback(backing)
        os.close(handle)

    async def fsync(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        await asyncio.to_thread(os.fdatasync if data_only else os.fsync, handle)

    async def opendir(self, node: int, who: Caller) -> Opened:
        return Opened(os.open(self._paths[node], os.O_RDONLY | os.O_DIRECTORY))

    async def readdir(self, node: int, handle: int, offset: int, who: Caller) -> Sequence[DirectoryEntry]:
        names = sorted(os.listdir(self._paths[node]))[offset:]
        return [DirectoryEntry(name, self._last + at + 1, stat.S_IFREG) for at, name in enumerate(names)]

    async def releasedir(self, node: int, handle: int) -> None:
        os.close(handle)

    async def fsyncdir(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        await asyncio.to_thread(os.fsync, handle)

    async def statfs(self, who: Caller) -> Space:
        found = os.statvfs(self._paths[ROOT])
        size = found.f_frsize
        return Space(found.f_blocks * size, found.f_bfree * size, found.f_bavail * size, found.f_files, found.f_ffree)


def _attributes(found: os.stat_result) -> Attributes:
    return Attributes(
        found.st_ino, found.st_mode, found.st_size, found.st_mtime, found.st_ctime, found.st_atime, found.st_uid,
        found.st_gid, found.st_nlink,
    )  # fmt: skip


async def serve(directory: Path, point: Path, passthrough: bool) -> None:
    session = Session(point, MountOptions(name="bench"), SystemClock())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with session.serving(Mirror(directory, session.kernel if passthrough else None)):  # type: ignore[arg-type]
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), Path(sys.argv[2]), "--passthrough" in sys.argv))
