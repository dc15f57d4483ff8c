"""What the upload queue does with a job: make alt as the row says."""

from __future__ import annotations

import logging

from tierproxy.errors import (
    AltError,
    AltMissing,
    AltPrecondition,
    AltUncertain,
    BlobCorrupt,
    BlobMissing,
    StaleGeneration,
    Unreadable,
)
from tierproxy.logs import event
from tierproxy.model import AltObject, Entry, Headers, Job, JobKind, ObjectName, State
from tierproxy.ports import Alarms, AltTier, Catalogue, Clock, DiskTier, Source
from tierproxy.store.body import is_md5
from tierproxy.store.health import AltHealth
from tierproxy.store.patience import Watched, never
from tierproxy.store.shelf import Shelf

log = logging.getLogger(__name__)


class AltWrites:
    """Sends an entry's bytes to alt and finds out what became of them. ``follow``: alt, for the question what became of
    a change that was sent, which is asked also when nothing else is."""

    def __init__(self, alt: AltTier, follow: AltTier, health: AltHealth, clock: Clock) -> None:
        self._alt = alt
        self._follow = follow
        self._health = health
        self._clock = clock
        self._uploads: dict[ObjectName, Watched] = {}

    async def upload(self, entry: Entry, source: Source) -> str:
        """As ``put``, for the queue: who waits for it can see whether it gets on."""
        body = self._uploads[entry.name] = Watched(source, self._clock)
        try:
            return await self.put(entry, body)
        finally:
            del self._uploads[entry.name]

    def heard(self, name: ObjectName) -> float:
        """loop. When (monotonic) the upload of ``name`` that is under way was last read from; none: never."""
        body = self._uploads.get(name)
        return never() if body is None else body.read_at

    async def put(self, entry: Entry, source: Source, *, create: bool = False, match: str | None = None) -> str:
        """PutObject of ``entry``; returns alt's ETag. An uncertain outcome is resolved by a HEAD: success if alt holds
        these bytes, AltUnavailable if it certainly does not (yet), AltUncertain if that cannot be told either."""
        md5 = entry.etag if is_md5(entry.etag) else ""
        try:
            return await self._alt.put(
                entry.name, source, entry.headers or Headers(), md5=md5, etag=None if md5 else entry.etag,
                parts=entry.parts, create=create, match=match,
            )  # fmt: skip
        except AltUncertain as error:
            return await self._resolve(entry, error, create=create)

    async def delete(self, name: ObjectName) -> None:
        """DeleteObject; trying again is always right."""
        await self._alt.delete(name)

    async def _resolve(self, entry: Entry, error: AltUncertain, *, create: bool) -> str:
        try:
            found = await self._follow.head(entry.name)
        except AltMissing:
            raise AltUncertain(f"not in alt yet: {error}") from error
        except AltError:
            raise error from None
        if not holds(found, entry):
            if create:
                raise AltPrecondition(f"another {entry.name} was there before") from error
            raise AltUncertain(f"alt still has another content: {error}") from error
        event(log, logging.INFO, "uncertain write had happened", name=entry.name)
        self._health.answered(entry.name.bucket)
        return found.etag


def holds(found: AltObject, entry: Entry) -> bool:
    """Alt has the bytes of ``entry``: same size and the same client's ETag."""
    return found.size == entry.size and entry.etag in {found.client_etag, found.etag}


class Jobs:
    """``perform`` for the upload queue: idempotent, and void when the row has moved on (StaleGeneration)."""

    def __init__(
        self, *, catalogue: Catalogue, disk: DiskTier, writes: AltWrites, alarms: Alarms, shelf: Shelf
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._disk = disk
        self._writes = writes
        self._alarms = alarms
        self._shelf = shelf

    async def perform(self, job: Job) -> None:
        """Raises StaleGeneration, AltError, DiskError, Unreadable; then the job stays."""
        if job.kind is JobKind.DELETE:
            self._row(job, State.DELETING)
            await self._writes.delete(job.name)
            await self._catalogue.forget(job.name, job.generation)
        else:
            await self._upload(job, self._row(job, State.DIRTY))

    async def _upload(self, job: Job, entry: Entry) -> None:
        try:
            blob = await self._disk.open(
                entry.blob or "", size=entry.size, generation=entry.generation, xxh3=entry.xxh3
            )
        except (BlobMissing, BlobCorrupt) as error:
            self._row(job, State.DIRTY)  # overwritten meanwhile: not damage
            self._alarms.set("only copy damaged", str(job.name), blob=entry.blob, error=error)
            raise Unreadable(f"cannot upload {job.name}: {error}") from error
        try:
            alt_etag = await self._writes.upload(entry, blob)
        finally:
            await blob.close()
        await self._catalogue.uploaded(job.name, job.generation, alt_etag)
        self._shelf.confirmed(job.name, job.generation, alt_etag)

    def _row(self, job: Job, state: State) -> Entry:
        entry = self._catalogue.find(job.name)
        if entry is None or entry.generation != job.generation or entry.state is not state:
            raise StaleGeneration
        return entry
