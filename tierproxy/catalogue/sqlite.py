"""The catalogue in SQLite: one facade over its parts, each of which has the methods of one subject."""

from __future__ import annotations

from pathlib import Path

from tierproxy.catalogue.blobs import Blobs
from tierproxy.catalogue.buckets import Buckets
from tierproxy.catalogue.connection import catalogue_file
from tierproxy.catalogue.database import Database
from tierproxy.catalogue.entries import Entries
from tierproxy.catalogue.generations import BLOCK, Generations
from tierproxy.catalogue.journal import Journal
from tierproxy.catalogue.listing import Listing
from tierproxy.catalogue.multipart import Multipart
from tierproxy.catalogue.offline import Offline
from tierproxy.ports import Offload


class SqliteCatalogue:
    """``tierproxy.ports.Catalogue`` on ``<data>/catalogue/catalogue.sqlite``.

    The port's methods are the parts' own bound methods: a look-up costs no second call.
    """

    def __init__(self, data: Path, threads: Offload, *, generation_block: int = BLOCK) -> None:
        """Open, migrate and reserve generations. Blocks (milliseconds); at start only. ``threads`` reads pages and
        stays the caller's. Raises ConfigError for a catalogue of a newer version, DiskError."""
        self._database = database = Database(catalogue_file(data), threads)
        try:
            generations = Generations(database, generation_block)
        except BaseException:
            database.abandon()
            raise
        self.next_generation, self.raise_generation = generations.next_generation, generations.raise_generation
        self.unaccounted, self.committed = generations.unaccounted, generations.committed
        self.account_for = generations.account_for

        entries = Entries(database)
        self.find, self.publish, self.fill, self.learn = entries.find, entries.publish, entries.fill, entries.learn
        self.suspect, self.settle, self.uploaded = entries.suspect, entries.settle, entries.uploaded
        self.tombstone, self.forget = entries.tombstone, entries.forget

        blobs = Blobs(database)
        self.victims, self.drop_blob, self.touch = blobs.victims, blobs.drop_blob, blobs.touch

        journal = Journal(database)
        self.due, self.next_due, self.jobs = journal.due, journal.next_due, journal.jobs
        self.postpone, self.hurry, self.queue_totals = journal.postpone, journal.hurry, journal.queue_totals
        self.changed_outside = journal.changed_outside

        listing = Listing(database.pool)
        self.page, self.dirty_page, self.entries_in = listing.page, listing.dirty_page, listing.entries_in
        self.blob_page, self.blobs_known, self.keys_after = listing.blob_page, listing.blobs_known, listing.keys_after

        buckets = Buckets(database)
        self.bucket, self.buckets, self.totals = buckets.bucket, buckets.buckets, buckets.totals
        self.add_bucket, self.complete_bucket = buckets.add_bucket, buckets.complete_bucket
        self.remove_bucket = buckets.remove_bucket

        multipart = Multipart(database)
        self.add_upload, self.upload, self.uploads = multipart.add_upload, multipart.upload, multipart.uploads
        self.uploads_before, self.remove_upload = multipart.uploads_before, multipart.remove_upload
        self.add_part, self.parts = multipart.add_part, multipart.parts
        self.part_files, self.part_bytes = multipart.part_files, multipart.part_bytes

        offline = Offline(database)
        self.insert_listed, self.adopt, self.check = offline.insert_listed, offline.adopt, offline.check

        self.close = database.close

    def __repr__(self) -> str:
        return f"<SqliteCatalogue {self._database.file}>"

    @property
    def commits(self) -> int:
        """Transactions committed so far; fewer than changes, when changes come together."""
        return self._database.writer.commits
