"""Whether the disk does what a write and a read need, asked with a small file of our own."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tierproxy.disk.fsio import Files, disk_errors
from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import BlobMissing, DiskHangs, DiskUnavailable
from tierproxy.ports import Offload

SIZE = 4096
NAME = "probe"
"""In ``staging/``, which the next start empties. No blob has such a name."""


class Probe:
    """``ask`` writes, fsyncs, reads back, compares and removes. ``threads``: one of its own, with the patience that a
    probe has; a probe that hangs is not joined by a second one. One that was given up before it began never runs, and
    is in nobody's way: so the thread says that it is running, and not who asked."""

    def __init__(self, root: Path, files: Files, threads: Offload) -> None:
        self._staging = DataDirectory(root).staging
        self._files = files
        self._threads = threads
        self._running = False

    def __repr__(self) -> str:
        return f"<Probe in {self._staging}{', running' if self._running else ''}>"

    async def ask(self) -> None:
        """Raises DiskUnavailable; OutOfSpace, which says nothing against a disk."""
        if self._running:
            raise DiskHangs("the probe before has not returned")
        await self._threads.run(self._ask)

    def _ask(self) -> None:
        self._running = True
        try:
            self._try_out(self._staging / NAME)
        finally:
            self._running = False

    def _try_out(self, path: Path) -> None:
        with suppress(BlobMissing):
            self._files.unlink(path)  # of one that failed
        fd = self._files.create(path)
        try:
            content = os.urandom(SIZE)
            self._files.write_at(fd, content, 0)
            self._files.fsync(fd)
            with disk_errors(f"read {path}"):
                os.posix_fadvise(fd, 0, SIZE, os.POSIX_FADV_DONTNEED)  # from the device, if the kernel is so kind
                found = os.pread(fd, SIZE, 0)
        finally:
            os.close(fd)
        if found != content:
            raise DiskUnavailable(f"{path} is not what was written")
        self._files.unlink(path)
        self._files.fsync_dir(path.parent)
