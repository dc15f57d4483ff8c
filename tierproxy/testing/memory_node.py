"""A node in a dictionary for the mount (``tierproxy.mount.ports.NodeClient``), with doors to make it slow or
broken."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from tierproxy.mount.ports import (
    NOBODY,
    Body,
    Children,
    Doubt,
    File,
    InTheWay,
    NodeError,
    NotThere,
    Read,
    Room,
    Told,
    Upload,
    Who,
)
from tierproxy.testing.crash import SimulatedCrash
from tierproxy.testing.gate import Gate

NOW = 1_700_000_000.0
HEAD, TAIL = 8192, 1024


@dataclass(frozen=True)
class Stored:
    body: bytes
    file: File
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class MemoryBucket:
    """The truth, and who listens to it. Several nodes may share one. ``stubbed``: keys whose body is not on disk."""

    objects: dict[str, Stored] = field(default_factory=dict)
    markers: set[str] = field(default_factory=set)
    stubbed: set[str] = field(default_factory=set)
    listeners: list[asyncio.Queue[Told]] = field(default_factory=list)
    ticks: float = 0.0
    withdrawn: set[str] = field(default_factory=set)

    def keep(
        self, key: str, body: bytes, modified: float | None = None, changed: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> File:  # fmt: skip
        """Put by whomever."""
        self.ticks += 1
        now = NOW + self.ticks
        etag = hashlib.md5(body).hexdigest()
        file = File(key, len(body), etag, now if modified is None else modified, now if changed is None else changed)
        self.objects[key] = Stored(body, file, metadata or {})
        self.tell(Told(key, etag))
        return file

    def remove(self, key: str) -> None:
        known = self.objects.pop(key, None) is not None or key in self.markers
        self.markers.discard(key)
        if known:
            self.tell(Told(key))

    def mark(self, directory: str) -> None:
        if directory not in self.markers:
            self.markers.add(directory)
            self.tell(Told(directory, "d41d8cd98f00b204e9800998ecf8427e"))

    def tell(self, told: Told) -> None:
        for listener in self.listeners:
            listener.put_nowait(told)

    def bodies(self) -> dict[str, bytes]:
        return {key: stored.body for key, stored in sorted(self.objects.items())}

    def children(self, directory: str) -> Children:
        names: set[str] = set()
        files = []
        for key, stored in sorted(self.objects.items()):
            if key.startswith(directory):
                name, slash, _ = key.removeprefix(directory).partition("/")
                names |= {name} if slash else set()
                files += [stored.file] if not slash else []
        for key in self.markers:
            if key.startswith(directory) and key != directory:
                names.add(key.removeprefix(directory).partition("/")[0])
        return Children(tuple(files), tuple(sorted(names)), directory in self.markers)


@dataclass
class Fault:
    """The ``nth`` call of ``kind`` ("" for any) from now on, with ``lasting`` all after it too, raises ``error``:
    before anything happens or, with ``after``, when it is done (the answer was lost)."""

    error: BaseException
    kind: str = ""
    nth: int = 1
    lasting: bool = False
    after: bool = False


@dataclass
class Late:
    """A change that its client has given up."""

    action: Callable[[], File] | None = None

    def land(self) -> bool:
        """It is carried out now. Whether the node did it."""
        assert self.action is not None, "it was never asked for"
        try:
            self.action()
        except InTheWay:
            return False
        return True


class MemoryNode:
    """``tierproxy.mount.ports.NodeClient``. ``calls``: what was asked, as "put a/u.1". ``down``: every call raises
    Doubt. ``gates``: by kind of call, where calls are held before they do anything."""

    def __init__(self, bucket: MemoryBucket | None = None) -> None:
        self.bucket = bucket or MemoryBucket()
        self.calls: list[str] = []
        self.who: list[Who] = []
        self.down = False
        self.gates: dict[str, Gate] = {}
        self.size = 1 << 30
        self.closed = False
        self.reads: list[Read] = []
        self._faults: list[Fault] = []
        self._late: dict[str, Late] = {}
        self._counts: Counter[str] = Counter()
        self._hearing = False
        self._feed: asyncio.Queue[Told] | None = None

    # ------------------------------------------------------------ doors for tests

    def fail(
        self, kind: str, error: BaseException | None = None, *, nth: int = 1, lasting: bool = False, after: bool = False
    ) -> None:
        counted = self._counts[kind] if kind else self._counts.total()
        self._faults.append(Fault(error or Doubt(), kind, counted + nth, lasting, after))

    def heal(self) -> None:
        self._faults.clear()
        self.down = False

    def late(self, kind: str) -> Late:
        """The next call of ``kind`` (put, copy) raises Doubt, and is carried out when ``land`` is called."""
        self._late[kind] = Late()
        return self._late[kind]

    def gate(self, kind: str) -> Gate:
        return self.gates.setdefault(kind, Gate())

    def lose_feed(self) -> None:
        """Changes are not heard of any more, until ``find_feed``."""
        self._hearing = False

    def find_feed(self) -> None:
        assert self._feed is not None
        self._feed.put_nowait(Told(""))

    def taken(self) -> list[str]:
        """The calls since the last time."""
        calls, self.calls = self.calls, []
        return calls

    # ------------------------------------------------------------ the port

    @property
    def fresh(self) -> bool:
        return self._hearing and not self.down

    async def look(self, key: str) -> File:
        async with _Call(self, "look", key):
            return self._stored(key).file

    async def children(self, directory: str) -> Children:
        async with _Call(self, "children", directory):
            return self.bucket.children(directory)

    async def open(self, key: str, who: Who = NOBODY, *, stub: bool = True) -> Body:
        async with _Call(self, "open" if stub else "fetch", key):
            self.who.append(who)
            stored = self._stored(key)
            if stub and key in self.bucket.stubbed and stored.file.size > HEAD + TAIL:
                return Body(stored.file, stored.body[:HEAD], stored.body[-TAIL:], stub=True)
            self.bucket.stubbed.discard(key)
            return Body(stored.file, stored.body)

    async def piece(self, file: File, offset: int, size: int, who: Who = NOBODY) -> bytes:
        async with _Call(self, "piece", f"{file.key} {offset}+{size}"):
            return self._exactly(file).body[offset : offset + size]

    async def put(self, upload: Upload, who: Who = NOBODY) -> File:
        async with _Call(self, "put", upload.key):
            body = os.pread(upload.fd, upload.size, 0)
            return self._done("put", lambda: self._put(upload, body))

    async def mark(self, directory: str, modified: float) -> None:
        async with _Call(self, "mark", directory):
            self.bucket.mark(directory)

    async def withdraw(self, key: str, *, etag: str, change: str) -> None:
        async with _Call(self, "withdraw", key):
            there = self.bucket.objects.get(key)
            if change not in self.bucket.withdrawn and there is not None and there.file.etag == etag:
                self.bucket.remove(key)
            self.bucket.withdrawn.add(change)

    async def copy(
        self, source: File, target: str, *, create: bool = True, who: Who = NOBODY, change: str = ""
    ) -> File:  # fmt: skip
        async with _Call(self, "copy", f"{source.key} {target}"):
            return self._done("copy", lambda: self._copy(source, target, create, change))

    async def touch(self, file: File, modified: float, changed: float) -> File:
        async with _Call(self, "touch", file.key):
            stored = self._exactly(file)
            return self.bucket.keep(file.key, stored.body, modified, changed, stored.metadata)

    async def delete(self, key: str, *, match: str = "") -> None:
        async with _Call(self, "delete", key):
            there = self.bucket.objects.get(key)
            if match and there is not None and there.file.etag != match:
                raise InTheWay(key)
            self.bucket.remove(key)

    async def changes(self) -> AsyncIterator[Told]:
        feed: asyncio.Queue[Told] = asyncio.Queue()
        self._feed = feed
        self.bucket.listeners.append(feed)
        told = Told("")
        try:
            while True:
                yield told
                self._hearing = self._hearing or not told.key
                told = await feed.get()
        finally:
            self._hearing = False
            self.bucket.listeners.remove(feed)

    async def report(self, reads: Sequence[Read]) -> None:
        async with _Call(self, "report", ""):
            self.reads += reads

    async def room(self) -> Room:
        async with _Call(self, "room", ""):
            used = sum(stored.file.size for stored in self.bucket.objects.values())
            return Room(self.size, used, len(self.bucket.objects))

    async def close(self) -> None:
        self.closed = True

    # ------------------------------------------------------------ inside

    def _done(self, kind: str, action: Callable[[], File]) -> File:
        if (late := self._late.pop(kind, None)) is None:
            return action()
        late.action = action
        raise Doubt("later")

    def _put(self, upload: Upload, body: bytes) -> File:
        there = self.bucket.objects.get(upload.key)
        if upload.change and upload.change in self.bucket.withdrawn:
            raise InTheWay(upload.key)
        if (upload.create and there) or (upload.match and (there is None or there.file.etag != upload.match)):
            raise InTheWay(upload.key)
        return self.bucket.keep(upload.key, body, upload.modified, upload.changed, dict(upload.metadata))

    def _copy(self, source: File, target: str, create: bool, change: str) -> File:
        stored = self._exactly(source)
        if (change and change in self.bucket.withdrawn) or (create and target in self.bucket.objects):
            raise InTheWay(target)
        return self.bucket.keep(target, stored.body, stored.file.modified, stored.file.changed, stored.metadata)

    def _stored(self, key: str) -> Stored:
        if key not in self.bucket.objects:
            raise NotThere(key)
        return self.bucket.objects[key]

    def _exactly(self, file: File) -> Stored:
        stored = self._stored(file.key)
        if stored.file.etag != file.etag:
            raise InTheWay(file.key)
        return stored

    def _due(self, kind: str, *, after: bool) -> None:
        if self.down:
            raise Doubt("the node is down")
        for fault in self._faults:
            count = self._counts[fault.kind] if fault.kind else self._counts.total()
            hit = count == fault.nth or (fault.lasting and count > fault.nth)
            if fault.after is after and fault.kind in {"", kind} and hit:
                raise _fresh_copy(fault.error)

    def _begin(self, kind: str, what: str) -> None:
        self.calls.append(f"{kind} {what}".strip())
        self._counts[kind] += 1


class _Call:
    """One request: counted, held at its gate, failed if it is its turn."""

    def __init__(self, node: MemoryNode, kind: str, what: str) -> None:
        self._node, self._kind, self._what = node, kind, what

    async def __aenter__(self) -> None:
        self._node._begin(self._kind, self._what)
        if gate := self._node.gates.get(self._kind):
            await gate.passage()
        await asyncio.sleep(0)
        self._node._due(self._kind, after=False)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._node._due(self._kind, after=True)


def _fresh_copy(error: BaseException) -> BaseException:
    return type(error)(*error.args) if isinstance(error, (NodeError, SimulatedCrash)) else error
