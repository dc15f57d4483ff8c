"""What is kept of bodies that leave the disk, and when an answer may come of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from tierproxy.config.sections import StubsSection
from tierproxy.logs import event
from tierproxy.model import BlobFacts, ByteRange, Entry, ObjectName, Stub
from tierproxy.ports import Clock, DiskTier, Source, Stubs
from tierproxy.purges import Drop

T = TypeVar("T")
log = logging.getLogger(__name__)
GROUP = 32  #: blobs that are read in one job of the disk tier's threads: no read of a client waits long behind them
AT_ONCE = 3  #: such jobs at the same time
PERIOD = 1.0
PASSING = 64
"""Stubs of bodies that went by, in memory: to keep one by one would cost a miss more than the miss."""
MOST_PASSING = 8 * PASSING  #: while some are being kept, which may take long; then the oldest is forgotten
PATIENCE = 10.0  #: seconds for the stubs' disk: a stub saves a GET, and is not worth more


class Stubbing:
    """A stub is served for the row of its generation alone, and only while that has no blob; so it may be there early,
    late or not at all, and nothing has to be undone after a crash."""

    def __init__(
        self, stubs: Stubs, disk: DiskTier, clock: Clock, settings: StubsSection, full: Callable[[], bool]
    ) -> None:  # fmt: skip
        """``full``: there is no room for stubs now."""
        self._stubs = stubs
        self._full = full
        self._disk = disk
        self._clock = clock
        self._settings = settings
        self._on = settings.max_bytes > 0
        self._passing: dict[tuple[ObjectName, int], Stub] = {}  # served as if they were kept
        self._turn = asyncio.Lock()
        self._quiet_until = 0.0  # the disk took too long: nobody asks it before then; 0: it did not

    def __repr__(self) -> str:
        return f"<Stubbing {self._stubs!r}>"

    def reload(self, settings: StubsSection) -> None:
        """loop. For stubs made from now on; ``max_bytes`` waits for the next start."""
        self._settings = settings

    async def keep(self, drops: Sequence[Drop], rows: Sequence[Entry | None]) -> None:
        """Stubs from the blobs of ``drops`` before these go, of everything or only of what a rule trims. ``rows``: what
        the catalogue says of each. Never raises: what cannot be read has none."""
        if not self._on or self._full():
            return
        pairs = zip(drops, rows, strict=True)
        going = [row for drop, row in pairs if row is not None and row.blob == drop.blob and self._wanted(drop)]
        groups = iter([going[start : start + GROUP] for start in range(0, len(going), GROUP)])
        await asyncio.gather(*(self._work_off(groups) for _ in range(min(AT_ONCE, -(-len(going) // GROUP)))))

    def forget(self, drops: Iterable[Drop]) -> None:
        """loop. They did not go after all: they changed, and so their stub is of no use, or it is made anew."""
        for drop in drops:
            self._stubs.drop(drop.name)

    async def passed(self, entry: Entry, body: Source) -> None:
        """All of ``body`` has just gone by on its way from alt, and ``entry`` has no blob. What is kept already may be
        less, having been made of metadata. Never raises."""
        if not (self._on and self._settings.on_purge and entry.blob is None and body.size == entry.size):
            return
        head, tail = Stub.lengths(entry.size, int(self._settings.head), int(self._settings.tail))
        first = await body.read(0, head)
        last = await body.read(entry.size - tail, tail) if tail else b""
        self._passing[entry.name, entry.generation] = Stub(entry.size, first, last)
        if len(self._passing) > MOST_PASSING:
            del self._passing[next(iter(self._passing))]
        if len(self._passing) >= PASSING and not self._turn.locked():
            await self.settle()

    async def settle(self) -> None:
        """Keep what has passed. Once a second; a crash in between costs stubs, which are made again."""
        async with self._turn:
            passing = dict(self._passing)
            if not passing:
                return
            kept = await self._in_time(self._stubs.peek_all(list(passing))) or [None for _ in passing]
            pairs = zip(passing.items(), kept, strict=True)
            better = [(*place, stub) for (place, stub), old in pairs if old is None or _is_less(old, stub)]
            if better and not self._full():
                await self._in_time(self._stubs.put_all(better))
            for place, stub in passing.items():
                if self._passing.get(place) is stub:
                    del self._passing[place]

    async def remember(self, entry: Entry, head: bytes, tail: bytes = b"") -> None:
        """A stub from elsewhere: of a row whose body never was on this disk, say. ``head`` and ``tail`` must be exactly
        the first and the last bytes of the object (``head`` alone, if it is all of it), however few: clients get them
        as its content. The row must have headers, or nobody is shown the stub. Replaces what is there."""
        if not self._full():
            await self._in_time(self._stubs.put(entry.name, entry.generation, Stub(entry.size, head, tail)))

    async def has(self, entry: Entry) -> bool:
        place = entry.name, entry.generation
        return place in self._passing or bool(await self._in_time(self._stubs.has(*place)))

    async def find(self, entry: Entry, range: ByteRange | None) -> Stub | None:
        """The stub of a row without a blob, if it has all of ``range`` (None: any stub does)."""
        place = entry.name, entry.generation
        stub = self._passing.get(place) or await self._in_time(self._stubs.get(*place))
        if stub is None or stub.size != entry.size:
            return None
        return stub if range is None or stub.piece(range.start, range.stop) is not None else None

    async def run(self) -> None:
        """Once a second keep what has passed, and take what was dropped off the disk, until cancelled."""
        while True:
            await self._clock.sleep(PERIOD)
            await self.settle()
            await self._stubs.flush()

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T | None:
        """None: the stubs' disk took too long, or did so a moment ago. Then it is left alone for a while, and asked by
        one, for a request may wait once for what is not worth waiting for, and not each of them. What was to be kept
        may be lost; what was to be dropped is of a generation nobody asks for."""
        now = self._clock.monotonic()
        if now < self._quiet_until:
            work.close()
            return None
        if self._quiet_until:
            self._quiet_until = now + 2 * PATIENCE
        try:
            async with asyncio.timeout(PATIENCE):
                found = await work
        except TimeoutError:
            self._quiet_until = self._clock.monotonic() + PATIENCE
            event(log, logging.WARNING, "stubs take too long")
            return None
        self._quiet_until = 0.0
        return found

    def _wanted(self, drop: Drop) -> bool:
        return drop.trim or self._settings.on_purge

    async def _work_off(self, groups: Iterable[Sequence[Entry]]) -> None:
        """Several of these share ``groups``: while one waits for the stubs' thread, another reads blobs."""
        for rows in groups:
            blobs = [BlobFacts(row.blob or "", row.size, row.generation, row.xxh3) for row in rows]
            found = await self._disk.ends(blobs, int(self._settings.head), int(self._settings.tail))
            pairs = zip(rows, found, strict=True)  # where one cannot be read the purge goes on all the same
            found_ones = [(row.name, row.generation, stub) for row, stub in pairs if stub is not None]
            await self._in_time(self._stubs.put_all(found_ones))


def _is_less(old: Stub, new: Stub) -> bool:
    return len(old.head) < len(new.head) or len(old.tail) < len(new.tail)
