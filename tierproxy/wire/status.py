"""How the node is, now and over time."""

from __future__ import annotations

from typing import Literal

from tierproxy.wire.base import Amount, Document, Ratio

Health = Literal["ok", "trouble", "unknown"]


class Safety(Document):
    """Is mail safe. ``one_disk``: what exists on this disk and nowhere else; ``oldest_at``: since when the oldest of it
    does. ``failing``: uploads that have failed before and wait for another try."""

    one_disk: Amount
    oldest_at: float | None
    queue_jobs: int
    queue_bytes: int
    failing: int
    deadline: float
    alt: Health
    alt_since: float | None = None
    alt_error: str = ""


class Hits(Document):
    """Gets of bodies in a time: all, those from memory or disk, and their share. ``stubs``: gets answered with head or
    tail of a body that is not on disk, which are none of these."""

    gets: int
    hits: int
    ratio: Ratio | None
    stubs: int = 0


class PeoplesHits(Document):
    """Reads by people in a time, and those whose first bytes came from memory or disk."""

    reads: int
    hits: int
    ratio: Ratio | None


class TierLatency(Document):
    """Time to the first byte of gets of one outcome, within the last hour. Seconds, upper bounds of powers of two."""

    outcome: str
    gets: int
    mean: float | None
    p50: float | None
    p99: float | None


class Speed(Document):
    """Is it fast. By ``hour``, ``day`` and ``week``; ``per_second``: gets, over the last minute that is whole."""

    people: dict[str, PeoplesHits]
    hits: dict[str, Hits]
    latency: list[TierLatency]
    per_second: float


class DiskBudget(Document):
    """The disk budget in force. ``high``, ``low``, ``hard``: bytes. ``peak``: most used since the node started, null
    without a node. ``buckets``: those with a budget of their own."""

    used: int
    max_bytes: int
    high: int
    low: int
    hard: int
    reserved: int = 0
    peak: int | None = None
    free_bytes: int
    min_free_bytes: int
    free_inodes: int
    inodes: int
    buckets: dict[str, BucketUse] = {}


class BucketUse(Document):
    """A bucket's part of the budget."""

    used: int
    max_bytes: int


class Tier(Document):
    """What a tier holds. ``objects`` of alt are those the catalogue knows; stubs are heads and tails."""

    tier: Literal["memory", "disk", "stub", "alt"]
    objects: int
    bytes: int
    max_bytes: int | None = None


class TierHealth(Document):
    """How well a tier does, as far as the calls to it tell. ``subject``: the data directory of the disk, a bucket of
    alt. ``since``: of the state; down and probing are one. ``changes``: of state since the node started."""

    tier: Literal["disk", "alt"]
    subject: str
    state: Literal["normal", "unstable", "down", "probing"]
    since: float
    reason: str = ""
    changes: int = 0


class Workers(Document):
    """The hit workers. ``running``: of ``places``; the node listens in the place of the others. ``restarts``: times a
    process ended and another took its place, since the node started; so are ``answers`` and ``passed``."""

    places: int
    running: int
    restarts: int
    connections: int
    answers: int
    passed: int


class Alarm(Document):
    """Something an operator must act on; docs/operations.md says what to do about each."""

    alarm: str
    subject: str
    facts: dict[str, str | int | float | bool | None] = {}


class Status(Document):
    """Everything the first screen shows. ``node``: one runs; without it only what the data directory says.
    ``workers``: null without any."""

    now: float
    node: bool
    name: str = ""
    version: str
    started_at: float | None = None
    data: str
    url: str | None = None
    safety: Safety
    speed: Speed
    disk: DiskBudget
    tiers: list[Tier]
    health: list[TierHealth] = []
    workers: Workers | None = None
    alarms: list[Alarm] = []
    rules_version: int
    rules_about: str
    shadow: bool = False
    open_runs: int = 0
    warnings: list[str] = []


class Bucket(Document):
    """A bucket clients see."""

    name: str
    alt_bucket: str
    complete: bool
    exclusive: bool
    objects: int
    bytes: int
    disk_objects: int
    disk_bytes: int
    dirty: Amount


class Point(Document):
    """Counters of one span: a minute, an hour or a day. ``latency``: outcome to (mean, p50, p99) in seconds."""

    at: float
    gets: dict[str, int] = {}
    reads: int = 0
    machine_reads: int = 0
    person_hits: int = 0
    regrets: int = 0
    puts: int = 0
    deletes: int = 0
    delivered: dict[str, int] = {}
    alt: dict[str, int] = {}
    latency: dict[str, tuple[float, float, float]] = {}


class Series(Document):
    """Points in order of time; spans without any traffic are left out."""

    span: Literal["minute", "hour", "day"]
    since: float
    until: float
    points: list[Point]


class CostLine(Document):
    """One line of the bill. ``amount`` in ``unit``; ``dollars`` a month."""

    what: str
    amount: float
    unit: str
    dollars: float


class Costs(Document):
    """What it costs a month, at the traffic of the last ``days``; prices of ``priced`` (a date) from ``sheet``."""

    days: float
    priced: str
    sheet: str
    lines: list[CostLine]
    total: float
    without_disk: float | None = None


DiskBudget.model_rebuild()
