"""From request to answer, without a kernel."""

from __future__ import annotations

import asyncio
import errno
import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tierproxy.clock import SystemClock
from tierproxy.fuse.counters import Asked
from tierproxy.fuse.dispatch import Dispatch
from tierproxy.fuse.locks import Locks
from tierproxy.fuse.notify import Notifier
from tierproxy.fuse.operations import ROOT, Caller, Found
from tierproxy.fuse.protocol import IN_HEADER, Opcode
from tierproxy.offload import ThreadPool
from tierproxy.testing.memory_fs import MemoryFs


class Broken(MemoryFs):
    """Fails in a way nobody thought of."""

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Found:
        raise ZeroDivisionError

    def forget(self, node: int, count: int) -> None:
        raise ZeroDivisionError


class Answered:
    """What the kernel would be told, by unique."""

    def __init__(self) -> None:
        self.bodies: dict[int, bytes] = {}
        self.errors: dict[int, int] = {}
        self.freed = 0

    def answer(self, unique: int, body: bytes | memoryview) -> None:
        self.bodies[unique] = bytes(body)

    def refuse(self, unique: int, error: int) -> None:
        self.errors[unique] = error

    def free(self, buffer: memoryview) -> None:
        self.freed += 1


class Asking:
    def __init__(self, fs: MemoryFs) -> None:
        self.fs = fs
        self.answered = Answered()
        self.asked = Asked()
        self.dispatch = Dispatch(fs, self.answered, self.asked, SystemClock(), self.answered.free, Locks())

    async def ask(self, unique: int, opcode: int, body: bytes = b"", node: int = ROOT) -> bool:
        """As the device does: from a callback of the loop. Whether the buffer is kept."""
        request = IN_HEADER.pack(40 + len(body), opcode, unique, node, 0, 0, 1, 0, 0) + body
        loop = asyncio.get_running_loop()
        kept = loop.create_future()
        loop.call_soon(lambda: kept.set_result(self.dispatch.take(memoryview(request), len(request))))
        return bool(await kept)


@asynccontextmanager
async def asking(kind: type[MemoryFs] = MemoryFs) -> AsyncIterator[Asking]:
    thread = ThreadPool("notices", 1)
    yield Asking(kind(Notifier(thread, Locks())))
    await thread.close()


async def test_a_request_is_answered_without_a_task() -> None:
    async with asking() as one:
        one.fs.add(b"a")
        assert not await one.ask(2, Opcode.LOOKUP, b"a\0")
        assert len(one.answered.bodies[2]) == 128
        assert not one.dispatch.waiting
        assert one.asked.of(Opcode.LOOKUP) == 1


async def test_what_the_kit_does_not_know_is_not_supported() -> None:
    async with asking() as one:
        await one.ask(2, Opcode.GETXATTR)
        await one.ask(3, 4000)
        assert one.answered.errors == {2: errno.ENOSYS, 3: errno.ENOSYS}
        assert one.asked.failures() == {("getxattr", "ENOSYS"): 1, ("4000", "ENOSYS"): 1}


async def test_an_errno_is_answered_as_it_is() -> None:
    async with asking() as one:
        await one.ask(2, Opcode.LOOKUP, b"missing\0")
        assert one.answered.errors == {2: errno.ENOENT}


async def test_an_unexpected_failure_is_logged_and_eio(caplog: pytest.LogCaptureFixture) -> None:
    async with asking(Broken) as one:
        with caplog.at_level(logging.ERROR):
            await one.ask(2, Opcode.LOOKUP, b"a\0")
        assert one.answered.errors == {2: errno.EIO}
        assert [record.message for record in caplog.records] == ["file system call failed unexpectedly"]


async def test_a_request_that_cannot_be_read_is_eio(caplog: pytest.LogCaptureFixture) -> None:
    async with asking() as one:
        await one.ask(2, Opcode.RENAME2, b"short")
        assert one.answered.errors == {2: errno.EIO}


async def test_forgetting_is_not_answered_even_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with asking(Broken) as one:
        await one.ask(2, Opcode.FORGET, struct.pack("=Q", 1))
        await one.ask(3, Opcode.BATCH_FORGET, struct.pack("=IIQQ", 1, 0, 5, 1))
        assert not one.answered.errors
        assert not one.answered.bodies


async def test_a_write_that_waits_keeps_its_buffer_until_it_is_done() -> None:
    async with asking() as one:
        inode = one.fs.add(b"a")
        inode.gate = asyncio.Event()
        body = struct.pack("=QQIIQII", 1, 0, 3, 0, 0, 0, 0) + b"abc"
        assert await one.ask(2, Opcode.WRITE, body, inode.number)
        assert (one.dispatch.waiting, one.answered.freed) == (1, 0)
        inode.gate.set()
        await one.dispatch.finish(5)
        assert one.answered.freed == 1
        assert one.answered.bodies == {2: struct.pack("=II", 3, 0)}
        assert inode.content == b"abc"


async def test_an_interrupt_gives_up_a_read_and_not_a_change() -> None:
    async with asking() as one:
        inode = one.fs.add(b"a", b"content")
        inode.gate = asyncio.Event()
        await one.ask(2, Opcode.READ, struct.pack("=QQIIQII", 1, 0, 9, 0, 0, 0, 0), inode.number)
        await one.ask(4, Opcode.RENAME2, struct.pack("=QII", ROOT, 0, 0) + b"a\0b\0")
        for unique in (2, 4, 6):
            await one.ask(unique | 1, Opcode.INTERRUPT, struct.pack("=Q", unique))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert one.answered.errors == {2: errno.EINTR}
        inode.gate.set()
        await one.dispatch.finish(5)
        assert one.answered.bodies == {4: b""}
        assert list(one.fs.root.children) == [b"b"]


async def test_what_is_not_finished_in_time_is_given_up_and_answered() -> None:
    async with asking() as one:
        inode = one.fs.add(b"a", b"content")
        inode.gate = asyncio.Event()
        await one.ask(2, Opcode.READ, struct.pack("=QQIIQII", 1, 0, 9, 0, 0, 0, 0), inode.number)
        await one.dispatch.finish(0)
        assert one.answered.errors == {2: errno.EINTR}
        assert not one.dispatch.waiting


async def test_entries_the_kernel_has_no_room_for_are_given_back() -> None:
    async with asking() as one:
        for number in range(10):
            one.fs.add(b"%d" % number)
        await one.ask(2, Opcode.OPENDIR, struct.pack("=II", 0, 0))
        (handle,) = struct.unpack_from("=Q", one.answered.bodies[2])
        ask = struct.pack("=QQIIQII", handle, 0, 5 * 160, 0, 0, 0, 0)
        await one.ask(3, Opcode.READDIRPLUS, ask)
        references = [inode.references for inode in one.fs.inodes.values() if inode.number != ROOT]
        assert references == [1] * 3 + [0] * 7, "two of the five are . and .."
        await one.ask(4, Opcode.READDIR, ask)
        assert [inode.references for inode in one.fs.inodes.values() if inode.number != ROOT] == references
