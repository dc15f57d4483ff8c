#!/usr/bin/env python3
"""A directory through mfusepy: ``fuse_mfusepy.py DIRECTORY POINT``, until SIGTERM. For ``bench_fuse.py``, which runs it
with the Python of an environment of its own."""

import os
import sys
from typing import Any

import mfusepy  # type: ignore[import-not-found]

FIELDS = ("st_mode", "st_size", "st_mtime", "st_ctime", "st_atime", "st_uid", "st_gid", "st_nlink")


class Mirror(mfusepy.Operations):  # type: ignore[misc]
    """What the measures use."""

    use_ns = False

    def __init__(self, directory: Any) -> None:
        self._directory = directory

    def _at(self, path: Any) -> Any:
        return self._directory + path

    def getattr(self, path: Any, fh: Any = None) -> Any:
        found = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
        return {name: getattr(found, name) for name in FIELDS}

    def open(self, path: Any, flags: Any) -> Any:
        return os.open(self._at(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: Any, mode: Any, fi: Any = None) -> Any:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path: Any, size: Any, offset: Any, fh: Any) -> Any:
        return os.pread(fh, size, offset)

    def write(self, path: Any, data: Any, offset: Any, fh: Any) -> Any:
        return os.pwrite(fh, data, offset)

    def truncate(self, path: Any, length: Any, fh: Any = None) -> Any:
        os.truncate(self._at(path), length)

    def flush(self, path: Any, fh: Any) -> Any:
        return 0

    def fsync(self, path: Any, datasync: Any, fh: Any) -> Any:
        (os.fdatasync if datasync else os.fsync)(fh)
        return 0

    def release(self, path: Any, fh: Any) -> Any:
        os.close(fh)
        return 0

    def rename(self, old: Any, new: Any, *flags: Any) -> Any:
        os.rename(self._at(old), self._at(new))

    def unlink(self, path: Any) -> Any:
        os.unlink(self._at(path))

    def opendir(self, path: Any) -> Any:
        return os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY)

    def fsyncdir(self, path: Any, datasync: Any, fh: Any) -> Any:
        os.fsync(fh)
        return 0

    def releasedir(self, path: Any, fh: Any) -> Any:
        os.close(fh)
        return 0

    def readdir(self, path: Any, fh: Any) -> Any:
        return [".", "..", *os.listdir(self._at(path))]


if __name__ == "__main__":
    mfusepy.FUSE(Mirror(os.path.realpath(sys.argv[1])), sys.argv[2], foreground=True)
