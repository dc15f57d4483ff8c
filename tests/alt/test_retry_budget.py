"""How many requests alt gets when it fails: counted at the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.alt.liars import DATE, HELLO, STORED, Behaviour, Liar, in_turn, liar, reset, says
from tests.alt.test_alt_trouble import get, head, put, session_with_keys
from tierproxy.alt.budget import RESERVE, RetryBudget
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.s3 import S3Alt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import AltSection, BucketSection
from tierproxy.errors import AltCorrupt, AltError, AltUnavailable
from tierproxy.model import ObjectName
from tierproxy.offload import ThreadPool

NAME = ObjectName("mail", "u/1")
BUSY = says(503, "SlowDown")


class Hasty(SystemClock):
    """Pauses take no time."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@asynccontextmanager
async def alt_before(behave: Behaviour, budget: RetryBudget) -> AsyncIterator[tuple[S3Alt, Liar]]:
    pool = ThreadPool("alt-test", 2)
    async with liar(behave) as server:
        section = AltSection(endpoint=server.endpoint, access_key_id="key", secret_access_key="secret", max_retries=2)
        buckets = BucketMap([BucketSection(name="mail", alt_bucket="far")])
        alt = S3Alt(section, buckets, pool, session=session_with_keys(), clock=Hasty(), budget=budget)
        try:
            yield alt, server
        finally:
            await alt.close()
            await pool.close()


def test_a_share_of_the_first_tries_may_be_tried_again_beyond_a_reserve() -> None:
    budget = RetryBudget(0.1)
    made = 0
    for _ in range(1000):
        budget.first("mail")
        made += budget.second("mail")
    assert RESERVE + 85 <= made <= RESERVE + 100
    assert (budget.made["mail"], budget.withheld["mail"]) == (made, 1000 - made)


def test_nothing_is_saved_up_beyond_the_reserve_and_buckets_have_their_own() -> None:
    budget = RetryBudget(0.5)
    for _ in range(1000):
        budget.first("mail")
    assert sum(budget.second("mail") for _ in range(100)) == RESERVE
    assert budget.second("other")


def test_nothing_is_tried_again_where_there_is_no_budget_or_alt_is_in_trouble() -> None:
    assert not RetryBudget(0).second("mail")
    budget = RetryBudget(0.1)
    budget.steady = lambda bucket: bucket != "mail"
    assert not budget.second("mail")
    assert budget.second("other")


@pytest.mark.parametrize("call", [get, head, put])
async def test_when_everything_fails_the_load_grows_by_the_share_alone(call: object) -> None:
    async with alt_before(BUSY, RetryBudget(0.1)) as (alt, server):
        for _ in range(100):
            with pytest.raises(AltUnavailable):
                await call(alt, NAME)  # type: ignore[operator]
        assert 100 + RESERVE <= len(server.requests) <= 100 + RESERVE + 10


async def test_when_every_second_request_fails_the_load_is_not_doubled() -> None:
    turns = [BUSY, HELLO] * 500
    failed = 0
    async with alt_before(in_turn(*turns), RetryBudget(0.1)) as (alt, server):
        for _ in range(200):
            try:
                await get(alt, NAME)
            except AltUnavailable:
                failed += 1
        assert len(server.requests) <= 200 + RESERVE + 20
        assert failed <= 100


async def test_while_alt_is_in_trouble_nothing_is_asked_twice() -> None:
    budget = RetryBudget(0.1)
    budget.steady = lambda bucket: False
    async with alt_before(BUSY, budget) as (alt, server):
        for call in (get, put):
            with pytest.raises(AltError):
                await call(alt, NAME)
        assert len(server.requests) == 2
        assert budget.withheld["mail"] == 2


async def test_with_a_whole_budget_what_fails_is_tried_as_often_as_the_configuration_says() -> None:
    async with alt_before(in_turn(BUSY, BUSY, STORED), RetryBudget(0.1)) as (alt, server):
        await put(alt, NAME)
        assert len(server.requests) == 3
    async with alt_before(in_turn(BUSY, reset, HELLO), RetryBudget(0.1)) as (alt, server):
        assert await get(alt, NAME) == b"hello"
        assert len(server.requests) == 3


async def test_a_read_that_is_answered_no_is_not_asked_again() -> None:
    for answer in (says(403, "AccessDenied"), says(404, "NoSuchKey"), says(409, "OperationAborted")):
        async with alt_before(answer, RetryBudget(0.1)) as (alt, server):
            with pytest.raises(AltError):
                await get(alt, NAME)
            assert len(server.requests) == 1


# ---------------------------------------------------------------- bodies that break off

WHOLE = bytes(range(256)) * 4096  # 1 MiB: a stream
ETAG = b'ETag: "of-the-whole"\r\n'


def broken(sent: int) -> Behaviour:
    """The whole object, of which only ``sent`` bytes come."""

    async def behave(_liar: Liar, _head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n%s%s\r\n" % (len(WHOLE), ETAG, DATE) + WHOLE[:sent])
        await writer.drain()
        writer.close()

    return behave


def rest(etag: bytes = ETAG, shift: int = 0) -> Behaviour:
    """What a request with a range and a condition is answered; ``shift``: from elsewhere."""

    async def behave(_liar: Liar, head: bytes, writer: asyncio.StreamWriter) -> None:
        lines = head.lower().split(b"\r\n")
        assert b'if-match: "of-the-whole"' in lines
        [asked] = [line for line in lines if line.startswith(b"range: bytes=")]
        start = int(asked.split(b"=")[1].split(b"-")[0]) + shift
        body = WHOLE[start:]
        span = b"Content-Range: bytes %d-%d/%d\r\n" % (start, len(WHOLE) - 1, len(WHOLE))
        writer.write(b"HTTP/1.1 206 X\r\nContent-Length: %d\r\n%s%s%s\r\n" % (len(body), span, etag, DATE) + body)

    return behave


async def test_a_body_that_breaks_off_goes_on_where_it_stopped() -> None:
    async with alt_before(in_turn(broken(600_000), BUSY, rest()), RetryBudget(0.1)) as (alt, server):
        assert await get(alt, NAME) == WHOLE
        assert len(server.requests) == 3


async def test_a_body_does_not_go_on_when_the_budget_is_spent() -> None:
    async with alt_before(in_turn(broken(600_000), rest()), RetryBudget(0)) as (alt, server):
        with pytest.raises(AltUnavailable):
            await get(alt, NAME)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "then", [rest(etag=b'ETag: "another"\r\n'), rest(shift=5), says(412, "PreconditionFailed"), says(404, "NoSuchKey")]
)
async def test_a_body_never_goes_on_with_something_else(then: Behaviour) -> None:
    async with alt_before(in_turn(broken(600_000), then), RetryBudget(0.1)) as (alt, _server):
        with pytest.raises((AltUnavailable, AltCorrupt)):
            await get(alt, NAME)
