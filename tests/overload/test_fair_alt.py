"""Requests to alt and bodies of it: shares of clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tierproxy.alt.limit import BODIES, SPARE, Limited
from tierproxy.alt.memory import MemoryAlt
from tierproxy.errors import AltBusy
from tierproxy.model import Headers, ObjectName
from tierproxy.ports import AltBody
from tierproxy.s3api.faults import fault_of
from tierproxy.shares import GUEST, Guest
from tierproxy.testing.faults import BytesSource, FaultyAlt

NAME = ObjectName("mail", "k")
ANN, BOB = Guest("ann"), Guest("bob")


@contextmanager
def working_for(guest: Guest) -> Iterator[None]:
    before = GUEST.set(guest)
    try:
        yield
    finally:
        GUEST.reset(before)


async def filled() -> FaultyAlt:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(NAME, BytesSource(b"x" * 1000), Headers(), md5="")
    return alt


async def bodies(alt: Limited, guest: Guest, number: int) -> list[AltBody]:
    with working_for(guest):
        return [await alt.get(NAME) for _ in range(number)]


async def test_slow_readers_of_one_client_do_not_keep_another_one_from_alt() -> None:
    alt = Limited(await filled(), 2, patience=0.01)
    held = await bodies(alt, ANN, 2 * BODIES)
    with pytest.raises(AltBusy):
        await bodies(alt, ANN, 1)
    held += await bodies(alt, BOB, 2 * BODIES // SPARE)
    for body in held:
        await body.close()
    assert alt.running == 0


async def test_too_many_of_our_own_requests_are_told_to_slow_down() -> None:
    fault = fault_of(AltBusy())
    assert (fault.status, fault.code) == (503, "SlowDown")
    assert dict(fault.headers)[b"retry-after"]


async def test_a_client_with_a_long_line_of_requests_waits_behind_one_with_none() -> None:
    faulty = await filled()
    alt = Limited(faulty, 1)
    gate = faulty.gate("head")
    order: list[str] = []

    async def ask(guest: Guest) -> None:
        with working_for(guest):
            await alt.head(NAME)
        order.append(guest.client)

    first = asyncio.create_task(ask(ANN))
    await gate.reached()
    line = [asyncio.create_task(ask(ANN)) for _ in range(20)]
    await asyncio.sleep(0)
    late = asyncio.create_task(ask(BOB))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, late, *line)
    assert order.index("bob") <= 2


async def test_who_waits_for_a_body_makes_a_reader_that_is_too_slow_give_way() -> None:
    class Slow(Guest):
        __slots__ = ("body",)

        def pace(self) -> float:
            return 1.0

        def give_way(self) -> None:
            asyncio.get_running_loop().create_task(self.body.close())

        body: AltBody

    alt = Limited(await filled(), 1, patience=5)
    readers = [Slow("ann") for _ in range(BODIES + 1)]
    for reader in readers[:BODIES]:
        [reader.body] = await bodies(alt, reader, 1)
    spared = await bodies(alt, BOB, 1)
    waited = await bodies(alt, BOB, 1)
    for body in (*spared, *waited, *(reader.body for reader in readers[:BODIES])):
        await body.close()
    assert alt.running == 0
