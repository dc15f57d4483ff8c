"""Long reads of many pages take turns with whoever else wants a processor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tierproxy.clock import cpu_seconds, late_seconds
from tierproxy.errors import DiskUnavailable

T = TypeVar("T")

SHARE = 0.05
"""Of one processor, that such work takes where everybody wants it: what it waited is part of its rest. Readers lose
more than this share: processors that look like two may be halves of one, and share its caches in any case."""
TOLERATED = 0.02
"""Of the work's own time, that it is kept waiting on a machine with nothing to do: 0.002 to 0.013 in pages of 15 ms, up
to half load; 0.1 and more where all processors are wanted."""
DEFERENCE = 80  #: seconds of rest for each second it was kept waiting


class Ending:
    """A wait that can be ended from another thread, for good."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def end(self) -> None:
        """any thread. Who waits, or will, goes home."""
        self._ended.set()

    def wait(self, seconds: float) -> None:
        """Raises DiskUnavailable once ``end`` was called."""
        if self._ended.wait(seconds):
            raise DiskUnavailable("catalogue: closed while somebody read it")


class Turns:
    """Rests between pages, in proportion to how long the page waited for a processor: if it waited, so did others,
    and low priority alone does not spare them. Nobody else's load need be known, and work on a machine with something
    left does not rest. All of it is asked of the calling thread.
    """

    def __init__(
        self,
        wait: Callable[[float], object],
        *,
        spent: Callable[[], float] = cpu_seconds,
        late: Callable[[], float] = late_seconds,
    ) -> None:
        """``wait`` is called after each page, also for no time at all, so that it may raise to end the work."""
        self._wait = wait
        self._spent = spent
        self._late = late

    def each(self, pages: Iterable[T]) -> Iterator[T]:
        """``pages``, with a rest after each. What finding the next one takes is part of it."""
        spent, late = self._spent(), self._late()
        for page in pages:
            yield page
            self._wait(rest(self._spent() - spent, self._late() - late))
            spent, late = self._spent(), self._late()


def rest(spent: float, late: float) -> float:
    """Seconds to stand aside after a page that took ``spent`` of a processor and waited ``late`` for one."""
    kept_waiting = max(late - TOLERATED * spent, 0.0)
    return max(min(DEFERENCE * kept_waiting, spent * (1 / SHARE - 1) - late), 0.0)
