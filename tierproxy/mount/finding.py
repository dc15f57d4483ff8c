"""From names to nodes."""

from __future__ import annotations

import errno

from tierproxy.fuse.operations import Attributes, Found
from tierproxy.mount import names
from tierproxy.mount.counters import Counters
from tierproxy.mount.failures import refusal
from tierproxy.mount.names import Kind as NameKind
from tierproxy.mount.nodes import Kind, Node, Nodes
from tierproxy.mount.ports import File, NodeClient, NotThere
from tierproxy.mount.renames import Unfinished
from tierproxy.mount.settings import MountSettings
from tierproxy.mount.stat import Stat
from tierproxy.mount.tree import Tree
from tierproxy.ports import Clock

ABSENT = 64  #: names of each directory the kernel may believe are not there


class Finder:
    """What the kernel is told of a name, and for how long it may believe it."""

    def __init__(
        self, client: NodeClient, nodes: Nodes, tree: Tree, stat: Stat, unfinished: Unfinished, settings: MountSettings,
        counters: Counters, clock: Clock,
    ) -> None:  # fmt: skip
        self._client = client
        self._nodes = nodes
        self._tree = tree
        self._stat = stat
        self._unfinished = unfinished
        self._believe = settings.believe
        self._believe_absent = settings.believe_absent
        self._clock = clock
        self._counters = counters

    async def kind_of(self, directory: Node, name: str) -> NameKind:
        return names.kind_of(directory.key, name, maildir=await self._in_maildir(directory))

    async def child(self, parent: Node, name: str) -> Node:
        """Raises NotThere when that is true, Doubt, NotAllowed; OSError: ENAMETOOLONG."""
        names.joined(parent.key, name)
        node = parent.children.get(name)
        if node is not None and node.local:
            return node
        if names.never_an_object(parent.key, name, maildir=await self._in_maildir(parent)):
            raise NotThere(parent.key + name)
        await self._unfinished.settle(parent.key, name)
        node = parent.children.get(name)
        if node is not None and node.believed and self._client.fresh:
            self._counters.remembered += 1
            return node
        return await self._asked(parent, name, folder=node is not None and node.kind is Kind.DIRECTORY)

    async def _asked(self, parent: Node, name: str, *, folder: bool) -> Node:
        try:
            entry = await self._tree.find(parent.key, name, folder=folder)
        except NotThere:
            self._lost(parent.children.get(name))
            raise
        there = parent.children.get(name)
        if there is not None and there.local:  # made meanwhile
            return there
        if not isinstance(entry, File):
            return self._nodes.reach(parent, name, Kind.DIRECTORY)
        node = self._nodes.reach(parent, name, Kind.OBJECT)
        self.heard(node, entry)
        return node

    async def current(self, node: Node) -> File:
        """What the object of ``node`` is now. Raises NotThere, Doubt, NotAllowed; OSError: ESTALE."""
        await self.settled(node)
        if node.attached and not (node.believed and self._client.fresh) and node.parent is not None:
            found = await self.child(node.parent, node.name)
            if found is not node and node.attached:
                raise refusal(errno.ESTALE)
        if node.file is None:
            raise refusal(errno.ESTALE)
        return node.file

    async def settled(self, node: Node) -> None:
        """Until its name is not in doubt; it may be another one then. Raises Doubt."""
        if node.attached and node.parent is not None:
            await self._unfinished.settle(node.parent.key, node.name)

    def heard(self, node: Node, file: File) -> None:
        """``file`` is what was last heard of an object."""
        node.file = file
        node.believed = self._tree.believes(file)

    async def attributes(self, node: Node) -> Attributes:
        """Truth for a name; for what somebody has open, or what has no name any more, what it was when last heard
        of."""
        if node.kind is Kind.OBJECT and node.scratch is None and node.attached:
            if self._client.fresh or not node.handles:
                await self.current(node)
        elif node.kind is Kind.DIRECTORY and node.parent is not None and node.attached:
            await self.child(node.parent, node.name)
        return self._stat.of(node)

    def found(self, node: Node) -> Found:
        """For the kernel, which then has one more reference."""
        attributes = self._stat.of(node)
        self._nodes.refer(node)
        return Found(node.number, attributes, self.name_for(node), self.attributes_for(node))

    def name_for(self, node: Node) -> float:
        return self._believe if self._client.fresh or node.local else 0.0

    def attributes_for(self, node: Node) -> float:
        """Local files change through the kernel alone, which knows that it must ask after each change."""
        if node.local or (self._client.fresh and (node.believed or node.kind is Kind.DIRECTORY)):
            return self._believe
        return 0.0

    def absent_for(self, parent: Node, name: str) -> float:
        """How long the kernel may believe that ``name``, which was just not found, is not there; from now on it is told
        when that changes. 0: not at all. Of mails never: the kernel asks anyway before it creates or renames."""
        if (
            names.kind_of(parent.key, name) is not NameKind.OTHER or parent.name in names.MAILDIR
            or self._unfinished.busy or not self._tree.lacks(parent.key, name)
        ):  # fmt: skip
            return 0.0
        now = self._clock.monotonic()
        if len(parent.absent) >= ABSENT:
            parent.absent = {one: until for one, until in parent.absent.items() if until > now}
        if len(parent.absent) >= ABSENT:
            return 0.0
        parent.absent[name] = now + 2 * self._believe_absent
        return self._believe_absent

    async def _in_maildir(self, directory: Node) -> bool:
        """Whether it is one of the three directories of a maildir: the other two are beside it. Folders of an sdbox
        may be called so, too."""
        if directory.parent is None or directory.name not in names.MAILDIR or names.in_sdbox(directory.key):
            return False
        for sibling in names.MAILDIR - {directory.name}:
            try:
                await self.child(directory.parent, sibling)
            except NotThere:
                return False
        return True

    def _lost(self, node: Node | None) -> None:
        if node is not None and not node.local and node.scratch is None:
            self._nodes.detach(node)
