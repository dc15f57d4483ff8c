"""The mount's file system (``tierproxy.fuse.operations.Operations``): a facade, each way has its own object."""

from __future__ import annotations

import asyncio
import errno
import logging
import stat
from collections.abc import Sequence

from tierproxy.fuse.operations import (
    Absent,
    Attributes,
    Caller,
    Change,
    DirectoryEntry,
    Found,
    Kernel,
    Opened,
    Space,
)
from tierproxy.logs import event
from tierproxy.mount.assembly import Parts
from tierproxy.mount.failures import Answered, refusal
from tierproxy.mount.names import text
from tierproxy.mount.nearby import Beside
from tierproxy.mount.ports import NOBODY, NodeClient, NotThere
from tierproxy.mount.scratch import Scratch
from tierproxy.mount.settings import MountSettings
from tierproxy.ports import Clock, Offload

log = logging.getLogger(__name__)
PAUSE = 5.0
"""Seconds between two looks at what may go, and at what is still to be finished."""


class Filesystem:
    """Confined to one event loop. What a method raises is OSError, whatever the cause."""

    def __init__(
        self, client: NodeClient, kernel: Kernel, scratch: Scratch, settings: MountSettings, clock: Clock,
        threads: Offload, beside: Beside | None = None,
    ) -> None:  # fmt: skip
        """``scratch``: its directory is locked by the caller and used by nobody else. ``threads``: for fsync and
        copies; the same that ``scratch`` has will do. ``beside``: the node's files, where they can be read."""
        self._clock = clock
        self._parts = parts = Parts(client, kernel, scratch, settings, clock, beside)
        self.counters = parts.counters
        self._answered = Answered(parts.counters)
        self._nodes = parts.nodes
        self._finder = parts.finder

    def __repr__(self) -> str:
        return f"<Filesystem {len(self._nodes)} nodes, {len(self._parts.files)} open files>"

    @property
    def open_files(self) -> int:
        return len(self._parts.files)

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Clean the scratch directory, finish interrupted renames as far as the node answers. Before serving. Raises
        DiskError."""
        left = await self._parts.scratch.clean()
        if left:
            event(log, logging.INFO, "scratch files of an earlier mount removed", files=left)
        await self._parts.unfinished.load()

    async def run(self) -> None:
        """Hear of changes, let kept bodies go, finish what was in doubt; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._parts.hearing.run())
            group.create_task(self._tidy())
            group.create_task(self._parts.reports.run())

    async def close(self) -> None:
        """Let everything go. After ``run`` was cancelled and the kernel asks no more."""
        await self._parts.close()

    async def _tidy(self) -> None:
        while True:
            await self._clock.sleep(PAUSE)
            self._parts.bodies.sweep()
            await self._parts.unfinished.finish()

    # ------------------------------------------------------------ names

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Found:
        with self._answered:
            directory = self._nodes.directory(parent)
            try:
                return self._finder.found(await self._finder.child(directory, text(name)))
            except NotThere:
                if seconds := self._finder.absent_for(directory, text(name)):
                    raise Absent(seconds) from None
                raise

    def forget(self, node: int, count: int) -> None:
        self._nodes.forget(node, count)

    async def readlink(self, node: int, who: Caller) -> bytes:
        raise refusal(errno.EINVAL)

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Found:
        raise refusal(errno.EPERM)

    async def mknod(self, parent: int, name: bytes, mode: int, device: int, who: Caller) -> Found:
        if not (stat.S_ISREG(mode) or not stat.S_IFMT(mode)):
            raise refusal(errno.EPERM)
        with self._answered:
            maker, directory = self._parts.maker, self._nodes.directory(parent)
            return self._finder.found(await maker.file(directory, text(name), self._parts.callers.who(who.pid)))

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Found:
        with self._answered:
            maker, directory = self._parts.maker, self._nodes.directory(parent)
            return self._finder.found(await maker.mkdir(directory, text(name), self._parts.callers.who(who.pid)))

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        with self._answered:
            maker, directory = self._parts.maker, self._nodes.directory(parent)
            await maker.unlink(directory, text(name), self._parts.callers.who(who.pid))

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        with self._answered:
            await self._parts.maker.rmdir(self._nodes.directory(parent), text(name))

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller
    ) -> None:  # fmt: skip
        """Runs to its end even if the caller is interrupted: two names of one mail must not be left behind."""
        with self._answered:
            source, target = self._nodes.directory(parent), self._nodes.directory(new_parent)
            program = self._parts.callers.who(who.pid)
            await self._parts.flights.finish(
                self._parts.mover.rename(source, text(name), target, text(new_name), flags, program)
            )

    async def link(self, node: int, parent: int, name: bytes, who: Caller) -> Found:
        with self._answered:
            maker, directory = self._parts.maker, self._nodes.directory(parent)
            alias = await maker.link(
                self._nodes.get(node), directory, text(name), self._parts.callers.who(who.pid)
            )  # fmt: skip
            return self._finder.found(alias)

    # ------------------------------------------------------------ attributes

    async def getattr(self, node: int, handle: int | None, who: Caller) -> tuple[Attributes, float]:
        with self._answered:
            found = self._nodes.get(node)
            attributes = await self._finder.attributes(found)
            return attributes, self._finder.attributes_for(found)

    async def setattr(self, node: int, change: Change, who: Caller) -> tuple[Attributes, float]:
        with self._answered:
            found = self._nodes.get(node)
            attributes = await self._parts.changer.change(found, change, self._parts.callers.who(who.pid))
            return attributes, self._finder.attributes_for(found)

    async def statfs(self, who: Caller) -> Space:
        with self._answered:
            return await self._parts.changer.space()

    # ------------------------------------------------------------ files

    async def open(self, node: int, flags: int, who: Caller) -> Opened:
        with self._answered:
            return await self._parts.files.open(self._nodes.get(node), flags, self._parts.callers.who(who.pid))

    async def create(self, parent: int, name: bytes, mode: int, flags: int, who: Caller) -> tuple[Found, Opened]:
        with self._answered:
            maker, directory = self._parts.maker, self._nodes.directory(parent)
            node, opened = await maker.create(directory, text(name), self._parts.callers.who(who.pid))
            return self._finder.found(node), opened

    async def read(self, node: int, handle: int, offset: int, size: int, who: Caller) -> bytes:
        with self._answered:
            return await self._parts.files.read(handle, offset, size, self._parts.callers.who(who.pid))

    async def write(self, node: int, handle: int, offset: int, data: memoryview, who: Caller) -> int:
        with self._answered:
            return await self._parts.files.write(handle, offset, data, self._parts.callers.who(who.pid))

    async def flush(self, node: int, handle: int, who: Caller) -> None:
        with self._answered:
            await self._parts.files.flush(handle, self._parts.callers.who(who.pid))

    async def release(self, node: int, handle: int) -> None:
        with self._answered:
            await self._parts.files.release(handle, NOBODY)

    async def fsync(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        with self._answered:
            await self._parts.files.fsync(handle, self._parts.callers.who(who.pid))

    # ------------------------------------------------------------ directories

    async def opendir(self, node: int, who: Caller) -> Opened:
        with self._answered:
            return await self._parts.directories.open(self._nodes.directory(node))

    async def readdir(self, node: int, handle: int, offset: int, who: Caller) -> Sequence[DirectoryEntry]:
        with self._answered:
            return self._parts.directories.read(handle, offset)

    async def releasedir(self, node: int, handle: int) -> None:
        self._parts.directories.release(handle)

    async def fsyncdir(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        """Names of objects are durable when they are answered; scratch names are not meant to be. After this answer the
        kernel says so itself, and asks no more (fuse_dir_fsync in fs/fuse/dir.c)."""
        raise refusal(errno.ENOSYS)
