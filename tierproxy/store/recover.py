"""The start of a node on a data directory somebody may have pulled the plug on.

Everything that must be right before the first request is O(what was in flight), never O(objects): staged files and
parts
nobody knows are removed. The journal needs nothing: DIRTY and DELETING rows are the queue's, and it starts with them.
SUSPECT rows are settled in the background (a read settles its own first), those of which alt holds the old content
only when a request of the process before can no longer be on its way; files without rows are the scrub's.
"""

from __future__ import annotations

import logging

from tierproxy.errors import AltError, DiskError, NoSuchKey, TierproxyError
from tierproxy.logs import event
from tierproxy.model import Entry, State
from tierproxy.ports import Catalogue, Clock, DiskTier
from tierproxy.store.buckets import Buckets
from tierproxy.store.lookup import Lookup

log = logging.getLogger(__name__)
RETRY = 5.0
PAGE = 500


class Recovery:
    """``before_serving`` first; ``run`` beside the requests until there is nothing left to settle."""

    def __init__(self, *, disk: DiskTier, catalogue: Catalogue, lookup: Lookup, buckets: Buckets, clock: Clock) -> None:
        self._disk = disk
        self._catalogue = catalogue
        self._lookup = lookup
        self._buckets = buckets
        self._clock = clock

    async def before_serving(self) -> None:
        """Raises DiskUnavailable when the data directory cannot be used."""
        staged = await self._disk.clear_staging()
        known = self._catalogue.part_files()
        orphans = [file for file in await self._disk.scan_parts() if file not in known]
        if orphans:
            await self._disk.remove_parts(orphans)
        totals = self._catalogue.queue_totals()
        event(log, logging.INFO, "recovered", staged_removed=staged, parts_removed=len(orphans), queued=totals.jobs)

    async def run(self) -> None:
        """Settle SUSPECT rows, and find out whether buckets are complete; again while alt does not answer."""
        while True:
            if not self._buckets.checked:
                await self._buckets.complete_where_known()
            if await self._settle_all() and self._buckets.checked:
                return
            await self._clock.sleep(RETRY)

    async def _settle_all(self) -> bool:
        """False: alt does not answer, or may still do what it was asked before the start."""
        after, settled = None, True
        while page := await self._catalogue.entries_in(State.SUSPECT, after, PAGE):
            for entry in page:
                if not await self._settle(entry):
                    return False
                row = self._catalogue.find(entry.name)
                settled = settled and (row is None or row.state is not State.SUSPECT)
            after = page[-1].name
        return settled

    async def _settle(self, entry: Entry) -> bool:
        try:
            await self._lookup.settled(entry.name)
        except NoSuchKey:
            return True
        except AltError as error:
            event(log, logging.WARNING, "cannot settle yet", name=entry.name, error=error)
            return False
        except (DiskError, TierproxyError) as error:  # an alarm was raised; the next one may be settled
            event(log, logging.ERROR, "cannot settle", name=entry.name, error=error)
        return True
