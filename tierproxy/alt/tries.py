"""Time limits, errors and second tries of requests to alt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tierproxy.alt.answers import FOREIGN, error_of
from tierproxy.alt.budget import RetryBudget
from tierproxy.config.sections import AltSection
from tierproxy.errors import AltDeferred, AltError, AltUnavailable, AltUncertain
from tierproxy.model import ObjectName
from tierproxy.ports import UNHEARD, Clock

T = TypeVar("T")


class Tries:
    """As ``[alt]`` says, and as ``budget`` allows. ``time_limit``: seconds after which every operation has ended."""

    def __init__(self, section: AltSection, clock: Clock, budget: RetryBudget | None = None) -> None:
        self._section = section
        self._clock = clock
        self.budget = budget or RetryBudget(section.retry_budget)
        self.time_limit = float(section.retry_timeout + section.request_timeout + section.connect_timeout)

    async def read(self, subject: object, call: Awaitable[T]) -> T:
        """One try. Raises AltError, which names ``subject``."""
        try:
            async with asyncio.timeout(self.time_limit):
                return await call
        except FOREIGN as error:
            raise error_of(error, subject, change=False) from error

    async def repeat(self, name: ObjectName, attempt: Callable[[], Awaitable[T]]) -> T:
        """A read, tried until ``retry_timeout``. Raises AltError."""
        return await self._until(name, attempt, change=False, repeatable=True)

    async def change(self, name: ObjectName, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """Try until ``retry_timeout``. Once a try's outcome is unknown, only success is certain. Raises AltError."""
        return await self._until(name, attempt, change=True, repeatable=repeatable)

    async def pause(self, tries: int) -> None:
        """Before the try after ``tries``: exponential, with jitter."""
        await self._clock.sleep(min(2.0, 0.1 * 2**tries) * random.uniform(0.5, 1))

    async def _until(
        self, name: ObjectName, attempt: Callable[[], Awaitable[T]], *, change: bool, repeatable: bool
    ) -> T:  # fmt: skip
        started, uncertain, tries = self._clock.monotonic(), False, 0
        self.budget.first(name.bucket)
        while True:
            try:
                async with asyncio.timeout(self.time_limit - (self._clock.monotonic() - started)):
                    return await attempt()
            except FOREIGN as error:
                failure = error_of(error, name, change=change)
                if isinstance(failure, AltUncertain):
                    uncertain = True
                    UNHEARD.get()()
                tries += 1
                again = (repeatable or not uncertain) and _cured(failure, change=change)
                if not (again and self._again(name.bucket, tries, started)):
                    raise (AltUncertain(str(failure)) if uncertain else failure) from error
            await self.pause(tries)

    def _again(self, bucket: str, tries: int, started: float) -> bool:
        in_time = self._clock.monotonic() - started < self._section.retry_timeout
        return in_time and tries <= self._section.max_retries and self.budget.second(bucket)


def _cured(failure: AltError, *, change: bool) -> bool:
    """Another try may cure it. A read that met no trouble of the server's would be answered the same."""
    if isinstance(failure, AltDeferred):
        return change
    return isinstance(failure, (AltUnavailable, AltUncertain))
