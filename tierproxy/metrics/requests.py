"""Metrics of reads and writes."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.metrics.families import Room, Sample, counter, gauge, histogram
from tierproxy.metrics.sources import Sources
from tierproxy.model import Tier
from tierproxy.traffic import Outcome, Reason

TIERS = {Outcome.MEMORY: Tier.MEMORY, Outcome.DISK: Tier.DISK, Outcome.STUB: Tier.STUB}

GETS = counter(
    "tierproxy_gets",
    "Gets by where their bytes came from: memory and disk are hits; fill, join and pass are misses; error failed "
    "before its first byte; stub (head or tail of a body that is not on disk) is neither",
    "outcome",
)
FIRST_BYTE = histogram(
    "tierproxy_get_first_byte_seconds", "Time from a get to the first byte of its answer", "tier", "outcome"
)
PHASES = histogram(
    "tierproxy_phase_seconds",
    "Time that gets and puts spent in a phase, as in Server-Timing; of a put, disk includes the arrival of the body",
    "operation", "phase",
)  # fmt: skip
DELIVERED = counter("tierproxy_delivered_bytes", "Body bytes that went out to clients", "tier")
READS = counter(
    "tierproxy_reads", "Reads by who read (person, or a machine's reason) and whether a near tier had it, as first "
    "taken", "reason", "result",
)  # fmt: skip
CORRECTED = counter(
    "tierproxy_reads_corrected", "Reads taken for a person's that turned out to be a scan's: subtract them", "result"
)
LOST = counter("tierproxy_read_counts_lost", "Reads whose count was given up while the catalogue failed")
STALE = counter("tierproxy_stale_fills", "Fills thrown away because the object changed meanwhile")
REPAIRS = counter("tierproxy_repairs", "Blobs found damaged by a read or by the scrub")

PUTS = counter("tierproxy_puts", "Acknowledged writes by who had them then: both, disk or alt", "held")
QUEUED = counter("tierproxy_puts_queued", "Acknowledged writes that wait in the upload queue for alt")
DELETES = counter("tierproxy_deletes", "Acknowledged deletes")
PUT_TIME = histogram("tierproxy_put_seconds", "Time of a write from its head to its acknowledgement, body included")
DELETE_TIME = histogram("tierproxy_delete_seconds", "Time of a delete to its acknowledgement")

ANSWERS = counter("tierproxy_http_responses", "Answers of the object port by status code; 0: none was begun", "code")
RUNNING = gauge("tierproxy_http_requests_in_progress", "Requests being answered by the object port")
CONNECTIONS = gauge("tierproxy_http_connections", "Open connections of clients")
OVERLOAD = counter(
    "tierproxy_overload", "What was refused or ended for want of room: connection refused, idle connection closed, "
    "accept failed (the system had no descriptor), request refused (503 SlowDown), slow request cut", "what",
)  # fmt: skip

WORKER_ANSWERS = counter(
    "tierproxy_worker_answers", "Requests a hit worker has answered; in tierproxy_http_responses as well", "worker"
)
WORKER_PASSED = counter("tierproxy_worker_passed", "Connections a hit worker has passed to the node", "worker")
WORKER_CONNECTIONS = gauge(
    "tierproxy_worker_connections", "Open connections at a hit worker; in tierproxy_http_connections as well", "worker"
)
WORKER_RUNNING = gauge("tierproxy_worker_running", "1: the hit worker listens; 0: the node does in its place", "worker")
WORKER_RESTARTS = counter("tierproxy_worker_restarts", "Times a hit worker ended and another took its place", "worker")


def _reads(sources: Sources) -> Iterator[Sample]:
    counters = sources.counters
    for outcome in Outcome:
        yield GETS.of(counters.of(outcome), outcome)
        yield FIRST_BYTE.of(counters.latency[outcome], TIERS.get(outcome, Tier.ALT), outcome)
    yield GETS.of(counters.errors, "error")
    for (operation, phase), latency in counters.phases.items():
        yield PHASES.of(latency, operation, phase)
    for tier, sent in counters.delivered.items():
        yield DELIVERED.of(sent, tier)
    for reason, count in counters.reads.items():
        hits = counters.person_hits if reason is Reason.PERSON else counters.machine_hits[reason]
        yield READS.of(hits, reason, "hit")
        yield READS.of(count - hits, reason, "miss")
    yield CORRECTED.of(counters.corrected_hits, "hit")
    yield CORRECTED.of(counters.corrected_misses, "miss")
    yield LOST.of(counters.lost_counts)
    yield STALE.of(counters.stale_fills)
    yield REPAIRS.of(counters.repairs)


def _writes(sources: Sources) -> Iterator[Sample]:
    counters = sources.counters
    for held, count in counters.acks.items():
        yield PUTS.of(count, held)
    yield QUEUED.of(counters.queued_puts)
    yield DELETES.of(counters.deletes)
    yield PUT_TIME.of(counters.put_latency)
    yield DELETE_TIME.of(counters.delete_latency)


def _port(sources: Sources) -> Iterator[Sample]:
    activity = sources.activity()
    for code, count in activity.answers.items():
        yield ANSWERS.of(count, str(code))
    yield RUNNING.of(activity.requests)
    yield CONNECTIONS.of(activity.connections)
    for what, count in activity.overload.items():
        yield OVERLOAD.of(count, what)
    for worker in activity.workers:
        yield WORKER_ANSWERS.of(worker.answers, str(worker.place))
        yield WORKER_PASSED.of(worker.passed, str(worker.place))
        yield WORKER_CONNECTIONS.of(worker.connections, str(worker.place))
        yield WORKER_RUNNING.of(worker.running, str(worker.place))
        yield WORKER_RESTARTS.of(worker.restarts, str(worker.place))


ROOMS = (
    Room("Reads", (GETS, FIRST_BYTE, PHASES, DELIVERED, READS, CORRECTED, LOST, STALE, REPAIRS), _reads),
    Room("Writes", (PUTS, QUEUED, DELETES, PUT_TIME, DELETE_TIME), _writes),
    Room(
        "The object port",
        (
            ANSWERS,
            RUNNING,
            CONNECTIONS,
            OVERLOAD,
            WORKER_RUNNING,
            WORKER_ANSWERS,
            WORKER_PASSED,
            WORKER_CONNECTIONS,
            WORKER_RESTARTS,
        ),
        _port,
    ),
)
