"""A catalogue from nothing but blob files (`tierproxy catalogue rebuild`), after the old one was lost or damaged.

What the files cannot say decides what the result is worth:

- Whether alt has the bytes. With alt at hand each object is looked up: the same there -> CLEAN; not there, or older
  there -> DIRTY, to be uploaded (again: safe, an upload of the same bytes changes nothing); different and newer there
  -> a conflict: alt's stays, the blob goes to quarantine and into the report. Without alt everything is DIRTY and will
  be uploaded, which would overwrite what other writers, or this node with ack "alt", put there since. So alt is used
  unless an operator insists.
- Which objects were deleted. A blob whose unlinking was cut off comes back, as does an object whose delete was still
  queued: tombstones were in the lost catalogue. Acknowledged mail is worth more than a delete repeated.
- What alt holds beside them: buckets are not complete until `tierproxy catalogue sync`.
- Reads and purges of the past, staged parts of uploads: gone.

The caller holds the data directory's lock and hands in an empty catalogue in a file of its own. Only after ``run``
has returned does it move the old one aside (never delete it) and put the new one in its place: a rebuild that is cut
off leaves everything as it was, and is simply begun again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from tierproxy.errors import AltMissing, BlobCorrupt, ConfigError, DiskError
from tierproxy.model import AltObject, BlobLabel, BucketRow, Entry, SealedBlob, State
from tierproxy.ports import AltTier, Catalogue, Clock, DiskTier
from tierproxy.store.walks import Progress, each, rows_in, silent

EXAMPLES = 10
PARALLEL = 4
HEADS = 16
GRANULARITY = 1.0  #: seconds: S3 gives Last-Modified in whole ones, cut off


@dataclass(slots=True)
class RebuildReport:
    """What became of the files. ``files`` = ``clean`` + ``dirty`` + ``superseded`` + ``damaged`` + ``unreadable`` +
    ``conflicts``."""

    files: int = 0
    clean: int = 0  #: alt has the same
    dirty: int = 0  #: will be uploaded
    superseded: int = (
        0  #: an older generation of an object that was adopted; the file stays, `check --repair` removes it
    )
    damaged: int = 0  #: moved to quarantine
    unreadable: int = 0  #: the disk refused to read it; left alone
    conflicts: int = 0  #: alt has something different and newer; the blob was moved to quarantine
    bytes: int = 0
    generation: int = 0  #: the highest found
    buckets: list[str] = field(default_factory=list)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, example: object) -> None:
        """Keep one of the first few of ``damaged``, ``unreadable``, ``conflicts``."""
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(str(example))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Rebuild:
    """One rebuild into an empty ``catalogue``. ``configured``: buckets of the configuration; others that files name
    were made by CreateBucket. ``alt`` None: without asking alt."""

    def __init__(
        self, *, catalogue: Catalogue, disk: DiskTier, clock: Clock, alt: AltTier | None,
        configured: Collection[str] = (), progress: Progress = silent, parallel: int = PARALLEL, heads: int = HEADS,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._disk = disk
        self._clock = clock
        self._alt = alt
        self._configured = configured
        self._progress = progress
        self._parallel = parallel
        self._heads = heads
        self._buckets: set[str] = set()
        self.report = RebuildReport()

    async def run(self) -> RebuildReport:
        """Raises ConfigError unless the catalogue is empty; DiskError, AltError: then nothing is finished."""
        if self._catalogue.totals().objects:
            raise ConfigError("a rebuild needs an empty catalogue", hint="move the old catalogue aside first")
        async for names in self._disk.scan():
            await self._adopt(names)
            self._progress("files", self.report.files, None)
        await self._catalogue.raise_generation(self.report.generation)
        await self._add_buckets()
        self.report.dirty = self._catalogue.totals().dirty
        if self._alt is not None:
            await self._ask_alt(self._alt)
        return self.report

    # ------------------------------------------------------------ files -> rows

    async def _adopt(self, blobs: list[str]) -> None:
        """The catalogue keeps the newest generation of each name, in whatever order the files come."""
        found: list[Entry] = []

        async def verify(blob: str) -> None:
            entry = await self._verified(blob)
            if entry is not None:
                found.append(entry)

        await each(blobs, verify, self._parallel)
        losers = await self._catalogue.adopt(found)
        self.report.files += len(blobs)
        self.report.superseded += len(losers)
        self.report.bytes += sum(entry.blob_bytes for entry in found)
        self.report.generation = max([self.report.generation, *(entry.generation for entry in found)])
        self._buckets.update(entry.name.bucket for entry in found)

    async def _verified(self, blob: str) -> Entry | None:
        try:
            label, sealed = await self._disk.verify(blob)
        except BlobCorrupt as error:
            await self._disk.quarantine(blob)
            self.report.damaged += 1
            self.report.note("damaged", f"{blob}: {error}")
            return None
        except DiskError as error:
            self.report.unreadable += 1
            self.report.note("unreadable", f"{blob}: {error}")
            return None
        return adopted(label, sealed, at=self._clock.now())

    async def _add_buckets(self) -> None:
        self.report.buckets = sorted(self._buckets)
        for bucket in self.report.buckets:
            if self._catalogue.bucket(bucket) is None:
                created = bucket not in self._configured
                await self._catalogue.add_bucket(BucketRow(bucket, self._clock.now(), created=created, complete=False))

    # ------------------------------------------------------------ rows -> alt

    async def _ask_alt(self, alt: AltTier) -> None:
        done, total = 0, self.report.dirty

        async def settle(entry: Entry) -> None:
            await self._settle(alt, entry)

        async for page in rows_in(self._catalogue, State.DIRTY):
            await each(page, settle, self._heads)
            done += len(page)
            self._progress("alt", done, total)

    async def _settle(self, alt: AltTier, entry: Entry) -> None:
        try:
            found = await alt.head(entry.name)
        except AltMissing:
            return
        if await self._same(alt, found, entry):
            await self._catalogue.uploaded(entry.name, entry.generation, found.etag)
            self.report.clean += 1
            self.report.dirty -= 1
        elif found.modified_at + GRANULARITY > entry.written_at:
            await self._yield_to(found, entry)

    async def _yield_to(self, found: AltObject, entry: Entry) -> None:
        """Alt's object is newer: it stays, and the blob, which may still be what somebody wants, is put aside."""
        await self._catalogue.forget(entry.name, entry.generation)
        await self._disk.quarantine(entry.blob or "")
        self.report.conflicts += 1
        self.report.dirty -= 1
        self.report.note("conflicts", f"{entry.name}: blob {entry.blob} of {entry.written_at}, alt {found.modified_at}")

    async def _same(self, alt: AltTier, found: AltObject, entry: Entry) -> bool:
        """By size and ETag; where alt's ETag is no digest the two sides share (encryption, parts), by the bytes."""
        if found.size != entry.size:
            return False
        return (found.client_etag or found.etag) == entry.etag or await self._same_bytes(alt, entry)

    async def _same_bytes(self, alt: AltTier, entry: Entry) -> bool:
        blob = await self._disk.open(
            entry.blob or "", size=entry.size, generation=entry.generation, xxh3=entry.xxh3
        )  # fmt: skip
        try:
            body = await alt.get(entry.name)
            try:
                offset = 0
                async for chunk in body.chunks():
                    if await blob.read(offset, len(chunk)) != bytes(chunk):
                        return False
                    offset += len(chunk)
                return offset == entry.size
            finally:
                await body.close()
        finally:
            await blob.close()


def adopted(label: BlobLabel, sealed: SealedBlob, *, at: float) -> Entry:
    """The entry a blob file tells of, DIRTY until alt is asked."""
    entry = Entry(
        label.name, label.generation, State.DIRTY, sealed.size, label.etag, label.written_at, headers=label.headers,
        parts=label.parts,
    )  # fmt: skip
    return entry.with_blob(sealed, at=at)
