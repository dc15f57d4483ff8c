"""The catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tierproxy.model import (
    BucketRow,
    Entry,
    Job,
    KnownKey,
    ListPage,
    ListRequest,
    ObjectName,
    Part,
    QueueTotals,
    Totals,
    Upload,
)
from tierproxy.ports.counting import Counting
from tierproxy.ports.disk import Durable
from tierproxy.ports.planning import Planning, Purging
from tierproxy.stats import CatalogueGauges


class Catalogue(Counting, Planning, Purging, Protocol):
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

    def committed(self) -> int:
        """loop. The largest generation that was ever committed."""
        ...

    def unaccounted(self, generation: int) -> bool:
        """loop. It lies between the last commit of one earlier process and the first generation of the next: a file of
        it without a row was cut off by a crash, or the catalogue is older than the file (restored from a backup)."""
        ...

    async def publish(
        self, entry: Entry, *, job: Job | None = None, upload: str | None = None, after: Durable | None = None
    ) -> Entry | None:
        """A write: make ``entry`` the row of its name, unless the row there is of a newer generation (StaleGeneration).

        ``job`` replaces the name's job in the journal, None removes it; ``upload`` ends that multipart upload in the
        same transaction (NoSuchUpload when it is gone). NoSuchBucket when the bucket was deleted meanwhile. Read
        counters of the old row are kept. Returns the row replaced (its blob is now the caller's to remove), None if
        there was none.

        ``after``: the change is queued in the moment that becomes durable, by the thread that made it so; if it fails
        its failure is raised and nothing has changed.
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
        """A repair: CLEAN or SUSPECT row of that generation and blob -> no blob, purged_at, purged_by. Purges:
        ``drop_blobs``."""
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

    async def gauges(self) -> CatalogueGauges:
        """Numbers for whoever watches, read in a thread. Usually well below a millisecond; many deletes that wait
        longer than every put are walked over."""
        ...

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

    async def add_upload(self, upload: Upload) -> None:
        """NoSuchBucket when the catalogue has no such bucket (any more)."""
        ...

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
        """``next_generation`` is greater than ``at_least`` from now on, durably; generations up to it are accounted
        for: the caller has looked at every file."""
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
