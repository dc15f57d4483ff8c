"""The doors between the heart (``tierproxy.store``) and everything that does I/O.

Every port has one contract suite in ``tierproxy.testing.contracts`` that runs on each implementation: the memory one,
the real one and the fault-injecting one. "loop" below means: called on the event loop and returns at once.

Errors: each method raises only the part of ``tierproxy.errors`` named in its docstring.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol, TypeVar

from tierproxy.model import (
    AltObject,
    BlobLabel,
    BucketRow,
    ByteRange,
    Entry,
    FreeSpace,
    Headers,
    Job,
    KnownKey,
    ListPage,
    ListRequest,
    ObjectName,
    Part,
    QueueTotals,
    SealedBlob,
    Totals,
    Touch,
    Upload,
)

T = TypeVar("T")


# ---------------------------------------------------------------- time and threads


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Wall clock, seconds since the epoch. May jump; never used to decide what is kept safe."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Offload(Protocol):
    """A bounded, named pool of threads for blocking calls."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run ``call(*args)`` in the pool. Cancelling the waiter does not stop the call; its result is dropped."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------- the body of a request


class BodyCheck(Protocol):
    """Hashes a body as it passes (in a worker thread) and compares it with what the client declared."""

    def update(self, data: bytes | bytearray | memoryview) -> None: ...

    def verify(self, size: int) -> None:
        """After the last byte. Raises BadBody (length, Content-MD5, checksum, trailer, signature)."""
        ...

    def etag(self) -> str:
        """Hex MD5 of the body: its S3 ETag."""
        ...

    def checksums(self) -> dict[str, str]:
        """Algorithm to base64 value, of every checksum the client declared."""
        ...


# ---------------------------------------------------------------- disk tier


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


class Staged(Source, Protocol):
    """A file before it is a blob: stage, seal, publish; or discard. One task writes, any number read.

    Small bodies stay in memory until ``seal``, which then does everything in one thread hop. ``size`` is what has been
    written and can be read. Reading goes on working after publish and after discard until ``close``.
    """

    async def write(self, data: bytes | memoryview) -> None:
        """Append. Hashing (xxh3 and ``check``) happens in the same thread job. Raises OutOfSpace, DiskUnavailable."""
        ...

    async def finish(self) -> None:
        """All bytes are written: flush what is still hashed lazily, so that ``check`` can be asked. Idempotent."""
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
        """Give the descriptor back. Idempotent. Discards first unless published."""
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

    async def remove(self, blobs: Sequence[str]) -> None:
        """Unlink and fsync the directories; names that are not there are fine. Raises DiskUnavailable."""
        ...

    async def verify(self, blob: str) -> tuple[BlobLabel, SealedBlob]:
        """Read all of a blob at low priority (scrub, rebuild). Raises BlobMissing, BlobCorrupt, DiskUnavailable."""
        ...

    def scan(self) -> AsyncIterator[list[str]]:
        """Every blob name on disk, in batches, directory by directory, in no order."""
        ...

    async def quarantine(self, blob: str) -> None:
        """Move a damaged blob to ``<data>/quarantine`` so that an operator can look at it."""
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


# ---------------------------------------------------------------- catalogue


class Catalogue(Protocol):
    """The only truth about which objects exist and where their bytes are.

    Look-ups marked loop use a read connection on the calling thread (tens of microseconds). Every ``async`` change
    returns when its transaction is durable (group commit by one writer thread); changes are applied in call order.
    Cancelling a change does not withdraw it: the cancellation is raised once it has happened or failed, so that the
    look-ups then tell which.
    A method that repeats a condition and finds it false raises StaleGeneration and changes nothing.
    Errors of the database itself are DiskUnavailable.
    """

    def find(self, name: ObjectName) -> Entry | None:
        """loop. The row, tombstones included; sees every change that has been awaited."""
        ...

    def next_generation(self) -> int:
        """loop. Strictly increasing over the life of the data directory, restarts and deletes included."""
        ...

    async def publish(self, entry: Entry, *, job: Job | None = None, upload: str | None = None) -> Entry | None:
        """A write: make ``entry`` the row of its name, unless the row there is of a newer generation (StaleGeneration).

        ``job`` replaces the name's job in the journal, None removes it; ``upload`` ends that multipart upload in the
        same
        transaction (NoSuchUpload when it is gone). Reads counters of the old row are kept. Returns the row replaced
        (its blob is now the caller's to remove), None if there was none.
        """
        ...

    async def fill(self, entry: Entry, *, expected: int | None) -> Entry | None:
        """A fill: set blob, blob_bytes, xxh3, stored_at (and size, etag, alt_etag, headers, parts) of the CLEAN row
        whose
        generation is ``expected``; with None insert the row if there is none. Else StaleGeneration. Clears
        purged_at/by.
        Returns the row replaced (its blob, if another, is the caller's to remove)."""
        ...

    async def learn(self, entry: Entry, *, expected: int | None) -> Entry | None:
        """What alt said of an object: as ``fill`` but blob columns are left as they are unless ``entry.blob`` is
        None and
        the content (alt_etag) changed. Never raises StaleGeneration: a newer row wins silently. Returns the row whose
        blob this let go (the file is the caller's to remove), None if no blob was."""
        ...

    async def suspect(self, name: ObjectName, generation: int) -> None:
        """CLEAN -> SUSPECT, if the row still has ``generation``."""
        ...

    async def settle(self, name: ObjectName, generation: int) -> None:
        """SUSPECT -> CLEAN with the old content: alt was asked and still holds it."""
        ...

    async def uploaded(self, name: ObjectName, generation: int, alt_etag: str) -> None:
        """DIRTY -> CLEAN and the job leaves the journal, if the row still has ``generation``."""
        ...

    async def tombstone(self, name: ObjectName, generation: int, job: Job) -> Entry | None:
        """A delete: the row (or a new one) becomes DELETING with ``generation`` and no blob, ``job`` enters the
        journal.
        Returns the row replaced (its blob is the caller's to remove), None if there was none."""
        ...

    async def forget(self, name: ObjectName, generation: int) -> None:
        """Remove the row and its job, if it still has ``generation``; any state. The object is gone for good."""
        ...

    async def drop_blob(self, name: ObjectName, generation: int, blob: str, *, by: str, at: float) -> None:
        """A purge (or a repair): CLEAN row of that generation and blob -> no blob, purged_at, purged_by."""
        ...

    async def touch(self, reads: Sequence[Touch]) -> None:
        """Add to the read counters. Names without a row are ignored."""
        ...

    def victims(self, limit: int) -> list[Entry]:
        """loop. CLEAN entries with a blob, least recently read (or stored, if never read) first."""
        ...

    # journal

    def due(self, now: float, limit: int) -> list[Job]:
        """loop. Jobs whose next_try_at has come, those due longest first (by next_try_at, then generation)."""
        ...

    def next_due(self) -> float | None:
        """loop. The smallest next_try_at, None when the journal is empty."""
        ...

    def jobs(self, after: int = 0, limit: int = 100) -> list[Job]:
        """loop. The journal in queue order (by generation), a page at a time: generation > ``after``."""
        ...

    async def postpone(self, job: Job) -> None:
        """Store attempts, next_try_at and last_error of ``job`` if it is still the name's job."""
        ...

    async def hurry(self, names: Sequence[ObjectName] | None, now: float) -> int:
        """Set next_try_at to ``now`` (None: of every job). Returns how many."""
        ...

    def changed_outside(self) -> bool:
        """loop. Whether another process hurried jobs since this was last asked."""
        ...

    def queue_totals(self) -> QueueTotals: ...

    # listings

    async def page(self, request: ListRequest) -> ListPage:
        """Keys in byte order of their UTF-8, tombstones hidden, common prefixes skipped over by seeking."""
        ...

    async def dirty_page(self, bucket: str, prefix: str, after: str, limit: int) -> list[Entry]:
        """DIRTY and DELETING entries in byte order: what a listing of alt does not know yet."""
        ...

    async def blob_page(self, after: str, limit: int) -> list[Entry]:
        """Entries with a blob, by blob name > ``after``: the scrub's walk."""
        ...

    async def blobs_known(self, blobs: Sequence[str]) -> set[str]:
        """Those of ``blobs`` that some row names."""
        ...

    async def entries_in(self, state: str, after: ObjectName | None, limit: int) -> list[Entry]:
        """Entries of one state in name order, a page at a time."""
        ...

    def totals(self, bucket: str | None = None) -> Totals: ...

    # buckets

    def bucket(self, name: str) -> BucketRow | None: ...

    def buckets(self) -> list[BucketRow]: ...

    async def add_bucket(self, row: BucketRow) -> None:
        """BucketExists when it is there."""
        ...

    async def complete_bucket(self, name: str, complete: bool) -> None: ...

    async def remove_bucket(self, name: str) -> None:
        """BucketNotEmpty when it has rows (tombstones included) or uploads; NoSuchBucket."""
        ...

    # multipart uploads

    async def add_upload(self, upload: Upload) -> None: ...

    def upload(self, id: str) -> Upload | None: ...

    def uploads(
        self, bucket: str, prefix: str = "", after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> list[Upload]:
        """loop. In order of key, then id, greater than ``after`` (key, id)."""
        ...

    def uploads_before(self, created_before: float, limit: int) -> list[Upload]: ...

    async def add_part(self, upload: str, part: Part) -> Part | None:
        """Replaces a part of the same number and returns it (its file is the caller's to remove). NoSuchUpload."""
        ...

    def parts(self, upload: str, after: int = 0, limit: int = 10_000) -> list[Part]: ...

    async def remove_upload(self, id: str) -> list[Part]:
        """Abort: returns the parts, whose files are the caller's to remove. NoSuchUpload."""
        ...

    def part_files(self) -> set[str]:
        """Every part file a row names."""
        ...

    def part_bytes(self) -> int:
        """Bytes of all staged parts."""
        ...

    # offline tools (sync, rebuild, check); nothing on the path of a request calls these

    async def insert_listed(self, entries: Sequence[Entry]) -> int:
        """Rows for objects that a listing of alt told of, where there is none: CLEAN, without a blob, generations from
        the caller. Some thousands at a time. Returns how many were new."""
        ...

    async def adopt(self, entries: Sequence[Entry]) -> list[Entry]:
        """Rebuild from blobs: each entry becomes the row of its name unless the one there is as new or newer (with a
        blob); DIRTY ones get a put in the journal. Returns the losers: entries whose blob no row names now. Call
        ``raise_generation`` with the greatest generation seen."""
        ...

    async def raise_generation(self, at_least: int) -> None:
        """``next_generation`` is greater than ``at_least`` from now on, durably."""
        ...

    async def keys_after(self, bucket: str, after: str, limit: int) -> list[KnownKey]:
        """Every row of a bucket in key order, tombstones included, a page at a time: key > ``after``."""
        ...

    async def check(self) -> list[str]:
        """The broken invariants, one line each; empty when all is well. Reads the whole database."""
        ...

    async def close(self) -> None:
        """Commit what is waiting, checkpoint the WAL, close."""
        ...


# ---------------------------------------------------------------- alt tier


class AltBody(Protocol):
    """An object of alt while it is being read."""

    @property
    def meta(self) -> AltObject: ...

    @property
    def range(self) -> ByteRange:
        """What ``chunks`` delivers."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Ends after exactly ``range.length`` bytes or raises AltUnavailable / AltCorrupt: a short body never looks
        whole."""
        ...

    async def close(self) -> None: ...


class AltTier(Protocol):
    """S3. Names are the client's; mapping to alt's bucket, prefix and hash prefix is the implementation's.

    Raises AltUnavailable, AltRefused, AltMissing, AltPrecondition, AltCorrupt; changes also AltUncertain.
    """

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        """GetObject, with If-Match ``etag`` (alt's) if given. ``range`` is half-open; a range beyond the end is
        RangeUnsatisfiable."""
        ...

    async def head(self, name: ObjectName) -> AltObject: ...

    async def put(
        self,
        name: ObjectName,
        source: Source,
        headers: Headers,
        *,
        md5: str,
        etag: str | None = None,
        parts: tuple[int, ...] = (),
        create: bool = False,
        match: str | None = None,
    ) -> str:
        """PutObject, or a multipart upload above the configured size. ``md5``: hex MD5 of the bytes, "" if not known;
        checked against alt's answer where alt's ETag is an MD5. ``etag``: the client's ETag when it differs from the
        MD5 (kept in user metadata, with ``parts``). ``create``: If-None-Match *; ``match``: If-Match alt ETag
        (AltPrecondition). Returns alt's ETag."""
        ...

    async def put_stream(self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers) -> str:
        """Write-around of a body too large for memory: a multipart upload that is completed only if ``chunks`` ends
        without an exception, and aborted otherwise (the exception is passed on). Returns alt's ETag."""
        ...

    async def delete(self, name: ObjectName) -> None:
        """DeleteObject; a missing object is fine."""
        ...

    async def copy(
        self,
        source: ObjectName,
        target: ObjectName,
        headers: Headers | None,
        *,
        etag: str | None = None,
        match: str | None = None,
    ) -> str:
        """Server-side CopyObject (If-Match on the source: ``match``); ``headers`` replace the source's, None keeps
        them.
        ``etag`` as in ``put``. Returns alt's ETag."""
        ...

    async def page(self, request: ListRequest) -> ListPage:
        """One page of ListObjectsV2, ETags as alt shows them. AltRefused for a bucket with a hash prefix, which alt
        cannot
        list in key order (see ``walk``)."""
        ...

    def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        """Every object of ``bucket``, in batches and in no order, without headers (``catalogue sync``)."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------- memory tier


class Hot(Protocol):
    """Small hot objects in memory, bounded by bytes, confined to the event loop."""

    def get(self, name: ObjectName) -> tuple[Entry, bytes] | None: ...

    def put(self, entry: Entry, content: bytes) -> None:
        """Objects above the per-object limit are ignored."""
        ...

    def drop(self, name: ObjectName) -> None: ...

    def clear(self) -> None: ...

    @property
    def bytes_used(self) -> int: ...


# ---------------------------------------------------------------- what an operator hears


class Alarms(Protocol):
    """Things an operator must act on. Raised once, kept until cleared, logged, shown by `status` and metrics."""

    def set(self, alarm: str, subject: str, **facts: Any) -> None: ...

    def clear(self, alarm: str, subject: str) -> None: ...

    def active(self) -> list[tuple[str, str]]: ...


# ---------------------------------------------------------------- later rooms


class NoticeBus(Protocol):
    """Messages to other nodes (null object until there are some)."""

    async def written(self, name: ObjectName, generation: int) -> None: ...


class Leaser(Protocol):
    """The right to own a user (null object until there are several nodes)."""

    async def owns(self, owner: str) -> bool: ...


class Purgeable(Protocol):
    """What a purge run needs of the store: remove one blob from disk if the plan's facts still hold."""

    async def purge(self, entries: Sequence[Entry], *, by: str) -> int:
        """Returns the bytes released. Entries that changed since are skipped."""
        ...
