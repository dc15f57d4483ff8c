"""The log of a running node: events go into memory at once, to a journal every second, into segments now and then.

History is for what-if and never for keeping mail safe: whatever happens to it, requests do not wait and do not fail.
Events that cannot be kept are dropped, counted and reported.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from tierproxy.config.sections import HistorySection
from tierproxy.errors import OutOfSpace, TierproxyError
from tierproxy.history.files import HistoryFiles
from tierproxy.logs import event
from tierproxy.ports import Alarms, Clock, FileCalls, Offload
from tierproxy.traffic import Event

log = logging.getLogger(__name__)

FLUSH = 1.0
"""Seconds between writes to the journal: what a crash may lose."""
BUFFER = 100_000
"""Events that wait for the journal; more than a node can serve in a flush."""
RETRY = 60.0
"""Seconds until something that failed on whole files (a segment, retention) is tried again, and between retentions."""
GROWING = frozenset({"append", "settle"})  #: what takes room
ALARM = "history is not being written"


class NoHistory:
    """``[history] enabled = false``: ``tierproxy.ports.HistoryLog`` that keeps nothing."""

    dropped = 0
    waiting = 0
    waiting_since: float | None = None

    def note(self, event: Event, times: int = 1) -> None:
        pass

    async def run(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def reload(self, settings: HistorySection) -> None:
        pass


class HistoryWriter:
    """``tierproxy.ports.HistoryLog`` into ``directory``. ``run`` is the background task; ``stop`` after it has ended.

    ``threads``: a pool of one thread, closed by whoever made it: file calls are one after the other. ``dropped``:
    events not kept since the start.
    """

    def __init__(
        self,
        directory: Path,
        *,
        files: FileCalls,
        threads: Offload,
        clock: Clock,
        alarms: Alarms,
        settings: HistorySection,
        node: str = "",
        buffer: int = BUFFER,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        """``full``: what room the disk has is not for history."""
        self.dropped = 0
        self._files = HistoryFiles(directory, files, node)
        self._subject = str(directory)
        self._threads = threads
        self._clock = clock
        self._alarms = alarms
        self._settings = settings
        self._limit = buffer
        self._full = full
        self._buffer: list[Event] = []
        self._overflow = 0
        self._begun: float | None = None
        self._keep_at = 0.0
        self._unsettled = True
        self._failing: set[str] = set()

    def __repr__(self) -> str:
        return f"<HistoryWriter {self._subject}: {len(self._buffer)} waiting, {self.dropped} dropped>"

    @property
    def waiting(self) -> int:
        """Events in memory."""
        return len(self._buffer)

    @property
    def waiting_since(self) -> float | None:
        """When the oldest of them happened (seconds since the epoch); None: there is none."""
        return self._buffer[0].at if self._buffer else None

    def note(self, event: Event, times: int = 1) -> None:
        """loop. An event that happened several times is the same object several times: the journal encodes it once."""
        if times == 1 and len(self._buffer) < self._limit:
            self._buffer.append(event)
            return
        kept = min(times, self._limit - len(self._buffer))
        self._buffer += [event] * kept
        self._overflow += times - kept

    def reload(self, settings: HistorySection) -> None:
        """loop. The new limits count from the next second on."""
        self._settings = settings

    async def run(self) -> None:
        """Write every second, for ever. Journals that the last process left become segments first."""
        await self._attempt("tidy", self._files.tidy)
        while True:
            await self._keep()
            await self._clock.sleep(FLUSH)
            await self.flush()

    async def stop(self) -> None:
        """Write what is in memory, durable. The open journal stays one; the next start makes a segment of it."""
        await self.flush()
        await self._attempt("close", self._files.close)

    async def flush(self) -> None:
        """Write what is in memory to the journal, and end the journal if it is long or old enough."""
        events, self._buffer = self._buffer, []
        overflow, self._overflow = self._overflow, 0
        if overflow:
            self._drop(overflow, "more than fits in memory")
        if events:
            if self._begun is None:
                self._begun = self._clock.monotonic()
            if not await self._attempt("append", self._files.append, events, self._clock.now()):
                self._drop(len(events), "cannot be written")
        if self._due():
            self._begun = None
            self._unsettled = True
            self._keep_at = 0.0
            await self._attempt("close", self._files.close)

    def _due(self) -> bool:
        if self._begun is None:
            return False
        old = self._clock.monotonic() - self._begun >= self._settings.segment_age
        return old or self._files.events >= self._settings.segment_events

    async def _keep(self) -> None:
        """What works on whole files: closed journals become segments, and what is too old or too much goes."""
        if self._clock.monotonic() < self._keep_at:
            return
        self._keep_at = self._clock.monotonic() + RETRY
        if self._unsettled:
            self._unsettled = not await self._attempt("settle", self._files.settle)
        await self._attempt("retain", self._files.retain, self._settings, self._clock.now())

    async def _attempt(self, what: str, call: Callable[..., object], *args: object) -> bool:
        """``call`` in the worker thread; whether it did its work. Trouble is an alarm until the same works again."""
        try:
            if what in GROWING and self._full():
                raise OutOfSpace("the disk is full")
            await self._threads.run(call, *args)
        except (TierproxyError, OSError) as error:
            self._failing.add(what)
            self._alarms.set(ALARM, self._subject, what=what, error=error)
            return False
        self._failing.discard(what)
        if not self._failing:
            self._alarms.clear(ALARM, self._subject)
        return True

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        event(log, logging.WARNING, "history events dropped", count=count, why=why, total=self.dropped)


History = HistoryWriter | NoHistory
