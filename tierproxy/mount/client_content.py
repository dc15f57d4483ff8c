"""Bodies on the mount's side: the part of an open file that is sent, and scratch files for what is too large to be
kept in memory. Everything that blocks for longer than a copy in memory goes to a thread."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from tierproxy.errors import DiskError
from tierproxy.mount.ports import Doubt
from tierproxy.ports import FileCalls, Offload

T = TypeVar("T")
PIECE = 2**20
AT_ONCE = 128 * 1024
"""Bytes read and hashed on the loop: a way to a thread and back costs more."""


class Words:
    """Bytes of memory, to be sent as often as it takes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        yield self._data

    async def sha256(self) -> str:
        return hashlib.sha256(self._data).hexdigest()


class Outgoing:
    """The first ``size`` bytes of ``fd``, to be sent as often as it takes."""

    def __init__(self, fd: int, size: int, threads: Offload) -> None:
        self._fd = fd
        self.size = size
        self._threads = threads
        self._etag = ""

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """All bytes; behind the last one ``etag`` is known. Raises Doubt when the file is shorter, or cannot be
        read."""
        digest = hashlib.md5(usedforsecurity=False)
        for offset in range(0, self.size, PIECE):
            length = min(PIECE, self.size - offset)
            if self.size <= AT_ONCE:
                piece = _read(self._fd, length, offset, digest)
            else:
                piece = await settled(self._threads, _read, self._fd, length, offset, digest)
            yield piece
        self._etag = digest.hexdigest()

    async def etag(self) -> str:
        """The ETag an object of these bytes has: their MD5."""
        if not self._etag:
            async for _ in self.pieces():
                pass
        return self._etag

    async def sha256(self) -> str:
        """The hex digest, for signing."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, PIECE):
            await settled(self._threads, _read, self._fd, min(PIECE, self.size - offset), offset, digest)
        return digest.hexdigest()


def _read(fd: int, size: int, offset: int, digest: Any) -> bytes:
    pieces = []
    while size:
        try:
            piece = os.pread(fd, size, offset)
        except OSError as error:
            raise Doubt(f"cannot read what is to be sent: {error}") from error
        if not piece:
            raise Doubt("the file is shorter than what is to be sent of it")
        digest.update(piece)
        pieces.append(piece)
        size -= len(piece)
        offset += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Scratch:
    """Files without a name in ``directory``: they go with their last descriptor, whatever happens."""

    def __init__(self, directory: Path, files: FileCalls, threads: Offload) -> None:
        self._directory = directory
        self._files = files
        self._threads = threads
        self._numbers = count(1)
        self._life = secrets.token_hex(8)  # a crash between open and unlink leaves a name that must not be in the way

    async def keep(self, pieces: AsyncGenerator[bytes, None]) -> int:
        """A descriptor of a file that holds all of ``pieces``; it is the caller's. Raises Doubt, and what ``pieces``
        raises."""
        opened: list[int] = []
        try:
            await settled(self._threads, self._open, opened)
            offset = 0
            async with aclosing(pieces):
                async for piece in pieces:
                    await settled(self._threads, self._files.write_at, opened[0], piece, offset)
                    offset += len(piece)
        except BaseException as error:
            for fd in opened:
                os.close(fd)
            if isinstance(error, DiskError):
                raise Doubt(f"no scratch file for the body: {error}") from error
            raise
        return opened[0]

    def _open(self, opened: list[int]) -> None:
        path = self._directory / f"body.{self._life}.{next(self._numbers)}"
        opened.append(self._files.create(path))
        self._files.unlink(path)


async def settled(threads: Offload, call: Callable[..., T], *args: Any) -> T:
    """``call`` in a thread. A cancellation is raised once the call has ended: until then its descriptors are in use."""
    work = asyncio.ensure_future(threads.run(call, *args))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # or asyncio complains that nobody heard of it
        raise
