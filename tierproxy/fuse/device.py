"""/dev/fuse on an event loop: requests are read as they come, answers written at once (the kernel never lets one wait).

A read brings exactly one request, and wants room for the largest; all of the requests but writes are small, so one
buffer does for them, one after the other.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from mmap import mmap

from tierproxy.fuse.negotiation import WRITE, Agreement, agree
from tierproxy.fuse.protocol import HEADER, IN_HEADER, OUT_HEADER, Notice, Opcode, notice
from tierproxy.logs import event

log = logging.getLogger(__name__)
ROOM = WRITE + 4096  #: the kernel wants its largest write and 80 bytes at least
SPARE = 8  #: buffers that are kept; one with nothing in it takes address space, not memory
TURN = 32  #: requests read before others of the loop have their turn
JOINED = 4096  #: bytes of an answer that are copied behind its header rather than written from where they are
OVER = frozenset({errno.ENODEV, errno.ECONNABORTED})
Take = Callable[[memoryview, int], bool]


class Device:
    """An open /dev/fuse of one mount. Owns ``fd``. All methods: loop.

    ``ended`` is set when the kernel has nothing more to ask: unmounted, by us or by somebody else, or aborted.
    """

    def __init__(self, fd: int) -> None:
        self.ended = asyncio.Event()
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._buffers = [memoryview(mmap(-1, ROOM))]
        self._buffer = self._buffers.pop()
        self._take: Take | None = None

    def __repr__(self) -> str:
        return f"<Device {self._fd}{' ended' if self.ended.is_set() else ''}>"

    @property
    def fd(self) -> int:
        """For notices and ioctls of other objects of the kit."""
        return self._fd

    async def agree(self) -> Agreement:
        """Answer INIT, the kernel's first request. Raises OldKernel, OSError: unmounted before."""
        came = self._loop.create_future()
        self._loop.add_reader(self._fd, _wake, came)
        try:
            await came
        finally:
            self._loop.remove_reader(self._fd)
        length = os.readv(self._fd, [self._buffer])
        _, opcode, unique, *_ = IN_HEADER.unpack_from(self._buffer)
        if opcode != Opcode.INIT:
            raise OSError(errno.EPROTO, f"the first request is {opcode}, not INIT")
        try:
            agreement = agree(bytes(self._buffer[HEADER:length]))
        except BaseException:
            self.refuse(unique, errno.EPROTO)
            raise
        self.answer(unique, agreement.answer())
        return agreement

    def start(self, take: Take) -> None:
        """Hand each request to ``take``, which says whether it still uses the buffer; ``free`` brings it back."""
        self._take = take
        self._loop.add_reader(self._fd, self._readable)

    def free(self, buffer: memoryview) -> None:
        if len(self._buffers) < SPARE:
            self._buffers.append(buffer)

    def close(self) -> None:
        """The kernel ends what still uses the mount with ENOTCONN. Idempotent."""
        if self._fd >= 0:
            self._end()
            os.close(self._fd)
            self._fd = -1

    # ------------------------------------------------------------ answers

    def answer(self, unique: int, body: bytes | memoryview) -> None:
        size = len(body)
        header = OUT_HEADER.pack(OUT_HEADER.size + size, 0, unique)
        self._write([header + body] if size <= JOINED else [header, body])

    def refuse(self, unique: int, error: int) -> None:
        self._write([OUT_HEADER.pack(OUT_HEADER.size, -error, unique)])

    def tell(self, kind: Notice, *parts: bytes | memoryview) -> bool:
        """Thread-safe. Write a notice; False: the kernel would not have it (it does not know the node, most times)."""
        try:
            os.writev(self._fd, notice(kind, *parts))
        except OSError:
            return False
        return True

    def _write(self, parts: list[bytes | memoryview]) -> None:
        try:
            os.writev(self._fd, parts)
        except OSError as error:
            if error.errno == errno.ENOENT or error.errno in OVER:
                return  # whoever asked is gone, or all are
            event(log, logging.ERROR, "the kernel refuses an answer", error=error)

    # ------------------------------------------------------------ requests

    def _readable(self) -> None:
        take = self._take
        assert take is not None
        for _ in range(TURN):
            if not (length := self._read()):
                return
            if take(self._buffer, length):
                self._buffer = self._buffers.pop() if self._buffers else memoryview(mmap(-1, ROOM))

    def _read(self) -> int:
        """Bytes of the next request, 0: there is none."""
        try:
            return os.readv(self._fd, [self._buffer])
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.ENOENT:  # a request that was taken back while it was read: the next, next time
                if error.errno not in OVER:
                    event(log, logging.ERROR, "requests of the kernel cannot be read", error=error)
                self._end()
            return 0

    def _end(self) -> None:
        self._loop.remove_reader(self._fd)
        self.ended.set()


def _wake(came: asyncio.Future[None]) -> None:
    if not came.done():
        came.set_result(None)
