"""Files the catalogue has never heard of: writes a crash cut off, or acknowledged ones it lost when it was restored
from a backup.

Alt tells what to do with each. It has the same bytes: the row says so, CLEAN. It has nothing, or something older: the
file is the object, DIRTY, to be uploaded. It, or the row, has something newer: the file is put aside, not removed; it
may still be what somebody wants. An object that was deleted since the crash comes back, as in a rebuild: acknowledged
mail is worth more than a delete repeated.
"""

from __future__ import annotations

from dataclasses import replace

from tierproxy.errors import AltMissing
from tierproxy.model import AltObject, BlobLabel, Entry, Job, JobKind, SealedBlob, State
from tierproxy.ports import AltTier, Catalogue, Clock, DiskTier
from tierproxy.store.evidence import same_etag
from tierproxy.store.rebuild import GRANULARITY, adopted


class Strays:
    """Used offline: nothing else changes the catalogue meanwhile."""

    def __init__(self, catalogue: Catalogue, disk: DiskTier, clock: Clock) -> None:
        self._catalogue = catalogue
        self._disk = disk
        self._clock = clock

    async def settle(self, alt: AltTier, label: BlobLabel, sealed: SealedBlob) -> None:
        """Make a row of a verified file, or put it aside. Raises AltError, DiskError: then nothing was decided."""
        entry = adopted(label, sealed, at=self._clock.now())
        found = await _head(alt, entry)
        row = self._catalogue.find(entry.name)
        if _replaced(row, entry):
            await self._disk.quarantine(sealed.name)
        elif found is not None and same_etag(found, label, sealed):
            await self._adopt(replace(entry, state=State.CLEAN, alt_etag=found.etag), row)
        elif found is not None and found.modified_at + GRANULARITY > entry.written_at:
            await self._disk.quarantine(sealed.name)
        else:
            await self._adopt(entry, row)

    async def _adopt(self, entry: Entry, row: Entry | None) -> None:
        """The file's trailer names its generation, so the row must, too, even where it is the smaller one."""
        if row is not None and row.generation > entry.generation:
            await self._catalogue.forget(row.name, row.generation)
        job = put_job(entry, self._clock.now()) if entry.state is State.DIRTY else None
        await self._catalogue.publish(entry, job=job)
        if row is not None and row.blob is not None:
            await self._disk.remove([row.blob])


def put_job(entry: Entry, now: float) -> Job:
    """The upload of ``entry``, due at once."""
    return Job(entry.name, entry.generation, JobKind.PUT, entry.size, queued_at=now, next_try_at=now)


async def _head(alt: AltTier, entry: Entry) -> AltObject | None:
    try:
        return await alt.head(entry.name)
    except AltMissing:
        return None


def _replaced(row: Entry | None, entry: Entry) -> bool:
    """The row is a change that was made here after the file was written; not just news of what alt has."""
    if row is None or (row.state is State.CLEAN and row.blob is None):
        return False
    return row.written_at > entry.written_at
