"""What was read, by whom, and what is written down of it: in memory at once, in the catalogue once a second.

The theory is in ``docs/decisions/0015-what-a-read-is.md``. A crash costs the reads of at most one interval; a failing
catalogue costs nothing as long as there is room to keep the counts for its next chance.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache

from tierproxy.config.sections import CountingSection
from tierproxy.errors import DiskError
from tierproxy.logs import event
from tierproxy.model import Entry, ObjectName, Tier
from tierproxy.ports import Catalogue, Clock, HistoryLog
from tierproxy.store.calls import Purge, Reading
from tierproxy.store.counters import Counters
from tierproxy.store.pending import NAMES, Pending
from tierproxy.store.rollups import Rollups
from tierproxy.store.scans import Scans
from tierproxy.traffic import DAY, HITS, Correction, Delivery, Event, EventKind, Outcome, Reason, Regret, Visitor

log = logging.getLogger(__name__)
RECENT = 100_000
"""(client, object) pairs whose last read is remembered, for the ranges that may follow."""

REMEMBERED = 10_000  #: access keys with user agents, and keys, of which it is known whether a machine is meant
Named = Callable[[ObjectName], tuple[str, str]]
Taken = tuple[ObjectName, float, int, bool, Purge | None]
"""A read counted as a person's: of what, when, in which batch, whether it hit, what it regrets. Plain: one is made for
every read."""

WAITS = 60  #: flushes that the count of an object new to the catalogue waits for its row


class Tally:
    """Confined to the event loop. ``delivered`` decides and counts without waiting; ``run`` writes the batches."""

    def __init__(
        self, *, catalogue: Catalogue, clock: Clock, counters: Counters, rollups: Rollups, naming: Named,
        history: HistoryLog, settings: CountingSection, interval: float = 1.0,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._clock = clock
        self._counters = counters
        self._rollups = rollups
        self._naming = naming
        self._history = history
        self._interval = interval
        self._scans = Scans[Taken](settings)
        self._recent: OrderedDict[tuple[str, ObjectName], tuple[float, Reason]] = OrderedDict()
        self._batch = 0
        self._pending = Pending(0)
        self._flushing = asyncio.Lock()
        self.reload(settings)

    def __repr__(self) -> str:
        return f"<Tally, {len(self._pending.reads)} objects pending, {self._scans!r}>"

    def reload(self, settings: CountingSection) -> None:
        """loop. What was counted before stays as it was."""
        self._window = float(settings.range_window)
        self._scans.reload(settings)
        keys, agents = _one_of(settings.machine_access_keys), _one_of(settings.machine_user_agents)
        self._machine_visitor = lru_cache(REMEMBERED)(
            lambda key, agent: bool((key and keys.match(key)) or (agent and agents.match(agent)))
        )
        machine_keys = _one_of(settings.machine_keys)
        self._machine_key = lru_cache(REMEMBERED)(lambda key: machine_keys.match(key) is not None)

    # ------------------------------------------------------------ reads

    def reason(self, name: ObjectName, entry: Entry | None, visitor: Visitor) -> Reason:
        """loop. Why ``visitor`` opens it, as far as can be said before anything is delivered."""
        told = visitor.reason or self._told(name, visitor)
        if told is not None or not visitor.client:
            return told or Reason.PERSON
        owner, _ = self._named_of(name, entry, visitor)
        scanning = self._scans.scanning(visitor.client, owner, name, self._clock.monotonic())
        return Reason.SCAN if scanning else Reason.PERSON

    def delivered(self, reading: Reading, visitor: Visitor, sent: int, seconds: float) -> None:
        """loop. ``tierproxy.s3api.ports.Store.delivered``. Never raises."""
        entry, outcome = reading.entry, reading.outcome
        if not sent and entry.size:
            return
        self._counters.delivered[reading.tier] += sent
        self._counters.latency[outcome].add(seconds)
        if reading.timings:
            self._counters.spent("get", reading.timings)
        take = self._take if outcome is not Outcome.STUB else self._glimpsed
        take(
            entry.name, visitor, outcome, entry.size, entry.owner, entry.folder, reading.range is not None, 1, sent,
            self._clock.now(), self._clock.monotonic(), reading.purged,
        )  # fmt: skip

    def delivered_all(self, deliveries: Sequence[Delivery]) -> None:
        """loop. ``tierproxy.s3api.ports.Store.delivered_all``: what ``times`` calls of ``delivered`` at that time come
        to, at the cost of about one. Nobody measured how long these took: they count as no time in the latencies."""
        counters, wall = self._counters, self._clock.now()
        ahead = self._clock.monotonic() - wall
        for get in deliveries:
            counters.got(get.outcome, get.times)
            if not get.sent and get.size:
                continue
            counters.delivered[Tier(get.outcome)] += get.sent
            counters.latency[get.outcome].add(0.0, get.times)
            at = min(get.at, wall)  # the clock may have been set back since
            self._take(*get[:-1], at, at + ahead, None)

    def _glimpsed(
        self, name: ObjectName, visitor: Visitor, outcome: Outcome, size: int, owner: str | None, folder: str | None,
        _ranged: bool, _times: int, sent: int, at: float, _now: float, _purged: Purge | None,
    ) -> None:  # fmt: skip
        """Head or tail of a body that is not on disk: a line of history and no read. Rules count reads to learn which
        bodies are wanted near, and for this nobody wanted one."""
        reason = visitor.reason or self._told(name, visitor) or Reason.PERSON
        owner, folder = self._named(name, owner, folder, visitor)
        self._history.note(
            Event(
                at, EventKind.READ, name, owner, folder, size, sent, outcome, reason, visitor.client, first=False
            )
        )  # fmt: skip

    def _take(
        self, name: ObjectName, visitor: Visitor, outcome: Outcome, size: int, row_owner: str | None,
        folder: str | None, ranged: bool, times: int, sent: int, at: float, now: float, purged: Purge | None,
    ) -> None:  # fmt: skip
        """``Delivery``, taken apart: this is done for every read. Gets that are ``times`` reads, or the ranges of one
        read, which may be an earlier one's."""
        client = visitor.client
        place = client, name
        owner, folder = self._named(name, row_owner, folder, visitor)
        before = self._recent.get(place) if ranged else None
        if before is not None and now - before[0] < self._window:
            reads, reason = 0, before[1]
        else:
            reads = 1 if ranged and self._window > 0 else times
            new = row_owner is None and outcome not in HITS
            reason = self._read(name, visitor, owner, at, now, reads, outcome in HITS, new, purged)
        self._recent[place] = now, reason
        self._recent.move_to_end(place)
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        by = purged.by if purged is not None and reads else ""
        each = sent // times
        line = Event(
            at, EventKind.READ, name, owner, folder, size, each, outcome, reason, client, by, reads > 0
        )  # fmt: skip
        if times == 1:
            self._history.note(line)
        else:
            self._tell(line, sent - each * times, reads, times)

    def _tell(self, line: Event, rest: int, reads: int, times: int) -> None:
        """``line`` for each of ``times`` gets, of which the first ``reads`` are reads."""
        if rest:  # ranges of several lengths: their sum is right
            self._history.note(line._replace(sent=line.sent + rest))
            times, reads = times - 1, max(0, reads - 1)
        if reads:
            self._history.note(line, reads)
        if times > reads:
            self._history.note(line._replace(first=False), times - reads)

    def _read(
        self, name: ObjectName, visitor: Visitor, owner: str, at: float, now: float, reads: int, hit: bool, new: bool,
        purged: Purge | None,
    ) -> Reason:  # fmt: skip
        """``reads`` reads of one object that were not counted yet, all at one time. Many are no more of a scan than
        one is: the same object again is no step of it. ``new``: there was no row."""
        reason = visitor.reason or self._told(name, visitor)
        if reason is None:  # nobody says: a person, or a scan if it looks like one
            reason, client = Reason.PERSON, visitor.client
            taken = name, at, self._batch, hit, purged
            scan = self._scans.follow(client, owner, name, now, taken) if client else None
            if scan is not None:
                reason = Reason.SCAN
                for earlier in scan:
                    self._correct(*earlier)
        self._counters.reads[reason] += reads
        if hit:
            if reason is Reason.PERSON:
                self._counters.person_hits += reads
            else:
                self._counters.machine_hits[reason] += reads
        day = int(at // DAY)
        pending = self._pending.reads.get((name, day)) or self._pending.read(name, day)
        if pending is None:
            self._counters.lost_counts += reads
            return reason
        if reason is Reason.PERSON:
            pending.by_person(at, hit, reads)
        else:
            pending.machine += reads
        if new and pending.people + pending.machine == 1:
            pending.waits = WAITS
        if visitor.owner is not None:
            pending.owner = visitor.owner
        if visitor.folder is not None:
            pending.folder = visitor.folder
        if purged is not None:
            self._regret(name, *purged, at, machine=reason is not Reason.PERSON)
        return reason

    def _told(self, name: ObjectName, visitor: Visitor) -> Reason | None:
        """What the configuration says of a request that says nothing of itself."""
        if self._machine_key(name.key):
            return Reason.INDEX
        return Reason.SCAN if self._machine_visitor(visitor.access_key, visitor.user_agent) else None

    def _correct(self, name: ObjectName, at: float, batch: int, hit: bool, purged: Purge | None) -> None:
        """Where the read still waits for its flush it is changed there; else the catalogue has to be told."""
        self._counters.corrected += 1
        self._counters.corrected_hits += hit
        pending = self._pending.reads.get((name, int(at // DAY)))
        if batch >= self._pending.first or (pending is not None and pending.waits):
            if pending is not None:  # else there was no room for it
                pending.turn(at, hit)
        elif len(self._pending.corrections) < NAMES:
            self._pending.corrections.append(Correction(name, at, hit))
        if purged is not None:
            self._counters.corrected_regrets += 1
            self._counters.toll(purged.by).corrected += 1
            self._book_regret(Regret(name, purged.by, at, max(0.0, at - purged.at), machine=True, corrected=True))

    def _regret(self, name: ObjectName, by: str, purged_at: float, at: float, *, machine: bool) -> None:
        toll = self._counters.toll(by)
        if machine:
            self._counters.machine_regrets += 1
            toll.machine_regrets += 1
        else:
            self._counters.regrets += 1
            toll.regrets += 1
        self._book_regret(Regret(name, by, at, max(0.0, at - purged_at), machine))

    def _book_regret(self, regret: Regret) -> None:
        if len(self._pending.regrets) < NAMES:
            self._pending.regrets.append(regret)

    def _named_of(self, name: ObjectName, entry: Entry | None, visitor: Visitor) -> tuple[str, str]:
        owner, folder = (None, None) if entry is None else (entry.owner, entry.folder)
        return self._named(name, owner, folder, visitor)

    def _named(self, name: ObjectName, owner: str | None, folder: str | None, visitor: Visitor) -> tuple[str, str]:
        """Owner and folder class: the request's word, the row's (``owner``, ``folder``), the key's."""
        if visitor.owner is not None:
            owner = visitor.owner
        if visitor.folder is not None:
            folder = visitor.folder
        if owner is None or folder is None:
            by_key = self._naming(name)
            return by_key[0] if owner is None else owner, by_key[1] if folder is None else folder
        return owner, folder

    # ------------------------------------------------------------ changes

    def wrote(self, entry: Entry, visitor: Visitor) -> None:
        """loop. A write of ``entry`` is committed; history is told who has it."""
        tiers = entry.tiers
        held = "both" if len(tiers) > 1 else tiers[0]
        self._counters.acks[held] += 1
        owner, folder = self._named_of(entry.name, entry, visitor)
        self._history.note(
            Event(
                self._clock.now(), EventKind.WRITE, entry.name, owner, folder, entry.size,
                outcome=held, client=visitor.client,
            )
        )  # fmt: skip

    def deleted(self, name: ObjectName, old: Entry | None, visitor: Visitor) -> None:
        """loop. A delete is durable; ``old`` is the row that went, if there was one."""
        owner, folder = self._named_of(name, old, visitor)
        size = old.size if old is not None else 0
        self._history.note(Event(self._clock.now(), EventKind.DELETE, name, owner, folder, size, client=visitor.client))

    # ------------------------------------------------------------ to the catalogue

    async def flush(self) -> None:
        """Write what is pending, some hundred objects at a time: PUTs get their turn in between. A failing catalogue
        costs no counts as long as there is room for them, and never a read. A crash in between costs the counts of the
        objects that were not written yet; those of one object are written together."""
        self._forget_reads()
        async with self._flushing:
            pending, self._pending = self._pending, Pending(self._batch + 1)
            self._batch += 1
            for place, early in pending.early(self._known).items():
                early.waits -= 1
                self._pending.reads[place] = early
            pending.grow(self._rollups.growth())
            pieces = deque(pending.pieces())
            while pieces:
                counts = pieces[0].counts(self._clock.now())
                try:
                    if counts:
                        await self._catalogue.count(counts)
                except DiskError as error:
                    self._keep(pieces, error)
                    return
                pieces.popleft()
                for piece in pieces:  # what they hold is not all of its batches any more: corrections are written down
                    piece.first = self._pending.first

    def _forget_reads(self) -> None:
        """What is over: a range that comes now begins a read of its own."""
        begin, recent = self._clock.monotonic() - self._window, self._recent
        while recent and next(iter(recent.values()))[0] <= begin:
            recent.popitem(last=False)

    def _known(self, name: ObjectName) -> bool:
        try:
            return self._catalogue.find(name) is not None
        except DiskError:  # then the flush fails as well, and keeps all
            return True

    def _keep(self, pieces: Iterable[Pending], error: DiskError) -> None:
        """What is not written yet is pending again."""
        pending, *others = pieces
        lost = sum(pending.absorb(other) for other in (*others, self._pending))
        self._pending = pending
        self._counters.lost_counts += lost
        event(log, logging.WARNING, "counts kept for the next flush", objects=len(pending.reads), error=error)
        if lost:
            event(log, logging.ERROR, "counts lost", reads=lost)

    async def run(self) -> None:
        """Flush every interval until cancelled."""
        while True:
            await self._clock.sleep(self._interval)
            await asyncio.shield(self.flush())


def _one_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """Shell patterns as one expression; none matches nothing."""
    return re.compile("|".join(translate(pattern) for pattern in patterns) or r"(?!)")
