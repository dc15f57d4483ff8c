"""What is done before a disk that was down is trusted again: names and sizes against the catalogue, then strays.

While it was down nothing was written to it and nothing removed from it. So what may be wrong is: files of objects that
were overwritten or deleted meanwhile (no row names them, so nobody is ever shown them, but a rebuild of the catalogue
would read them back), files that a repair of the file system took away or cut, and whatever a call that hung has left.
Contents are not read here: each read verifies what it returns, and the scrub reads everything in its own time.

What was to be removed meanwhile is known by name and goes first: after a night in which most of the mail was deleted
there are more files without a row than with one, which is otherwise the sign of another catalogue's disk.

A file without a row is in use while somebody is still at work on its object: a change holds the name's order until its
commit, a copy holds a lease. Of all others the judgement is the scrub's (``evidence.fate``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice

from tierproxy.errors import BlobCorrupt, BlobMissing, DiskError
from tierproxy.logs import event
from tierproxy.model import BlobLabel, Entry, ObjectName, State
from tierproxy.ports import Catalogue, DiskTier
from tierproxy.store.evidence import Fate, fate, plausible
from tierproxy.store.leases import Leases
from tierproxy.store.order import KeyOrder
from tierproxy.store.scrub import SUSPECTS, Mender
from tierproxy.store.walks import blob_rows

log = logging.getLogger(__name__)
BATCH = 500  #: files removed at once


@dataclass(slots=True)
class Looked:
    """What the last look-through, or the one under way, has found."""

    rows: int = 0  #: rows with a blob
    gone: int = 0  #: whose file was not there
    cut: int = 0  #: whose file had another size
    strays: int = 0  #: files without a row, removed
    put_aside: int = 0  #: files without a row, damaged


class LookThrough:
    """``disk``: the tier itself, which a guard may keep others from. ``left``: what was to be removed and could not be.
    The whole of any other file without a row is read, to know what it was; nothing else is."""

    def __init__(
        self, *, catalogue: Catalogue, disk: DiskTier, mender: Mender, order: KeyOrder, leases: Leases, left: set[str],
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._disk = disk
        self._mender = mender
        self._order = order
        self._leases = leases
        self._left = left
        self.found = Looked()

    async def run(self) -> None:
        """Raises DiskUnavailable when the disk, or the catalogue, fails under it: begin again later."""
        self.found = found = Looked()
        await self._disk.tidy()
        await self._remove_left()
        async for page in blob_rows(self._catalogue):
            await self._compare(page)
        await self._look_for_strays()
        event(
            log, logging.INFO, "disk looked through", rows=found.rows, gone=found.gone, cut=found.cut,
            strays=found.strays, put_aside=found.put_aside,
        )  # fmt: skip

    async def _remove_left(self) -> None:
        while names := list(islice(self._left, BATCH)):
            known = await self._catalogue.blobs_known(names)
            going = [name for name in names if name not in known]
            await self._disk.remove(going)
            self._left.difference_update(names)
            self.found.strays += len(going)

    async def _compare(self, page: list[Entry]) -> None:
        sizes = await self._disk.footprints([entry.blob or "" for entry in page])
        self.found.rows += len(page)
        for entry, size in zip(page, sizes, strict=True):
            if size is None:
                await self._mend(entry, BlobMissing("its file is gone"))
            elif size != entry.blob_bytes:
                await self._mend(entry, BlobCorrupt(f"its file occupies {size} bytes, not {entry.blob_bytes}"))

    async def _mend(self, entry: Entry, error: DiskError) -> None:
        """Look again first: the row may have changed since its page was read."""
        row = self._catalogue.find(entry.name)
        if row is None or row.blob != entry.blob or row.state is State.SUSPECT:
            return
        self.found.gone += isinstance(error, BlobMissing)
        self.found.cut += isinstance(error, BlobCorrupt)
        await self._mender.damaged(row, error)

    async def _look_for_strays(self) -> None:
        known, strays = 0, list[str]()
        async for names in self._disk.scan():
            rows = await self._catalogue.blobs_known(names)
            known += len(rows)
            strays += [name for name in names if name not in rows]
        if not plausible(known, len(strays)):
            return  # the scrub's next walk raises the alarm
        for blob in strays[:SUSPECTS]:
            await self._judge(blob)

    async def _judge(self, blob: str) -> None:
        try:
            label = await self._label(blob)
        except BlobMissing:
            return  # it went meanwhile, or lies where nobody looks for it
        if label is not None and self._in_use(label.name):
            return
        if blob in await self._catalogue.blobs_known([blob]):
            return
        row = self._catalogue.find(label.name) if label is not None else None
        ceiling = self._catalogue.next_generation()  # a file of a generation to come is none of ours
        verdict = fate(label, row, self._catalogue, ceiling)
        if verdict is Fate.REMOVE:
            await self._disk.remove([blob])
            self.found.strays += 1
        elif verdict is Fate.QUARANTINE:
            await self._disk.quarantine(blob)
            self.found.put_aside += 1
        event(log, logging.INFO, "file without a row", blob=blob, name=label and label.name, verdict=verdict.value)

    def _in_use(self, name: ObjectName) -> bool:
        """Somebody is changing or filling it."""
        return self._order.held(name) or self._leases.held(name)

    async def _label(self, blob: str) -> BlobLabel | None:
        try:
            label, _ = await self._disk.verify(blob)
        except BlobCorrupt:
            return None
        return label
