"""Which objects have to be looked at again, and when the rules have their turn.

Instead of deciding every object at every turn, each is decided when something may have changed: after it came to disk,
after a read that may make a rule purge it, and when a condition turns by time (``Decisions.look``). Times are kept in
slots as long as the turns are apart, so that an object costs one append and not a place in a heap.
"""

from __future__ import annotations

import math
from array import array

from tierproxy.rules.model import Schedule
from tierproxy.rules.spans import boundaries, within
from tierproxy.traffic import DAY
from tierproxy.whatif.engine.columns import Columns
from tierproxy.whatif.engine.decisions import Decisions

NO_SLOT = -1


class Turns:
    """When the rules are run: every ``every``, inside the windows. ``next``: seconds since the epoch."""

    def __init__(self, schedule: Schedule, begin: float) -> None:
        self._schedule = schedule
        self.next = self._after(begin)

    def done(self) -> None:
        """The turn at ``next`` was taken."""
        self.next = self._after(self.next)

    def skip(self, until: float) -> None:
        """Whole days in which there is nothing to do, all but the last before ``until``."""
        days = int((until - self.next) // DAY) - 1
        if days > 0:
            self.next += days * DAY

    def _after(self, last: float) -> float:
        schedule = self._schedule
        due = last + schedule.every
        if not schedule.spans or within(schedule.spans, schedule.timezone, due):
            return due
        marks = boundaries(schedule.spans, schedule.timezone, due, due + 3 * DAY)
        return next((mark for mark in marks if within(schedule.spans, schedule.timezone, mark)), due + 3 * DAY)


class Agenda:
    """Looks that are to come. ``fresh`` are objects to be looked at by the next turn in any case."""

    def __init__(self, decisions: Decisions, columns: Columns, *, width: float, young: float) -> None:
        """``width``: seconds of a slot; ``young``: seconds that a blob stays whatever rules say."""
        self._decisions = decisions
        self._columns = columns
        self._width = width
        self.young = young
        self._slots: dict[int, array[int]] = {}
        self._slot = array("q", [NO_SLOT]) * len(columns)  # where an object's look is; others of it are stale
        self._done = 0
        self.fresh: list[int] = []

    def __repr__(self) -> str:
        return f"<Agenda, {len(self._slots)} slots>"

    def anew(self, number: int) -> None:
        """It came to disk, or something about it has changed."""
        self.fresh.append(number)

    def begin(self, now: float) -> None:
        """Nothing is due before ``now``."""
        self._done = int(now // self._width)

    def next_look(self) -> float:
        """No turn before it has anything to decide; infinity: none has."""
        if self.fresh:
            return -math.inf
        return min(self._slots) * self._width if self._slots else math.inf

    def is_young(self, number: int, now: float) -> bool:
        """It may not go yet."""
        return abs(now - self._columns.stored[number]) < self.young

    def old_at(self, number: int, now: float) -> float:
        """When it is young no more; infinity: it is not young now."""
        return self._columns.stored[number] + self.young if self.is_young(number, now) else math.inf

    def purged(self, now: float) -> list[tuple[int, int]]:
        """Those on disk that a rule purges and that may go, of all, each with that rule; the others wait for their next
        look. The caller purges them or says ``anew``."""
        decide, purging, blob = self._decisions.decide, self._decisions.purging, self._columns.blob
        found: list[tuple[int, int]] = []
        if not purging:
            self.fresh.clear()
            return found
        for number in self._due(now):
            if not blob[number]:
                continue
            rule = decide(number, now)
            if rule not in purging:
                self._wait(number, self._decisions.look(number, now, rule), now)
            elif self.is_young(number, now):
                self._wait(number, self._columns.stored[number] + self.young, now)
            else:
                found.append((number, rule))
        return found

    def _due(self, now: float) -> set[int]:
        fresh, self.fresh = self.fresh, []
        due, last = set(fresh), int(now // self._width)
        for slot in self._past(last):
            due.update(number for number in self._slots.pop(slot) if self._slot[number] == slot)
        self._done = last
        for number in due:
            self._slot[number] = NO_SLOT
        return due

    def _past(self, last: int) -> list[int]:
        """Slots up to the one that is running."""
        if last - self._done > len(self._slots):
            return [slot for slot in self._slots if slot <= last]
        return [slot for slot in range(self._done, last + 1) if slot in self._slots]

    def _wait(self, number: int, until: float, now: float) -> None:
        """What is due later in the slot that is running is looked at by every turn in it."""
        if until == math.inf:
            return
        slot = int(max(until, now) // self._width)
        self._slot[number] = slot
        try:
            self._slots[slot].append(number)
        except KeyError:
            self._slots[slot] = array("q", (number,))
