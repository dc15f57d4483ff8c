"""What every change of an object has in common: admission, the row, the commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from tierproxy.errors import (
    AltCannotHold,
    AltCorrupt,
    AltError,
    AltPrecondition,
    AltUnavailable,
    AltUncertain,
    DiskError,
    PreconditionFailed,
    StaleGeneration,
)
from tierproxy.model import Entry, Headers, Job, JobKind, ObjectName, SealedBlob, State
from tierproxy.ports import BodyCheck, Catalogue, Clock, DiskTier, Keeping, Source
from tierproxy.store.body import Timings
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Precondition, Write
from tierproxy.store.counters import Counters
from tierproxy.store.jobs import AltWrites
from tierproxy.store.lookup import Lookup
from tierproxy.store.patience import AltSilent, Patience
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Reservation
from tierproxy.store.tally import Tally
from tierproxy.store.upload import UploadQueue
from tierproxy.store.withdrawn import Withdrawn
from tierproxy.traffic import NOBODY, Visitor


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be written, received and verified. ``parts`` and ``upload`` are of a multipart upload."""

    name: ObjectName
    headers: Headers
    etag: str
    source: Source
    precondition: Precondition = ANYTHING
    parts: tuple[int, ...] = ()
    upload: str | None = None
    visitor: Visitor = NOBODY


def received(call: Write, source: Source, check: BodyCheck) -> Content:
    """The content of a PUT whose body is all there and verified."""
    checksums = check.checksums()
    headers = replace(call.headers, checksums=checksums, checksum_type="FULL_OBJECT") if checksums else call.headers
    return Content(call.name, headers, check.etag(), source, call.precondition, visitor=call.visitor)


class Changes:
    """Used under the name's order (``KeyOrder.hold``)."""

    def __init__(
        self, *, catalogue: Catalogue, disk: DiskTier, lookup: Lookup, buckets: Buckets, shelf: Shelf,
        queue: UploadQueue, writes: AltWrites, clock: Clock, counters: Counters, tally: Tally, patience: Patience,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._disk = disk
        self._lookup = lookup
        self._buckets = buckets
        self._shelf = shelf
        self._queue = queue
        self._writes = writes
        self._clock = clock
        self._counters = counters
        self._tally = tally
        self._patience = patience
        self.withdrawn = Withdrawn()

    async def admitted(self, name: ObjectName, precondition: Precondition) -> Entry | None:
        """The object the change replaces, None if there is none. Raises PreconditionFailed, AltError."""
        if precondition.change and precondition.change in self.withdrawn:
            raise PreconditionFailed("the client has taken this change back")
        if precondition == ANYTHING:
            row = self._catalogue.find(name)
            return None if row is None or row.state is State.DELETING else row
        current = await self._lookup.current(name)
        if precondition.create and current is not None:
            raise PreconditionFailed("the object exists already (If-None-Match: *)")
        if precondition.match is not None and (current is None or precondition.match not in {"*", current.etag}):
            raise PreconditionFailed("the object has another ETag, or is not there (If-Match)")
        return current

    def entry(self, content: Content, state: State) -> Entry:
        """loop. A new row for ``content``, with the next generation."""
        return Entry(
            name=content.name, generation=self._catalogue.next_generation(), state=state, size=content.source.size,
            etag=content.etag, written_at=self._clock.now(), headers=content.headers, parts=content.parts,
            owner=content.visitor.owner, folder=content.visitor.folder,
        )  # fmt: skip

    def job(self, row: Entry) -> Job:
        """loop. What the queue has to do to make alt as ``row`` says, due now."""
        kind = JobKind.DELETE if row.state is State.DELETING else JobKind.PUT
        now = self._clock.now()
        return Job(row.name, row.generation, kind, row.size, queued_at=now, next_try_at=now)

    def queued(self, name: ObjectName) -> Entry | None:
        """loop. The row, if the queue has work for it: then alt is the queue's to change."""
        row = self._catalogue.find(name)
        return row if row is not None and row.state in {State.DIRTY, State.DELETING} else None

    async def settle_queue(self, name: ObjectName) -> None:
        """Let the queue finish what it has for ``name``. Raises AltUnavailable when it cannot, or not in time."""
        row = self.queued(name)
        if row is not None and not await self.attempted(self.job(row)):
            raise AltUnavailable(f"alt has not taken the previous change of {name} yet")

    async def attempted(self, job: Job) -> bool:
        """Whether alt has confirmed ``job``, which is tried now, within the patience; the try goes on."""
        try:
            return await self._patience.within(
                job.name.bucket, self._queue.attempt(job), lambda: self._writes.heard(job.name)
            )
        except AltSilent:
            return False

    @asynccontextmanager
    async def alone(self, name: ObjectName, precondition: Precondition) -> AsyncIterator[Entry | None]:
        """Under the name's order, around a change of alt: the precondition holds, the queue has nothing for the
        name, the
        row of what is replaced (which is given) is SUSPECT. Raises PreconditionFailed, AltError."""
        await self.admitted(name, precondition)
        await self.settle_queue(name)
        row = self._catalogue.find(name)  # again: the queue may just have made it CLEAN
        current = None if row is None or row.state is State.DELETING else row
        async with self.suspected(current):
            yield current

    @asynccontextmanager
    async def suspected(self, current: Entry | None) -> AsyncIterator[None]:
        """Around a change of alt under a CLEAN row: the row is SUSPECT, so that, if the node dies between alt's success
        and our commit, nobody believes it without asking alt. Until then this process goes on serving the old
        content."""
        if current is None or current.state is not State.CLEAN:
            yield
            return
        try:
            with self._lookup.being_replaced(current.name):
                await self._suspect(current)
                yield
        finally:
            row = self._catalogue.find(current.name)
            if row is not None and row.state is State.SUSPECT:  # nothing near may speak for it before alt was asked
                self._lookup.doubtful(current.name)
                self._shelf.changed(current.name, None)

    async def _suspect(self, current: Entry) -> None:
        """A copy, or news from alt, that was on its way before the name's order was taken may still have arrived."""
        try:
            await self._catalogue.suspect(current.name, current.generation)
        except StaleGeneration:
            row = self._catalogue.find(current.name)
            if row is None or row.state is not State.CLEAN:
                raise
            await self._catalogue.suspect(row.name, row.generation)

    async def send(
        self, content: Content, entry: Entry, current: Entry | None, timings: Timings, source: Source | None = None
    ) -> str:
        """PutObject; returns alt's ETag. In buckets with other writers alt checks the precondition once more.
        ``source``: is read instead of the content's."""
        create, match = self.conditions(content.name, content.precondition, current)
        try:
            with timings.phase("alt-body"):
                return await self._writes.put(entry, source or content.source, create=create, match=match)
        except AltError:
            self._lookup.attempted(entry.name, entry.size, entry.etag)
            raise

    def conditions(
        self, name: ObjectName, precondition: Precondition, current: Entry | None
    ) -> tuple[bool, str | None]:
        """loop. What alt has to check once more, because others write there: (create, match)."""
        if self._buckets.exclusive(name.bucket):
            return False, None
        return precondition.create, current.alt_etag if current and precondition.match is not None else None

    def queue_is_wrong(self, content: Content, error: AltError) -> bool:
        """Alt did answer: another writer was first, whose object the queue would overwrite; or it can never hold this
        one, and the queue would try for ever. Or there are other writers and a precondition, which only alt can
        check."""
        shared = not self._buckets.exclusive(content.name.bucket)
        return isinstance(error, (AltPrecondition, AltCannotHold)) or (shared and content.precondition != ANYTHING)

    async def discard(self, blob: SealedBlob) -> None:
        """A published file that becomes nobody's. If the disk refuses, the scrub finds it."""
        with suppress(DiskError):
            await self._disk.remove([blob.name])

    async def undone(self, current: Entry | None, error: BaseException) -> None:
        """Alt did not take the change: the row is trusted again, unless the outcome is uncertain (it stays SUSPECT). If
        alt took other bytes than were sent, the old content is sent again if the disk has it. An AltPrecondition
        becomes
        the caller's PreconditionFailed."""
        row = self._catalogue.find(current.name) if current is not None and current.state is State.CLEAN else None
        if row is not None and isinstance(error, AltCorrupt) and row.blob is not None:
            dirty = replace(row, state=State.DIRTY)
            job = self.job(dirty)
            await self._catalogue.publish(dirty, job=job)
            self._queue.committed(job)
            self._queue.wake()
        elif row is not None and isinstance(error, AltError) and not isinstance(error, AltUncertain):
            await self._catalogue.settle(row.name, row.generation)
        if isinstance(error, AltPrecondition):
            raise PreconditionFailed("the object changed in alt meanwhile") from error

    async def confirmed(self, job: Job, alt_etag: str) -> None:
        """Alt has what ``job`` was to bring there. Raises StaleGeneration, DiskError."""
        await self._catalogue.uploaded(job.name, job.generation, alt_etag)
        self._shelf.confirmed(job.name, job.generation, alt_etag)

    async def commit(
        self, content: Content, entry: Entry, reservation: Reservation, job: Job | None = None,
        keeping: Keeping | None = None,
    ) -> Entry:  # fmt: skip
        """The row is the commit. If it fails, the published file is nobody's and goes. ``keeping``: the blob may still
        be on its way; its failure is raised."""
        if entry.blob is not None:
            reservation.commit(entry.blob_bytes)
        try:
            old = await self._catalogue.publish(entry, job=job, upload=content.upload, after=keeping)
        except Exception:
            if keeping is not None:
                await keeping.settled()
            if entry.blob is not None:
                self._shelf.remove(entry.name.bucket, [(entry.blob, entry.blob_bytes)])
            raise
        self._shelf.changed(entry.name, old, entry)
        body = content.source.content
        if body is not None and entry.blob is not None and len(body) == entry.size:  # of a copy the bytes are not here
            self._shelf.arrived(entry, body)
        self._counters.puts += 1
        self._tally.wrote(entry, content.visitor)
        if job is not None:
            self._counters.queued_puts += 1
            self._queue.committed(job)
            self._queue.expect(job)
        return entry
