"""The catalogue as another process uses it while a node runs: the command line reads, and hurries the queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tierproxy.catalogue.buckets import BucketReads
from tierproxy.catalogue.connection import catalogue_file, connect, translating
from tierproxy.catalogue.database import READER_CACHE_KIB, Reads
from tierproxy.catalogue.entries import find
from tierproxy.catalogue.invariants import violations
from tierproxy.catalogue.journal import JournalReads, hurry
from tierproxy.catalogue.listing import page
from tierproxy.catalogue.migrations import known_migrations, refuse_newer
from tierproxy.errors import ConfigError
from tierproxy.model import Entry, ListPage, ListRequest, ObjectName


class CatalogueReader:
    """Look-ups without a loop and without a writer. Every call sees what is committed when it is made."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        buckets, journal = BucketReads(reads), JournalReads(reads)
        self.bucket, self.buckets, self.totals = buckets.bucket, buckets.buckets, buckets.totals
        self.due, self.next_due = journal.due, journal.next_due
        self.jobs, self.queue_totals = journal.jobs, journal.queue_totals

    def find(self, name: ObjectName) -> Entry | None:
        return find(self._reads, name)

    def page(self, request: ListRequest) -> ListPage:
        """As ``Catalogue.page``."""
        with self._reads.snapshot():
            return page(self._reads, request)

    def check(self) -> list[str]:
        """As ``Catalogue.check``."""
        with self._reads.snapshot():
            return violations(self._reads)


@contextmanager
def open_reader(data: Path) -> Iterator[CatalogueReader]:
    """Read the catalogue of the data directory ``data``, whether a node runs on it or not.

    Raises ConfigError when there is none or a newer tierproxy wrote it, DiskError.
    """
    file = _existing(data)
    with translating():
        reads = Reads(connect(file, cache_kib=READER_CACHE_KIB, read_only=True))
    try:
        with translating():
            refuse_newer(reads.connection, known_migrations())
        yield CatalogueReader(reads)
    finally:
        reads.close()


def hurry_from_outside(data: Path, names: Sequence[ObjectName] | None, now: float) -> int:
    """``Catalogue.hurry`` from another process than the node's, which hears of it by ``changed_outside``. Returns how
    many jobs. Raises as ``open_reader``."""
    file = _existing(data)
    with translating():
        connection = connect(file, cache_kib=READER_CACHE_KIB)
        try:
            refuse_newer(connection, known_migrations())
            connection.execute("BEGIN IMMEDIATE")
            hurried = hurry(connection, names, now)
            connection.execute("UPDATE fact SET value = value + 1 WHERE name = 'outside_changes'")
            connection.execute("COMMIT")
        finally:
            connection.close()
    return hurried


def _existing(data: Path) -> Path:
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
