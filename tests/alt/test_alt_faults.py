"""The faulty alt tier does what a test tells it, and the relay too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.alt.liars import HELLO, Liar, liar
from tests.alt.test_alt_trouble import NAME, alt_at, get
from tierproxy.alt.memory import MemoryAlt
from tierproxy.alt.s3 import S3Alt
from tierproxy.config.values import Duration
from tierproxy.errors import AltRefused, AltUnavailable, AltUncertain
from tierproxy.model import Headers, ObjectName
from tierproxy.testing.faults import BytesSource, Effect, FaultyAlt
from tierproxy.testing.relay import Mode, Relay, relay_to

BODY = b"x" * 200_000  # four chunks of the memory tier


def faulty() -> tuple[FaultyAlt, MemoryAlt]:
    memory = MemoryAlt()
    return FaultyAlt(memory), memory


async def put(alt: FaultyAlt, body: bytes = BODY) -> str:
    return await alt.put(NAME, BytesSource(body), Headers(), md5="")


async def test_the_nth_call_fails_without_effect() -> None:
    alt, memory = faulty()
    alt.fail("put", AltRefused("quota"), nth=2)
    await put(alt, b"first")
    with pytest.raises(AltRefused):
        await put(alt, b"second")
    assert memory.content(NAME) == b"first"
    await put(alt, b"third")
    assert memory.content(NAME) == b"third"


async def test_a_call_can_fail_after_it_took_effect() -> None:
    alt, memory = faulty()
    alt.fail("put", effect=Effect.DONE)
    with pytest.raises(AltUncertain):
        await put(alt)
    assert memory.content(NAME) == BODY


async def test_a_change_can_land_late() -> None:
    alt, memory = faulty()
    landing = alt.late("put")
    with pytest.raises(AltUncertain):
        await put(alt, b"late")
    assert landing.waiting
    await alt.delete(NAME)
    await landing.land()
    assert memory.content(NAME) == b"late"


@pytest.mark.parametrize("error", [None, AltUnavailable("cut")])
async def test_a_body_can_break_at_a_chunk(error: Exception | None) -> None:
    alt, _ = faulty()
    await put(alt)
    alt.cut_body(error, chunk=3)
    got = 0
    try:
        async for chunk in (await alt.get(NAME)).chunks():
            got += len(chunk)
    except AltUnavailable:
        assert error is not None
    assert got == 2 * 65_536


async def test_while_down_nothing_answers_and_bodies_break() -> None:
    alt, _ = faulty()
    await put(alt)
    chunks = (await alt.get(NAME)).chunks()
    await anext(chunks)
    alt.down()
    for call in (anext(chunks), alt.head(NAME), alt.delete(NAME), put(alt)):
        with pytest.raises(AltUnavailable):
            await call
    alt.heal()
    assert (await alt.head(NAME)).size == len(BODY)


async def test_a_gate_holds_a_call_until_it_is_opened() -> None:
    alt, memory = faulty()
    gate = alt.gate("put", nth=2)
    await put(alt, b"first")
    waiting = asyncio.create_task(put(alt, b"second"))
    await gate.reached()
    assert memory.content(NAME) == b"first"
    gate.open()
    await waiting
    assert memory.content(NAME) == b"second"


async def test_calls_are_remembered() -> None:
    alt, _ = faulty()
    await put(alt)
    await alt.head(NAME)
    assert (alt.calls["put"], alt.history) == (1, [("put", "mail/u/1"), ("head", "mail/u/1")])


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[Liar, Relay, S3Alt]]:
    async with (
        liar(HELLO) as server,
        relay_to("127.0.0.1", int(server.endpoint.rpartition(":")[2])) as relay,
        alt_at(f"http://127.0.0.1:{relay.port}", retries=0, request_timeout=Duration(1)) as alt,
    ):
        yield server, relay, alt


async def test_a_relay_passes_and_refuses_and_passes_again() -> None:
    async with relayed() as (_, relay, alt):
        assert await get(alt, NAME) == b"hello"
        await relay.refuse()
        with pytest.raises(AltUnavailable):
            await get(alt, NAME)
        await relay.accept()
        assert await get(alt, NAME) == b"hello"


@pytest.mark.parametrize("mode", [Mode.BLACKHOLE, Mode.MUTE, Mode.RESET])
async def test_a_relay_that_keeps_answers_back_makes_reads_fail(mode: Mode) -> None:
    async with relayed() as (server, relay, alt):
        relay.mode = mode
        with pytest.raises(AltUnavailable):
            await get(alt, NAME)
        assert len(server.requests) == (1 if mode is Mode.MUTE else 0)


async def test_a_relay_can_trickle_and_cut() -> None:
    async with relayed() as (_, relay, alt):
        relay.trickle, relay.delay = 20, 0.001
        assert await get(alt, NAME) == b"hello"
        relay.cut_after = 30
        with pytest.raises(AltUnavailable):
            await get(alt, ObjectName("mail", "other"))
