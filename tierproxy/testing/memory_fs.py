"""A file system in memory for ``tierproxy.fuse``: what its tests mount, and a small example of one."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

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

RENAME_NOREPLACE = 1
PAGE = 500


@dataclass(eq=False)
class Inode:
    """``backing``: a descriptor whose file has the content. ``direct``: read without the page cache. ``gate``: reads
    and lookups of it wait for it."""

    number: int
    mode: int
    uid: int = 0
    gid: int = 0
    content: bytearray = field(default_factory=bytearray)
    children: dict[bytes, Inode] = field(default_factory=dict)
    modified: float = 1_700_000_000.0
    changed: float = 1_700_000_000.0
    accessed: float = 1_700_000_000.0
    names: int = 1
    references: int = 0
    backing: int | None = None
    direct: bool = False
    gate: asyncio.Event | None = None


class MemoryFs:
    """``believe``: seconds the kernel may believe names and attributes. Modes and owners are kept, not checked."""

    def __init__(self, kernel: Kernel, believe: float = 0.0) -> None:
        self.kernel = kernel
        self.believe = believe
        self.root = Inode(ROOT, stat.S_IFDIR | 0o755)
        self.inodes = {ROOT: self.root}
        self.listings: dict[int, list[DirectoryEntry]] = {}
        self.opens: dict[int, int | None] = {}
        self.synced: list[bool] = []
        self.flushed = 0
        self.forgotten = 0
        self._numbers = itertools.count(2)

    # ------------------------------------------------------------ for tests

    def add(self, name: bytes, content: bytes = b"", parent: Inode | None = None) -> Inode:
        inode = self._new(stat.S_IFREG | 0o644)
        inode.content[:] = content
        (parent or self.root).children[name] = inode
        return inode

    def _new(self, mode: int, who: Caller | None = None) -> Inode:
        inode = Inode(next(self._numbers), mode, *((who.uid, who.gid) if who else (0, 0)))
        self.inodes[inode.number] = inode
        return inode

    def _found(self, inode: Inode) -> Found:
        inode.references += 1
        return Found(inode.number, self._attributes(inode), self.believe, self.believe)

    def _attributes(self, inode: Inode) -> Attributes:
        size = len(inode.content) if inode.backing is None else os.fstat(inode.backing).st_size
        return Attributes(
            inode.number, inode.mode, size, inode.modified, inode.changed, inode.accessed, inode.uid, inode.gid,
            inode.names,
        )  # fmt: skip

    def _child(self, parent: int, name: bytes) -> Inode:
        try:
            return self.inodes[parent].children[name]
        except KeyError:
            raise OSError(errno.ENOENT, "no such name") from None

    # ------------------------------------------------------------ names

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Found:
        inode = self._child(parent, name)
        if name.startswith(b"slow-to-find") and inode.gate:
            await inode.gate.wait()
        return self._found(inode)

    def forget(self, node: int, count: int) -> None:
        self.forgotten += count
        inode = self.inodes[node]
        inode.references -= count
        if not inode.references and not inode.names:
            del self.inodes[node]

    async def readlink(self, node: int, who: Caller) -> bytes:
        return bytes(self.inodes[node].content)

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Found:
        return self._make(parent, name, stat.S_IFLNK | 0o777, who, target)

    async def mknod(self, parent: int, name: bytes, mode: int, device: int, who: Caller) -> Found:
        return self._make(parent, name, mode, who)

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Found:
        return self._make(parent, name, stat.S_IFDIR | mode, who)

    def _make(self, parent: int, name: bytes, mode: int, who: Caller, content: bytes = b"") -> Found:
        if name in self.inodes[parent].children:
            raise OSError(errno.EEXIST, "taken")
        inode = self._new(mode, who)
        inode.content[:] = content
        self.inodes[parent].children[name] = inode
        return self._found(inode)

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        self._gone(parent, name)

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        if self._child(parent, name).children:
            raise OSError(errno.ENOTEMPTY, "not empty")
        self._gone(parent, name)

    def _gone(self, parent: int, name: bytes) -> None:
        self._child(parent, name).names -= 1
        del self.inodes[parent].children[name]

    async def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller) -> None:
        moved = self._child(parent, name)
        taken = self.inodes[new_parent].children.get(new_name)
        if taken and flags & RENAME_NOREPLACE:
            raise OSError(errno.EEXIST, "taken")
        if moved.gate:
            await moved.gate.wait()
        if taken:
            taken.names -= 1
        del self.inodes[parent].children[name]
        self.inodes[new_parent].children[new_name] = moved

    async def link(self, node: int, parent: int, name: bytes, who: Caller) -> Found:
        raise OSError(errno.EPERM, "no links here")

    # ------------------------------------------------------------ attributes

    async def getattr(self, node: int, handle: int | None, who: Caller) -> tuple[Attributes, float]:
        return self._attributes(self.inodes[node]), self.believe

    async def setattr(self, node: int, change: Change, who: Caller) -> tuple[Attributes, float]:
        inode = self.inodes[node]
        if change.size is not None:
            inode.content[change.size :] = bytes(max(0, change.size - len(inode.content)))
        if change.mode is not None:
            inode.mode = stat.S_IFMT(inode.mode) | change.mode & 0o7777
        inode.uid = inode.uid if change.uid is None else change.uid
        inode.gid = inode.gid if change.gid is None else change.gid
        inode.modified = inode.modified if change.mtime is None else change.mtime
        inode.accessed = inode.accessed if change.atime is None else change.atime
        return self._attributes(inode), self.believe

    async def statfs(self, who: Caller) -> Space:
        return Space(total=1 << 30, free=1 << 29, available=1 << 28, files=1000, files_free=900)

    # ------------------------------------------------------------ files

    async def open(self, node: int, flags: int, who: Caller) -> Opened:
        inode = self.inodes[node]
        if flags & os.O_TRUNC:
            inode.content.clear()
        return self._opened(inode)

    async def create(self, parent: int, name: bytes, mode: int, flags: int, who: Caller) -> tuple[Found, Opened]:
        found = self._make(parent, name, mode, who)
        return found, self._opened(self.inodes[found.node])

    def _opened(self, inode: Inode) -> Opened:
        handle = next(self._numbers)
        backing = None if inode.backing is None else self.kernel.back(inode.backing)
        self.opens[handle] = backing
        return Opened(handle, direct=inode.direct, keep=True, backing=backing)

    async def read(self, node: int, handle: int, offset: int, size: int, who: Caller) -> bytes | memoryview:
        inode = self.inodes[node]
        if inode.gate:
            await inode.gate.wait()
        if inode.direct:
            size = min(size, 1000)
        return bytes(inode.content[offset : offset + size])

    async def write(self, node: int, handle: int, offset: int, data: memoryview, who: Caller) -> int:
        inode = self.inodes[node]
        if inode.gate:
            await inode.gate.wait()
        content = inode.content
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data
        return len(data)

    async def flush(self, node: int, handle: int, who: Caller) -> None:
        self.flushed += 1

    async def release(self, node: int, handle: int) -> None:
        backing = self.opens.pop(handle)
        if backing is not None:
            self.kernel.unback(backing)

    async def fsync(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        self.synced.append(data_only)

    # ------------------------------------------------------------ directories

    async def opendir(self, node: int, who: Caller) -> Opened:
        handle = next(self._numbers)
        directory = self.inodes[node]
        entries = [DirectoryEntry(name, node, stat.S_IFDIR) for name in (b".", b"..")]
        entries += [DirectoryEntry(name, one.number, stat.S_IFMT(one.mode)) for name, one in directory.children.items()]
        self.listings[handle] = entries
        return Opened(handle)

    async def readdir(self, node: int, handle: int, offset: int, who: Caller) -> Sequence[DirectoryEntry]:
        page = self.listings[handle][offset : offset + PAGE]
        return [self._with_found(one) for one in page]

    def _with_found(self, one: DirectoryEntry) -> DirectoryEntry:
        inode = self.inodes.get(one.ino)
        if one.name in (b".", b"..") or inode is None:
            return one
        return DirectoryEntry(one.name, one.ino, one.kind, self._found(inode))

    async def releasedir(self, node: int, handle: int) -> None:
        del self.listings[handle]

    async def fsyncdir(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        self.synced.append(data_only)
