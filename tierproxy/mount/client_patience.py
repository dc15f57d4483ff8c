"""Deadlines against silence, on the clock that was given: what moves now and then may take as long as it takes."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from tierproxy.ports import Clock

LOOKS = 10
"""How often within a deadline somebody looks whether it is over."""


class Progress:
    """One wait. Ends with TimeoutError when ``note`` was not called for the deadline's length."""

    __slots__ = ("_limit", "_patience", "at")

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._limit = asyncio.timeout(None)
        self.at = 0.0

    async def __aenter__(self) -> Progress:
        await self._limit.__aenter__()
        self.note()
        self._patience.begin(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patience.end(self)
        await self._limit.__aexit__(kind, error, trace)

    def note(self) -> None:
        """loop. Something has moved."""
        self.at = self._patience.clock.monotonic()

    def give_up(self) -> None:
        """loop. The deadline is over."""
        self._limit.reschedule(0)


class Patience:
    """Waits of at most ``deadline`` seconds without progress. One task looks after all of them: a timer for each
    request, on a clock whose timers are tasks, would cost more than the request."""

    def __init__(self, clock: Clock, deadline: float) -> None:
        self.clock = clock
        self._deadline = deadline
        self._waiting: set[Progress] = set()
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Patience of {self._deadline:g} s, {len(self._waiting)} waiting>"

    def limited(self) -> Progress:
        """``async with patience.limited() as progress:``"""
        return Progress(self)

    def begin(self, progress: Progress) -> None:
        self._waiting.add(progress)
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep(), name="mount-patience")

    def end(self, progress: Progress) -> None:
        self._waiting.discard(progress)

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def _keep(self) -> None:
        while True:
            await self.clock.sleep(self._deadline / LOOKS)
            late = self.clock.monotonic() - self._deadline
            for progress in [one for one in self._waiting if one.at <= late]:
                progress.give_up()
