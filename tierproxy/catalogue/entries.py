"""Entries: look-up, and every change of an object's content or state.

Each change repeats in its transaction what its caller believed, and raises StaleGeneration when it is no longer so. A
DIRTY entry and its put, a DELETING entry and its delete are written by the same change.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from tierproxy.catalogue.buckets import has_bucket
from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.journal import end_job, replace_job
from tierproxy.catalogue.multipart import end_upload
from tierproxy.catalogue.rows import ENTRY, entry_of, entry_row
from tierproxy.errors import NoSuchBucket, StaleGeneration
from tierproxy.model import Entry, Job, JobKind, ObjectName, State
from tierproxy.ports import Durable

FIND = f"SELECT {ENTRY} FROM entry WHERE bucket = ? AND key = ?"
# What is there of a name in a bucket that is there: NULLs for an object that is not; no row without the bucket.
BEFORE = f"SELECT {ENTRY} FROM bucket LEFT JOIN entry ON bucket = ?1 AND key = ?2 WHERE name = ?1"
# What is known of the first blob of a row. Owner and folder are the request's word (bits 1 and 2 of `named`) or the
# naming patterns'. A GDSF worth counts the write as the first read: else every new blob would be the next to go.
VALUES = f"""{", ".join(f"?{number}" for number in range(1, 19))},
    coalesce(nullif(?19, ''), owner_of(?1, ?2)), coalesce(nullif(?20, ''), folder_of(?1, ?2)),
    coalesce(?19 <> '', 0) + 2 * coalesce(?20 <> '', 0), iif(?11 IS NULL, NULL, ?14),
    coalesce((SELECT inflation FROM eviction WHERE bucket = ''), 0) + max(?16, 1) / max(?5 / 1024.0, 1)"""
INSERT = f"INSERT INTO entry ({ENTRY}, named, queued_at, worth) VALUES ({VALUES})"
# An upsert, not INSERT OR REPLACE: that would delete the old row without its trigger, and the totals would drift.
# Counts and day bins are the key's history and stay, also when the content is another or was deleted in between. A
# word of a request stays until another request names another; a row that is handed back as it was read names nothing.
# A new blob begins anew in the FIFO orders, in S3-FIFO's main queue if a purge had removed the one before.
STORE = f"""{INSERT}
    ON CONFLICT (bucket, key) DO UPDATE SET
        generation = excluded.generation, state = excluded.state, size = excluded.size, etag = excluded.etag,
        written_at = excluded.written_at, alt_etag = excluded.alt_etag, headers = excluded.headers,
        parts = excluded.parts, blob = excluded.blob, blob_bytes = excluded.blob_bytes, xxh3 = excluded.xxh3,
        stored_at = excluded.stored_at, last_read_at = excluded.last_read_at, reads = excluded.reads,
        purged_at = excluded.purged_at, purged_by = excluded.purged_by,
        owner = iif(entry.named & 1 AND NOT excluded.named & 1, entry.owner, excluded.owner),
        folder = iif(entry.named & 2 AND NOT excluded.named & 2, entry.folder, excluded.folder),
        named = entry.named | (excluded.named & 1) * (excluded.owner <> entry.owner)
            | (excluded.named & 2) * (excluded.folder <> entry.folder),
        visits = iif(excluded.blob IS entry.blob, entry.visits, 0),
        main = CASE WHEN excluded.blob IS entry.blob THEN entry.main WHEN excluded.blob IS NULL THEN 0
            ELSE entry.blob IS NULL AND entry.purged_at IS NOT NULL AND entry.purged_by <> 'repair' END,
        queued_at = iif(excluded.blob IS entry.blob, entry.queued_at, excluded.queued_at),
        worth = iif(excluded.blob IS entry.blob, entry.worth, excluded.worth),
        pinned_until = iif(excluded.state = 'deleting', NULL, entry.pinned_until),
        purged_run = iif(excluded.purged_at IS NULL, NULL, entry.purged_run)"""

REMEMBERED = 4096  #: rows

_WORK = {State.DIRTY: JobKind.PUT, State.DELETING: JobKind.DELETE}


class Entries:
    """The rows of objects, one at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = database.reads
        self._change = database.change
        self._lazily = database.writer.change_lazily
        self._writer = database.writer
        self._found: dict[ObjectName, Entry | None] = {}
        self._found_at = -1

    def find(self, name: ObjectName) -> Entry | None:
        """Rows are remembered until this process' next commit: a read asks twice, and reads come in bursts. Another
        process changes no more of a row than its pin, which no entry tells of."""
        if self._found_at != self._writer.commits or len(self._found) >= REMEMBERED:
            self._found_at = self._writer.commits  # before the query: what is newer is asked for again
            self._found.clear()
        try:
            return self._found[name]
        except KeyError:
            return self._found.setdefault(name, find(self._reads, name))

    async def publish(
        self, entry: Entry, *, job: Job | None = None, upload: str | None = None, after: Durable | None = None
    ) -> Entry | None:
        check_work(entry, job)
        return await self._change(lambda connection: _publish(connection, entry, job, upload), after)

    async def fill(self, entry: Entry, *, expected: int | None) -> Entry | None:
        return await self._change(lambda connection: _fill(connection, entry, expected))

    async def learn(self, entry: Entry, *, expected: int | None) -> Entry | None:
        return await self._change(lambda connection: _learn(connection, entry, expected))

    async def suspect(self, name: ObjectName, generation: int) -> None:
        await self._change(lambda connection: _move(connection, name, generation, State.CLEAN, State.SUSPECT))

    async def settle(self, name: ObjectName, generation: int) -> None:
        await self._change(lambda connection: _move(connection, name, generation, State.SUSPECT, State.CLEAN))

    async def uploaded(self, name: ObjectName, generation: int, alt_etag: str) -> None:
        await self._lazily(lambda connection: _uploaded(connection, name, generation, alt_etag))

    async def tombstone(self, name: ObjectName, generation: int, job: Job) -> Entry | None:
        grave = Entry(name, generation, State.DELETING, 0, "", job.queued_at)
        check_work(grave, job)
        return await self._change(lambda connection: _publish(connection, grave, job, None))

    async def forget(self, name: ObjectName, generation: int) -> None:
        await self._change(lambda connection: _forget(connection, name, generation))


def find(reads: Reads, name: ObjectName) -> Entry | None:
    row = reads.row(FIND, *name)
    return None if row is None else entry_of(row)


def current(connection: sqlite3.Connection, name: ObjectName) -> Entry | None:
    """The row as the transaction sees it."""
    row = connection.execute(FIND, name).fetchone()
    return None if row is None else entry_of(row)


def store(connection: sqlite3.Connection, entry: Entry) -> None:
    connection.execute(STORE, entry_row(entry))


def check_work(entry: Entry, job: Job | None) -> None:
    """ValueError unless ``job`` is the work that ``entry``'s state asks for: a mistake of the caller, not a race."""
    kind = _WORK.get(entry.state)
    found = None if job is None else (job.name, job.generation, job.kind)
    wanted = None if kind is None else (entry.name, entry.generation, kind)
    if found != wanted:
        raise ValueError(f"an entry that is {entry.state} asks for the job {wanted}, not {found}")


def stale(name: ObjectName, belief: str, found: Entry | None) -> StaleGeneration:
    truth = "no row" if found is None else f"{found.state} generation {found.generation}"
    return StaleGeneration(f"{name}: expected {belief}, found {truth}")


def _publish(connection: sqlite3.Connection, entry: Entry, job: Job | None, upload: str | None) -> Entry | None:
    old = _before(connection, entry.name)
    if old is not None and old.generation > entry.generation:
        raise stale(entry.name, f"at most generation {entry.generation}", old)
    if upload is not None:
        end_upload(connection, upload)
    if old is not None:
        entry = replace(entry, reads=old.reads, last_read_at=old.last_read_at)
    store(connection, entry)
    if job is not None or (old is not None and old.state in _WORK):  # else there is no job
        replace_job(connection, entry.name, job)
    return old


def _before(connection: sqlite3.Connection, name: ObjectName) -> Entry | None:
    """As ``current``, of a bucket that must be there. Raises NoSuchBucket: it was deleted while the change was on its
    way."""
    row = connection.execute(BEFORE, name).fetchone()
    if row is None:
        raise NoSuchBucket(f"the bucket {name.bucket!r} does not exist")
    return None if row[0] is None else entry_of(row)


def _fill(connection: sqlite3.Connection, entry: Entry, expected: int | None) -> Entry | None:
    old = current(connection, entry.name)
    if not _as_expected(old, expected) or (old is None and not has_bucket(connection, entry.name.bucket)):
        raise stale(entry.name, f"clean generation {expected}", old)
    filled = replace(entry, state=State.CLEAN, purged_at=None, purged_by=None)
    if old is not None:
        filled = replace(filled, reads=old.reads, last_read_at=old.last_read_at)
    store(connection, filled)
    return old


def _learn(connection: sqlite3.Connection, entry: Entry, expected: int | None) -> Entry | None:
    old = current(connection, entry.name)
    if not _as_expected(old, expected):
        return None
    if old is None:
        if has_bucket(connection, entry.name.bucket):
            store(connection, replace(entry, state=State.CLEAN))
        return None
    learnt = replace(
        entry, state=State.CLEAN, purged_at=old.purged_at, purged_by=old.purged_by, reads=old.reads,
        last_read_at=old.last_read_at,
    )  # fmt: skip
    changed = entry.blob is None and not _same_content(old, entry)
    if changed:  # what a purge removed would not have been served any more
        learnt = replace(learnt, purged_at=None, purged_by=None)
    store(connection, _blobless(learnt) if changed else _with_blob_of(old, learnt))
    return old if changed and old.blob is not None else None


def _as_expected(old: Entry | None, expected: int | None) -> bool:
    if old is None or expected is None:
        return old is None and expected is None
    return old.generation == expected and old.state is State.CLEAN


def _same_content(old: Entry, new: Entry) -> bool:
    """By alt's ETag; before alt's was known, by what the client was shown."""
    if old.alt_etag is not None:
        return old.alt_etag == new.alt_etag
    return (old.etag, old.size) == (new.etag, new.size)


def _blobless(entry: Entry) -> Entry:
    return replace(entry, blob=None, blob_bytes=0, xxh3=None, stored_at=None)


def _with_blob_of(old: Entry, entry: Entry) -> Entry:
    """The generation stays with the blob, whose trailer names it."""
    generation = entry.generation if old.blob is None else old.generation
    return replace(
        entry, generation=generation, blob=old.blob, blob_bytes=old.blob_bytes, xxh3=old.xxh3, stored_at=old.stored_at
    )


def _move(connection: sqlite3.Connection, name: ObjectName, generation: int, source: State, target: State) -> None:
    """``source`` to ``target``; fine when it is there already."""
    moved = connection.execute(
        "UPDATE entry SET state = ? WHERE bucket = ? AND key = ? AND generation = ? AND state IN (?, ?)",
        (target, *name, generation, source, target),
    )
    if not moved.rowcount:
        raise stale(name, f"{source} generation {generation}", current(connection, name))


def _uploaded(connection: sqlite3.Connection, name: ObjectName, generation: int, alt_etag: str) -> None:
    moved = connection.execute(
        "UPDATE entry SET state = 'clean', alt_etag = ? "
        "WHERE bucket = ? AND key = ? AND generation = ? AND state = 'dirty'",
        (alt_etag, *name, generation),
    )
    if not moved.rowcount:
        raise stale(name, f"dirty generation {generation}", current(connection, name))
    end_job(connection, name)


def _forget(connection: sqlite3.Connection, name: ObjectName, generation: int) -> None:
    gone = connection.execute("DELETE FROM entry WHERE bucket = ? AND key = ? AND generation = ?", (*name, generation))
    if not gone.rowcount:
        raise stale(name, f"generation {generation}", current(connection, name))
    end_job(connection, name)
