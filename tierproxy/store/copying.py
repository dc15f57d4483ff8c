"""CopyObject: in alt by alt itself, on disk from blob to blob; by way of the bytes only where that cannot be done."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from tierproxy.errors import AltError, AltMissing, AltUnavailable, AltUncertain, DiskError, TierproxyError
from tierproxy.logs import event
from tierproxy.model import Ack, AltObject, BlobLabel, Entry, Headers, ObjectName, OnAltDown, SealedBlob, State
from tierproxy.ports import AltTier, Clock, DiskTier, OpenBlob
from tierproxy.store.body import Md5Check, MemorySource, Timings
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Precondition, Select, Write, Written, whole
from tierproxy.store.changes import Changes, Content
from tierproxy.store.describing import Describing
from tierproxy.store.health import AltHealth
from tierproxy.store.leases import Leases
from tierproxy.store.lookup import Lookup
from tierproxy.store.order import KeyOrder
from tierproxy.store.patience import Patience
from tierproxy.store.reader import Reader
from tierproxy.store.space import Reservation, Space
from tierproxy.store.stubbing import Stubbing
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
        describing: Describing, stubbing: Stubbing, patience: Patience, health: AltHealth, follow: AltTier,
    ) -> None:  # fmt: skip
        """``follow``: as in ``AltWrites``."""
        self._alt = alt
        self._follow = follow
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
        self._describing = describing
        self._stubbing = stubbing
        self._patience = patience
        self._health = health

    async def copy(
        self, source: ObjectName, target: ObjectName, *, headers: Headers | None = None, select: Select = whole,
        precondition: Precondition = ANYTHING, ack: Ack | None = None, visitor: Visitor = NOBODY,
    ) -> Written:  # fmt: skip
        """``headers`` replace the source's, None keeps them; ``select`` sees the source's entry and may refuse it.
        Raises NoSuchKey, NoSuchBucket, PreconditionFailed, and as ``Writer.write``."""
        self._buckets.require(target.bucket)
        self._buckets.require(source.bucket)
        self._space.admit_row()
        entry = await self._lookup.head(source)
        select(entry)
        headers = self._describing.copied(entry.headers, headers, target, visitor)
        policy = self._writer.policy(target, ack, entry.size, visitor)
        queued = policy.ack is Ack.DISK or (policy.ack is Ack.BOTH and policy.on_alt_down is OnAltDown.QUEUE)
        instead = queued and entry.blob is not None  # the bytes are here, and need not reach alt now
        hopeless = instead and self._health.down(target.bucket)
        if entry.state is State.CLEAN and not self._changes.queued(target) and not hopeless:
            work = self._server_side(entry, target, headers, precondition, policy.ack, visitor)
            try:
                return await self._tasks.finish(work, "copy")
            except (AltUnavailable, AltUncertain):
                if not instead:
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
                stub = await self._stubbing.find(source, None) if source.blob is None else None
                entry = await self._changes.commit(content, entry, reservation)
                if stub is not None:
                    await self._stubbing.remember(entry, stub.head, stub.tail)
                return Written(entry, timings.phases)

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
                alt_etag = await self._patience.within(
                    content.name.bucket, self._asked(source, content, headers, create, match)
                )
        except AltError as error:
            self._lookup.attempted(content.name, source.size, content.etag)
            if isinstance(error, AltMissing):
                await self._lookup.missing(source.name, source)
            raise
        return alt_etag

    async def _asked(
        self, source: Entry, content: Content, headers: Headers | None, create: bool, match: str | None
    ) -> str:
        try:
            return await self._alt.copy(
                source.name, content.name, headers, etag=source.etag, match=source.alt_etag, create=create,
                target_match=match, known=self._known(source),
            )  # fmt: skip
        except AltUncertain as error:
            return await self._resolved(source, content, headers, error)

    def _known(self, source: Entry) -> AltObject | None:
        """What alt need not be asked of the source: nobody else writes there, and the row has seen its headers."""
        if not self._buckets.exclusive(source.name.bucket) or source.headers is None or source.alt_etag is None:
            return None
        return AltObject(source.name, source.size, source.alt_etag, source.written_at, source.headers, source.etag)

    async def _resolved(self, source: Entry, content: Content, headers: Headers | None, error: AltUncertain) -> str:
        """A copy onto another name, or with other headers, can be told from what was there before."""
        try:
            found = await self._follow.head(content.name)
        except AltError:
            raise error from None
        same = found.size == source.size and source.etag in {found.client_etag, found.etag}
        if not same or (source.name == content.name and found.headers != headers):
            raise error
        return found.etag

    async def _reserve(self, source: Entry, bucket: str, ack: Ack) -> Reservation:
        if source.blob is not None and ack is not Ack.ALT:
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
            try:
                return await self._copied(blob, source, entry)
            finally:
                await blob.close()

    async def _copied(self, blob: OpenBlob, source: Entry, entry: Entry) -> SealedBlob:
        staged = self._disk.stage()
        try:
            for offset in range(0, source.size, PIECE):
                await staged.write(await blob.read(offset, min(PIECE, source.size - offset)))
            await staged.finish()
            headers = entry.headers or Headers()
            label = BlobLabel(entry.name, entry.generation, entry.etag, headers, entry.written_at, entry.parts)
            keeping = staged.keep(label)
            await keeping.wait()
            return keeping.sealed
        finally:
            await staged.close()

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
