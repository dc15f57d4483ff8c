"""Nodes: what the kernel knows by number. A tree of names like the kernel's own, so that a directory that is renamed
takes all that is below with it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from enum import Enum, auto

import xxhash

from tierproxy.fuse.operations import ROOT
from tierproxy.mount.failures import refusal
from tierproxy.mount.ports import File
from tierproxy.mount.scratch import ScratchFile


def ino_of(key: str) -> int:
    """st_ino of a key."""
    return xxhash.xxh3_64_intdigest(key.encode()) | 2 if key else ROOT


class Kind(Enum):
    DIRECTORY = auto()
    OBJECT = auto()
    SCRATCH = auto()
    ALIAS = auto()


class Node:
    """A name the kernel knows, or a file that has lost its name and is still open (``attached`` is False).

    ``file``: of an object, what was last heard of it, and ``believed`` whether that may be taken for the truth while
    the feed is alive; of an alias, what it is another name of. ``scratch``: the content of a scratch file; of an
    object, the private copy of one who writes to it, made from the content ``base``; ``dirty``: it is not the
    object's yet. ``handles``: opens. ``paged``: the ETag of the pages the kernel may have. Of a directory, ``listed``:
    the names it may have kept; ``absent``: those it may believe are not there, and until when.
    """

    __slots__ = (
        "_key", "absent", "attached", "base", "believed", "children", "dirty", "file", "handles", "kind", "listed",
        "lock", "name", "number", "paged", "parent", "references", "scratch",
    )  # fmt: skip

    def __init__(self, number: int, parent: Node | None, name: str, kind: Kind) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.kind = kind
        self.attached = True
        self.references = 0
        self.handles = 0
        self.children: dict[str, Node] = {}
        self._key: str | None = None
        self.file: File | None = None
        self.believed = False
        self.scratch: ScratchFile | None = None
        self.base = ""
        self.dirty = False
        self.paged = ""
        self.listed: object = None
        self.absent: dict[str, float] = {}
        self.lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Node {self.number} {self.kind.name.lower()} {self.key!r}{'' if self.attached else ' unlinked'}>"

    @property
    def key(self) -> str:
        """The object's key; of a directory with a slash at its end, "" is the root."""
        if self._key is None:
            above = self.parent.key if self.parent is not None else ""
            self._key = above + self.name + ("/" if self.kind is Kind.DIRECTORY and self.parent is not None else "")
        return self._key

    def place(self, parent: Node, name: str) -> None:
        """Another name, which everything below has a new key by."""
        self.parent, self.name = parent, name
        self._forget_key()

    def _forget_key(self) -> None:
        self._key = None
        for child in self.children.values():
            child._forget_key()

    @property
    def ino(self) -> int:
        """The same for the same name, whenever and wherever it is mounted."""
        return ino_of(self.key)

    @property
    def local(self) -> bool:
        """The node of the node's side knows nothing of this name."""
        return self.kind is Kind.SCRATCH or self.kind is Kind.ALIAS


class Nodes:
    """All of them. A node lives as long as the kernel refers to it, somebody has it open, something is below it, or
    it is a scratch name."""

    def __init__(self) -> None:
        self.root = Node(ROOT, None, "", Kind.DIRECTORY)
        self._by_number = {ROOT: self.root}
        self._last = ROOT

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self._by_number.values()))

    def get(self, number: int) -> Node:
        """Raises OSError: ESTALE."""
        try:
            return self._by_number[number]
        except KeyError:
            raise refusal(errno.ESTALE) from None

    def directory(self, number: int) -> Node:
        """Raises OSError: ESTALE, ENOTDIR, and ENOENT for one that was removed while somebody was in it."""
        node = self.get(number)
        if node.kind is not Kind.DIRECTORY:
            raise refusal(errno.ENOTDIR)
        if not node.attached:
            raise refusal(errno.ENOENT)
        return node

    def at(self, key: str) -> Node | None:
        """The node of a key (of a directory with its slash), if the kernel knows it."""
        node: Node | None = self.root
        for name in key.removesuffix("/").split("/") if key else ():
            node = node.children.get(name) if node is not None else None
        return node

    def reach(self, parent: Node, name: str, kind: Kind) -> Node:
        """The node of this name, made if need be; one of another kind has lost the name to it."""
        node = parent.children.get(name)
        if node is not None and node.kind is kind:
            return node
        if node is not None:
            self.detach(node)
        self._last += 1
        node = parent.children[name] = self._by_number[self._last] = Node(self._last, parent, name, kind)
        return node

    def refer(self, node: Node) -> None:
        """The kernel gets one more reference."""
        node.references += 1

    def forget(self, number: int, count: int) -> None:
        node = self._by_number.get(number)
        if node is not None:
            node.references = max(0, node.references - count)
            self.settle(node)

    def move(self, node: Node, parent: Node, name: str) -> Node | None:
        """Give ``node`` another name. Returns who had that name and has none now."""
        other = parent.children.get(name)
        if other is node:
            return None
        if other is not None:
            self.detach(other)
        before = node.parent
        if before is not None:
            before.children.pop(node.name, None)
        node.place(parent, name)
        parent.children[name] = node
        if before is not None:
            self.settle(before)
        return other

    def detach(self, node: Node) -> None:
        """The name is gone; the file stays for whoever has it open."""
        if node.attached and node.parent is not None:
            node.parent.children.pop(node.name, None)
            node.attached = False
            self.settle(node.parent)
            self.settle(node)

    def settle(self, node: Node) -> None:
        """Let go of ``node``, and of those above, if nobody needs them."""
        while node.parent is not None and not self._needed(node):
            self._by_number.pop(node.number, None)
            if not node.attached:
                return
            node.parent.children.pop(node.name, None)
            node.attached = False
            node = node.parent

    def _needed(self, node: Node) -> bool:
        return bool(node.references or node.handles or node.children or (node.attached and node.local))
