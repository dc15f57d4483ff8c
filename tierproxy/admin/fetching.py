"""One object brought to disk, as a prefetch through the node: nobody's read is counted, and nothing goes for it."""

from __future__ import annotations

from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue, Clock
from tierproxy.store.tiered import TieredStore
from tierproxy.traffic import Visitor


class Fetching:
    """Reads objects to their last byte for ``visitor``; the store's own policies decide whether a copy is kept."""

    def __init__(self, store: TieredStore, catalogue: Catalogue, clock: Clock, visitor: Visitor) -> None:
        self._store = store
        self._catalogue = catalogue
        self._clock = clock
        self._visitor = visitor

    def there(self, name: ObjectName) -> bool:
        """loop. It is on disk."""
        row = self._catalogue.find(name)
        return row is not None and row.blob is not None

    async def bring(self, name: ObjectName) -> int | None:
        """Its size when it is on disk now; None: no copy was kept. Raises NoSuchBucket, NoSuchKey, AltError,
        LostInAlt."""
        begin = self._clock.monotonic()
        reading = await self._store.open(name, visitor=self._visitor)
        sent, first = 0, self._clock.monotonic() - begin
        try:
            async for chunk in reading.chunks():
                sent += len(chunk)
        finally:
            self._store.delivered(reading, self._visitor, sent, first)
            await reading.close()
        await self._store.landed(name)  # the last byte is delivered before the copy is in the catalogue
        return reading.entry.size if self.there(name) else None
