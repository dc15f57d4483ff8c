"""Purge runs: wishes, progress and records. The node works on them; a command line beside it asks for them, confirms
and cancels them.
"""

from __future__ import annotations

import sqlite3

from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.rows import Row
from tierproxy.errors import StaleGeneration
from tierproxy.model import ObjectName
from tierproxy.purges import PurgeRun, RunKind, RunRule, RunState

COLUMNS = (
    "kind, state, at, rules, rule, bucket, prefix, author, reason, confirmed, cancel, started_at, ended_at, "
    "planned_objects, planned_bytes, objects, bytes, skipped, cursor_bucket, cursor_key, note"
)
RUN = f"number, {COLUMNS}"
OPEN = "state IN ('asked', 'running', 'waiting')"  #: the condition of the index purge_run_open, word for word
ADD = f"INSERT INTO purge_run ({COLUMNS}) VALUES ({', '.join('?' * 21)}) RETURNING {RUN}"
BY_NUMBER = f"SELECT {RUN} FROM purge_run WHERE number = ?"
NEWEST = f"SELECT {RUN} FROM purge_run ORDER BY number DESC LIMIT ?"
UNENDED = f"SELECT {RUN} FROM purge_run INDEXED BY purge_run_open WHERE {OPEN} ORDER BY number LIMIT ?"
SAVE = f"""UPDATE purge_run SET state = ?, rules = ?, started_at = ?, ended_at = ?, planned_objects = ?,
        planned_bytes = ?, confirmed = max(confirmed, ?), note = ?
    WHERE number = ? AND state = ? RETURNING {RUN}"""
CONFIRM = f"UPDATE purge_run SET confirmed = 1 WHERE number = ? AND {OPEN} RETURNING {RUN}"
CANCEL = f"""UPDATE purge_run SET cancel = 1, ended_at = iif(state = 'running', ended_at, ?2),
        state = iif(state = 'running', state, 'cancelled')
    WHERE number = ?1 AND {OPEN} RETURNING {RUN}"""
PRUNE = "DELETE FROM purge_run WHERE state IN ('done', 'cancelled', 'failed') AND coalesce(ended_at, at) < ?"
RULES = "SELECT by, rule, objects, bytes FROM purge_run_rule WHERE run = ? ORDER BY by, rule"


class RunReads:
    """What can be asked of runs, on any connection. Another process may have changed one: nothing is remembered."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def run(self, number: int) -> PurgeRun | None:
        row = self._reads.row(BY_NUMBER, number)
        return None if row is None else run_of(row)

    def runs(self, limit: int, *, open_only: bool = False) -> list[PurgeRun]:
        return [run_of(row) for row in self._reads.rows(UNENDED if open_only else NEWEST, limit)]

    def run_rules(self, number: int) -> list[RunRule]:
        return [RunRule(*row) for row in self._reads.rows(RULES, number)]


class Runs(RunReads):
    """Runs in the node that does them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.reads)
        self._change = database.change

    async def add_run(self, run: PurgeRun) -> PurgeRun:
        return await self._change(lambda connection: add_run(connection, run))

    async def save_run(self, run: PurgeRun, *, expected: RunState) -> PurgeRun:
        return await self._change(lambda connection: _save(connection, run, expected))

    async def confirm_run(self, number: int) -> PurgeRun | None:
        return await self._change(lambda connection: confirm_run(connection, number))

    async def cancel_run(self, number: int, *, at: float | None = None) -> PurgeRun | None:
        return await self._change(lambda connection: cancel_run(connection, number, at))

    async def prune_runs(self, before: float) -> int:
        return await self._change(lambda connection: connection.execute(PRUNE, (before,)).rowcount)


def run_of(row: Row) -> PurgeRun:
    """The columns ``RUN``."""
    number, kind, state, at, rules, rule, bucket, prefix, author, reason, confirmed, cancel = row[:12]
    started_at, ended_at, planned_objects, planned_bytes, objects, size, skipped, *cursor, note = row[12:]
    return PurgeRun(
        number, RunKind(kind), RunState(state), at, rules, rule, bucket, prefix, author, reason, bool(confirmed),
        bool(cancel), started_at, ended_at, planned_objects, planned_bytes, objects, size, skipped,
        None if cursor[0] is None else ObjectName(*cursor), note,
    )  # fmt: skip


def run_row(run: PurgeRun) -> Row:
    """The values of ``COLUMNS``."""
    return (
        run.kind, run.state, run.at, run.rules, run.rule, run.bucket, run.prefix, run.author, run.reason,
        run.confirmed, run.cancel, run.started_at, run.ended_at, run.planned_objects, run.planned_bytes,
        run.objects, run.bytes, run.skipped, *(run.cursor or (None, None)), run.note,
    )  # fmt: skip


def add_run(connection: sqlite3.Connection, run: PurgeRun) -> PurgeRun:
    """As ``Catalogue.add_run``."""
    return run_of(connection.execute(ADD, run_row(run)).fetchall()[0])


def confirm_run(connection: sqlite3.Connection, number: int) -> PurgeRun | None:
    """As ``Catalogue.confirm_run``."""
    return _changed(connection, CONFIRM, number)


def cancel_run(connection: sqlite3.Connection, number: int, at: float | None) -> PurgeRun | None:
    """As ``Catalogue.cancel_run``."""
    return _changed(connection, CANCEL, number, at)


def _changed(connection: sqlite3.Connection, sql: str, *values: float | None) -> PurgeRun | None:
    rows = connection.execute(sql, values).fetchall()
    return run_of(rows[0]) if rows else None


def _save(connection: sqlite3.Connection, run: PurgeRun, expected: RunState) -> PurgeRun:
    saved = _changed_state(connection, run, expected)
    if saved is None:
        raise StaleGeneration(f"purge run {run.number} is not {expected} any more")
    return saved


def _changed_state(connection: sqlite3.Connection, run: PurgeRun, expected: RunState) -> PurgeRun | None:
    values = (
        run.state, run.rules, run.started_at, run.ended_at, run.planned_objects, run.planned_bytes, run.confirmed,
        run.note, run.number, expected,
    )  # fmt: skip
    rows = connection.execute(SAVE, values).fetchall()
    return run_of(rows[0]) if rows else None
