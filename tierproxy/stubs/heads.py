"""Heads and tails on disk (``tierproxy.ports.Stubs``), and the room without any."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tierproxy.clock import SystemClock
from tierproxy.config.sections import StubsSection
from tierproxy.logs import event
from tierproxy.model import ObjectName, Stub
from tierproxy.offload import WatchedPool
from tierproxy.ports import FileCalls, Hands, Stubs
from tierproxy.stubs.database import Opener, StubDatabase, open_cache, throw_away
from tierproxy.stubs.record import decode, encode, key_of

log = logging.getLogger(__name__)
PATIENCE = 10.0  #: seconds for the last changes
MOST = 100_000  #: changes that wait


class Heads:
    """``threads`` is a pool of one, and this room's own: one thread keeps the order of what is asked of the database.

    What is put or dropped waits in memory until the next ``flush`` takes all of it at once, so that a purge of hundreds
    costs a few transactions, and the drop that belongs to every write costs next to nothing.
    """

    def __init__(self, database: StubDatabase, threads: Hands) -> None:
        self._database = database
        self._threads = threads
        self._changes: dict[str, bytes | None] = {}  #: by key, the last word counts; None: to be removed
        self._flushing = asyncio.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Heads {self._database!r}, {len(self._changes)} changes pending>"

    @classmethod
    async def open(
        cls, directory: Path, max_bytes: int, files: FileCalls, threads: Hands, *, anew: bool = False,
        opener: Opener = open_cache,
    ) -> Heads:  # fmt: skip
        """``anew``: what is there belongs to a catalogue that is gone. Takes over ``threads``. Never fails: a database
        that cannot be opened is tried again with every use."""
        database = StubDatabase(directory, max_bytes, files, opener)
        await threads.run(lambda: database.open(anew=anew))
        return cls(database, threads)

    async def get(self, name: ObjectName, generation: int) -> Stub | None:
        return await self._look(name, generation, self._database.get)

    async def has(self, name: ObjectName, generation: int) -> bool:
        return await self.peek(name, generation) is not None

    async def peek(self, name: ObjectName, generation: int) -> Stub | None:
        return await self._look(name, generation, self._database.peek)

    async def peek_all(self, places: Sequence[tuple[ObjectName, int]]) -> list[Stub | None]:
        keys = [key_of(name) for name, _ in places]
        asked = [key for key in keys if key not in self._changes]
        look = self._database.peek
        raws: dict[str, bytes | None] = {}
        if asked and self.objects and not self._closed:
            raws = dict(zip(asked, await self._threads.run(lambda: [look(key) for key in asked]), strict=True))
        raws |= {key: self._changes[key] for key in keys if key in self._changes}  # meanwhile, too
        return [self._stub(*place, raws.get(key), key) for place, key in zip(places, keys, strict=True)]

    async def put(self, name: ObjectName, generation: int, stub: Stub) -> None:
        await self.put_all([(name, generation, stub)])

    async def put_all(self, stubs: Iterable[tuple[ObjectName, int, Stub]]) -> None:
        if not self._closed:
            self._changes |= {key_of(name): encode(name, generation, stub) for name, generation, stub in stubs}
            await self.flush()

    def drop(self, name: ObjectName) -> None:
        key = key_of(name)
        if len(self._changes) < MOST or key in self._changes:  # else it stays: of a generation nobody asks for
            self._changes[key] = None

    async def flush(self) -> None:
        """Those who wait for their turn go with the one who has it."""
        async with self._flushing:
            await asyncio.sleep(0)
            changes, self._changes = self._changes, {}
            if changes and not self._closed:
                await self._threads.run(self._database.apply, changes)

    @property
    def objects(self) -> int:
        return self._database.objects

    @property
    def bytes_used(self) -> int:
        return self._database.bytes_used

    async def close(self) -> None:
        """Idempotent. Of a disk that hangs nothing is waited for: its thread may stay, and closes the database if it
        ever comes back."""
        if self._closed:
            return
        end = asyncio.get_running_loop().time() + PATIENCE
        try:
            async with asyncio.timeout_at(end):
                await self.flush()
                self._closed = True
                await self._threads.run(self._database.close)
        except TimeoutError:
            self._closed = True
            self._threads.begin(self._database.close, _nobody)
            event(log, logging.WARNING, "stubs not closed, their disk hangs")
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self._threads.close()

    async def _look(self, name: ObjectName, generation: int, look: Callable[[str], bytes | None]) -> Stub | None:
        key = key_of(name)
        raw = self._changes[key] if key in self._changes else await self._raw(key, look)
        return self._stub(name, generation, raw, key)

    def _stub(self, name: ObjectName, generation: int, raw: bytes | None, key: str) -> Stub | None:
        found = None if raw is None else decode(name, raw)
        if raw is not None and found is None:
            self._changes.setdefault(key, None)  # a bit has turned: it is not there, and soon it is gone
        return found[1] if found is not None and found[0] == generation else None

    async def _raw(self, key: str, look: Callable[[str], bytes | None]) -> bytes | None:
        return await self._threads.run(look, key) if self.objects and not self._closed else None


class NoStubs:
    """``[stubs] max_bytes = 0``."""

    objects = 0
    bytes_used = 0

    async def get(self, name: ObjectName, generation: int) -> Stub | None:
        return None

    async def put(self, name: ObjectName, generation: int, stub: Stub) -> None:
        """Keeps nothing."""

    async def put_all(self, stubs: Iterable[tuple[ObjectName, int, Stub]]) -> None:
        """Keeps nothing."""

    async def has(self, name: ObjectName, generation: int) -> bool:
        return False

    async def peek(self, name: ObjectName, generation: int) -> Stub | None:
        return None

    async def peek_all(self, places: Sequence[tuple[ObjectName, int]]) -> list[Stub | None]:
        return [None for _ in places]

    def drop(self, name: ObjectName) -> None:
        """There is nothing."""

    async def flush(self) -> None:
        """There is nothing."""

    async def close(self) -> None:
        """There is nothing."""


async def open_stubs(section: StubsSection, directory: Path, files: FileCalls, *, anew: bool) -> Stubs:
    """The room ``section`` asks for. ``anew``: without the stubs that are there: a new catalogue may count generations
    again. Nor may they be there when there is room for some again."""
    hands = threads()
    if section.max_bytes:
        return await Heads.open(directory, int(section.max_bytes), files, hands, anew=anew)
    if anew:
        await hands.run(throw_away, directory, files)
    await hands.close()
    return NoStubs()


def _nobody(_: BaseException) -> None:
    """Nobody waits."""


def threads() -> WatchedPool:
    """The one of a room. It waits for its disk as long as that takes, but a process can end without it."""
    return WatchedPool("stubs", 1, SystemClock(), patience=math.inf)
