"""The blobs on disk in a replay: what comes, what goes, and what is remembered of it."""

from __future__ import annotations

from tierproxy.whatif.engine.columns import LATE, NOWHERE, Columns
from tierproxy.whatif.engine.ledger import Ledger
from tierproxy.whatif.engine.room import Room


class Disk:
    """``there``: numbers of the objects on disk, roughly in the order of the last people's read (``by_use``) or of
    storing, so that sorting them is cheap; ``watched``: where those are noted that come or change. ``inflation``:
    GDSF's, of the whole disk. Reasons of purges are kept by number: ``reasons``."""

    def __init__(self, columns: Columns, room: Room, ledger: Ledger, *, by_use: bool) -> None:
        self.columns = columns
        self.room = room
        self.ledger = ledger
        self.there: dict[int, None] = {}
        self.watched: list[dict[int, None]] = []
        self.inflation = 0.0
        self.reasons: list[str] = []
        self._by_use = by_use
        self._numbers: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Disk of {len(self.there)} blobs, {self.room.used} bytes>"

    def store(self, number: int, at: float) -> None:
        """A blob of the object's size is there from ``at`` on, in place of the one before, if there was one."""
        columns, there = self.columns, self.there
        old, new = columns.blob[number], columns.footprint(number)
        columns.main[number] = not old and columns.purged[number] == columns.purged[number]
        columns.visits[number] = 0
        columns.blob[number] = new
        columns.stored[number] = columns.queued[number] = at
        columns.purged[number] = NOWHERE
        if not columns.reads[number]:
            columns.used[number] = at
        self.weigh(number)
        there.pop(number, None)
        there[number] = None
        self.changed(number)
        self.room.change(at, new - old, columns.objects.buckets[number])

    def changed(self, number: int) -> None:
        """What could not go may be able to now."""
        for noted in self.watched:
            noted[number] = None

    def remove(self, number: int, at: float) -> None:
        """Its blob goes."""
        columns = self.columns
        self.room.change(at, -columns.blob[number], columns.objects.buckets[number])
        del self.there[number]
        columns.blob[number] = columns.visits[number] = columns.main[number] = 0
        columns.stored[number] = NOWHERE
        if not columns.reads[number]:
            columns.used[number] = columns.written[number]

    def purge(self, number: int, at: float, by: str) -> None:
        """The same, booked on ``by``."""
        self.ledger.purged(by, self.columns.blob[number])
        self.remove(number, at)
        self.columns.purged[number] = at
        self.columns.by[number] = self._number(by)

    def visit(self, number: int) -> None:
        """A person's hit."""
        if self.columns.visits[number] < LATE:
            self.columns.visits[number] += 1

    def use(self, number: int) -> None:
        """A person has read it: it is the last by use."""
        if self._by_use:
            self.there[number] = self.there.pop(number)

    def weigh(self, number: int) -> None:
        """Its worth to GDSF now, as the catalogue has it."""
        columns = self.columns
        columns.worth[number] = self.inflation + max(columns.reads[number], 1) / max(columns.size[number] / 1024, 1)

    def _number(self, by: str) -> int:
        if by not in self._numbers:
            self._numbers[by] = len(self.reasons)
            self.reasons.append(by)
        return self._numbers[by]
