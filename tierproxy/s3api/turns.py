"""How many requests are answered at once, and whose: ``tierproxy.shares`` at the door of the object port."""

from __future__ import annotations

from tierproxy.errors import Busy
from tierproxy.ports import Clock
from tierproxy.s3api.exchange import Exchange
from tierproxy.shares import Guest, Places

SPARE = 4  #: one place more for each so many, for clients with less than their share
GRACE = 10.0  #: seconds in which nobody is called slow


class Caller(Guest):
    """One request. Its client is the access key, else the peer's address: what a request says of itself is not
    believed here, because whoever can think of many names would have many shares."""

    __slots__ = ("_began", "_clock", "_exchange")

    def __init__(self, client: str, exchange: Exchange, clock: Clock) -> None:
        self.client = client  # and no call of the base: every request makes one
        self._exchange: Exchange | None = exchange
        self._clock = clock
        self._began = clock.monotonic()

    def pace(self) -> float | None:
        exchange = self._exchange
        if exchange is None or not exchange.waits:
            return None
        passed = self._clock.monotonic() - self._began
        return (exchange.received + exchange.sent) / passed if passed >= GRACE else None

    def give_way(self) -> None:
        """The client's connection is cut: half an answer must not look whole."""
        if self._exchange is not None:
            self._exchange.cut()

    def end(self) -> None:
        """The request is over: what it has begun and goes on (a fill, say) keeps nothing of it."""
        self._exchange = None


class Turns:
    """At most ``limit`` requests at once, and a quarter more for clients that have less than their share."""

    def __init__(self, limit: int) -> None:
        self._places = Places(limit, spare=limit // SPARE)
        self.refused = 0  #: requests that found no place

    def __repr__(self) -> str:
        return f"<Turns {self._places}>"

    def told(self) -> dict[str, int]:
        """What has happened since the start, for metrics."""
        return {"request refused": self.refused, "slow request cut": self._places.gave_way}

    def take(self, caller: Caller) -> None:
        """Raises Busy."""
        if not self._places.take(caller):
            self.refused += 1
            self._places.make_room(caller.client)
            raise Busy("Please reduce your request rate.")

    def leave(self, caller: Caller) -> None:
        self._places.leave(caller)
