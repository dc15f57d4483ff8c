"""Metrics of a mount process. It has no node's parts: it is a client of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import ProcessCollector
from prometheus_client.exposition import generate_latest

from tierproxy.fuse.counters import Asked, name_of
from tierproxy.metrics.exposition import CONTENT_TYPE, Page
from tierproxy.metrics.families import Room, Sample, counter, families, gauge, histogram


class Counts(Protocol):
    """What the file system counts since its start."""

    remembered: int
    asked: int
    loads: int
    fetched: int
    near: int
    shared: int
    kept: int
    stubs: int
    pieces: int
    empty: int
    completed: int
    deliveries: int
    copies: int
    renames: int
    rewrites: int
    deletes: int
    refused: int
    failures: int
    tellings: int
    restarts: int
    finished: int
    withdrawn: int
    private_lost: int
    reported: int
    unreported: int


@dataclass(frozen=True, slots=True)
class Held:
    """Now. ``handles``: open files. ``waiting``: requests of the kernel that are not answered yet. ``scratch``: bytes
    of the scratch directory. ``hears``: changes of the bucket are being heard of."""

    handles: int
    waiting: int
    scratch: int
    hears: bool


class Sources(Protocol):
    """What the page is read off."""

    @property
    def asked(self) -> Asked: ...

    @property
    def counts(self) -> Counts: ...

    def held(self) -> Held: ...


REQUESTS = histogram("tierproxy_mount_request_seconds", "Time from a request of the kernel to its answer", "operation")
FAILED = counter("tierproxy_mount_request_failures", "Requests of the kernel that were refused", "operation", "errno")
LOOKUPS = counter("tierproxy_mount_lookups", "Names looked up, by who knew them: memory or node", "source")
LISTINGS = counter("tierproxy_mount_directories_loaded", "Directories listed by the node")
OPENS = counter(
    "tierproxy_mount_opens", "Opens of objects by what they brought: fetched, near (from the node's files), shared "
    "with another open, kept from one before, stub, pieces (above the whole-object limit), empty", "outcome",
)  # fmt: skip
COMPLETED = counter("tierproxy_mount_stubs_completed", "Stubs whose body had to be fetched after all")
CHANGES = counter("tierproxy_mount_changes", "Changes made: delivery, copy, rename, rewrite, delete", "kind")
REFUSED = counter("tierproxy_mount_names_refused", "Names that have no place on the mount (indexes, mdbox)")
DOUBTS = counter("tierproxy_mount_doubts", "Answers of EIO because the node was in doubt")
TOLD = counter("tierproxy_mount_changes_heard", "Changes of the bucket heard of")
RESTARTS = counter("tierproxy_mount_memory_lost", "Times everything remembered was forgotten")
FINISHED = counter("tierproxy_mount_renames_finished", "Interrupted renames completed later")
WITHDRAWN = counter("tierproxy_mount_changes_withdrawn", "Deliveries and copies in doubt that were taken back")
REPORTED = counter(
    "tierproxy_mount_near_reads", "Opens served from the node's files: told to the node, or lost to its counts", "told"
)
LOST = counter("tierproxy_mount_private_copies_lost", "Private copies given up because the node would not have them")
HEARS = gauge("tierproxy_mount_hears_changes", "1 while changes of the bucket are heard of: memory may be believed")
HANDLES = gauge("tierproxy_mount_open_files", "Open files")
WAITING = gauge("tierproxy_mount_requests_in_progress", "Requests of the kernel that wait for their answer")
SCRATCH = gauge("tierproxy_mount_scratch_bytes", "Bytes in the scratch directory")


def _requests(sources: Sources) -> Iterator[Sample]:
    for opcode, latency in sources.asked.latency.items():
        if latency.count:
            yield REQUESTS.of(latency, name_of(opcode))
    for (operation, errno), count in sources.asked.failures().items():
        yield FAILED.of(count, operation, errno)
    held = sources.held()
    yield WAITING.of(held.waiting)
    yield HANDLES.of(held.handles)


def _files(sources: Sources) -> Iterator[Sample]:
    counts = sources.counts
    yield LOOKUPS.of(counts.remembered, "memory")
    yield LOOKUPS.of(counts.asked, "node")
    yield LISTINGS.of(counts.loads)
    for outcome, opens in (
        ("fetched", counts.fetched), ("near", counts.near), ("shared", counts.shared), ("kept", counts.kept),
        ("stub", counts.stubs), ("pieces", counts.pieces), ("empty", counts.empty),
    ):  # fmt: skip
        yield OPENS.of(opens, outcome)
    yield COMPLETED.of(counts.completed)
    yield REPORTED.of(counts.reported, "yes")
    yield REPORTED.of(counts.unreported, "no")
    for kind, made in (
        ("delivery", counts.deliveries), ("copy", counts.copies), ("rename", counts.renames),
        ("rewrite", counts.rewrites), ("delete", counts.deletes),
    ):  # fmt: skip
        yield CHANGES.of(made, kind)


def _doubts(sources: Sources) -> Iterator[Sample]:
    counts, held = sources.counts, sources.held()
    yield HEARS.of(float(held.hears))
    yield SCRATCH.of(held.scratch)
    for metric, count in (
        (REFUSED, counts.refused), (DOUBTS, counts.failures), (TOLD, counts.tellings), (RESTARTS, counts.restarts),
        (FINISHED, counts.finished), (WITHDRAWN, counts.withdrawn), (LOST, counts.private_lost),
    ):  # fmt: skip
        yield metric.of(count)


ROOMS: tuple[Room[Sources], ...] = (
    Room("Mount: requests of the kernel", (REQUESTS, FAILED, WAITING, HANDLES), _requests),
    Room("Mount: files", (LOOKUPS, LISTINGS, OPENS, COMPLETED, REPORTED, CHANGES), _files),
    Room("Mount: doubt", (HEARS, SCRATCH, REFUSED, DOUBTS, TOLD, RESTARTS, FINISHED, WITHDRAWN, LOST), _doubts),
)


def page(sources: Sources) -> tuple[bytes, str]:
    """The text of a mount's /metrics and its content type."""
    parts = [generate_latest(Page(families(room.metrics, list(room.look(sources))))) for room in ROOMS]
    return b"".join([*parts, generate_latest(ProcessCollector(registry=None))]), CONTENT_TYPE
