"""Reading directories: what is there when they are read first.

Most are opened to be fsynced and closed, after each delivery: opening costs the same for a hundred names as for ten
thousand. Those of few names (of mailboxes) are read after each delivery; the kernel keeps what it has read of them.
"""

from __future__ import annotations

import stat
from functools import cached_property
from itertools import count

from tierproxy.fuse.operations import DirectoryEntry, Opened
from tierproxy.mount.finding import Finder
from tierproxy.mount.hearing import Doubts
from tierproxy.mount.nodes import Kind, Node, Nodes, ino_of
from tierproxy.mount.ports import File
from tierproxy.mount.renames import Unfinished
from tierproxy.mount.tree import Folder, Listing, Tree

AT_A_TIME = 512
"""Entries per answer; the kernel has room for some hundred."""
FEW = 64
"""Names of a directory whose opens are compared."""


class OpenDirectory:
    """Names in an order that stays, and which of them are directories. ``listing``: complete when it was opened.

    ``shown``: all that a reader is told, of a directory of few names (then it is what was there when it was opened);
    None: of many. ``cached``: the kernel may keep it.
    """

    def __init__(self, node: Node, listing: Listing, hidden: frozenset[str]) -> None:
        self.node = node
        self.cached = False
        self._hidden = hidden
        self._listing = listing
        few = listing.names + len(node.children) <= FEW
        self.shown = (node.key, *self.names, self.directories) if few else None

    @cached_property
    def directories(self) -> frozenset[str]:
        return frozenset(self._listing.directories).difference(local(self.node))

    @cached_property
    def names(self) -> list[str]:
        here = {*self._listing.files} - self._hidden
        return [".", "..", *sorted({*here, *self.directories, *local(self.node)})]


class Directories:
    """Open directories by number."""

    def __init__(self, nodes: Nodes, tree: Tree, finder: Finder, unfinished: Unfinished, doubts: Doubts) -> None:
        self._nodes = nodes
        self._tree = tree
        self._finder = finder
        self._unfinished = unfinished
        self._doubts = doubts
        self._open: dict[int, OpenDirectory] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._open)

    async def open(self, node: Node) -> Opened:
        """Raises Doubt, NotAllowed."""
        await self._unfinished.settle(node.key)
        listing = await self._tree.listing(node.key)
        for name in [one for one in node.absent if listing.get(one) is not None]:
            self._doubts.absent(node, name)
        number = next(self._numbers)
        opened = OpenDirectory(node, listing, self._unfinished.hidden(listing.files))
        keep = self._cached(opened)
        self._open[number] = opened
        node.handles += 1
        return Opened(number, cache=opened.cached, keep=keep)

    def _cached(self, opened: OpenDirectory) -> bool:
        """Decide whether the kernel may keep what it reads; returns whether what it has kept before is the same.

        That is found by comparing what was shown: a notice would race with a reader that is just putting an older
        answer into the cache. As long as such a reader is there, nothing is kept for anybody."""
        node = opened.node
        others = [one for one in self._open.values() if one.node is node and one.cached] if node.handles else []
        if opened.shown is None or any(one.shown != opened.shown for one in others):
            return False
        opened.cached = True
        keep = node.listed == opened.shown
        node.listed = opened.shown
        return keep

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
        if child is None or (child.kind is Kind.DIRECTORY) != (name in opened.directories):
            kind = stat.S_IFDIR if name in opened.directories else stat.S_IFREG
            key = node.key + name + ("/" if name in opened.directories else "")
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
