"""The operations of a file system as the kernel asks for them: each takes a request apart, calls the operation, and
returns the bytes of its answer.

``data``: the request without its header. It lies in the kit's buffer, which only ``write`` uses after its first step
(``Dispatch`` keeps it for that long).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tierproxy.fuse import protocol
from tierproxy.fuse.operations import Absent, Caller, DirectoryEntry, Operations
from tierproxy.fuse.protocol import Opcode

Body = bytes | memoryview
Call = Callable[[memoryview, int, Caller], Coroutine[Any, Any, Body]]
NOTHING = b""
HARMLESS = frozenset(
    {
        Opcode.LOOKUP, Opcode.GETATTR, Opcode.READLINK, Opcode.OPEN, Opcode.READ, Opcode.OPENDIR, Opcode.READDIR,
        Opcode.READDIRPLUS, Opcode.STATFS,
    }
)  # fmt: skip
"""What may be given up half-way, when its caller gets a signal. A change is brought to its end: whether a rename that
was answered EINTR has happened, nobody would know."""


class Calls:
    """Arguments are those of ``Call``: the request, its node, who asks."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def table(self) -> dict[int, Call]:
        """By opcode. What is not in it is not supported."""
        return {
            Opcode.LOOKUP: self.lookup,
            Opcode.GETATTR: self.getattr,
            Opcode.SETATTR: self.setattr,
            Opcode.READLINK: self.readlink,
            Opcode.SYMLINK: self.symlink,
            Opcode.MKNOD: self.mknod,
            Opcode.MKDIR: self.mkdir,
            Opcode.UNLINK: self.unlink,
            Opcode.RMDIR: self.rmdir,
            Opcode.RENAME: self.rename,
            Opcode.RENAME2: self.rename2,
            Opcode.LINK: self.link,
            Opcode.OPEN: self.open,
            Opcode.CREATE: self.create,
            Opcode.READ: self.read,
            Opcode.WRITE: self.write,
            Opcode.FLUSH: self.flush,
            Opcode.RELEASE: self.release,
            Opcode.FSYNC: self.fsync,
            Opcode.OPENDIR: self.opendir,
            Opcode.READDIR: self.readdir,
            Opcode.READDIRPLUS: self.readdirplus,
            Opcode.RELEASEDIR: self.releasedir,
            Opcode.FSYNCDIR: self.fsyncdir,
            Opcode.STATFS: self.statfs,
            Opcode.DESTROY: self.destroy,
        }

    # ------------------------------------------------------------ names

    async def lookup(self, data: memoryview, node: int, who: Caller) -> Body:
        try:
            return protocol.entry(await self._operations.lookup(node, bytes(data[:-1]), who))
        except Absent as no:
            return protocol.absent(no.seconds)

    async def readlink(self, data: memoryview, node: int, who: Caller) -> Body:
        return await self._operations.readlink(node, who)

    async def symlink(self, data: memoryview, node: int, who: Caller) -> Body:
        name, target = protocol.names(bytes(data))
        return protocol.entry(await self._operations.symlink(node, name, target, who))

    async def mknod(self, data: memoryview, node: int, who: Caller) -> Body:
        mode, device, _, _ = protocol.MKNOD_IN.unpack_from(data)
        name = bytes(data[protocol.MKNOD_IN.size : -1])
        return protocol.entry(await self._operations.mknod(node, name, mode, device, who))

    async def mkdir(self, data: memoryview, node: int, who: Caller) -> Body:
        mode, _ = protocol.MKDIR_IN.unpack_from(data)
        name = bytes(data[protocol.MKDIR_IN.size : -1])
        return protocol.entry(await self._operations.mkdir(node, name, mode, who))

    async def unlink(self, data: memoryview, node: int, who: Caller) -> Body:
        await self._operations.unlink(node, bytes(data[:-1]), who)
        return NOTHING

    async def rmdir(self, data: memoryview, node: int, who: Caller) -> Body:
        await self._operations.rmdir(node, bytes(data[:-1]), who)
        return NOTHING

    async def rename(self, data: memoryview, node: int, who: Caller) -> Body:
        (target,) = protocol.RENAME_IN.unpack_from(data)
        return await self._renamed(bytes(data[protocol.RENAME_IN.size :]), node, target, 0, who)

    async def rename2(self, data: memoryview, node: int, who: Caller) -> Body:
        target, flags, _ = protocol.RENAME2_IN.unpack_from(data)
        return await self._renamed(bytes(data[protocol.RENAME2_IN.size :]), node, target, flags, who)

    async def _renamed(self, names: bytes, node: int, target: int, flags: int, who: Caller) -> Body:
        name, new_name = protocol.names(names)
        await self._operations.rename(node, name, target, new_name, flags, who)
        return NOTHING

    async def link(self, data: memoryview, node: int, who: Caller) -> Body:
        (linked,) = protocol.LINK_IN.unpack_from(data)
        name = bytes(data[protocol.LINK_IN.size : -1])
        return protocol.entry(await self._operations.link(linked, node, name, who))

    # ------------------------------------------------------------ attributes

    async def getattr(self, data: memoryview, node: int, who: Caller) -> Body:
        flags, _, handle = protocol.GETATTR_IN.unpack_from(data)
        known = handle if flags & protocol.GETATTR_FH else None
        return protocol.attributes(*await self._operations.getattr(node, known, who))

    async def setattr(self, data: memoryview, node: int, who: Caller) -> Body:
        return protocol.attributes(*await self._operations.setattr(node, protocol.change(bytes(data)), who))

    async def statfs(self, data: memoryview, node: int, who: Caller) -> Body:
        return protocol.space(await self._operations.statfs(who))

    # ------------------------------------------------------------ files

    async def open(self, data: memoryview, node: int, who: Caller) -> Body:
        flags, _ = protocol.OPEN_IN.unpack_from(data)
        return protocol.opened(await self._operations.open(node, flags, who))

    async def create(self, data: memoryview, node: int, who: Caller) -> Body:
        flags, mode, _, _ = protocol.CREATE_IN.unpack_from(data)
        name = bytes(data[protocol.CREATE_IN.size : -1])
        found, opened = await self._operations.create(node, name, mode, flags, who)
        return protocol.entry(found) + protocol.opened(opened)

    async def read(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, offset, size, _, _, _, _ = protocol.READ_IN.unpack_from(data)
        return (await self._operations.read(node, handle, offset, size, who))[:size]

    async def write(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, offset, size, _, _, _, _ = protocol.WRITE_IN.unpack_from(data)
        content = data[protocol.WRITE_IN.size : protocol.WRITE_IN.size + size]
        return protocol.WRITE_OUT.pack(await self._operations.write(node, handle, offset, content, who), 0)

    async def flush(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, _, _, _ = protocol.FLUSH_IN.unpack_from(data)
        await self._operations.flush(node, handle, who)
        return NOTHING

    async def release(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, _, _, _ = protocol.RELEASE_IN.unpack_from(data)
        await self._operations.release(node, handle)
        return NOTHING

    async def fsync(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, flags, _ = protocol.FSYNC_IN.unpack_from(data)
        await self._operations.fsync(node, handle, bool(flags & protocol.FSYNC_FDATASYNC), who)
        return NOTHING

    # ------------------------------------------------------------ directories

    async def opendir(self, data: memoryview, node: int, who: Caller) -> Body:
        return protocol.opened_directory(await self._operations.opendir(node, who))

    async def readdir(self, data: memoryview, node: int, who: Caller) -> Body:
        return await self._entries(data, node, who, plus=False)

    async def readdirplus(self, data: memoryview, node: int, who: Caller) -> Body:
        return await self._entries(data, node, who, plus=True)

    async def _entries(self, data: memoryview, node: int, who: Caller, plus: bool) -> Body:
        handle, offset, size, _, _, _, _ = protocol.READ_IN.unpack_from(data)
        entries = await self._operations.readdir(node, handle, offset, who)
        answer, taken = protocol.directory(entries, offset, size, plus)
        self._give_back(entries[taken:] if plus else entries)
        return answer

    def _give_back(self, entries: Sequence[DirectoryEntry]) -> None:
        """loop. References that ``readdir`` counted and the kernel did not get."""
        for one in entries:
            if one.found is not None:
                self._operations.forget(one.found.node, 1)

    async def releasedir(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, _, _, _ = protocol.RELEASE_IN.unpack_from(data)
        await self._operations.releasedir(node, handle)
        return NOTHING

    async def fsyncdir(self, data: memoryview, node: int, who: Caller) -> Body:
        handle, flags, _ = protocol.FSYNC_IN.unpack_from(data)
        await self._operations.fsyncdir(node, handle, bool(flags & protocol.FSYNC_FDATASYNC), who)
        return NOTHING

    async def destroy(self, data: memoryview, node: int, who: Caller) -> Body:
        """The last message of a file system; the end of the device follows by itself."""
        return NOTHING
