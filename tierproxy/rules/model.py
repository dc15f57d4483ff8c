"""The words of a rule file once it is read. Pure data; ``language`` makes it, ``evaluate`` and the catalogue's SQL
mean the same by it (a property test holds them to that).

What the facts mean, everywhere:

* ``age``: now - written_at. ``on_disk``: now - stored_at; an entry without a blob has none, and no comparison with it
  is true. ``idle``: now - the first known of last_read_at (people's reads), stored_at, written_at.
* ``reads``, ``machine_reads``: since the object was written first; with a window of N days the day bins of today and
  the N days before, in UTC.
* A clock that jumps back makes ages negative; they are compared as they are, so nothing looks old by accident.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tierproxy.config.values import Share
from tierproxy.model import Ack, FillPolicy


class Operator(StrEnum):
    LT = "<"
    LE = "<="
    EQ = "="
    GE = ">="
    GT = ">"


class Measure(StrEnum):
    """What a number condition looks at. Seconds: age, on_disk, idle. Bytes: size. Counts: reads, machine_reads."""

    AGE = "age"
    ON_DISK = "on_disk"
    IDLE = "idle"
    SIZE = "size"
    READS = "reads"
    MACHINE_READS = "machine_reads"


class Word(StrEnum):
    """What a text condition looks at."""

    KEY = "key"
    BUCKET = "bucket"
    OWNER = "owner"
    FOLDER = "folder"
    STATE = "state"
    HAS = "has"


class Trait(StrEnum):
    """Values of ``has``; ``metadata:NAME`` is another (the object carries x-amz-meta-NAME)."""

    READ = "read"  #: a person has read it
    MACHINE_READ = "machine-read"
    PURGED_BEFORE = "purged-before"  #: its blob was purged since it was written, and has not come back
    ATTACHMENT = "attachment"  #: metadata ``attachments`` is there and neither "" nor "0"


@dataclass(frozen=True, slots=True)
class NumberCondition:
    """``measure operator value``; ``days`` is the window of reads and machine_reads, None: all of them."""

    measure: Measure
    operator: Operator
    value: float
    days: int | None = None


@dataclass(frozen=True, slots=True)
class TextCondition:
    """True when one of ``wanted`` matches (or there is none) and none of ``unwanted`` does.

    For key, bucket, owner and folder they are shell patterns: ``* ? [abc] [!abc]``, ``*`` matches ``/`` too; owner and
    folder are "" where they are not known, and folder is compared in lower case. For state and has they are values.
    """

    word: Word
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeCondition:
    """True inside one of ``spans``: (start, stop) minutes of the day in the rule file's time zone, stop exclusive; a
    span with stop <= start goes over midnight."""

    spans: tuple[tuple[int, int], ...]


Condition = NumberCondition | TextCondition | TimeCondition


class ActionKind(StrEnum):
    KEEP = "keep"  #: rules leave it; pressure takes it last, or never
    PURGE = "purge"  #: goes with the next run, and first under pressure
    TRIM = "trim"  #: a purge whose head and tail stay on disk in any case
    PIN = "pin"  #: nothing takes it before ``until``, not even pressure; then the rule does not match any more


PURGING = frozenset({ActionKind.PURGE, ActionKind.TRIM})


@dataclass(frozen=True, slots=True)
class Action:
    """``until``: of a pin, seconds since the epoch, or ``until_age`` seconds of age; one of the two is set."""

    kind: ActionKind
    until: float | None = None
    until_age: float | None = None

    @property
    def purges(self) -> bool:
        """The body leaves the disk with the next run of the rules, and first under pressure."""
        return self.kind in PURGING


@dataclass(frozen=True, slots=True)
class Rule:
    """``when`` are conditions that must all hold (none: always). ``then`` decides purges, ``fill`` and ``write`` the
    policies of reads that miss and of writes; each is decided by the first matching rule that has one. ``regret``: the
    rule's own regret budget. ``line``: where it begins in the file, from 1."""

    name: str
    when: tuple[Condition, ...] = ()
    then: Action | None = None
    fill: FillPolicy | None = None
    write: Ack | None = None
    regret: float | None = None
    line: int = 0


class Order(StrEnum):
    """In which order undecided objects go under pressure. Sources: ``docs/rules.md``."""

    LRU = "lru"
    FIFO = "fifo"
    LFU = "lfu"
    GDSF = "gdsf"
    SIEVE = "sieve"
    S3_FIFO = "s3-fifo"
    SCORE = "score"


class Kept(StrEnum):
    """Whether pressure may take what a rule keeps when nothing else is left."""

    LAST = "last"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class BucketBudget:
    """Disk space of one bucket, in bytes; the waters are the budget's."""

    bucket: str
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What the rule file says of the budget; None: ``[disk]`` of the configuration says it. ``min_on_disk``: seconds
    that a new blob stays, whatever rules and pressure say."""

    max_bytes: int | None = None
    high_water: float | None = None
    low_water: float | None = None
    hard_limit: float | None = None
    min_free: Share | None = None
    min_on_disk: float = 0.0
    buckets: tuple[BucketBudget, ...] = ()


@dataclass(frozen=True, slots=True)
class Pressure:
    order: Order = Order.LRU
    kept: Kept = Kept.LAST


@dataclass(frozen=True, slots=True)
class Schedule:
    """When rules are run: every ``every`` seconds inside ``spans`` (as in ``TimeCondition``; none: always)."""

    every: float = 900.0
    spans: tuple[tuple[int, int], ...] = ()
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Safety:
    """A rule run that would remove more than ``max_share`` (0 to 1) of the bytes that people read within the last
    ``recent_days`` days waits for a confirmation."""

    recent_days: int = 7
    max_share: float = 0.10


@dataclass(frozen=True, slots=True)
class RegretBudget:
    """Alarm when people's regrets within ``days`` exceed ``max_share`` (0 to 1) of the objects a rule purged in the
    same days, once it purged at least ``least`` objects."""

    days: int = 30
    max_share: float = 0.05
    least: int = 100


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A whole rule file. ``text`` is the file as it was read."""

    rules: tuple[Rule, ...] = ()
    budget: Budget = field(default_factory=Budget)
    pressure: Pressure = field(default_factory=Pressure)
    schedule: Schedule = field(default_factory=Schedule)
    safety: Safety = field(default_factory=Safety)
    regret: RegretBudget = field(default_factory=RegretBudget)
    text: str = ""


NO_RULES = RuleSet()
"""Without a rule file: nothing is kept or purged by rule, pressure goes by LRU."""
