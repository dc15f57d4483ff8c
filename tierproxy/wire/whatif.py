"""What-if: simulations, curves, advice, and the long work that makes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tierproxy.wire.base import Amount, Document, Number, Question, Ratio, When
from tierproxy.wire.rules import LARGEST, Fault
from tierproxy.wire.status import CostLine

JobKind = Literal["simulate", "curve", "advise", "warm", "history"]
JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
Lines = list[tuple[float, float]]


class ReasonCount(Document):
    """What one reason removed in a simulation, and how many reads missed it later, by how soon."""

    by: str
    objects: int
    bytes: int
    regrets: int
    soon: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)


class AltUse(Document):
    """Requests to alt by class (get, put, delete, head, list), and bytes each way."""

    requests: dict[str, int]
    sent_bytes: int
    received_bytes: int


class Outcome(Document):
    """What one candidate would have done. Reads and hits are people's; ``disk``: per day (start, highest bytes).
    ``delay``: seconds to the first byte. ``dollars``: a month; ``bill`` says of what. A ``policy`` without rules (lru,
    sieve, belady...) has no purges by rule and may have no bill."""

    name: str
    policy: str
    reads: int
    hits: int
    misses: int
    machine_reads: int = 0
    machine_hits: int = 0
    hit_ratio: Ratio | None
    byte_hit_ratio: Ratio | None
    fills: int = 0
    purged: Amount = Amount()
    regrets: int = 0
    by_reason: list[ReasonCount] = []
    disk: Lines = []
    disk_mean: float = 0.0
    disk_peak: int = 0
    alt: AltUse | None = None
    delay_mean: float | None = None
    delay_p99: float | None = None
    dollars: float | None = None
    bill: list[CostLine] = []
    ceiling: bool = False


class Simulation(Document):
    """Candidates beside one another over the same traffic. ``events_per_second``: how fast it was."""

    since: float
    until: float
    events: int
    objects: int
    budget: int
    outcomes: list[Outcome]
    warnings: list[str] = []
    events_per_second: float = 0.0


class Curve(Document):
    """The miss-ratio curve: (disk bytes, hit ratio) by LRU, and by bytes. ``wanted``: hit ratio to the smallest disk
    that reaches it, null: none does. ``budget`` is the live one, with its place on the curve."""

    since: float
    until: float
    events: int
    sampled: int
    rate: float
    hit_ratio: Lines
    byte_hit_ratio: Lines
    wanted: dict[str, int | None]
    budget: int
    budget_hit_ratio: float | None
    working_set: int


class Advice(Document):
    """One proposal. ``held_out``: on days the search has not seen, beside ``baseline`` there."""

    name: str
    about: str
    rules: str
    held_out: Outcome
    trained: Outcome
    saves_reads: int = 0
    saves_dollars: float | None = None
    saves_bytes: float = 0.0


class Advised(Document):
    """At most three proposals, the best first; none: ``verdict`` says that no rule helps, and why."""

    since: float
    split: float
    until: float
    tried: int
    verdict: str
    baseline: Outcome
    live: Outcome | None = None
    ceiling: Outcome | None = None
    proposals: list[Advice]


class Candidate(Question):
    """Rules to try: a text, or what is in force (``live``, ``shadow``)."""

    name: Annotated[str, Field(min_length=1, max_length=80)]
    text: str | None = Field(default=None, max_length=LARGEST)
    version: Literal["live", "shadow"] | Number | None = None


class SimulateWish(Question):
    """Replay recorded traffic. ``policies``: plain ones to put beside (lru, fifo, lfu, sieve, s3-fifo, gdsf,
    w-tinylfu, belady). ``budget``: disk bytes instead of those in force."""

    candidates: list[Candidate] = Field(default=[], max_length=8)
    policies: list[str] = Field(default=[], max_length=10)
    since: When | None = None
    until: When | None = None
    budget: Annotated[Number, Field(ge=1)] | None = None
    sample: float = Field(default=1.0, gt=0, le=1)


class CurveWish(Question):
    """The miss-ratio curve of recorded traffic."""

    since: When | None = None
    until: When | None = None


class AdviseWish(Question):
    """Search rules on recorded traffic. ``held_out``: share of the days that proposals are judged on."""

    since: When | None = None
    until: When | None = None
    budget: Annotated[Number, Field(ge=1)] | None = None
    held_out: float = Field(default=0.3, gt=0, lt=1)


class WarmWish(Question):
    """Bring objects to disk: those below ``target`` (BUCKET[/PREFIX]), or those that run ``run`` removed."""

    target: str = Field(default="", max_length=1100)
    run: Number | None = None
    max_bytes: Number = 0


class HistoryWish(Question):
    """Count what the access history has of a time."""

    since: When | None = None
    until: When | None = None


class Progress(Document):
    """``done`` of ``total`` (0: not known yet) in ``unit``; ``phase`` in words."""

    phase: str = ""
    done: float = 0
    total: float = 0
    unit: str = ""


class Job(Document):
    """Long work. ``result`` when it is done: a Simulation, Curve, Advised, Warmed or HistoryStats by ``kind``; in lists
    it is left out."""

    id: str
    kind: JobKind
    state: JobState
    asked_at: float
    author: str
    started_at: float | None = None
    ended_at: float | None = None
    progress: Progress = Progress()
    error: str = ""
    faults: list[Fault] = []
    title: str = ""
    result: dict[str, Any] | None = None


class Warmed(Document):
    """What a warm-up did."""

    fetched: int
    bytes: int
    on_disk: int
    passed: int
    gone: int
    failed: int
    stopped: str = ""
