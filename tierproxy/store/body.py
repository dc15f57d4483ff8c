"""Bytes in memory in the shapes the ports ask for."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable

import xxhash

from tierproxy.errors import AltCorrupt, BadBody
from tierproxy.model import Entry, ObjectName
from tierproxy.ports import BodyCheck, Clock

MD5 = re.compile(r"[0-9a-f]{32}")
SHORT = 64 * 1024
QUIET = 2047  #: bytes up to which hashlib keeps the interpreter (HASHLIB_GIL_MINSIZE)


def is_md5(etag: str | None) -> bool:
    """An ETag that can be the MD5 of the body (no "-N" of a multipart upload)."""
    return etag is not None and MD5.fullmatch(etag) is not None


class Md5Check:
    """``tierproxy.ports.BodyCheck`` for bytes nobody declared anything about but, perhaps, their number."""

    def __init__(self, size: int | None = None) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = size

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """What is short is hashed without letting go of the interpreter: on the loop that is tens of microseconds, and
        getting it back from a busy thread may take milliseconds."""
        if len(data) > SHORT:
            self._md5.update(data)
            return
        with memoryview(data) as view:
            for start in range(0, len(view), QUIET):
                self._md5.update(view[start : start + QUIET])

    def verify(self, size: int) -> None:
        if self._size not in {None, size}:
            raise BadBody(f"{size} bytes instead of {self._size}", code="IncompleteBody")

    def etag(self) -> str:
        return self._md5.hexdigest()

    def checksums(self) -> dict[str, str]:
        return {}


class Fingerprint(Md5Check):
    """Of bytes that alt sends for ``entry``: is that what was stored there? By the xxh3 the row remembers from the blob
    it once had, which costs a hundredth of an MD5, else by its MD5 where the ETag is one."""

    def __init__(
        self, entry: Entry, *, etag_is_md5: bool, doubt: Callable[[ObjectName], Awaitable[bool]] | None = None
    ) -> None:
        super().__init__()
        self._entry = entry
        self._doubt = doubt
        self._xxh3 = None if entry.xxh3 is None else xxhash.xxh3_128()
        self._md5_known = self._xxh3 is None and etag_is_md5 and is_md5(entry.etag)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        if self._xxh3 is not None:
            self._xxh3.update(data)
        elif self._md5_known:
            super().update(data)

    def compare(self, size: int) -> None:
        """After the last byte. Raises AltCorrupt."""
        entry = self._entry
        if size != entry.size:
            raise AltCorrupt(f"alt sent {size} bytes of {entry.name}, which has {entry.size}")
        same = self._xxh3 is None or self._xxh3.digest() == entry.xxh3
        if not same or (self._md5_known and self.etag() != entry.etag):
            raise AltCorrupt(f"alt sent other bytes for {entry.name} than its ETag {entry.etag} says")

    async def confirm(self, size: int) -> None:
        """``compare``, but an ETag of alt's own that is no MD5 after all, as ``doubt`` (``AltTier.etag_is_md5``) finds
        out, is no evidence against the bytes. Raises AltCorrupt, and what ``doubt`` raises."""
        entry = self._entry
        try:
            self.compare(size)
        except AltCorrupt:
            alts_own = self._md5_known and entry.etag == entry.alt_etag  # any other was computed here
            if self._doubt is None or not alts_own or size != entry.size or await self._doubt(entry.name):
                raise


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


class Phase:
    """The block of ``Timings.phase``: a class, because a generator costs every read and write several times as much."""

    __slots__ = ("_begin", "_clock", "_name", "_timings")

    def __init__(self, timings: Timings, name: str, clock: Clock) -> None:
        self._timings = timings
        self._name = name
        self._clock = clock

    def __enter__(self) -> None:
        self._begin = self._clock.monotonic()

    def __exit__(self, *_: object) -> None:
        self._timings.add(self._name, self._clock.monotonic() - self._begin)


class Timings:
    """Milliseconds by phase, for Server-Timing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.phases: dict[str, float] = {}

    def phase(self, name: str) -> Phase:
        """A block; the time spent in it is added to ``name``."""
        return Phase(self, name, self._clock)

    def add(self, name: str, seconds: float) -> None:
        self.phases[name] = self.phases.get(name, 0.0) + seconds * 1000
