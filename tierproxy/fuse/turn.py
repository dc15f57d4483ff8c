"""Coroutines that mostly finish without waiting: they are run where they are made, and become a task only if they wait.

A task costs two turns of the event loop; a file system answers most requests from memory. (Python 3.12 calls the same
an eager task; this is the documented way for task implementations of one's own: asyncio, "Extending", task lifetime.)
"""

from __future__ import annotations

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")


class Waiting(NamedTuple):
    """A coroutine that waits for ``future`` (None: for its next turn). ``standin`` is who it believes to be."""

    coroutine: Coroutine[Any, Any, Any]
    future: Any
    standin: Standin
    context: Context


class Standin:
    """``asyncio.current_task()`` of a first step: what asks it (``asyncio.timeout``, task groups) may keep it, so it
    goes on to speak for the task that the rest becomes. Who cancels before that has begun (a time-out of 0 seconds) is
    heard when it does: a task that is cancelled before its first step would never come to its ``finally``."""

    __slots__ = ("_asked", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._asked = 0

    def begin(self, task: asyncio.Task[Any] | None) -> None:
        """``task`` runs the rest from now on."""
        self._task = task
        if task:
            for _ in range(self._asked):
                task.cancel()

    def cancel(self, msg: Any = None) -> bool:
        if self._task is None:
            self._asked += 1
            return True
        return self._task.cancel(msg)

    def cancelling(self) -> int:
        return self._task.cancelling() if self._task else self._asked

    def uncancel(self) -> int:
        if self._task:
            return self._task.uncancel()
        self._asked = max(0, self._asked - 1)
        return self._asked

    def done(self) -> bool:
        return self._task is not None and self._task.done()


def step(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T], context: Context) -> T | Waiting:
    """Run ``coroutine`` until it ends or waits. Outside of tasks, in the loop's thread. Raises what it raises."""
    standin = Standin()
    _enter_task(loop, cast("asyncio.Task[Any]", standin))
    try:
        future = context.run(coroutine.send, None)
    except StopIteration as done:
        return cast(T, done.value)
    finally:
        _leave_task(loop, cast("asyncio.Task[Any]", standin))
    return Waiting(coroutine, future, standin, context)


@types.coroutine
def rest(waiting: Waiting) -> Generator[Any, Any, Any]:
    """What is left of a coroutine that waits, for a task to await: passes on what the task sends and throws."""
    waiting.standin.begin(asyncio.current_task())
    coroutine, future = waiting.coroutine, waiting.future
    while True:
        try:
            sent = yield future
        except GeneratorExit:
            coroutine.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 -- a cancellation among them: it is the coroutine's to take
            go_on, argument = cast("Callable[[Any], Any]", coroutine.throw), thrown
        else:
            go_on, argument = coroutine.send, sent
        try:
            future = go_on(argument)
        except StopIteration as done:
            return done.value
