"""The memory tier, what an operator hears, and the doors of rooms that are not built yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tierproxy.model import Entry, ObjectName, Stub
from tierproxy.purges import Booking, Drop, Purged


class Kept:
    """An object as it is kept in memory. For weak references."""

    __slots__ = ("__weakref__", "content", "entry")

    def __init__(self, entry: Entry, content: bytes) -> None:
        self.entry = entry
        self.content = content


class Hot(Protocol):
    """Small hot objects in memory, bounded by bytes, confined to the event loop."""

    def get(self, name: ObjectName) -> tuple[Entry, bytes] | None:
        """Counts as a use."""
        ...

    def kept(self, name: ObjectName) -> Kept | None:
        """As ``get``, for who remembers what it got: by a weak reference, which is dead as soon as the object is not
        kept any more, or not with this content."""
        ...

    def touch(self, names: Iterable[ObjectName]) -> None:
        """These were read without ``get``."""
        ...

    def put(self, entry: Entry, content: bytes) -> None:
        """Objects above the per-object limit are ignored."""
        ...

    def drop(self, name: ObjectName) -> None: ...

    def clear(self) -> None: ...

    @property
    def objects(self) -> int: ...

    @property
    def bytes_used(self) -> int: ...


class Stubs(Protocol):
    """Heads and tails of objects, bounded by bytes, least recently used first to go, surviving restarts. Derived: what
    cannot be read is not there, a failure costs a GET and nothing else. A stub belongs to one generation."""

    async def get(self, name: ObjectName, generation: int) -> Stub | None: ...

    async def put(self, name: ObjectName, generation: int, stub: Stub) -> None:
        """Replaces what is there. Never raises; may keep nothing."""
        ...

    async def put_all(self, stubs: Iterable[tuple[ObjectName, int, Stub]]) -> None:
        """``put`` of many at once, which is cheaper."""
        ...

    async def has(self, name: ObjectName, generation: int) -> bool:
        """Without counting as a use."""
        ...

    async def peek(self, name: ObjectName, generation: int) -> Stub | None:
        """``get`` without counting as a use."""
        ...

    async def peek_all(self, places: Sequence[tuple[ObjectName, int]]) -> list[Stub | None]:
        """``peek`` of many at once, by name and generation, which is cheaper."""
        ...

    def drop(self, name: ObjectName) -> None:
        """loop. Forget every generation: at once for whoever asks, on disk with the next ``flush``."""
        ...

    async def flush(self) -> None:
        """What was put and dropped is so on disk. Never raises."""
        ...

    @property
    def objects(self) -> int: ...

    @property
    def bytes_used(self) -> int: ...

    async def close(self) -> None: ...


class Alarms(Protocol):
    """Things an operator must act on. Raised once, kept until cleared, logged, shown by `status` and metrics."""

    def set(self, alarm: str, subject: str, **facts: Any) -> None: ...

    def clear(self, alarm: str, subject: str) -> None: ...

    def active(self) -> list[tuple[str, str]]: ...

    def facts(self, alarm: str, subject: str) -> Mapping[str, Any]:
        """What it was last raised with; nothing when it is not active."""
        ...


class NoticeBus(Protocol):
    """Messages to other nodes (null object until there are some)."""

    async def written(self, name: ObjectName, generation: int) -> None: ...


class Leaser(Protocol):
    """The right to own a user (null object until there are several nodes)."""

    async def owns(self, owner: str) -> bool: ...


class Purgeable(Protocol):
    """What a purge run needs of the store: remove blobs from disk if the plan's facts still hold."""

    async def purge(self, drops: Sequence[Drop], *, booking: Booking | None = None) -> Purged:
        """Drops whose rows changed since, that are pinned, or whose blob is being read stay. Raises DiskError."""
        ...

    def footprint(self, bucket: str) -> int:
        """loop. Bytes of blobs of ``bucket`` on disk, "" for all."""
        ...
