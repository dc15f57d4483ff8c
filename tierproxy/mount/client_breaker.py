"""A node that hangs keeps only the first waiting.

A request that gets no answer within the deadline may be slow by itself: a cold mail from a slow S3. But when nothing
at all was heard meanwhile, on any connection (the change feed has its heart-beat), the node is asked something cheap,
and if it does not answer that either, everybody else is told at once, until it says something again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tierproxy.mount.ports import NodeError, Unsent
from tierproxy.ports import Clock

VERDICT = 1.0
"""Seconds the node has for its first answer to something cheap; requests wait so long to hear whether it is silent."""
PAUSE = 1.0
"""Seconds between two such questions."""
PATIENCE = 5.0
"""Seconds after which such a question is asked again, on another connection: each waits in the backlog of the node."""


class Silent(Unsent):
    """The node says nothing to anybody."""


class Breaker:
    """``probe`` asks the node something cheap: raises Unsent where there is no node to ask, other NodeErrors when it
    does not answer."""

    def __init__(self, clock: Clock, deadline: float, probe: Callable[[], Awaitable[object]]) -> None:
        self._clock = clock
        self._silence = deadline / 2
        self._probe = probe
        self._heard = clock.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._decided = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Breaker {'open' if self.open else 'asking' if self._tasks else 'closed'}>"

    @property
    def open(self) -> bool:
        """The node is silent: nobody need wait for it."""
        return bool(self._tasks) and self._decided.is_set()

    def heard(self) -> None:
        """loop. The node has said something, to whomever."""
        self._heard = self._clock.monotonic()
        if self._tasks:
            self._end()

    def gave_up(self) -> None:
        """loop. A request was not answered within the deadline."""
        if self._tasks or self._clock.monotonic() - self._heard < self._silence:
            return
        loop = asyncio.get_running_loop()
        self._decided.clear()
        self._tasks = [loop.create_task(work, name="mount-breaker") for work in (self._ask(), self._decide())]

    async def admit(self) -> None:
        """Before each request. Raises Silent."""
        if self._tasks:
            await self._decided.wait()
            if self._tasks:
                raise Silent("the node says nothing to anybody")

    async def close(self) -> None:
        tasks = self._tasks
        self._end()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            with suppress(NodeError):
                try:
                    await self._probe()
                except Unsent:  # it is gone, and each who asks will hear that at once
                    self._end()
            await self._clock.sleep(PAUSE)

    async def _decide(self) -> None:
        await self._clock.sleep(VERDICT)
        self._decided.set()

    def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._decided.set()
