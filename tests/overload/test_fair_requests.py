"""Requests at once: shares of clients at the object port, and clients that are too slow."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, cast

import pytest

from tierproxy.config.sections import ListenSection
from tierproxy.errors import Busy
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Admission, Identity, Payload
from tierproxy.s3api.exchange import Exchange
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.request import Request
from tierproxy.s3api.turns import GRACE, Caller, Turns
from tierproxy.shares import SLOW
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Probe

LIMIT = 8


class Named:
    """Everybody is who the header x-who says."""

    def admit(self, request: Request) -> Admission:
        return Admission(Identity(request.header("x-who") or "", Grants.of(("*",), "write")), Payload.UNSIGNED)


def as_client(name: str, size: int = 0) -> dict[str, str]:
    return {"x-who": name, "content-length": str(size)}


class Exchanging:
    """As much of an exchange as a caller looks at."""

    def __init__(self, received: int = 0, *, waits: bool = True, waited: float = 0.0) -> None:
        self.received = received
        self.sent = 0
        self.waits = waits
        self.waited = waited
        self.ended = 0

    def cut(self) -> None:
        self.ended += 1


def caller(client: str, exchange: Exchanging | None = None) -> Caller:
    return Caller(client, cast(Exchange, exchange or Exchanging()))


async def test_one_client_cannot_keep_the_others_out() -> None:
    store = MemoryStore(gate=asyncio.Event())
    assert store.gate is not None
    clock = VirtualClock()
    app = ObjectApp(store, Named(), ListenSection(auth="none", max_concurrent_requests=LIMIT), clock)
    probe = Probe(app)
    flood = [asyncio.create_task(probe.put(f"/mail/{n}", b"x", {"x-who": "ann"})) for n in range(LIMIT)]
    await clock.settle()
    refused = await probe.put("/mail/one-more", b"x", {"x-who": "ann"})
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "SlowDown", "1")
    others = [asyncio.create_task(probe.put(f"/mail/b{n}", b"x", {"x-who": "bob"})) for n in range(2)]
    await clock.settle()
    assert not any(task.done() for task in others)  # let in, and at work
    assert (await probe.put("/mail/b3", b"x", {"x-who": "bob"})).status == 503  # that was all that is spare
    store.gate.set()
    assert {answer.status for answer in await asyncio.gather(*flood, *others)} == {200}
    assert app.turns.told() == {"request refused": 2, "slow request cut": 0}
    assert (await probe.put("/mail/after", b"x", {"x-who": "ann"})).status == 200


async def test_what_is_refused_has_not_been_read() -> None:
    store = MemoryStore(gate=asyncio.Event())
    assert store.gate is not None
    clock = VirtualClock()
    probe = Probe(ObjectApp(store, Named(), ListenSection(auth="none", max_concurrent_requests=1), clock))
    first = asyncio.create_task(probe.put("/mail/1", b"x", {"x-who": "ann"}))
    await clock.settle()
    async with probe.call("PUT", "/mail/2", as_client("ann", 10)) as call:
        assert (await call.answer()).status == 503
        assert call.asked == 0
    store.gate.set()
    assert (await first).status == 200


async def test_who_is_not_let_in_takes_no_place() -> None:
    class Refusing(Named):
        def admit(self, request: Request) -> Admission:
            raise Busy

    app = ObjectApp(MemoryStore(), Refusing(), ListenSection(auth="none", max_concurrent_requests=1), VirtualClock())
    for _ in range(3):
        assert (await Probe(app).get("/mail/1")).status == 503
    assert app.turns.told()["request refused"] == 0


async def test_a_request_that_moves_next_to_nothing_gives_way_to_others() -> None:
    turns = Turns(4)
    exchanges = [Exchanging(received, waited=GRACE - 0.1) for received in (900, 100, 500)]
    for exchange in exchanges:
        turns.take(caller("ann", exchange))
    turns.take(caller("bob"))
    turns.take(caller("eve"))  # a spare place
    with pytest.raises(Busy):
        turns.take(caller("eve"))
    assert sum(exchange.ended for exchange in exchanges) == 0  # too early to call anybody slow
    for exchange in exchanges:
        exchange.waited += 0.2
    with pytest.raises(Busy):
        turns.take(caller("eve"))
    assert [exchange.ended for exchange in exchanges] == [0, 1, 0]
    assert turns.told() == {"request refused": 2, "slow request cut": 1}


async def test_who_was_told_to_give_way_is_not_told_again() -> None:
    """It has its place until its task has seen that it is cut; meanwhile the next slowest is next."""
    turns = Turns(2)
    exchanges = [Exchanging(received, waited=GRACE) for received in (100, 500)]
    for exchange in exchanges:
        turns.take(caller("ann", exchange))
    for _ in range(3):
        with pytest.raises(Busy):
            turns.take(caller("bob"))
    assert [exchange.ended for exchange in exchanges] == [1, 1]
    assert turns.told()["slow request cut"] == 2


@pytest.mark.parametrize(
    "exchange",
    [
        Exchanging(0, waits=False, waited=GRACE), Exchanging(int(SLOW * 2 * GRACE), waited=GRACE),
        Exchanging(0, waited=GRACE / 2),
    ],
    ids=["waits for us", "is fast enough", "was waited for only now"],
)  # fmt: skip
async def test_who_is_not_to_blame_is_left_alone(exchange: Exchanging) -> None:
    turns = Turns(1)
    turns.take(caller("ann", exchange))
    with pytest.raises(Busy):
        turns.take(caller("bob"))
    assert exchange.ended == 0


async def test_a_caller_whose_request_is_over_holds_nothing_of_it() -> None:
    exchange = Exchanging(waited=GRACE)
    one = caller("ann", exchange)
    assert one.pace() is not None
    one.end()
    assert one.pace() is None
    one.give_way()
    assert exchange.ended == 0
    held: Any = one._exchange
    assert held is None


async def test_only_the_time_in_which_a_client_is_waited_for_is_held_against_it() -> None:
    store = MemoryStore(gate=asyncio.Event())
    assert store.gate is not None
    app = ObjectApp(store, Named(), ListenSection(auth="none"), VirtualClock())
    seen: list[Exchange] = []

    class Watched(Turns):
        def take(self, caller: Caller) -> None:
            seen.append(cast(Exchange, caller._exchange))
            super().take(caller)

    app.turns = Watched(LIMIT)
    async with Probe(app).call("PUT", "/mail/1", as_client("ann", 2)) as call:
        while not call.asked:
            await asyncio.sleep(0)
        assert seen[0].waits
        await asyncio.sleep(0.002)  # of the client's time
        await call.send(b"ab", last=True)
        while not store.writes:
            await asyncio.sleep(0)
        waited, waits = seen[0].waited, seen[0].waits
        assert (waited > 0, waits) == (True, False)
        await asyncio.sleep(0.002)  # of ours
        assert seen[0].waited == waited
        store.gate.set()
        assert (await call.answer()).status == 200


async def test_a_thousand_keys_are_not_deleted_by_a_thousand_tasks() -> None:
    most = 0

    class Counting(MemoryStore):
        async def delete(self, *arguments: Any, **options: Any) -> None:
            nonlocal most
            most = max(most, len(asyncio.all_tasks()))
            await asyncio.sleep(0)
            await super().delete(*arguments, **options)

    keys = "".join(f"<Object><Key>{number}</Key></Object>" for number in range(1000))
    app = ObjectApp(Counting(), Named(), ListenSection(auth="none"), VirtualClock())
    answer = await Probe(app).post("/mail?delete", f"<Delete>{keys}</Delete>".encode(), {"x-who": "ann"})
    assert (answer.status, len(answer.texts("Deleted/Key"))) == (200, 1000)
    assert most < 50


async def test_documents_of_all_requests_together_have_a_limit() -> None:
    store, clock = MemoryStore(), VirtualClock()
    probe = Probe(ObjectApp(store, Named(), ListenSection(auth="none"), clock))
    large = 4 * 2**20
    async with AsyncExitStack() as stack:
        calls = [probe.call("POST", "/mail?delete", as_client("ann", large)) for _ in range(16)]
        opened = [await stack.enter_async_context(call) for call in calls]
        await clock.settle()
        assert all(call.asked for call in opened)
        assert (await probe.request("POST", "/mail?delete", None, as_client("ann", large))).status == 503
        other = await probe.request("POST", "/mail?delete", b"<Delete/>", {"x-who": "bob"})
        assert (other.status, other.code) == (400, "MalformedXML")  # it was read
    assert (await probe.request("POST", "/mail?delete", b"<Delete/>", {"x-who": "ann"})).code == "MalformedXML"
