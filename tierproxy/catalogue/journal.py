"""The journal: what has to be done in alt, one job a name. Entries write it, in the same transaction as the state."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.rows import JOB, job_of, job_row, placeholders
from tierproxy.errors import StaleGeneration
from tierproxy.model import Job, ObjectName, QueueTotals

REPLACE = f"""INSERT INTO job ({JOB}) VALUES ({placeholders(JOB)})
    ON CONFLICT (bucket, key) DO UPDATE SET
        generation = excluded.generation, kind = excluded.kind, size = excluded.size, queued_at = excluded.queued_at,
        attempts = excluded.attempts, next_try_at = excluded.next_try_at, last_error = excluded.last_error"""
DUE = f"SELECT {JOB} FROM job WHERE next_try_at <= ? ORDER BY next_try_at, generation LIMIT ?"
JOBS = f"SELECT {JOB} FROM job WHERE generation > ? ORDER BY generation LIMIT ?"
OUTSIDE = "SELECT value FROM fact WHERE name = 'outside_changes'"


class JournalReads:
    """What can be asked of the journal, on any connection."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def due(self, now: float, limit: int) -> list[Job]:
        return [job_of(row) for row in self._reads.rows(DUE, now, limit)]

    def next_due(self) -> float | None:
        row = self._reads.row("SELECT min(next_try_at) FROM job")
        return None if row is None else row[0]

    def jobs(self, after: int = 0, limit: int = 100) -> list[Job]:
        return [job_of(row) for row in self._reads.rows(JOBS, after, limit)]

    def queue_totals(self) -> QueueTotals:
        sql = "SELECT jobs, bytes, (SELECT min(queued_at) FROM job), failing FROM queue"
        return QueueTotals(*self._reads.rows(sql)[0])


class Journal(JournalReads):
    """The journal in the node that works on it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.reads)
        self._change = database.change
        self._writer = database.writer
        self._totals: tuple[int, QueueTotals] | None = None
        self._outside = self._outside_changes()

    async def postpone(self, job: Job) -> None:
        await self._change(lambda connection: _postpone(connection, job))

    async def hurry(self, names: Sequence[ObjectName] | None, now: float) -> int:
        return await self._change(lambda connection: hurry(connection, names, now))

    def queue_totals(self) -> QueueTotals:
        """As they were after the last commit of this process. Every write asks; another process moves none of them."""
        commits = self._writer.commits
        if self._totals is None or self._totals[0] != commits:
            self._totals = commits, super().queue_totals()
        return self._totals[1]

    def changed_outside(self) -> bool:
        """Whether another process hurried jobs since this was last asked. A counter in the database rather than PRAGMA
        data_version: that one also moves with every commit of this process's own writer."""
        seen, self._outside = self._outside, self._outside_changes()
        return seen != self._outside

    def _outside_changes(self) -> int:
        return int(self._reads.rows(OUTSIDE)[0][0])


def replace_job(connection: sqlite3.Connection, name: ObjectName, job: Job | None) -> None:
    """Make ``job`` the only work for ``name``."""
    if job is None:
        end_job(connection, name)
    else:
        connection.execute(REPLACE, job_row(job))


def end_job(connection: sqlite3.Connection, name: ObjectName) -> None:
    connection.execute("DELETE FROM job WHERE bucket = ? AND key = ?", name)


def hurry(connection: sqlite3.Connection, names: Sequence[ObjectName] | None, now: float) -> int:
    """The jobs of ``names``, or all, are due at ``now``. Returns how many."""
    if names is None:
        return connection.execute("UPDATE job SET next_try_at = ?", (now,)).rowcount
    sql = "UPDATE job SET next_try_at = ? WHERE bucket = ? AND key = ?"
    return sum(connection.execute(sql, (now, *name)).rowcount for name in names)


def _postpone(connection: sqlite3.Connection, job: Job) -> None:
    changed = connection.execute(
        "UPDATE job SET attempts = ?, next_try_at = ?, last_error = ? "
        "WHERE bucket = ? AND key = ? AND generation = ? AND kind = ?",
        (job.attempts, job.next_try_at, job.last_error, *job.name, job.generation, job.kind),
    )
    if not changed.rowcount:
        raise StaleGeneration(f"{job.name}: the {job.kind} of generation {job.generation} left the journal")
