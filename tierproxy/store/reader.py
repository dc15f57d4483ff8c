"""The way of a read: memory, disk, stub, flight, pass."""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from tierproxy.errors import (
    AltError,
    AltMissing,
    AltPrecondition,
    BlobCorrupt,
    BlobMissing,
    DiskError,
    DiskUnavailable,
    LostInAlt,
    RequestError,
    TierproxyError,
    Unreadable,
)
from tierproxy.model import ByteRange, Entry, ObjectName, State, Tier
from tierproxy.ports import AltTier, Catalogue, Clock, DiskTier, Hot
from tierproxy.purges import REPAIR
from tierproxy.store.body import Fingerprint, Timings
from tierproxy.store.calls import Purge, Reading, Select, whole
from tierproxy.store.counters import Counters
from tierproxy.store.disk_health import DiskHealth
from tierproxy.store.fill import Demand, FillChoice, demand_of
from tierproxy.store.flight import Flight, Flights
from tierproxy.store.leases import Leases
from tierproxy.store.lookup import Lookup, Seen
from tierproxy.store.reading import BlobReading, ContentReading, FlightReading, PassReading, StubReading
from tierproxy.store.shelf import Shelf
from tierproxy.store.stubbing import Stubbing
from tierproxy.store.tally import Tally
from tierproxy.traffic import NOBODY, Outcome, Reason, Visitor

LOOKS = 5
"""A blob can vanish between the look at the row and the open because of an overwrite; then the row says so. More often
than this in a row is not a race."""


class Heads(Enum):
    """What of a stub will do for a read of an object whose body is not on disk."""

    NONE = auto()  #: the body is wanted: by copies, or to have it on disk
    RANGES = auto()  #: a range that lies inside
    WHOLE = auto()  #: head and tail instead of the whole object, too


class Reader:
    """Opens objects. A failing near tier degrades to the next one; it never fails a read that alt can serve."""

    def __init__(
        self, *, hot: Hot, disk: DiskTier, only_copies: DiskTier, alt: AltTier, catalogue: Catalogue, lookup: Lookup,
        flights: Flights, choice: FillChoice, shelf: Shelf, tally: Tally, leases: Leases, counters: Counters,
        clock: Clock, stubbing: Stubbing, disk_health: DiskHealth,
    ) -> None:  # fmt: skip
        """``only_copies``: the disk, also while it is down: for what is nowhere else."""
        self._hot = hot
        self._disk = disk
        self._only_copies = only_copies
        self._disk_health = disk_health
        self._alt = alt
        self._catalogue = catalogue
        self._lookup = lookup
        self._flights = flights
        self._choice = choice
        self._shelf = shelf
        self._tally = tally
        self._leases = leases
        self._counters = counters
        self._clock = clock
        self._stubbing = stubbing

    async def landed(self, name: ObjectName) -> None:
        """Returns when a copy that is being made of ``name`` is in the catalogue, or given up."""
        await self._flights.landed(name)

    async def open(
        self, name: ObjectName, select: Select = whole, visitor: Visitor = NOBODY, *, stub: bool = False
    ) -> Reading:  # fmt: skip
        """A get. ``stub``: head and tail will do for the whole. Raises NoSuchBucket, NoSuchKey, whatever ``select``
        raises, AltError, LostInAlt, Unreadable, DiskUnavailable."""
        hit = self._from_memory(name, select)
        if hit is not None:
            self._counters.memory_hits += 1
            return hit
        try:
            reading = await self._open(name, select, visitor, _heads(visitor, stub))
        except RequestError:
            raise
        except TierproxyError:
            self._counters.errors += 1
            raise
        self._counters.got(reading.outcome)
        return reading

    async def fetch(self, name: ObjectName, select: Select = whole, visitor: Visitor = NOBODY) -> Reading:
        """``open``, but nobody's get: for copies."""
        return self._from_memory(name, select) or await self._open(name, select, visitor, Heads.NONE)

    def _from_memory(self, name: ObjectName, select: Select) -> Reading | None:
        found = self._hot.get(name)
        if found is None or not self._lookup.fresh(name):
            return None
        entry, content = found
        return ContentReading(entry, select(entry), Outcome.MEMORY, content, Timings(self._clock), tier=Tier.MEMORY)

    async def _open(self, name: ObjectName, select: Select, visitor: Visitor, heads: Heads) -> Reading:
        timings = Timings(self._clock)
        for _ in range(LOOKS):
            asked = self._lookup.asking()
            known = await self._lookup.known(name)
            if known is None or known.blob is None:
                stub = await self._from_stub(known, select, timings, heads)
                if stub is not None:
                    return stub
                return await self._miss(name, known, asked, select, timings, visitor)
            entry = known
            if self._disk_health.closed and entry.state is State.CLEAN:
                reading = await self._past_disk(entry, asked, select, timings, visitor)
            else:
                reading = await self._hit(entry, select(entry), timings)
            if reading is not None:
                return reading
        raise DiskUnavailable(f"the blob of {name} vanishes again and again")

    async def _from_stub(
        self, entry: Entry | None, select: Select, timings: Timings, heads: Heads
    ) -> Reading | None:  # fmt: skip
        """Without asking alt, or None. It is no miss of the body, so it makes no copy and regrets nothing."""
        if heads is Heads.NONE or entry is None or entry.headers is None or self._disk_health.closed:
            return None
        range = select(entry)
        if range is None and heads is Heads.RANGES:
            return None
        with timings.phase("stub"):
            stub = await self._stubbing.find(entry, range)
        return None if stub is None else StubReading(entry, range, timings, stub)

    async def _past_disk(
        self, entry: Entry, asked: int, select: Select, timings: Timings, visitor: Visitor
    ) -> Reading | None:  # fmt: skip
        """The disk is down, or not looked through yet: what alt has comes from there. If alt cannot say either, the
        disk is better than nothing: what it returns is verified, and the row says that it is the right content."""
        try:
            return await self._miss(entry.name, entry, asked, select, timings, visitor)
        except (AltError, LostInAlt) as error:
            now = self._catalogue.find(entry.name)
            if now is None or now.generation != entry.generation:
                return None
            try:
                return await self._hit(entry, select(entry), timings, past=False)
            except DiskError:
                raise error from None

    async def _hit(
        self, entry: Entry, range: ByteRange | None, timings: Timings, *, past: bool = True
    ) -> Reading | None:  # fmt: skip
        """None: the row has changed, or has forgotten a damaged blob; look again. ``past``: alt is asked if the disk
        does not work."""
        self._leases.take(entry.name)
        reading: Reading | None = None
        try:
            reading = await self._from_disk(entry, range, timings, past)
        finally:
            if not isinstance(reading, BlobReading):  # that one gives the lease back when it is closed
                self._leases.give(entry.name)
        return reading

    async def _from_disk(
        self, entry: Entry, range: ByteRange | None, timings: Timings, past: bool
    ) -> Reading | None:  # fmt: skip
        disk = self._only_copies if self._disk_health.closed else self._disk
        try:
            with timings.phase("disk"):
                blob = await disk.open(entry.blob or "", size=entry.size, generation=entry.generation, xxh3=entry.xxh3)
        except (BlobMissing, BlobCorrupt) as error:
            now = self._catalogue.find(entry.name)
            if now is None or now.blob != entry.blob:
                return None
            if await self._shelf.damaged(entry, error):
                return None
            raise Unreadable(f"the only copy of {entry.name} is damaged") from error
        except DiskError:
            if entry.state is State.DIRTY or not past:
                raise
            return await self._pass(entry, range, timings, None)
        if blob.content is None:
            check = self._check(entry, range)
            return BlobReading(entry, range, timings, blob, self._alt, self._shelf.damaged, check, self._leases)
        content = blob.content
        await blob.close()
        self._warm(entry, content)
        return ContentReading(entry, range, Outcome.DISK, content, timings, tier=Tier.DISK)

    def _warm(self, entry: Entry, content: bytes) -> None:
        """Keep it in memory, unless the object changed while its blob was read, or alt has to be asked each time."""
        now = self._catalogue.find(entry.name)
        same = now is not None and now.generation == entry.generation and now.blob is not None
        if same and now is not None and now.state is not State.SUSPECT:
            self._hot.put(entry, content)

    async def _miss(
        self, name: ObjectName, entry: Entry | None, asked: int, select: Select, timings: Timings, visitor: Visitor
    ) -> Reading:
        """``asked``: ``Lookup.asking`` from before ``entry`` was found."""
        demand = demand_of(self._tally.reason(name, entry, visitor))
        if entry is not None and entry.headers is not None:
            range = select(entry)
            if not self._worth(entry, range, demand):
                return await self._pass(entry, range, timings, _purge_of(entry), select)
        flight, joined = self._flights.join(name, demand, None if entry is None else Seen(entry, asked))
        try:
            return await self._board(flight, joined, entry, select, timings)
        except BaseException:
            flight.leave()
            raise

    async def _board(
        self, flight: Flight, joined: bool, known: Entry | None, select: Select, timings: Timings
    ) -> Reading:
        """Join ``flight``; whoever returns something else than a FlightReading leaves it here."""
        purged, begin = _purge_of(known), self._clock.monotonic()
        try:
            entry = await asyncio.shield(flight.opened)
        except AltMissing:
            await self._lookup.missing(flight.name, known, flight.asked)
        timings.add("alt-first-byte", max(0.0, flight.first_byte_at - begin))
        if known is not None and (known.etag, known.size) != (entry.etag, entry.size):
            purged = None  # another content by now: what was purged would not have been served
        range = select(entry)
        if flight.sink is None or self._choice.narrow(entry, range):
            reading: Reading = await self._pass(entry, range, timings, purged, select)
            flight.leave()
            return reading
        outcome = Outcome.JOIN if joined else Outcome.FILL if flight.fills else Outcome.PASS
        if not self._choice.coalesced(entry.size):
            check = self._check(entry, range)
            return FlightReading(entry, range, timings, flight, self._alt, check, outcome, purged)
        try:
            with timings.phase("alt-body"):
                content = await self._whole(flight, entry)
        except DiskError:  # a failing disk never fails a read
            reading = await self._pass(entry, range, timings, purged, select)
            flight.leave()
            return reading
        fill = "fill" if flight.fills else "pass"
        flight.leave()
        if self._disk_health.closed:  # memory is all there is
            self._warm(entry, content)
        return ContentReading(entry, range, outcome, content, timings, fill=fill, purged=purged)

    def _worth(self, entry: Entry, range: ByteRange | None, demand: Demand) -> bool:
        """Join a flight, or start one; one that is in the air is joined also by those who would not start it."""
        if self._choice.shared(entry, range, demand):
            return True
        return self._flights.flying(entry.name) and not self._choice.narrow(entry, range)

    async def _whole(self, flight: Flight, entry: Entry) -> bytes:
        """A small object, once it is verified; an error before its first byte is an answer, not a cut connection. All
        readers share the same bytes."""
        await flight.complete()
        assert flight.sink is not None
        if flight.content is None:
            flight.content = flight.sink.content
        if flight.content is None:
            flight.content = await flight.sink.read(0, entry.size)
        return flight.content

    async def _pass(
        self, entry: Entry, range: ByteRange | None, timings: Timings, purged: Purge | None,
        select: Select | None = None,
    ) -> Reading:  # fmt: skip
        """Straight from alt. With ``select`` a content that changed behind our back is learned and served, once."""
        asked = self._lookup.asking()
        try:
            with timings.phase("alt-first-byte"):
                body = await self._alt.get(entry.name, range, etag=entry.alt_etag)
        except AltMissing:
            await self._lookup.missing(entry.name, entry, asked)
        except AltPrecondition:
            if select is None:
                raise LostInAlt(f"alt has another content of {entry.name}") from None
            entry = await self._lookup.learn(await self._alt.head(entry.name), asked)
            return await self._pass(entry, select(entry), timings, None)
        self._lookup.shown(entry.name)
        return PassReading(entry, range, timings, body, self._check(entry, range), purged)

    def _check(self, entry: Entry, range: ByteRange | None) -> Fingerprint | None:
        """For bytes of alt that nobody else compares: only a whole object can be."""
        return self._flights.fingerprint(entry) if range is None else None


def _heads(visitor: Visitor, stub: bool) -> Heads:
    if stub:
        return Heads.WHOLE
    return Heads.NONE if visitor.reason is Reason.PREFETCH else Heads.RANGES


def _purge_of(entry: Entry | None) -> Purge | None:
    """What makes a read of ``entry`` a miss, if it is a purge and no repair."""
    if entry is None or entry.blob is not None or entry.purged_at is None or entry.purged_by in {None, REPAIR}:
        return None
    return Purge(entry.purged_by or "", entry.purged_at)
