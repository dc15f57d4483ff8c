"""CopyObject: in alt by alt itself, on disk from blob to blob; by way of the bytes only where that cannot be done."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from tierproxy.errors import AltError, AltMissing, AltUnavailable, AltUncertain, DiskError, TierproxyError
from tierproxy.logs import event
from tierproxy.model import Ack, BlobLabel, Entry, Headers, ObjectName, OnAltDown, SealedBlob, State
from tierproxy.ports import AltTier, Clock, DiskTier
from tierproxy.store.body import Md5Check, MemorySource, Timings
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Precondition, Select, Write, Written, whole
from tierproxy.store.changes import Changes, Content
from tierproxy.store.leases import Leases
from tierproxy.store.lookup import Lookup
from tierproxy.store.order import KeyOrder
from tierproxy.store.reader import Reader
from tierproxy.store.space import Reservation, Space
from tierproxy.store.tasks import Tasks
from tierproxy.store.writer import Writer
from tierproxy.traffic import NOBODY, Visitor

log = logging.getLogger(__name__)
PIECE = 2**20


class Copier:
    """One CopyObject request to alt and no bytes over the network when alt has the source."""

    def __init__(
        self, *, alt: AltTier, disk: DiskTier, lookup: Lookup, buckets: Buckets, reader: Reader, writer: Writer,
        changes: Changes, order: KeyOrder, space: Space, tasks: Tasks, clock: Clock, leases: Leases,
    ) -> None:  # fmt: skip
        self._alt = alt
        self._disk = disk
        self._lookup = lookup
        self._buckets = buckets
        self._reader = reader
        self._writer = writer
        self._changes = changes
        self._order = order
        self._space = space
        self._tasks = tasks
        self._clock = clock
        self._leases = leases

    async def copy(
        self, source: ObjectName, target: ObjectName, *, headers: Headers | None = None, select: Select = whole,
        precondition: Precondition = ANYTHING, ack: Ack | None = None, visitor: Visitor = NOBODY,
    ) -> Written:  # fmt: skip
        """``headers`` replace the source's, None keeps them; ``select`` sees the source's entry and may refuse it.
        Raises NoSuchKey, NoSuchBucket, PreconditionFailed, and as ``Writer.write``."""
        self._buckets.require(target.bucket)
        self._buckets.require(source.bucket)
        entry = await self._lookup.head(source)
        select(entry)
        policy = self._writer.policy(target, ack, entry.size, visitor)
        if policy.ack is not Ack.DISK and entry.state is State.CLEAN and not self._changes.queued(target):
            work = self._server_side(entry, target, headers, precondition, policy.ack, visitor)
            try:
                return await self._tasks.finish(work, "copy")
            except (AltUnavailable, AltUncertain):
                if policy.ack is not Ack.BOTH or policy.on_alt_down is OnAltDown.REFUSE or entry.blob is None:
                    raise
        return await self._by_bytes(source, target, headers, select, precondition, ack, visitor)

    async def _server_side(
        self, source: Entry, target: ObjectName, headers: Headers | None, precondition: Precondition, ack: Ack,
        visitor: Visitor,
    ) -> Written:  # fmt: skip
        timings = Timings(self._clock)
        async with self._order.hold(target), self._changes.alone(target, precondition) as current:
            kept = headers or source.headers or Headers()
            if headers is not None and source.headers is not None:  # the bytes are the same
                kept = replace(kept, checksums=source.headers.checksums, checksum_type=source.headers.checksum_type)
            content = Content(target, kept, source.etag, MemorySource(), precondition, source.parts, visitor=visitor)
            entry = replace(self._changes.entry(content, State.CLEAN), size=source.size)
            with await self._reserve(source, content.name.bucket, ack) as reservation:
                disk, alt = await asyncio.gather(
                    self._duplicate(source, entry, reservation, timings),
                    self._in_alt(source, content, headers and kept, current, timings),
                    return_exceptions=True,
                )
                for outcome in (disk, alt):
                    if isinstance(outcome, BaseException) and not isinstance(outcome, TierproxyError):
                        raise outcome
                if isinstance(alt, BaseException):
                    await self._given_up(current, disk, alt)
                    raise alt
                entry = replace(entry, alt_etag=alt)
                if isinstance(disk, SealedBlob):
                    entry = entry.with_blob(disk, at=self._clock.now())
                return Written(await self._changes.commit(content, entry, reservation), timings.phases)

    async def _given_up(self, current: Entry | None, disk: object, error: BaseException) -> None:
        if isinstance(disk, SealedBlob):
            await self._changes.discard(disk)
        source_lost = not isinstance(error, AltError)  # then alt has not touched the target
        await self._changes.undone(current, AltUnavailable() if source_lost else error)

    async def _in_alt(
        self, source: Entry, content: Content, headers: Headers | None, current: Entry | None, timings: Timings
    ) -> str:
        """Raises AltError (AltPrecondition: of the target), and as ``Lookup.missing`` when alt has lost the source."""
        create, match = self._changes.conditions(content.name, content.precondition, current)
        try:
            with timings.phase("alt-body"):
                return await self._alt.copy(
                    source.name, content.name, headers, etag=source.etag, match=source.alt_etag, create=create,
                    target_match=match,
                )  # fmt: skip
        except AltMissing:
            await self._lookup.missing(source.name, source)
        except AltUncertain as error:
            return await self._resolved(source, content, headers, error)

    async def _resolved(self, source: Entry, content: Content, headers: Headers | None, error: AltUncertain) -> str:
        """A copy onto another name, or with other headers, can be told from what was there before."""
        try:
            found = await self._alt.head(content.name)
        except AltError:
            raise error from None
        same = found.size == source.size and source.etag in {found.client_etag, found.etag}
        if not same or (source.name == content.name and found.headers != headers):
            raise error
        return found.etag

    async def _reserve(self, source: Entry, bucket: str, ack: Ack) -> Reservation:
        if source.blob is not None and ack is Ack.BOTH:
            try:
                return await self._space.reserve_write(source.size, bucket)
            except DiskError as error:
                event(log, logging.WARNING, "copied in alt only", name=source.name, error=error)
        return Reservation(self._space, 0)

    async def _duplicate(
        self, source: Entry, entry: Entry, reservation: Reservation, timings: Timings
    ) -> SealedBlob | None:
        """The source's blob as a new blob of ``entry``; None when it has none, or there is no room."""
        if not reservation:
            return None
        with timings.phase("disk"):
            blob = await self._disk.open(
                source.blob or "", size=source.size, generation=source.generation, xxh3=source.xxh3
            )
            staged = self._disk.stage()
            try:
                for offset in range(0, source.size, PIECE):
                    await staged.write(await blob.read(offset, min(PIECE, source.size - offset)))
                await staged.finish()
                headers = entry.headers or Headers()
                label = BlobLabel(entry.name, entry.generation, entry.etag, headers, entry.written_at, entry.parts)
                sealed = await staged.seal(label)
                await staged.publish()
                return sealed
            finally:
                await staged.close()
                await blob.close()

    async def _by_bytes(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, select: Select,
        precondition: Precondition, ack: Ack | None, visitor: Visitor,
    ) -> Written:  # fmt: skip
        reading = await self._reader.fetch(source, lambda entry: (select(entry), None)[1])
        try:
            size = reading.entry.size
            kept = replace(headers or reading.entry.headers or Headers(), checksums={}, checksum_type=None)
            return await self._writer.write(
                Write(target, kept, size, reading.chunks(), Md5Check(size), precondition, ack, visitor)
            )
        finally:
            await reading.close()
