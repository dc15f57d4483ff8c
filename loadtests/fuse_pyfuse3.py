#!/usr/bin/env python3
"""A directory through pyfuse3: ``fuse_pyfuse3.py DIRECTORY POINT``, until SIGTERM. For ``bench_fuse.py``, which runs it
with the Python of an environment of its own."""

import errno
import os
import signal
import sys
from typing import Any

import pyfuse3  # type: ignore[import-not-found]
import trio  # type: ignore[import-not-found]

REMEMBERED = 1.0


class Mirror(pyfuse3.Operations):  # type: ignore[misc]
    """What the measures use. Nodes are paths."""

    def __init__(self, directory: Any) -> None:
        super().__init__()
        self._paths = {pyfuse3.ROOT_INODE: directory}
        self._nodes = {directory: pyfuse3.ROOT_INODE}
        self._last = pyfuse3.ROOT_INODE

    def _attributes(self, node: Any, found: Any) -> Any:
        entry = pyfuse3.EntryAttributes()
        for name in ("mode", "nlink", "uid", "gid", "rdev", "size", "atime_ns", "mtime_ns", "ctime_ns"):
            setattr(entry, f"st_{name}", getattr(found, f"st_{name}"))
        entry.st_ino = node
        entry.entry_timeout = entry.attr_timeout = REMEMBERED
        return entry

    def _found(self, path: Any) -> Any:
        try:
            found = os.lstat(path)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno) from None
        if path not in self._nodes:
            self._last += 1
            self._nodes[path], self._paths[self._last] = self._last, path
        return self._attributes(self._nodes[path], found)

    async def lookup(self, parent_inode: Any, name: Any, ctx: Any = None) -> Any:
        return self._found(self._paths[parent_inode] + b"/" + name)

    async def getattr(self, inode: Any, ctx: Any = None) -> Any:
        try:
            return self._attributes(inode, os.lstat(self._paths[inode]))
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno) from None

    async def setattr(self, inode: Any, attr: Any, fields: Any, fh: Any, ctx: Any) -> Any:
        if fields.update_size:
            os.truncate(self._paths[inode], attr.st_size)
        return await self.getattr(inode)

    async def open(self, inode: Any, flags: Any, ctx: Any) -> Any:
        return pyfuse3.FileInfo(fh=os.open(self._paths[inode], flags & ~os.O_NOFOLLOW), keep_cache=False)

    async def create(self, parent_inode: Any, name: Any, mode: Any, flags: Any, ctx: Any) -> Any:
        path = self._paths[parent_inode] + b"/" + name
        fd = os.open(path, flags | os.O_CREAT, mode)
        return pyfuse3.FileInfo(fh=fd, keep_cache=False), self._found(path)

    async def read(self, fh: Any, off: Any, size: Any) -> Any:
        return os.pread(fh, size, off)

    async def write(self, fh: Any, off: Any, buf: Any) -> Any:
        return os.pwrite(fh, buf, off)

    async def flush(self, fh: Any) -> Any:
        pass

    async def fsync(self, fh: Any, datasync: Any) -> Any:
        await trio.to_thread.run_sync(os.fdatasync if datasync else os.fsync, fh)

    async def release(self, fh: Any) -> Any:
        os.close(fh)

    async def rename(
        self, parent_inode_old: Any, name_old: Any, parent_inode_new: Any, name_new: Any, flags: Any, ctx: Any
    ) -> Any:
        source = self._paths[parent_inode_old] + b"/" + name_old
        target = self._paths[parent_inode_new] + b"/" + name_new
        try:
            os.rename(source, target)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        node = self._nodes.pop(source, None)
        if node is not None:
            self._nodes[target], self._paths[node] = node, target

    async def unlink(self, parent_inode: Any, name: Any, ctx: Any) -> Any:
        os.unlink(self._paths[parent_inode] + b"/" + name)

    async def opendir(self, inode: Any, ctx: Any) -> Any:
        return os.open(self._paths[inode], os.O_RDONLY | os.O_DIRECTORY)

    async def fsyncdir(self, fh: Any, datasync: Any) -> Any:
        await trio.to_thread.run_sync(os.fsync, fh)

    async def releasedir(self, fh: Any) -> Any:
        os.close(fh)

    async def readdir(self, fh: Any, start_id: Any, token: Any) -> Any:
        return


async def serve() -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pyfuse3.main)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()


if __name__ == "__main__":
    pyfuse3.init(
        Mirror(os.path.realpath(os.fsencode(sys.argv[1]))), sys.argv[2], {"fsname=bench", "default_permissions"}
    )
    try:
        trio.run(serve)
    finally:
        pyfuse3.close()
