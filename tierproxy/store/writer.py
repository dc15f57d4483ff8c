"""The way of a write: onto the disk, to alt, or both at once.

Receiving the body belongs to the request and may be cancelled; from the moment everything is received and verified the
change belongs to the node and runs to its end (``Tasks.finish``), whatever becomes of the client.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from tierproxy.errors import AltError, DiskError, StaleGeneration, TierproxyError
from tierproxy.logs import event
from tierproxy.model import Ack, BlobLabel, Entry, Headers, Job, ObjectName, OnAltDown, State
from tierproxy.ports import Catalogue, Clock, DiskTier, Keeping, Staged
from tierproxy.store.around import Around
from tierproxy.store.body import Timings
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Write, Written
from tierproxy.store.changes import Changes, Content, received
from tierproxy.store.counters import Counters
from tierproxy.store.describing import Describing
from tierproxy.store.health import AltHealth
from tierproxy.store.order import KeyOrder
from tierproxy.store.patience import Patience, Sending
from tierproxy.store.policies import Policies, WritePolicy
from tierproxy.store.space import Arriving, Reservation, Space
from tierproxy.store.tasks import Tasks
from tierproxy.store.upload import UploadQueue
from tierproxy.traffic import Visitor

log = logging.getLogger(__name__)


class Writer:
    """PUT. See ``docs/semantics.md`` for who is told what under which trouble."""

    def __init__(
        self, *, disk: DiskTier, catalogue: Catalogue, changes: Changes, around: Around, buckets: Buckets,
        policies: Policies, order: KeyOrder, space: Space, queue: UploadQueue, health: AltHealth, tasks: Tasks,
        clock: Clock, counters: Counters, describing: Describing, patience: Patience,
    ) -> None:  # fmt: skip
        self._disk = disk
        self._catalogue = catalogue
        self._changes = changes
        self._around = around
        self._buckets = buckets
        self._policies = policies
        self._order = order
        self._space = space
        self._queue = queue
        self._health = health
        self._tasks = tasks
        self._clock = clock
        self._counters = counters
        self._describing = describing
        self._patience = patience

    async def write(self, call: Write) -> Written:
        """Raises NoSuchBucket, BadBody, PreconditionFailed, OutOfSpace (ack disk), AltError."""
        begin = self._clock.monotonic()
        written = await self._write(call)
        self._counters.put_latency.add(self._clock.monotonic() - begin)
        self._counters.spent("put", written.timings)
        return written

    async def _write(self, call: Write) -> Written:
        self._buckets.require(call.name.bucket)
        self._space.admit_row()
        policy = self.policy(call.name, call.ack, call.size, call.visitor)
        timings = Timings(self._clock)
        if policy.ack is Ack.ALT:
            return await self._around.write(call, timings)
        try:
            reservation = await self._space.reserve_arriving(call.size, call.name.bucket)
        except DiskError:  # no room, or a disk that cannot even say so
            if policy.ack is Ack.DISK:
                raise
            return await self._around.write(call, timings)
        staged = self._disk.stage(call.check)
        handed_over = False
        try:
            try:
                await self._receive(call, staged, reservation, timings)
            except DiskError as error:
                if policy.ack is Ack.DISK:
                    raise
                event(log, logging.WARNING, "disk failed, writing to alt only", name=call.name, error=error)
                return await self._around.go_on(call, staged, timings)
            call.check.verify(staged.size)
            content = await self._describing.described(received(call, staged, call.check))
            handed_over = True
            return await self._tasks.finish(self.keep(content, staged, reservation, policy, timings), "write")
        finally:
            if not handed_over:
                reservation.release()
                await staged.close()

    def policy(self, name: ObjectName, asked: Ack | None, size: int, visitor: Visitor) -> WritePolicy:
        """loop. The write policy as the queue's limits leave it: a full queue takes nothing more, so ack ``disk``
        becomes
        ``both``, and ``both`` is refused while alt is down."""
        policy = self._policies.write(name, asked, size=size, visitor=visitor)
        if policy.ack is not Ack.ALT and self._queue.full():
            return WritePolicy(Ack.BOTH, OnAltDown.REFUSE)
        return policy

    async def keep(
        self, content: Content, staged: Staged, reservation: Reservation, policy: WritePolicy, timings: Timings
    ) -> Written:
        """Owned by the node from here. Takes over ``staged`` and ``reservation``."""
        try:
            with reservation:
                async with self._order.hold(content.name):
                    if policy.ack is Ack.DISK:
                        return await self._disk_only(content, staged, reservation, timings)
                    current = await self._changes.admitted(content.name, content.precondition)
                    if policy.on_alt_down is OnAltDown.QUEUE and self._health.down(content.name.bucket):
                        return await self._to_disk(content, staged, reservation, timings)
                    if self._changes.queued(content.name) is None:
                        return await self._to_both(content, current, staged, reservation, policy, timings)
                    if policy.on_alt_down is OnAltDown.QUEUE:
                        return await self._behind_queue(content, staged, reservation, timings)
                    with timings.phase("queue"):
                        await self._changes.settle_queue(content.name)
                    current = self._catalogue.find(content.name)
                    return await self._to_both(content, current, staged, reservation, policy, timings)
        finally:
            await staged.close()

    async def _receive(self, call: Write, staged: Staged, reservation: Arriving, timings: Timings) -> None:
        with timings.phase("disk"):
            async for piece in call.body:
                await staged.write(piece)
                try:
                    await reservation.cover(staged.size)
                except DiskError:
                    await staged.finish()  # all of it is hashed then: whoever goes on without the disk relies on it
                    raise
            await staged.finish()

    async def _disk_only(self, content: Content, staged: Staged, reservation: Reservation, timings: Timings) -> Written:
        """Without a precondition the row that is replaced need not be known before the commit replaces it."""
        if content.precondition != ANYTHING:
            await self._changes.admitted(content.name, content.precondition)
        return await self._to_disk(content, staged, reservation, timings)

    async def _to_disk(self, content: Content, staged: Staged, reservation: Reservation, timings: Timings) -> Written:
        entry = self._changes.entry(content, State.DIRTY)
        return await self._queue_up(content, entry, staged.keep(label_of(entry)), reservation, timings)

    async def _queue_up(
        self, content: Content, entry: Entry, keeping: Keeping, reservation: Reservation, timings: Timings,
        sending: Sending[str] | None = None,
    ) -> Written:  # fmt: skip
        """Commit as DIRTY with a job for the upload queue. ``sending`` is a request under way that would do the job."""
        dirty = entry.with_blob(keeping.sealed, at=self._clock.now(), state=State.DIRTY)
        job = self._changes.job(dirty)
        if sending is None or not sending.pending:
            if sending is not None:
                await sending.give_up()  # it has just ended: nobody else will look how
            job = self._queue.lingering(job)
            with timings.phase("disk"):
                return Written(await self._changes.commit(content, dirty, reservation, job, keeping), timings.phases)
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.adopt(job, self._late(job, sending, committed))  # before the job is there for another try
        try:
            with timings.phase("disk"):
                written = await self._changes.commit(content, dirty, reservation, job, keeping)
            committed.set_result(True)
        finally:
            if not committed.done():
                committed.set_result(False)
        return Written(written, timings.phases)

    async def _late(self, job: Job, sending: Sending[str], committed: asyncio.Future[bool]) -> None:
        """The try of ``job`` that was begun before it. What cannot be read any more is sent again from the blob."""
        try:
            if not await committed:
                raise StaleGeneration
            alt_etag = await sending.task
        finally:
            await sending.give_up()
        await self._changes.confirmed(job, alt_etag)

    async def _to_both(
        self, content: Content, current: Entry | None, staged: Staged, reservation: Reservation, policy: WritePolicy,
        timings: Timings,
    ) -> Written:  # fmt: skip
        """The queue has nothing for the name, so alt is ours to change: disk and alt at the same time."""
        async with self._changes.suspected(current):
            return await self._disk_and_alt(content, current, staged, reservation, policy, timings)

    async def _disk_and_alt(
        self, content: Content, current: Entry | None, staged: Staged, reservation: Reservation, policy: WritePolicy,
        timings: Timings,
    ) -> Written:  # fmt: skip
        entry = self._changes.entry(content, State.CLEAN)
        sending = self._patience.sending(
            content.name.bucket, content.source,
            lambda source: self._changes.send(content, entry, current, timings, source),
        )  # fmt: skip
        keeping = staged.keep(label_of(entry))
        try:
            alt_etag = await sending.answer()
        except AltError as error:
            return await self._without_alt(
                content, entry, current, keeping, error, sending, reservation, policy, timings
            )  # fmt: skip
        except TierproxyError as error:  # the source, our own disk, could not be read
            await self._changes.undone(current, error)
            raise
        with timings.phase("disk"):
            return Written(await self._commit(content, entry, alt_etag, keeping, reservation), timings.phases)

    async def _commit(
        self, content: Content, entry: Entry, alt_etag: str, keeping: Keeping, reservation: Reservation
    ) -> Entry:
        """Alt has it, so a disk that fails costs the copy and nothing else."""
        stored = entry.with_blob(keeping.sealed, at=self._clock.now(), alt_etag=alt_etag)
        try:
            return await self._changes.commit(content, stored, reservation, keeping=keeping)
        except TierproxyError as error:
            if keeping.failure is None:
                raise
            event(log, logging.WARNING, "written to alt only", name=content.name, error=error)
            alone = replace(entry, alt_etag=alt_etag, xxh3=keeping.sealed.xxh3)
            return await self._changes.commit(content, alone, reservation)

    async def _without_alt(
        self, content: Content, entry: Entry, current: Entry | None, keeping: Keeping, error: AltError,
        sending: Sending[str], reservation: Reservation, policy: WritePolicy, timings: Timings,
    ) -> Written:  # fmt: skip
        """Alt did not confirm. Queue it, or undo everything and say so."""
        kept = await self._kept(keeping)
        if kept and policy.on_alt_down is OnAltDown.QUEUE and not self._changes.queue_is_wrong(content, error):
            event(log, logging.WARNING, "queued, alt did not take it", name=content.name, error=error)
            return await self._queue_up(content, entry, keeping, reservation, timings, sending)
        await sending.give_up()
        if kept:
            await self._changes.discard(keeping.sealed)
        await self._changes.undone(current, error)
        raise error

    @staticmethod
    async def _kept(keeping: Keeping) -> bool:
        try:
            await keeping.wait()
        except TierproxyError:
            return False
        return True

    async def _behind_queue(
        self, content: Content, staged: Staged, reservation: Reservation, timings: Timings
    ) -> Written:
        """The queue has work for this name, so alt is the queue's to change: go through it, and see how far it gets."""
        written = await self._to_disk(content, staged, reservation, timings)
        with timings.phase("queue"):
            await self._changes.attempted(self._changes.job(written.entry))
        now = self._catalogue.find(content.name)
        same = now is not None and now.generation == written.entry.generation
        return replace(written, entry=now) if same and now else written


def label_of(entry: Entry) -> BlobLabel:
    """What the blob of ``entry`` says of itself."""
    return BlobLabel(
        entry.name, entry.generation, entry.etag, entry.headers or Headers(), entry.written_at, entry.parts
    )  # fmt: skip
