"""Digests of a body while it passes."""

from __future__ import annotations

import xxhash

from tierproxy.disk import trailer
from tierproxy.model import BlobLabel
from tierproxy.ports import BodyCheck


class BodyDigest:
    """xxh3 of the body and of its blocks, and the caller's ``check``. Fed by one thread at a time, in order."""

    def __init__(self, check: BodyCheck | None) -> None:
        self.check = check
        self.size = 0
        self._body = xxhash.xxh3_128()
        self._table = bytearray()
        self._block = xxhash.xxh3_64()
        self._room = trailer.BLOCK

    def update(self, data: bytes | bytearray) -> None:
        """The next bytes of the body."""
        self._body.update(data)
        if self.check is not None:
            self.check.update(data)
        with memoryview(data) as view:
            self._update_blocks(view)
        self.size += len(data)

    def _update_blocks(self, view: memoryview) -> None:
        start = 0
        while start < len(view):
            taken = view[start : start + self._room]
            self._block.update(taken)
            start += len(taken)
            self._room -= len(taken)
            if not self._room:
                self._end_block()

    def _end_block(self) -> None:
        self._table += self._block.digest()
        self._block.reset()
        self._room = trailer.BLOCK

    def xxh3(self) -> bytes:
        return self._body.digest()

    def trailer(self, label: BlobLabel) -> bytes:
        """What follows the body in its file. After the last ``update``. Raises TooLarge."""
        rest = self._block.digest() if self._room < trailer.BLOCK else b""
        table = bytes(self._table) + rest if self.size > trailer.BLOCK else b""
        return trailer.encode(label, self.size, self.xxh3(), table)
