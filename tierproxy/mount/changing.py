"""setattr and statfs."""

from __future__ import annotations

import errno

from tierproxy.fuse.operations import Attributes, Change, Space
from tierproxy.mount.failures import refusal
from tierproxy.mount.finding import Finder
from tierproxy.mount.nodes import Kind, Node
from tierproxy.mount.opening import OpenFiles
from tierproxy.mount.ports import File, NodeClient, Room, Who
from tierproxy.mount.settings import MountSettings
from tierproxy.mount.tree import Tree
from tierproxy.ports import Clock

ROOM_FOR = 5.0  #: seconds the node's word about its room is good for


class Changer:
    """Modes and access times are not kept, and saying so would help nobody: such changes are answered as done."""

    def __init__(
        self, client: NodeClient, tree: Tree, finder: Finder, files: OpenFiles, settings: MountSettings, clock: Clock
    ) -> None:
        self._client = client
        self._tree = tree
        self._finder = finder
        self._files = files
        self._settings = settings
        self._clock = clock
        self._room: Room | None = None
        self._room_until = 0.0

    async def change(self, node: Node, change: Change, who: Who) -> Attributes:
        """Raises OSError: EPERM for another owner, EISDIR; what ``OpenFiles.truncate`` raises."""
        if change.uid not in {None, self._settings.uid} or change.gid not in {None, self._settings.gid}:
            raise refusal(errno.EPERM)
        if change.size is not None:
            if node.kind is Kind.DIRECTORY:
                raise refusal(errno.EISDIR)
            await self._files.truncate(node, change.size, who)
        if change.mtime is not None:
            await self._date(node, change.mtime)
        return await self._finder.attributes(node)

    async def space(self) -> Space:
        """The budget of the node's disk. Raises Doubt where it was never known."""
        now = self._clock.monotonic()
        if self._room is None or now >= self._room_until:
            self._room = await self._client.room()
            self._room_until = now + ROOM_FOR
        free = max(0, self._room.total - self._room.used)
        files = 1 << 40
        return Space(self._room.total, free, free, files, files - self._room.objects)

    async def _date(self, node: Node, modified: float) -> None:
        """A scratch file takes its time with it when it becomes an object; an object gets it by a request."""
        if node.kind is Kind.DIRECTORY:
            self._tree.touch(node.key, modified)
        elif node.scratch is not None:
            node.scratch.modified, node.scratch.changed = modified, self._clock.now()
            if node.kind is Kind.OBJECT and not node.dirty:
                await self._touch(node, modified)
        elif node.kind is Kind.OBJECT and node.attached:
            await self._touch(node, modified)

    async def _touch(self, node: Node, modified: float) -> None:
        file: File = await self._finder.current(node)
        if file.modified == modified:
            return
        with self._tree.changing(file.key) as change:
            touched = await self._client.touch(file, modified, self._clock.now())
            change.wrote(touched)
        self._finder.heard(node, touched)
