"""What a review found in the alt tier: errors that say the wrong thing, ETags that are forgotten, slow clients."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.alt.liars import DATE, HELLO, Behaviour, Liar, in_turn, liar, says
from tests.alt.test_alt_trouble import HELLO_MD5, KEYS, NAME, alt_at, failures, get, head, put
from tierproxy.alt.answers import answer_of
from tierproxy.alt.limit import BODIES, Limited
from tierproxy.alt.memory import MemoryAlt
from tierproxy.errors import AltCorrupt, AltError, AltPrecondition, AltUnavailable, AltUncertain
from tierproxy.model import Headers, ObjectName, Tier
from tierproxy.testing.faults import BytesSource, Effect, FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import name as mail
from tierproxy.testing.rig import rig

OTHER = ObjectName("mail", "other")
ZEROS = b'ETag: "00000000000000000000000000000000"\r\n'
KMS = b"x-amz-server-side-encryption: aws:kms\r\n"
COPIED = b'<CopyObjectResult><ETag>"0123"</ETag><LastModified>2015-10-21T07:28:00Z</LastModified></CopyObjectResult>'


# ------------------------------------------------------------ what an error says


@KEYS
@pytest.mark.parametrize("then", [says(503, "SlowDown"), says(403, "AccessDenied"), says(404, "NoSuchKey")])
async def test_a_put_that_happened_and_cannot_be_verified_is_uncertain(name: ObjectName, then: Behaviour) -> None:
    stored_as_something = says(200, headers=ZEROS, body=b"")
    assert await failures(in_turn(stored_as_something, then), name, (put,), retries=0) == [AltUncertain]


@KEYS
async def test_deleting_what_is_not_there_is_fine(name: ObjectName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.alt.denials.DOUBT", 0.0)
    async with liar(says(404, "NoSuchKey")) as server, alt_at(server.endpoint) as alt:
        await alt.delete(name)


async def test_deleting_what_is_not_there_is_fine_inside_a_200_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.alt.denials.DOUBT", 0.0)
    answer = b"<DeleteResult><Error><Key>u/1</Key><Code>NoSuchKey</Code><Message>m</Message></Error></DeleteResult>"
    async with liar(in_turn(says(200, body=answer), says(404, "NoSuchKey"))) as server, alt_at(server.endpoint) as alt:
        await alt.delete(NAME)


@KEYS
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (301, "PermanentRedirect"), (400, "InvalidRequest"), (403, "AccessDenied"), (404, "NoSuchKey"),
        (404, "NoSuchBucket"), (409, "OperationAborted"), (412, "PreconditionFailed"), (500, "InternalError"),
        (501, "NotImplemented"), (503, "SlowDown"), (507, "XMinioStorageFull"), (418, ""),
    ],
)  # fmt: skip
async def test_status_and_code_are_read_out_of_what_the_client_library_says(
    name: ObjectName, status: int, code: str
) -> None:
    """obstore has no attribute for either: should its message change, this is where it shows."""
    async with liar(says(status, code)) as server, alt_at(server.endpoint, retries=0) as alt:
        for call in (get, put):
            with pytest.raises(AltError) as caught:
                await call(alt, name)
            assert caught.value.__cause__ is not None
            answer = answer_of(caught.value.__cause__)
            assert (answer.status, answer.code, answer.sent) == (status, code, True)


async def test_the_status_of_a_head_is_read_though_it_has_no_code() -> None:
    async with liar(says(403, "AccessDenied")) as server, alt_at(server.endpoint, retries=0) as alt:
        with pytest.raises(AltError) as caught:
            await head(alt, NAME)
        assert caught.value.__cause__ is not None
        assert (answer_of(caught.value.__cause__).status, answer_of(caught.value.__cause__).code) == (403, "")


# ------------------------------------------------------------ copies with a condition on the target


def copying(*answers: Behaviour) -> Behaviour:
    """The source is there, the target is not (by its body: a 404 to HEAD says little); ``answers`` to CopyObject."""
    put = in_turn(*answers)

    async def behave(one: Liar, request: bytes, writer: asyncio.StreamWriter) -> None:
        missing = says(404, "NoSuchKey") if b"/other" in request.split(b"\r\n", 1)[0] else HELLO
        await (put if request.startswith(b"PUT") else missing)(one, request, writer)

    return behave


async def test_a_server_that_knows_no_conditional_copy_is_asked_without() -> None:
    seen: list[bytes] = []
    answers = in_turn(says(501, "NotImplemented"), says(200, body=COPIED))

    async def note(one: Liar, request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request.lower())
        await answers(one, request, writer)

    async with liar(copying(note)) as server, alt_at(server.endpoint) as alt:
        assert await alt.copy(NAME, OTHER, None, create=True) == "0123"
    assert [b"\nif-none-match: *" in request for request in seen] == [True, False]


async def test_a_target_that_appears_during_a_copy_is_a_precondition() -> None:
    async with liar(copying(says(412, "PreconditionFailed"))) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltPrecondition):
            await alt.copy(NAME, OTHER, None, create=True)


async def test_a_source_that_changes_during_a_copy_can_be_tried_again() -> None:
    async with liar(copying(says(412, "PreconditionFailed"))) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltUnavailable):
            await alt.copy(NAME, OTHER, None, match=HELLO_MD5)


async def test_a_conditional_copy_of_unknown_outcome_is_not_tried_again() -> None:
    async with (
        liar(copying(says(500, "InternalError"))) as server,
        alt_at(server.endpoint, retries=3) as alt,
    ):
        with pytest.raises(AltUncertain):
            await alt.copy(NAME, OTHER, None, create=True)
        assert [request.split()[0] for request in server.requests].count("PUT") == 1


# ------------------------------------------------------------ ETags


async def test_an_uncertain_upload_in_parts_is_recognised(tmp_path: Path) -> None:
    memory = MemoryAlt(multipart_threshold=1000, part_size=1000)
    alt = FaultyAlt(memory)
    async with rig(tmp_path, alt=alt) as r:
        alt.fail("put", effect=Effect.DONE)
        written = await r.put("k", b"x" * 5000)
        assert written.entry.tiers == ("disk", "alt")
        assert memory.requests["put"] == 1


@pytest.mark.parametrize("options", [{"server_side_encryption": "aws:kms"}, {}])
async def test_where_an_etag_will_be_no_md5_the_clients_is_kept_beside(options: dict[str, str]) -> None:
    """By configuration from the first put on; where encryption is a default of the bucket, from the second."""
    seen: list[bytes] = []

    async def note(one: Liar, request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request.lower())
        await says(200, headers=ZEROS + KMS, body=b"")(one, request, writer)

    async with liar(note) as server, alt_at(server.endpoint, 1, **options) as alt:
        await put(alt, NAME)
        await put(alt, NAME)
    kept = [f"x-amz-meta-tierproxy-etag: {HELLO_MD5}".encode() in line for line in seen if line.startswith(b"put")]
    assert kept == [bool(options), True]


async def test_an_encrypted_object_of_another_writer_is_asked_about_once() -> None:
    async with (
        liar(says(200, headers=ZEROS + KMS + DATE, body=b"hello")) as server,
        alt_at(server.endpoint) as alt,
    ):
        assert [await alt.etag_is_md5(NAME), await alt.etag_is_md5(NAME)] == [False, False]
        assert [request.split()[0] for request in server.requests] == ["HEAD"]


@pytest.mark.parametrize("size", [5, 700_000])
async def test_an_etag_that_encryption_made_does_not_make_an_object_unreadable(tmp_path: Path, size: int) -> None:
    body = b"x" * size
    memory = MemoryAlt(encrypts=True)
    await memory.put(mail("k"), BytesSource(body), Headers(), md5="")
    async with rig(tmp_path, alt=memory) as r:
        assert await r.read("k") == (Tier.ALT, body)


async def test_bytes_that_do_not_fit_an_etag_that_is_an_md5_are_still_refused(tmp_path: Path) -> None:
    memory = MemoryAlt()
    await memory.put(mail("k"), BytesSource(b"right"), Headers(), md5="")
    memory.corrupt(mail("k"), b"wrong")
    async with rig(tmp_path, alt=memory) as r:
        with pytest.raises(AltCorrupt):
            await r.get("k")


# ------------------------------------------------------------ slow clients


async def small() -> FaultyAlt:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(NAME, BytesSource(b"hello"), Headers(), md5=HELLO_MD5)
    return alt


async def test_slow_readers_do_not_stop_other_requests() -> None:
    alt = Limited(await small(), 1)
    bodies = [await alt.get(NAME) for _ in range(BODIES)]
    await alt.head(NAME)
    await alt.put(NAME, BytesSource(b"x"), Headers(), md5="")
    await alt.copy(NAME, OTHER, None)
    await alt.delete(NAME)
    for body in bodies:
        await body.close()
    assert alt.running == 0


async def test_slow_senders_do_not_stop_other_requests() -> None:
    alt, gate = Limited(await small(), 1), Gate()

    async def slow() -> AsyncIterator[bytes]:
        await gate.passage()
        yield b"sent"

    sending = asyncio.create_task(alt.put_stream(OTHER, slow(), Headers()))
    await gate.reached()
    assert await get_all(alt, NAME) == b"hello"
    await alt.delete(NAME)
    gate.open()
    assert await sending == f"{hashlib.md5(hashlib.md5(b'sent').digest()).hexdigest()}-1"


async def test_whoever_reads_a_body_can_send_it_on() -> None:
    """As a copy by bytes does: it must not wait for a place that it holds itself."""
    alt = Limited(await small(), 1)
    bodies = [await alt.get(NAME) for _ in range(BODIES)]
    for body in bodies:
        await alt.put_stream(OTHER, body.chunks(), Headers())
    assert await get_all(alt, OTHER) == b"hello"


async def test_a_body_too_many_is_refused_and_does_not_hang() -> None:
    alt = Limited(await small(), 1, patience=0)
    bodies = [await alt.get(NAME) for _ in range(BODIES)]
    with pytest.raises(AltUnavailable) as caught:
        await alt.get(NAME)
    assert "concurrency" in caught.value.hint
    await bodies[0].close()
    assert await get_all(alt, NAME) == b"hello"


async def get_all(alt: Limited, name: ObjectName) -> bytes:
    body = await alt.get(name)
    return b"".join([chunk async for chunk in body.chunks()])
