"""Reads of bodies that came from the node's files: told to the node, so that they count like all others."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

from tierproxy.logs import event
from tierproxy.model import Entry
from tierproxy.mount.counters import Counters
from tierproxy.mount.ports import Doubt, NodeClient, NodeError, Read, Who
from tierproxy.ports import Clock

log = logging.getLogger(__name__)
PERIOD = 1.0  #: seconds between two reports
AT_ONCE = 1000  #: reads of one report
MOST = 20_000  #: that wait while the node is away; the oldest are lost first
FAREWELL = 3.0  #: seconds the last report may take


class ReadReports:
    """What was read and not yet told. A report whose answer was lost is made again: rather twice than not at all, for
    what nobody was seen to read is purged first. What the process has not told when it is killed is lost, as the
    node's own counts of the last second are."""

    def __init__(self, client: NodeClient, clock: Clock, counters: Counters) -> None:
        self._client = client
        self._clock = clock
        self._counters = counters
        self._waiting: OrderedDict[tuple[str, str, str], Read] = OrderedDict()
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, key: str, entry: Entry, who: Who) -> None:
        """loop. All of ``entry``, which is ``key``'s, was read for ``who``."""
        place = key, entry.etag, who.reason
        before = self._waiting.pop(place, None)
        times = 1 if before is None else before.times + 1
        self._keep(place, Read(
            key, entry.size, who.reason, times, times * entry.size, self._clock.now(), entry.owner, entry.folder
        ))  # fmt: skip
        self._some.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._some.wait()
            await self._clock.sleep(PERIOD)
            await self._tell()
            if not self._waiting:
                self._some.clear()

    async def close(self) -> None:
        """Tell the rest, if the node listens."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._waiting and await self._tell():
                    pass
        self._counters.unreported += sum(read.times for read in self._waiting.values())
        self._waiting.clear()

    async def _tell(self) -> bool:
        """One report; whether it was taken, or can never be."""
        places = [place for place, _ in zip(self._waiting, range(AT_ONCE), strict=False)]
        told = [(place, self._waiting.pop(place)) for place in places]
        try:
            await self._client.report([read for _, read in told])
        except Doubt:
            self._take_back(told)
            return False
        except NodeError as error:  # a node that does not know of reports, or a key that may not read there any more
            event(log, logging.WARNING, "reads not taken by the node", reads=len(told), error=error)
            self._counters.unreported += sum(read.times for _, read in told)
        except BaseException:
            self._take_back(told)
            raise
        else:
            self._counters.reported += sum(read.times for _, read in told)
        return True

    def _take_back(self, told: Sequence[tuple[tuple[str, str, str], Read]]) -> None:
        """In front of what has come since."""
        for place, read in reversed(told):
            later = self._waiting.pop(place, read._replace(times=0, sent=0))
            self._keep(place, later._replace(times=later.times + read.times, sent=later.sent + read.sent))
            self._waiting.move_to_end(place, last=False)

    def _keep(self, place: tuple[str, str, str], read: Read) -> None:
        self._waiting[place] = read
        if len(self._waiting) > MOST:
            _, lost = self._waiting.popitem(last=False)
            self._counters.unreported += lost.times
