"""The only module that changes files. Crash tests and fault injection subclass ``Files`` and see every change."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tierproxy.errors import BlobMissing, DiskError, DiskUnavailable, OutOfSpace

T = TypeVar("T")

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def translated(error: OSError, what: str) -> DiskError:
    """The kernel's ``error`` while doing ``what`` as one of tierproxy's."""
    message = f"{what}: {error.strerror or error}"
    if error.errno in NO_ROOM:
        return OutOfSpace(message)
    if error.errno == errno.ENOENT:
        return BlobMissing(message)
    return DiskUnavailable(message)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Raise what the kernel says inside the block as OutOfSpace, BlobMissing or DiskUnavailable."""
    try:
        yield
    except OSError as error:
        raise translated(error, what) from error


class Files:
    """Every call that changes a file or a directory. Blocking: for worker threads, and for start and stop.

    Each raises OutOfSpace (ENOSPC, EDQUOT, EFBIG), BlobMissing (ENOENT) or DiskUnavailable (anything else).
    """

    pulse: Callable[[], None] | None = None
    """Called before each call to the kernel: who watches them sees one that does not return."""

    def call(self, kind: str, function: Callable[..., T], *args: object) -> T:
        """The one gate to the kernel; ``kind`` is the public method's name. Test kits override this."""
        return function(*args)

    def mkdir(self, path: Path) -> bool:
        """Make a directory (mode 0700). False if it was there. Durable only after ``fsync_dir`` of its parent."""
        try:
            self._do("mkdir", os.mkdir, path, 0o700)
        except DiskUnavailable as error:
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
        return True

    def create(self, path: Path) -> int:
        """A new file (mode 0600), open for reading and writing; the caller closes the descriptor."""
        return self._do("create", os.open, path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def open_or_create(self, path: Path) -> int:
        """A file that may be there, open for reading and writing; the caller closes the descriptor. A link of that name
        is not followed: whoever put it there would choose what is written to."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return self._do("open_or_create", os.open, path, flags, 0o600)

    def write_at(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        view = memoryview(data)
        while view:
            written = self._do("write_at", os.pwrite, fd, view, offset)
            view, offset = view[written:], offset + written

    def truncate(self, fd: int, size: int) -> None:
        self._do("truncate", os.ftruncate, fd, size)

    def allocate(self, fd: int, size: int) -> None:
        """Have all of the first ``size`` bytes of an open file on the device, or in memory; zeros where it had none."""
        self._do("allocate", os.posix_fallocate, fd, 0, size)

    def fsync(self, fd: int) -> None:
        """Make the content of an open file durable (not its name: ``fsync_dir``)."""
        self._do("fsync", os.fsync, fd)

    def rename(self, source: Path, target: Path) -> None:
        self._do("rename", os.rename, source, target)

    def unlink(self, path: Path) -> None:
        self._do("unlink", os.unlink, path)

    def rmdir(self, path: Path) -> None:
        self._do("rmdir", os.rmdir, path)

    def chmod(self, path: Path, mode: int) -> None:
        """Follows links."""
        self._do("chmod", os.chmod, path, mode)

    def fsync_dir(self, path: Path) -> None:
        """Make the entries of a directory durable."""
        self._do("fsync_dir", _fsync_dir, path)

    def _do(self, kind: str, function: Callable[..., T], *args: object) -> T:
        if self.pulse is not None:
            self.pulse()
        try:
            return self.call(kind, function, *args)
        except OSError as error:
            paths = [str(argument) for argument in args if isinstance(argument, Path)]
            raise translated(error, " ".join([kind, *paths])) from error


def _fsync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
