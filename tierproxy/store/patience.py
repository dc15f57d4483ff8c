"""How long a change waits for an alt that says nothing, on the clock that was given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tierproxy.errors import AltUncertain
from tierproxy.ports import Clock, Source
from tierproxy.store.health import AltHealth
from tierproxy.store.policies import Policies

T = TypeVar("T")


class AltSilent(AltUncertain):
    """Alt did not answer within ``[write] alt_patience``: what it was sent may still happen."""


class Watched:
    """A source that tells when it was last read from: a large body that is being sent is no silence."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self.read_at = clock.monotonic()

    @property
    def size(self) -> int:
        return self._source.size

    @property
    def content(self) -> bytes | None:
        return self._source.content

    async def read(self, offset: int, length: int) -> bytes:
        self.read_at = self._clock.monotonic()
        return await self._source.read(offset, length)


class Sending(Generic[T]):
    """A request to alt that may outlast the patience of who waits for it. It is its maker's to ``give_up``, or to hand
    over to somebody who waits for ``task``. ``heard``: as ``Patience.within``."""

    def __init__(
        self, patience: Patience, bucket: str, work: Coroutine[Any, Any, T], body: Watched | None,
        heard: Callable[[], float],
    ) -> None:  # fmt: skip
        self._patience = patience
        self._bucket = bucket
        self._body = body
        self._heard = heard
        self.task = asyncio.get_running_loop().create_task(work, name="change of alt")

    @property
    def pending(self) -> bool:
        """Nobody knows yet what comes of it."""
        return not self.task.done()

    async def answer(self) -> T:
        """What it returns or raises. Raises AltSilent when alt says nothing for too long: then it goes on. It is
        cancelled with whoever waits."""
        try:
            silent = await self._patience.over(self.task, self._body)
        except BaseException:
            await self.give_up()
            raise
        if silent:
            raise self._patience.silence(self._bucket, self._heard())
        return self.task.result()

    async def give_up(self) -> None:
        """What was sent may have happened. Idempotent."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Patience:
    """As ``[write] alt_patience`` says. Who has waited in vain tells ``AltHealth``, so that the next need not."""

    def __init__(self, policies: Policies, health: AltHealth, clock: Clock) -> None:
        self._policies = policies
        self._health = health
        self._clock = clock

    def sending(self, bucket: str, source: Source, send: Callable[[Source], Coroutine[Any, Any, T]]) -> Sending[T]:
        """Begin to send ``source``."""
        body = Watched(source, self._clock)
        return Sending(self, bucket, send(body), body, never)

    async def within(self, bucket: str, work: Coroutine[Any, Any, T], heard: Callable[[], float] | None = None) -> T:
        """The result of ``work``, which is cancelled when AltSilent is raised. ``heard``: when (monotonic) alt last
        showed that it takes what ``work`` waits for: that is slow, and no sign that alt is down."""
        sending = Sending(self, bucket, work, None, heard or never)
        try:
            return await sending.answer()
        finally:
            await sending.give_up()

    async def over(self, task: asyncio.Task[Any], body: Watched | None) -> bool:
        """Wait for ``task``; True: patience was over first."""
        begun = self._clock.monotonic()
        while not task.done():
            moved = max(begun, body.read_at) if body is not None else begun
            left = moved + self._policies.alt_patience - self._clock.monotonic()
            if left <= 0:
                return True
            await self._either(task, left)
        return False

    def silence(self, bucket: str, heard: float) -> AltSilent:
        """loop. Somebody has waited in vain."""
        error = AltSilent(f"alt has not answered for {self._policies.alt_patience:g} s")
        began = self._clock.monotonic() - self._policies.alt_patience
        if heard < began:
            self._health.silent(bucket, began, error)
        return error

    async def _either(self, task: asyncio.Task[Any], seconds: float) -> None:
        """Until ``task`` is done or the time is over. A timer, not a task that sleeps: nearly every change is answered
        long before."""
        over = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not over.done():
                over.set_result(None)

        task.add_done_callback(wake)
        timer = self._clock.call_later(seconds, wake)
        try:
            await over
        finally:
            timer.cancel()
            task.remove_done_callback(wake)


def never() -> float:
    """Nothing was heard of alt."""
    return -math.inf
