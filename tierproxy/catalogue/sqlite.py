"""The catalogue in SQLite: one facade over its parts, each of which has the methods of one subject."""

from __future__ import annotations

from pathlib import Path

from tierproxy.catalogue.blobs import Blobs
from tierproxy.catalogue.buckets import Buckets
from tierproxy.catalogue.connection import catalogue_file
from tierproxy.catalogue.counting import CountBook
from tierproxy.catalogue.database import Database
from tierproxy.catalogue.entries import Entries
from tierproxy.catalogue.gauges import Gauges
from tierproxy.catalogue.generations import BLOCK, Generations
from tierproxy.catalogue.journal import Journal
from tierproxy.catalogue.listing import Listing
from tierproxy.catalogue.multipart import Multipart
from tierproxy.catalogue.naming import Names, Naming, register
from tierproxy.catalogue.offline import Offline
from tierproxy.catalogue.pins import Pins
from tierproxy.catalogue.planning import Plans
from tierproxy.catalogue.purging import Purges
from tierproxy.catalogue.reserve import Reserve
from tierproxy.catalogue.runs import Runs
from tierproxy.catalogue.shadow import ShadowBook
from tierproxy.catalogue.versions import Versions
from tierproxy.ports import Offload


class SqliteCatalogue:
    """``tierproxy.ports.Catalogue`` on ``<data>/catalogue/catalogue.sqlite``.

    The port's methods are the parts' own bound methods: a look-up costs no second call.
    """

    def __init__(
        self, data: Path, threads: Offload, *, generation_block: int = BLOCK, naming: Naming | None = None,
        reserve: Reserve | None = None,
    ) -> None:  # fmt: skip
        """Open, migrate and reserve generations. Blocks (milliseconds); at start only. ``threads`` reads pages and
        stays the caller's; ``naming`` says owner and folder class of a name, in the writer's thread; ``reserve``,
        open, is let go when there is no room. Raises ConfigError for a catalogue of a newer version, DiskError."""
        self._database = database = Database(
            catalogue_file(data), threads, lambda connection: register(connection, naming), reserve
        )
        try:
            generations = Generations(database, generation_block)
        except BaseException:
            database.abandon()
            raise
        self.next_generation, self.raise_generation = generations.next_generation, generations.raise_generation
        self.unaccounted, self.committed = generations.unaccounted, generations.committed
        self.account_for = generations.account_for
        self._rows(database)
        self._counts(database)
        self._purges(database)
        self._walks(database)
        self._buckets(database)
        self.close = database.close

    def __repr__(self) -> str:
        return f"<SqliteCatalogue {self._database.file}>"

    @property
    def commits(self) -> int:
        """Transactions committed so far; fewer than changes, when changes come together."""
        return self._database.writer.commits

    def _rows(self, database: Database) -> None:
        entries = Entries(database)
        self.find, self.publish, self.fill, self.learn = entries.find, entries.publish, entries.fill, entries.learn
        self.suspect, self.settle, self.uploaded = entries.suspect, entries.settle, entries.uploaded
        self.tombstone, self.forget = entries.tombstone, entries.forget

        blobs = Blobs(database)
        self.victims, self.drop_blob = blobs.victims, blobs.drop_blob

        journal = Journal(database)
        self.due, self.next_due, self.jobs = journal.due, journal.next_due, journal.jobs
        self.postpone, self.hurry, self.queue_totals = journal.postpone, journal.hurry, journal.queue_totals
        self.changed_outside = journal.changed_outside
        self.gauges = Gauges(database).gauges

    def _counts(self, database: Database) -> None:
        counting = CountBook(database)
        self.count, self.prune_counts = counting.count, counting.prune_counts
        self.rollups, self.records = counting.rollups, counting.records
        names = Names(database)
        self.named_by, self.name_by, self.reclassify = names.named_by, names.name_by, names.reclassify
        shadow = ShadowBook(database)
        self.begin_shadow, self.end_shadow = shadow.begin_shadow, shadow.end_shadow
        self.shadow, self.shadow_drop = shadow.shadow, shadow.shadow_drop

    def _purges(self, database: Database) -> None:
        plans = Plans(database)
        self.survey, self.decided, self.pressed, self.ahead = plans.survey, plans.decided, plans.pressed, plans.ahead
        self.small_bytes, self.standing, self.stats = plans.small_bytes, plans.standing, plans.stats

        purges, runs = Purges(database), Runs(database)
        self.drop_blobs, self.requeue, self.eviction = purges.drop_blobs, purges.requeue, purges.eviction
        self.pin = Pins(database).pin
        self.run, self.runs, self.run_rules, self.add_run = runs.run, runs.runs, runs.run_rules, runs.add_run
        self.save_run, self.confirm_run, self.cancel_run = runs.save_run, runs.confirm_run, runs.cancel_run
        self.prune_runs = runs.prune_runs
        versions = Versions(database)
        self.version, self.versions = versions.version, versions.versions
        self.add_version, self.version_live = versions.add_version, versions.version_live

    def _walks(self, database: Database) -> None:
        listing = Listing(database.pool)
        self.page, self.dirty_page, self.entries_in = listing.page, listing.dirty_page, listing.entries_in
        self.blob_page, self.blobs_known, self.keys_after = listing.blob_page, listing.blobs_known, listing.keys_after

        offline = Offline(database)
        self.insert_listed, self.adopt, self.check = offline.insert_listed, offline.adopt, offline.check

    def _buckets(self, database: Database) -> None:
        buckets = Buckets(database)
        self.bucket, self.buckets, self.totals = buckets.bucket, buckets.buckets, buckets.totals
        self.add_bucket, self.complete_bucket = buckets.add_bucket, buckets.complete_bucket
        self.remove_bucket = buckets.remove_bucket

        multipart = Multipart(database)
        self.add_upload, self.upload, self.uploads = multipart.add_upload, multipart.upload, multipart.uploads
        self.uploads_before, self.remove_upload = multipart.uploads_before, multipart.remove_upload
        self.add_part, self.parts = multipart.add_part, multipart.parts
        self.part_files, self.part_bytes = multipart.part_files, multipart.part_bytes
