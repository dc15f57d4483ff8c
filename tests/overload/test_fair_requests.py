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

    def __init__(self, received: int = 0, *, waits: bool = True) -> None:
        self.received = received
        self.sent = 0
        self.waits = waits
        self.ended = 0

    def cut(self) -> None:
        self.ended += 1


def caller(client: str, clock: VirtualClock, exchange: Exchanging | None = None) -> Caller:
    return Caller(client, cast(Exchange, exchange or Exchanging()), clock)


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
    clock, turns = VirtualClock(), Turns(4)
    exchanges = [Exchanging(received) for received in (900, 100, 500)]
    for exchange in exchanges:
        turns.take(caller("ann", clock, exchange))
    turns.take(caller("bob", clock))
    await clock.advance(GRACE - 0.1)
    turns.take(caller("eve", clock))  # a spare place
    with pytest.raises(Busy):
        turns.take(caller("eve", clock))
    assert sum(exchange.ended for exchange in exchanges) == 0  # too early to call anybody slow
    await clock.advance(0.2)
    with pytest.raises(Busy):
        turns.take(caller("eve", clock))
    assert [exchange.ended for exchange in exchanges] == [0, 1, 0]
    assert turns.told() == {"request refused": 2, "slow request cut": 1}


@pytest.mark.parametrize(
    "exchange",
    [Exchanging(0, waits=False), Exchanging(int(SLOW * 2 * GRACE))],
    ids=["waits for us", "is fast enough"],
)
async def test_who_is_not_to_blame_is_left_alone(exchange: Exchanging) -> None:
    clock, turns = VirtualClock(), Turns(1)
    turns.take(caller("ann", clock, exchange))
    await clock.advance(GRACE)
    with pytest.raises(Busy):
        turns.take(caller("bob", clock))
    assert exchange.ended == 0


async def test_a_caller_whose_request_is_over_holds_nothing_of_it() -> None:
    clock, exchange = VirtualClock(), Exchanging()
    one = caller("ann", clock, exchange)
    one.end()
    await clock.advance(GRACE)
    assert one.pace() is None
    one.give_way()
    assert exchange.ended == 0
    held: Any = one._exchange
    assert held is None


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
