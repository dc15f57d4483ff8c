"""Stubs in memory: the simplest thing that keeps the contract of ``tierproxy.ports.Stubs``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tierproxy.model import ObjectName, Stub


class MemoryStubs:
    """At most ``max_bytes`` of heads and tails; nothing survives."""

    def __init__(self, max_bytes: int = 2**20) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[ObjectName, tuple[int, Stub]] = OrderedDict()

    async def get(self, name: ObjectName, generation: int) -> Stub | None:
        found = self._of(name, generation)
        if found is not None:
            self._kept.move_to_end(name)
        return found

    async def put(self, name: ObjectName, generation: int, stub: Stub) -> None:
        self._kept[name] = generation, stub
        self._kept.move_to_end(name)
        while self.bytes_used > self._max_bytes:
            self._kept.popitem(last=False)

    async def put_all(self, stubs: Iterable[tuple[ObjectName, int, Stub]]) -> None:
        for name, generation, stub in stubs:
            await self.put(name, generation, stub)

    async def has(self, name: ObjectName, generation: int) -> bool:
        return self._of(name, generation) is not None

    async def peek(self, name: ObjectName, generation: int) -> Stub | None:
        return self._of(name, generation)

    async def peek_all(self, places: Sequence[tuple[ObjectName, int]]) -> list[Stub | None]:
        return [self._of(name, generation) for name, generation in places]

    def drop(self, name: ObjectName) -> None:
        self._kept.pop(name, None)

    async def flush(self) -> None:
        """There is nothing to wait for."""

    @property
    def objects(self) -> int:
        return len(self._kept)

    @property
    def bytes_used(self) -> int:
        return sum(len(stub.head) + len(stub.tail) for _, stub in self._kept.values())

    async def close(self) -> None:
        """There is nothing to close."""

    def _of(self, name: ObjectName, generation: int) -> Stub | None:
        kept = self._kept.get(name)
        return kept[1] if kept is not None and kept[0] == generation else None
