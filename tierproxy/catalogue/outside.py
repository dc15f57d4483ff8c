"""The catalogue as another process uses it while a node runs: the command line reads, and asks for work by rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tierproxy import formats
from tierproxy.catalogue.buckets import BucketReads
from tierproxy.catalogue.connection import catalogue_file, connect, translating
from tierproxy.catalogue.counting import grown, rollups
from tierproxy.catalogue.database import READER_CACHE_KIB, Reads
from tierproxy.catalogue.entries import find
from tierproxy.catalogue.finding import FoundPage, Wanted, found
from tierproxy.catalogue.gauges import OLDEST_PUT
from tierproxy.catalogue.invariants import violations
from tierproxy.catalogue.journal import JournalReads, hurry
from tierproxy.catalogue.listing import page
from tierproxy.catalogue.migrations import known_migrations, refuse_newer
from tierproxy.catalogue.naming import named_by
from tierproxy.catalogue.pins import pin, pinned
from tierproxy.catalogue.planning import PlanReads
from tierproxy.catalogue.purging import eviction
from tierproxy.catalogue.records import records
from tierproxy.catalogue.runs import RunReads, add_run, cancel_run, confirm_run
from tierproxy.catalogue.shadow import record as shadow_record
from tierproxy.catalogue.versions import VersionReads, add_version
from tierproxy.errors import ConfigError
from tierproxy.model import Entry, ListPage, ListRequest, ObjectName
from tierproxy.purges import Eviction, PurgeRun, RuleRecord, ShadowRecord, Version
from tierproxy.traffic import Rollup

CHANGED = "UPDATE fact SET value = value + 1 WHERE name = 'outside_changes'"
OLDER = "start the node once with this version: it brings the catalogue up to date"


T = TypeVar("T")


class CatalogueReader:
    """Look-ups without a loop and without a writer. Every call sees what is committed when it is made, and all of it
    one state. Methods are as ``Catalogue``'s of the same name."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        buckets, journal = BucketReads(reads), JournalReads(reads)
        self.bucket, self.buckets, self.totals = buckets.bucket, buckets.buckets, buckets.totals
        self.due, self.next_due = journal.due, journal.next_due
        self.jobs, self.queue_totals = journal.jobs, journal.queue_totals
        runs, versions = RunReads(reads), VersionReads(reads)
        self.run, self.runs, self.run_rules = runs.run, runs.runs, runs.run_rules
        self.version, self.versions = versions.version, versions.versions
        plans = PlanReads(reads)
        self.survey, self.decided, self.pressed, self.ahead = plans.survey, plans.decided, plans.pressed, plans.ahead
        self.standing, self.interrupt = plans.standing, plans.interrupt
        self.stats, self.heat, self.overview, self.hurry = plans.stats, plans.heat, plans.overview, plans.hurry
        self.removed = plans.removed

    def find(self, name: ObjectName) -> Entry | None:
        return find(self._reads, name)

    def page(self, request: ListRequest) -> ListPage:
        return self._snapshot(page, request)

    def found(self, wanted: Wanted, limit: int) -> FoundPage:
        """A page of objects, for a bounded number of rows looked at."""
        return self._snapshot(found, wanted, limit)

    def oldest_dirty_at(self) -> float | None:
        """Since when the oldest object that alt does not have waits for its upload; None: there is none."""
        row = self._reads.row(OLDEST_PUT)
        return None if row is None else row[0]

    def check(self) -> list[str]:
        return self._snapshot(violations)

    def eviction(self, bucket: str) -> Eviction:
        return eviction(self._reads, bucket)

    def named_by(self) -> int:
        return named_by(self._reads)

    def pinned(self, now: float, limit: int) -> list[tuple[ObjectName, float]]:
        """Objects that a command has pinned, with the pin's end, the first to end first."""
        return pinned(self._reads, now, limit)

    def records(self, since_day: int) -> list[RuleRecord]:
        return records(self._reads, since_day)

    def rollups(self, span: int, since: float, until: float) -> list[Rollup]:
        return rollups(self._reads, span, since, until)

    def grown(self, span: int, since: float, until: float) -> Rollup:
        """All rollups of that time as one."""
        return grown(self._reads, span, since, until)

    def shadow(self, since_day: int = 0) -> ShadowRecord | None:
        return self._snapshot(shadow_record, since_day)

    def _snapshot(self, query: Callable[..., T], *values: Any) -> T:
        with self._reads.snapshot():
            return query(self._reads, *values)


class OutsideChanges:
    """What a command line may change while a node runs, which looks at these rows now and then. Each call is a short
    transaction of its own; it waits for the node's, for seconds at most (then DiskUnavailable)."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def hurry(self, names: Sequence[ObjectName] | None, now: float) -> int:
        return self._change(lambda connection: hurry(connection, names, now))

    def pin(self, name: ObjectName, until: float | None) -> None:
        self._change(lambda connection: pin(connection, name, until))

    def add_run(self, run: PurgeRun) -> PurgeRun:
        return self._change(lambda connection: add_run(connection, run))

    def confirm_run(self, number: int) -> PurgeRun | None:
        return self._change(lambda connection: confirm_run(connection, number))

    def cancel_run(self, number: int, *, at: float | None = None) -> PurgeRun | None:
        return self._change(lambda connection: cancel_run(connection, number, at))

    def add_version(self, version: Version, *, newest: int | None = None) -> Version:
        """``newest``: the number of the newest version of that kind as the caller knows it (0: none), None: whatever it
        is. Raises StaleGeneration when there is another one by now."""
        return self._change(lambda connection: add_version(connection, version, newest))

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """All of ``work`` and word of it to the node, or nothing."""
        with translating():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
                self._connection.execute(CHANGED)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return result


@contextmanager
def open_reader(data: Path) -> Iterator[CatalogueReader]:
    """Read the catalogue of the data directory ``data``, whether a node runs on it or not.

    Raises ConfigError when there is none or another version of tierproxy wrote it (migrating is the node's), DiskError.
    """
    file = _existing(data)
    with translating():
        reads = Reads(connect(file, cache_kib=READER_CACHE_KIB, read_only=True))
    try:
        with translating():
            _require_same(reads.connection)
        yield CatalogueReader(reads)
    finally:
        reads.close()


@contextmanager
def open_outside(data: Path) -> Iterator[OutsideChanges]:
    """Change the catalogue of the data directory ``data`` beside its node, or without one. Raises as ``open_reader``,
    and ConfigError when an older tierproxy wrote it: migrating is the node's."""
    file = _existing(data)
    with translating():
        connection = connect(file, cache_kib=READER_CACHE_KIB)
    try:
        with translating():
            _require_same(connection)
        yield OutsideChanges(connection)
    finally:
        connection.close()


def hurry_from_outside(data: Path, names: Sequence[ObjectName] | None, now: float) -> int:
    """``Catalogue.hurry`` from another process than the node's, which hears of it by ``changed_outside``. Returns how
    many jobs. Raises as ``open_outside``."""
    with open_outside(data) as outside:
        return outside.hurry(names, now)


def _require_same(connection: sqlite3.Connection) -> None:
    known = known_migrations()
    if len(refuse_newer(connection, known)) < len(known):
        raise ConfigError("the catalogue was written by an older tierproxy", hint=OLDER)


def _existing(data: Path) -> Path:
    formats.refuse_newer(data)
    file = catalogue_file(data)
    try:
        there = file.exists()
    except OSError as error:  # the directory belongs to another user
        raise ConfigError(f"cannot read {file}: {error.strerror}", hint="run this as the user of the node") from error
    if not there:
        raise ConfigError(
            f"there is no catalogue in {data}", hint="is [node] data_dir right, and was the node ever started?"
        )
    return file
