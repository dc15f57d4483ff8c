"""Long work asked for over the admin port: a bounded table of jobs, each with its progress and, at the end, its result.

Everything is confined to the loop and lives as long as the node: a result is looked at, then asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tierproxy.errors import Busy, ShuttingDown, StaleGeneration, TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Clock
from tierproxy.wire.whatif import Job, JobKind, Progress

WAITING = 16  #: jobs that wait for their turn; more are refused
KEPT = 20  #: jobs that have ended, with their results
ENDED = frozenset({"done", "failed", "cancelled"})

Tell = Callable[[Progress], None]
Work = Callable[[Tell], Awaitable[dict[str, Any]]]
"""What a job does, told of its progress; returns the result. Raises TierproxyError. One that is cancelled may return
what it has nevertheless."""

log = logging.getLogger(__name__)


class NoSuchJob(TierproxyError):
    """There is no such job."""

    hint = "the node keeps the last results, and forgets them when it stops"


@dataclass
class _Record:
    job: Job
    work: Work
    task: asyncio.Task[None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def change(self, **changes: Any) -> None:
        self.job = self.job.model_copy(update=changes)
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self.job.state in ENDED


class Jobs:
    """One job of each line at a time, the others of the line wait in their order. A line is what would be slowed down
    by company: the processor of the children, the requests to alt of what is brought to disk."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._lines: dict[str, asyncio.Lock] = {}
        self._stopping = False

    def __repr__(self) -> str:
        return f"<Jobs {sum(not one.ended for one in self._records.values())} of {len(self._records)}>"

    def ask(self, kind: JobKind, author: str, work: Work, *, title: str = "", line: str = "children") -> Job:
        """loop. A new job, which begins when the line is free. Raises Busy when too many wait, ShuttingDown."""
        if self._stopping:
            raise ShuttingDown
        if sum(one.job.state == "waiting" for one in self._records.values()) >= WAITING:
            raise Busy(f"{WAITING} jobs wait already", hint="wait for them, or cancel some")
        job = Job(
            id=secrets.token_hex(6), kind=kind, state="waiting", asked_at=self._clock.now(), author=author, title=title
        )
        record = self._records[job.id] = _Record(job, work)
        record.task = asyncio.create_task(self._run(record, line), name=f"job {job.id}")
        self._forget()
        return job

    def job(self, id: str) -> Job:
        """loop. With its result. Raises NoSuchJob."""
        return self._record(id).job

    def jobs(self, limit: int, kind: JobKind | None = None) -> list[Job]:
        """loop. The newest first, without results."""
        found = [one.job for one in reversed(self._records.values()) if kind in {None, one.job.kind}]
        return [job.model_copy(update={"result": None}) for job in found[:limit]]

    async def cancel(self, id: str) -> Job:
        """loop. Returns when it has ended. Raises NoSuchJob; StaleGeneration when it had ended before."""
        record = self._record(id)
        if record.ended or record.task is None:
            raise StaleGeneration(f"the job has ended: it is {record.job.state}")
        await self._cancelled([record])
        return record.job

    async def follow(self, id: str) -> AsyncIterator[Job]:
        """loop. The job now, and whenever it has changed, the last time when it has ended. Raises NoSuchJob."""
        record = self._record(id)
        while True:
            job, changed = record.job, record.changed
            yield job
            if job.state in ENDED:
                return
            await changed.wait()

    async def run(self) -> None:
        """For the life of the node: until cancelled, when everything else stops that works by itself."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.stop()

    async def stop(self) -> None:
        """loop. Cancels what waits or runs, and returns when it is gone."""
        self._stopping = True
        await self._cancelled([one for one in self._records.values() if not one.ended])

    async def _cancelled(self, records: list[_Record]) -> None:
        tasks = {one.task for one in records if one.task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for record in records:
            if not record.ended:  # its task had not made its first step
                self._end(record, state="cancelled")

    def _record(self, id: str) -> _Record:
        if id not in self._records:
            raise NoSuchJob(f"there is no job {id}")
        return self._records[id]

    def _forget(self) -> None:
        """The oldest that have ended."""
        ended = [id for id, one in self._records.items() if one.ended]
        for id in ended[: max(0, len(ended) - KEPT)]:
            del self._records[id]

    async def _run(self, record: _Record, line: str) -> None:
        """Never raises: the record says what became of it."""
        try:
            async with self._lines.setdefault(line, asyncio.Lock()):
                record.change(state="running", started_at=self._clock.now())
                result = await record.work(lambda progress: record.change(progress=progress))
            task = asyncio.current_task()
            self._end(record, state="cancelled" if task is not None and task.cancelling() else "done", result=result)
        except asyncio.CancelledError:
            self._end(record, state="cancelled")
        except TierproxyError as error:
            faults = getattr(error, "faults", [])
            self._end(record, state="failed", error=_told(error), faults=faults)
        except Exception as error:  # noqa: BLE001  a defect in one job must not stop those behind it
            event(log, logging.CRITICAL, "job broke", job=record.job.id, kind=record.job.kind, error=error)
            self._end(record, state="failed", error="the node met an error it did not expect; its log says more")

    def _end(self, record: _Record, **changes: Any) -> None:
        record.change(ended_at=self._clock.now(), **changes)
        job = record.job
        event(log, logging.INFO, f"job {job.state}", job=job.id, kind=job.kind, author=job.author, error=job.error)


def _told(error: TierproxyError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)
