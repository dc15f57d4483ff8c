"""The way of a read: memory, disk, flight, pass."""

from __future__ import annotations

import asyncio

from tierproxy.errors import (
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
from tierproxy.store.body import Fingerprint, Timings
from tierproxy.store.calls import Reading, Select, whole
from tierproxy.store.counters import Counters
from tierproxy.store.fill import FillChoice
from tierproxy.store.flight import Flight, Flights
from tierproxy.store.lookup import Lookup
from tierproxy.store.reading import BlobReading, ContentReading, FlightReading, PassReading
from tierproxy.store.reads import ReadCounts
from tierproxy.store.shelf import Shelf

LOOKS = 5
"""A blob can vanish between the look at the row and the open because of an overwrite; then the row says so. More often
than this in a row is not a race."""


class Reader:
    """Opens objects. A failing near tier degrades to the next one; it never fails a read that alt can serve."""

    def __init__(
        self, *, hot: Hot, disk: DiskTier, alt: AltTier, catalogue: Catalogue, lookup: Lookup, flights: Flights,
        choice: FillChoice, shelf: Shelf, reads: ReadCounts, counters: Counters, clock: Clock,
    ) -> None:  # fmt: skip
        self._hot = hot
        self._disk = disk
        self._alt = alt
        self._catalogue = catalogue
        self._lookup = lookup
        self._flights = flights
        self._choice = choice
        self._shelf = shelf
        self._reads = reads
        self._counters = counters
        self._clock = clock

    async def open(self, name: ObjectName, select: Select = whole) -> Reading:
        """Raises NoSuchBucket, NoSuchKey, whatever ``select`` raises, AltError, LostInAlt, Unreadable,
        DiskUnavailable."""
        found = self._hot.get(name)
        if found is not None and self._lookup.fresh(name):
            range = select(found[0])
            self._counters.memory_hits += 1
            self._reads.note(name)
            return ContentReading(found[0], range, Tier.MEMORY, "hit", found[1], Timings(self._clock))
        try:
            reading = await self._open(name, select, Timings(self._clock))
        except RequestError:
            raise
        except TierproxyError:
            self._counters.errors += 1
            raise
        self._reads.note(name)
        return reading

    async def _open(self, name: ObjectName, select: Select, timings: Timings) -> Reading:
        for _ in range(LOOKS):
            entry = await self._lookup.known(name)
            if entry is None or entry.blob is None:
                return await self._miss(name, entry, select, timings)
            reading = await self._hit(entry, select(entry), timings)
            if reading is not None:
                return reading
        raise DiskUnavailable(f"the blob of {name} vanishes again and again")

    async def _hit(self, entry: Entry, range: ByteRange | None, timings: Timings) -> Reading | None:
        """None: the row has changed, or has forgotten a damaged blob; look again."""
        try:
            with timings.phase("disk"):
                blob = await self._disk.open(
                    entry.blob or "", size=entry.size, generation=entry.generation, xxh3=entry.xxh3
                )
        except (BlobMissing, BlobCorrupt) as error:
            now = self._catalogue.find(entry.name)
            if now is None or now.blob != entry.blob:
                return None
            if await self._shelf.damaged(entry, error):
                return None
            raise Unreadable(f"the only copy of {entry.name} is damaged") from error
        except DiskError:
            if entry.state is State.DIRTY:
                raise
            return await self._pass(entry, range, timings)
        self._counters.disk_hits += 1
        if blob.content is None:
            return BlobReading(entry, range, timings, blob, self._alt, self._shelf.damaged, self._check(entry, range))
        content = blob.content
        await blob.close()
        self._warm(entry, content)
        return ContentReading(entry, range, Tier.DISK, "hit", content, timings)

    def _warm(self, entry: Entry, content: bytes) -> None:
        """Keep it in memory, unless the object changed while its blob was read."""
        now = self._catalogue.find(entry.name)
        if now is not None and now.generation == entry.generation and now.blob is not None:
            self._hot.put(entry, content)

    async def _miss(self, name: ObjectName, entry: Entry | None, select: Select, timings: Timings) -> Reading:
        if entry is not None and entry.headers is not None:
            range = select(entry)
            if not self._choice.shared(entry, range):
                return await self._pass(entry, range, timings, select)
        flight, joined = self._flights.join(name)
        try:
            return await self._board(flight, joined, entry, select, timings)
        except BaseException:
            flight.leave()
            raise

    async def _board(
        self, flight: Flight, joined: bool, known: Entry | None, select: Select, timings: Timings
    ) -> Reading:
        """Join ``flight``; whoever returns something else than a FlightReading leaves it here."""
        begin = self._clock.monotonic()
        try:
            entry = await asyncio.shield(flight.opened)
        except AltMissing:
            await self._lookup.missing(flight.name, known, flight.asked)
        timings.add("alt-first-byte", max(0.0, flight.first_byte_at - begin))
        range = select(entry)
        if flight.sink is None or not self._choice.shared(entry, range):
            reading: Reading = await self._pass(entry, range, timings, select)
            flight.leave()
            return reading
        if not self._choice.coalesced(entry.size):
            self._count(flight, joined)
            return FlightReading(entry, range, timings, flight, self._alt, self._check(entry, range))
        try:
            with timings.phase("alt-body"):
                content = await self._whole(flight, entry)
        except DiskError:  # a failing disk never fails a read
            reading = await self._pass(entry, range, timings, select)
            flight.leave()
            return reading
        self._count(flight, joined)
        fill = "fill" if flight.fills else "pass"
        flight.leave()
        return ContentReading(entry, range, Tier.ALT, fill, content, timings)

    async def _whole(self, flight: Flight, entry: Entry) -> bytes:
        """A small object, once it is verified; an error before its first byte is an answer, not a cut connection. All
        readers share the same bytes."""
        await asyncio.shield(flight.verified)
        assert flight.sink is not None
        if flight.content is None:
            flight.content = await flight.sink.read(0, entry.size)
        return flight.content

    def _count(self, flight: Flight, joined: bool) -> None:
        if joined:
            self._counters.joins += 1
        elif flight.fills:
            self._counters.fills += 1
        else:
            self._counters.passes += 1

    async def _pass(
        self, entry: Entry, range: ByteRange | None, timings: Timings, select: Select | None = None
    ) -> Reading:
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
            return await self._pass(entry, select(entry), timings)
        self._counters.passes += 1
        return PassReading(entry, range, timings, body, self._check(entry, range))

    def _check(self, entry: Entry, range: ByteRange | None) -> Fingerprint | None:
        """For bytes of alt that nobody else compares: only a whole object can be."""
        return self._flights.fingerprint(entry) if range is None else None
