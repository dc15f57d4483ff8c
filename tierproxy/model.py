"""The vocabulary: nouns every layer shares. No I/O, no clock, no SQL.

Sizes are bytes, times are seconds since the epoch (float, UTC), ETags are without quotes, keys are the client's keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple


class ObjectName(NamedTuple):
    """What a client names: the proxy's bucket and the key in it (any Unicode, 1 to 1024 bytes of UTF-8)."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


class State(StrEnum):
    """What the catalogue says of an entry's content; see ``docs/architecture.md`` for the moves between states."""

    CLEAN = "clean"  #: alt has these bytes
    DIRTY = "dirty"  #: only the disk tier has these bytes; an upload is in the journal
    DELETING = "deleting"  #: tombstone: deleted, and alt has not confirmed it yet
    SUSPECT = "suspect"  #: an overwrite straight to alt was in flight; a HEAD decides which content alt holds


class Ack(StrEnum):
    """When a write is answered."""

    BOTH = "both"  #: alt has it and the disk has it
    DISK = "disk"  #: fsynced on disk and journaled; the upload follows
    ALT = "alt"  #: alt has it; the disk is not written (write-around)


class OnAltDown(StrEnum):
    """What a write with ack ``both`` does when alt is down."""

    QUEUE = "queue"  #: as ack ``disk``
    REFUSE = "refuse"  #: 503, nothing changed


class FillPolicy(StrEnum):
    """Whether a read that missed leaves a copy on disk."""

    NEVER = "never"
    ALWAYS = "always"
    SECOND_READ = "second-read"


class Tier(StrEnum):
    """Where the bytes of an answer came from."""

    MEMORY = "memory"
    DISK = "disk"
    STUB = "stub"
    ALT = "alt"


class JobKind(StrEnum):
    """What the upload queue has to do in alt."""

    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Half-open range of body bytes: ``start <= i < stop``. Never empty."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class RangeSpec:
    """A client's range before the size is known (RFC 9110 14.1.2): ``first`` and ``last`` inclusive, or a suffix
    length."""

    first: int | None = None
    last: int | None = None
    suffix: int | None = None


@dataclass(frozen=True, slots=True)
class Headers:
    """What a client stores beside the bytes: S3's system metadata, user metadata and full-object checksums.

    ``metadata`` maps lower-case names without the ``x-amz-meta-`` prefix to values; ``checksums`` maps an algorithm
    (crc32, crc32c, crc64nvme, sha1, sha256) to the base64 value S3 would send, ``checksum_type`` is FULL_OBJECT or
    COMPOSITE.
    """

    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    expires: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    checksum_type: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """The catalogue row of an object. It outlives the blob: its read counts are history.

    ``headers`` is None while only a listing of alt has told of the object. ``parts`` are the part sizes of a multipart
    upload (empty otherwise). ``blob`` names the file in the disk tier, ``blob_bytes`` is what that file occupies
    (body and trailer, rounded up to 4 KiB), ``xxh3`` the 128-bit digest of the body (16 bytes). ``reads`` and
    ``last_read_at`` are people's. ``owner`` and ``folder`` (its class): given to the catalogue, the request's word or
    None; from the catalogue, that or what the key says by the naming patterns ("" when it says nothing).
    """

    name: ObjectName
    generation: int
    state: State
    size: int
    etag: str
    written_at: float
    alt_etag: str | None = None
    headers: Headers | None = None
    parts: tuple[int, ...] = ()
    blob: str | None = None
    blob_bytes: int = 0
    xxh3: bytes | None = None
    stored_at: float | None = None
    last_read_at: float | None = None
    reads: int = 0
    purged_at: float | None = None
    purged_by: str | None = None
    owner: str | None = None
    folder: str | None = None

    def with_blob(
        self, blob: SealedBlob, *, at: float, state: State | None = None, alt_etag: str | None = None
    ) -> Entry:
        """This entry with its bytes on disk as ``blob``, stored at ``at``; in ``state`` and with ``alt_etag``, if
        given."""
        return replace(
            self, blob=blob.name, blob_bytes=blob.footprint, xxh3=blob.xxh3, stored_at=at, state=state or self.state,
            alt_etag=alt_etag or self.alt_etag,
        )  # fmt: skip

    def without_blob(self) -> Entry:
        return replace(self, blob=None, blob_bytes=0)

    @property
    def tiers(self) -> tuple[str, ...]:
        """Who holds the object now: ``disk``, ``alt`` or both."""
        disk = ("disk",) if self.blob is not None else ()
        return (*disk, "alt") if self.state in {State.CLEAN, State.SUSPECT} else disk


@dataclass(frozen=True, slots=True)
class BlobLabel:
    """What a blob file says of itself in its trailer: enough to rebuild the entry when the catalogue is lost."""

    name: ObjectName
    generation: int
    etag: str
    headers: Headers
    written_at: float
    parts: tuple[int, ...] = ()


class BlobFacts(NamedTuple):
    """What a row says of its blob."""

    name: str
    size: int
    generation: int
    xxh3: bytes | None


@dataclass(frozen=True, slots=True)
class SealedBlob:
    """A blob's facts once its bytes and trailer are fsynced. ``footprint`` is its size on disk, rounded up to 4 KiB."""

    name: str
    size: int
    footprint: int
    xxh3: bytes


@dataclass(frozen=True, slots=True)
class AltObject:
    """What alt says of an object. ``headers`` is None when a listing said it. ``etag`` is alt's own ETag;
    ``client_etag`` the ETag tierproxy showed its client when that differs (kept in alt's user metadata)."""

    name: ObjectName
    size: int
    etag: str
    modified_at: float
    headers: Headers | None = None
    client_etag: str | None = None
    parts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BucketRow:
    """A bucket the catalogue knows. ``complete``: every object alt holds in it has a row, so an unknown key is a 404
    without asking alt (exclusive buckets only). ``created``: made by CreateBucket, not by the configuration."""

    name: str
    created_at: float
    created: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A journaled piece of work for alt. One per key: a newer write replaces it."""

    name: ObjectName
    generation: int
    kind: JobKind
    size: int
    queued_at: float
    attempts: int = 0
    next_try_at: float = 0.0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """The upload journal in numbers. ``oldest_queued_at`` is None when it is empty."""

    jobs: int
    bytes: int
    oldest_queued_at: float | None
    failing: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The catalogue in numbers; kept exact by every transaction."""

    objects: int
    bytes: int
    blobs: int
    blob_bytes: int
    dirty: int
    dirty_bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload in progress. ``owner`` and ``folder``: what the request said the object is to have."""

    id: str
    name: ObjectName
    headers: Headers
    created_at: float
    ack: Ack | None = None
    checksum_algorithm: str | None = None
    checksum_type: str | None = None
    owner: str | None = None
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One staged part. ``file`` names it in the disk tier; ``etag`` is the hex MD5 of its bytes."""

    number: int
    size: int
    etag: str
    file: str
    modified_at: float
    checksums: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListRequest:
    """One page of a listing. ``after`` is exclusive: keys and common prefixes at or before it are skipped. ``headers``:
    those the catalogue has of each object are wanted as well."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = 1000
    headers: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """One object in a listing. ``headers``: None when they are not known, or were not asked for."""

    key: str
    size: int
    etag: str
    modified_at: float
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """``objects`` and ``prefixes`` in byte order; ``next_after`` continues the listing, None at its end."""

    objects: tuple[Listed, ...]
    prefixes: tuple[str, ...]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class Stub:
    """What is kept of an object whose body is not on disk: its first and its last bytes. ``size`` is the object's;
    where ``head`` and ``tail`` would overlap, ``head`` is everything and ``tail`` empty."""

    size: int
    head: bytes
    tail: bytes

    @staticmethod
    def lengths(size: int, head: int, tail: int) -> tuple[int, int]:
        """How many bytes to keep of the beginning and the end of ``size`` bytes, at most ``head`` and ``tail``."""
        return (head, tail) if size > head + tail else (size, 0)

    def piece(self, start: int, stop: int) -> bytes | None:
        """Bytes ``start`` to ``stop`` (exclusive), None if not all of them are here."""
        if stop <= len(self.head):
            return self.head[start:stop]
        begin = self.size - len(self.tail)
        return self.tail[start - begin : stop - begin] if start >= begin else None


class KnownKey(NamedTuple):
    """A row of the catalogue in brief, for walks over whole buckets."""

    key: str
    generation: int
    state: State
    size: int
    alt_etag: str | None
    blob: str | None


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """The file system below the data directory, as statvfs says it (for unprivileged users)."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int
