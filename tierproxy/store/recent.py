"""Which objects changed since somebody asked alt about them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice

from tierproxy.model import ObjectName

NAMES = 30_000
"""Some 300 bytes each. An answer that half a minute at 1,000 changes a second overtook is not written down."""


class RecentChanges:
    """An answer of alt is about the moment it was given, and it arrives later. Whoever asks takes ``now`` first; if the
    object was changed ``since``, the answer must not be written down: it may be about the content that was replaced, or
    about an object that has been deleted.

    Bounded: of names that fell out only the largest tick is kept, so for them ``since`` errs on the side of "changed".
    """

    def __init__(self, names: int = NAMES) -> None:
        self._names = names
        self._ticks: OrderedDict[ObjectName, int] = OrderedDict()
        self._tick = 0
        self._floor = 0

    def __repr__(self) -> str:
        return f"<RecentChanges {len(self._ticks)} names, tick {self._tick}>"

    def now(self) -> int:
        return self._tick

    def note(self, name: ObjectName) -> None:
        """loop. ``name`` has changed."""
        self._tick += 1
        self._ticks[name] = self._tick
        self._ticks.move_to_end(name)
        if len(self._ticks) > self._names:
            _, self._floor = self._ticks.popitem(last=False)

    def __contains__(self, name: ObjectName) -> bool:
        """loop. ``name`` is known to have changed since the start. Of names that fell out it is not known any more."""
        return name in self._ticks

    def newest(self, limit: int) -> Iterator[ObjectName]:
        """loop. The names that changed last, at most ``limit``."""
        return islice(reversed(self._ticks), limit)

    def since(self, name: ObjectName, asked: int) -> bool:
        """loop. ``name`` changed after ``asked``, or may have."""
        return self._ticks.get(name, self._floor) > asked
