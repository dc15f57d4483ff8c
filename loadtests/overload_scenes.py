"""What ``overload.py`` plays: each scene is too much of something, and beside it a quiet client that wants little."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from overload_clients import (
    RECEIVE,
    Address,
    Client,
    Tally,
    all_of,
    asked,
    get,
    meanwhile,
    put,
    slow_head,
    slow_read,
    slow_write,
)
from overload_storm import Storm, blow

NOISY, QUIET = "127.0.0.2", "127.0.0.3"
HOT = "/mail/hot"
LARGE = "/mail/large"  #: a hit that takes a slow reader some time
TRIES = 5  #: of the quiet client, as ``Retry-After`` says
SMALL = 16 * 1024
DISK = 2**30  #: bytes of the disk budget where uploads trickle
SLOW_OBJECT = 8 * 2**20
LARGE_HIT = 250_000  #: what the hit lane still answers
HANDSHAKES = 5  #: one connection with TLS for each so many without: shaking hands is not what is looked at


@dataclass(frozen=True, slots=True)
class Size:
    """How much is too much."""

    flood: int
    idle: int
    slow: int
    seconds: float
    connections: int
    cold: int
    rounds: int


@dataclass
class Played:
    """``noisy``, ``quiet``: what they were answered. ``ratio``: of hits a second under load to those without."""

    noisy: Tally = field(default_factory=Tally)
    quiet: Tally = field(default_factory=Tally)
    wanted: int = 0  #: requests of the quiet client, each of which is to be served
    ratio: float | None = None
    note: str = ""


Play = Callable[[Address, Size, Played], Awaitable[None]]


async def _quietly(address: Address, played: Played, paths: list[str]) -> None:
    """The quiet client asks for these, one after the other."""
    played.wanted += len(paths)
    await asked(Client(address, QUIET, played.quiet), (get(path) for path in paths), tries=TRIES)


async def flood(address: Address, size: Size, played: Played) -> None:
    """Many more connections than there may be, at once, each with a request; none is closed by its client."""
    clients = [Client(address, NOISY, played.noisy) for _ in range(size.flood)]

    async def one(client: Client) -> None:
        if await client.connect():
            await client.send(get(HOT))
            await client.answer(may_close=True)

    async def beside() -> None:
        await _quietly(address, played, [HOT] * 50)

    try:
        await meanwhile(all_of(map(one, clients)), beside)
    finally:
        for client in clients:
            client.close()


async def idle(address: Address, size: Size, played: Played) -> None:
    """Connections that had an answer and are kept."""
    number = size.idle // HANDSHAKES if address.tls else size.idle
    clients = [Client(address, NOISY, played.noisy) for _ in range(number)]
    try:
        for begin in range(0, len(clients), 500):
            await all_of(_once(client) for client in clients[begin : begin + 500])
        await _quietly(address, played, [HOT] * 50)
        await asyncio.sleep(1.0)
    finally:
        for client in clients:
            client.close()


async def _once(client: Client) -> None:
    if await client.connect() and await client.send(get(HOT)):
        await client.answer()


async def slow_readers(address: Address, size: Size, played: Played) -> None:
    """Readers of what only alt has, who take a kilobyte a second."""
    clients = [Client(address, NOISY, played.noisy, receive=RECEIVE) for _ in range(size.slow)]

    async def beside() -> None:
        await _quietly(address, played, [f"/unfilled/cold/{number}" for number in range(50)] + [HOT] * 50)

    await meanwhile(all_of(slow_read(client, "/unfilled/slow", size.seconds) for client in clients), beside)


async def slow_hits(address: Address, size: Size, played: Played) -> None:
    """Readers of what is near, who take a kilobyte a second and ask for it again and again."""
    clients = [Client(address, NOISY, played.noisy, receive=RECEIVE) for _ in range(size.slow)]

    async def beside() -> None:
        await _quietly(address, played, [HOT] * 100)

    await meanwhile(all_of(slow_read(client, LARGE, size.seconds, times=20) for client in clients), beside)


async def trickled_uploads(address: Address, size: Size, played: Played) -> None:
    """Uploads that announce more than the disk may hold together, and send a byte now and then."""
    whole = DISK // 4
    clients = [Client(address, NOISY, played.noisy) for _ in range(min(size.slow, 200))]
    work = [slow_write(client, f"/mail/trickle/{n}", whole, size.seconds) for n, client in enumerate(clients)]

    async def beside() -> None:
        played.wanted += 50
        body, more = bytes(SMALL), "x-tierproxy-ack: disk\r\n"
        requests = [put(f"/mail/beside/{number}", SMALL, more=more) + body for number in range(50)]
        await asked(Client(address, QUIET, played.quiet), requests, tries=TRIES)
        await _quietly(address, played, [HOT] * 50)

    await meanwhile(all_of(work), beside)


async def slow_writers(address: Address, size: Size, played: Played) -> None:
    """Uploads of a byte now and then, and heads that never end."""
    uploads = [Client(address, NOISY, played.noisy) for _ in range(size.slow)]
    heads = [Client(address, NOISY, played.noisy) for _ in range(size.slow)]
    work = [slow_write(client, f"/mail/slow/{n}", SLOW_OBJECT, size.seconds) for n, client in enumerate(uploads)]
    work += [slow_head(client, size.seconds) for client in heads]

    async def beside() -> None:
        body = bytes(SMALL)
        played.wanted += 50
        requests = [put(f"/mail/quiet/{number}", SMALL) + body for number in range(50)]
        await asked(Client(address, QUIET, played.quiet), requests, tries=TRIES)
        await _quietly(address, played, [HOT] * 50)

    await meanwhile(all_of(work), beside)


async def hot_key(address: Address, size: Size, played: Played) -> None:
    """Everybody wants the same object."""
    storm = _storm(address, NOISY, 4 * size.connections, size.seconds, HOT)

    async def work() -> None:
        rate, played.noisy = await blow(storm)
        played.note = f"{rate:,.0f} a second"

    await meanwhile(work(), lambda: _quietly(address, played, ["/mail/other"] * 50))


async def scan(address: Address, size: Size, played: Played) -> None:
    """One client lists everything and reads all of it, cold."""

    async def work() -> None:
        pages = ["/filled?list-type=2", "/filled?list-type=2&delimiter=/", "/filled?list-type=2&prefix=cold/"]
        await all_of(asked(Client(address, NOISY, played.noisy), [get(page) for page in pages * 5]) for _ in range(32))
        half = size.cold // 2
        _, tally = await blow(_storm(address, NOISY, size.connections, 60.0, "/filled/cold/{}", 0, half))
        played.noisy = played.noisy + tally

    await meanwhile(work(), lambda: _quietly(address, played, [HOT, "/unfilled/cold/1"] * 50))


async def full_queue(address: Address, size: Size, played: Played) -> None:
    """Alt is down, and more is written than the queue takes."""
    kept = [f"/mail/kept/{number}" for number in range(10)]
    written = [put(path, SMALL, more="x-tierproxy-ack: disk\r\n") + bytes(SMALL) for path in kept]
    played.wanted += len(written)
    await asked(Client(address, QUIET, played.quiet), written)
    for ack in ("disk", "both"):
        requests = [
            put(f"/mail/queue/{ack}/{number}", SMALL, more=f"x-tierproxy-ack: {ack}\r\n") + bytes(SMALL)
            for number in range(50)
        ]
        await all_of(
            asked(Client(address, NOISY, played.noisy), requests[begin : begin + 5])
            for begin in range(0, len(requests), 5)
        )
    await _quietly(address, played, kept)


async def storm(address: Address, size: Size, played: Played) -> None:
    """Hits alone and hits while another client misses as fast as it can, in turns."""
    alone, beside, missed = [], [], []
    each = (size.cold - size.cold // 2) // max(1, size.rounds)
    for number in range(size.rounds):
        for stormy in (False, True) if number % 2 == 0 else (True, False):
            hits = _storm(address, QUIET, size.connections, size.seconds, HOT)
            if not stormy:
                rate, tally = await blow(hits)
                alone.append(rate)
            else:
                first = size.cold // 2 + number * each
                misses = _storm(
                    address, NOISY, 2 * size.connections, size.seconds, "/filled/cold/{}", first, first + each
                )  # fmt: skip
                (rate, tally), (missing, noisy) = await asyncio.gather(blow(hits), blow(misses))
                beside.append(rate)
                missed.append(missing)
                played.noisy = played.noisy + noisy
            played.quiet = played.quiet + tally
            played.wanted += tally.served
    played.ratio = statistics.median(beside) / statistics.median(alone)
    played.note = (
        f"{statistics.median(beside):,.0f} of {statistics.median(alone):,.0f} hits a second, "
        f"beside {statistics.median(missed):,.0f} misses"
    )


def _storm(
    address: Address, source: str, connections: int, seconds: float, pattern: str, first: int = 0, last: int = 1
) -> Storm:  # fmt: skip
    return Storm(address.host, address.port, source, connections, seconds, first, last, pattern)
