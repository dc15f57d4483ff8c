"""The file system on a memory node, and system calls as a program makes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.fuse.operations import ROOT, Attributes, Caller, Change, Found, Opened
from tierproxy.mount.filesystem import Filesystem
from tierproxy.mount.scratch import Scratch
from tierproxy.mount.settings import MountSettings
from tierproxy.offload import ThreadPool
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_node import MemoryNode

ME = Caller(5000, 5000, 0)
SETTINGS = MountSettings(uid=5000, gid=5000, umask=0o077)


class FakeKernel:
    """Notes what it is told. ``stores``: whether it takes pages."""

    def __init__(self, stores: bool = False) -> None:
        self.names: list[tuple[int, str]] = []
        self.contents: list[int] = []
        self.everything = 0
        self.stores = stores
        self.stored: list[tuple[int, bytes]] = []

    def forget_name(self, parent: int, name: bytes) -> None:
        self.names.append((parent, name.decode()))

    def forget_names(self) -> bool:
        self.everything += 1
        return False

    def forget_content(self, node: int) -> None:
        self.contents.append(node)

    def store(self, node: int, offset: int, data: bytes | memoryview) -> bool:
        self.stored.append((node, bytes(data)))
        return self.stores

    def back(self, fd: int) -> int | None:
        return None

    def unback(self, backing: int) -> None:
        raise AssertionError


class Open:
    """A descriptor."""

    def __init__(self, stage: Stage, node: int, opened: Opened) -> None:
        self.node = node
        self.opened = opened
        self._fs = stage.fs
        self._who = stage.who

    async def pread(self, size: int, offset: int) -> bytes:
        return bytes(await self._fs.read(self.node, self.opened.handle, offset, size, self._who))

    async def read_all(self, size: int = 8192) -> bytes:
        """As Dovecot does: until nothing more comes."""
        data = bytearray()
        while piece := await self.pread(size, len(data)):
            data += piece
        return bytes(data)

    async def pwrite(self, data: bytes, offset: int) -> None:
        assert await self._fs.write(self.node, self.opened.handle, offset, memoryview(data), self._who) == len(data)

    async def fsync(self) -> None:
        await self._fs.fsync(self.node, self.opened.handle, True, self._who)

    async def fstat(self) -> Attributes:
        return (await self._fs.getattr(self.node, None, self._who))[0]

    async def close(self) -> None:
        try:
            if not self.opened.no_flush:
                await self._fs.flush(self.node, self.opened.handle, self._who)
        finally:
            await self._fs.release(self.node, self.opened.handle)


class Stage:
    """``fs`` with paths instead of nodes. Every reference that is got is given back at once, as by a kernel that
    remembers nothing."""

    def __init__(self, fs: Filesystem, node: MemoryNode, kernel: FakeKernel, clock: VirtualClock) -> None:
        self.fs = fs
        self.node = node
        self.kernel = kernel
        self.clock = clock
        self.who = ME
        self.held: list[Found] = []
        self.hold = False

    def _got(self, found: Found) -> Found:
        if self.hold:
            self.held.append(found)
        else:
            self.fs.forget(found.node, 1)
        return found

    async def lookup(self, path: str) -> Found:
        """Holds every node on the way for as long as it takes."""
        parent, found = ROOT, None
        held = []
        try:
            for name in path.split("/"):
                found = await self.fs.lookup(parent, name.encode(), self.who)
                held.append(found.node)
                parent = found.node
        finally:
            for number in reversed(held):
                if not self.hold:
                    self.fs.forget(number, 1)
        assert found is not None
        return found

    @asynccontextmanager
    async def at(self, path: str) -> AsyncIterator[int]:
        """The node of a path ("": the root), which the kernel holds meanwhile."""
        numbers = [ROOT]
        try:
            for name in path.split("/") if path else ():
                numbers.append((await self.fs.lookup(numbers[-1], name.encode(), self.who)).node)
            yield numbers[-1]
        finally:
            for number in reversed(numbers[1:]):
                self.fs.forget(number, 1)

    async def stat(self, path: str) -> Attributes:
        async with self.at(path) as node:
            return (await self.fs.getattr(node, None, self.who))[0]

    async def exists(self, path: str) -> bool:
        try:
            await self.stat(path)
        except FileNotFoundError:
            return False
        return True

    async def open(self, path: str, flags: int = os.O_RDWR) -> Open:
        async with self.at(path) as node:
            return Open(self, node, await self.fs.open(node, flags, self.who))

    async def create(self, path: str, flags: int = os.O_RDWR | os.O_CREAT) -> Open:
        async with self.at(_parent(path)) as parent:
            with suppress(FileNotFoundError):
                found = await self.fs.lookup(parent, _name(path), self.who)
                try:
                    if flags & os.O_EXCL:
                        raise FileExistsError
                    return Open(self, found.node, await self.fs.open(found.node, flags, self.who))
                finally:
                    self.fs.forget(found.node, 1)
            found, opened = await self.fs.create(parent, _name(path), 0o666, flags, self.who)
            self._got(found)
            return Open(self, found.node, opened)

    async def mkdir(self, path: str) -> None:
        async with self.at(_parent(path)) as parent:
            self._got(await self.fs.mkdir(parent, _name(path), 0o700, self.who))

    async def makedirs(self, path: str) -> None:
        names = path.split("/")
        for depth in range(1, len(names) + 1):
            if not await self.exists("/".join(names[:depth])):
                await self.mkdir("/".join(names[:depth]))

    async def unlink(self, path: str) -> None:
        async with self.at(_parent(path)) as parent:
            await self.fs.unlink(parent, _name(path), self.who)

    async def rmdir(self, path: str) -> None:
        async with self.at(_parent(path)) as parent:
            await self.fs.rmdir(parent, _name(path), self.who)

    async def rename(self, source: str, target: str, flags: int = 0) -> None:
        async with self.at(_parent(source)) as parent, self.at(_parent(target)) as to:
            for directory, name in ((parent, source), (to, target)):  # as the kernel does
                with suppress(FileNotFoundError):
                    self.fs.forget((await self.fs.lookup(directory, _name(name), self.who)).node, 1)
            await self.fs.rename(parent, _name(source), to, _name(target), flags, self.who)

    async def link(self, source: str, target: str) -> None:
        async with self.at(source) as node, self.at(_parent(target)) as to:
            self._got(await self.fs.link(node, to, _name(target), self.who))

    async def utime(self, path: str, modified: float) -> None:
        async with self.at(path) as node:
            await self.fs.setattr(node, Change(atime=modified, mtime=modified), self.who)

    async def truncate(self, path: str, size: int) -> None:
        async with self.at(path) as node:
            await self.fs.setattr(node, Change(size=size), self.who)

    async def listdir(self, path: str) -> list[str]:
        async with self.at(path) as node:
            opened = await self.fs.opendir(node, self.who)
            names: list[str] = []
            while entries := await self.fs.readdir(node, opened.handle, len(names), self.who):
                names += [entry.name.decode() for entry in entries]
                for entry in entries:
                    if entry.found is not None:
                        self.fs.forget(entry.found.node, 1)
            await self.fs.releasedir(node, opened.handle)
            return [name for name in names if name not in {".", ".."}]

    async def fsync_dir(self, path: str) -> None:
        async with self.at(path) as node:
            opened = await self.fs.opendir(node, self.who)
            with pytest.raises(OSError, match="not implemented"):  # which the kernel takes for done, once for all
                await self.fs.fsyncdir(node, opened.handle, True, self.who)
            await self.fs.releasedir(node, opened.handle)

    async def read(self, path: str, flags: int = os.O_RDWR) -> bytes:
        opened = await self.open(path, flags)
        try:
            assert (await opened.fstat()).size >= 0
            return await opened.read_all()
        finally:
            await opened.close()

    async def write(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """A new file, or all of an old one anew."""
        opened = await self.create(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            await opened.pwrite(data, 0)
            if sync:
                await opened.fsync()
        finally:
            await opened.close()

    async def deliver(self, directory: str, uid: int, body: bytes) -> None:
        """LMTP: docs of the measured order are in ``test_requests``."""
        temporary = f"{directory}/.temp.1763772000.P1Q{uid}M1.host"
        opened = await self.create(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        await opened.fstat()
        await opened.pwrite(body[:16], 0)
        await opened.pwrite(body[16:], 16)
        await opened.pwrite(body[16:46], 16)
        await opened.fsync()
        await opened.close()
        assert not await self.exists(f"{directory}/u.{uid}")
        await self.rename(temporary, f"{directory}/u.{uid}")
        await self.fsync_dir(directory)

    async def settled(self) -> None:
        """What has been told is heard."""
        await self.clock.settle()


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> bytes:
    return path.rpartition("/")[2].encode()


@asynccontextmanager
async def stage(
    root: Path, node: MemoryNode | None = None, *, settings: MountSettings = SETTINGS, files: Files | None = None,
    kernel: FakeKernel | None = None, listen: bool = True,
) -> AsyncIterator[Stage]:  # fmt: skip
    """A started file system over the scratch directory ``root``; checks at the end that nothing is left open."""
    clock = VirtualClock()
    node = node or MemoryNode()
    kernel = kernel or FakeKernel()
    threads = ThreadPool("scratch", 2)
    before = descriptors()
    scratch = Scratch(root / "scratch", files or Files(), threads, durable=settings.scratch_fsync)
    fs = Filesystem(node, kernel, scratch, settings, clock, threads)
    running = None
    try:
        await fs.start()
        if listen:
            running = asyncio.create_task(fs.run())
            while not node.fresh and not node.down:
                await asyncio.sleep(0)
        node.taken()
        yield Stage(fs, node, kernel, clock)
    finally:
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        await fs.close()
        await threads.close()
    assert descriptors() == before


def descriptors() -> set[str]:
    """Of regular files."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if target.startswith("/") and not target.startswith(("/dev", "/proc")):
                found.add(f"{number} {target}")
    return found
