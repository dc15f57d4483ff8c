"""Open files.

``open`` brings the bytes, so that ``read`` cannot fail; an open for writing is a read until something is written.
Mails are closed without asking (``no_flush``): nobody writes to them, and one request less of the kernel is saved
for each.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from itertools import count

from tierproxy.fuse.operations import Opened
from tierproxy.mount.bodies import Bodies, Content
from tierproxy.mount.copies import Copies
from tierproxy.mount.failures import refusal
from tierproxy.mount.finding import Finder
from tierproxy.mount.names import Kind as NameKind
from tierproxy.mount.names import kind_of
from tierproxy.mount.nodes import Kind, Node, Nodes
from tierproxy.mount.ports import File, NodeClient, NotThere, Who
from tierproxy.mount.scratch import Scratch, ScratchFile
from tierproxy.mount.tree import Tree
from tierproxy.ports import Clock


@dataclass(eq=False)
class Handle:
    """One open. ``content``: what an object was when it was opened; None: bytes are those of ``node.scratch``."""

    node: Node
    content: Content | None = None


class OpenFiles:
    """Handles by number."""

    def __init__(
        self, client: NodeClient, nodes: Nodes, tree: Tree, finder: Finder, bodies: Bodies,
        copies: Copies, scratch: Scratch, clock: Clock,
    ) -> None:  # fmt: skip
        self._client = client
        self._nodes = nodes
        self._tree = tree
        self._finder = finder
        self._bodies = bodies
        self._copies = copies
        self._scratch = scratch
        self._clock = clock
        self._handles: dict[int, Handle] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._handles)

    def of(self, node: Node) -> list[Handle]:
        """Every open of ``node``."""
        return [handle for handle in self._handles.values() if handle.node is node] if node.handles else []

    async def open(self, node: Node, flags: int, who: Who) -> Opened:
        """Raises OSError, NotThere, Doubt, NotAllowed, DiskError."""
        if node.kind is Kind.DIRECTORY:
            raise refusal(errno.EISDIR)
        node.handles += 1  # it stays, whatever becomes of its name while the bytes come
        try:
            if flags & os.O_TRUNC:
                await self._truncated(node, who)
            if node.scratch is not None:
                return self.add(node)
            return await self._object(node, who)
        finally:
            node.handles -= 1
            self._nodes.settle(node)

    def add(
        self, node: Node, content: Content | None = None, *, grown: bool = False, direct: bool = False
    ) -> Opened:  # fmt: skip
        """One more open of ``node``. ``grown``: the kernel believes in another size, and would cut reads off there.
        ``direct``: through the page cache a write that begins within a page would make two requests."""
        number = next(self._numbers)
        self._handles[number] = Handle(node, content)
        node.handles += 1
        if content is None:
            return Opened(number, direct=direct, no_flush=node.kind is Kind.SCRATCH)
        if content.stub or grown:
            return Opened(number, direct=True, no_flush=self._is_mail(node))
        keep = node.paged == content.file.etag
        node.paged = content.file.etag
        return Opened(number, keep=keep, no_flush=self._is_mail(node))

    async def read(self, number: int, offset: int, size: int, who: Who) -> bytes:
        handle = self._handles[number]
        if handle.node.scratch is not None:
            return handle.node.scratch.read(offset, size)
        if handle.content is None:
            raise refusal(errno.EIO)
        return await self._bodies.read(handle.content, offset, size, who)

    async def write(self, number: int, offset: int, data: memoryview, who: Who) -> int:
        handle = self._handles[number]
        copy = await self._written(handle, who)
        copy.write(data, offset, self._clock.now())
        return len(data)

    async def truncate(self, node: Node, size: int, who: Who) -> None:
        """To ``size`` bytes. Of a file nobody has open it is put at once."""
        if node.kind is Kind.ALIAS:
            await self._copies.own(node, who)
        copy = node.scratch or await self._copies.begin(node, who, self._content(node), empty=size == 0)
        copy.truncate(size, self._clock.now())
        if node.kind is Kind.OBJECT:
            node.dirty, node.paged = True, ""
            if not node.handles:
                await self._at_once(node, who)

    async def flush(self, number: int, who: Who) -> None:
        node = self._handles[number].node
        if node.kind is Kind.OBJECT:
            await self._copies.publish(node, who)

    async def fsync(self, number: int, who: Who) -> None:
        node = self._handles[number].node
        if node.kind is Kind.OBJECT:
            await self._copies.publish(node, who)
        elif node.kind is Kind.SCRATCH and node.scratch is not None and not node.scratch.in_memory:
            await self._scratch.threads.run(node.scratch.sync)

    async def release(self, number: int, who: Who) -> None:
        handle = self._handles.pop(number)
        node = handle.node
        node.handles -= 1
        if handle.content is not None:
            self._bodies.release(handle.content)
        if not node.handles and node.scratch is not None:
            if node.kind is Kind.OBJECT:
                await self._copies.end(node, who)
            elif not node.attached:
                self._copies.drop(node)
        self._nodes.settle(node)

    async def keep_bytes(self, node: Node, who: Who) -> None:
        """The object is about to go: what is open of it must be here. Raises Doubt."""
        for handle in self.of(node):
            if handle.content is not None and not handle.content.whole and node.scratch is None:
                await self._bodies.complete(handle.content, who)
                if not handle.content.whole:
                    await self._copies.begin(node, who, handle.content)

    # ------------------------------------------------------------ objects

    async def _object(self, node: Node, who: Who) -> Opened:
        file = await self._believed(node)
        key = node.file.key if node.kind is Kind.ALIAS and node.file is not None else node.key
        try:
            content = await self._bodies.open(key, file, who)
        except NotThere:
            if node.kind is Kind.OBJECT and node.attached:
                self._tree.set(node.key, None)
                self._nodes.detach(node)
            raise
        grown = node.file is not None and content.file.size != node.file.size
        if node.kind is Kind.OBJECT and content.file != node.file:
            self._finder.heard(node, content.file)
        return self.add(node, content, grown=grown)

    async def _believed(self, node: Node) -> File | None:
        """What is known of it without a request, None: opening it will say."""
        if node.kind is Kind.ALIAS or not node.attached:
            if node.file is None or node.kind is not Kind.ALIAS:
                raise refusal(errno.ESTALE)
            return node.file
        if self._client.fresh:
            return await self._finder.current(node)
        await self._finder.settled(node)
        return None

    async def _truncated(self, node: Node, who: Who) -> None:
        await self.truncate(node, 0, who)

    async def _written(self, handle: Handle, who: Who) -> ScratchFile:
        node = handle.node
        if node.kind is Kind.ALIAS:
            await self._copies.own(node, who)
        copy = node.scratch or await self._copies.begin(node, who, handle.content)
        if node.kind is Kind.OBJECT:
            node.dirty, node.paged = True, ""
        return copy

    async def _at_once(self, node: Node, who: Who) -> None:
        try:
            await self._copies.publish(node, who)
        finally:
            if not node.handles:
                self._copies.drop(node)

    def _content(self, node: Node) -> Content | None:
        return next((handle.content for handle in self.of(node) if handle.content is not None), None)

    @staticmethod
    def _is_mail(node: Node) -> bool:
        """Seen by its looks alone: a message of a maildir that is written to in place says so at fsync only."""
        parent = node.parent.key if node.parent is not None else ""
        return kind_of(parent, node.name, maildir=parent.endswith(("cur/", "new/"))) is NameKind.MAIL
