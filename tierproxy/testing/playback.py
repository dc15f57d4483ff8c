"""Traffic played into a whole store in virtual time: real disk tier, catalogue and purges, alt in memory.

A node's background work is done at the same points of virtual time by the player: counts are flushed before anything
looks at them, the rules have their turn when their schedule says, pressure purges run right after the event that asked
for one, and a run that waits for a confirmation gets it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import HistorySection, PurgeSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import NoSuchKey, OutOfSpace
from tierproxy.model import ByteRange, FillPolicy, Headers, ObjectName
from tierproxy.node import Node, Parts
from tierproxy.ports import AltTier
from tierproxy.purge.pressure import PERIOD
from tierproxy.purges import RuleRecord, RunState
from tierproxy.rules.model import Order
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Select, Write, whole
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import Kept, config_for, pieces
from tierproxy.traffic import Event, EventKind, Reason, Visitor
from tierproxy.wiring import assemble, open_local

LATE = 0.001
"""Seconds that a turn of the rules comes after its time: sums of parts of seconds may be a hair short."""


class Unsynced(Files):
    """Nothing here has to survive a power failure."""

    def fsync(self, fd: int) -> None:
        """Not wanted."""

    def fsync_dir(self, path: Path) -> None:
        """Not wanted."""


class StillNode(Node):
    """A node that does nothing in the background: somebody else does it, at virtual times."""

    def _start_background(self, parts: Parts) -> None:
        """Nothing."""


class StillClock(VirtualClock):
    """Of a node that does nothing by itself: nobody sleeps, so time may pass without a look at who wakes."""

    def pass_until(self, moment: float) -> None:
        """``moment``: seconds since the epoch."""
        assert not self.sleeping, "somebody sleeps: advance the clock"
        self._move_to(self._monotonic + max(0.0, moment - self._wall))


@dataclass(frozen=True, slots=True)
class Played:
    """What the node counted. ``reasons``: purges and regrets by reason; ``refused``: writes without room."""

    person_hits: int
    person_misses: int
    machine_reads: int
    gets_hits: int
    gets_misses: int
    fills: int
    reasons: dict[str, RuleRecord]
    refused: int
    confirmed: int


class Player:
    """Plays events in order; ``played`` tells what came of it. Who wants to look closer overrides ``turn``, ``write``
    and ``read``, and does more."""

    def __init__(self, parts: Parts, clock: StillClock, every: float | None = None) -> None:
        """``every``: seconds between two turns of the rules; None: as their schedule says."""
        self.parts = parts
        self.clock = clock
        self.confirmed = 0  #: runs that waited for an operator
        self.refused = 0  #: writes without room
        self._pressed = False
        self._looked = 0.0
        self._every = every
        self.next_turn = clock.now() + self._until_turn
        parts.space.on_pressure = self._press
        parts.space.relieve = self._relieve

    @property
    def _until_turn(self) -> float:
        return self._every or self.parts.purges.live.current().rules.schedule.every + LATE

    async def play(self, event: Event) -> None:
        """The event at its time, and every turn of the rules before it."""
        await self.pass_turns(event.at)
        self.clock.pass_until(event.at)
        if self._looks_at_counts():
            await self.parts.tally.flush()
        await self._happens(event)
        await self._idle()
        if self._pressed:  # as the task does that is woken
            self._pressed = False
            await self.parts.tally.flush()
            self._forget_stalls()
            await self.parts.purges.pressure.run()

    async def pass_turns(self, until: float) -> None:
        """Those up to ``until``, in seconds since the epoch."""
        while until >= self.next_turn:
            self.clock.pass_until(self.next_turn)
            await self.turn()
            self.next_turn += self._until_turn

    def _forget_stalls(self) -> None:
        """As the periodic look of the pressure purge does."""
        if self.clock.monotonic() - self._looked >= PERIOD:
            self._looked = self.clock.monotonic()
            self.parts.purges.pressure._stalled.clear()

    async def played(self) -> Played:
        """Everything since the start."""
        parts = self.parts
        await parts.tally.flush()
        counters, reads = parts.counters, parts.counters.reads
        machines = sum(count for reason, count in reads.items() if reason is not Reason.PERSON)
        records = {record.by: record for record in await parts.catalogue.records(0)}
        return Played(
            counters.person_hits - counters.corrected_hits, counters.person_misses - counters.corrected_misses,
            machines + counters.corrected, counters.hits, counters.misses, counters.fills,
            records, self.refused, self.confirmed,
        )  # fmt: skip

    def _looks_at_counts(self) -> bool:
        """An event does, not only a purge: GDSF's inflation is in the worth of what is read, and some fill rules ask
        who read it before."""
        rules = self.parts.purges.live.current().rules
        fill = self.parts.config.fill.policy
        return rules.pressure.order is Order.GDSF or fill is FillPolicy.SECOND_READ or any(r.fill for r in rules.rules)

    def _press(self, wanted: int, bucket: str) -> None:
        self._pressed = True
        self.parts.purges.pressure.wake(wanted, bucket)

    async def _relieve(self, wanted: int, bucket: str) -> None:
        """A write waits for room. A node has written its counts down a second ago."""
        await self.parts.tally.flush()
        await self.parts.purges.pressure.relieve(wanted, bucket)

    async def _happens(self, event: Event) -> None:
        if event.kind is EventKind.DELETE:
            await self.delete(event)
        elif event.kind is EventKind.WRITE:
            await self.write(event)
        elif event.kind is EventKind.READ:
            await self.read(event)

    async def delete(self, event: Event) -> None:
        await self.parts.store.delete(event.name, visitor=visitor_of(event))

    async def write(self, event: Event) -> None:
        """A write for which there is no room is counted."""
        body, headers = body_of(event.name, event.size), Headers(content_type="message/rfc822")
        call = Write(
            event.name, headers, event.size, pieces(body, 65536), Md5Check(event.size), visitor=visitor_of(event)
        )
        try:
            await self.parts.store.write(call)
        except OutOfSpace:
            self.refused += 1

    async def read(self, event: Event) -> bytes | None:
        """What was delivered; None: its write was refused. Where less was sent than the object has, that is asked
        for, from its beginning on."""
        visitor = visitor_of(event)
        select = first_bytes(event.sent) if 0 < event.sent < event.size else whole
        try:
            reading = await self.parts.store.open(event.name, select, visitor=visitor)
        except NoSuchKey:
            return None
        try:
            content = reading.content
            if content is None:
                content = b"".join([chunk async for chunk in reading.chunks()])
            self.parts.store.delivered(reading, visitor, len(content), 0.0)
        finally:
            await reading.close()
        return content

    async def _idle(self) -> None:
        """A fill may still be closing its file; what runs in threads is waited for without burning a core."""
        while len(self.parts.tasks):
            await asyncio.sleep(0)

    async def turn(self) -> None:
        """Of the rules; also the periodic look of the pressure purge."""
        await self.parts.tally.flush()
        await self.rules_turn()
        self._forget_stalls()
        await self.parts.purges.pressure.run()

    async def rules_turn(self) -> None:
        """What waits for a confirmation gets it, as from `tierproxy purge --yes`."""
        await self.parts.purges.schedule.look()
        for run in self.parts.catalogue.runs(100, open_only=True):
            if run.state is RunState.WAITING:
                await self.parts.catalogue.save_run(replace(run, confirmed=True), expected=RunState.WAITING)
                self.confirmed += 1
        await self.parts.purges.runs.work()


def first_bytes(count: int) -> Select:
    """The select of a read of the first ``count`` bytes."""
    return lambda _entry: ByteRange(0, count)


def visitor_of(event: Event) -> Visitor:
    """Who asks, as the node would know it."""
    return Visitor(event.client, reason=None if event.reason in {"", Reason.PERSON} else Reason(event.reason))


def body_of(name: ObjectName, size: int) -> bytes:
    """What is written under ``name``."""
    piece = hashlib.blake2b(name.key.encode()).digest()
    return (piece * (size // len(piece) + 1))[:size]


@asynccontextmanager
async def still_node(root: Path, rules: Path, clock: StillClock, **sections: object) -> AsyncIterator[Node]:
    """A node below ``root`` that works by ``rules``, with history; stopped in order. ``sections`` of the configuration
    replace whole ones."""
    purge = PurgeSection(rules=str(rules), max_objects_per_second=0)  # a pause would be one of virtual time
    config = config_for(root, **{"purge": purge, "history": HistorySection(), **sections})
    alt = cast(AltTier, Kept(MemoryAlt(clock=clock)))

    async def open_parts() -> Parts:
        return assemble(await open_local(config, alt, clock, Unsynced(), shared=False))

    node = StillNode(open_parts, lambda _parts: None)
    await node.start()
    try:
        yield node
    finally:
        await node.stop(5)


async def played(events: Iterable[Event], root: Path, rules: Path, start: float, **sections: object) -> Played:
    """``events`` from ``start`` on through a new node below ``root``, which is stopped afterwards: its history is
    complete. ``sections``: as in ``still_node``."""
    clock = StillClock(start)
    async with still_node(root, rules, clock, **sections) as node:
        player = Player(node.parts, clock)
        for event in events:
            await player.play(event)
        return await player.played()
