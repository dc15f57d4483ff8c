"""One GET to alt for everybody who wants the object now; on the way it may become a blob.

A flight belongs to the node. Readers join it, read from the growing copy, and leave whenever they like. It has two
moments: ``opened`` (alt has answered with headers, so the entry is known) and ``verified`` (the last byte is here,
length
and checksum agree). No reader gets its last byte before ``verified``, so a broken body never looks whole.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tierproxy.errors import AltUnavailable, DiskError, StaleGeneration, TierproxyError
from tierproxy.logs import event
from tierproxy.model import BlobLabel, Entry, ObjectName
from tierproxy.ports import AltBody, AltTier, Catalogue, Clock, DiskTier, Hot, Staged
from tierproxy.store.body import Fingerprint, MemorySource
from tierproxy.store.counters import Counters
from tierproxy.store.fill import Demand, FillChoice
from tierproxy.store.leases import Leases
from tierproxy.store.lookup import UNSHARED, Lookup, Seen
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Reservation, Space
from tierproxy.store.stubbing import Stubbing
from tierproxy.store.tasks import Tasks

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where a flight's bytes go: a staged file or memory."""

    @property
    def size(self) -> int: ...

    @property
    def content(self) -> bytes | None:
        """All of it, if it is in memory."""
        ...

    async def write(self, data: bytes | memoryview) -> None: ...

    async def finish(self) -> None: ...

    async def read(self, offset: int, length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Basis:
    """What a fill rests on: the generation of the row it fills (None: there is none), and when alt was asked."""

    expected: int | None
    asked: int


class Flight:
    """See the module. ``size`` of the sink is how far readers may read, less the last byte until ``verified``."""

    def __init__(self, name: ObjectName, asked: int = 0, seen: Seen | None = None) -> None:
        self.name = name
        self.asked = asked  #: when alt is asked, for ``Lookup.outdated``
        self.seen = seen  #: the row as who started the flight saw it
        self.content: bytes | None = None  #: a small object's bytes, once somebody wanted them
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Entry] = loop.create_future()
        self.verified: asyncio.Future[None] = loop.create_future()
        self.demand = Demand.MACHINE  #: the greatest of those who joined before alt answered
        self.fills = False  #: a copy is being made on disk
        self.sink: Sink | None = None  #: None after ``opened``: not shared, every reader asks alt itself
        self.first_byte_at = 0.0
        self.readers = 0
        self.on_idle: Callable[[], None] = lambda: None
        self.landed = asyncio.Event()  #: nothing more comes of it: a copy is in the catalogue, or there is none
        self._grown = asyncio.Event()
        for future in (self.opened, self.verified):
            future.add_done_callback(_retrieve)

    def __repr__(self) -> str:
        return f"<Flight {self.name} {self.sink.size if self.sink else '-'} bytes, {self.readers} readers>"

    def grow(self) -> None:
        """loop. More bytes, or the end: wake the readers."""
        self._grown.set()
        self._grown = asyncio.Event()

    def fail(self, error: BaseException) -> None:
        for future in (self.opened, self.verified):
            if not future.done():
                future.set_exception(error)
        self.grow()

    async def readable(self, position: int) -> int:
        """How far one may read, once that is beyond ``position``. Raises what broke the flight."""
        sink = self.sink
        assert sink is not None, "not shared"
        while True:
            if self.verified.done():
                self.verified.result()
                return sink.size
            if sink.size - 1 > position:
                return sink.size - 1
            await self._grown.wait()

    async def complete(self) -> None:
        """Until all bytes are here and right. Raises what broke the flight."""
        if not self.verified.done():
            await asyncio.shield(self.verified)
        self.verified.result()

    def leave(self) -> None:
        self.readers -= 1
        if not self.readers:
            self.on_idle()


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class Flights:
    """The flights in the air, by name."""

    def __init__(
        self, *, alt: AltTier, disk: DiskTier, catalogue: Catalogue, hot: Hot, space: Space, shelf: Shelf,
        lookup: Lookup, choice: FillChoice, tasks: Tasks, clock: Clock, counters: Counters, leases: Leases,
        stubbing: Stubbing, etag_is_md5: bool = True,
    ) -> None:  # fmt: skip
        self._alt = alt
        self._disk = disk
        self._catalogue = catalogue
        self._hot = hot
        self._space = space
        self._shelf = shelf
        self._lookup = lookup
        self._choice = choice
        self._tasks = tasks
        self._clock = clock
        self._counters = counters
        self._leases = leases
        self._stubbing = stubbing
        self._etag_is_md5 = etag_is_md5
        self._flights: dict[ObjectName, Flight] = {}

    def __repr__(self) -> str:
        return f"<Flights {list(self._flights.values())}>"

    def flying(self, name: ObjectName) -> bool:
        """loop. There is a flight to join."""
        return name in self._flights

    async def landed(self, name: ObjectName) -> None:
        """Returns when the flight for ``name``, if there is one, has kept its copy or given it up."""
        flight = self._flights.get(name)
        if flight is not None:
            await flight.landed.wait()

    def join(
        self, name: ObjectName, demand: Demand = Demand.PERSON, seen: Seen | None = None
    ) -> tuple[Flight, bool]:  # fmt: skip
        """loop. The flight for ``name`` and whether it was there already. Every join needs a ``leave``. Whether it
        makes a copy is decided when alt answers, by the greatest demand until then: who comes later takes what is
        there. ``seen``: the row without which nobody would ask alt."""
        flight = self._flights.get(name)
        joined = flight is not None
        if flight is None:
            flight = self._flights[name] = Flight(name, self._lookup.asking(), seen)
            self._tasks.spawn(self._fly(flight), f"flight {name}")
        flight.readers += 1
        flight.demand = max(flight.demand, demand)
        return flight, joined

    def fingerprint(self, entry: Entry) -> Fingerprint:
        """loop. What tells whether bytes of alt are those of ``entry``."""
        return Fingerprint(entry, etag_is_md5=self._etag_is_md5, doubt=self._alt.etag_is_md5)

    def detach(self, name: ObjectName) -> None:
        """loop. The object changed: who is on board stays (they began before), nobody joins any more."""
        self._flights.pop(name, None)

    async def _fly(self, flight: Flight) -> None:
        self._leases.take(flight.name)
        try:
            asked = flight.asked
            body = await self._alt.get(flight.name)
            try:
                await self._carry(flight, body, asked)
            finally:
                await body.close()
        except BaseException as error:
            flight.fail(error if isinstance(error, TierproxyError) else _cut(error))
            if not isinstance(error, TierproxyError):
                raise
        finally:
            self._leases.give(flight.name)
            flight.landed.set()
            if self._flights.get(flight.name) is flight:
                del self._flights[flight.name]

    async def _carry(self, flight: Flight, body: AltBody, asked: int) -> None:
        flight.first_byte_at = self._clock.monotonic()
        entry, expected = self._lookup.identify(body.meta, asked, flight.seen)
        reservation = self._reserve(entry, expected, flight.demand)
        if reservation is not None:
            with reservation:
                await self._fill(flight, body, entry, Basis(expected, asked), reservation)
            return
        if self._choice.coalesced(entry.size):
            check = self.fingerprint(entry)
            flight.sink = MemorySource(check=check)
            await self._pump(flight, body, entry, check)
        else:
            flight.opened.set_result(entry)
        if expected is not UNSHARED:
            row = await self._lookup.learn(body.meta, asked)
            if isinstance(flight.sink, MemorySource) and not self._lookup.outdated(entry.name, asked):
                await self._stubbing.passed(row, flight.sink)

    def _reserve(self, entry: Entry, expected: int | None, demand: Demand) -> Reservation | None:
        if expected is UNSHARED or not self._choice.fills(entry, demand):
            return None
        reserve = self._space.reserve_spare if demand is Demand.PREFETCH else self._space.reserve_fill
        try:
            return reserve(entry.size, entry.name.bucket)
        except DiskError:  # no room, or a disk that cannot even say so
            return None

    async def _fill(self, flight: Flight, body: AltBody, entry: Entry, basis: Basis, reservation: Reservation) -> None:
        check = self.fingerprint(entry)
        staged = self._disk.stage(check)
        flight.sink, flight.fills = staged, True
        try:
            await self._pump(flight, body, entry, check)
            await self._keep(staged, entry, basis, reservation)
        except DiskError as error:  # readers on board go on from alt; nothing is kept
            event(log, logging.WARNING, "fill failed on disk", name=flight.name, error=error)
            await staged.discard()
            flight.fail(error)
        finally:
            self._close_when_idle(flight, staged)

    async def _pump(self, flight: Flight, body: AltBody, entry: Entry, check: Fingerprint) -> None:
        """Readers of what is small are told when its first piece is here: often that is all of it, and they need not
        be woken twice."""
        sink = flight.sink
        assert sink is not None
        if not self._choice.coalesced(entry.size):
            flight.opened.set_result(entry)
        async for chunk in body.chunks():
            if not flight.opened.done():
                flight.opened.set_result(entry)
            await sink.write(chunk)
            flight.grow()
        if not flight.opened.done():
            flight.opened.set_result(entry)
        await sink.finish()
        await check.confirm(sink.size)
        flight.verified.set_result(None)
        flight.grow()

    async def _keep(self, staged: Staged, entry: Entry, basis: Basis, reservation: Reservation) -> None:
        assert entry.headers is not None, "alt's answer carries headers"
        label = BlobLabel(entry.name, entry.generation, entry.etag, entry.headers, entry.written_at, entry.parts)
        keeping = staged.keep(label)
        await keeping.wait()
        sealed = keeping.sealed
        reservation.commit(sealed.footprint)
        filled = entry.with_blob(sealed, at=self._clock.now())
        try:
            if self._lookup.outdated(entry.name, basis.asked):  # in the same step as the call that queues the change
                raise StaleGeneration
            old = await self._catalogue.fill(filled, expected=basis.expected)
        except StaleGeneration:
            self._counters.stale_fills += 1
            self._shelf.remove(entry.name.bucket, [(sealed.name, sealed.footprint)])
            return
        except BaseException:
            self._shelf.remove(entry.name.bucket, [(sealed.name, sealed.footprint)])
            raise
        if old is None or (old.etag, old.headers) != (filled.etag, filled.headers):
            self._shelf.news(entry.name)
        if old is not None and old.blob not in {None, sealed.name}:
            self._shelf.remove(entry.name.bucket, [(old.blob or "", old.blob_bytes)])
        self._warm(staged, filled, basis)

    def _warm(self, staged: Staged, entry: Entry, basis: Basis) -> None:
        content = staged.content
        if content is not None and not self._lookup.outdated(entry.name, basis.asked):
            self._hot.put(entry, content)

    def _close_when_idle(self, flight: Flight, staged: Staged) -> None:
        def close() -> None:
            self._tasks.spawn(staged.close(), "close staged")

        flight.on_idle = close
        if not flight.readers:
            close()


def _cut(error: BaseException) -> TierproxyError:
    return AltUnavailable(f"the read from alt was interrupted: {type(error).__name__}")
