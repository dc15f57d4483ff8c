"""Reading directories: what is there when they are read first.

Most are opened to be fsynced and closed, after each delivery: opening costs the same for ten names as for ten thousand.
"""

from __future__ import annotations

import stat
from functools import cached_property
from itertools import count

from tierproxy.fuse.operations import DirectoryEntry, Opened
from tierproxy.mount.finding import Finder
from tierproxy.mount.nodes import Kind, Node, Nodes, ino_of
from tierproxy.mount.ports import File
from tierproxy.mount.renames import Unfinished
from tierproxy.mount.tree import Folder, Listing, Tree

AT_A_TIME = 512
"""Entries per answer; the kernel has room for some hundred."""


class OpenDirectory:
    """Names in an order that stays, and what was known of each. ``listing``: complete when it was opened."""

    def __init__(self, node: Node, listing: Listing, hidden: frozenset[str]) -> None:
        self.node = node
        self._hidden = hidden
        self._listing = listing

    @cached_property
    def files(self) -> frozenset[str]:
        """Names of files that are objects."""
        return frozenset(self._listing.files)

    @cached_property
    def names(self) -> list[str]:
        return [".", "..", *sorted({*self.files - self._hidden, *self._listing.directories, *local(self.node)})]


class Directories:
    """Open directories by number."""

    def __init__(self, nodes: Nodes, tree: Tree, finder: Finder, unfinished: Unfinished) -> None:
        self._nodes = nodes
        self._tree = tree
        self._finder = finder
        self._unfinished = unfinished
        self._open: dict[int, OpenDirectory] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, node: Node) -> Opened:
        """Raises Doubt, NotAllowed."""
        await self._unfinished.settle(node.key)
        listing = await self._tree.listing(node.key)
        number = next(self._numbers)
        self._open[number] = OpenDirectory(node, listing, self._unfinished.hidden(listing.files))
        node.handles += 1
        return Opened(number)

    def read(self, number: int, offset: int) -> list[DirectoryEntry]:
        opened = self._open[number]
        names = opened.names[offset : offset + AT_A_TIME]
        return [self._entry(opened, name) for name in names]

    def release(self, number: int) -> None:
        node = self._open.pop(number).node
        node.handles -= 1
        self._nodes.settle(node)

    def _entry(self, opened: OpenDirectory, name: str) -> DirectoryEntry:
        node = opened.node
        if name in {".", ".."}:
            of = node.parent if name == ".." and node.parent is not None else node
            return DirectoryEntry(name.encode(), of.ino, stat.S_IFDIR)
        child = self._child(opened, name)
        if child is None:
            kind = stat.S_IFREG if name in opened.files else stat.S_IFDIR
            key = node.key + name + ("" if name in opened.files else "/")
            return DirectoryEntry(name.encode(), ino_of(key), kind)
        found = self._finder.found(child)
        return DirectoryEntry(name.encode(), found.attributes.ino, stat.S_IFMT(found.attributes.mode), found)

    def _child(self, opened: OpenDirectory, name: str) -> Node | None:
        """None for what has gone, or may have, since the directory was opened: its name is still answered, as
        readdir(3) allows, but the kernel must not be told that it is there."""
        parent = opened.node
        there = parent.children.get(name)
        if there is not None and there.local:
            return there
        listing = self._tree.peek(parent.key)
        entry = listing.get(name) if listing is not None else None
        if isinstance(entry, File):
            node = self._nodes.reach(parent, name, Kind.OBJECT)
            self._finder.heard(node, entry)
            return node
        return self._nodes.reach(parent, name, Kind.DIRECTORY) if isinstance(entry, Folder) else None


def local(node: Node) -> list[str]:
    """Scratch names in a directory."""
    return [name for name, child in node.children.items() if child.local]
