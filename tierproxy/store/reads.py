"""Read counts on their way to the catalogue: in memory, flushed in batches. A crash loses one interval of them."""

from __future__ import annotations

import asyncio
import contextlib

from tierproxy.errors import DiskError
from tierproxy.model import ObjectName, Touch
from tierproxy.ports import Catalogue, Clock


class ReadCounts:
    """``note`` costs a dictionary look-up; ``run`` writes the batches."""

    def __init__(self, catalogue: Catalogue, clock: Clock, interval: float = 1.0) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._interval = interval
        self._pending: dict[ObjectName, tuple[int, float]] = {}

    def note(self, name: ObjectName) -> None:
        """loop. One read of ``name``, now."""
        count = self._pending.get(name)
        self._pending[name] = ((count[0] if count else 0) + 1, self._clock.now())

    async def flush(self) -> None:
        """Write what is pending; a failing catalogue costs counts, never a read."""
        pending, self._pending = self._pending, {}
        if pending:
            with contextlib.suppress(DiskError):
                await self._catalogue.touch([Touch(name, reads, at) for name, (reads, at) in pending.items()])

    async def run(self) -> None:
        """Flush every interval until cancelled."""
        while True:
            await self._clock.sleep(self._interval)
            await asyncio.shield(self.flush())
