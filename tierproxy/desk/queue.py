"""What alt does not have yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from tierproxy.catalogue import CatalogueReader
from tierproxy.model import Job
from tierproxy.wire.objects import Queue, QueueJob, QueueTotals

PAGE = 1000


def queue(catalogue: CatalogueReader, limit: int, *, failing: bool = False) -> Queue:
    """The oldest ``limit`` jobs (0: all), or (``failing``) of those that have failed before. Raises DiskError."""
    totals = catalogue.queue_totals()
    shown = islice(_jobs(catalogue, failing, totals.failing), limit or None)
    return Queue(totals=QueueTotals(**asdict(totals)), jobs=[_row(job) for job in shown])


def _jobs(catalogue: CatalogueReader, failing: bool, there_are: int) -> Iterator[Job]:
    """Ends with the last of those that fail: a million others may follow it."""
    after = 0
    while page := catalogue.jobs(after, PAGE):
        for job in page:
            if not failing:
                yield job
            elif job.attempts:
                yield job
                there_are -= 1
        after = page[-1].generation
        if failing and there_are <= 0:
            return


def _row(job: Job) -> QueueJob:
    return QueueJob(
        name=str(job.name), generation=job.generation, kind=job.kind.value, size=job.size, queued_at=job.queued_at,
        attempts=job.attempts, next_try_at=job.next_try_at, last_error=job.last_error,
    )  # fmt: skip
