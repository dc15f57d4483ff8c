"""The upload queue: jobs that outlive the node, tried until alt has confirmed them. It takes a callable and nothing
else.

A job is in the journal from the commit that made its row DIRTY or DELETING until the commit that made the row CLEAN or
removed it. Failing never removes a job: it is tried again after a growing, jittered wait, for ever, and an alarm rises
when the oldest is older than the deadline. One try per name at a time; a newer job of a name waits for the running try.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

from tierproxy.config.sections import QueueSection
from tierproxy.errors import AltHeld, DiskError, StaleGeneration, TierproxyError
from tierproxy.logs import event
from tierproxy.model import Job, ObjectName, QueueTotals
from tierproxy.ports import Alarms, Catalogue, Clock
from tierproxy.store.counters import Counters

log = logging.getLogger(__name__)
OVERDUE = "upload overdue"
POLL = 1.0
"""Seconds between looks at the journal when nothing else wakes the queue: another process may have hurried a job."""


class UploadQueue:
    """Runs due jobs with at most ``workers`` at once; ``attempt`` lets a request do its own job at once instead."""

    def __init__(
        self, *, catalogue: Catalogue, perform: Callable[[Job], Awaitable[None]], clock: Clock, settings: QueueSection,
        max_bytes: int, random: Callable[[], float], counters: Counters, alarms: Alarms,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._perform = perform
        self._clock = clock
        self._settings = settings
        self._max_bytes = max_bytes
        self._random = random
        self._counters = counters
        self._alarms = alarms
        self._running: dict[ObjectName, tuple[int, asyncio.Task[bool]]] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._wakes_at = math.inf  # when the queue looks at the journal again by itself
        self._most_jobs, self._most_bytes = math.inf, math.inf  # what the journal may hold by now

    def __repr__(self) -> str:
        totals = self._catalogue.queue_totals()
        return f"<UploadQueue {totals.jobs} jobs, {totals.bytes} bytes, {len(self._running)} running>"

    def reload(self, settings: QueueSection) -> None:
        self._settings = settings

    @property
    def running(self) -> int:
        """Tries under way now."""
        return len(self._running)

    def full(self) -> bool:
        """loop. Beyond the limits: new writes must reach alt before they are acknowledged. The journal is asked only
        when what it held then and what was ``committed`` since may be too much: every write asks this."""
        if not self._beyond(self._most_jobs, self._most_bytes):
            return False
        totals = self._counted()
        return self._beyond(totals.jobs, totals.bytes)

    def committed(self, job: Job) -> None:
        """loop. ``job`` is in the journal. Told before, it could be forgotten by a count in between."""
        self._most_jobs += 1
        self._most_bytes += job.size

    def _counted(self) -> QueueTotals:
        """What the journal holds now; also jobs nobody told of are known from here on."""
        totals = self._catalogue.queue_totals()
        self._most_jobs, self._most_bytes = totals.jobs, totals.bytes
        return totals

    def _beyond(self, jobs: float, size: float) -> bool:
        return jobs >= self._settings.max_jobs or size >= (self._settings.max_bytes or self._max_bytes)

    def lingering(self, job: Job) -> Job:
        """loop. ``job``, which nobody waits for, with the time of its first try (``[queue] linger``)."""
        linger = self._settings.linger
        return replace(job, next_try_at=job.next_try_at + linger) if linger else job

    def expect(self, job: Job) -> None:
        """loop. ``job`` is in the journal: ``wake``, unless the queue wakes in time by itself."""
        if job.next_try_at < self._wakes_at:
            self._wake.set()

    def wake(self) -> None:
        """loop. There may be something to do."""
        self._wake.set()

    async def attempt(self, job: Job) -> bool:
        """Try ``job`` now, beside the workers: True when alt has confirmed it. A running try of the same name (of an
        older job) is waited for first, one of the same job is shared. The job stays in the journal if it fails."""
        while (running := self._running.get(job.name)) is not None:
            generation, task = running
            await asyncio.wait([task])
            if generation == job.generation:
                return not task.cancelled() and task.exception() is None and task.result()
        if self._stopping:
            return False
        return await asyncio.shield(self._start(job))

    def adopt(self, job: Job, work: Coroutine[Any, Any, None]) -> None:
        """loop. ``work`` is the running try of ``job``, begun before the job was: raises as ``perform`` does. Nothing
        of an older job of the name is left."""
        self._start(job, work)

    async def run(self) -> None:
        """Until cancelled. Jobs that are running go on; see ``stop``."""
        while not self._stopping:
            self._wake.clear()
            self._wakes_at = math.inf
            self._start_due()
            self._watch_deadline()
            await self._pause()

    async def stop(self, grace: float) -> None:
        """Start nothing new; wait for running tries at most ``grace`` seconds. The rest stays in the journal."""
        self._stopping = True
        self._wake.set()
        tries = [task for _, task in self._running.values()]
        if tries:
            await asyncio.wait(tries, timeout=grace)
        for task in tries:
            task.cancel()
        await asyncio.gather(*tries, return_exceptions=True)

    def _start_due(self) -> None:
        free = self._settings.workers - len(self._running)
        if free <= 0:
            return
        # Running names are still in the journal, so ask for that many more.
        for job in self._catalogue.due(self._clock.now(), free + len(self._running)):
            if job.name not in self._running and free > 0:
                self._start(job)
                free -= 1

    def _start(self, job: Job, work: Coroutine[Any, Any, None] | None = None) -> asyncio.Task[bool]:
        task = asyncio.get_running_loop().create_task(self._try(job, work), name=f"upload {job.name}")
        self._running[job.name] = (job.generation, task)
        task.add_done_callback(lambda done: self._ended(job, done))
        return task

    def _ended(self, job: Job, task: asyncio.Task[bool]) -> None:
        if self._running.get(job.name) == (job.generation, task):
            del self._running[job.name]
        if not task.cancelled() and task.exception() is not None:
            event(log, logging.ERROR, "upload broke", name=job.name, error=task.exception())
        self._wake.set()

    async def _try(self, job: Job, work: Awaitable[None] | None) -> bool:
        try:
            await (work or self._perform(job))
        except StaleGeneration:  # a newer job took its place meanwhile
            return False
        except AltHeld as error:
            event(log, logging.INFO, "upload waits", name=job.name, kind=job.kind, reason=error)
            await self._postpone(self._held(job, error))
            return False
        except Exception as error:  # noqa: BLE001 - a defect, too, must not make the queue try again at once
            self._counters.upload_failures += 1
            level = logging.WARNING if isinstance(error, TierproxyError) else logging.ERROR
            event(
                log, level, "upload failed", name=job.name, kind=job.kind, attempts=job.attempts + 1, error=error
            )  # fmt: skip
            await self._postpone(self._later(job, error))
            return False
        self._counters.uploads += 1
        return True

    async def _postpone(self, job: Job) -> None:
        """If even that cannot be written (a full disk), the try itself lasts until the next one would have begun."""
        try:
            await self._catalogue.postpone(job)
        except StaleGeneration:
            event(log, logging.DEBUG, "a newer job took its place", name=job.name)
        except DiskError as error:
            event(log, logging.WARNING, "journal not updated", name=job.name, error=error)
            await self._clock.sleep(max(0.0, job.next_try_at - self._clock.now()))

    def _later(self, job: Job, error: Exception) -> Job:
        """Exponential backoff with "equal jitter" (AWS Architecture Blog, Exponential Backoff And Jitter)."""
        wait = min(self._settings.max_backoff, self._settings.backoff * 2.0 ** min(job.attempts, 30))
        wait = wait / 2 + wait / 2 * self._random()
        return replace(
            job, attempts=job.attempts + 1, next_try_at=self._clock.now() + wait,
            last_error=f"{type(error).__name__}: {error}"[:500],
        )  # fmt: skip

    def _held(self, job: Job, error: AltHeld) -> Job:
        """Nothing has failed: it is tried when it may be."""
        wait = min(self._settings.max_backoff, error.retry_after)
        return replace(job, next_try_at=self._clock.now() + wait, last_error=str(error)[:500])

    def _watch_deadline(self) -> None:
        oldest = self._counted().oldest_queued_at
        if oldest is not None and self._clock.now() - oldest > self._settings.deadline:
            self._alarms.set(OVERDUE, "queue", oldest_queued_at=oldest, deadline=float(self._settings.deadline))
        else:
            self._alarms.clear(OVERDUE, "queue")

    async def _pause(self) -> None:
        """Until woken, the next job is due, or the poll interval is over."""
        due = self._catalogue.next_due()
        wait = POLL
        if due is not None:
            ahead = due - self._clock.now()
            if ahead > 2 * self._settings.max_backoff:  # the wall clock was set back: nobody waits that long
                await self._catalogue.hurry(None, self._clock.now())
                ahead = 0.0
            busy = len(self._running) >= self._settings.workers
            wait = POLL if busy or ahead <= 0 else min(POLL, ahead)
        self._wakes_at = self._clock.now() + wait
        sleeper = asyncio.ensure_future(self._clock.sleep(wait))
        waker = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait([sleeper, waker], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            waker.cancel()
            # Not "await sleeper" with CancelledError suppressed: that would swallow our own cancellation too.
            await asyncio.gather(sleeper, waker, return_exceptions=True)
