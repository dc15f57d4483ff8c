"""The change feed: who listens hears of every commit by which a name looks different to clients.

Nothing is kept for those who do not listen: whoever begins to listen knows nothing of what was before. A listener is
bounded; one that does not keep up is lost and has to begin again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tierproxy.errors import DiskError, ShuttingDown
from tierproxy.model import Entry, ObjectName, State

LIMIT = 10_000
"""Changes that wait for one listener."""


class Change(NamedTuple):
    """A committed change. ``etag`` "": the object is gone."""

    key: str
    etag: str


class Listener:
    """One who listens to a bucket, or to the keys below ``prefix``. Confined to the loop. Close it always."""

    def __init__(self, feed: ChangeFeed, bucket: str, prefix: str, limit: int) -> None:
        self._feed = feed
        self._bucket = bucket
        self._prefix = prefix
        self._limit = limit
        self._waiting: deque[Change] = deque()
        self._woken = asyncio.Event()
        self._over = asyncio.Event()
        self.lost = False  #: some changes were not told: too many waited
        self.ended = False  #: nothing more will be told

    def __repr__(self) -> str:
        return f"<Listener {self._bucket}/{self._prefix} {len(self._waiting)} waiting>"

    @property
    def epoch(self) -> str:
        """Of the feed: another one means another life of the node."""
        return self._feed.epoch

    def covers(self, name: ObjectName) -> bool:
        return name.bucket == self._bucket and name.key.startswith(self._prefix)

    def tell(self, change: Change) -> None:
        """loop. ``change`` waits to be taken."""
        if len(self._waiting) >= self._limit:
            self.lose()
        if not self.lost:
            self._waiting.append(change)
            self._woken.set()

    def lose(self) -> None:
        """loop. It cannot be told everything any more."""
        self.lost = True
        self._waiting.clear()
        self._woken.set()
        self._over.set()

    def take(self) -> list[Change]:
        """loop. Everything told since the last time."""
        taken = list(self._waiting)
        self._waiting.clear()
        if not (self.lost or self.ended):
            self._woken.clear()
        return taken

    async def woken(self) -> None:
        """Until there is something to take, or ``lost`` or ``ended``."""
        await self._woken.wait()

    def end(self) -> None:
        """loop. What waits can still be taken."""
        self.ended = True
        self._woken.set()
        self._over.set()

    async def over(self) -> None:
        """Until ``lost`` or ``ended``."""
        await self._over.wait()

    def close(self) -> None:
        self._feed.forget(self)


class ChangeFeed:
    """``find``: the row that speaks for a name now."""

    def __init__(self, find: Callable[[ObjectName], Entry | None], limit: int = LIMIT) -> None:
        self._find = find
        self._limit = limit
        self._listeners: set[Listener] = set()
        self._closed = False
        self.epoch = secrets.token_hex(8)

    def __repr__(self) -> str:
        return f"<ChangeFeed {self.epoch}, {self.listeners} listening>"

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def listen(self, bucket: str, prefix: str = "") -> Listener:
        """loop. From now on. Raises ShuttingDown."""
        if self._closed:
            raise ShuttingDown
        listener = Listener(self, bucket, prefix, self._limit)
        self._listeners.add(listener)
        return listener

    def tell(self, name: ObjectName, row: Entry | None = None) -> None:
        """loop. After the commit of a change of ``name``; before whoever asked for the change is answered. ``row``:
        what was just committed, which spares the look at the catalogue in the way of a write; None: it is looked
        up."""
        told = [listener for listener in self._listeners if listener.covers(name)]
        if not told:
            return
        try:
            row = row or self._find(name)
        except DiskError:  # the change has happened all the same: nobody may go on as if it had not
            for listener in told:
                listener.lose()
            return
        change = Change(name.key, "" if row is None or row.state is State.DELETING else row.etag)
        for listener in told:
            listener.tell(change)

    def forget(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def close(self) -> None:
        """loop. The node stops: nobody is kept waiting for changes, and nobody may begin to."""
        self._closed = True
        for listener in self._listeners:
            listener.end()
