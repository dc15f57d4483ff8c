"""Pressure in a replay: what ``tierproxy.purge.pressure`` and ``relief`` do, by the same pure decisions.

``plan.need`` says how much has to go, ``tierproxy.purge.orders`` decides for SIEVE and S3-FIFO; for orders that only
sort, ``_walk`` is ``orders.simple`` without a candidate object for each blob (a test holds the two together).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from tierproxy.model import ObjectName
from tierproxy.purge import orders
from tierproxy.purge.plan import Need, need
from tierproxy.purge.pressure import PERIOD
from tierproxy.purge.relief import PAGE, PASSED, ROUNDS, keeps
from tierproxy.purges import PRESSURE, Candidate, Eviction, by_rule
from tierproxy.rules.model import Kept, Order
from tierproxy.traffic import DAY
from tierproxy.whatif.engine.agenda import Agenda
from tierproxy.whatif.engine.decisions import UNDECIDED, Decisions
from tierproxy.whatif.engine.disk import Disk
from tierproxy.whatif.engine.waiting import Waiting

NEVER = float("-inf")
Wanted = Callable[[int], bool]


class Relief:
    """``run`` whenever the room is pressed. A place that could not be relieved is not tried again before the next look
    of the live node (``PERIOD``), unless a write waits."""

    def __init__(self, disk: Disk, decisions: Decisions, agenda: Agenda) -> None:
        self._disk = disk
        self._columns = disk.columns
        self._room = disk.room
        self._decisions = decisions
        self._agenda = agenda
        self._names = [by_rule(rule.name) for rule in decisions.rules.rules]
        self._order = decisions.rules.pressure.order
        self._stalled: dict[str, float] = {}
        self._passed: dict[str, float] = {}
        self._evictions: dict[str, Eviction] = {}
        self._waiting = {place: Waiting(disk, self._inside(place)) for place in ("", *disk.room.budgets)}
        self._at = 0.0
        self._place = ""
        self._rest: Need | None = None

    @property
    def stalled(self) -> bool:
        """Some need was not met."""
        return bool(self._stalled)

    def begin(self, at: float) -> None:
        """What was on disk before the trace becomes no more than the disk: a purge, for which nothing is young, and
        what rules keep beyond that was not there."""
        self._agenda.young = 0.0
        self._room.pressed = {}
        for place, most in (("", self._room.settings.max_bytes), *self._room.budgets.items()):
            required = need(self._room, 0, place)
            if required is not None:
                self._relieve(at, place, required)
            for number in [one for one in self._disk.there if self._in_place(one)]:
                if self._room.claimed(place) <= most:
                    break
                self._disk.remove(number, at)
        self._stalled.clear()
        self._agenda.young = self._decisions.rules.budget.min_on_disk

    def run(self, at: float, wanted: int = 0, bucket: str = "") -> None:
        """Purge until the budgets hold, with ``wanted`` bytes more in ``bucket``, or nothing is left to purge."""
        pressed, self._room.pressed = self._room.pressed, {}
        for place in ("", *self._room.budgets):
            more = wanted if place in {"", bucket} else 0
            if at - self._stalled.get(place, NEVER) < PERIOD and not more:
                continue
            required = need(self._room, max(more, pressed.get(place, 0)), place)
            self._stalled.pop(place, None)
            if required is not None:
                self._relieve(at, place, required)

    def _relieve(self, at: float, place: str, required: Need) -> None:
        self._at, self._place, self._rest = at, place, required
        self._disk.ledger.pressure_runs += 1
        some = bool(self._numbers())
        if some:
            self._walks()
        else:
            self._passed[place] = at
        if self._rest is not None:
            self._stalled[place] = at
            self._disk.ledger.short += 1
            if some:
                self._waiting[place].all_stay(self._stays_until, at)

    def _walks(self) -> None:
        rules = self._decisions.rules
        self._left_by_rules()
        if self._rest is not None and rules.pressure.kept is Kept.LAST and keeps(rules):
            order = Order.LRU if self._order in orders.STATEFUL else self._order
            self._walk(order, self._decisions.keeping.__contains__, kept=True)

    def _stays_until(self, number: int) -> float:
        """When it may be able to go that cannot now: when it is old enough, or its rule changes by itself."""
        if self._agenda.is_young(number, self._at):
            return self._agenda.old_at(number, self._at)
        return self._decisions.look(number, self._at, self._decisions.decide(number, self._at))

    # ------------------------------------------------------------ the walks

    def _left_by_rules(self) -> None:
        """All but what they keep: what they purge first, but last if a run found none of it lately."""
        passed = self._at - self._passed.get(self._place, NEVER) < PASSED
        if not passed:
            self._decided()
        if self._rest is not None:
            if self._order is Order.SIEVE:
                self._sieve()
            elif self._order is Order.S3_FIFO:
                self._s3_fifo()
            else:
                self._walk(self._order, UNDECIDED.__eq__)
        if passed and self._rest is not None:
            self._decided()

    def _decided(self) -> None:
        """What a rule purges, by name."""
        rules = dict(self._agenda.purged(self._at))
        for number in self._columns.names(list(rules)):
            if self._rest is not None and self._in_place(number):
                self._drop(number, self._names[rules[number]])
            else:
                self._agenda.anew(number)
        if self._rest is not None:
            self._passed[self._place] = self._at

    def _walk(self, order: Order, wanted: Callable[[int], bool], *, kept: bool = False) -> None:
        """In the order's rank. ``wanted``: of the deciding rule."""
        ranks = self._ranks(order)
        numbers = self._candidates(sorted(self._numbers(), key=ranks), wanted)
        inflation = self._disk.inflation
        for number, _ in numbers:
            if order is Order.GDSF and not kept and not self._place:
                inflation = max(inflation, self._columns.worth[number])
            self._drop(number, PRESSURE)
            if self._rest is None:
                break
        self._disk.inflation = inflation

    def _ranks(self, order: Order) -> Callable[[int], Any]:
        """By number. As ``tierproxy.catalogue.pressing`` ranks; ties go by name with GDSF, for which all that is small
        and was never read is worth the same, with the others, where they are rare, in the order of arrival."""
        columns, now = self._columns, self._at
        used, reads, blob = columns.used, columns.reads, columns.blob
        match order:
            case Order.LRU:
                return used.__getitem__
            case Order.LFU:
                return lambda number: reads[number] + used[number] / 1e11
            case Order.GDSF:
                worth, buckets, keys = columns.worth, columns.objects.buckets, columns.objects.keys
                return lambda number: (worth[number], buckets[number], keys[number])
            case Order.SCORE:
                return lambda number: (
                    (1.0 + reads[number])
                    / ((1.0 + max(now - used[number], 0.0) / DAY) * (1.0 + blob[number] / 65536.0))
                )
        return columns.queued.__getitem__

    def _numbers(self) -> Collection[int]:
        """What is on disk in the place, but for what is known to stay."""
        return self._waiting[self._place].numbers(self._at)

    def _candidates(self, numbers: Iterable[int], wanted: Wanted) -> Iterator[tuple[int, int]]:
        """Those that may go and whose deciding rule is ``wanted``, with that rule."""
        now, decide, young = self._at, self._decisions.decide, self._agenda.is_young
        for number in numbers:
            rule = decide(number, now)
            if wanted(rule) and not young(number, now):
                yield number, rule

    # ------------------------------------------------------------ the orders with a state

    def _sieve(self) -> None:
        line = sorted(self._numbers(), key=self._columns.queued.__getitem__)
        hand = self._eviction().hand
        behind = [number for number in line if self._columns.queued[number] > hand]
        for numbers in (behind, *[line] * ROUNDS):
            walk = self._candidates((one for one in numbers if self._columns.blob[one]), self._left)
            while self._rest is not None and (page := self._page(walk)):
                self._carry_out(orders.sieve(self._rest, page, self._eviction()))

    def _s3_fifo(self) -> None:
        """Page by page, as the live run; what a page moves to the main queue's end comes by again there."""
        columns = self._columns
        line = sorted(self._numbers(), key=columns.queued.__getitem__)
        small_line = deque(number for number in line if not columns.main[number])
        main_line = deque(number for number in line if columns.main[number])
        small: list[Candidate] = []
        main: list[Candidate] = []
        while self._rest is not None:
            self._refill(small, small_line)
            self._refill(main, main_line)
            if not small and not main:
                return
            ends = not small_line, not main_line
            queues = orders.Queues(small, main, *self._small_bytes(), *ends)
            turn = orders.s3_fifo(self._rest, queues, self._eviction(), self._at)
            self._carry_out(turn)
            main_line.extend(move.generation for move in turn.moves)
            looked = {drop.generation for drop in turn.drops} | {move.generation for move in turn.moves}
            small, main = _behind(small, looked), _behind(main, looked)

    def _refill(self, page: list[Candidate], line: deque[int]) -> None:
        """Up to a page of ``line``, from its front."""
        walk = self._candidates(_taken(line), self._left)
        page.extend(self._candidate(*found) for found in islice(walk, PAGE - len(page)))

    def _small_bytes(self) -> tuple[int, int]:
        """In the small queue, and in both."""
        blob, main, there = self._columns.blob, self._columns.main, self._disk.there
        line = [number for number in there if self._in_place(number)] if self._place else there
        return sum(blob[number] for number in line if not main[number]), sum(blob[number] for number in line)

    def _left(self, rule: int) -> bool:
        """The orders with a state take what no rule keeps."""
        return rule == UNDECIDED or rule in self._decisions.purging

    def _page(self, walk: Iterator[tuple[int, int]]) -> list[Candidate]:
        return [self._candidate(*found) for found in islice(walk, PAGE)]

    def _candidate(self, number: int, rule: int) -> Candidate:
        """``generation`` is the number: what the orders hand back names it."""
        columns = self._columns
        name = ObjectName(columns.objects.buckets[number], columns.objects.keys[number])
        queued = columns.queued[number]
        return Candidate(
            name, number, "", columns.blob[number], columns.size[number], None if rule == UNDECIDED else rule, queued,
            columns.visits[number], bool(columns.main[number]), queued,
        )  # fmt: skip

    def _carry_out(self, turn: orders.Turn) -> None:
        for candidate in turn.drops:
            self._drop(candidate.generation, PRESSURE if candidate.rule is None else self._names[candidate.rule])
        columns = self._columns
        for move in turn.moves:
            columns.visits[move.generation] = move.visits
            columns.main[move.generation] = move.main
            columns.queued[move.generation] = move.queued_at
        if turn.eviction is not None:
            self._evictions[self._place] = turn.eviction

    def _eviction(self) -> Eviction:
        return self._evictions.get(self._place, Eviction(self._place))

    # ------------------------------------------------------------ what is done

    def _drop(self, number: int, by: str) -> None:
        assert self._rest is not None
        released = self._columns.blob[number]
        self._disk.purge(number, self._at, by)
        self._rest = self._rest.less(released, 1)

    def _in_place(self, number: int) -> bool:
        return not self._place or self._columns.objects.buckets[number] == self._place

    def _inside(self, place: str) -> Callable[[int], bool]:
        buckets = self._columns.objects.buckets
        return (lambda number: buckets[number] == place) if place else lambda _number: True


def _taken(line: deque[int]) -> Iterator[int]:
    """Everything in ``line``, taken out as it is looked at."""
    while line:
        yield line.popleft()


def _behind(page: Sequence[Candidate], looked: AbstractSet[int]) -> list[Candidate]:
    """What comes after the last of ``page`` that was looked at."""
    last = max((place for place, one in enumerate(page) if one.generation in looked), default=-1)
    return list(page[last + 1 :])
