"""What is told of changes reaches memory and kernel."""

from __future__ import annotations

import asyncio

from tierproxy.fuse.operations import Kernel
from tierproxy.mount.counters import Counters
from tierproxy.mount.names import parted
from tierproxy.mount.nodes import Kind, Node, Nodes
from tierproxy.mount.ports import NodeClient, Told
from tierproxy.mount.tree import Tree

AT_ONCE = 1000  #: names forgotten before others have a turn


class Doubts:
    """Makes nodes and the kernel ask again."""

    def __init__(self, kernel: Kernel, nodes: Nodes) -> None:
        self._kernel = kernel
        self._nodes = nodes

    def name(self, key: str) -> None:
        """Of this key nobody knows what is there, or whether anything is."""
        directory, name = parted(key)
        parent = self._nodes.at(directory)
        if parent is None:
            return
        self.absent(parent, name)
        node = parent.children.get(name)
        if node is not None and not node.local:
            node.believed = False
            self._kernel.forget_name(parent.number, name.encode())
            self._kernel.forget_content(node.number)

    def absent(self, parent: Node, name: str) -> None:
        """It may be there. Idempotent."""
        if parent.absent.pop(name, None) is not None:
            self._kernel.forget_name(parent.number, name.encode())

    def above(self, key: str) -> None:
        """It may be there, and so may each directory it is in. Whatever is remembered: the kernel's memory of what is
        not there may be older."""
        node: Node | None = self._nodes.root
        for name in key.removesuffix("/").split("/"):
            if node is None:
                return
            self.absent(node, name)
            node = node.children.get(name)


class Hearing:
    """Consumes ``NodeClient.changes``."""

    def __init__(
        self, client: NodeClient, kernel: Kernel, nodes: Nodes, tree: Tree, doubts: Doubts, counters: Counters
    ) -> None:
        self._client = client
        self._doubts = doubts
        self._kernel = kernel
        self._nodes = nodes
        self._tree = tree
        self._counters = counters

    async def run(self) -> None:
        """Until cancelled."""
        async for told in self._client.changes():
            if told.key:
                self._counters.tellings += 1
                self.hear(told)
            else:
                await self.forget()

    def hear(self, told: Told) -> None:
        self._doubts.above(told.key)
        if not self._tree.hear(told):
            return
        directory, name = parted(told.key)
        parent = self._nodes.at(directory)
        if parent is None or parent.kind is not Kind.DIRECTORY:
            self._above(directory)
            return
        self._kernel.forget_content(parent.number)  # its times
        node = parent.children.get(name)
        if node is not None and not node.local and not _same(node, told):
            self._doubts.name(told.key)
        self._above(directory)

    async def forget(self) -> None:
        """Everything: before this returns nothing remembered is believed, and the kernel has been told."""
        self._counters.restarts += 1
        self._tree.forget()
        every = [node for node in self._nodes if node.parent is not None and not node.local]
        for node in every:
            node.believed = False
        known = self._kernel.forget_names()
        self._forget_absent(known)
        for count, node in enumerate(every, 1):
            if not known and node.attached and node.parent is not None:
                self._kernel.forget_name(node.parent.number, node.name.encode())
            self._kernel.forget_content(node.number)
            if not count % AT_ONCE:
                await asyncio.sleep(0)
        self._kernel.forget_content(self._nodes.root.number)

    def _forget_absent(self, known: bool) -> None:
        """``known``: the kernel has forgotten all names already."""
        for node in self._nodes:
            for name in () if known else node.absent:
                self._kernel.forget_name(node.number, name.encode())
            node.absent.clear()

    def _above(self, directory: str) -> None:
        """Directories that may have come or gone with what is in them."""
        while directory:
            above, name = parted(directory)
            listing = self._tree.peek(above)
            parent = self._nodes.at(above)
            if parent is not None and listing is not None and name in listing.unknown:
                self._kernel.forget_name(parent.number, name.encode())
            directory = above


def _same(node: Node, told: Told) -> bool:
    """It is told what is known of it."""
    if node.kind is Kind.DIRECTORY:
        return told.key.endswith("/") and bool(told.etag)
    return node.believed and node.file is not None and node.file.etag == told.etag
