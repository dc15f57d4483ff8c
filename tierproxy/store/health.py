"""How alt does, for reads and for changes of each bucket: whether it is asked, and what an operator is told (decision
33)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tierproxy.config.sections import AltSection
from tierproxy.errors import (
    AltBusy,
    AltCorrupt,
    AltDeferred,
    AltDown,
    AltError,
    AltMissing,
    AltPrecondition,
    AltRefused,
    AltUnavailable,
    AltUncertain,
    RangeUnsatisfiable,
)
from tierproxy.logs import event
from tierproxy.ports import Alarms, Clock
from tierproxy.ports.health import Condition, State
from tierproxy.store.breaker import Breaker, Ticket

log = logging.getLogger(__name__)
ALARM = "alt does not take changes"
UNREAD = "alt does not answer reads"
ANSWERS = (AltMissing, AltPrecondition, AltRefused, AltCorrupt, RangeUnsatisfiable)
"""In so many words: who says that is there, and well as far as this goes. ``AltCorrupt`` is about the object."""
MOST = 2000  #: breakers that are kept: buckets can be made by clients
WORST = (State.DOWN, State.PROBING, State.UNSTABLE, State.NORMAL)


def unavailable(error: BaseException) -> bool:
    """Alt could not be reached or could not answer: not that it said no, and not that the way to it was busy."""
    return isinstance(error, (AltUnavailable, AltUncertain)) and not isinstance(error, (AltBusy, AltDeferred, AltDown))


class Side(StrEnum):
    """A server can answer reads and take no changes (a quota, a read-only volume), and have other rights for each."""

    READS = "reads"
    CHANGES = "changes"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to alt that was given leave. ``slow``: seconds after which its answer is slow; None: it may take as
    long as it does."""

    bucket: str
    side: Side
    breaker: Breaker
    ticket: Ticket
    slow: float | None


class AltHealth:
    """A breaker for each bucket and side. ``on_outage`` hears the bucket and side that nobody waits for from now on.

    While changes are down, a write that may be queued is queued at once and a delete answers when its tombstone is
    durable; the upload queue's tries are the probes. ``refused``: requests that were not sent."""

    def __init__(
        self, alarms: Alarms, clock: Clock, section: AltSection, *, random: Callable[[], float],
        buckets: Callable[[], Sequence[str]] = tuple,
    ) -> None:  # fmt: skip
        """``buckets``: those to be shown even if nobody has asked for them yet."""
        self._alarms = alarms
        self._clock = clock
        self._section = section
        self._random = random
        self._buckets = buckets
        self._started, self._begun = clock.now(), clock.monotonic()
        self._breakers: dict[tuple[str, Side], Breaker] = {}
        self.refused: Counter[tuple[str, Side]] = Counter()
        self.on_outage: list[Callable[[str, Side], None]] = []

    def __repr__(self) -> str:
        return f"<AltHealth {', '.join(f'{bucket} {side}: {one}' for (bucket, side), one in self._breakers.items())}>"

    # ------------------------------------------------------------ who asks alt

    def visit(self, bucket: str, side: Side, *, timed: bool = True) -> Visit:
        """loop. Leave to send one request, to be given back by ``ended``. ``timed``: it says something about alt if it
        takes long. Raises AltDown."""
        breaker = self._of(bucket, side)
        ticket = breaker.admit()
        if ticket is None:
            self.refused[bucket, side] += 1
            raise self.outage(bucket, side)
        slow = float(self._section.slow_answer) if timed else None
        return Visit(bucket, side, breaker, ticket, slow)

    def begun(self, visit: Visit) -> None:
        """loop. It is sent only now: it had to wait for a place of ours."""
        visit.ticket.began = self._clock.monotonic()

    def ended(self, visit: Visit, error: BaseException | None = None) -> None:
        """loop. It returned, or raised ``error``."""
        breaker, ticket = visit.breaker, visit.ticket
        if error is None or isinstance(error, ANSWERS):
            slow = visit.slow is not None and self._clock.monotonic() - ticket.began > visit.slow
            breaker.good(ticket, slow=slow)
        elif unavailable(error):
            breaker.bad(ticket, error)
            self._doubt(visit.bucket, visit.side, breaker, ticket.began)
        else:
            breaker.void(ticket)

    def broken(self, bucket: str, error: BaseException) -> None:
        """loop. A body ended with ``error``. That it began was an answer; this is a failure of its own."""
        if unavailable(error):
            self._of(bucket, Side.READS).bad(self._without_leave(), error)

    def outage(self, bucket: str, side: Side) -> AltDown:
        """loop. What is said to who is not given leave, or may wait no longer."""
        breaker = self._of(bucket, side)
        return AltDown(f"alt is down for {side} of {bucket}: {breaker.reason}", retry_after=breaker.wait)

    def down(self, bucket: str) -> bool:
        """loop. Alt takes no changes: what can be queued is not sent."""
        breaker = self._breakers.get((bucket, Side.CHANGES))
        return breaker is not None and breaker.down

    def steady(self, bucket: str) -> bool:
        """loop. Nothing is wrong: what failed may be tried a second time."""
        found = (self._breakers.get((bucket, side)) for side in Side)
        return all(breaker is None or breaker.state is State.NORMAL for breaker in found)

    def answered(self, bucket: str) -> None:
        """loop. A change took effect after all."""
        self._of(bucket, Side.CHANGES).good(self._without_leave())

    def silent(self, bucket: str, began: float, error: AltError) -> None:
        """loop. A change has waited in vain, since ``began`` (monotonic), for as long as any may."""
        breaker = self._of(bucket, Side.CHANGES)
        breaker.silent(began, error)
        self._doubt(bucket, Side.CHANGES, breaker, began)

    # ------------------------------------------------------------ who looks

    def conditions(self) -> Sequence[Condition]:
        """``tierproxy.ports.health.Health``: of each bucket, its worse side."""
        for breaker in self._breakers.values():
            breaker.refresh()
        names = {*self._buckets(), *(bucket for bucket, _ in self._breakers)}
        return [self._condition(bucket) for bucket in sorted(names)]

    def _condition(self, bucket: str) -> Condition:
        sides = {side: one for side in Side if (one := self._breakers.get((bucket, side))) is not None}
        if not sides:
            return Condition("alt", bucket, State.NORMAL, self._started)
        worst = min(sides.values(), key=lambda breaker: WORST.index(breaker.state))
        alike = [(side, one) for side, one in sides.items() if one.state is worst.state or (worst.down and one.down)]
        told = [f"{side}: {one.reason}" for side, one in alike if one.reason]
        changes = sum(one.changes for one in sides.values())
        return Condition("alt", bucket, worst.state, worst.since, "; ".join(told), changes)

    # ------------------------------------------------------------ how

    def _of(self, bucket: str, side: Side) -> Breaker:
        found = self._breakers.get((bucket, side))
        if found is None:
            self._make_room()
            found = self._breakers[bucket, side] = Breaker(
                self._section, self._clock, self._random, lambda one: self._changed(bucket, side, one), self._begun
            )
        return found

    def _without_leave(self) -> Ticket:
        return Ticket(self._clock.monotonic(), probe=False)

    def _make_room(self) -> None:
        if len(self._breakers) >= MOST:
            kept = {place: one for place, one in self._breakers.items() if one.state is not State.NORMAL}
            self._breakers = dict(list(kept.items())[-MOST // 2 :])

    def _doubt(self, bucket: str, side: Side, breaker: Breaker, began: float) -> None:
        """What takes no change may answer no read either: the other side asks one at a time before it waits with
        many."""
        if breaker.state is State.DOWN:
            self._of(bucket, _other(side)).doubt(began, f"{side} are down: {breaker.reason}")

    def _changed(self, bucket: str, side: Side, breaker: Breaker) -> None:
        state = breaker.state
        level = logging.INFO if state is State.NORMAL else logging.WARNING
        event(log, level, "alt's state", bucket=bucket, side=side, state=state, reason=breaker.reason)
        if state is State.DOWN:
            self._raise(bucket, side, breaker.reason)
            for hear in self.on_outage:
                hear(bucket, side)
        elif not breaker.down:
            self._alarms.clear(ALARM if side is Side.CHANGES else UNREAD, bucket)
            if (other := self._breakers.get((bucket, _other(side)))) is not None:
                other.trust()

    def _raise(self, bucket: str, side: Side, reason: str) -> None:
        if side is Side.CHANGES:
            self._alarms.set(ALARM, bucket, error=reason)
        else:
            self._alarms.set(UNREAD, bucket, error=reason)


def _other(side: Side) -> Side:
    return Side.READS if side is Side.CHANGES else Side.CHANGES
