"""Every task of the store has an owner: this."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tierproxy.errors import TierproxyError
from tierproxy.logs import event

T = TypeVar("T")
log = logging.getLogger(__name__)


class Tasks:
    """Tasks that belong to the node, not to a request: a client that leaves stops none of them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waiting: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start ``work``; its failure is logged if nobody awaits it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def finish(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """Run ``work`` to its end even if the caller is cancelled meanwhile, or let go; returns its result."""
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.spawn(_told(work, outcome), name)
        self._waiting.add(outcome)
        try:
            return await outcome
        finally:
            self._waiting.discard(outcome)

    def let_go(self, error: Callable[[], Exception]) -> None:
        """loop. Whoever waits in ``finish`` gets an ``error``, and the work goes on."""
        for outcome in self._waiting:
            if not outcome.done():
                outcome.set_exception(error())

    async def drain(self, grace: float) -> int:
        """Wait at most ``grace`` seconds for all tasks, then cancel what is left. Returns how many were cancelled."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        cancelled = 0
        while self._tasks:  # what is cancelled may leave cleaning up to a task of its own
            left = list(self._tasks)
            for task in left:
                task.cancel()
            cancelled += len(left)
            await asyncio.gather(*left, return_exceptions=True)
        return cancelled

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()  # marks it as retrieved: whoever awaits the task gets it as well
        if error is not None and not isinstance(error, TierproxyError):
            event(log, logging.DEBUG, "task failed", task=task.get_name(), error=error)


async def _told(work: Coroutine[Any, Any, T], outcome: asyncio.Future[T]) -> None:
    """``outcome`` is told in the last step of ``work``, not a turn of the loop after it as by ``asyncio.shield``."""
    try:
        result = await work
    except asyncio.CancelledError:
        outcome.cancel()
        raise
    except BaseException as error:
        if outcome.done():  # nobody waits any more
            raise
        outcome.set_exception(error)
    else:
        if not outcome.done():
            outcome.set_result(result)
