"""Reading files of a stranger: no link is followed, nothing but regular files is read, every trouble is a BadMail."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tierproxy.importing.letters import Bad, BadMail

BLOCK = 1 << 18


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of a regular file. Raises BadMail."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadMail(why(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadMail("not a regular file")
        yield fd
    except OSError as error:
        raise BadMail(why(error)) from error
    finally:
        os.close(fd)


def why(error: OSError) -> str:
    """For the report."""
    if error.errno == errno.ELOOP:
        return "a symbolic link, which is not followed"
    return f"cannot be read: {error.strerror or error}"


def blocks(path: Path, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, or a part of them. Raises BadMail, also when it is shorter than ``end``."""
    with opened(path) as fd:
        at = begin
        while end is None or at < end:
            block = os.pread(fd, BLOCK if end is None else min(BLOCK, end - at), at)
            if not block:
                break
            yield block
            at += len(block)
        if end is not None and at < end:
            raise BadMail("has become shorter")


def entries(directory: Path) -> tuple[list[os.DirEntry[str]], list[Bad]]:
    """What is in a directory, by name; and instead, why it cannot be read."""
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name), []
    except OSError as error:
        return [], [Bad(printable(directory), why(error))]


def is_directory(entry: os.DirEntry[str]) -> bool:
    """A directory itself, not a link to one."""
    return entry.is_dir(follow_symlinks=False)


def printable(path: Path | str) -> str:
    """A path as text that can be stored and printed: bytes that are no UTF-8 are escaped."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fingerprint(found: os.stat_result) -> str:
    """Changes when the file does."""
    return f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}"
