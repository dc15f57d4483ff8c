"""The two tiers as one store: what the object port, the command line and the tests talk to."""

from __future__ import annotations

from collections.abc import Sequence

from tierproxy.model import Ack, BucketRow, Entry, Headers, ListPage, ListRequest, ObjectName
from tierproxy.purges import Booking, Drop, Purged
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Precondition, Reading, Room, Select, Write, Written, whole
from tierproxy.store.copying import Copier
from tierproxy.store.counters import Counters
from tierproxy.store.deleter import Deleter
from tierproxy.store.feed import ChangeFeed, Listener
from tierproxy.store.listing import Listings
from tierproxy.store.lookup import Lookup
from tierproxy.store.multipart import Multipart
from tierproxy.store.reader import Reader
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Space
from tierproxy.store.tally import Tally
from tierproxy.store.writer import Writer
from tierproxy.traffic import NOBODY, Delivery, Visitor


class TieredStore:
    """A facade without logic of its own; each way through the house has its own object."""

    def __init__(
        self, *, buckets: Buckets, lookup: Lookup, reader: Reader, writer: Writer, deleter: Deleter, copier: Copier,
        multipart: Multipart, listings: Listings, shelf: Shelf, space: Space, counters: Counters, tally: Tally,
        feed: ChangeFeed,
    ) -> None:  # fmt: skip
        self._buckets = buckets
        self._lookup = lookup
        self._reader = reader
        self._writer = writer
        self._deleter = deleter
        self._copier = copier
        self._listings = listings
        self._shelf = shelf
        self.multipart = multipart
        self.space = space
        self.counters = counters
        self._tally = tally
        self.feed = feed

    async def open(
        self, name: ObjectName, select: Select = whole, *, visitor: Visitor = NOBODY, stub: bool = False
    ) -> Reading:  # fmt: skip
        """GetObject for ``visitor``. ``stub``: head and tail will do for the whole. Errors: ``Reader.open``."""
        self._buckets.require(name.bucket)
        return await self._reader.open(name, select, visitor, stub=stub)

    async def landed(self, name: ObjectName) -> None:
        """Returns when a copy that a read of ``name`` has begun is in the catalogue, or given up."""
        await self._reader.landed(name)

    def delivered(self, reading: Reading, visitor: Visitor, sent: int, seconds: float) -> None:
        """loop. ``sent`` bytes of ``reading`` went out, the first after ``seconds``. See ``Tally.delivered``."""
        self._tally.delivered(reading, visitor, sent, seconds)

    def delivered_all(self, deliveries: Sequence[Delivery]) -> None:
        """loop. Hits that were answered without ``open``. See ``Tally.delivered_all``."""
        self._tally.delivered_all(deliveries)

    async def head(self, name: ObjectName, *, full: bool = True) -> Entry:
        """HeadObject: the entry, with headers if ``full``. Raises NoSuchBucket, NoSuchKey, AltError, LostInAlt."""
        self._buckets.require(name.bucket)
        if not full:
            entry = await self._lookup.known(name)
            if entry is not None:
                return entry
        return await self._lookup.head(name)

    async def write(self, write: Write) -> Written:
        """PutObject. Errors: ``Writer.write``."""
        return await self._writer.write(write)

    async def delete(
        self, name: ObjectName, precondition: Precondition = ANYTHING, *, visitor: Visitor = NOBODY
    ) -> None:  # fmt: skip
        """DeleteObject. Errors: ``Deleter.delete``."""
        await self._deleter.delete(name, precondition, visitor)

    async def copy(
        self, source: ObjectName, target: ObjectName, *, headers: Headers | None = None, select: Select = whole,
        precondition: Precondition = ANYTHING, ack: Ack | None = None, visitor: Visitor = NOBODY,
    ) -> Written:  # fmt: skip
        """CopyObject. Errors: ``Copier.copy``."""
        return await self._copier.copy(
            source, target, headers=headers, select=select, precondition=precondition, ack=ack, visitor=visitor
        )

    async def page(self, request: ListRequest) -> ListPage:
        """ListObjectsV2. Errors: ``Listings.page``."""
        return await self._listings.page(request)

    def listen(self, bucket: str, prefix: str = "") -> Listener:
        """loop. Hear of changes from now on. Raises NoSuchBucket, ShuttingDown."""
        self._buckets.require(bucket)
        return self.feed.listen(bucket, prefix)

    def room(self) -> Room:
        """loop. The disk budget."""
        return self._shelf.room()

    async def purge(self, drops: Sequence[Drop], *, booking: Booking | None = None) -> Purged:
        """``tierproxy.ports.Purgeable``."""
        return await self._shelf.purge(drops, booking=booking)

    def footprint(self, bucket: str) -> int:
        """``tierproxy.ports.Purgeable``."""
        return self._shelf.footprint(bucket)

    def buckets(self) -> Sequence[BucketRow]:
        return self._buckets.all()

    def bucket(self, name: str) -> BucketRow:
        """Raises NoSuchBucket."""
        return self._buckets.require(name)

    async def create_bucket(self, name: str) -> None:
        """Errors: ``Buckets.create``."""
        await self._buckets.create(name)

    async def delete_bucket(self, name: str) -> None:
        """Errors: ``Buckets.delete``."""
        await self._buckets.delete(name)
