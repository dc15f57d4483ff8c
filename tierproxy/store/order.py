"""One change at a time per key, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tierproxy.model import ObjectName


class KeyOrder:
    """First-come-first-served locks by name; a name nobody holds costs nothing.

    Whoever changes an object (write, delete, copy, settling a suspect row) holds its name from the look at the row
    to the
    commit. The upload queue does not hold it: alt is changed for a name either by the holder while the name has no job,
    or by the queue while it has one (see ``tierproxy.store``).
    """

    def __init__(self) -> None:
        self._locks: dict[ObjectName, asyncio.Lock] = {}
        self._users: dict[ObjectName, int] = {}

    def __repr__(self) -> str:
        return f"<KeyOrder {len(self._locks)} held>"

    def held(self, name: ObjectName) -> bool:
        """loop. Somebody is changing ``name`` right now."""
        return name in self._locks

    @asynccontextmanager
    async def hold(self, name: ObjectName) -> AsyncIterator[None]:
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._users[name] = self._users.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name], self._locks[name]
