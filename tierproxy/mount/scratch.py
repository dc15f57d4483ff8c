"""Files that are not objects yet: in memory while they are small, then in a directory of this process alone.

Nothing here outlives the process: what was not renamed was promised to nobody, and the next start removes it. So a
small file is as safe in memory as on disk, and fsync has nothing to do for it (``docs/decisions/0021-the-mount.md``).
Calls that only reach memory or the page cache are made on the loop, as a hop to a thread costs more than they do; fsync
and copies of whole bodies go to threads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tierproxy.disk.fsio import disk_errors
from tierproxy.errors import DiskUnavailable
from tierproxy.ports import FileCalls, Offload

PIECE = 1024 * 1024
SMALL = 1024 * 1024  #: bytes of the longest file in memory
IN_MEMORY = 64  #: files at once that began in memory; more are on disk


class ScratchFile:
    """An open file. ``size`` and times are kept here; ``writes`` grows with every change of its content.

    ``memory``: a descriptor of a file in memory, where it is until it gets too large, None if it is at ``path`` from
    the beginning. What is changed in memory does not go through ``files``, for which every call is one that a crash may
    leave something of. ``gone``: called when it is removed.
    """

    def __init__(
        self, path: Path, files: FileCalls, now: float, memory: int | None, gone: Callable[[ScratchFile], None]
    ) -> None:
        self._path = path
        self._files = files
        self._memory = memory
        self._disk = files.create(path) if memory is None else None
        self._removed = False
        self._gone = gone
        self.size = 0
        self.modified = self.changed = now
        self.writes = 0

    def __repr__(self) -> str:
        return f"<ScratchFile {self._path.name} {self.size} bytes{' closed' if self._removed else ''}>"

    @property
    def fd(self) -> int:
        """For reading; stays open until ``remove``, though after further changes it may not be the one to ask. Raises
        DiskUnavailable after ``remove``."""
        fd = self._disk if self._disk is not None else self._memory
        if self._removed or fd is None:
            raise DiskUnavailable("the scratch file is closed")
        return fd

    @property
    def in_memory(self) -> bool:
        """``sync`` has nothing to do."""
        return self._disk is None

    def write(self, data: bytes | memoryview, offset: int, now: float) -> None:
        self.writes += 1
        self._room_for(offset + len(data))
        if self.in_memory:
            _write(self.fd, data, offset)
        else:
            self._files.write_at(self.fd, data, offset)
        self.size = max(self.size, offset + len(data))
        self.modified = self.changed = now

    def read(self, offset: int, size: int) -> bytes:
        with disk_errors("read"):
            return os.pread(self.fd, size, offset)

    def truncate(self, size: int, now: float) -> None:
        self.writes += 1
        self._room_for(size)
        if self.in_memory:
            with disk_errors("truncate"):
                os.ftruncate(self.fd, size)
        else:
            self._files.truncate(self.fd, size)
        self.size = size
        self.modified = self.changed = now

    def sync(self) -> None:
        """Blocking, if it is on disk."""
        if not self.in_memory:
            self._files.fsync(self.fd)

    def md5(self) -> str:
        """Of all of it: what the ETag of a simple PUT of it is. Blocking."""
        digest = hashlib.md5(usedforsecurity=False)
        for offset in range(0, self.size, PIECE):
            digest.update(self.read(offset, PIECE))
        return digest.hexdigest()

    def remove(self) -> None:
        """Idempotent."""
        if self._removed:
            return
        self._removed = True
        for fd in (self._memory, self._disk):
            if fd is not None:
                os.close(fd)
        self._gone(self)
        if self._disk is not None:
            self._files.unlink(self._path)

    def _room_for(self, size: int) -> None:
        """Move to disk before it gets too large for memory. What is in memory stays there: a PUT may be reading it."""
        if not self.in_memory or size <= SMALL:
            return
        there = self._files.create(self._path)
        try:
            self._files.write_at(there, self.read(0, self.size), 0)
            self._files.truncate(there, self.size)
        except BaseException:
            os.close(there)
            self._files.unlink(self._path)
            raise
        self._disk = there


def _write(fd: int, data: bytes | memoryview, offset: int) -> None:
    """All of ``data``, into memory."""
    view = memoryview(data)
    with disk_errors("write"):
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written


class Scratch:
    """The scratch directory ``root``, which no other process uses (the caller holds its lock). ``files``: every change
    of it goes through it. ``durable``: every file is on disk, and fsync is an fsync."""

    def __init__(self, root: Path, files: FileCalls, threads: Offload, *, durable: bool = False) -> None:
        self.root = root
        self.files = files
        self.threads = threads
        self._bodies = root / "files"
        self._numbers = count(1)
        self._most = 0 if durable else IN_MEMORY
        self._in_memory: set[ScratchFile] = set()

    async def clean(self) -> int:
        """Make the directory if it is not there; remove what a crash left. Returns how many files. Before ``new``."""
        return await self.threads.run(self._clean)

    def new(self, now: float) -> ScratchFile:
        """An empty file."""
        path = self._bodies / str(next(self._numbers))
        file = ScratchFile(path, self.files, now, self._room(path.name), self._in_memory.discard)
        if file.in_memory:
            self._in_memory.add(file)
        return file

    def _room(self, name: str) -> int | None:
        """A descriptor of a file in memory, None if there are enough of them."""
        if len(self._in_memory) >= self._most:
            return None
        with disk_errors("memfd_create"):
            return os.memfd_create(name)

    def _clean(self) -> int:
        if self.files.mkdir(self.root):
            self.files.fsync_dir(self.root.parent)
        if self.files.mkdir(self._bodies):
            self.files.fsync_dir(self.root)
        with disk_errors("list"):
            left = [Path(entry.path) for entry in os.scandir(self._bodies)]
        for path in left:
            self.files.unlink(path)
        return len(left)
