"""The way of a delete: the tombstone is durable before anything goes, and outlives everything that has to go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tierproxy.errors import PreconditionFailed
from tierproxy.model import Ack, Entry, Job, JobKind, ObjectName, State
from tierproxy.ports import Catalogue, Clock
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Precondition
from tierproxy.store.changes import Changes
from tierproxy.store.counters import Counters
from tierproxy.store.health import AltHealth
from tierproxy.store.order import KeyOrder
from tierproxy.store.policies import Policies
from tierproxy.store.shelf import Shelf
from tierproxy.store.tally import Tally
from tierproxy.store.tasks import Tasks
from tierproxy.store.upload import UploadQueue
from tierproxy.traffic import NOBODY, Visitor


class Deleter:
    """DELETE."""

    def __init__(
        self, *, catalogue: Catalogue, changes: Changes, buckets: Buckets, policies: Policies, order: KeyOrder,
        shelf: Shelf, queue: UploadQueue, health: AltHealth, tasks: Tasks, clock: Clock, counters: Counters,
        tally: Tally,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._changes = changes
        self._buckets = buckets
        self._policies = policies
        self._order = order
        self._shelf = shelf
        self._queue = queue
        self._health = health
        self._tasks = tasks
        self._clock = clock
        self._counters = counters
        self._tally = tally

    async def delete(
        self, name: ObjectName, precondition: Precondition = ANYTHING, visitor: Visitor = NOBODY
    ) -> None:  # fmt: skip
        """Returns when the delete is certain: the tombstone is durable, and, unless the ack is ``disk``, alt has been
        asked once (if it did not confirm, or not in time, the queue goes on). Deleting what is not there is fine.
        Raises NoSuchBucket, PreconditionFailed, DiskUnavailable."""
        self._buckets.require(name.bucket)
        begin = self._clock.monotonic()
        await self._tasks.finish(self._delete(name, precondition, visitor), "delete")
        self._counters.delete_latency.add(self._clock.monotonic() - begin)

    async def _delete(self, name: ObjectName, precondition: Precondition, visitor: Visitor) -> None:
        async with self._order.hold(name), self._withdrawing(precondition.withdraws) as wanted:
            if not wanted:
                return  # what is there now came later
            current = await self._changes.admitted(name, precondition)
            row = self._catalogue.find(name)
            if current is None and row is not None:
                return  # a tombstone is there already
            # Nothing here is no proof of nothing in alt: a write that was never acknowledged may have arrived there.
            job = self._job(name)
            old = await self._catalogue.tombstone(name, job.generation, job)
            self._queue.committed(job)
            self._shelf.changed(name, old)
            self._counters.deletes += 1
            self._tally.deleted(name, old, visitor)
        uploading = old is not None and old.state is State.DIRTY  # may be slow: its order is the queue's business
        if uploading or self._health.down(name.bucket) or self._answers_early(name, old):
            self._queue.wake()
        else:
            await self._changes.attempted(job)

    @asynccontextmanager
    async def _withdrawing(self, change: str) -> AsyncIterator[bool]:
        """Around the delete that takes ``change`` back, under the name's order: whether it is still to be done."""
        try:
            yield not change or self._changes.withdrawn.add(change)
        except PreconditionFailed:
            raise  # there is nothing of it, and never will be
        except BaseException:
            self._changes.withdrawn.discard(change)
            raise

    def _answers_early(self, name: ObjectName, old: Entry | None) -> bool:
        return self._policies.write(name, None, size=old.size if old else 0).ack is Ack.DISK

    def _job(self, name: ObjectName) -> Job:
        now = self._clock.now()
        return Job(name, self._catalogue.next_generation(), JobKind.DELETE, 0, queued_at=now, next_try_at=now)
