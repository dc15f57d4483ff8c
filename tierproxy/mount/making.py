"""Making and removing names: create, mkdir, link, unlink, rmdir."""

from __future__ import annotations

import errno
import logging

from tierproxy.fuse.operations import Opened
from tierproxy.logs import event
from tierproxy.mount import names
from tierproxy.mount.bodies import Bodies
from tierproxy.mount.copies import Copies
from tierproxy.mount.counters import Counters
from tierproxy.mount.failures import refusal
from tierproxy.mount.finding import Finder
from tierproxy.mount.names import Kind as NameKind
from tierproxy.mount.nodes import Kind, Node, Nodes
from tierproxy.mount.opening import OpenFiles
from tierproxy.mount.ports import File, InTheWay, NodeClient, NotThere, Upload, Who
from tierproxy.mount.scratch import Scratch
from tierproxy.mount.tree import Tree
from tierproxy.ports import Clock

log = logging.getLogger(__name__)
ELSEWHERE = "set INDEX= and CONTROL= (mail_index_path, mail_control_path) to a local disk, and use sdbox, not mdbox"
EVERY = 60.0  #: seconds between two lines that say so


class Gate:
    """Keeps out what has no place on the mount."""

    def __init__(self, finder: Finder, clock: Clock, counters: Counters) -> None:
        self._finder = finder
        self._clock = clock
        self._counters = counters
        self._silent_until = 0.0

    async def kind(self, parent: Node, name: str, who: Who) -> NameKind:
        """Raises OSError: EACCES for names that have no place here, ENAMETOOLONG."""
        names.joined(parent.key, name)
        kind = await self._finder.kind_of(parent, name)
        if kind is NameKind.REFUSED:
            self._counters.refused += 1
            self._say(parent.key + name, who)
            raise refusal(errno.EACCES)
        return kind

    def _say(self, key: str, who: Who) -> None:
        now = self._clock.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + EVERY
            event(log, logging.ERROR, "an index has no place here", key=key, program=who.program, hint=ELSEWHERE)


class Maker:
    """The kernel holds the directory locked meanwhile: no two of these happen in one directory at once."""

    def __init__(
        self, client: NodeClient, nodes: Nodes, tree: Tree, finder: Finder, gate: Gate, files: OpenFiles,
        copies: Copies, bodies: Bodies, scratch: Scratch, clock: Clock, counters: Counters,
    ) -> None:  # fmt: skip
        self._client = client
        self._nodes = nodes
        self._tree = tree
        self._finder = finder
        self._gate = gate
        self._files = files
        self._copies = copies
        self._bodies = bodies
        self._scratch = scratch
        self._clock = clock
        self._counters = counters
        self._aliases: set[Node] = set()

    async def create(self, parent: Node, name: str, who: Who) -> tuple[Node, Opened]:
        """A new file, open. A scratch file is here alone; any other is an empty object at once, so that of two servers
        one gets the name. Raises OSError: EEXIST, EACCES."""
        node = await self.file(parent, name, who)
        if node.kind is Kind.OBJECT:
            await self._copies.begin(node, who, empty=True)
        return node, self._files.add(node, direct=node.kind is Kind.SCRATCH and name.startswith(".temp."))

    async def file(self, parent: Node, name: str, who: Who) -> Node:
        """A new empty file."""
        kind = await self._gate.kind(parent, name, who)
        if await self._taken(parent, name):
            raise refusal(errno.EEXIST)
        empty = self._scratch.new(self._clock.now())
        if kind is NameKind.SCRATCH:
            node = self._nodes.reach(parent, name, Kind.SCRATCH)
            node.scratch = empty
            return node
        upload = Upload(parent.key + name, empty.fd, 0, empty.modified, empty.changed, create=True)
        try:
            return self._object(parent, name, await self._put(upload, who))
        finally:
            empty.remove()

    async def mkdir(self, parent: Node, name: str, who: Who) -> Node:
        """Raises OSError: EEXIST, ENAMETOOLONG, EACCES."""
        key = names.directory_in(parent.key, name)
        if await self._taken(parent, name):
            raise refusal(errno.EEXIST)
        new = self._client.fresh and self._tree.peek(parent.key) is not None
        with self._tree.changing(key) as change:
            await self._client.mark(key, self._clock.now())
            change.made(new=new)
        return self._nodes.reach(parent, name, Kind.DIRECTORY)

    async def link(self, node: Node, parent: Node, name: str, who: Who) -> Node:
        """Another name of an object, for as long as it takes to rename it to a real one: a line in memory. Raises
        OSError: EPERM for everything else (then the caller copies), EEXIST."""
        kind = await self._gate.kind(parent, name, who)
        if kind is not NameKind.SCRATCH or node.kind is not Kind.OBJECT or node.dirty or not node.attached:
            raise refusal(errno.EPERM)
        if await self._taken(parent, name):
            raise refusal(errno.EEXIST)
        file = await self._finder.current(node)
        alias = self._nodes.reach(parent, name, Kind.ALIAS)
        alias.file = file
        self._aliases.add(alias)
        return alias

    async def unlink(self, parent: Node, name: str, who: Who) -> None:
        """The name is gone when this returns; what is open of it can still be read."""
        node = await self._finder.child(parent, name)
        if node.kind is Kind.DIRECTORY:
            raise refusal(errno.EISDIR)
        if node.local:
            self.lose(node)
            return
        await self._files.keep_bytes(node, who)
        await self._keep_aliases(node.key, who)
        await self.keep_directory(parent, name)
        with self._tree.changing(node.key) as change:
            await self._client.delete(node.key)
            change.gone()
        self._counters.deletes += 1
        self._bodies.forget(node.key)
        self.lose(node)

    async def rmdir(self, parent: Node, name: str) -> None:
        """Raises OSError: ENOTEMPTY, by the node's word if nothing is remembered; ENOTDIR."""
        node = await self._finder.child(parent, name)
        if node.kind is not Kind.DIRECTORY:
            raise refusal(errno.ENOTDIR)
        if await self.occupied(node):
            raise refusal(errno.ENOTEMPTY)
        await self.keep_directory(parent, name)
        key = node.key
        with self._tree.changing(key) as change:
            await self._client.delete(key)
            change.gone()
        self._tree.drop_below(key)
        self._nodes.detach(node)

    async def occupied(self, directory: Node) -> bool:
        """Whether anything is in it, scratch included."""
        if any(child.local for child in directory.children.values()):
            return True
        listing = await self._tree.listing(directory.key)
        return bool(listing.files or listing.directories)

    async def keep_directory(self, parent: Node, name: str) -> None:
        """A directory that is only the beginning of keys would vanish with the last of them: give it a marker."""
        listing = self._tree.peek(parent.key)
        if parent.parent is None or listing is None or listing.marked or listing.names > 1 or listing.unknown:
            return
        if name in listing.files or name in listing.directories:
            await self._client.mark(parent.key, self._clock.now())
            listing.marked = True

    def lose(self, node: Node) -> None:
        """The name is gone."""
        node.believed = False
        self._nodes.detach(node)
        if not node.handles:
            self._copies.drop(node)

    async def _taken(self, parent: Node, name: str) -> bool:
        try:
            await self._finder.child(parent, name)
        except NotThere:
            return False
        return True

    async def _put(self, upload: Upload, who: Who) -> File:
        try:
            with self._tree.changing(upload.key) as change:
                file = await self._client.put(upload, who)
                change.wrote(file)
        except InTheWay:
            raise refusal(errno.EEXIST) from None
        return file

    def _object(self, parent: Node, name: str, file: File) -> Node:
        node = self._nodes.reach(parent, name, Kind.OBJECT)
        self._finder.heard(node, file)
        return node

    async def _keep_aliases(self, key: str, who: Who) -> None:
        """What has another name for a moment longer than the first keeps its bytes."""
        self._aliases = {node for node in self._aliases if node.kind is Kind.ALIAS and node.attached}
        for node in list(self._aliases):
            if node.file is not None and node.file.key == key:
                await self._copies.own(node, who)
