"""What the store counts. Every counter is either counted in one place or defined by a formula here::

    gets   = hits + misses + stubs
    hits   = memory_hits + disk_hits
    misses = fills + joins + passes + errors
    puts   = sum over acks;  purges, regrets and corrected regrets = sums over tolls
    reads  = sum over reasons;  people's = reads[person] - corrected;  machines' = the others + corrected
    reads[person] = person_hits + person_misses;  corrected = corrected_hits + corrected_misses
    people's hits = person_hits - corrected_hits;  people's misses = person_misses - corrected_misses

A get is an open of an object for a client that got past its conditions; where its bytes came from is counted when it is
open (``got``), or that it failed (``errors``; "not found" is an answer, no failure). Opens by copies of objects are no
gets, and neither is one whose client left before it was open. A read is what was delivered (``tierproxy.store.tally``):
it may take several gets (ranges), and a get that delivered nothing belongs to none. It is a hit if its first get was.
A get answered from a stub is of no body: it is neither hit nor miss, and belongs to no read.

All only grow, from the start of the node. ``sample`` gives them dotted names; their growth a minute and an hour is what
the catalogue keeps (``Counts.increments``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierproxy.model import Tier
from tierproxy.stats import Latency
from tierproxy.traffic import Outcome, Reason, side

REASONS = 1000
"""Reasons of purges that are counted apart: as many rules as a file may have. The rest is counted as ``OTHER``."""
OTHER = "other"


@dataclass(slots=True)
class Toll:
    """What one reason (``Entry.purged_by``) removed, and what of it was wanted back. ``corrected``: of ``regrets``,
    those that were a scan's."""

    objects: int = 0
    bytes: int = 0
    regrets: int = 0
    machine_regrets: int = 0
    corrected: int = 0


@dataclass(slots=True)
class Counters:
    """Since the start of the node."""

    memory_hits: int = 0  #: gets served from the memory tier
    disk_hits: int = 0  #: gets served from a blob
    fills: int = 0  #: gets that started a flight that copies to disk
    joins: int = 0  #: gets that shared a flight another get had started
    passes: int = 0  #: gets served from alt without a copy
    stubs: int = 0  #: gets served from a stub
    errors: int = 0  #: gets that failed before their first byte, "not found" excepted
    reads: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(Reason, 0))  #: reads, as first taken
    machine_hits: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(Reason, 0))  #: of the others
    corrected: int = 0  #: reads taken for a person's that turned out to be a scan's
    person_hits: int = 0  #: of reads[person], as first taken
    corrected_hits: int = 0  #: of corrected
    delivered: dict[Tier, int] = field(default_factory=lambda: dict.fromkeys(Tier, 0))  #: body bytes
    latency: dict[Outcome, Latency] = field(default_factory=lambda: {outcome: Latency() for outcome in Outcome})
    regrets: int = 0  #: people's reads that missed what a purge had removed
    machine_regrets: int = 0
    corrected_regrets: int = 0  #: regrets booked as a person's that were a scan's
    lost_counts: int = 0  #: reads whose count was given up while the catalogue failed
    puts: int = 0  #: acknowledged writes
    queued_puts: int = 0  #: acknowledged while only the disk had them
    deletes: int = 0  #: acknowledged deletes
    uploads: int = 0  #: jobs done by the upload queue
    upload_failures: int = 0  #: tries of the upload queue that failed
    repairs: int = 0  #: blobs found damaged and dropped
    stale_fills: int = 0  #: fills thrown away because the object changed meanwhile
    acks: dict[str, int] = field(default_factory=lambda: {"both": 0, "disk": 0, "alt": 0})
    """Acknowledged writes by who had them then."""
    tolls: dict[str, Toll] = field(default_factory=dict)  #: by reason of the purge
    phases: dict[tuple[str, str], Latency] = field(default_factory=dict)
    """Of gets and puts, by phase (those of Server-Timing). A memory hit has none."""
    put_latency: Latency = field(default_factory=Latency)  #: of PUTs, their bodies' arrival included
    delete_latency: Latency = field(default_factory=Latency)

    def got(self, outcome: Outcome, times: int = 1) -> None:
        """A get is open, and its bytes come from there; hits may be several."""
        if outcome is Outcome.MEMORY:  # the reader counts those itself: a call more is felt there
            self.memory_hits += times
        elif outcome is Outcome.DISK:
            self.disk_hits += times
        elif outcome is Outcome.FILL:
            self.fills += 1
        elif outcome is Outcome.JOIN:
            self.joins += 1
        elif outcome is Outcome.STUB:
            self.stubs += 1
        else:
            self.passes += 1

    def toll(self, by: str) -> Toll:
        """The toll of one reason."""
        found = self.tolls.get(by)
        if found is None:
            found = self.tolls.setdefault(by if len(self.tolls) < REASONS else OTHER, Toll())
        return found

    def spent(self, operation: str, phases: Mapping[str, float]) -> None:
        """``phases``: milliseconds that one ``operation`` (get, put) spent, by phase."""
        for phase, milliseconds in phases.items():
            place = operation, phase
            found = self.phases.get(place)
            if found is None:
                found = self.phases[place] = Latency()
            found.add(milliseconds / 1000)

    @property
    def hits(self) -> int:
        return self.memory_hits + self.disk_hits

    @property
    def misses(self) -> int:
        return self.fills + self.joins + self.passes + self.errors

    @property
    def gets(self) -> int:
        return self.hits + self.misses + self.stubs

    @property
    def person_misses(self) -> int:
        return self.reads[Reason.PERSON] - self.person_hits

    @property
    def corrected_misses(self) -> int:
        return self.corrected - self.corrected_hits

    def of(self, outcome: Outcome) -> int:
        """Gets of one outcome."""
        gets = (self.memory_hits, self.disk_hits, self.fills, self.joins, self.passes, self.stubs)
        return gets[tuple(Outcome).index(outcome)]

    def sample(self) -> Mapping[str, int]:
        """Everything by dotted name: ``gets.hits.memory``, ``reads.person``, ``delivered.disk`` (bytes),
        ``latency.fill.b13``, ``regrets.person``, ``writes.puts``... Listed in ``docs/semantics.md``."""
        found = {f"gets.{side(outcome)}.{outcome}": self.of(outcome) for outcome in Outcome}
        found["gets.misses.error"] = self.errors
        found |= {f"reads.{reason}": count for reason, count in self.reads.items()}
        found |= {f"delivered.{tier}": count for tier, count in self.delivered.items()}
        for outcome, latency in self.latency.items():
            found |= {f"latency.{outcome}.{name}": count for name, count in latency.sample().items()}
        return found | {
            "reads.person.hits": self.person_hits, "reads.person.misses": self.person_misses,
            "reads.corrected": self.corrected, "reads.corrected.hits": self.corrected_hits,
            "reads.corrected.misses": self.corrected_misses, "reads.lost": self.lost_counts,
            "regrets.person": self.regrets, "regrets.machine": self.machine_regrets,
            "regrets.corrected": self.corrected_regrets,
            "writes.puts": self.puts, "writes.queued": self.queued_puts, "writes.deletes": self.deletes,
            "uploads.done": self.uploads, "uploads.failed": self.upload_failures,
            "repairs": self.repairs, "fills.stale": self.stale_fills,
        }  # fmt: skip
