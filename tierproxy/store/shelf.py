"""Where row, file, budget and memory are kept in step: what happens after a commit that takes a blob out of use."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tierproxy.errors import DiskError, StaleGeneration
from tierproxy.logs import event
from tierproxy.model import Entry, ObjectName, State
from tierproxy.ports import Alarms, Catalogue, Clock, DiskTier, HistoryLog, Hot
from tierproxy.purges import REPAIR, Booking, Drop, Purged
from tierproxy.store.calls import Room
from tierproxy.store.counters import Counters
from tierproxy.store.space import Space
from tierproxy.store.stubbing import Stubbing
from tierproxy.store.tasks import Tasks
from tierproxy.traffic import Event, EventKind

log = logging.getLogger(__name__)
ENDED_BY_A_CHANGE = ("only copy damaged", "lost in alt", "alt changed by somebody else")


class Shelf:
    """The order is always: the row says so (durable), memory and flights forget it, the file goes, its space is free.

    A crash in between leaves a file no row names; the scrub removes it.
    """

    def __init__(
        self, *, disk: DiskTier, catalogue: Catalogue, hot: Hot, space: Space, tasks: Tasks, clock: Clock,
        counters: Counters, alarms: Alarms, history: HistoryLog | None = None,
        held: Callable[[ObjectName], bool] = lambda _name: False, stubbing: Stubbing | None = None,
    ) -> None:  # fmt: skip
        """``held``: whether somebody is reading the blob of this name just now. ``stubbing``: None: what is purged
        leaves nothing."""
        self._disk = disk
        self._catalogue = catalogue
        self._hot = hot
        self._space = space
        self._tasks = tasks
        self._clock = clock
        self._counters = counters
        self._alarms = alarms
        self._history = history
        self._held = held
        self._stubbing = stubbing
        self.on_change: list[Callable[[ObjectName], None]] = []
        self.on_news: list[Callable[[ObjectName, Entry | None], None]] = []

    def changed(self, name: ObjectName, old: Entry | None, now: Entry | None = None) -> None:
        """loop. After the commit of a change to ``name``: nothing may serve ``old`` from now on; its blob is
        removed. ``now``: as of ``news``."""
        self._hot.drop(name)
        for alarm in ENDED_BY_A_CHANGE:
            self._alarms.clear(alarm, str(name))
        for forget in self.on_change:
            forget(name)
        self.news(name, now)
        if old is not None and old.blob is not None:
            self.remove(name.bucket, [(old.blob, old.blob_bytes)])

    def arrived(self, entry: Entry, content: bytes) -> None:
        """loop. After ``changed``, under the name's order: ``content`` is what was committed as ``entry``, with a blob.
        New mail is read soon, so it is in memory at once."""
        self._hot.put(entry, content)

    def confirmed(self, name: ObjectName, generation: int, alt_etag: str) -> None:
        """loop. Alt has it, too, and the row says so: so does what memory keeps of it."""
        kept = self._hot.get(name)
        if kept is not None and kept[0].generation == generation:
            self._hot.put(replace(kept[0], state=State.CLEAN, alt_etag=alt_etag), kept[1])

    def news(self, name: ObjectName, now: Entry | None = None) -> None:
        """loop. After a commit from which on ``name`` may look different in a listing or to HEAD: every change, and
        what alt taught the catalogue. ``now``: the row that was committed, where it is at hand."""
        for tell in self.on_news:
            tell(name, now)

    def room(self) -> Room:
        """loop. The disk budget and what is used of it."""
        return Room(self._space.settings.max_bytes, self._space.used, self._catalogue.totals().objects)

    def remove(self, bucket: str, blobs: Sequence[tuple[str, int]]) -> None:
        """loop. Unlink blobs of ``bucket`` no row names any more, in the background; (name, footprint) each."""
        total = Counter({bucket: sum(size for _, size in blobs)})
        self._tasks.spawn(self._unlink([blob for blob, _ in blobs], total), "unlink")

    async def purge(self, drops: Sequence[Drop], *, booking: Booking | None = None) -> Purged:
        """``tierproxy.ports.Purgeable``. Runs to its end even if the caller is cancelled."""
        return await self._tasks.finish(self._purge(drops, booking), "purge")

    def footprint(self, bucket: str) -> int:
        """``tierproxy.ports.Purgeable``."""
        return self._space.footprint(bucket)

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
        if await self._drop(entry):
            self.changed(entry.name, None)
            self._space.release(entry.blob_bytes, entry.name.bucket)
            with contextlib.suppress(DiskError):  # gone already, or the disk refuses: no row names it any more
                await self._disk.quarantine(entry.blob or "")

    async def _purge(self, drops: Sequence[Drop], booking: Booking | None) -> Purged:
        """One change of the catalogue for the whole batch. Rows are looked at before it, for the lines of history and
        for stubs: what it removes it removes as they were seen, or not at all. Stubs are made first: a crash in between
        leaves one too many, which nobody is shown while the blob is there."""
        seen = {drop: self._catalogue.find(drop.name) for drop in drops if not self._held(drop.name)}
        if self._stubbing is not None:
            await self._stubbing.keep(list(seen), list(seen.values()))
        free = [drop for drop in seen if not self._held(drop.name)]
        if booking is not None:
            booking = replace(booking, skipped=booking.skipped + len(drops) - len(free))
        at = self._clock.now()
        lines = [_line(drop, seen[drop], at) for drop in free] if self._history is not None else []
        went = await self._catalogue.drop_blobs(free, at=at, booking=booking)
        gone = [drop for drop, done in zip(free, went, strict=True) if done]
        if self._stubbing is not None:
            self._stubbing.forget(drop for drop, done in zip(free, went, strict=True) if not done)
        for drop in gone:
            self._hot.drop(drop.name)
            toll = self._counters.toll(drop.by)
            toll.objects += 1
            toll.bytes += drop.blob_bytes
        if self._history is not None:
            for line, done in zip(lines, went, strict=True):
                if done:
                    self._history.note(line)
        total = Counter[str]()
        for drop in gone:
            total[drop.name.bucket] += drop.blob_bytes
        await self._unlink([drop.blob for drop in gone], total)
        return Purged(len(gone), total.total(), len(drops) - len(gone))

    async def _drop(self, entry: Entry) -> bool:
        """A repair's."""
        if entry.blob is None:
            return False
        try:
            await self._catalogue.drop_blob(entry.name, entry.generation, entry.blob, by=REPAIR, at=self._clock.now())
        except StaleGeneration:
            return False
        return True

    async def _unlink(self, blobs: Sequence[str], total: Mapping[str, int]) -> None:
        """``total``: bytes they occupy, by bucket."""
        try:
            await self._disk.remove(blobs)
        except DiskError as error:  # the rows are right; the scrub finds the files
            event(log, logging.WARNING, "blobs not removed", count=len(blobs), error=error)
        for bucket, size in total.items():
            self._space.release(size, bucket)


def _line(drop: Drop, row: Entry | None, at: float) -> Event:
    return Event(
        at, EventKind.PURGE, drop.name, owner=(row and row.owner) or "", folder=(row and row.folder) or "",
        size=row.size if row else 0, by=drop.by,
    )  # fmt: skip
