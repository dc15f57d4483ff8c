"""What a file system answers, and what it may tell the kernel.

Nodes are numbers the file system gives out by ``lookup`` (and create, mkdir, link ...); 1 is the root. A method that
cannot do what is asked raises ``OSError`` with an errno; anything else it raises is logged and answered as EIO. Every
method but those marked loop is a coroutine: each request of the kernel is a task of its own, so one that waits keeps
nobody else waiting. Names are bytes as the kernel has them.

A caller that gets a signal cancels what it waits for, if that changes nothing (lookup, getattr, readlink, open, read,
opendir, readdir, statfs), and is answered EINTR; a change is brought to its end.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

ROOT = 1


class Absent(FileNotFoundError):
    """A ``lookup``'s "not there" that the kernel may believe for ``seconds``, unless it is told otherwise before
    (``Kernel.forget_name``). Any other ENOENT is for this one time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(errno.ENOENT, os.strerror(errno.ENOENT))
        self.seconds = seconds


class Caller(NamedTuple):
    """Who asks: of the process that made the system call. ``pid`` is 0 for a process of another pid namespace and for
    requests of the kernel's own (write-back, readahead)."""

    uid: int
    gid: int
    pid: int


class Attributes(NamedTuple):
    """What stat(2) shows. ``mode`` with the file's type; times in seconds since the epoch; ``size`` in bytes."""

    ino: int
    mode: int
    size: int
    mtime: float
    ctime: float
    atime: float
    uid: int
    gid: int
    nlink: int = 1


class Found(NamedTuple):
    """A node and how long, in seconds, the kernel may believe its name and its attributes without asking again."""

    node: int
    attributes: Attributes
    name_for: float = 0.0
    attributes_for: float = 0.0
    generation: int = 0


class Opened(NamedTuple):
    """An open file or directory. ``handle`` comes back with every use of it.

    ``direct``: no page cache and no readahead, reads come as the program makes them and may be answered short.
    ``keep``: pages the kernel has of this node are still right. ``no_flush``: close(2) need not ask. ``backing``: a
    number of ``Kernel.back``: reads and writes go to that file without asking (FUSE passthrough). While a node is open,
    all its opens have the same number or are ``direct``: else the kernel fails them with EIO.
    Of a directory ``cache`` and ``keep`` alone are looked at. ``cache``: the kernel may keep what this open reads, for
    others that have it, too; ``keep``: it may also use what was kept before, else that is dropped.
    """

    handle: int
    direct: bool = False
    keep: bool = False
    no_flush: bool = False
    backing: int | None = None
    cache: bool = False


class DirectoryEntry(NamedTuple):
    """``kind``: the file type's bits of st_mode (stat.S_IFREG, stat.S_IFDIR ...). ``found``: for a readdir that also
    looks up; None answers the name alone. "." and ".." are entries like others, and have none."""

    name: bytes
    ino: int
    kind: int
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What setattr(2)'s relatives ask for; None: leave it. Times in seconds since the epoch."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: float | None = None
    mtime: float | None = None
    ctime: float | None = None
    handle: int | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """statvfs(3). Sizes in bytes, rounded to ``block`` when told."""

    total: int
    free: int
    available: int
    files: int
    files_free: int
    block: int = 4096
    name_max: int = 255


class Operations(Protocol):
    """A file system. What is not here is answered ENOSYS by the kit (locks are then the kernel's own, extended
    attributes and fallocate "not supported"). ``who`` is the caller."""

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Found:
        """ENOENT (``Absent``) only when it is true. Each answer is one more reference the kernel holds, until
        ``forget``."""
        ...

    def forget(self, node: int, count: int) -> None:
        """loop. The kernel gives back ``count`` references of ``node``."""
        ...

    async def getattr(self, node: int, handle: int | None, who: Caller) -> tuple[Attributes, float]:
        """Attributes, and for how many seconds they may be believed."""
        ...

    async def setattr(self, node: int, change: Change, who: Caller) -> tuple[Attributes, float]: ...

    async def readlink(self, node: int, who: Caller) -> bytes: ...

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Found: ...

    async def mknod(self, parent: int, name: bytes, mode: int, device: int, who: Caller) -> Found: ...

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Found: ...

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None: ...

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None: ...

    async def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller) -> None:
        """``flags``: RENAME_NOREPLACE (1), RENAME_EXCHANGE (2) of renameat2(2)."""
        ...

    async def link(self, node: int, parent: int, name: bytes, who: Caller) -> Found: ...

    async def open(self, node: int, flags: int, who: Caller) -> Opened:
        """``flags`` of open(2), O_TRUNC among them: then this also empties the file."""
        ...

    async def create(self, parent: int, name: bytes, mode: int, flags: int, who: Caller) -> tuple[Found, Opened]: ...

    async def read(self, node: int, handle: int, offset: int, size: int, who: Caller) -> bytes | memoryview:
        """At most ``size`` bytes; fewer mean the end of the file, unless it was opened ``direct``."""
        ...

    async def write(self, node: int, handle: int, offset: int, data: memoryview, who: Caller) -> int:
        """``data`` is the kit's buffer: it must be used up before this returns."""
        ...

    async def flush(self, node: int, handle: int, who: Caller) -> None:
        """A descriptor is closed; others of the same open may live on."""
        ...

    async def release(self, node: int, handle: int) -> None:
        """The last one is closed. Its answer reaches nobody."""
        ...

    async def fsync(self, node: int, handle: int, data_only: bool, who: Caller) -> None: ...

    async def opendir(self, node: int, who: Caller) -> Opened: ...

    async def readdir(self, node: int, handle: int, offset: int, who: Caller) -> Sequence[DirectoryEntry]:
        """Entries from the ``offset``-th on (0: the first), as many as are at hand; none: the end. The kernel takes
        some hundred at a time, and asks on from there. Each ``found`` is one more reference, as by ``lookup``; those of
        entries the kernel has no room for, the kit gives back by ``forget``."""
        ...

    async def releasedir(self, node: int, handle: int) -> None: ...

    async def fsyncdir(self, node: int, handle: int, data_only: bool, who: Caller) -> None: ...

    async def statfs(self, who: Caller) -> Space: ...


class Kernel(Protocol):
    """What a file system may tell the kernel by itself. All loop; none raises for what the kernel does not know.

    What is to be forgotten is told by a thread, in order and soon: the kernel takes locks for it that callers hold
    while they wait for an answer of this very loop.
    """

    def forget_name(self, parent: int, name: bytes) -> None:
        """The next use of this name asks again (FUSE_NOTIFY_INVAL_ENTRY)."""
        ...

    def forget_names(self) -> bool:
        """All names at once; False where the kernel cannot (before FUSE 7.44)."""
        ...

    def forget_content(self, node: int) -> None:
        """Attributes and pages of ``node`` are out of date (FUSE_NOTIFY_INVAL_INODE)."""
        ...

    def store(self, node: int, offset: int, data: bytes | memoryview) -> bool:
        """Put pages into the kernel's cache (FUSE_NOTIFY_STORE), at once; False: it would not have them.

        Only of a node that is not open, which means: before its one open is answered, with ``keep``. A page that a
        READ under way has locked would make the loop wait for itself.
        """
        ...

    def back(self, fd: int) -> int | None:
        """Register ``fd`` for ``Opened.backing``; None where the kernel has no passthrough or does not allow it."""
        ...

    def unback(self, backing: int) -> None: ...
