"""Small hot objects in memory, least recently used first out (``tierproxy.ports.Hot``)."""

from __future__ import annotations

from collections.abc import Iterable

from cachetools import LRUCache

from tierproxy.config.sections import MemorySection
from tierproxy.model import Entry, ObjectName
from tierproxy.ports import Hot, Kept

OVERHEAD = 1270
"""Bytes of Python objects an entry costs beside its content, key and metadata: Entry, Headers, ObjectName, their
strings and numbers, the tuple and the cache's own links (measured with tracemalloc, Python 3.11)."""
METADATA_OVERHEAD = 140  #: the same for one pair of user metadata


def footprint(item: Kept) -> int:
    """Bytes of memory ``item`` is charged: content, text of variable length, and ``OVERHEAD``."""
    entry = item.entry
    text = len(entry.name.key)
    if entry.headers is not None:
        text += sum(len(name) + len(value) + METADATA_OVERHEAD for name, value in entry.headers.metadata.items())
    return len(item.content) + text + OVERHEAD


class MemoryTier:
    """At most ``max_bytes`` of objects of at most ``max_object`` bytes each, overhead included.

    Coherence is by generation: an older content never replaces a newer one, and ``put`` of an object that is not kept
    (too large) still drops what was kept of it.
    """

    def __init__(self, max_bytes: int, max_object: int) -> None:
        self._max_object = max_object
        self._items: LRUCache[ObjectName, Kept] = LRUCache(max_bytes, getsizeof=footprint)

    def __repr__(self) -> str:
        return f"<MemoryTier {len(self._items)} objects, {self.bytes_used} of {int(self._items.maxsize)} bytes>"

    def get(self, name: ObjectName) -> tuple[Entry, bytes] | None:
        item = self._items.get(name)
        return None if item is None else (item.entry, item.content)

    def kept(self, name: ObjectName) -> Kept | None:
        return self._items.get(name)

    def put(self, entry: Entry, content: bytes) -> None:
        if self._is_older(entry):
            return
        item = Kept(entry, content)
        if len(content) > self._max_object or footprint(item) > self._items.maxsize:
            self.drop(entry.name)
            return
        self._items[entry.name] = item

    def touch(self, names: Iterable[ObjectName]) -> None:
        for name in names:
            self._items.get(name)

    def drop(self, name: ObjectName) -> None:
        self._items.pop(name, None)

    def clear(self) -> None:
        self._items.clear()

    @property
    def objects(self) -> int:
        return len(self._items)

    @property
    def bytes_used(self) -> int:
        return int(self._items.currsize)

    def _is_older(self, entry: Entry) -> bool:
        """Whether a newer generation is kept."""
        item = self._items.get(entry.name)
        return item is not None and item.entry.generation > entry.generation


class NoMemory:
    """The memory tier that keeps nothing."""

    def get(self, name: ObjectName) -> tuple[Entry, bytes] | None:
        return None

    def kept(self, name: ObjectName) -> Kept | None:
        return None

    def put(self, entry: Entry, content: bytes) -> None:
        pass

    def touch(self, names: Iterable[ObjectName]) -> None:
        pass

    def drop(self, name: ObjectName) -> None:
        pass

    def clear(self) -> None:
        pass

    @property
    def objects(self) -> int:
        return 0

    @property
    def bytes_used(self) -> int:
        return 0


def memory_tier(section: MemorySection) -> Hot:
    """The memory tier ``section`` asks for."""
    return MemoryTier(section.max_bytes, section.max_object) if section.max_bytes else NoMemory()
