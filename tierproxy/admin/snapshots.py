"""Answers that take a look at every row: computed in the background, kept, and shown with the moment they are of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, TypeVar

from tierproxy.admin.kept import Keeper
from tierproxy.admin.problems import problem_of
from tierproxy.admin.services import Desk
from tierproxy.catalogue import CatalogueReader
from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Clock

log = logging.getLogger(__name__)
T = TypeVar("T")

GOOD_FOR = 15.0  #: seconds for which a value is answered without another thought
TIMES = 40  #: ... or so many times as long as it took: looks take at most a fortieth of a processor
OLDEST = 300.0  #: ... and no longer than this, however long a busy machine made it take
MOST = 64  #: questions whose values are kept
SAVED = 600.0  #: seconds from one writing of what a restarted node shows to the next


@dataclass(slots=True)
class Expected:
    """A question that somebody will ask. ``saved``: of when the value in its file is, on the monotonic clock."""

    question: Hashable
    look: Callable[[CatalogueReader], Any]
    keeper: Keeper[Any] | None
    saved: float = -inf


@dataclass(slots=True)
class Snapshot(Generic[T]):
    """The last value of one question. ``at``: when its computation began, on the monotonic clock. ``stale``: something
    it depends on was changed since. ``failed``: the last try, whoever asks next waits for another and hears of it.
    ``reader``: with which it is being computed; ``wanted``: somebody waits for that."""

    value: T
    known: bool = False
    at: float = -inf
    took: float = 0.0
    stale: bool = False
    failed: bool = False
    running: asyncio.Task[T] | None = None
    reader: CatalogueReader | None = None
    wanted: bool = False

    def recalled(self, value: T) -> None:
        """From before this node started: shown until somebody has looked."""
        if not self.known and self.running is None:
            self.value, self.known, self.stale = value, True, True

    def good(self, now: float) -> bool:
        """It needs no computation."""
        lasts = min(max(GOOD_FOR, TIMES * self.took), OLDEST)
        return self.known and not self.stale and not self.failed and now - self.at < lasts


class Snapshots:
    """Values by question. Confined to the event loop; the computations run in the desk's threads, one of each question
    at a time, and everybody who asks meanwhile waits for the same or is answered with the value before. Different
    questions take turns, so that the desk's other threads are free for what takes milliseconds."""

    def __init__(self, desk: Desk, clock: Clock, most: int = MOST) -> None:
        self._desk = desk
        self._clock = clock
        self._most = most
        self._turn = asyncio.Lock()
        self._expected: list[Expected] = []
        self._kept: OrderedDict[Hashable, Snapshot[Any]] = OrderedDict()

    def __repr__(self) -> str:
        running = sum(one.running is not None for one in self._kept.values())
        return f"<Snapshots of {len(self._kept)} questions, {running} under way>"

    async def ask(self, question: Hashable, look: Callable[[CatalogueReader], T], *, fresh: bool = False) -> T:
        """The value of ``question``, which ``look`` finds. Only who asks first waits, and (``fresh``) who wants it as
        it is now. Raises what ``look`` raises, Busy."""
        kept: Snapshot[T] = self._snapshot(question)
        if not fresh and kept.good(self._clock.monotonic()):
            return kept.value
        if fresh and kept.running is not None:  # it may have looked before what the caller wants to see
            await asyncio.wait([kept.running])
        if kept.known and not kept.failed and not fresh:
            if kept.running is None:
                self._begin(question, kept, look)
            return kept.value
        running = kept.running or self._begin(question, kept, look)
        self._hurry(kept)
        return await asyncio.shield(running)

    def expect(
        self, question: Hashable, look: Callable[[CatalogueReader], Any], keeper: Keeper[Any] | None = None
    ) -> None:
        """loop. Somebody will ask this: ``run`` looks before, so that nobody has to wait for it, and shows what
        ``keeper`` has until then."""
        self._expected.append(Expected(question, look, keeper))

    async def run(self) -> None:
        """A background work of the node, for all questions that are expected: recall, look, and save now and then. What
        fails is logged, and looked at again when somebody asks."""
        await self._recall()
        for one in self._expected:
            kept = self._snapshot(one.question)
            if kept.running is None and (kept.stale or not kept.known):
                with contextlib.suppress(TierproxyError):
                    await asyncio.shield(self._begin(one.question, kept, one.look))
        while True:
            await self._save()
            await self._clock.sleep(SAVED)

    async def _recall(self) -> None:
        for one in self._expected:
            if one.keeper is not None:
                value = await self._desk.run(one.keeper.read)
                if value is not None and one.keeper.good(value):
                    self._snapshot(one.question).recalled(value)

    async def _save(self) -> None:
        """What is newer than its file."""
        for one in self._expected:
            kept = self._kept.get(one.question)
            if one.keeper is None or kept is None or not kept.known or kept.at <= one.saved:
                continue
            one.saved = kept.at
            with contextlib.suppress(TierproxyError):
                await self._desk.run(one.keeper.write, kept.value)

    def changed(self, *kinds: str) -> None:
        """loop. What was answered to questions of these kinds (their first word; none: all) is old now, and what is
        being computed will be."""
        for question, kept in self._kept.items():
            if not kinds or (isinstance(question, tuple) and question[0] in kinds):
                kept.stale = True

    async def close(self) -> None:
        """loop. Returns when nothing is computed any more (in a thread it may go on to its end), and saved."""
        running = [kept.running for kept in self._kept.values() if kept.running is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._save()

    def _hurry(self, kept: Snapshot[Any]) -> None:
        """Somebody waits for it: neither it nor what it waits for leaves the processor to others any more."""
        kept.wanted = True
        for one in self._kept.values():
            if one.reader is not None:
                one.reader.hurry()

    def _snapshot(self, question: Hashable) -> Snapshot[Any]:
        kept = self._kept.setdefault(question, Snapshot(None))
        self._kept.move_to_end(question)
        for old in [other for other, one in self._kept.items() if one.running is None and one is not kept]:
            if len(self._kept) <= self._most:
                break
            del self._kept[old]
        return kept

    def _begin(self, question: Hashable, kept: Snapshot[T], look: Callable[[CatalogueReader], T]) -> asyncio.Task[T]:
        kept.running = asyncio.create_task(self._compute(question, kept, look), name=f"snapshot {question}")
        kept.running.add_done_callback(_heard)
        return kept.running

    async def _compute(self, question: Hashable, kept: Snapshot[T], look: Callable[[CatalogueReader], T]) -> T:
        try:
            async with self._turn:
                begun, kept.stale = self._clock.monotonic(), False
                value = await self._desk.ask(lambda catalogue: _looked(kept, look, catalogue))
        except TierproxyError as error:
            kept.failed = True
            asker = problem_of(error).status < 500  # is told; a name that is not known is no failure of the node's
            level = logging.DEBUG if asker else logging.WARNING
            event(log, level, "look at the catalogue failed", question=str(question), error=error)
            raise
        except BaseException:
            kept.failed = True
            raise
        finally:
            kept.running = kept.reader = None
            kept.wanted = False
        kept.value, kept.known, kept.failed = value, True, False
        kept.at, kept.took = begun, self._clock.monotonic() - begun
        return value


def _looked(kept: Snapshot[T], look: Callable[[CatalogueReader], T], catalogue: CatalogueReader) -> T:
    """In the thread. Without the rests between pages, where somebody waits."""
    kept.reader = catalogue
    if kept.wanted:
        catalogue.hurry()
    return look(catalogue)


def _heard(task: asyncio.Task[Any]) -> None:
    """The log has the failure of a computation that nobody waits for; asyncio need not complain as well."""
    if not task.cancelled():
        task.exception()
