"""Events in order: what the store does with each, and what it does by itself between them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from tierproxy.config.sections import DiskSection
from tierproxy.model import Ack
from tierproxy.purges import by_rule
from tierproxy.rules.model import Order, RuleSet
from tierproxy.trace import LATER, MACHINE, PREFETCH, Op, Trace
from tierproxy.traffic import DAY
from tierproxy.whatif.engine import start
from tierproxy.whatif.engine.agenda import Agenda, Turns
from tierproxy.whatif.engine.columns import NOWHERE, Columns
from tierproxy.whatif.engine.decisions import Decisions
from tierproxy.whatif.engine.disk import Disk
from tierproxy.whatif.engine.ledger import Gauge, Ledger
from tierproxy.whatif.engine.policies import Policies
from tierproxy.whatif.engine.relief import Relief
from tierproxy.whatif.engine.room import Room
from tierproxy.whatif.scans import TAKEN

CHUNK = 50_000  #: events between two words of progress
LONG = 7 * DAY
"""Seconds between two events: a clock that was set, or a log with a gap."""
READ, WRITE, DELETE = int(Op.READ), int(Op.WRITE), int(Op.DELETE)
APART = MACHINE | LATER

Progress = Callable[[int, int], None]
"""Told how many events are done, of how many. May raise to cancel."""

Events = Iterable[tuple[float, int, int, int, int, int]]


class Replay:
    """One trace through one rule set. ``run`` once; then ``ledger`` and ``room`` tell.

    ``settings``: ``[disk]`` as the rules' budget leaves it. Purges are instant, a run that would wait for a
    confirmation is confirmed, uploads and fills take no time.
    """

    def __init__(
        self, trace: Trace, rules: RuleSet, settings: DiskSection, policies: Callable[[Decisions, Columns], Policies]
    ) -> None:
        self._trace = trace
        begin = trace.span[0]
        self._columns = columns = Columns(trace.objects)
        self.ledger = Ledger()
        self._stored = Gauge(begin)
        self.room = Room(settings, rules.budget.buckets, begin)
        self._order = rules.pressure.order
        self._disk = Disk(columns, self.room, self.ledger, by_use=self._order is Order.LRU)
        self._decisions = decisions = Decisions(rules, columns)
        self._policies = policies(decisions, columns)
        self._agenda = Agenda(decisions, columns, width=rules.schedule.every, young=rules.budget.min_on_disk)
        self._agenda.begin(begin)
        self._relief = Relief(self._disk, decisions, self._agenda)
        self._names = [by_rule(rule.name) for rule in rules.rules]
        self._turns = Turns(rules.schedule, begin)
        self._hard = settings.hard_limit
        self._day = int(begin // DAY)
        self._keeps_visits = self._order in {Order.SIEVE, Order.S3_FIFO}

    def run(self, *, warm: bool = True, warm_up: float = 0.0, progress: Progress | None = None) -> None:
        """Play all events. ``warm``: what was on disk at the start is; ``warm_up``: seconds that are played and not
        counted."""
        trace, total = self._trace, len(self._trace)
        self._fill_up(start.place(trace, self._columns, warm=warm))
        uncounted = bisect_left(trace.at, trace.span[0] + warm_up) if warm_up else 0
        events = zip(trace.at, trace.op, trace.flags, trace.object, trace.size, trace.sent, strict=True)
        for done, chunk in _chunks(events, total, uncounted):
            if done == uncounted:
                self._count_anew(trace.at[done])
            self._play(chunk)
            if progress is not None:
                progress(min(done + CHUNK, total), total)
        if uncounted == total:
            self._count_anew(trace.span[1])
        self.room.end_day(trace.span[1])

    def _fill_up(self, numbers: list[int]) -> None:
        begin, columns = self._trace.span[0], self._columns
        self._stored.change(begin, sum(size for size, alive in zip(columns.size, columns.alive, strict=True) if alive))
        for place, number in enumerate(numbers):
            self._disk.store(number, begin - (len(numbers) - place) * start.STEP)
            self._agenda.anew(number)
        self._relief.begin(begin)
        for number in numbers:  # what went is nobody's purge, to be regretted later
            columns.purged[number] = NOWHERE
        self.room.end_day(begin)

    @property
    def mean_stored(self) -> float:
        """Bytes in alt over the counted time, as far as the trace tells."""
        return self._stored.mean(self._trace.span[1])

    def _count_anew(self, at: float) -> None:
        self.ledger = self._disk.ledger = Ledger()
        self._stored = Gauge(at, self._stored.value)
        if at > self._trace.span[0]:
            self.room.end_day(at)
        self.room.days.clear()

    # ------------------------------------------------------------ events

    def _play(self, events: Events) -> None:
        """The loop that has to be fast: a person's hit is dealt with here."""
        blob, reads, used, weighed = self._columns.blob, self._columns.reads, self._columns.used, self._touch()
        hits = hit_bytes = 0
        wake = self._wake()
        for at, op, flags, number, size, sent in events:
            if at >= wake:
                wake = self._pass_time(at)
            if op == READ:
                if not blob[number]:
                    self._miss(at, flags, number, size, sent)
                elif flags & APART:
                    self._hit_apart(at, flags, number, sent)
                else:
                    hits += 1
                    hit_bytes += sent
                    reads[number] += 1
                    used[number] = at
                    for touch in weighed:
                        touch(number)
            elif op == WRITE:
                self._write(at, number, size)
            elif op == DELETE:
                self._delete(at, number)
        self.ledger.person_hits += hits
        self.ledger.hit_bytes += hit_bytes

    def _touch(self) -> list[Callable[[int], None]]:
        """What else a person's hit changes, as far as these rules and this order look at it."""
        found: list[Callable[[int], None]] = []
        if self._decisions.windows:
            found.append(self._bin)
        if self._order is Order.LRU:
            found.append(self._disk.use)
        if self._order is Order.GDSF:
            found.append(self._disk.weigh)
        if self._keeps_visits:
            found.append(self._disk.visit)
        if self._decisions.hurried:
            found += self._agenda.anew, self._disk.changed
        return found

    def _bin(self, number: int) -> None:
        """A person's read of today."""
        days = self._columns.days[number]
        if days is None:
            self._columns.days[number] = [self._day]
        else:
            days.append(self._day)

    def _hit_apart(self, at: float, flags: int, number: int, sent: int) -> None:
        """By a machine, or a later range."""
        ledger = self.ledger
        ledger.hit_bytes += sent
        if flags & LATER:
            ledger.late_hits += 1
            return
        ledger.machine_hits += 1
        self._by_machine(number)

    def _by_machine(self, number: int) -> None:
        columns = self._columns
        columns.machine[number] += 1
        if self._decisions.machine_windows:
            days = columns.machine_days[number] = columns.machine_days[number] or []
            days.append(self._day)
        if self._decisions.hurried:
            self._agenda.anew(number)
            self._disk.changed(number)

    def _miss(self, at: float, flags: int, number: int, size: int, sent: int) -> None:
        ledger, columns = self.ledger, self._columns
        machine, first = bool(flags & MACHINE), not flags & LATER
        self._seen(at, number, size or columns.size[number] or sent)
        if first and columns.purged[number] == columns.purged[number]:
            by = self._disk.reasons[columns.by[number]]
            ledger.regretted(by, max(0.0, at - columns.purged[number]), machine=machine)
        filled = self._copied(at, flags, number, sent)
        ledger.fills += filled
        ledger.passes += not filled
        ledger.fetched += self._policies.fetched(number, sent, filled=filled)
        ledger.miss_bytes += sent
        if not first:
            ledger.late_misses += 1
        elif machine:
            ledger.machine_misses += 1
            self._by_machine(number)
        else:
            ledger.person_misses += 1
            ledger.missed.append(sent)
            self._read_by_person(at, number)
        self._relieve(at)

    def _seen(self, at: float, number: int, size: int) -> None:
        """Alt has it, and it is so large: others may have written it, past this node or unseen by the log."""
        columns = self._columns
        if columns.alive[number] and columns.size[number] == size:
            return
        self._stored.change(at, size - columns.size[number] * columns.alive[number])
        columns.size[number], columns.alive[number] = size, True

    def _read_by_person(self, at: float, number: int) -> None:
        """One that missed: it counts as a read and is no visit."""
        columns = self._columns
        columns.reads[number] += 1
        columns.used[number] = at
        if self._decisions.windows:
            self._bin(number)
        if self._order is Order.GDSF:
            self._disk.weigh(number)

    def _copied(self, at: float, flags: int, number: int, sent: int) -> bool:
        """It leaves a copy, if there is room."""
        columns = self._columns
        size, bucket = columns.size[number], columns.objects.buckets[number]
        if flags & PREFETCH:
            wanted, fits = self._policies.prefetches(number, sent), self.room.spare(size, bucket)
        else:
            wanted = self._policies.fills(number, at, sent, machine=flags & (MACHINE | TAKEN) == MACHINE)
            fits = wanted and self.room.refusal(size, bucket, 1.0) is None
        if not wanted:
            return False
        if not fits:
            self.ledger.no_room += 1
            return False
        self._disk.store(number, at)
        self._agenda.anew(number)
        return True

    def _write(self, at: float, number: int, size: int) -> None:
        columns, ledger = self._columns, self.ledger
        ledger.writes += 1
        before = columns.size[number], columns.written[number]
        columns.size[number], columns.written[number] = size, at
        ack = self._policies.ack(number, at)
        if ack is not Ack.ALT and self._admitted(at, number, size, before):
            self._disk.store(number, at)
            self._agenda.anew(number)
        else:  # with ack disk the live node refuses it, and whoever delivers it tries again later
            ledger.refused += ack is Ack.DISK
            self._wrote_around(at, number)
        self._stored.change(at, size - before[0] * columns.alive[number])
        columns.alive[number] = True
        ledger.puts += 1
        ledger.sent += size
        self._relieve(at)

    def _admitted(self, at: float, number: int, size: int, before: tuple[int, float]) -> bool:
        """There is room for the write, after a purge if need be: one that sees the object as it was ``before``."""
        columns = self._columns
        bucket = columns.objects.buckets[number]
        refusal = self.room.refusal(size, bucket, self._hard)
        if refusal is not None and refusal.wanted:
            columns.size[number], columns.written[number] = before
            self._relief.run(at, refusal.wanted, bucket)
            columns.size[number], columns.written[number] = size, at
            refusal = self.room.refusal(size, bucket, self._hard)
        return refusal is None

    def _wrote_around(self, at: float, number: int) -> None:
        """To alt alone: what was on disk is old."""
        columns = self._columns
        self.ledger.around += 1
        if columns.blob[number]:
            self._disk.remove(number, at)
        columns.purged[number] = NOWHERE
        if not columns.reads[number]:
            columns.used[number] = at

    def _delete(self, at: float, number: int) -> None:
        self.ledger.deletes += 1
        columns = self._columns
        self._stored.change(at, -columns.size[number] * columns.alive[number])
        if columns.blob[number]:
            self._disk.remove(number, at)
        columns.forget(number)

    # ------------------------------------------------------------ time

    def _wake(self) -> float:
        """When something happens by itself."""
        return min(self._turns.next, float((self._day + 1) * DAY))

    def _pass_time(self, at: float) -> float:
        """Everything up to ``at``: turns of the rules, ends of days. Returns when the next is."""
        while (wake := self._wake()) <= at:
            if wake == self._turns.next:
                self._turn(wake)
                self._turns.done()
                if at - wake > LONG and not self._relief.stalled:
                    self._turns.skip(min(at, self._agenda.next_look()))
            if wake == (self._day + 1) * DAY:
                self.room.end_day(wake)
                self._day += 1
        return wake

    def _turn(self, now: float) -> None:
        """A rule run; and the look at the budget that the live node takes every few seconds."""
        for number, rule in self._agenda.purged(now):
            self._disk.purge(number, now, self._names[rule])
        if self._relief.stalled:
            self._relief.run(now)

    def _relieve(self, at: float) -> None:
        if self.room.pressed:
            self._relief.run(at)


def _chunks(
    events: Iterator[tuple[float, int, int, int, int, int]], total: int, border: int
) -> Iterator[tuple[int, Events]]:
    """Pieces of ``events`` with how many were before; one begins at ``border``."""
    done = 0
    while done < total:
        size = min(CHUNK, border - done) if done < border else CHUNK
        yield done, islice(events, size)
        done += size
