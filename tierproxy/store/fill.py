"""Whether a read that missed leaves a copy: on disk, in memory for those who ask at the same time, or none."""

from __future__ import annotations

from cachetools import LRUCache

from tierproxy.model import ByteRange, Entry, FillPolicy, ObjectName
from tierproxy.ports import Clock
from tierproxy.store.policies import Policies

NAMES = 100_000


class FillChoice:
    """``never``: pass. ``always``: fill. ``second-read``: fill when the object was read before within the window, which
    the row's last_read_at says, or, for objects without a row, a bounded memory of recent misses."""

    def __init__(self, policies: Policies, clock: Clock) -> None:
        self._policies = policies
        self._clock = clock
        self._missed: LRUCache[ObjectName, float] = LRUCache(NAMES)

    def shared(self, entry: Entry, range: ByteRange | None) -> bool:
        """loop. Worth a flight: the whole object would be kept, or is small enough to share from memory."""
        narrow = range is not None and range.length < entry.size
        if narrow and entry.size > self._policies.fill_settings.range_limit:
            return False
        return self.coalesced(entry.size) or self._wanted(entry)

    def fills(self, entry: Entry) -> bool:
        """loop. A copy goes to disk, if there is room. Remembers the miss; ask once per flight."""
        wanted = self._wanted(entry)
        self._missed[entry.name] = self._clock.now()
        return wanted

    def coalesced(self, size: int) -> bool:
        """loop. Small enough to be shared from memory when it is not filled."""
        return size <= self._policies.fill_settings.coalesce_limit

    def _wanted(self, entry: Entry) -> bool:
        settings = self._policies.fill_settings
        policy = self._policies.fill(entry.name)
        if policy is FillPolicy.NEVER or entry.size > settings.max_object:
            return False
        return policy is FillPolicy.ALWAYS or self._read_before(entry, settings.second_read_window)

    def _read_before(self, entry: Entry, window: float) -> bool:
        last = max(entry.last_read_at or 0.0, self._missed.get(entry.name, 0.0))
        return last > 0 and self._clock.now() - last <= window
