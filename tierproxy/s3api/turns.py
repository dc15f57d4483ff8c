"""How many requests are answered at once, and whose: ``tierproxy.shares`` at the door of the object port."""

from __future__ import annotations

from tierproxy.errors import Busy
from tierproxy.s3api.exchange import Exchange
from tierproxy.shares import Guest, Places

SPARE = 4  #: one place more for each so many, for clients with less than their share
GRACE = 10.0  #: seconds for which a client is waited for before it is called slow


class Caller(Guest):
    """One request. Its client is the access key, else the peer's address: what a request says of itself is not
    believed here, because whoever can think of many names would have many shares."""

    __slots__ = ("_exchange",)

    def __init__(self, client: str, exchange: Exchange) -> None:
        self.client = client  # and no call of the base: every request makes one
        self._exchange: Exchange | None = exchange

    def pace(self) -> float | None:
        """Of the time in which the client was waited for: what alt or the disk took is not the client's doing."""
        exchange = self._exchange
        if exchange is None or not exchange.waits:
            return None
        waited = exchange.waited
        return (exchange.received + exchange.sent) / waited if waited >= GRACE else None

    def give_way(self) -> None:
        """The client's connection is cut: half an answer must not look whole. Once: until the request has ended it is
        no longer one that could give way."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cut()

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
