"""The door between the mount's file system and the node it is a client of.

Keys are the object's keys in the mount's bucket, without the mount's prefix. Times are seconds since the epoch, sizes
bytes, ETags without quotes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tierproxy.errors import TierproxyError


class NodeError(TierproxyError):
    """The node did not do what was asked."""


class Doubt(NodeError):
    """Nobody knows: the node or S3 is down or slow, or an answer was lost. EIO, never ENOENT."""

    hint = "is the node running, and its S3 server? `tierproxy status`"


class Unsent(Doubt):
    """The node could not be asked: nothing was sent to it, so nothing has changed."""


class NotThere(NodeError):
    """The node says, and can know, that there is no such object."""


class InTheWay(NodeError):
    """A condition failed: the name is taken, or its content is another one than expected."""


class NotAllowed(NodeError):
    """The access key may not do it."""

    hint = "[[key]] of the node's configuration says what a key may do"


class NoRoom(NodeError):
    """The node has no room and cannot go around its disk."""


class Who(NamedTuple):
    """On whose behalf a request is made. ``reason``: a value of ``tierproxy.traffic.Reason``, "" says nothing (a
    person). ``program``: the process, for logs (imap, lmtp, doveadm)."""

    reason: str = ""
    program: str = ""


NOBODY = Who()


@dataclass(frozen=True, slots=True)
class File:
    """An object as a file. ``modified``: its mtime, ``changed``: its ctime (both kept in the object's metadata, else
    when it was written)."""

    key: str
    size: int
    etag: str
    modified: float
    changed: float


@dataclass(frozen=True, slots=True)
class Children:
    """What is directly below a directory. ``directories``: names of those with an object of their own (a marker) or
    with anything below them. ``marked``: whether the directory asked about has a marker of its own. Empty and
    unmarked: there is no such directory."""

    files: tuple[File, ...]
    directories: tuple[str, ...]
    marked: bool


@dataclass(frozen=True, slots=True)
class Body:
    """What ``open`` brings: verified bytes. ``head`` begins at 0. Whole: ``head`` is everything, or ``fd`` is a
    descriptor of a file that holds everything (the caller closes it). A stub: ``tail`` are the last bytes, and what
    is between is not here. Neither (``fd`` None, ``stub`` False, ``head`` shorter than the object): it is above the
    whole-object limit, ``head`` and ``tail`` are its ends, and the rest comes by ``NodeClient.piece``."""

    file: File
    head: bytes = b""
    tail: bytes = b""
    fd: int | None = None
    stub: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A change of the bucket by whomever. ``key`` "": anything may have changed (the feed was lost for a while, or
    has just begun): believe nothing that was remembered. ``etag`` "": the object is gone."""

    key: str
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Room:
    """The disk budget, in bytes. ``objects``: how many there are."""

    total: int
    used: int
    objects: int


class Read(NamedTuple):
    """``times`` opens of all of one object that were served without the node, the last at ``at``, all for ``reason``
    (of ``Who``). ``sent``: bytes of all of them; ``owner`` and ``folder``: of its row."""

    key: str
    size: int
    reason: str
    times: int
    sent: int
    at: float
    owner: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes to become an object: the first ``size`` of ``fd``, which is read with pread and stays the caller's.
    ``create``: fails with InTheWay if there is one; ``match``: fails unless the one there has this ETag. ``metadata``:
    what to store beside mtime and ctime. ``change``: a name for this change, by which it can be withdrawn."""

    key: str
    fd: int
    size: int
    modified: float
    changed: float
    create: bool = False
    match: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    change: str = ""


class NodeClient(Protocol):
    """One node. Every method raises Doubt when the set deadline passes without progress, and NotAllowed; what else is
    said with it. A cancelled caller leaves nothing behind here; the node may carry out what it was sent. Uncertain
    changes (the answer was lost) are asked after before Doubt is raised: what is reported as failed may still happen
    later only if the node is not reachable, or took longer than the deadline."""

    async def look(self, key: str) -> File:
        """Raises NotThere."""
        ...

    async def children(self, directory: str) -> Children:
        """``directory``: "" or a key that ends in "/"."""
        ...

    async def open(self, key: str, who: Who = NOBODY, *, stub: bool = True) -> Body:
        """Counted as a read. ``stub``: head and tail will do, if the body is not on the node's disk. Raises NotThere.
        Larger bodies come as a descriptor of a scratch file; of objects above the whole-object limit head and tail
        come, see ``Body``."""
        ...

    async def piece(self, file: File, offset: int, size: int, who: Who = NOBODY) -> bytes:
        """Part of this very content; raises InTheWay if it is another one by now, NotThere."""
        ...

    async def put(self, upload: Upload, who: Who = NOBODY) -> File:
        """Raises InTheWay, NoRoom. Returns when the node's write acknowledgement is given."""
        ...

    async def mark(self, directory: str, modified: float) -> None:
        """Make the marker of a directory (a key that ends in "/"); fine if there is one."""
        ...

    async def copy(
        self, source: File, target: str, *, create: bool = True, who: Who = NOBODY, change: str = ""
    ) -> File:  # fmt: skip
        """A copy by the node, of this very content. ``change``: as of an upload. Raises NotThere, InTheWay, NoRoom."""
        ...

    async def withdraw(self, key: str, *, etag: str, change: str) -> None:
        """Take back a change in doubt that was to create ``key`` with ``etag``: when this returns it has not happened,
        and never will. What has another ETag stays. Only the node's own answer will do; asking again is fine."""
        ...

    async def touch(self, file: File, modified: float, changed: float) -> File:
        """New times for this very content. Raises NotThere, InTheWay."""
        ...

    async def delete(self, key: str, *, match: str = "") -> None:
        """Fine if there is none. ``match``: raises InTheWay if it has another ETag."""
        ...

    async def report(self, reads: Sequence[Read]) -> None:
        """Have reads counted that were served without the node. Asked again, they are counted again."""
        ...

    def changes(self) -> AsyncIterator[Told]:
        """Never ends and never raises: reconnects by itself, and says Told("") whenever it was away or begins."""
        ...

    @property
    def fresh(self) -> bool:
        """Changes are being heard of now: what is remembered may be believed."""
        ...

    async def room(self) -> Room: ...

    async def close(self) -> None: ...
