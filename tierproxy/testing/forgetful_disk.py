"""What a disk has after the power failed: a log of everything that was asked of it, and what of that may be left.

The idea is that of LazyFS (a file system with a page cache of its own that forgets on command) and of dm-log-writes
(replay up to any point): ``ForgetfulDisk`` keeps what it had at the beginning and every change since. What a power cut
after the n-th operation leaves is worked out from these, as often and in as many ways as one likes.

The least a file system must keep, and all that is taken for granted: content as of the file's last fsync or fdatasync,
names as of their directory's last fsync (POSIX, fsync(2)). Names within one directory change at once; a rename from one
directory to another may be durable in one and not in the other.
"""

from __future__ import annotations

import hashlib
import os
import random
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = 1
SECTOR, PAGE = 512, 4096
VOLATILE = b"-shm"  #: SQLite's index of the log: shared memory by way of a file, made anew by the first who opens it


class Made(NamedTuple):
    """A new node. ``mode`` with the file's type."""

    node: int
    mode: int


class Entry(NamedTuple):
    """``name`` in ``directory`` is ``node`` from now on; None: it is nothing."""

    directory: int
    name: bytes
    node: int | None


@dataclass(frozen=True, slots=True)
class Write:
    node: int
    offset: int
    data: bytes
    kind: str = "write"


@dataclass(frozen=True, slots=True)
class Truncate:
    node: int
    size: int
    kind: str = "truncate"


@dataclass(frozen=True, slots=True)
class Names:
    """A change of one directory or, by a rename, of two."""

    kind: str
    entries: tuple[Entry, ...]
    made: Made | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """All that was done to ``node`` before is durable."""

    node: int
    kind: str = "fsync"


Operation = Write | Truncate | Names | Sync


@dataclass(frozen=True, slots=True)
class Cut:
    """What survives of that which is not durable: each piece of ``piece`` bytes of each write, each truncate, each
    change of names, with the probability ``keep``, by itself: so later ones survive while earlier ones do not.

    0: nothing; 1: everything, as after kill -9. ``ordered``: instead all of it up to some operation, which is torn, and
    nothing after (a file system that writes in order). ``seed`` makes the choices.
    """

    keep: float = 0.0
    piece: int = PAGE
    ordered: bool = False
    seed: int = 0

    def __str__(self) -> str:
        if self.ordered:
            return f"in order, seed {self.seed}"
        if self.keep in {0.0, 1.0}:
            return "everything kept" if self.keep else "everything dropped"
        return f"torn by {self.piece}, {self.keep:.0%} kept, seed {self.seed}"


DROPPED = Cut()
KILLED = Cut(keep=1.0)


def cuts_of(seed: int) -> list[Cut]:
    """Those that keep something, one of each kind."""
    return [
        Cut(0.5, SECTOR, seed=seed),
        Cut(0.5, PAGE, seed=seed),
        Cut(0.9, PAGE, seed=seed),
        Cut(ordered=True, piece=SECTOR, seed=seed),
    ]


@dataclass
class Image:
    """Files by node, directories by node; ``modes`` of both."""

    contents: dict[int, bytearray] = field(default_factory=dict)
    directories: dict[int, dict[bytes, int]] = field(default_factory=lambda: {ROOT: {}})
    modes: dict[int, int] = field(default_factory=lambda: {ROOT: stat.S_IFDIR | 0o755})

    def copy(self) -> Image:
        return Image(
            {node: content[:] for node, content in self.contents.items()},
            {node: dict(names) for node, names in self.directories.items()},
            dict(self.modes),
        )

    def make(self, made: Made) -> None:
        self.modes[made.node] = made.mode
        if stat.S_ISDIR(made.mode):
            self.directories[made.node] = {}
        else:
            self.contents[made.node] = bytearray()

    def apply(self, one: Operation) -> None:
        """Of ``Names`` the entries alone: see ``make``."""
        if isinstance(one, Write):
            content = self.contents[one.node]
            content.extend(bytes(max(0, one.offset - len(content))))
            content[one.offset : one.offset + len(one.data)] = one.data
        elif isinstance(one, Truncate):
            content = self.contents[one.node]
            content[one.size :] = bytes(max(0, one.size - len(content)))
        elif isinstance(one, Names):
            for entry in one.entries:
                self._enter(entry)

    def _enter(self, entry: Entry) -> None:
        names = self.directories[entry.directory]
        if entry.node is None:
            names.pop(entry.name, None)
        else:
            names[entry.name] = entry.node

    def renumbered(self, first: int) -> Image:
        """The same with other nodes, ``first`` and up; the root stays. What has no name is left behind."""
        numbers = {ROOT: ROOT}
        for _, node in self.named():
            numbers.setdefault(node, first + len(numbers))
        return Image(
            {numbers[node]: content for node, content in self.contents.items() if node in numbers},
            {
                numbers[node]: {name: numbers[child] for name, child in names.items()}
                for node, names in self.directories.items()
                if node in numbers
            },
            {numbers[node]: mode for node, mode in self.modes.items() if node in numbers},
        )

    def named(self, directory: int = ROOT, path: bytes = b"") -> Iterator[tuple[bytes, int]]:
        """Every path with its node; directories before what is in them."""
        for name, node in self.directories[directory].items():
            yield path + name, node
            if node in self.directories:
                yield from self.named(node, path + name + b"/")

    def digest(self) -> str:
        """The same for the same names, modes and contents, whatever the nodes are."""
        found = hashlib.sha256()
        for path, node in sorted(self.named()):
            content = b"" if node in self.directories else hashlib.sha256(self.contents[node]).digest()
            found.update(b"%d %o %b %b" % (len(path), self.modes[node], path, content))
        return found.hexdigest()

    def save(self, into: Path) -> None:
        """Write it all into ``into``, which is made."""
        into.mkdir()
        for name, node in self.named():
            path = into / os.fsdecode(name)
            if node in self.directories:
                path.mkdir()
            else:
                path.write_bytes(self.contents[node])
            path.chmod(stat.S_IMODE(self.modes[node]))


class ForgetfulDisk:
    """``live`` is what programs see. ``count``: operations since the beginning. ``paths``: where each operation's file
    was called what, for reports."""

    def __init__(self) -> None:
        self.live = Image()
        self.operations: list[Operation] = []
        self.paths: list[str] = []
        self._base = Image()
        self._called: dict[int, str] = {ROOT: ""}
        self._volatile: set[int] = set()
        self._next = ROOT + 1

    def __repr__(self) -> str:
        return f"<ForgetfulDisk, {self.count} operations since the beginning>"

    @property
    def count(self) -> int:
        return len(self.operations)

    def new_node(self) -> int:
        self._next += 1
        return self._next - 1

    def volatile(self, node: int) -> bool:
        """Its content is nobody's: it is neither counted nor ever durable."""
        return node in self._volatile

    def do(self, one: Operation) -> None:
        """``one`` happens, and is remembered."""
        if isinstance(one, Names):
            if one.made is not None:
                self.live.make(one.made)
            self._call(one)
        self.live.apply(one)
        if isinstance(one, Names) or not self.volatile(one.node):
            self.operations.append(one)
            self.paths.append(self._path(one))

    def settle(self) -> None:
        """Everything so far is durable: time has passed. A new beginning."""
        self._base = self.live.copy()
        self.operations, self.paths = [], []

    def after(self, cut: Cut, at: int | None = None) -> Image:
        """What is there when the power fails after ``at`` operations (None: now)."""
        return after(self._base, self.operations[:at], cut)

    def fail(self, cut: Cut) -> None:
        """The power fails now. What is left is a new beginning; all nodes but the root are others."""
        image = self.after(cut).renumbered(self._next)
        self._next += len(image.modes) + 1
        self._called = {ROOT: ""}
        self._volatile = set()
        for name, node in image.named():
            self._name(node, name)
        self.live = image
        self.settle()

    def wipe(self) -> None:
        """An empty disk."""
        self.live = Image()
        self.settle()

    def _call(self, one: Names) -> None:
        for directory, name, node in one.entries:
            if node is not None:
                self._name(node, os.fsencode(self._called.get(directory, "?")) + b"/" + name)

    def _name(self, node: int, path: bytes) -> None:
        self._called[node] = os.fsdecode(path).lstrip("/")
        if path.endswith(VOLATILE):
            self._volatile.add(node)

    def _path(self, one: Operation) -> str:
        if not isinstance(one, Names):
            return self._called.get(one.node, "?")
        directory, name, _ = one.entries[-1]
        return f"{self._called.get(directory, '?')}/{os.fsdecode(name)}".lstrip("/")


def after(base: Image, operations: Sequence[Operation], cut: Cut) -> Image:
    """What is left of ``base`` and all ``operations`` when the power fails after the last of them."""
    image, chance = base.copy(), random.Random(f"{cut.seed}/{len(operations)}")
    reached = chance.randrange(len(operations) + 1) if cut.ordered else 0
    sizes = {node: len(content) for node, content in base.contents.items()}
    for number, (one, durable) in enumerate(zip(operations, _durable(operations), strict=True)):
        _made_and_grown(image, one, sizes)
        keep = cut.keep
        if cut.ordered:
            keep = 1.0 if number < reached else 0.5 if number == reached else 0.0
        for piece in _pieces(one, durable, keep, cut.piece, chance):
            image.apply(piece)
    for node, size in sizes.items() if not cut.ordered else ():
        short = size - len(image.contents[node])
        if short > 0 and chance.random() < cut.keep:  # the size is there, the bytes are not
            image.contents[node].extend(bytes(short))
    return image


def _made_and_grown(image: Image, one: Operation, sizes: dict[int, int]) -> None:
    """A node is there whether its first name survives or not: another one may."""
    if isinstance(one, Names) and one.made is not None:
        image.make(one.made)
        if one.made.node in image.contents:
            sizes[one.made.node] = 0
    elif isinstance(one, Write):
        sizes[one.node] = max(sizes[one.node], one.offset + len(one.data))
    elif isinstance(one, Truncate):
        sizes[one.node] = one.size


def _durable(operations: Sequence[Operation]) -> list[set[int]]:
    """For each operation the nodes that were fsynced after it."""
    found: list[set[int]] = []
    synced: set[int] = set()
    for one in reversed(operations):
        if isinstance(one, Sync) and one.node not in synced:
            synced = synced | {one.node}
        found.append(synced)
    return found[::-1]


def _pieces(one: Operation, durable: set[int], keep: float, piece: int, chance: random.Random) -> Iterator[Operation]:
    """What of ``one`` is left."""
    if isinstance(one, Names):
        lucky = chance.random() < keep
        yield Names(one.kind, tuple(entry for entry in one.entries if lucky or entry.directory in durable))
    elif isinstance(one, Sync) or one.node in durable:
        yield one
    elif isinstance(one, Truncate):
        if chance.random() < keep:
            yield one
    else:
        yield from (part for part in _split(one, piece) if chance.random() < keep)


def _split(one: Write, piece: int) -> Iterator[Write]:
    """At multiples of ``piece`` bytes of the file, as a device has them."""
    end = one.offset + len(one.data)
    start = one.offset
    while start < end:
        stop = min((start // piece + 1) * piece, end)
        yield Write(one.node, start, one.data[start - one.offset : stop - one.offset])
        start = stop
