"""Bytes in memory in the shapes the ports ask for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tierproxy.errors import BadBody
from tierproxy.ports import BodyCheck, Clock

MD5 = re.compile(r"[0-9a-f]{32}")


def is_md5(etag: str | None) -> bool:
    """An ETag that can be the MD5 of the body (no "-N" of a multipart upload)."""
    return etag is not None and MD5.fullmatch(etag) is not None


class Md5Check:
    """``tierproxy.ports.BodyCheck`` for bytes nobody declared anything about but, perhaps, their number."""

    def __init__(self, size: int | None = None) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = size

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._md5.update(data)

    def verify(self, size: int) -> None:
        if self._size not in {None, size}:
            raise BadBody(f"{size} bytes instead of {self._size}", code="IncompleteBody")

    def etag(self) -> str:
        return self._md5.hexdigest()

    def checksums(self) -> dict[str, str]:
        return {}


class MemorySource:
    """``tierproxy.ports.Source`` of bytes in memory; grows by ``write`` and is hashed by ``finish`` like a staged
    file."""

    def __init__(self, content: bytes = b"", check: BodyCheck | None = None) -> None:
        self._content = bytearray(content)
        self._check = check

    @property
    def size(self) -> int:
        return len(self._content)

    @property
    def content(self) -> bytes:
        return bytes(self._content)

    async def write(self, data: bytes | memoryview) -> None:
        self._content += data

    async def finish(self) -> None:
        if self._check is not None:
            self._check.update(self._content)

    async def read(self, offset: int, length: int) -> bytes:
        return bytes(self._content[offset : offset + length])


class Timings:
    """Milliseconds by phase, for Server-Timing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to ``name``."""
        begin = self._clock.monotonic()
        try:
            yield
        finally:
            self.add(name, self._clock.monotonic() - begin)

    def add(self, name: str, seconds: float) -> None:
        self.phases[name] = self.phases.get(name, 0.0) + seconds * 1000
