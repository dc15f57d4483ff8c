"""Small bodies straight from their files, for the lane, hit workers and mounts.

No trailer is read: the caller has the body's size and digest from the catalogue, and a digest of 128 bits that fits
says more than a trailer would. Nothing is returned that was not compared with it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import xxhash

from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import DiskError

CACHED = 256 * 1024  #: bytes of a body that ``cached`` reads, at most
LOADED = 1024 * 1024  #: and ``loaded``


class InlineBodies:
    """Bodies of the blobs below one data directory. ``cached`` and what is about descriptors is for one thread,
    ``loaded`` for any.

    ``keep``: descriptors that stay open from one ``cached`` to the next, least recently used first out: to open and
    close a file costs several times what reading 16 KiB of it does. A blob never changes, so a descriptor never leads
    to other bytes; but it keeps the space of a file that was unlinked, until ``sweep``.
    """

    def __init__(self, root: Path, keep: int = 0) -> None:
        self._directory = DataDirectory(root)
        self._room = memoryview(bytearray(CACHED))
        self._keep = keep
        self._kept: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<InlineBodies, {len(self._kept)} of {self._keep} descriptors>"

    def cached(self, blob: str, size: int, xxh3: bytes) -> bytes | None:
        """The body, if the kernel has all of it in memory: never waits for the device (RWF_NOWAIT, preadv2(2)).

        None: it is not there, not in memory, larger than 256 KiB, or not what was written.
        """
        if size > CACHED:
            return None
        room = self._room[:size]
        fd = self._kept.pop(blob, None)
        if fd is None:
            fd = self._opened(blob)
            if fd is None:
                return None
        body = None
        try:
            # EAGAIN: none of it is in memory; EOPNOTSUPP: not on this file system
            with suppress(OSError):
                if not size or os.preadv(fd, [room], 0, os.RWF_NOWAIT) == size:
                    body = bytes(room) if xxhash.xxh3_128_digest(room) == xxh3 else None
        finally:
            if body is not None and self._keep:
                self._kept[blob] = fd
            else:
                os.close(fd)
        if len(self._kept) > self._keep:
            os.close(self._kept.popitem(last=False)[1])
        return body

    def sweep(self) -> None:
        """Let go of files that have no name any more: their space is free then. A system call for each descriptor."""
        gone = [blob for blob, fd in self._kept.items() if not os.fstat(fd).st_nlink]
        for blob in gone:
            os.close(self._kept.pop(blob))

    def close(self) -> None:
        """Idempotent."""
        while self._kept:
            os.close(self._kept.popitem()[1])

    def _opened(self, blob: str) -> int | None:
        try:
            return os.open(self._directory.blob(blob), os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, DiskError):
            return None

    def loaded(self, blob: str, size: int, xxh3: bytes) -> bytes | None:
        """thread. The body, from the device if need be. None: it is not there, cannot be read, is larger than 1 MiB, or
        is not what was written."""
        if size > LOADED:
            return None
        fd = self._opened(blob)
        if fd is None:
            return None
        try:
            body = os.pread(fd, size, 0)
        except OSError:
            return None
        finally:
            os.close(fd)
        return body if len(body) == size and xxhash.xxh3_128_digest(body) == xxh3 else None
