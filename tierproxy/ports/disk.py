"""The disk tier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from tierproxy.model import BlobFacts, BlobLabel, FreeSpace, SealedBlob, Stub
from tierproxy.ports.body import BodyCheck


class Source(Protocol):
    """Bytes that can be read as often as needed: what an upload sends."""

    @property
    def size(self) -> int: ...

    @property
    def content(self) -> bytes | None:
        """All of it, when it is small enough to be in memory."""
        ...

    async def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes, fewer only at the end. Raises DiskError."""
        ...


class Durable(Protocol):
    """Something that is becoming durable in a worker thread."""

    @property
    def failure(self) -> BaseException | None:
        """Why it did not."""
        ...

    @property
    def alone(self) -> bool:
        """No other is on its way just now: who is told may go on in the thread that tells without holding up any."""
        ...

    def then(self, tell: Callable[[BaseException | None], None]) -> bool:
        """Have ``tell`` called, with the failure if there is one, in the thread that knows first; it may block there
        and raises nothing. False: that is known already, and nobody is called."""
        ...

    async def wait(self) -> None:
        """Until it is. Raises the failure. The work goes on if the waiter is cancelled."""
        ...

    async def settled(self) -> None:
        """Until nothing more happens to it, however it ends."""
        ...


class Keeping(Durable, Protocol):
    """A staged body on its way into its blob file."""

    @property
    def sealed(self) -> SealedBlob:
        """What it will be; nothing may name it before it is durable."""
        ...


class Staged(Source, Protocol):
    """A file before it is a blob: stage, seal, publish; or discard. One task writes, any number read.

    Small bodies stay in memory until ``keep`` or ``seal``, which do everything in one thread hop. ``size`` is what has
    been written and can be read. Reading goes on working after publish and after discard until ``close``.
    """

    async def write(self, data: bytes | memoryview) -> None:
        """Append. Hashing (xxh3 and ``check``) happens in the same thread job. Raises OutOfSpace, DiskUnavailable."""
        ...

    async def finish(self) -> None:
        """All bytes are written: flush what is still hashed lazily, so that ``check`` can be asked. Idempotent."""
        ...

    def keep(self, label: BlobLabel) -> Keeping:
        """loop. Begin to seal and publish in one thread job: whoever has to go on when it is durable need not come back
        to the loop in between (``Catalogue.publish``). After ``finish``; once. Raises TooLarge, DiskUnavailable; the
        outcome has OutOfSpace, DiskUnavailable."""
        ...

    async def seal(self, label: BlobLabel) -> SealedBlob:
        """Write the trailer and fsync the file. Raises OutOfSpace, DiskUnavailable."""
        ...

    async def publish(self) -> None:
        """Move to the final name and fsync the directory (shared with concurrent publishes). After ``seal``."""
        ...

    async def discard(self) -> None:
        """Remove the file, sealed or not. Not after ``publish`` (that is ``DiskTier.remove``). Never raises;
        idempotent."""
        ...

    async def close(self) -> None:
        """Give the descriptor back. Idempotent. Waits for ``keep``; discards first unless published."""
        ...


class OpenBlob(Source, Protocol):
    """A blob open for reading. The open descriptor is the pin: a purge may unlink the name meanwhile.

    ``content`` is set for small blobs, which are read and verified whole by ``open``. ``read`` verifies every block it
    touches before it returns a byte: BlobCorrupt, DiskUnavailable.
    """

    @property
    def label(self) -> BlobLabel: ...

    @property
    def xxh3(self) -> bytes: ...

    async def close(self) -> None: ...


class DiskTier(Protocol):
    """Blob files. Knows nothing of entries, budgets or alt."""

    def stage(self, check: BodyCheck | None = None) -> Staged:
        """loop. Begin a new file with a fresh unique name; nothing touches the disk yet."""
        ...

    async def open(self, blob: str, *, size: int, generation: int, xxh3: bytes | None) -> OpenBlob:
        """Open and check trailer, size, generation and digest. Raises BlobMissing, BlobCorrupt, DiskUnavailable."""
        ...

    async def ends(self, blobs: Sequence[BlobFacts], head: int, tail: int) -> list[Stub | None]:
        """At most ``head`` and ``tail`` bytes of the beginning and the end of each, in one thread job; nothing is
        returned that was not verified, as with ``open`` and reads of what it opens. None: it cannot be read."""
        ...

    async def remove(self, blobs: Sequence[str]) -> None:
        """Unlink and fsync the directories; names that are not there are fine. Raises DiskUnavailable."""
        ...

    async def verify(self, blob: str) -> tuple[BlobLabel, SealedBlob]:
        """Read all of a blob at low priority (scrub, rebuild). Raises BlobMissing, BlobCorrupt, DiskUnavailable."""
        ...

    def scan(self) -> AsyncIterator[list[str]]:
        """Every blob name on disk, in batches, directory by directory, in no order."""
        ...

    async def footprints(self, blobs: Sequence[str]) -> list[int | None]:
        """The space each occupies by its name and length alone, as ``SealedBlob.footprint`` has it; None: it is not
        there. Nothing is read. Raises DiskUnavailable."""
        ...

    async def quarantine(self, blob: str) -> None:
        """Move a damaged blob to ``<data>/quarantine`` so that an operator can look at it."""
        ...

    async def tidy(self) -> None:
        """Do the cleaning up that had to be left because the disk hung. Raises DiskHangs: some is left still."""
        ...

    async def clear_staging(self) -> int:
        """Remove staged files a crash left behind; only before anything is staged. Returns how many."""
        ...

    def free(self) -> FreeSpace:
        """loop. statvfs of the data directory, at most a second old."""
        ...

    # Parts of multipart uploads: durable like blobs, named and removed by the caller.

    async def keep_part(self, staged: Staged) -> str:
        """Seal ``staged`` as a part: fsync file and directory. Returns the part's file name for the catalogue."""
        ...

    async def open_part(self, file: str, size: int, etag: str) -> OpenBlob:
        """A staged part for reading. Raises BlobMissing, BlobCorrupt (size), DiskUnavailable."""
        ...

    async def remove_parts(self, files: Sequence[str]) -> None: ...

    async def scan_parts(self) -> list[str]:
        """Every part file on disk."""
        ...

    async def close(self) -> None: ...
