"""What a file system tells the kernel (``tierproxy.fuse.operations.Kernel``).

For FUSE_NOTIFY_INVAL_ENTRY the kernel takes the lock of the directory, for FUSE_NOTIFY_INVAL_INODE those of pages. Who
creates, renames or looks up in that directory, or reads such a page, holds it while waiting for an answer of ours. A
write that meets such a lock sleeps where no signal reaches it: a process that is killed then never ends, its device is
never closed, and who waits for its answer waits for ever. So a notice stays here while a request about its node is
under way; and one thread writes them, for the moment in which the kernel has a lock and we have not read the request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tierproxy.fuse.device import Device
from tierproxy.fuse.locks import Locks
from tierproxy.fuse.negotiation import Agreement
from tierproxy.fuse.passthrough import close_backing, open_backing
from tierproxy.fuse.protocol import INVAL_ENTRY_OUT, INVAL_INODE_OUT, STORE_OUT, Notice
from tierproxy.ports import Offload


class Message(NamedTuple):
    """``node``: whose lock the kernel takes for it; 0: none."""

    kind: Notice
    content: bytes
    node: int = 0


class Notifier:
    """Does nothing before ``begin`` and after ``end``. ``thread``: one, of this object alone. All methods: loop."""

    def __init__(self, thread: Offload, locks: Locks) -> None:
        self._thread = thread
        self._locks = locks
        self._held: list[Message] = []
        locks.freed = self._freed
        self._device: Device | None = None
        self._agreement: Agreement | None = None
        self._queue: deque[Message] = deque()
        self._writing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Notifier, {len(self._queue) + len(self._held)} to be told>"

    def begin(self, device: Device, agreement: Agreement) -> None:
        self._device, self._agreement = device, agreement

    async def end(self) -> None:
        """What was not told yet is not told any more. Before the device is closed, and while requests are answered."""
        self._device = None
        self._queue.clear()
        self._held.clear()
        if self._writing:
            await self._writing

    async def settled(self) -> None:
        """Everything said so far has been told. For tests."""
        if self._writing:
            await self._writing

    # ------------------------------------------------------------ Kernel

    def forget_name(self, parent: int, name: bytes) -> None:
        self._later(Message(Notice.INVAL_ENTRY, INVAL_ENTRY_OUT.pack(parent, len(name), 0) + name + b"\0", parent))

    def forget_names(self) -> bool:
        if self._agreement is None or not self._agreement.epochs:
            return False
        self._later(Message(Notice.INC_EPOCH, b""))
        return True

    def forget_content(self, node: int) -> None:
        self._later(Message(Notice.INVAL_INODE, INVAL_INODE_OUT.pack(node, 0, 0), node))

    def store(self, node: int, offset: int, data: bytes | memoryview) -> bool:
        header = STORE_OUT.pack(node, offset, len(data), 0)
        return self._device is not None and self._device.tell(Notice.STORE, header, data)

    def back(self, fd: int) -> int | None:
        if self._device is None or self._agreement is None or not self._agreement.passthrough:
            return None
        return open_backing(self._device.fd, fd)

    def unback(self, backing: int) -> None:
        if self._device is not None:
            close_backing(self._device.fd, backing)

    # ------------------------------------------------------------ the thread

    def _later(self, message: Message) -> None:
        if self._device is None:
            return
        if message.node and self._locks.held(message.node):
            self._held.append(message)
            return
        self._queue.append(message)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(self._device))

    def _freed(self) -> None:
        """A request was answered: what waited for it is told."""
        if self._held:
            held, self._held = self._held, []
            for message in held:
                self._later(message)

    async def _write(self, device: Device) -> None:
        try:
            while self._queue:
                for message in await self._thread.run(_drain, device, self._queue, self._locks.held):
                    self._later(message)
        finally:
            self._writing = None


def _drain(device: Device, queue: deque[Message], locked: Callable[[int], bool]) -> list[Message]:
    """In the thread: a deque's ends may be used from different ones. Returns what must wait."""
    waiting = []
    while queue:
        try:
            message = queue.popleft()
        except IndexError:  # cleared meanwhile
            break
        if message.node and locked(message.node):
            waiting.append(message)
        else:
            device.tell(message.kind, message.content)
    return waiting
