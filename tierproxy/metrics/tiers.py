"""Metrics of what is safe, and of the tiers: the queue, alt, the disk, memory, the catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.metrics.families import Room, Sample, counter, gauge, histogram
from tierproxy.metrics.sources import Sources

DIRTY = gauge("tierproxy_dirty_objects", "Objects that exist on one disk only: alt does not have their bytes yet")
DIRTY_BYTES = gauge("tierproxy_dirty_bytes", "Bytes that exist on one disk only")
DIRTY_AGE = gauge(
    "tierproxy_dirty_oldest_age_seconds", "How long the oldest object has existed on one disk only; 0: there is none"
)
DEADLINE = gauge("tierproxy_queue_deadline_seconds", "[queue] deadline: how old that may become")
JOBS = gauge("tierproxy_queue_jobs", "Uploads and deletes that alt has not confirmed")
MOST_JOBS = gauge("tierproxy_queue_max_jobs", "[queue] max_jobs: beyond it writes must reach alt to be acknowledged")
QUEUE_BYTES = gauge("tierproxy_queue_bytes", "Bytes of the uploads that wait")
QUEUE_AGE = gauge("tierproxy_queue_oldest_age_seconds", "How long the oldest job has waited; 0: there is none")
FAILING = gauge("tierproxy_queue_failing_jobs", "Jobs whose last try failed")
TRYING = gauge("tierproxy_queue_running_jobs", "Jobs being tried now")
UPLOADS = counter("tierproxy_uploads", "Tries of the upload queue: done or failed", "result")

ALT_REQUESTS = counter(
    "tierproxy_alt_requests", "Operations asked of alt by what became of them", "operation", "outcome"
)
ALT_TIME = histogram(
    "tierproxy_alt_request_seconds", "Time of operations of alt that succeeded; of a get until its headers", "operation"
)
ALT_BYTES = counter("tierproxy_alt_bytes", "Body bytes read from alt and written to it", "direction")

USED = gauge("tierproxy_disk_used_bytes", "Bytes of blobs and staged parts on disk")
RESERVED = gauge("tierproxy_disk_reserved_bytes", "Bytes promised to files that are being written")
PEAK = gauge("tierproxy_disk_peak_used_bytes", "The most that was used since the start")
BUDGET = gauge("tierproxy_disk_max_bytes", "The disk budget")
HIGH = gauge("tierproxy_disk_high_water_bytes", "Where a pressure purge starts")
LOW = gauge("tierproxy_disk_low_water_bytes", "Where it stops")
LIMIT = gauge("tierproxy_disk_hard_limit_bytes", "Beyond this writes are refused")
BLOBS = gauge("tierproxy_disk_objects", "Objects on disk")
IDLE = gauge(
    "tierproxy_disk_oldest_idle_age_seconds", "How long nobody has read the clean object on disk that was idle longest"
)
BUCKET_USED = gauge("tierproxy_bucket_used_bytes", "Bytes on disk of buckets that have a budget", "bucket")
BUCKET_BUDGET = gauge("tierproxy_bucket_max_bytes", "Budgets of buckets", "bucket")
FREE = gauge("tierproxy_filesystem_free_bytes", "Bytes free on the file system of the data directory")
SIZE = gauge("tierproxy_filesystem_size_bytes", "Its size")
INODES_FREE = gauge("tierproxy_filesystem_free_inodes", "Its free inodes; 0 with 0 inodes: it does not count them")
INODES = gauge("tierproxy_filesystem_inodes", "Its inodes")
KEEP_FREE = gauge(
    "tierproxy_filesystem_min_free_bytes", "[disk] min_free: less free bytes than this, and nothing is written"
)
KEEP_INODES = gauge("tierproxy_filesystem_min_free_inodes", "The same in inodes")

MEMORY = gauge("tierproxy_memory_used_bytes", "Bytes in the memory tier")
MEMORY_MAX = gauge("tierproxy_memory_max_bytes", "What the memory tier may hold")
STUBS = gauge("tierproxy_stub_objects", "Objects of which head and tail are kept; served: tierproxy_gets_total, stub")
STUB_BYTES = gauge("tierproxy_stub_used_bytes", "Bytes on disk that stubs take")
STUB_MAX = gauge("tierproxy_stub_max_bytes", "[stubs] max_bytes: what they may take")
OBJECTS = gauge("tierproxy_catalogue_objects", "Objects the catalogue knows")
BYTES = gauge("tierproxy_catalogue_bytes", "Their bytes, wherever they are")
FILE = gauge("tierproxy_catalogue_file_bytes", "Size of the catalogue's file")
WAL = gauge("tierproxy_catalogue_wal_bytes", "Size of its write-ahead log")


def _safety(sources: Sources) -> Iterator[Sample]:
    totals, now = sources.catalogue.totals(), sources.clock.now()
    yield DIRTY.of(totals.dirty)
    yield DIRTY_BYTES.of(totals.dirty_bytes)
    yield DIRTY_AGE.of(_age(now, sources.measured.gauges.oldest_dirty_at if totals.dirty else None))


def _queue(sources: Sources) -> Iterator[Sample]:
    settings, queue = sources.config().queue, sources.catalogue.queue_totals()
    yield DEADLINE.of(float(settings.deadline))
    yield JOBS.of(queue.jobs)
    yield MOST_JOBS.of(settings.max_jobs)
    yield QUEUE_BYTES.of(queue.bytes)
    yield QUEUE_AGE.of(_age(sources.clock.now(), queue.oldest_queued_at))
    yield FAILING.of(queue.failing)
    yield TRYING.of(sources.queue.running)
    yield UPLOADS.of(sources.counters.uploads, "done")
    yield UPLOADS.of(sources.counters.upload_failures, "failed")


def _alt(sources: Sources) -> Iterator[Sample]:
    alt = sources.alt
    for (operation, outcome), count in alt.requests.items():
        yield ALT_REQUESTS.of(count, operation, outcome)
    for operation, latency in alt.latency.items():
        yield ALT_TIME.of(latency, operation)
    yield ALT_BYTES.of(alt.bytes_read, "read")
    yield ALT_BYTES.of(alt.bytes_written, "written")


def _disk(sources: Sources) -> Iterator[Sample]:
    space = sources.space
    settings = space.settings
    yield USED.of(space.used)
    yield RESERVED.of(space.reserved)
    yield PEAK.of(space.peak)
    yield BUDGET.of(settings.max_bytes)
    yield HIGH.of(space.high)
    yield LOW.of(space.low)
    yield LIMIT.of(int(settings.max_bytes * settings.hard_limit))
    yield BLOBS.of(sources.catalogue.totals().blobs)
    yield IDLE.of(_age(sources.clock.now(), sources.measured.gauges.idle_since))
    for bucket, most in space.budgets.items():
        yield BUCKET_USED.of(space.footprint(bucket), bucket)
        yield BUCKET_BUDGET.of(most, bucket)


def _filesystem(sources: Sources) -> Iterator[Sample]:
    free, keep = sources.space.free(), sources.space.settings.min_free
    yield FREE.of(free.free_bytes)
    yield SIZE.of(free.total_bytes)
    yield INODES_FREE.of(free.free_inodes)
    yield INODES.of(free.total_inodes)
    yield KEEP_FREE.of(keep.of(free.total_bytes))
    yield KEEP_INODES.of(keep.of(free.total_inodes) if keep.percent is not None else 0)


def _memory(sources: Sources) -> Iterator[Sample]:
    yield MEMORY.of(sources.hot.bytes_used)
    yield MEMORY_MAX.of(sources.config().memory.max_bytes)


def _stubs(sources: Sources) -> Iterator[Sample]:
    yield STUBS.of(sources.stubs.objects)
    yield STUB_BYTES.of(sources.stubs.bytes_used)
    yield STUB_MAX.of(sources.config().stubs.max_bytes)


def _catalogue(sources: Sources) -> Iterator[Sample]:
    totals, gauges = sources.catalogue.totals(), sources.measured.gauges
    yield OBJECTS.of(totals.objects)
    yield BYTES.of(totals.bytes)
    yield FILE.of(gauges.file_bytes)
    yield WAL.of(gauges.wal_bytes)


def _age(now: float, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, now - since)


ROOMS = (
    Room("Is mail safe", (DIRTY, DIRTY_BYTES, DIRTY_AGE), _safety),
    Room(
        "The upload queue",
        (DEADLINE, JOBS, MOST_JOBS, QUEUE_BYTES, QUEUE_AGE, FAILING, TRYING, UPLOADS),
        _queue,
    ),
    Room("Alt", (ALT_REQUESTS, ALT_TIME, ALT_BYTES), _alt),
    Room(
        "The disk",
        (USED, RESERVED, PEAK, BUDGET, HIGH, LOW, LIMIT, BLOBS, IDLE, BUCKET_USED, BUCKET_BUDGET),
        _disk,
    ),
    Room("The file system", (FREE, SIZE, INODES_FREE, INODES, KEEP_FREE, KEEP_INODES), _filesystem),
    Room("Memory", (MEMORY, MEMORY_MAX), _memory),
    Room("Stubs", (STUBS, STUB_BYTES, STUB_MAX), _stubs),
    Room("The catalogue", (OBJECTS, BYTES, FILE, WAL), _catalogue),
)
