"""The wrappers of the alt tier."""

from __future__ import annotations

import asyncio

import pytest

from tierproxy.alt.limit import BODIES, Counted, Limited
from tierproxy.alt.memory import MemoryAlt
from tierproxy.errors import AltMissing, AltUnavailable
from tierproxy.model import Headers, ListRequest, ObjectName
from tierproxy.testing.faults import BytesSource, FaultyAlt

NAME = ObjectName("mail", "k")


async def filled() -> FaultyAlt:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(NAME, BytesSource(b"x" * 200_000), Headers(), md5="")
    return alt


async def test_no_more_requests_run_than_allowed() -> None:
    faulty = await filled()
    alt = Limited(faulty, 2)
    gates = [faulty.gate("head", nth=number) for number in (1, 2)]
    waiting = [asyncio.create_task(alt.head(NAME)) for _ in range(5)]
    await gates[1].reached()
    assert (alt.running, faulty.calls["head"]) == (2, 2)
    for gate in gates:
        gate.open()
    await asyncio.gather(*waiting)
    assert (alt.running, faulty.calls["head"]) == (0, 5)


async def test_a_body_keeps_its_place_until_it_is_read_or_closed() -> None:
    alt = Limited(await filled(), 1)
    for closed in (True, False):
        bodies = [await alt.get(NAME) for _ in range(BODIES)]
        other = asyncio.create_task(alt.get(NAME))
        await asyncio.sleep(0)
        assert not other.done()
        if closed:
            await bodies[0].close()
        else:
            assert sum([len(chunk) async for chunk in bodies[0].chunks()]) == 200_000
        for body in (*bodies, await other):
            await body.close()
        assert alt.running == 0


async def test_failures_and_cancelled_waiters_give_their_place_back() -> None:
    faulty = await filled()
    alt = Limited(faulty, 1)
    faulty.fail("get")
    with pytest.raises(AltUnavailable):
        await alt.get(NAME)
    gate = faulty.gate("head")
    waiters = [asyncio.create_task(alt.head(NAME)), asyncio.create_task(alt.get(NAME))]
    await gate.reached()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    assert alt.running == 0
    await alt.head(NAME)


async def test_requests_are_counted_by_class_and_outcome() -> None:
    faulty = await filled()
    alt = Counted(faulty)
    await alt.head(NAME)
    with pytest.raises(AltMissing):
        await alt.head(ObjectName("mail", "none"))
    await alt.put(NAME, BytesSource(b"abc"), Headers(), md5="")
    await alt.copy(NAME, ObjectName("mail", "to"), None)
    await alt.page(ListRequest("mail"))
    assert [len(batch) async for batch in alt.walk("mail")] == [2]
    await alt.delete(NAME)
    assert alt.requests == {
        ("head", "ok"): 1, ("head", "AltMissing"): 1, ("put", "ok"): 1, ("copy", "ok"): 1, ("list", "ok"): 3,
        ("delete", "ok"): 1,
    }  # fmt: skip
    assert (alt.total("head"), alt.bytes_written) == (2, 3)


async def test_bodies_that_break_are_counted() -> None:
    faulty = await filled()
    alt = Counted(faulty)
    faulty.cut_body(AltUnavailable("cut"), chunk=2)
    with pytest.raises(AltUnavailable):
        _ = [chunk async for chunk in (await alt.get(NAME)).chunks()]
    assert (alt.requests["body", "AltUnavailable"], alt.bytes_read) == (1, 65_536)
