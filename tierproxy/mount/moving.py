"""Renames: where mail becomes durable.

A scratch file that gets a real name is put, an alias is copied by the node, an object is copied and deleted, with an
intent. Onto the name of a mail none of them overwrites; that the very same content is there already counts as done,
as the caller may come again after a crash.
"""

from __future__ import annotations

import asyncio
import errno
import secrets

from tierproxy.mount import names
from tierproxy.mount.bodies import Bodies
from tierproxy.mount.copies import Copies
from tierproxy.mount.counters import Counters
from tierproxy.mount.failures import refusal
from tierproxy.mount.finding import Finder
from tierproxy.mount.intents import Intent, Step
from tierproxy.mount.making import Gate, Maker
from tierproxy.mount.names import Kind as NameKind
from tierproxy.mount.nodes import Kind, Node, Nodes
from tierproxy.mount.opening import OpenFiles
from tierproxy.mount.ports import Doubt, File, InTheWay, NodeClient, NotThere, Unsent, Upload, Who
from tierproxy.mount.renames import Unfinished, one
from tierproxy.mount.scratch import Scratch, ScratchFile
from tierproxy.mount.tree import FOLDER, Tree
from tierproxy.ports import Clock

NOREPLACE, EXCHANGE = 1, 2


class Mover:
    """The kernel holds both directories locked meanwhile."""

    def __init__(
        self, client: NodeClient, nodes: Nodes, tree: Tree, finder: Finder, gate: Gate, maker: Maker,
        files: OpenFiles, copies: Copies, bodies: Bodies, unfinished: Unfinished, scratch: Scratch, clock: Clock,
        counters: Counters,
    ) -> None:  # fmt: skip
        self._client = client
        self._nodes = nodes
        self._tree = tree
        self._finder = finder
        self._gate = gate
        self._maker = maker
        self._files = files
        self._copies = copies
        self._bodies = bodies
        self._unfinished = unfinished
        self._scratch = scratch
        self._clock = clock
        self._counters = counters

    async def rename(self, parent: Node, name: str, to: Node, new: str, flags: int, who: Who) -> None:
        """Raises OSError: EINVAL, EEXIST, EACCES, EXDEV, EISDIR, ENOTDIR, ENOTEMPTY, EIO; NotThere, Doubt, NoRoom."""
        if flags & ~NOREPLACE:
            raise refusal(errno.EINVAL)
        node = await self._finder.child(parent, name)
        kind = NameKind.OTHER if node.kind is Kind.DIRECTORY else await self._gate.kind(to, new, who)
        target = await self._target(to, new)
        if target is node:
            return
        if target is not None and flags & NOREPLACE:
            raise refusal(errno.EEXIST)
        if node.kind is Kind.DIRECTORY:
            await self._directory(node, to, new, target)
        elif target is not None and target.kind is Kind.DIRECTORY:
            raise refusal(errno.EISDIR)
        elif kind is NameKind.SCRATCH:
            self._local(node, to, new)
        else:
            create = kind is NameKind.MAIL or bool(flags & NOREPLACE)
            await self._real(node, to, new, target, who, create=create)

    async def _target(self, to: Node, new: str) -> Node | None:
        try:
            return await self._finder.child(to, new)
        except NotThere:
            return None

    def _local(self, node: Node, to: Node, new: str) -> None:
        """To a scratch name. What is an object stays one: the caller copies."""
        if not node.local:
            raise refusal(errno.EXDEV)
        self._place(node, to, new)

    async def _real(self, node: Node, to: Node, new: str, target: Node | None, who: Who, *, create: bool) -> None:
        """To the name of an object."""
        if target is not None and target.local:
            raise refusal(errno.EEXIST)
        if target is not None and not create:
            await self._files.keep_bytes(target, who)
        if node.kind is Kind.SCRATCH:
            await self._deliver(node, to, new, target, who, create=create)
        elif node.kind is Kind.ALIAS:
            await self._copy(node, to, new, who, create=create)
        else:
            await self._object(node, to, new, who, create=create)

    # ------------------------------------------------------------ scratch and aliases

    async def _deliver(self, node: Node, to: Node, new: str, target: Node | None, who: Who, *, create: bool) -> None:
        body, key = node.scratch, to.key + new
        if body is None:
            raise refusal(errno.ESTALE)
        file = target.file if create and target is not None else None
        if file is not None:  # known to be taken: nothing need be sent
            await self._same(body, file)
            file = await self._finder.current(target) if target is not None else file
        else:
            writes = body.writes
            file = await self._put(body, key, who, create=create)
            node.dirty = body.writes != writes
        self._counters.deliveries += 1
        node.kind, node.base = Kind.OBJECT, file.etag
        self._place(node, to, new)
        self._finder.heard(node, file)
        if not node.handles:
            self._copies.drop(node)

    async def _put(self, body: ScratchFile, key: str, who: Who, *, create: bool) -> File:
        change = _change() if create else ""
        upload = Upload(key, body.fd, body.size, body.modified, self._clock.now(), create=create, change=change)
        try:
            with self._tree.changing(key) as changing:
                file = await self._client.put(upload, who)
                changing.wrote(file)
        except Unsent:
            raise
        except (Doubt, asyncio.CancelledError):
            if change:
                await self._unfinished.withdraw(key, change, self._scratch.threads.run(body.md5))
            raise
        except InTheWay:
            file = await self._there(key)
            await self._same(body, file)
        return file

    async def _same(self, body: ScratchFile, file: File) -> None:
        """Raises OSError: EEXIST, unless ``file`` is what ``body`` is."""
        if body.size != file.size or await self._scratch.threads.run(body.md5) != file.etag:
            raise refusal(errno.EEXIST)

    async def _there(self, key: str) -> File:
        """What was in the way. Raises Doubt if it is not any more: who knows what happened."""
        try:
            with self._tree.changing(key) as change:
                file = await self._client.look(key)
                change.wrote(file)
        except NotThere as error:
            raise Doubt(f"{key} was there and is not") from error
        return file

    async def _copy(self, node: Node, to: Node, new: str, who: Who, *, create: bool) -> None:
        key, source = to.key + new, node.file
        if source is None:
            raise refusal(errno.ESTALE)
        change = _change() if create else ""
        try:
            with self._tree.changing(key) as changing:
                file = await self._client.copy(source, key, create=create, who=who, change=change)
                changing.wrote(file)
        except Unsent:
            raise
        except (Doubt, asyncio.CancelledError):
            if change:
                await self._unfinished.withdraw(key, change, _known(source.etag))
            raise
        except NotThere as error:
            raise Doubt(f"{source.key} is gone, and {node.key} was only another name of it") from error
        except InTheWay:
            file = await self._there(key)
            if file.etag != source.etag:
                raise refusal(errno.EEXIST) from None
        self._counters.copies += 1
        node.kind = Kind.OBJECT
        self._place(node, to, new)
        self._finder.heard(node, file)

    # ------------------------------------------------------------ objects

    async def _object(self, node: Node, to: Node, new: str, who: Who, *, create: bool) -> None:
        await self._copies.publish(node, who)
        source = await self._finder.current(node)
        if node.parent is not None:
            await self._maker.keep_directory(node.parent, node.name)
        try:
            await self._unfinished.rename(one(source, to.key + new, create=create))
        except InTheWay:
            raise refusal(errno.EEXIST) from None
        self._counters.renames += 1
        self._bodies.forget(source.key)
        self._place(node, to, new)
        moved = self._tree.peek(to.key)
        file = moved.files.get(new) if moved is not None else None
        if file is not None:
            self._finder.heard(node, file)
            node.base = file.etag
        else:
            node.believed = False

    def _place(self, node: Node, to: Node, new: str) -> None:
        """``node`` has its new name; who had it has none."""
        target = to.children.get(new)
        if target is not None and target is not node:
            self._maker.lose(target)
        self._nodes.move(node, to, new)

    # ------------------------------------------------------------ directories

    async def _directory(self, node: Node, to: Node, new: str, target: Node | None) -> None:
        if target is not None and target.kind is not Kind.DIRECTORY:
            raise refusal(errno.ENOTDIR)
        if target is not None and await self._maker.occupied(target):
            raise refusal(errno.ENOTEMPTY)
        source, key = node.key, names.directory_in(to.key, new)
        await self._unfinished.settle_below(source)
        steps = await self._steps(source, key)
        if any(names.too_long(step.target) for step in steps):
            raise refusal(errno.ENAMETOOLONG)
        if node.parent is not None:
            await self._maker.keep_directory(node.parent, node.name)
        await self._unfinished.rename(Intent(source, key, tuple(steps)))
        self._counters.renames += 1
        self._place(node, to, new)
        self._moved(node, key)

    async def _steps(self, source: str, target: str) -> list[Step]:
        """Everything below ``source``: directories before what is in them."""
        listing = await self._tree.listing(source)
        steps = [Step(source, target, modified=self._tree.modified(source))]
        for name, file in sorted(listing.files.items()):
            steps.append(Step(file.key, target + name, file.etag, file.size, file.modified, file.changed))
        for name in sorted(listing.directories):
            steps += await self._steps(f"{source}{name}/", f"{target}{name}/")
        return steps

    def _moved(self, directory: Node, key: str) -> None:
        """What is known of objects below has another key by now."""
        self._tree.set(key, FOLDER)
        for child in directory.children.values():
            if child.kind is Kind.DIRECTORY:
                self._moved(child, child.key)
            elif child.kind is Kind.OBJECT:
                child.believed = False


def _change() -> str:
    """A name for a change that may have to be taken back."""
    return secrets.token_hex(16)


async def _known(etag: str) -> str:
    return etag
