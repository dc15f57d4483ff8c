"""One pressure run: from a need to the blobs that went."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue, Clock, Purgeable
from tierproxy.purge import orders
from tierproxy.purge.plan import Choice, Need, pressed
from tierproxy.purges import Booking, Candidate, Place, PurgeRun, RulesInForce, RunKind, RunState, Scope
from tierproxy.rules.model import ActionKind, Kept, Order, RuleSet

PAGE = 2000  #: candidates looked up at once: finding them costs more than what is kept of them
SORTED_PAGE = 20_000  #: of the orders that sort: each page looks at every row (1 s in a million), however short it is
BLOCK = 4096  #: bytes of disk that a blob has at least
SORTING = frozenset({Order.LFU, Order.GDSF, Order.SCORE})
PASSED = 60.0
"""Seconds in which runs begin with what no rule decides, once all that rules purge has gone."""
ROUNDS = 2  #: SIEVE's hand comes by every blob at most so often in one run: visited ones lose their visits in the first
BEHIND_RULES = Place(-0.5, ObjectName("", ""))
"""A walk that begins here leaves out what rules purge, whose rank is -1."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Passed:
    """What one run tells the next: by this version of the rules nothing was left in ``bucket`` that they purge."""

    seen: dict[tuple[int, str], float] = field(default_factory=dict)

    def note(self, rules: RulesInForce, bucket: str, now: float) -> None:
        """``now``: monotonic seconds."""
        self.seen = {place: at for place, at in self.seen.items() if now - at < PASSED} | {(rules.number, bucket): now}

    def lately(self, rules: RulesInForce, bucket: str, now: float) -> bool:
        at = self.seen.get((rules.number, bucket))
        return at is not None and now - at < PASSED


class Relief:
    """``carry_out`` once; afterwards the fields tell what was done.

    ``handed``: drops handed to the store; ``bytes``: what it released; ``skipped``: drops that stayed (changed since,
    or being read); ``kept``: names of rules whose kept objects went.
    """

    def __init__(
        self, catalogue: Catalogue, store: Purgeable, clock: Clock, rules: RulesInForce, required: Need, *,
        turns: asyncio.Lock, batch: int, page: int, stopping: Callable[[], bool], passed: Passed,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._store = store
        self._clock = clock
        self._rules = rules
        self._turns = turns
        self._batch = batch
        self._page = page
        self._stopping = stopping
        self._passed = passed
        self._record: PurgeRun | None = None
        self._rest: Need | None = required
        self.required = required
        self.handed = 0
        self.bytes = 0
        self.skipped = 0
        self.kept: set[str] = set()

    async def carry_out(self) -> Need | None:
        """What is still needed, None: nothing. Raises DiskError."""
        order, kept = self._rules.rules.pressure.order, self._rules.rules.pressure.kept
        state, note = RunState.DONE, ""
        try:
            await self._left_by_rules(order)
            if kept is Kept.LAST and keeps(self._rules.rules):
                await self._simple(Order.LRU if order in orders.STATEFUL else order, None, kept=True)
            if self._rest is not None and self._stopping():
                state, note = RunState.CANCELLED, "the node stopped before its end"
        except TierproxyError as error:
            state, note = RunState.FAILED, str(error)
            raise
        except asyncio.CancelledError:
            state, note = RunState.CANCELLED, "the write that it made room for was given up"
            raise
        finally:
            await self._end(state, note)
        return self._rest

    def _goes_on(self) -> bool:
        return self._rest is not None and not self._stopping()

    def _scope(self) -> Scope:
        return Scope(self._rules.rules, self._clock.now(), bucket=self.required.bucket)

    # ------------------------------------------------------------ the walks

    async def _left_by_rules(self, order: Order) -> None:
        """All but what they keep; what they purge goes first. When there lately was none of it, it is looked for last:
        that is a look at every row, and a write may wait for its space."""
        passed = self._passed.lately(self._rules, self.required.bucket, self._clock.monotonic())
        if order in orders.STATEFUL:
            if not passed:
                await self._decided()
            await (self._sieve() if order is Order.SIEVE else self._s3_fifo())
        else:
            await self._simple(order, BEHIND_RULES if passed else None)
        if passed:
            await self._decided()

    async def _simple(self, order: Order, after: Place | None, *, kept: bool = False) -> None:
        while self._goes_on():
            async with self._turns:
                page = await self._catalogue.pressed(self._scope(), order, self._size(order), after=after, kept=kept)
            if not page:
                return
            turn = self._turn(order, page, kept)
            after = orders.place_of(page[turn.looked - 1])
            if after.rank > BEHIND_RULES.rank and not kept:
                self._note_passed()
            await self._drop(turn, order, kept=kept)

    def _size(self, order: Order) -> int:
        """Candidates of a page: no more than can be needed, a blob being a block at least."""
        assert self._rest is not None
        needed = self._rest.files + self._rest.bytes // BLOCK + 1
        return max(self._page, min(needed, SORTED_PAGE)) if order in SORTING else self._page

    def _note_passed(self) -> None:
        self._passed.note(self._rules, self.required.bucket, self._clock.monotonic())

    def _turn(self, order: Order, page: Sequence[Candidate], kept: bool) -> orders.Turn:
        assert self._rest is not None
        if order is Order.GDSF and not kept:
            return orders.gdsf(self._rest, page, self._catalogue.eviction(self.required.bucket))
        return orders.simple(self._rest, page)

    async def _decided(self) -> None:
        """What a rule purges, by name: the orders with a state do not tell it apart."""
        after = None
        while self._goes_on():
            async with self._turns:
                page = await self._catalogue.decided(self._scope(), after, self._page)
            if not page:
                self._note_passed()
                return
            after = page[-1].name
            assert self._rest is not None
            await self._drop(orders.simple(self._rest, page), Order.FIFO)

    async def _sieve(self) -> None:
        rounds = 0
        after: Place | None = orders.after_hand(self._catalogue.eviction(self.required.bucket))
        while self._goes_on():
            async with self._turns:
                page = await self._catalogue.pressed(self._scope(), Order.SIEVE, self._page, after=after)
            if not page:
                if rounds == ROUNDS:
                    return
                rounds, after = rounds + 1, None
                continue
            assert self._rest is not None
            turn = orders.sieve(self._rest, page, self._catalogue.eviction(self.required.bucket))
            after = orders.place_of(page[turn.looked - 1])
            await self._drop(turn, Order.SIEVE)

    async def _s3_fifo(self) -> None:
        """What was looked at is behind ``small`` and ``main``, or at the end of the main queue again: a blob gets there
        at most as often as it has visits, so the walk ends."""
        small: Place | None = None
        main: Place | None = None
        while self._goes_on():
            async with self._turns:
                queues = await self._queues(small, main)
            if not queues.small and not queues.main:
                return
            assert self._rest is not None
            eviction = self._catalogue.eviction(self.required.bucket)
            turn = orders.s3_fifo(self._rest, queues, eviction, self._clock.now())
            looked = {drop.name for drop in turn.drops} | {move.name for move in turn.moves}
            small, main = _behind(queues.small, looked) or small, _behind(queues.main, looked) or main
            await self._drop(turn, Order.S3_FIFO)

    async def _queues(self, small: Place | None, main: Place | None) -> orders.Queues:
        scope, order = self._scope(), Order.S3_FIFO
        in_small = await self._catalogue.pressed(scope, order, self._page, after=small, main=False)
        in_main = await self._catalogue.pressed(scope, order, self._page, after=main, main=True)
        of_small, of_both = await self._catalogue.small_bytes(self.required.bucket)
        full = self._page
        return orders.Queues(in_small, in_main, of_small, of_both, len(in_small) < full, len(in_main) < full)

    # ------------------------------------------------------------ what is done

    async def _drop(self, turn: orders.Turn, order: Order, *, kept: bool = False) -> None:
        """Purge a page in batches, then book the new places of what stays: a crash in between costs visits, no blob."""
        choices = [pressed(self._rules.rules, candidate, self.required, order, kept=kept) for candidate in turn.drops]
        for start in range(0, len(choices), self._batch):
            if self._stopping():
                return
            async with self._turns:
                await self._purge(choices[start : start + self._batch], order)
        if turn.eviction is not None:
            async with self._turns:
                await self._catalogue.requeue(turn.moves, turn.eviction)

    async def _purge(self, choices: Sequence[Choice], order: Order) -> None:
        record = await self._recorded()
        purged = await self._store.purge([one.drop for one in choices], booking=Booking(record.number))
        self.handed += len(choices)
        self.bytes += purged.bytes
        self.skipped += purged.skipped
        if purged.objects:
            self.kept.update(one.drop.rule for one in choices if one.drop.rule)
        if self._rest is not None:
            self._rest = self._rest.less(purged.bytes, purged.objects)
        event(
            log, logging.INFO, "purged under pressure", run=record.number, reason=self.required.reason, order=order,
            blobs=purged.objects, bytes=purged.bytes,
        )  # fmt: skip

    async def _recorded(self) -> PurgeRun:
        """The run's row, made when there is something to purge."""
        if self._record is None:
            now, need = self._clock.now(), self.required
            run = PurgeRun(
                0, RunKind.PRESSURE, RunState.RUNNING, now, rules=self._rules.number, bucket=need.bucket,
                author="node", reason=need.reason, started_at=now, planned_objects=need.files, planned_bytes=need.bytes,
            )  # fmt: skip
            self._record = await self._catalogue.add_run(run)
        return self._record

    async def _end(self, state: RunState, note: str) -> None:
        if self._record is None:
            return
        if self._rest is not None and not note:
            note = f"not met: {self._rest.bytes} bytes, {self._rest.files} files"
        if self.kept:
            note = f"{note}; " * bool(note) + "took what rules keep: " + ", ".join(sorted(self.kept))
        ended = replace(self._record, state=state, ended_at=self._clock.now(), note=note)
        with contextlib.suppress(TierproxyError):  # the next start ends it
            await self._catalogue.save_run(ended, expected=RunState.RUNNING)


def keeps(rules: RuleSet) -> bool:
    """Some rule keeps something."""
    return any(rule.then is not None and rule.then.kind is ActionKind.KEEP for rule in rules.rules)


def _behind(page: Sequence[Candidate], looked: AbstractSet[ObjectName]) -> Place | None:
    """The place of the last of ``page`` that was looked at."""
    return next((orders.place_of(one) for one in reversed(page) if one.name in looked), None)
