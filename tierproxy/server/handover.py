"""Messages between the node and a hit worker: frames on a unix stream socket, each with at most one descriptor.

A frame is a head (kind, whether a descriptor comes with it, lengths), JSON and bytes. The descriptor travels with the
frame's first byte (SCM_RIGHTS, unix(7)): the kernel never delivers those of two frames in one call, and in their order,
so they wait in a queue until the frame they belong to is whole. Whoever gets a descriptor owns it: ``send`` closes what
it was given, and what cannot be told to anybody any more is closed here.
"""

from __future__ import annotations

import array
import asyncio
import errno
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

HEAD = struct.Struct("<BBII")
LARGEST = 16 * 2**20  #: bytes of a frame's JSON, and of its bytes
PIECE = 64 * 1024  #: bytes received at once
PAUSE = 0.02  #: seconds until the kernel is asked again to take a descriptor when too many are on their way
_ONE = socket.CMSG_SPACE(array.array("i").itemsize)
_FLAGS = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT


class Kind(IntEnum):
    """What a frame says."""

    SETUP = 1  #: to the worker, first: what it is to do
    READY = 2  #: it listens
    PASS = 3  #: to the node, with a descriptor: a connection, and the bytes read of it
    BACK = 4  #: to the worker, with a descriptor: a connection at rest
    REPORT = 5  #: to the node: what was served, and that it lives
    CERTIFICATE = 6  #: to the worker: other files
    STOP = 7  #: to the worker: no new connections; end when the others have ended


class Frame(NamedTuple):
    """``descriptor``: its receiver's to close. None although ``carries``: the kernel had no room for it (EMFILE)."""

    kind: Kind
    facts: Mapping[str, Any]
    data: bytes
    carries: bool
    descriptor: int | None


class Malformed(Exception):
    """What came is not a frame."""


class _Waiting(NamedTuple):
    data: memoryview
    descriptor: int | None


class Inbox:
    """Bytes and descriptors as the kernel delivers them, to frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._descriptors: deque[int | None] = deque()

    def take(self, data: bytes, descriptors: list[int], lost: bool) -> None:
        """``lost``: a descriptor came that could not be had."""
        self._buffer += data
        self._descriptors.extend(descriptors)
        if lost:
            self._descriptors.append(None)

    def next(self) -> Frame | None:
        """The next frame, if it is whole. Raises Malformed."""
        if len(self._buffer) < HEAD.size:
            return None
        kind, carries, facts, size = HEAD.unpack_from(self._buffer)
        if facts > LARGEST or size > LARGEST:
            raise Malformed(f"a frame of {facts} and {size} bytes")
        middle, end = HEAD.size + facts, HEAD.size + facts + size
        if len(self._buffer) < end:
            return None
        told = bytes(self._buffer[HEAD.size : middle])
        data = bytes(self._buffer[middle:end])
        del self._buffer[:end]
        if carries and not self._descriptors:
            raise Malformed("a frame without its descriptor")
        descriptor = self._descriptors.popleft() if carries else None
        try:
            return Frame(Kind(kind), json.loads(told) if told else {}, data, bool(carries), descriptor)
        except ValueError as error:
            close(descriptor)
            raise Malformed(str(error)) from error

    def discard(self) -> None:
        """Close what belongs to frames that will never be whole."""
        while self._descriptors:
            close(self._descriptors.popleft())
        self._buffer.clear()


class Channel:
    """One end. Confined to the event loop; nothing here waits. ``on_frame`` is called for every frame in its order,
    ``on_end`` once: the other side has ended, or the stream is broken. Neither is called after ``close``."""

    def __init__(
        self, end: socket.socket, on_frame: Callable[[Frame], None], on_end: Callable[[], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        end.setblocking(False)
        self._socket = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._loop = loop or asyncio.get_running_loop()
        self._inbox = Inbox()
        self._outbox: deque[_Waiting] = deque()
        self._asked = False  # the loop tells when more can be sent
        self._again: asyncio.TimerHandle | None = None
        self._taken = asyncio.Event()  # all that was sent, by the kernel
        self._taken.set()
        self.closed = False
        self._loop.add_reader(end.fileno(), self._receive)

    def __repr__(self) -> str:
        return f"<Channel {'closed' if self.closed else f'{self.waiting} frames wait'}>"

    @property
    def waiting(self) -> int:
        """Frames that are not sent yet. Whoever may send without end looks here first."""
        return len(self._outbox)

    def send(
        self, kind: Kind, facts: Mapping[str, Any] | None = None, data: bytes = b"", descriptor: int | None = None
    ) -> None:
        """Send, at once or as soon as what was sent before is taken. ``descriptor`` is closed in any event. To a closed
        channel: nothing is sent."""
        if self.closed:
            close(descriptor)
            return
        told = json.dumps(facts, separators=(",", ":")).encode() if facts else b""
        head = HEAD.pack(kind, descriptor is not None, len(told), len(data))
        self._outbox.append(_Waiting(memoryview(head + told + data), descriptor))
        self._taken.clear()
        if not self._asked and self._again is None:
            self._send()

    async def flushed(self) -> None:
        """Until nothing waits, or the channel is closed."""
        await self._taken.wait()

    def close(self) -> None:
        """What is not sent is not sent any more. Idempotent."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        if self._asked:
            self._loop.remove_writer(self._socket.fileno())
        if self._again is not None:
            self._again.cancel()
        self._socket.close()
        self._inbox.discard()
        self._taken.set()
        while self._outbox:
            close(self._outbox.popleft().descriptor)

    # ---------------------------------------------------------------- out

    def _send(self) -> None:
        self._again = None
        while self._outbox:
            data, descriptor = self._outbox[0]
            try:
                sent = self._send_some(data, descriptor)
            except (BlockingIOError, InterruptedError):
                self._ask(True)
                return
            except OSError as error:
                if error.errno not in {errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM}:
                    self._break()
                    return
                self._ask(False)  # it could be written to, but for this
                self._again = self._loop.call_later(PAUSE, self._send)
                return
            close(descriptor)
            if sent == len(data):
                self._outbox.popleft()
            else:
                self._outbox[0] = _Waiting(data[sent:], None)
        self._ask(False)
        self._taken.set()

    def _send_some(self, data: memoryview, descriptor: int | None) -> int:
        if descriptor is None:
            return self._socket.send(data)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        return self._socket.sendmsg([data], rights)

    def _ask(self, wanted: bool) -> None:
        if wanted and not self._asked:
            self._loop.add_writer(self._socket.fileno(), self._send)
        elif self._asked and not wanted:
            self._loop.remove_writer(self._socket.fileno())
        self._asked = wanted

    # ---------------------------------------------------------------- in

    def _receive(self) -> None:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(PIECE, _ONE, _FLAGS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._break()
            return
        descriptors = received(ancillary)
        self._inbox.take(data, descriptors, bool(flags & socket.MSG_CTRUNC) and not descriptors)
        try:
            while not self.closed and (frame := self._inbox.next()) is not None:
                self._on_frame(frame)
        except Malformed:
            self._break()
        if not data:
            self._break()

    def _break(self) -> None:
        if not self.closed:
            self.close()
            self._on_end()


def received(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what recvmsg returned."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def close(descriptor: int | None) -> None:
    """Close ``descriptor``, if there is one."""
    if descriptor is not None:
        os.close(descriptor)
