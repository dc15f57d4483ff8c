"""What was counted and is not in the catalogue yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tierproxy.model import ObjectName
from tierproxy.traffic import Correction, Counts, ReadCount, Regret

NAMES = 100_000
"""Objects, regrets and corrections that are kept while the catalogue fails; what comes beyond is lost, and said so."""

PIECE = 250
"""Objects booked at once. Each costs some 3 pages of the catalogue: a mail that comes in waits some 20 ms for them."""


class PendingRead:
    """Reads of one object on one day. ``last`` and ``before``: the two last by people, as far as they are pending;
    ``misses``: of the people's. ``waits``: flushes that it may still wait for its row."""

    __slots__ = ("before", "folder", "last", "machine", "misses", "owner", "people", "waits")

    def __init__(self) -> None:
        self.people = 0
        self.misses = 0
        self.waits = 0
        self.machine = 0
        self.last: float | None = None
        self.before: float | None = None
        self.owner: str | None = None
        self.folder: str | None = None

    def by_person(self, at: float, hit: bool, times: int = 1) -> None:
        self.people += times
        self.misses += 0 if hit else times
        if self.last is None or at >= self.last:
            self.last, self.before = at, self.last if times == 1 else at

    def turn(self, at: float, hit: bool) -> None:
        """The person's read at ``at`` was a machine's."""
        self.people -= 1
        self.misses -= not hit
        self.machine += 1
        if self.last == at:
            self.last, self.before = self.before, None
        elif self.before == at:
            self.before = None

    def merge(self, later: PendingRead) -> None:
        self.people += later.people
        self.misses += later.misses
        self.machine += later.machine
        self.waits = min(self.waits, later.waits)
        if later.last is not None:
            self.before = later.before if later.before is not None else self.last
            self.last = later.last
        self.owner = later.owner if later.owner is not None else self.owner
        self.folder = later.folder if later.folder is not None else self.folder


Reads = dict[tuple[ObjectName, int], PendingRead]


@dataclass(slots=True)
class Pending:
    """One flush in the making. ``first``: the earliest batch whose reads are in it."""

    first: int
    reads: Reads = field(default_factory=dict)
    corrections: list[Correction] = field(default_factory=list)
    regrets: list[Regret] = field(default_factory=list)
    increments: dict[str, int] = field(default_factory=dict)

    def read(self, name: ObjectName, day: int) -> PendingRead | None:
        """The count to add to; None when there is no room for another object."""
        found = self.reads.get((name, day))
        if found is None and len(self.reads) < NAMES:
            found = self.reads[name, day] = PendingRead()
        return found

    def early(self, known: Callable[[ObjectName], bool]) -> Reads:
        """Takes out and returns the reads of objects that were new to the catalogue when they were read and that it
        still does not have: their rows are on the way."""
        waiting = [place for place, one in self.reads.items() if one.waits and not known(place[0])]
        return {place: self.reads.pop(place) for place in waiting}

    def pieces(self) -> list[Pending]:
        """This flush in pieces of at most ``PIECE`` objects, each with all that is of them. Neighbours come together:
        they share pages of the catalogue. The increments are in the first."""
        known = {name for name, _ in self.reads}
        known.update(one.name for one in self.corrections)
        known.update(one.name for one in self.regrets)
        if len(known) <= PIECE:
            return [self]
        found = [Pending(self.first) for _ in range(0, len(known), PIECE)]
        found[0].increments = self.increments
        place = {name: found[index // PIECE] for index, name in enumerate(sorted(known))}
        for (name, day), read in self.reads.items():
            place[name].reads[name, day] = read
        for correction in self.corrections:
            place[correction.name].corrections.append(correction)
        for regret in self.regrets:
            place[regret.name].regrets.append(regret)
        return found

    def grow(self, growth: dict[str, int]) -> None:
        for name, value in growth.items():
            self.increments[name] = self.increments.get(name, 0) + value

    def counts(self, at: float) -> Counts:
        reads = tuple(
            ReadCount(
                name, day, one.people, one.machine, one.last, one.owner, one.folder, one.before, one.misses
            )
            for (name, day), one in self.reads.items()
        )  # fmt: skip
        return Counts(at, reads, tuple(self.corrections), tuple(self.regrets), self.increments)

    def absorb(self, later: Pending) -> int:
        """What was counted since, after this could not be written; it has no increments yet. Returns how many reads
        found no room."""
        lost = 0
        for (name, day), one in later.reads.items():
            found = self.read(name, day)
            if found is None:
                lost += one.people + one.machine
            else:
                found.merge(one)
        self.corrections += later.corrections[: NAMES - len(self.corrections)]
        self.regrets += later.regrets[: NAMES - len(self.regrets)]
        return lost
