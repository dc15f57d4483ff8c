"""Open objects, by where their bytes come from. Each is a ``tierproxy.store.calls.Reading``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from tierproxy.errors import AltMissing, AltPrecondition, DiskError, DiskUnavailable, LostInAlt, Unreadable
from tierproxy.model import ByteRange, Entry, State, Stub, Tier
from tierproxy.ports import AltBody, AltTier, OpenBlob
from tierproxy.store.body import Fingerprint, Timings
from tierproxy.store.calls import Purge
from tierproxy.store.flight import Flight
from tierproxy.store.leases import Leases
from tierproxy.traffic import Outcome

CHUNK = 256 * 1024


class ContentReading:
    """All bytes at hand."""

    stub: Stub | None = None

    def __init__(
        self, entry: Entry, range: ByteRange | None, outcome: Outcome, content: bytes, timings: Timings, *,
        tier: Tier = Tier.ALT, fill: str = "hit", purged: Purge | None = None,
    ) -> None:  # fmt: skip
        self.entry = entry
        self.range = range
        self.outcome = outcome
        self.tier = tier
        self.fill = fill
        self.purged = purged
        self.content: bytes = content if range is None else content[range.start : range.stop]
        self.timings: Mapping[str, float] = timings.phases

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.content:
            yield self.content

    async def close(self) -> None:
        """Nothing is held."""


class StubReading:
    """What is kept of an object whose body is not on disk: a range that lies inside, or (None) head and tail."""

    tier = Tier.STUB
    outcome = Outcome.STUB
    fill = "stub"
    purged: Purge | None = None

    def __init__(self, entry: Entry, range: ByteRange | None, timings: Timings, stub: Stub) -> None:
        """``range``: must be inside ``stub``."""
        self.entry = entry
        self.range = range
        self.timings: Mapping[str, float] = timings.phases
        self.stub = stub if range is None else None
        whole = stub.head + stub.tail
        self.content: bytes = whole if range is None else stub.piece(range.start, range.stop) or b""

    async def chunks(self) -> AsyncIterator[bytes]:
        if self.content:
            yield self.content

    async def close(self) -> None:
        """Nothing is held."""


class StreamReading:
    """What the three streaming readings share: the range, and going on from alt when the near tier fails."""

    tier = Tier.ALT
    fill = "pass"
    outcome = Outcome.PASS
    purged: Purge | None = None
    stub: Stub | None = None
    content: bytes | None = None

    def __init__(self, entry: Entry, range: ByteRange | None, timings: Timings) -> None:
        self.entry = entry
        self.range = range
        self._start, self._stop = (range.start, range.stop) if range else (0, entry.size)
        self._timings = timings

    @property
    def timings(self) -> Mapping[str, float]:
        return self._timings.phases


class BlobReading(StreamReading):
    """A large blob. A block that turns out damaged is replaced by alt's bytes in the same answer, if alt has them."""

    tier = Tier.DISK
    fill = "hit"
    outcome = Outcome.DISK

    def __init__(
        self, entry: Entry, range: ByteRange | None, timings: Timings, blob: OpenBlob, alt: AltTier,
        damaged: Callable[[Entry, DiskError], Awaitable[bool]], check: Fingerprint | None, leases: Leases,
    ) -> None:  # fmt: skip
        """Takes over the lease of the name."""
        super().__init__(entry, range, timings)
        self._leases: Leases | None = leases
        self._blob = blob
        self._alt = alt
        self._damaged = damaged
        self._check = check

    async def chunks(self) -> AsyncIterator[bytes]:
        position = self._start
        while position < self._stop:
            size = min(CHUNK - position % CHUNK, self._stop - position)  # blocks are read and verified whole
            try:
                piece = [await self._blob.read(position, size)]
            except DiskError as error:
                if isinstance(error, DiskUnavailable):  # nothing is wrong with the blob, that anybody knew
                    if self.entry.state is State.DIRTY:
                        raise
                elif not await self._damaged(self.entry, error):
                    raise Unreadable(f"the only copy of {self.entry.name} is damaged") from error
                async for chunk in rest(self._alt, self.entry, position, self._stop, self._check):
                    yield chunk
                return
            position += size
            yield piece.pop()  # held by nobody here while a slow client takes it: the connection has what is left

    async def close(self) -> None:
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.give(self.entry.name)
        await self._blob.close()


class FlightReading(StreamReading):
    """Reads behind the front of a flight. A disk that fails under the flight makes the reader go on from alt."""

    def __init__(
        self, entry: Entry, range: ByteRange | None, timings: Timings, flight: Flight, alt: AltTier,
        check: Fingerprint | None, outcome: Outcome, purged: Purge | None,
    ) -> None:  # fmt: skip
        super().__init__(entry, range, timings)
        self.outcome = outcome
        self.purged = purged
        self._flight = flight
        self._alt = alt
        self._check = check
        self._left = False
        self.fill = "fill" if flight.fills else "pass"

    async def chunks(self) -> AsyncIterator[bytes]:
        position = self._start
        while position < self._stop:
            try:
                end = min(await self._flight.readable(position), self._stop, position + CHUNK)
                if end == self._stop:  # the last byte goes out only when all bytes are known to be right
                    end = min(await self._flight.readable(self.entry.size - 1), self._stop)
                assert self._flight.sink is not None
                data = await self._flight.sink.read(position, end - position)
            except DiskError:
                async for chunk in rest(self._alt, self.entry, position, self._stop, self._check):
                    yield chunk
                return
            position += len(data)
            yield data

    async def close(self) -> None:
        if not self._left:
            self._left = True
            self._flight.leave()


class PassReading(StreamReading):
    """Straight from alt; nothing is kept."""

    def __init__(
        self, entry: Entry, range: ByteRange | None, timings: Timings, body: AltBody, check: Fingerprint | None,
        purged: Purge | None,
    ) -> None:  # fmt: skip
        super().__init__(entry, range, timings)
        self.purged = purged
        self._body = body
        self._check = check

    async def chunks(self) -> AsyncIterator[bytes]:
        """A whole object is compared with what was stored; its last piece waits for that."""
        async for chunk in self._body.chunks() if self._check is None else compared(self._body, self._check):
            yield chunk

    async def close(self) -> None:
        await self._body.close()


async def compared(body: AltBody, check: Fingerprint, skip: int = 0) -> AsyncIterator[bytes]:
    """A whole object without its first ``skip`` bytes; the last piece waits until all of it has been compared. Raises
    AltCorrupt."""
    held, size = b"", 0
    async for chunk in body.chunks():
        check.update(chunk)
        fresh = chunk[max(0, skip - size) :]
        size += len(chunk)
        if fresh:
            if held:
                yield held
            held = fresh
    await check.confirm(size)
    if held:
        yield held


async def rest(alt: AltTier, entry: Entry, start: int, stop: int, check: Fingerprint | None) -> AsyncIterator[bytes]:
    """Bytes ``start`` to ``stop`` of exactly this content from alt. With ``check`` they are the rest of a whole object:
    all of it is fetched and compared, because a range says nothing about itself. Raises LostInAlt when alt's object is
    gone or another, AltCorrupt."""
    try:
        body = await alt.get(entry.name, None if check else ByteRange(start, stop), etag=entry.alt_etag)
    except (AltPrecondition, AltMissing) as error:
        raise LostInAlt(f"alt does not have this content of {entry.name} any more") from error
    try:
        async for chunk in body.chunks() if check is None else compared(body, check, start):
            yield chunk
    finally:
        await body.close()
