"""Nobody waits for ever for a catalogue whose disk hangs.

A change that is on its way into the catalogue cannot be taken back, and who cleans up after it must know how it ended:
so its task, which is the node's, waits as long as it takes. Who asked for it need not: the answer is "try again", and
what became of the change is found out by trying.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tierproxy.errors import DiskHangs
from tierproxy.logs import event
from tierproxy.ports import Clock, Timer

T = TypeVar("T")
log = logging.getLogger(__name__)
LOOKS = 8  #: in the time of the patience


class CommitWatch:
    """Of changes by ``made``. While the oldest of them takes longer than ``patience`` seconds, new ones are refused,
    and ``let_go`` is called at each look: whoever waits for the outcome of a change is to be told what it is given.
    One timer for all, and only while a change is under way."""

    def __init__(
        self, clock: Clock, patience: Callable[[], float], let_go: Callable[[Callable[[], Exception]], None]
    ) -> None:  # fmt: skip
        self._clock = clock
        self._patience = patience
        self._let_go = let_go
        self._under_way: dict[object, float] = {}  # oldest first
        self._timer: Timer | None = None
        self.hung = False

    def __repr__(self) -> str:
        return f"<CommitWatch {len(self._under_way)} under way{', hung' if self.hung else ''}>"

    async def made(self, change: Coroutine[Any, Any, T]) -> T:
        """What ``change`` comes to. Raises DiskHangs, without having begun it, while another one hangs."""
        if self.hung:
            change.close()
            raise _hangs()
        mark = object()
        self._under_way[mark] = self._clock.monotonic()
        if self._timer is None:
            self._look_later()
        try:
            return await change
        finally:
            del self._under_way[mark]

    def _look_later(self) -> None:
        self._timer = self._clock.call_later(self._patience() / LOOKS, self._look)

    def _look(self) -> None:
        self._timer = None
        oldest = next(iter(self._under_way.values()), None)
        if oldest is not None:
            self._look_later()
        before, self.hung = self.hung, oldest is not None and self._clock.monotonic() - oldest > self._patience()
        if self.hung:
            self._let_go(_hangs)
        if self.hung != before:
            level, phrase = (logging.ERROR, "catalogue hangs") if self.hung else (logging.INFO, "catalogue goes on")
            event(log, level, phrase, changes=len(self._under_way))


def _hangs() -> DiskHangs:
    return DiskHangs("the catalogue's disk hangs: whether the change is made will be seen")
