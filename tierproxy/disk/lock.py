"""One process owns a data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import make_durable
from tierproxy.errors import ConfigError, DataDirectoryInUse, DiskError


class DataLock:
    """The exclusive flock on ``<data>/lock``. The kernel releases it when the process ends, however it ends."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd: int | None = fd
        self._path = path

    def __repr__(self) -> str:
        return f"<DataLock {self._path} {'free' if self._fd is None else 'held'}>"

    @classmethod
    def take(cls, root: Path, files: Files) -> DataLock:
        """Lock ``root`` (made if missing) and write this process' id into the file. Blocking.

        Raises DataDirectoryInUse (the hint names the other process), ConfigError: the directory cannot be used.
        """
        path = root / "lock"
        try:
            make_durable(root, files)
            fd = files.open_or_create(path)
        except DiskError as error:
            raise ConfigError(
                f"the data directory {root} cannot be used: {error}",
                hint="set [node] data_dir to a directory this user may write",
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sign(fd, files)
        except BaseException as error:
            owner = _owner(fd)
            os.close(fd)
            if isinstance(error, BlockingIOError):
                raise _taken(root, owner) from None
            raise
        return cls(fd, path)

    def release(self) -> None:
        """Give it back; the file stays (removing it would let two processes lock two different files). Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _sign(fd: int, files: Files) -> None:
    """In this order: the block that was there is written over, which a full disk allows."""
    text = f"{os.getpid()}\n".encode()
    files.write_at(fd, text, 0)
    files.truncate(fd, len(text))


def _owner(fd: int) -> str:
    text = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"


def _taken(root: Path, owner: str) -> DataDirectoryInUse:
    return DataDirectoryInUse(
        f"the data directory {root} is in use",
        hint=f"stop process {owner}, which has it locked, or give this one another data directory",
    )
