"""The nouns of purging: what is considered, what goes, what was done. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tierproxy.model import Entry, ObjectName
from tierproxy.rules.evaluate import Facts
from tierproxy.rules.model import NO_RULES, RuleSet

PRESSURE = "pressure"
OPERATOR = "operator"
REPAIR = "repair"  #: not a purge: the blob was damaged. No regret is booked on it
RULE = "rule:"


def by_rule(name: str) -> str:
    """``Entry.purged_by`` of a purge that the rule ``name`` decided."""
    return RULE + name


@dataclass(frozen=True, slots=True)
class Version:
    """A rule file as it was put in force. ``kind``: ``live`` or ``shadow``. ``live_at``: since when the node works by
    it, None: it has not picked it up yet. Number 0 is no file at all."""

    number: int
    kind: str
    at: float
    author: str
    reason: str
    text: str
    live_at: float | None = None


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """The rules a run, an explanation or a policy works by."""

    number: int = 0
    rules: RuleSet = NO_RULES


@dataclass(frozen=True, slots=True)
class Scope:
    """What a plan looks at: rules, the moment, and one bucket or (``""``) all. ``rule``: only entries that this rule
    (index in ``rules.rules``) decides. ``prefix``: only keys that begin so. ``shadow``: the disk as the shadow rules
    would have it."""

    rules: RuleSet
    now: float
    bucket: str = ""
    prefix: str = ""
    rule: int | None = None
    shadow: bool = False

    @property
    def confined(self) -> bool:
        """Not everything is looked at."""
        return bool(self.bucket or self.prefix) or self.rule is not None

    def whole(self) -> Scope:
        """Everything, by the same rules at the same moment."""
        return replace(self, bucket="", prefix="", rule=None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A CLEAN entry with a blob that may go: not pinned, not younger on disk than ``min_on_disk``.

    ``rule``: index of the rule that decides it, None: undecided. ``rank``: what the order sorts by, ascending, for
    going on after it; ties are broken by bucket and key. ``visits``, ``main``, ``queued_at``: state of the FIFO orders.
    """

    name: ObjectName
    generation: int
    blob: str
    blob_bytes: int
    size: int
    rule: int | None
    rank: float
    visits: int = 0
    main: bool = False
    queued_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk in some order goes on: after this rank, bucket and key."""

    rank: float
    name: ObjectName


@dataclass(frozen=True, slots=True)
class Drop:
    """A blob that shall go, if the row still has this generation and blob, is clean and not pinned. ``by``: who decided
    (``rule:NAME``, ``pressure``, ``operator``). ``rule``: name of the rule that kept it when pressure takes it
    nevertheless, else "". ``trim``: a rule says that its head and tail stay."""

    name: ObjectName
    generation: int
    blob: str
    blob_bytes: int
    by: str
    rule: str = ""
    trim: bool = False

    @classmethod
    def of(cls, entry: Entry, by: str) -> Drop:
        """The blob of ``entry``, as the row was seen."""
        return cls(entry.name, entry.generation, entry.blob or "", entry.blob_bytes, by)


@dataclass(frozen=True, slots=True)
class Move:
    """New state of the FIFO orders for an entry that stays."""

    name: ObjectName
    generation: int
    visits: int
    main: bool
    queued_at: float


@dataclass(frozen=True, slots=True)
class Eviction:
    """What an order remembers of a bucket ("" for the whole disk) between runs: SIEVE's hand (queued_at of the last
    blob looked at), GDSF's inflation."""

    bucket: str = ""
    hand: float = 0.0
    inflation: float = 0.0


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule decides (``rule`` None: what none decides), among the clean blobs that may go.

    ``recent_objects``, ``recent_bytes``: those that people read within the safety's days; ``reads_7d``, ``reads_30d``:
    people's reads of these objects by day bins. Bytes are of blobs (on disk).
    """

    rule: int | None
    objects: int
    bytes: int
    recent_objects: int = 0
    recent_bytes: int = 0
    reads_7d: int = 0
    reads_30d: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """The whole of a scope in numbers: the dry run. ``rules``: only those that decide something. ``dirty``, ``pinned``,
    ``young``: (objects, bytes) with a blob that are no candidates, and why. ``recent_bytes``: bytes of all blobs that
    people read within the safety's days."""

    rules: tuple[RuleCount, ...]
    dirty: tuple[int, int] = (0, 0)
    pinned: tuple[int, int] = (0, 0)
    young: tuple[int, int] = (0, 0)
    recent_bytes: int = 0

    def of(self, rule: int | None) -> RuleCount:
        """What ``rule`` decides; zeros if nothing."""
        return next((count for count in self.rules if count.rule == rule), RuleCount(rule, 0, 0))


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything the catalogue knows of an object, for an explanation. ``days``: (day, reads, machine reads) bins in
    order. ``pinned_until``: seconds since the epoch, infinity for ever, None: not pinned. ``shadow``: whether the
    shadow rules would have it on disk; None: no shadow."""

    entry: Entry
    machine_reads: int = 0
    days: tuple[tuple[int, int, int], ...] = ()
    pinned_until: float | None = None
    visits: int = 0
    main: bool = False
    queued_at: float = 0.0
    worth: float = 0.0
    purged_run: int | None = None
    shadow: bool | None = None
    shadow_by: str | None = None


def facts_of(standing: Standing) -> Facts:
    """What rules look at, of everything that is known of an object."""
    return Facts.of(standing.entry, machine_reads=standing.machine_reads, days=standing.days)


class RunKind(StrEnum):
    RULES = "rules"
    PRESSURE = "pressure"
    OPERATOR = "operator"


class RunState(StrEnum):
    ASKED = "asked"  #: a command line wants it; the node has not begun
    RUNNING = "running"
    WAITING = "waiting"  #: would remove too much that was read recently; wants a confirmation
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDED = frozenset({RunState.DONE, RunState.CANCELLED, RunState.FAILED})


@dataclass(frozen=True, slots=True)
class PurgeRun:
    """One purge, from the wish to the end; kept as a record.

    ``rules``: number of the rules version it works by to its end. ``rule``: the only rule it applies, "" for all.
    ``bucket``, ``prefix``: what it is confined to. ``confirmed``: may remove what was read recently. ``author``: who
    asked. ``planned_*``: from the survey at its start; ``objects``, ``bytes``: removed so far; ``skipped``: had changed
    since, or were being read. ``cursor``: the last name looked at (rule runs resume after it). ``cancel``: somebody
    wants it to end.
    """

    number: int
    kind: RunKind
    state: RunState
    at: float
    rules: int = 0
    rule: str = ""
    bucket: str = ""
    prefix: str = ""
    author: str = ""
    reason: str = ""
    confirmed: bool = False
    cancel: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    planned_objects: int = 0
    planned_bytes: int = 0
    objects: int = 0
    bytes: int = 0
    skipped: int = 0
    cursor: ObjectName | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunRule:
    """What a run removed for one reason. ``by``: as ``Entry.purged_by``; ``rule``: as ``Drop.rule``."""

    by: str
    rule: str
    objects: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Purged:
    """What a batch of drops released: ``bytes`` of ``objects`` blobs; ``skipped``: those that stayed."""

    objects: int = 0
    bytes: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Booking:
    """Under which run a batch of drops is booked, and how far the run has come with it."""

    run: int
    cursor: ObjectName | None = None
    skipped: int = 0


REGRET_WITHIN = (3600, 86_400, 7 * 86_400, 30 * 86_400)
"""Regrets are counted by how soon they came: within an hour, a day, a week, 30 days, later. Seconds."""


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """What one reason (``by``) removed and what that cost. ``regrets``: people's; ``soon``: those by ``REGRET_WITHIN``
    (five numbers); ``seconds``: their sum, from purge to read."""

    by: str
    objects: int = 0
    bytes: int = 0
    regrets: int = 0
    machine_regrets: int = 0
    seconds: float = 0.0
    soon: tuple[int, ...] = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ShadowRecord:
    """The shadow rules beside the live ones, since ``since``. Bytes and objects are what would be on disk, and is.
    ``live`` and ``shadow``: by reason, by whole days. ``reads``: people's and machines'; misses are those that a purge
    caused: what was on neither disk is a miss of both and left out."""

    since: float
    live_objects: int
    live_bytes: int
    shadow_objects: int
    shadow_bytes: int
    live: Mapping[str, RuleRecord] = field(default_factory=dict)
    shadow: Mapping[str, RuleRecord] = field(default_factory=dict)
    reads: int = 0
    live_misses: int = 0
    shadow_misses: int = 0
