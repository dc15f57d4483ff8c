"""What must hold after a play, and whether it does."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from behaviour.samples import HIT, MISS, Sample, Samples, Verb, Who

FEWEST = 5  #: requests on each side of a ratio; fewer prove nothing
SCAN = 20  #: reads in key order that make a scan: ``[counting] scan_objects``


@dataclass(frozen=True, slots=True)
class Verdict:
    """``text`` is for the operator. ``timed``: it is about time, so the machine must have nothing else to do."""

    text: str
    measured: float
    wanted: float
    least: bool = False
    timed: bool = False

    @property
    def holds(self) -> bool:
        """NaN never does."""
        return self.measured >= self.wanted if self.least else self.measured <= self.wanted

    def row(self, *, judged: bool = True) -> list[str]:
        word = "yes" if self.holds else "no"
        wanted = f"{'at least' if self.least else 'at most'} {self.wanted:g}"
        return [self.text, f"{self.measured:.3g}", wanted, word if judged else f"({word})"]


@dataclass(frozen=True, slots=True)
class Part:
    """Some requests of a play; "" is all."""

    phase: str
    verb: str = Verb.READ
    source: str | None = None
    who: str = ""

    def of(self, samples: Samples) -> Samples:
        return samples.of(self.phase, self.verb, self.source, self.who)


@dataclass(frozen=True, slots=True)
class Ratio:
    """``share`` of the requests of ``top`` took at most ``most`` times what ``share`` of ``bottom`` took, with
    ``added`` milliseconds on top of that."""

    text: str
    top: Part
    bottom: Part
    most: float
    share: float = 0.5
    added: float = 0.0

    def judge(self, samples: Samples) -> Verdict:
        top, bottom = self.top.of(samples), self.bottom.of(samples)
        enough = len(top) >= FEWEST and len(bottom) >= FEWEST
        base = bottom.quantile(self.share) + self.added
        measured = top.quantile(self.share) / base if enough else math.nan
        which = "median" if self.share == 0.5 else f"{self.share:.0%}"
        return Verdict(f"{self.text} ({which})", measured, self.most, timed=True)


@dataclass(frozen=True, slots=True)
class HitShare:
    """At least ``least`` of people's reads in ``phase`` are hits; ``last``: of those in its last part. How soon misses
    become hits is a matter of time; that there are none is not."""

    phase: str
    least: float
    last: float = 1.0

    def judge(self, samples: Samples) -> Verdict:
        reads = sorted(samples.of(self.phase, Verb.READ, who=Who.PEOPLE), key=lambda one: one.at)
        reads = reads[int(len(reads) * (1 - self.last)) :]
        share = sum(one.source == HIT for one in reads) / len(reads) if reads else math.nan
        where = f"of the last {self.last:.0%} of {self.phase}" if self.last < 1 else f"in {self.phase}"
        return Verdict(f"share of hits {where}", share, self.least, least=True, timed=self.least < 1)


@dataclass(frozen=True, slots=True)
class AtLeast:
    """So many requests there were, or the play proves nothing."""

    part: Part
    least: int

    def judge(self, samples: Samples) -> Verdict:
        what = " ".join(word for word in (self.part.who, self.part.verb, self.part.source or "") if word)
        return Verdict(f"{what} in {self.part.phase}: requests", len(self.part.of(samples)), self.least, least=True)


Check = Ratio | HitShare | AtLeast


@dataclass(frozen=True, slots=True)
class Counted:
    """Reads that the catalogue has, by owner: what rules decide by."""

    people: Counter[str]
    machines: Counter[str]


def expected(samples: Samples, warmed: Counter[str]) -> Counted:
    """What the node should have counted: ``warmed`` reads by people before the play; a client that reads at least
    ``SCAN`` mails of an owner in key order is a machine."""
    people = warmed + samples.reads(Who.PEOPLE)
    machines: Counter[str] = Counter()
    runs: dict[tuple[str, str], list[Sample]] = {}
    scans = [one for one in samples.of(verb=Verb.READ, who=Who.SCAN) if one.source in {HIT, MISS}]
    for one in scans:
        place = one.client, one.owner
        run = runs.setdefault(place, [])
        if run and _order(one.key) < _order(run[-1].key):
            _book(run, people, machines)
            run = runs[place] = []
        run.append(one)
    for run in runs.values():
        _book(run, people, machines)
    return Counted(people, machines)


def _order(key: str) -> tuple[int, str]:
    return len(key), key


def _book(run: Sequence[Sample], people: Counter[str], machines: Counter[str]) -> None:
    for one in run:
        (machines if len(run) >= SCAN else people)[one.owner] += 1


def difference(counted: Counter[str], wanted: Counter[str]) -> int:
    """Reads too many or too few, of all owners."""
    return sum(abs(counted[owner] - wanted[owner]) for owner in {*counted, *wanted})


def right(samples: Samples) -> list[Verdict]:
    """What must hold of all requests."""
    errors = samples.errors()
    wrong = [one for one in errors if "bytes that are not" in one.error]
    share = len(errors) / len(samples) if len(samples) else math.nan
    return [
        Verdict("failed requests: share", share, 0.001),
        Verdict("answers with other bytes than were delivered", len(wrong), 0),
    ]


def counts(found: Counted, wanted: Counted) -> list[Verdict]:
    """What must hold of the counts."""
    return [
        _counted("people's reads", found.people, wanted.people),
        _counted("machine reads", found.machines, wanted.machines),
    ]


def _counted(what: str, found: Counter[str], wanted: Counter[str]) -> Verdict:
    text = f"{what} counted too many or too few ({found.total():,} of {wanted.total():,})"
    return Verdict(text, difference(found, wanted), 0)
