"""Time limits, errors and second tries of requests to alt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tierproxy.alt.answers import FOREIGN, error_of
from tierproxy.config.sections import AltSection
from tierproxy.errors import AltError, AltUnavailable, AltUncertain
from tierproxy.ports import Clock

T = TypeVar("T")


class Tries:
    """As ``[alt]`` says. ``time_limit``: seconds after which every operation has ended."""

    def __init__(self, section: AltSection, clock: Clock) -> None:
        self._section = section
        self._clock = clock
        self.time_limit = float(section.retry_timeout + section.request_timeout + section.connect_timeout)

    async def read(self, subject: object, call: Awaitable[T]) -> T:
        """One try. Raises AltError, which names ``subject``."""
        try:
            async with asyncio.timeout(self.time_limit):
                return await call
        except FOREIGN as error:
            raise error_of(error, subject, change=False) from error

    async def change(self, subject: object, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        """Try until ``retry_timeout``. Once a try's outcome is unknown, only success is certain. Raises AltError."""
        started, uncertain, tries = self._clock.monotonic(), False, 0
        while True:
            try:
                async with asyncio.timeout(self.time_limit - (self._clock.monotonic() - started)):
                    return await attempt()
            except FOREIGN as error:
                failure = error_of(error, subject, change=True)
                uncertain |= isinstance(failure, AltUncertain)
                tries += 1
                if not self._again(failure, tries, started, repeatable or not uncertain):
                    raise (AltUncertain(str(failure)) if uncertain else failure) from error
            await self._clock.sleep(min(2.0, 0.1 * 2**tries) * random.uniform(0.5, 1))

    def _again(self, failure: AltError, tries: int, started: float, may_repeat: bool) -> bool:
        in_time = self._clock.monotonic() - started < self._section.retry_timeout
        return (
            may_repeat
            and in_time
            and tries <= self._section.max_retries
            and isinstance(failure, (AltUnavailable, AltUncertain))
        )
