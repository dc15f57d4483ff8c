"""What counts need in the background: rows classified by the naming patterns in force, old bins removed."""

from __future__ import annotations

import logging

from tierproxy.config.sections import CountingSection
from tierproxy.logs import event
from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue, Clock
from tierproxy.traffic import DAY

log = logging.getLogger(__name__)
ROWS = 2000
"""Classified in one change of the catalogue, so that writes behind it wait for some tens of milliseconds at most."""
PAUSE = 0.05
PERIOD = 3600.0


class Bookkeeping:
    """``classify`` ends when all rows are done; ``prune`` goes on until cancelled. Both may be cancelled anywhere and
    begin again. ``fingerprint``: of the patterns that new rows are classified by."""

    def __init__(self, catalogue: Catalogue, clock: Clock, fingerprint: int, settings: CountingSection) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._fingerprint = fingerprint
        self._settings = settings

    def reload(self, settings: CountingSection) -> None:
        self._settings = settings

    async def classify(self) -> None:
        """Owner and folder of all rows again, if that was last done by other patterns. Raises DiskError."""
        if self._catalogue.named_by() == self._fingerprint:
            return
        after: ObjectName | None = None
        while (after := await self._catalogue.reclassify(after, ROWS)) is not None:
            await self._clock.sleep(PAUSE)
        await self._catalogue.name_by(self._fingerprint)
        event(log, logging.INFO, "owners and folders classified")

    async def prune(self) -> None:
        """Once an hour remove what ``[counting]`` does not keep. Raises DiskError."""
        while True:
            await self._clock.sleep(PERIOD)
            now = self._clock.now()
            day, minute = int(now // DAY) - self._settings.keep_days, int(now - self._settings.keep_minutes)
            while await self._catalogue.prune_counts(day, minute):
                await self._clock.sleep(PAUSE)
