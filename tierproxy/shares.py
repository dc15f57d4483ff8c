"""Fair shares of what is scarce: places, who has them, and whose turn it is when there are none left.

A client may have every place while nobody else wants one. Who has less than its share finds some more that are kept for
such clients alone, and of those who wait the one who has least is next. What is given is not taken back, with one
exception: who moves next to nothing for long, on more than its share, gives way when somebody is turned away. Why:
docs/decisions/0034-overload.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar

SLOW = 16 * 1024  #: bytes a second; who moves less may have to give way
LOOK = 1.0  #: seconds between two looks of one who waits at whether somebody could give way


class Guest:
    """Whom work is for. ``client``: whose share it is of; "" for the node's own work."""

    __slots__ = ("__weakref__", "client")

    def __init__(self, client: str) -> None:
        self.client = client

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.client or 'node'}>"

    def pace(self) -> float | None:
        """Bytes a second that its client has moved so far, if it is the client that is waited for and it has had time
        enough; None: there is nothing to hold against it."""
        return None

    def give_way(self) -> None:
        """End, in favour of somebody else. What it has is given back as usual."""


NODE = Guest("")
GUEST: ContextVar[Guest] = ContextVar("tierproxy_guest", default=NODE)
"""For whom the running task works. Tasks that it starts work for the same."""
BEGUN: ContextVar[Callable[[], None]] = ContextVar("tierproxy_begun", default=lambda: None)
"""Called when the running task has the place it waited for: what takes time from here on is not our doing."""


class Places:
    """``limit`` places, and ``spare`` more for clients that have less than their share. Confined to the event loop;
    only ``queue`` has anybody wait."""

    def __init__(self, limit: int, *, spare: int = 0) -> None:
        self.limit = limit
        self.spare = spare
        self.taken = 0
        self.gave_way = 0  #: guests that had to
        self._held: dict[str, dict[Guest, int]] = {}
        self._sums: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[Guest, asyncio.Future[None]]]] = {}  # who was served last is last

    def __repr__(self) -> str:
        return f"<Places, {self.taken} of {self.limit} taken by {len(self._held)}, {self.waiting} wait>"

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def held(self, client: str) -> int:
        """Places that ``client`` has."""
        return self._sums.get(client, 0)

    def share(self, client: str) -> int:
        """What ``client`` may have at least, with all who are here now."""
        clients = len(self._held) + sum(one not in self._held for one in self._waiting)
        if client not in self._held and client not in self._waiting:
            clients += 1
        return max(1, self.limit // clients)

    def take(self, guest: Guest, amount: int = 1) -> bool:
        """``amount`` places at once, or none."""
        if self._waiting or (self.taken + amount > self.limit and not self._fits(guest.client, amount)):
            return False
        self._give(guest, amount)
        return True

    def leave(self, guest: Guest, amount: int = 1) -> None:
        """Gives back what was taken; who waits and is next has it at once."""
        client = guest.client
        mine = self._held[client]
        left = mine[guest] - amount
        if left:
            mine[guest] = left
        else:
            del mine[guest]
        if mine:
            self._sums[client] -= amount
        else:
            del self._held[client], self._sums[client]
        self.taken -= amount
        if self._waiting:
            self._serve_next()

    def queue(self, guest: Guest) -> asyncio.Future[None]:
        """A place as soon as it is its turn. Every one of these needs a ``leave`` or a ``withdraw``."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(guest.client, deque()).append((guest, place))
        self._serve_next()
        return place

    def withdraw(self, guest: Guest, place: asyncio.Future[None]) -> None:
        """Wait no longer; a place that was given meanwhile is given back."""
        if place.done() and not place.cancelled():
            self.leave(guest)
            return
        place.cancel()
        line = self._waiting.get(guest.client)
        if line is not None:
            with suppress(ValueError):
                line.remove((guest, place))
            if not line:
                del self._waiting[guest.client]
        self._serve_next()

    def resize(self, limit: int) -> None:
        """``limit`` places from now on. Who has one keeps it."""
        self.limit = limit
        self._serve_next()

    def make_room(self, wanting: str) -> bool:
        """The slowest of those who are slower than ``SLOW`` gives way to ``wanting``: one of its own, or of a client
        with more than its share. False: there is none."""
        slowest = min(self._slow(wanting), key=lambda found: found[0], default=None)
        if slowest is None:
            return False
        self.gave_way += 1
        slowest[1].give_way()
        return True

    def _slow(self, wanting: str) -> Iterator[tuple[float, Guest]]:
        share = self.share(wanting)
        for client, guests in self._held.items():
            if client == wanting or self._sums[client] > share:
                for guest in guests:
                    pace = guest.pace()
                    if pace is not None and pace < SLOW:
                        yield pace, guest

    def _fits(self, client: str, amount: int) -> bool:
        if self.taken + amount <= self.limit:
            return True
        return self.taken + amount <= self.limit + self.spare and self.held(client) + amount <= self.share(client)

    def _give(self, guest: Guest, amount: int) -> None:
        client = guest.client
        mine = self._held.get(client)
        if mine is None:
            self._held[client] = {guest: amount}
            self._sums[client] = amount
        else:
            mine[guest] = mine.get(guest, 0) + amount
            self._sums[client] += amount
        self.taken += amount

    def _serve_next(self) -> None:
        """Who has least is next; of several, who was served longest ago."""
        while self._waiting:
            client = min(self._waiting, key=self.held)
            if not self._fits(client, 1):
                return
            line = self._waiting.pop(client)
            guest, place = line.popleft()
            if line:
                self._waiting[client] = line
            if not place.done():
                self._give(guest, 1)
                place.set_result(None)
