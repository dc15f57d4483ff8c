"""Where row, file, budget and memory are kept in step: what happens after a commit that takes a blob out of use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from tierproxy.errors import DiskError, StaleGeneration
from tierproxy.logs import event
from tierproxy.model import Entry, ObjectName, State
from tierproxy.ports import Alarms, Catalogue, Clock, DiskTier, Hot
from tierproxy.store.counters import Counters
from tierproxy.store.space import Space
from tierproxy.store.tasks import Tasks

log = logging.getLogger(__name__)
ENDED_BY_A_CHANGE = ("only copy damaged", "lost in alt", "alt changed by somebody else")


class Shelf:
    """The order is always: the row says so (durable), memory and flights forget it, the file goes, its space is free.

    A crash in between leaves a file no row names; the scrub removes it.
    """

    def __init__(
        self, *, disk: DiskTier, catalogue: Catalogue, hot: Hot, space: Space, tasks: Tasks, clock: Clock,
        counters: Counters, alarms: Alarms,
    ) -> None:  # fmt: skip
        self._disk = disk
        self._catalogue = catalogue
        self._hot = hot
        self._space = space
        self._tasks = tasks
        self._clock = clock
        self._counters = counters
        self._alarms = alarms
        self.on_change: list[Callable[[ObjectName], None]] = []

    def changed(self, name: ObjectName, old: Entry | None) -> None:
        """loop. After the commit of a change to ``name``: nothing may serve ``old`` from now on; its blob is
        removed."""
        self._hot.drop(name)
        for alarm in ENDED_BY_A_CHANGE:
            self._alarms.clear(alarm, str(name))
        for forget in self.on_change:
            forget(name)
        if old is not None and old.blob is not None:
            self.remove([(old.blob, old.blob_bytes)])

    def remove(self, blobs: Sequence[tuple[str, int]]) -> None:
        """loop. Unlink blobs no row names any more, in the background; (name, footprint) each."""
        self._tasks.spawn(self._unlink(blobs), "unlink")

    async def purge(self, entries: Sequence[Entry], *, by: str) -> int:
        """``tierproxy.ports.Purgeable``: drop the blobs of ``entries`` that are still as the plan saw them."""
        return await self._tasks.finish(self._purge(entries, by), "purge")

    async def damaged(self, entry: Entry, error: DiskError) -> bool:
        """A blob cannot be read. CLEAN: the row forgets it (alt has the bytes), True. DIRTY: it is the only copy, so it
        stays where it is and an operator hears of it, False."""
        self._counters.repairs += 1
        if entry.state is not State.CLEAN:
            self._alarms.set("only copy damaged", str(entry.name), blob=entry.blob, error=error)
            return False
        event(log, logging.WARNING, "blob damaged, forgotten", name=entry.name, blob=entry.blob, error=error)
        await self._tasks.finish(self._forget_damaged(entry), "repair")
        return True

    async def _forget_damaged(self, entry: Entry) -> None:
        if await self._drop(entry, "repair"):
            self.changed(entry.name, None)
            self._space.release(entry.blob_bytes)
            with contextlib.suppress(DiskError):  # gone already, or the disk refuses: no row names it any more
                await self._disk.quarantine(entry.blob or "")

    async def _purge(self, entries: Sequence[Entry], by: str) -> int:
        dropped = await asyncio.gather(*(self._drop(entry, by) for entry in entries), return_exceptions=True)
        gone = [entry for entry, done in zip(entries, dropped, strict=True) if done is True]
        for entry in gone:
            self._hot.drop(entry.name)
        await self._unlink([(entry.blob or "", entry.blob_bytes) for entry in gone])
        for failure in dropped:
            if isinstance(failure, BaseException):
                raise failure
        return sum(entry.blob_bytes for entry in gone)

    async def _drop(self, entry: Entry, by: str) -> bool:
        if entry.blob is None:
            return False
        try:
            await self._catalogue.drop_blob(entry.name, entry.generation, entry.blob, by=by, at=self._clock.now())
        except StaleGeneration:
            return False
        return True

    async def _unlink(self, blobs: Sequence[tuple[str, int]]) -> None:
        try:
            await self._disk.remove([blob for blob, _ in blobs])
        except DiskError as error:  # the rows are right; the scrub finds the files
            event(log, logging.WARNING, "blobs not removed", count=len(blobs), error=error)
        self._space.release(sum(size for _, size in blobs))
