"""Private copies: what somebody writes to an object that is there goes to a scratch file first."""

from __future__ import annotations

import errno
import logging

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.mount.bodies import Bodies, Content
from tierproxy.mount.counters import Counters
from tierproxy.mount.failures import refusal
from tierproxy.mount.finding import Finder
from tierproxy.mount.nodes import Kind, Node
from tierproxy.mount.ports import Doubt, File, NodeClient, Upload, Who
from tierproxy.mount.scratch import PIECE, Scratch, ScratchFile
from tierproxy.mount.tree import Tree
from tierproxy.ports import Clock


class Copies:
    """``Node.scratch`` of objects, and of aliases that are to become files of their own."""

    def __init__(
        self, client: NodeClient, tree: Tree, finder: Finder, bodies: Bodies, scratch: Scratch, clock: Clock,
        counters: Counters,
    ) -> None:  # fmt: skip
        self._client = client
        self._tree = tree
        self._finder = finder
        self._bodies = bodies
        self._scratch = scratch
        self._clock = clock
        self._counters = counters

    async def begin(self, node: Node, who: Who, content: Content | None = None, *, empty: bool = False) -> ScratchFile:
        """The copy of ``node`` that is written to, made if there is none: of ``content``, which somebody has open, else
        of what is there now. ``empty``: with no byte of it. Raises what ``Bodies.open`` does, DiskError."""
        async with node.lock:
            if node.scratch is None:
                file = content.file if content is not None else await self._now(node)
                copy = self._scratch.new(self._clock.now())
                try:
                    base = file if empty else await self._fill(copy, file, content, who)
                    if node.kind is Kind.ALIAS and base.etag != file.etag:
                        raise Doubt(f"{file.key} has another content than when it was linked")
                except BaseException:
                    copy.remove()
                    raise
                copy.modified, copy.changed, copy.writes = base.modified, base.changed, 0
                node.scratch, node.base, node.dirty, node.paged = copy, base.etag, False, ""
            return node.scratch

    async def own(self, node: Node, who: Who) -> None:
        """Make an alias a scratch file of the same content."""
        await self.begin(node, who)
        node.kind, node.file, node.base = Kind.SCRATCH, None, ""

    async def publish(self, node: Node, who: Who) -> None:
        """Put what was written, if the object is still what it was when the copy was made. Raises InTheWay, Doubt,
        NoRoom, NotAllowed: the copy stays, and is still to be put."""
        async with node.lock:
            copy = node.scratch
            if copy is None or not node.dirty or not node.attached:
                return
            node.dirty = False
            upload = Upload(node.key, copy.fd, copy.size, copy.modified, self._clock.now(), match=node.base)
            try:
                with self._tree.changing(upload.key) as change:
                    file = await self._client.put(upload, who)
                    change.wrote(file)
            except BaseException:
                node.dirty = True
                raise
            self._counters.rewrites += 1
            node.base = file.etag
            self._finder.heard(node, file)

    async def end(self, node: Node, who: Who) -> None:
        """The last one has closed it. What cannot be put is lost, and the log says so: whoever asked (close, fsync) has
        been told before."""
        try:
            await self.publish(node, who)
        except TierproxyError as error:
            self._counters.private_lost += 1
            event(logging.getLogger(__name__), logging.ERROR, "written bytes lost", key=node.key, error=error)
        if not node.handles:
            self.drop(node)

    def drop(self, node: Node) -> None:
        """Idempotent."""
        if node.scratch is not None:
            node.scratch.remove()
            node.scratch, node.dirty = None, False

    async def _now(self, node: Node) -> File:
        if node.kind is Kind.ALIAS:
            if node.file is None:
                raise refusal(errno.ESTALE)
            return node.file
        return await self._finder.current(node)

    async def _fill(self, copy: ScratchFile, file: File, content: Content | None, who: Who) -> File:
        """Returns whose bytes they are. ``content`` is not released here if it is somebody else's."""
        opened = content or await self._bodies.open(file.key, file, who)
        try:
            offset = 0
            while offset < opened.file.size:
                data = await self._bodies.read(opened, offset, PIECE, who)
                await self._scratch.threads.run(copy.write, data, offset, 0.0)
                offset += len(data)
        finally:
            if content is None:
                self._bodies.release(opened)
        return opened.file
