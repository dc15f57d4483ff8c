"""Reading blob files: nothing is returned that was not verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from tierproxy.disk import trailer
from tierproxy.disk.commits import Errands
from tierproxy.disk.descriptor import Descriptor
from tierproxy.disk.fsio import disk_errors
from tierproxy.disk.trailer import BLOCK, DIGEST, Trailer
from tierproxy.errors import BlobCorrupt, BlobMissing, DiskError, DiskHangs
from tierproxy.model import BlobFacts, BlobLabel, Stub
from tierproxy.ports import Offload

TAIL = 8 * 1024
"""Bytes read from the end of a large file: nearly every record fits."""
STEP = 1024 * 1024
"""Bytes of one step of a walk over a whole blob."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the catalogue says of a blob; None where it does not say. A part staged without a check has no ETag of its
    own, and none is compared."""

    size: int | None = None
    generation: int | None = None
    xxh3: bytes | None = None
    etag: str | None = None

    def check(self, found: Trailer) -> None:
        """Raises BlobCorrupt: a foreign file, or an old one."""
        pairs = {
            "size": (self.size, found.size),
            "generation": (self.generation, found.label.generation),
            "xxh3": (self.xxh3, found.xxh3),
            "etag": (self.etag if found.label.etag else None, found.label.etag),
        }
        for what, (wanted, value) in pairs.items():
            if wanted is not None and wanted != value:
                raise BlobCorrupt(f"the blob's {what} is {value!r}, not {wanted!r}")


ANYTHING = Expected()


def load(path: Path, pin: Descriptor, expected: Expected) -> tuple[Trailer, bytes | None]:
    """Open ``path`` into ``pin`` and check its trailer. Blocking.

    A body of one block or less is read and verified whole, and the descriptor closed; else the body is None.
    Raises BlobMissing, BlobCorrupt, DiskUnavailable.
    """
    with disk_errors(f"open {path}"):
        pin.attach(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        with pin.use() as fd:
            file_size = os.fstat(fd).st_size
            length = file_size if file_size <= BLOCK + TAIL else TAIL
            tail = _exactly(fd, length, file_size - length)
            found, tail = _read_trailer(fd, tail, file_size)
            expected.check(found)
            content = _whole_body(fd, tail, found) if found.size <= BLOCK else None
    if content is not None:
        pin.close()
    return found, content


def _read_trailer(fd: int, tail: bytes, file_size: int) -> tuple[Trailer, bytes]:
    """The trailer, and the end of the file that was read for it (longer than ``tail`` if the record is)."""
    length = trailer.record_length(tail, file_size)
    if length > len(tail):
        tail = _exactly(fd, length, file_size - length)
    return trailer.decode(memoryview(tail)[-length:], file_size), tail


def _whole_body(fd: int, tail: bytes, found: Trailer) -> bytes:
    body = tail[: found.size] if len(tail) == found.file_size else _exactly(fd, found.size, 0)
    if xxhash.xxh3_128_digest(body) != found.xxh3:
        raise BlobCorrupt("the body is not what was written")
    return body


def ends(paths: Sequence[Path], blobs: Sequence[BlobFacts], head: int, tail: int) -> list[Stub | None]:
    """``tierproxy.ports.DiskTier.ends``. Blocking."""
    return [_ends(path, one, head, tail) for path, one in zip(paths, blobs, strict=True)]


def _ends(path: Path, blob: BlobFacts, head: int, tail: int) -> Stub | None:
    pin = Descriptor()
    try:
        found, content = load(path, pin, Expected(blob.size, blob.generation, blob.xxh3))
        first, last = Stub.lengths(found.size, head, tail)
        if content is not None:
            return Stub(found.size, content[:first], content[found.size - last :])
        end = read_blocks(pin, found, found.size - last, last) if last else b""
        return Stub(found.size, read_blocks(pin, found, 0, first), end)
    except DiskError:
        return None
    finally:
        pin.close()


def footprints(paths: Sequence[Path]) -> list[int | None]:
    """``tierproxy.ports.DiskTier.footprints``. Blocking."""
    return [_footprint(path) for path in paths]


def _footprint(path: Path) -> int | None:
    try:
        with disk_errors(f"stat {path}"):
            return trailer.footprint(os.stat(path, follow_symlinks=False).st_size)
    except BlobMissing:
        return None


def read_blocks(pin: Descriptor, found: Trailer, offset: int, length: int) -> bytes:
    """``length`` bytes (inside the body) at ``offset``, once every block they touch was verified. Blocking."""
    first, stop = offset // BLOCK, -(-(offset + length) // BLOCK)
    start = first * BLOCK
    with disk_errors("read"), pin.use() as fd:
        data = _exactly(fd, min(stop * BLOCK, found.size) - start, start)
        digests = _exactly(fd, (stop - first) * DIGEST, found.size + first * DIGEST)
    with memoryview(data) as view:
        for number in range(stop - first):
            block = view[number * BLOCK : (number + 1) * BLOCK]
            if xxhash.xxh3_64_digest(block) != digests[number * DIGEST : (number + 1) * DIGEST]:
                raise BlobCorrupt(f"block {first + number} of the body is not what was written")
    return data[offset - start : offset - start + length]


def _exactly(fd: int, length: int, offset: int) -> bytes:
    data = os.pread(fd, length, offset)
    while len(data) < length:  # a signal, a read beyond 2 GiB, or the end of a truncated file
        more = os.pread(fd, length - len(data), offset + len(data))
        if not more:
            raise BlobCorrupt("the file is shorter than it was")
        data += more
    return data


class WholeBlob:
    """A small blob, read and verified; holds no descriptor (``tierproxy.ports.OpenBlob``)."""

    def __init__(self, found: Trailer, content: bytes) -> None:
        self.label: BlobLabel = found.label
        self.xxh3 = found.xxh3
        self.size = found.size
        self.file_size = found.file_size
        self.content = content

    async def read(self, offset: int, length: int) -> bytes:
        return self.content[offset : offset + length]

    async def close(self) -> None:
        pass


class BlockedBlob:
    """A large blob. A read costs whole blocks of 256 KiB: aligned reads of a block or more waste nothing
    (``tierproxy.ports.OpenBlob``)."""

    content = None

    def __init__(
        self, found: Trailer, pin: Descriptor, offload: Offload, errands: Errands, leftovers: list[Callable[[], None]],
    ) -> None:  # fmt: skip
        """``leftovers``: takes the cleaning up that could not be done."""
        self.label: BlobLabel = found.label
        self.xxh3 = found.xxh3
        self.size = found.size
        self.file_size = found.file_size
        self._found = found
        self._pin = pin
        self._offload = offload
        self._errands = errands
        self._leftovers = leftovers
        self._closed = False

    def __repr__(self) -> str:
        return f"<BlockedBlob {self.label.name} {'closed' if self._closed else 'open'} {self.size} bytes>"

    async def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        try:
            return await self._offload.run(read_blocks, self._pin, self._found, offset, length)
        except DiskHangs:
            self._pin.abandon()  # whoever is in there closes it on the way out; nobody waits for that
            raise

    async def close(self) -> None:
        """In a thread: the last close of a large file that was unlinked frees its extents, which takes a while."""
        if not self._closed:
            self._closed = True
            if not self._pin.abandoned:
                await self._errands.run(self._close())

    async def _close(self) -> None:
        try:
            await self._offload.run(self._pin.close)
        except DiskHangs:  # it may never have begun
            self._leftovers.append(self._pin.close)
