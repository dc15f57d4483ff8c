"""The background walk over all blobs: damage is found before a reader finds it, leftovers of crashes go.

Two directions. Rows -> files: every blob a row names is read and verified; a bad one of a CLEAN entry is forgotten
(the next read fills it again), a bad one of a DIRTY entry is an alarm and stays where it is. Files -> rows: files no
row names are leftovers of a crash between two steps and are removed, which needs care, because a write publishes its
file before it commits its row:

- A file is looked at twice, ``grace`` seconds apart; what gets its row in between was in flight.
- It is then judged by the generation in its trailer, not by any clock. Every write of this process has a generation of
  at least ``first_generation``; such a file is never touched, however long its commit takes.
- A generation after the last commit of an earlier process is an alarm: a write that a crash cut off looks like one that
  was acknowledged before the catalogue was restored from a backup. Only an operator, or alt, can tell.
- A fill carries the generation of the row it serves, which may be older. Should one hang between publish and commit for
  longer than ``grace``, its file goes: nothing is lost, alt has those bytes, and the next read fills again.
- Parts of multipart uploads carry no generation: only those that were there before this process staged anything
  (``prepare``) can go.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from tierproxy.config.sections import ScrubSection
from tierproxy.errors import BlobCorrupt, BlobMissing, DiskError, TierproxyError
from tierproxy.logs import event
from tierproxy.model import BlobLabel, Entry, State
from tierproxy.ports import Alarms, Catalogue, Clock, DiskTier
from tierproxy.store.evidence import Fate, fate, plausible, sound
from tierproxy.store.walks import blob_rows

GRACE = 900.0  #: seconds between the two looks at a file without a row
SUSPECTS = 10_000  #: files without a row that one walk takes on; the rest waits for the next walk
NAP = 0.05  #: seconds; shorter sleeps are saved up
ALARM = "files do not belong to the catalogue"
NEWER = "files newer than the catalogue"

log = logging.getLogger(__name__)


class Mender(Protocol):
    """What the scrub needs of the store. ``tierproxy.store.shelf.Shelf`` is one."""

    async def damaged(self, entry: Entry, error: DiskError) -> bool:
        """``entry``'s blob cannot be read. CLEAN: the row forgets it, the file goes to quarantine, True. Else alarm."""
        ...


@dataclass(slots=True)
class ScrubCounters:
    """Since the start of the node."""

    walks: int = 0  #: finished
    blobs: int = 0  #: verified, sound or not
    bytes: int = 0  #: what they occupy
    corrupt: int = 0  #: rows whose blob was not what was written
    missing: int = 0  #: rows whose blob was not there
    repaired: int = 0  #: of those, rows that forgot it
    unreadable: int = 0  #: blobs the disk refused to read (EIO): left alone
    orphans: int = 0  #: blob files without a row, removed
    quarantined: int = 0  #: damaged files without a row, moved away
    kept: int = 0  #: files without a row that may be wanted, left alone
    newer: int = 0  #: of those, files the catalogue has never heard of
    parts: int = 0  #: part files without a row, removed


@dataclass(frozen=True, slots=True)
class ScrubProgress:
    """Where the walk is. ``phase``: ``idle``, ``rows``, ``files`` or ``paused``. ``after`` is the last blob verified,
    in the order of their names, which is that of their age. ``done`` and ``total`` count the rows of this walk."""

    phase: str
    after: str
    done: int
    total: int


class Pace:
    """Spreads ``spend``-ed bytes over time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paid_until = 0.0

    async def spend(self, amount: int, per_second: int) -> None:
        now = self._clock.monotonic()
        self._paid_until = max(self._paid_until, now) + amount / max(1, per_second)
        if self._paid_until - now > NAP:
            await self._clock.sleep(self._paid_until - now)


class Scrub:
    """Owns one task. Not in the way of reads: ``DiskTier.verify`` reads at low priority, the speed is limited, and
    ``pause`` stops it between two blobs until ``resume``."""

    def __init__(
        self, *, catalogue: Catalogue, disk: DiskTier, mender: Mender, clock: Clock, alarms: Alarms,
        settings: ScrubSection, first_generation: int, grace: float = GRACE, after: str = "",
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._disk = disk
        self._mender = mender
        self._clock = clock
        self._alarms = alarms
        self._settings = settings
        self._first_generation = first_generation
        self._grace = grace
        self._pace = Pace(clock)
        self._going = asyncio.Event()
        self._going.set()
        self._held_by: set[str] = set()
        self._old_parts: set[str] = set()
        self._phase = "idle"
        self._after = after
        self._done = 0
        self._task: asyncio.Task[None] | None = None
        self.counters = ScrubCounters()

    def __repr__(self) -> str:
        return f"<Scrub {self.progress.phase}, {self._done} rows, {self.counters.repaired} repaired>"

    @property
    def progress(self) -> ScrubProgress:
        phase = self._phase if self._going.is_set() else "paused"
        return ScrubProgress(phase, self._after, self._done, self._catalogue.totals().blobs)

    def reload(self, settings: ScrubSection) -> None:
        self._settings = settings

    async def prepare(self) -> None:
        """Before anything is staged: note the part files that are there and have no row. Raises DiskError."""
        self._old_parts = set(await self._disk.scan_parts()) - self._catalogue.part_files()

    def start(self) -> None:
        """loop. Walk now and then every ``interval``."""
        self._task = asyncio.get_running_loop().create_task(self._forever(), name="scrub")

    async def stop(self) -> None:
        """At once. A repair that is under way is finished by the store."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def pause(self, by: str = "") -> None:
        """loop. Stop before the next blob, until all who said so say ``resume``."""
        self._held_by.add(by)
        self._going.clear()

    def resume(self, by: str = "") -> None:
        """loop."""
        self._held_by.discard(by)
        if not self._held_by:
            self._going.set()

    async def walk(self) -> None:
        """One walk in both directions, rows first; a walk that was broken off goes on where it was.

        Raises DiskError when the catalogue or the directory itself cannot be read.
        """
        try:
            self._phase = "rows"
            await self._walk_rows()
            self._phase = "files"
            await self._walk_parts()
            await self._walk_files()
            self.counters.walks += 1
        finally:
            self._phase = "idle"

    async def _forever(self) -> None:
        while True:
            if self._settings.enabled:
                try:
                    await self.walk()
                    event(
                        log, logging.INFO, "scrub finished", blobs=self.counters.blobs, repaired=self.counters.repaired
                    )
                except TierproxyError as error:
                    event(log, logging.WARNING, "scrub broken off", error=error)
            await self._clock.sleep(self._settings.interval)

    # ------------------------------------------------------------ rows -> files

    async def _walk_rows(self) -> None:
        async for page in blob_rows(self._catalogue, self._after):
            for entry in page:
                await self._going.wait()
                await self._verify(entry)
                self._after = entry.blob or ""
                self._done += 1
        self._after, self._done = "", 0

    async def _verify(self, entry: Entry) -> None:
        self.counters.blobs += 1
        self.counters.bytes += entry.blob_bytes
        try:
            await sound(self._disk, entry)
        except (BlobMissing, BlobCorrupt) as error:
            await self._mend(entry, error)
        except DiskError as error:  # a disk that fails to read may be well again later; the bytes may still be there
            self.counters.unreadable += 1
            event(log, logging.WARNING, "blob not readable", name=entry.name, blob=entry.blob, error=error)
        await self._pace.spend(entry.blob_bytes, self._settings.bytes_per_second)

    async def _mend(self, entry: Entry, error: DiskError) -> None:
        """Look again first: a purge or an overwrite may have taken the file while it was being read."""
        row = self._catalogue.find(entry.name)
        if row is None or row.blob != entry.blob or row.state is State.SUSPECT:
            return
        self.counters.missing += isinstance(error, BlobMissing)
        self.counters.corrupt += isinstance(error, BlobCorrupt)
        try:
            self.counters.repaired += await self._mender.damaged(row, error)
        except DiskError as failure:  # one file that cannot be moved must not end the walk over all others
            event(log, logging.WARNING, "repair failed", name=entry.name, blob=entry.blob, error=failure)

    # ------------------------------------------------------------ files -> rows

    async def _walk_parts(self) -> None:
        orphans = sorted(self._old_parts - self._catalogue.part_files())
        await self._disk.remove_parts(orphans)
        self._old_parts = set()
        self.counters.parts += len(orphans)

    async def _walk_files(self) -> None:
        known, unknown, suspects = await self._counted()
        if not plausible(known, unknown):  # so it looks while a purge of nearly everything is under way, too
            await self._clock.sleep(self._grace)
            known, unknown, suspects = await self._counted()
        if not plausible(known, unknown):
            self._alarms.set(
                ALARM, "disk", with_row=known, without_row=unknown, hint="run `tierproxy catalogue rebuild`"
            )
            return
        self._alarms.clear(ALARM, "disk")
        before = self.counters.newer
        if suspects:
            await self._clock.sleep(self._grace)
            await self._judge_all(await self._without_row(suspects))
        self._tell_of_newer(self.counters.newer - before)

    async def _counted(self) -> tuple[int, int, list[str]]:
        """Files with a row, files without one, and the first of the latter."""
        known = unknown = 0
        suspects: list[str] = []
        async for names in self._disk.scan():
            await self._going.wait()
            without = await self._without_row(names)
            known += len(names) - len(without)
            unknown += len(without)
            suspects += without[: SUSPECTS - len(suspects)]
        return known, unknown, suspects

    def _tell_of_newer(self, found: int) -> None:
        if not found:
            self._alarms.clear(NEWER, "disk")
            return
        hint = (
            "writes a crash cut off, or acknowledged ones if the catalogue was restored from a backup: stop the node "
            "and run `tierproxy check --alt --repair`, which reads them back"
        )
        self._alarms.set(NEWER, "disk", files=found, hint=hint)

    async def _without_row(self, names: list[str]) -> list[str]:
        known = await self._catalogue.blobs_known(names)
        return [name for name in names if name not in known]

    async def _judge_all(self, orphans: list[str]) -> None:
        for blob in orphans:
            await self._going.wait()
            try:
                await self._judge(blob)
            except DiskError as error:
                event(log, logging.WARNING, "file without a row left alone", blob=blob, error=error)

    async def _judge(self, blob: str) -> None:
        label, size = await self._label(blob)
        row = self._catalogue.find(label.name) if label is not None else None
        verdict = fate(label, row, self._catalogue, self._first_generation)
        if verdict is Fate.REMOVE:
            await self._disk.remove([blob])
            self.counters.orphans += 1
        elif verdict is Fate.QUARANTINE:
            await self._disk.quarantine(blob)
            self.counters.quarantined += 1
        else:
            self.counters.kept += 1
            self.counters.newer += label is not None and self._catalogue.unaccounted(label.generation)
        event(log, logging.INFO, "file without a row", blob=blob, name=label and label.name, verdict=verdict.value)
        await self._pace.spend(size, self._settings.bytes_per_second)

    async def _label(self, blob: str) -> tuple[BlobLabel | None, int]:
        try:
            label, sealed = await self._disk.verify(blob)
        except BlobCorrupt:
            return None, 0
        return label, sealed.footprint
