"""What stat(2) shows of a node."""

from __future__ import annotations

import errno
import stat

from tierproxy.fuse.operations import Attributes
from tierproxy.mount.failures import refusal
from tierproxy.mount.nodes import Kind, Node
from tierproxy.mount.settings import MountSettings
from tierproxy.mount.tree import Tree


class Stat:
    """Everything belongs to one user. Access times are not kept: they are the mtime. The link count is always 1: an
    alias is a copy as soon as it has a real name, and 1 tells readers of directories nothing about subdirectories."""

    def __init__(self, settings: MountSettings, tree: Tree) -> None:
        self._settings = settings
        self._tree = tree
        self._file = stat.S_IFREG | (0o666 & ~settings.umask)
        self._directory = stat.S_IFDIR | (0o777 & ~settings.umask)

    def of(self, node: Node) -> Attributes:
        """As last heard. Raises OSError: ESTALE for an object of which nothing was ever heard."""
        if node.kind is Kind.DIRECTORY:
            modified = self._tree.modified(node.key)
            return self._shown(node, self._directory, 0, modified, modified)
        if node.scratch is not None:
            return self._shown(node, self._file, node.scratch.size, node.scratch.modified, node.scratch.changed)
        if node.file is None:
            raise refusal(errno.ESTALE)
        return self._shown(node, self._file, node.file.size, node.file.modified, node.file.changed)

    def _shown(self, node: Node, mode: int, size: int, modified: float, changed: float) -> Attributes:
        links = 1 if node.attached else 0
        return Attributes(
            node.ino, mode, size, modified, changed, modified, self._settings.uid, self._settings.gid, links
        )
