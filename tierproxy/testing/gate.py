"""Points at which a test holds tasks and lets them go: orders of events without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


class Gate:
    """A point where tasks wait until the test opens it.

    The code under test calls ``await gate.passage()`` (or is wrapped with ``guard``); the test awaits ``reached`` to
    know that somebody stands there, then says ``open``. ``allow`` lets a number through and stays closed for the rest.
    """

    def __init__(self, *, opened: bool = False) -> None:
        self._opened = opened
        self._arrivals = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._changed = asyncio.Condition()
        self._allowed = 0

    def __repr__(self) -> str:
        return f"<Gate {'open' if self._opened else 'closed'}, {self._arrivals} arrived, {self.waiting} waiting>"

    @property
    def arrivals(self) -> int:
        """How many have come to the gate so far, whether they had to wait or not."""
        return self._arrivals

    @property
    def waiting(self) -> int:
        """How many stand before it now."""
        return sum(not waiter.done() for waiter in self._waiting)

    async def passage(self) -> None:
        """Called by the task that is to be held."""
        self._arrivals += 1
        waiter = self._queue() if not self._admit() else None
        async with self._changed:
            self._changed.notify_all()
        if waiter is not None:
            await waiter

    async def reached(self, times: int = 1) -> None:
        """Until ``times`` tasks have come to the gate."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._arrivals >= times)

    def open(self) -> None:
        """Let everybody through, now and from now on."""
        self._opened = True
        self._release(len(self._waiting))

    def close(self) -> None:
        """Hold whoever comes from now on."""
        self._opened = False
        self._allowed = 0

    def allow(self, number: int = 1) -> None:
        """Let the next ``number`` tasks through, those that wait first."""
        self._allowed += number - self._release(number)

    def guard(self, call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        """``call`` with this gate before it: ``disk.remove = gate.guard(disk.remove)``."""

        async def guarded(*args: object, **kwargs: object) -> T:
            await self.passage()
            return await call(*args, **kwargs)

        return guarded

    def _admit(self) -> bool:
        if self._opened:
            return True
        if self._allowed > 0:
            self._allowed -= 1
            return True
        return False

    def _queue(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        return waiter

    def _release(self, number: int) -> int:
        standing = [waiter for waiter in self._waiting if not waiter.done()]
        for waiter in standing[:number]:
            waiter.set_result(None)
        self._waiting = standing[number:]
        return min(number, len(standing))


class Sequencer:
    """Blocks of several tasks run in the order of their numbers: ``async with step(0):`` here, ``step(1)`` there."""

    def __init__(self) -> None:
        self._next = 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def __call__(self, position: int) -> AsyncIterator[None]:
        """Wait until the blocks 0 to ``position - 1`` are done, then run this one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._next >= position)
        try:
            yield
        finally:
            async with self._changed:
                self._next = max(self._next, position + 1)
                self._changed.notify_all()
