"""Time that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

EPOCH = 1_700_000_000.0
TURNS = 25  #: turns of the loop given to tasks after each wake-up: enough for a chain of awaits that do no real I/O

Waits = dict[int, int]


class VirtualClock:
    """A clock (``tierproxy.ports.Clock``) whose seconds pass only in ``advance``.

    ``autojump``: real seconds. When every task of the loop has waited for the same thing that long, time jumps to the
    next sleeper by itself. Real thread pools and sockets make tasks look idle while they work, so it is off by default;
    use ``hold`` around real work that may take longer than ``autojump``.
    """

    def __init__(self, start: float = EPOCH, *, autojump: float | None = None) -> None:
        self._wall = start
        self._monotonic = 0.0
        self._autojump = autojump
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._probe: asyncio.TimerHandle | None = None
        self._holds = 0

    def __repr__(self) -> str:
        return f"<VirtualClock at +{self._monotonic:g} s, {self.sleeping} sleeping>"

    def now(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    @property
    def sleeping(self) -> int:
        """How many tasks are in ``sleep``, and calls that are to come."""
        return sum(not sleeper.done() for _, _, sleeper in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Until the clock has been advanced by ``seconds``; zero and less give other tasks one turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._sleeper(seconds)

    def call_later(self, seconds: float, call: Callable[[], object]) -> asyncio.Future[None]:
        sleeper = self._sleeper(seconds)
        sleeper.add_done_callback(lambda done: None if done.cancelled() else call())
        return sleeper

    def _sleeper(self, seconds: float) -> asyncio.Future[None]:
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), sleeper))
        self._watch()
        return sleeper

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass: sleepers wake at their own times, in order, and tasks run in between."""
        target = self._monotonic + seconds
        await self.settle()
        while (deadline := self._next_deadline()) is not None and deadline <= target:
            self._wake(deadline)
            await self.settle()
        self._move_to(target)

    async def settle(self) -> None:
        """Let every task run that can, without time passing. Work in real threads is not waited for."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back when negative, as an operator or NTP does; nobody wakes."""
        self._wall += seconds

    @contextmanager
    def hold(self) -> Iterator[None]:
        """No automatic jump inside."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    # ------------------------------------------------------------ moving

    def _next_deadline(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake(self, deadline: float) -> None:
        """Move to ``deadline`` and wake the one sleeper first in line for it."""
        self._move_to(deadline)
        _, _, sleeper = heapq.heappop(self._sleepers)
        sleeper.set_result(None)

    def _move_to(self, moment: float) -> None:
        self._wall += max(0.0, moment - self._monotonic)
        self._monotonic = max(self._monotonic, moment)

    # ------------------------------------------------------------ automatic jumps

    def _watch(self) -> None:
        if self._autojump is not None and self._probe is None:
            self._arm(None)

    def _arm(self, before: Waits | None) -> None:
        assert self._autojump is not None
        self._probe = asyncio.get_running_loop().call_later(self._autojump, self._look, before)

    def _look(self, before: Waits | None) -> None:
        """A jump needs two looks, ``autojump`` apart, that find every task waiting for the same thing."""
        self._probe = None
        deadline = self._next_deadline()
        if deadline is None:
            return
        waits = _waits()
        if self._holds == 0 and waits is not None and waits == before:
            self._wake(deadline)
            waits = None
        self._arm(waits)


def _waits() -> Waits | None:
    """What each task of the running loop waits for; None when one of them is about to run."""
    waits = {id(task): id(getattr(task, "_fut_waiter", None)) for task in asyncio.all_tasks()}
    return None if id(None) in waits.values() else waits
