"""Work that several callers want at once and that is done once; a caller that is interrupted stops nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Flights:
    """Owner of every such task."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._under_way

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work called ``key``, begun by whoever comes first. Raises what it raises."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = self._begin(work())
            task.add_done_callback(lambda _done: self._under_way.pop(key, None))
        return cast(T, await asyncio.shield(task))

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end even if the caller is interrupted: what it changes is then in one piece."""
        return await asyncio.shield(self._begin(work))

    async def close(self) -> None:
        """Cancel what is left."""
        while self._tasks:
            for task in (tasks := list(self._tasks)):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, whoever waits or not
