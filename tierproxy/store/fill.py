"""Whether a read that missed leaves a copy: on disk, in memory for those who ask at the same time, or none."""

from __future__ import annotations

from enum import IntEnum

from cachetools import LRUCache

from tierproxy.model import ByteRange, Entry, FillPolicy, ObjectName
from tierproxy.ports import Clock
from tierproxy.store.policies import Policies
from tierproxy.traffic import Reason

NAMES = 100_000


class Demand(IntEnum):
    """What those who wait for an object want of its copy; the greatest among them counts."""

    MACHINE = 0  #: promotes nothing: no copy
    PERSON = 1  #: as the fill policy says
    PREFETCH = 2  #: a copy, whatever the policy says


def demand_of(reason: Reason) -> Demand:
    if reason is Reason.PERSON:
        return Demand.PERSON
    return Demand.PREFETCH if reason is Reason.PREFETCH else Demand.MACHINE


class FillChoice:
    """Of people's reads. ``never``: pass. ``always``: fill. ``second-read``: fill when a person read the object before
    within the window, which the row's last_read_at says, or, for objects without a row, a bounded memory of recent
    misses. A machine's read leaves no copy; a prefetch does under every policy. Limits of size hold for all."""

    def __init__(self, policies: Policies, clock: Clock) -> None:
        self._policies = policies
        self._clock = clock
        self._missed: LRUCache[ObjectName, float] = LRUCache(NAMES)

    def shared(self, entry: Entry, range: ByteRange | None, demand: Demand) -> bool:
        """loop. Worth a flight: the whole object would be kept, or is small enough to share from memory."""
        if self.narrow(entry, range):
            return False
        return self.coalesced(entry.size) or self._wanted(entry, demand)

    def narrow(self, entry: Entry, range: ByteRange | None) -> bool:
        """loop. So small a part of so large an object that it is fetched alone."""
        part = range is not None and range.length < entry.size
        return part and entry.size > self._policies.fill_settings.range_limit

    def fills(self, entry: Entry, demand: Demand) -> bool:
        """loop. A copy goes to disk, if there is room. Remembers a person's miss; ask once per flight."""
        wanted = self._wanted(entry, demand)
        if demand is Demand.PERSON:
            self._missed[entry.name] = self._clock.now()
        return wanted

    def coalesced(self, size: int) -> bool:
        """loop. Small enough to be shared from memory when it is not filled."""
        return size <= self._policies.fill_settings.coalesce_limit

    def _wanted(self, entry: Entry, demand: Demand) -> bool:
        settings = self._policies.fill_settings
        if demand is Demand.MACHINE or entry.size > settings.max_object:
            return False
        if demand is Demand.PREFETCH:
            return True
        policy = self._policies.fill(entry.name, entry)
        if policy is FillPolicy.NEVER:
            return False
        return policy is FillPolicy.ALWAYS or self._read_before(entry, settings.second_read_window)

    def _read_before(self, entry: Entry, window: float) -> bool:
        last = max(entry.last_read_at or 0.0, self._missed.get(entry.name, 0.0))
        return last > 0 and self._clock.now() - last <= window
