"""What the lane has served since it was asked last."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from tierproxy.model import Entry
from tierproxy.s3api.lane.ports import Served
from tierproxy.traffic import Delivery, Outcome, Visitor


@dataclass(slots=True, eq=False)
class Line:
    """Gets of one object by one visitor that were answered alike. ``sent``: body bytes, of all of them."""

    entry: Entry
    visitor: Visitor
    outcome: Outcome
    ranged: bool
    times: int = 0
    sent: int = 0
    open: bool = True  #: False: it was taken, and says nothing any more


class Ledger:
    """Grows with what is different within one batch, not with the number of requests."""

    def __init__(self) -> None:
        self.answers: defaultdict[int, int] = defaultdict(int)
        self._lines: dict[tuple[int, int, Outcome, bool], Line] = {}

    def line(self, entry: Entry, visitor: Visitor, outcome: Outcome, ranged: bool) -> Line:
        """Where such a get is counted. By identity: visitors and entries are the same objects again and again, and
        what is not is merged by whoever counts reads. A line keeps both, so no number is used twice within a batch."""
        place = id(entry), id(visitor), outcome, ranged
        found = self._lines.get(place)
        if found is None:
            found = self._lines[place] = Line(entry, visitor, outcome, ranged)
        return found

    def take(self, at: float) -> Served:
        """All of it; a new batch begins. ``at``: seconds since the epoch."""
        answers, self.answers = self.answers, defaultdict(int)
        lines, self._lines = self._lines, {}
        deliveries = []
        for line in lines.values():
            line.open = False
            entry = line.entry
            deliveries.append(
                Delivery(
                    entry.name, line.visitor, line.outcome, entry.size, entry.owner, entry.folder, line.ranged,
                    line.times, line.sent, at,
                )
            )  # fmt: skip
        return Served(deliveries, answers)
