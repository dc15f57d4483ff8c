"""What the alt tier makes of a server or a network that fails: the right error, in time, the right number of tries."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import boto3
import pytest

from tests.alt.liars import HELLO, STORED, Behaviour, Liar, garbage, half_a_body, in_turn, liar, reset, says, silence
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.s3 import S3Alt
from tierproxy.config.sections import AltSection, BucketSection
from tierproxy.config.values import Duration
from tierproxy.errors import (
    AltCorrupt,
    AltDeferred,
    AltError,
    AltMissing,
    AltPrecondition,
    AltRefused,
    AltUnavailable,
    AltUncertain,
)
from tierproxy.model import Headers, ListRequest, ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.ports import UNHEARD
from tierproxy.testing.faults import BytesSource

NAME = ObjectName("mail", "u/1")
ODD = ObjectName("mail", "line\nfeed")  # goes through boto3
HELLO_MD5 = hashlib.md5(b"hello").hexdigest()
DELETED = says(200, body=b"<DeleteResult><Deleted><Key>u/1</Key></Deleted></DeleteResult>")
TIMEOUT = 0.3
Call = Callable[[S3Alt, ObjectName], Awaitable[object]]


@functools.cache
def session_with_keys() -> boto3.Session:
    """One for all: a session's first client reads megabytes of service models."""
    return boto3.Session("key", "secret", region_name="us-east-1")


def session_of(section: AltSection) -> boto3.Session | None:
    return session_with_keys() if section.access_key_id else None


@asynccontextmanager
async def alt_at(endpoint: str, retries: int = 1, **options: object) -> AsyncIterator[S3Alt]:
    facts: dict[str, object] = {
        "endpoint": endpoint, "access_key_id": "key", "secret_access_key": "secret", "max_retries": retries,
        "connect_timeout": Duration(TIMEOUT), "request_timeout": Duration(TIMEOUT), "retry_timeout": Duration(5),
    }  # fmt: skip
    section = AltSection(**(facts | options))  # type: ignore[arg-type]
    pool = ThreadPool("alt-test", 2)
    alt = S3Alt(section, BucketMap([BucketSection(name="mail")]), pool, session=session_of(section))
    try:
        yield alt
    finally:
        await alt.close()
        await pool.close()


async def get(alt: S3Alt, name: ObjectName) -> bytes:
    body = await alt.get(name)
    try:
        return b"".join([chunk async for chunk in body.chunks()])
    finally:
        await body.close()


async def head(alt: S3Alt, name: ObjectName) -> object:
    return await alt.head(name)


async def put(alt: S3Alt, name: ObjectName) -> object:
    return await alt.put(name, BytesSource(b"hello"), Headers(), md5=HELLO_MD5)


async def create(alt: S3Alt, name: ObjectName) -> object:
    return await alt.put(name, BytesSource(b"hello"), Headers(), md5=HELLO_MD5, create=True)


async def delete(alt: S3Alt, name: ObjectName) -> object:
    await alt.delete(name)
    return None


async def page(alt: S3Alt, name: ObjectName) -> object:
    return await alt.page(ListRequest(name.bucket))


READS: tuple[Call, ...] = (get, head, page)
CHANGES: tuple[Call, ...] = (put, create, delete)
KEYS = pytest.mark.parametrize("name", [NAME, ODD], ids=["obstore", "boto3"])


async def failures(
    behave: Behaviour, name: ObjectName, calls: tuple[Call, ...], **options: object
) -> list[type[AltError]]:
    found = []
    async with liar(behave) as server, alt_at(server.endpoint, **options) as alt:  # type: ignore[arg-type]
        for call in calls:
            with pytest.raises(AltError) as caught:
                await call(alt, name)
            found.append(type(caught.value))
    return found


@KEYS
async def test_a_refused_connection_is_unavailable_even_to_a_change(name: ObjectName) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening
        async with alt_at(f"http://127.0.0.1:{unused.getsockname()[1]}") as alt:
            for call in READS + CHANGES:
                with pytest.raises(AltUnavailable):
                    await call(alt, name)


@KEYS
async def test_an_unknown_host_is_unavailable_even_to_a_change(name: ObjectName) -> None:
    async with alt_at("http://alt.invalid:9") as alt:
        for call in READS + CHANGES:
            with pytest.raises(AltUnavailable):
                await call(alt, name)


@KEYS
@pytest.mark.parametrize("behave", [silence, reset, garbage, says(500, "InternalError"), says(503), says(502)])
async def test_what_may_have_happened_is_uncertain_to_a_change_only(behave: Behaviour, name: ObjectName) -> None:
    assert await failures(behave, name, READS, retries=0) == [AltUnavailable] * 3
    assert await failures(behave, name, CHANGES, retries=0) == [AltUncertain] * 3


@KEYS
@pytest.mark.parametrize("code", ["SlowDown", "ServiceUnavailable"])
async def test_s3_saying_that_it_did_nothing_is_unavailable(code: str, name: ObjectName) -> None:
    assert await failures(says(503, code), name, CHANGES, retries=0) == [AltUnavailable] * 3


@KEYS
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"), (403, "QuotaExceeded"), (507, "XMinioStorageFull"), (401, "x"), (404, "NoSuchBucket"),
        (400, "InvalidRequest"), (403, "InvalidObjectState"), (501, "NotImplemented"),
    ],
)  # fmt: skip
async def test_what_no_retry_cures_is_refused(status: int, code: str, name: ObjectName) -> None:
    assert await failures(says(status, code), name, (get, page, *CHANGES)) == [AltRefused] * 5


@pytest.mark.parametrize(
    ("code", "expected"),
    [("AccessDenied", AltRefused), ("SlowDown", AltUnavailable), ("InternalError", AltUncertain)],
)
async def test_a_delete_that_fails_inside_a_200_is_no_success(code: str, expected: type[AltError]) -> None:
    body = f"<DeleteResult><Error><Key>u/1</Key><Code>{code}</Code><Message>m</Message></Error></DeleteResult>"
    assert await failures(says(200, body=body.encode()), NAME, (delete,), retries=0) == [expected]


async def test_a_wrong_region_is_refused() -> None:
    assert await failures(says(301, "PermanentRedirect"), NAME, (get, put)) == [AltRefused] * 2


@KEYS
async def test_a_missing_bucket_is_never_a_missing_object(name: ObjectName) -> None:
    async with liar(says(404, "NoSuchBucket")) as server, alt_at(server.endpoint) as alt:
        for call in (get, head, put, page):
            with pytest.raises(AltRefused) as caught:
                await call(alt, name)
            assert "bucket" in caught.value.hint


@KEYS
async def test_a_404_that_is_not_s3s_is_never_a_missing_object(name: ObjectName) -> None:
    assert await failures(says(404, body=b"<html>nothing here</html>"), name, (get, head)) == [AltDeferred] * 2


@KEYS
async def test_a_definite_404_is_missing(name: ObjectName) -> None:
    assert await failures(says(404, "NoSuchKey"), name, (get, head)) == [AltMissing] * 2


async def test_a_key_cannot_speak_for_the_server() -> None:
    name = ObjectName("mail", "Server returned non-2xx status code: 404: <Code>NoSuchKey</Code> kind: Connect")
    assert await failures(says(404, "NoSuchBucket"), name, (get,)) == [AltRefused]
    assert await failures(reset, name, (put,), retries=0) == [AltUncertain]


@KEYS
async def test_a_failed_condition_is_a_precondition(name: ObjectName) -> None:
    assert await failures(says(412, "PreconditionFailed"), name, (create, put, get)) == [AltPrecondition] * 3


@KEYS
async def test_a_conflict_of_two_creators_can_be_tried_again(name: ObjectName) -> None:
    assert await failures(says(409, "ConditionalRequestConflict"), name, (create,)) == [AltDeferred]


@KEYS
async def test_a_failed_put_is_tried_again(name: ObjectName) -> None:
    async with liar(in_turn(says(500, "InternalError"), STORED)) as server, alt_at(server.endpoint) as alt:
        assert await put(alt, name) == HELLO_MD5
        assert len(server.requests) == 2


@KEYS
@pytest.mark.parametrize("second", [says(403, "AccessDenied"), says(412, "PreconditionFailed"), says(503, "SlowDown")])
async def test_after_an_unknown_outcome_no_later_failure_is_certain(second: Behaviour, name: ObjectName) -> None:
    async with liar(in_turn(reset, second)) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltUncertain):
            await put(alt, name)
        assert len(server.requests) == 2


@KEYS
@pytest.mark.parametrize(
    ("behave", "call", "lost"),
    [
        ((STORED,), put, 0), ((reset, STORED), put, 1), ((says(503, "SlowDown"), STORED), put, 0),
        ((reset, DELETED), delete, 1), ((reset, HELLO), get, 0),
    ],
    ids=["heard", "lost", "not done", "a delete", "a read"],
)  # fmt: skip
async def test_who_asks_for_a_change_is_told_that_an_answer_was_lost_though_the_next_try_succeeds(
    behave: tuple[Behaviour, ...], call: Call, lost: int, name: ObjectName
) -> None:
    told: list[None] = []
    async with liar(in_turn(*behave)) as server, alt_at(server.endpoint) as alt:
        token = UNHEARD.set(lambda: told.append(None))
        try:
            await call(alt, name)
        finally:
            UNHEARD.reset(token)
    assert len(told) == lost


@KEYS
async def test_a_create_of_unknown_outcome_is_not_tried_again(name: ObjectName) -> None:
    """The second try would meet the object of the first and call it somebody else's."""
    async with liar(reset) as server, alt_at(server.endpoint, retries=3) as alt:
        with pytest.raises(AltUncertain):
            await create(alt, name)
        assert len(server.requests) == 1


@KEYS
async def test_every_operation_ends_in_time_when_nothing_answers(name: ObjectName) -> None:
    async with liar(silence) as server, alt_at(server.endpoint, retries=2, retry_timeout=Duration(1)) as alt:
        for call in READS + CHANGES:
            started = time.monotonic()
            with pytest.raises((AltUnavailable, AltUncertain)):
                await call(alt, name)
            assert time.monotonic() - started < 1 + 2 * TIMEOUT + 20  # two backoffs, and a slow machine


@KEYS
async def test_half_a_body_never_looks_whole(name: ObjectName) -> None:
    async with liar(half_a_body) as server, alt_at(server.endpoint) as alt:
        with pytest.raises((AltUnavailable, AltCorrupt)):
            await get(alt, name)


async def test_a_stored_object_with_another_md5_is_corrupt() -> None:
    answer = says(200, headers=b'ETag: "00000000000000000000000000000000"\r\n', body=b"")
    assert await failures(answer, NAME, (put,)) == [AltCorrupt]


async def test_an_etag_that_encryption_made_is_no_md5() -> None:
    encrypted = b'ETag: "00000000000000000000000000000000"\r\nx-amz-server-side-encryption: aws:kms\r\n'
    async with liar(says(200, headers=encrypted, body=b"")) as server, alt_at(server.endpoint) as alt:
        await put(alt, NAME)
        await put(alt, NAME)
        assert [request.split()[0] for request in server.requests] == ["PUT", "HEAD", "PUT"]  # asked once


async def test_a_range_answered_with_another_is_corrupt() -> None:
    from tierproxy.model import ByteRange

    lie = says(206, headers=b'Content-Range: bytes 0-4/100\r\nETag: "x"\r\n' + _date(), body=b"hello")
    async with liar(lie) as server, alt_at(server.endpoint) as alt:
        with pytest.raises((AltCorrupt, AltUnavailable)):
            await alt.get(NAME, ByteRange(50, 55))
        with pytest.raises((AltCorrupt, AltUnavailable)):
            await alt.get(ODD, ByteRange(50, 55))


async def test_credentials_of_the_environment_do_not_mix_with_configured_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-somebody-else")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    seen: list[bytes] = []

    async def note(one: Liar, request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request.lower())
        await HELLO(one, request, writer)

    async with liar(note) as server, alt_at(server.endpoint) as alt:
        assert await get(alt, NAME) == b"hello"
        assert await get(alt, ODD) == b"hello"
    assert all(b"x-amz-security-token" not in request for request in seen)


async def test_credentials_come_from_the_chain_when_none_are_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-the-chain")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen: list[bytes] = []

    async def note(one: Liar, request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        await HELLO(one, request, writer)

    async with liar(note) as server, alt_at(server.endpoint, access_key_id="", secret_access_key="") as alt:
        await get(alt, NAME)
        await get(alt, ODD)
    assert [b"Credential=from-the-chain/" in request for request in seen] == [True, True]


@KEYS
async def test_a_body_that_nobody_reads_gives_its_connection_back(name: ObjectName) -> None:
    async with liar(HELLO) as server, alt_at(server.endpoint) as alt:
        for _ in range(3):
            body = await alt.get(name)
            await body.close()
            with pytest.raises(AltUnavailable):
                await anext(body.chunks())
        assert await get(alt, name) == b"hello"


async def test_a_cancelled_read_ends_at_once() -> None:
    async with liar(silence) as server, alt_at(server.endpoint, request_timeout=Duration(30)) as alt:
        task = asyncio.create_task(get(alt, NAME))
        while not server.requests:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def _date() -> bytes:
    return b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n"
