"""Reading objects through the probe: GET and HEAD, whole, in ranges, and cut off."""

from __future__ import annotations

import hashlib

import pytest

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Duration
from tierproxy.errors import (
    AltRefused,
    AltUnavailable,
    Busy,
    DiskUnavailable,
    LostInAlt,
    ShuttingDown,
    Unreadable,
)
from tierproxy.model import Headers
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.exchange import Cut
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Ending, Probe

MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"
MD5 = hashlib.md5(MAIL).hexdigest()


def serve(store: MemoryStore, **listen: object) -> Probe:
    return Probe(ObjectApp(store, Open(), ListenSection(auth="none", **listen), SystemClock()))  # type: ignore[arg-type]


# ---------------------------------------------------------------- reading


async def test_an_object_comes_back_with_its_headers_and_where_it_came_from() -> None:
    store = MemoryStore()
    store.put("ann/1", MAIL, Headers(content_type="message/rfc822", metadata={"folder": "INBOX"}))
    answer = await serve(store).get("/mail/ann/1")
    assert (answer.status, answer.body) == (200, MAIL)
    assert answer.headers["etag"] == f'"{MD5}"'
    assert answer.headers["content-length"] == str(len(MAIL))
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answer.headers["x-amz-meta-folder"] == "INBOX"
    assert answer.headers["x-tierproxy-tier"] == "memory"
    assert answer.headers["x-tierproxy-tiers"] == "disk,alt"
    assert answer.headers["x-tierproxy-fill"] == "hit"
    assert answer.headers["server-timing"] == "disk;dur=0.50"
    assert answer.headers["x-amz-request-id"]
    assert store.open_readings == 0


async def test_content_at_hand_goes_out_in_one_message() -> None:
    store = MemoryStore()
    store.put("1", MAIL * 5000)
    answer = await serve(store).get("/mail/1")
    assert answer.pieces == (MAIL * 5000,)


async def test_a_long_object_is_streamed_piece_by_piece() -> None:
    store = MemoryStore(chunk=10)
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1")
    assert answer.body == MAIL
    assert len(answer.pieces) == 4
    assert store.open_readings == 0


async def test_the_empty_object_has_no_bytes_streamed_or_not() -> None:
    for chunk in (0, 10):
        store = MemoryStore(chunk=chunk)
        store.put("1", b"")
        answer = await serve(store).get("/mail/1")
        assert (answer.status, answer.body, answer.whole) == (200, b"", True)


@pytest.mark.parametrize(
    ("asked", "got", "range"),
    [
        ("bytes=0-3", MAIL[:4], "bytes 0-3/31"),
        ("bytes=27-", MAIL[27:], "bytes 27-30/31"),
        ("bytes=-4", MAIL[-4:], "bytes 27-30/31"),
        ("bytes=5-999", MAIL[5:], "bytes 5-30/31"),
    ],
)
async def test_a_range_is_a_206_with_exactly_these_bytes(asked: str, got: bytes, range: str) -> None:
    store = MemoryStore(chunk=3)
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1", {"range": asked})
    assert (answer.status, answer.body) == (206, got)
    assert answer.headers["content-range"] == range
    assert answer.headers["content-length"] == str(len(got))


async def test_a_range_beyond_the_end_is_416_and_tells_the_size() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1", {"range": "bytes=31-"})
    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers["content-range"] == "bytes */31"


async def test_if_none_match_is_304_with_validators_and_no_body() -> None:
    store = MemoryStore()
    store.put("1", MAIL, Headers(cache_control="no-cache"))
    answer = await serve(store).get("/mail/1", {"if-none-match": f'"{MD5}"'})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == f'"{MD5}"'
    assert answer.headers["cache-control"] == "no-cache"
    assert "last-modified" in answer.headers
    head = await serve(store).head("/mail/1", {"if-none-match": f'"{MD5}"'})
    assert (head.status, head.headers["etag"]) == (304, f'"{MD5}"')


async def test_if_match_of_another_content_is_412() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1", {"if-match": '"0123"'})
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert store.open_readings == 0


async def test_if_range_of_another_content_gives_the_whole_object() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1", {"range": "bytes=0-3", "if-range": '"0123"'})
    assert (answer.status, answer.body) == (200, MAIL)


async def test_response_overrides_replace_the_stored_headers() -> None:
    store = MemoryStore()
    store.put("1", MAIL, Headers(content_type="message/rfc822"))
    answer = await serve(store).get("/mail/1?response-content-type=text%2Fplain&response-content-disposition=inline")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-disposition"] == "inline"


async def test_a_part_number_gives_the_bytes_of_that_part() -> None:
    store = MemoryStore()
    store.put("1", b"aaabbbbcc", parts=(3, 4, 2))
    answer = await serve(store).get("/mail/1?partNumber=2")
    assert (answer.status, answer.body) == (206, b"bbbb")
    assert answer.headers["x-amz-mp-parts-count"] == "3"
    assert answer.headers["content-range"] == "bytes 3-6/9"
    beyond = await serve(store).get("/mail/1?partNumber=4")
    assert (beyond.status, beyond.code) == (416, "InvalidPartNumber")
    both = await serve(store).get("/mail/1?partNumber=1", {"range": "bytes=0-1"})
    assert (both.status, both.code) == (400, "InvalidRequest")


async def test_checksums_are_shown_when_asked_for() -> None:
    store = MemoryStore()
    store.put("1", MAIL, Headers(checksums={"crc32": "AAAAAA=="}, checksum_type="FULL_OBJECT"))
    plain = await serve(store).get("/mail/1")
    asked = await serve(store).get("/mail/1", {"x-amz-checksum-mode": "ENABLED"})
    assert "x-amz-checksum-crc32" not in plain.headers
    assert asked.headers["x-amz-checksum-crc32"] == "AAAAAA=="
    assert asked.headers["x-amz-checksum-type"] == "FULL_OBJECT"


async def test_head_says_what_get_would_without_a_body() -> None:
    store = MemoryStore()
    store.put("1", MAIL, Headers(content_type="message/rfc822"))
    head = await serve(store).head("/mail/1")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(MAIL))
    assert head.headers["content-type"] == "message/rfc822"
    assert head.headers["x-tierproxy-tiers"] == "disk,alt"
    part = await serve(store).head("/mail/1", {"range": "bytes=0-3"})
    assert (part.status, part.headers["content-length"]) == (206, "4")


async def test_head_of_nothing_is_a_bare_404() -> None:
    answer = await serve(MemoryStore()).head("/mail/none")
    assert (answer.status, answer.body) == (404, b"")
    assert answer.headers["x-amz-request-id"]


async def test_a_missing_key_is_an_xml_404() -> None:
    answer = await serve(MemoryStore()).get("/mail/no%20ne")
    assert (answer.status, answer.code) == (404, "NoSuchKey")
    assert answer.text("Resource") == "/mail/no%20ne"
    assert answer.text("RequestId") == answer.headers["x-amz-request-id"]
    assert answer.headers["content-type"] == "application/xml"


async def test_a_missing_bucket_is_another_404() -> None:
    answer = await serve(MemoryStore()).get("/nowhere/key")
    assert (answer.status, answer.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AltUnavailable(), 503, "ServiceUnavailable"),
        (AltRefused(), 502, "BadGateway"),
        (LostInAlt(), 503, "ServiceUnavailable"),
        (Unreadable(), 503, "ServiceUnavailable"),
        (DiskUnavailable(), 503, "ServiceUnavailable"),
        (Busy(), 503, "SlowDown"),
        (ShuttingDown(), 503, "ServiceUnavailable"),
    ],
)
async def test_trouble_is_never_a_404_and_carries_a_hint(error: Exception, status: int, code: str) -> None:
    store = MemoryStore(fail=error)
    for answer in (await serve(store).get("/mail/1"), await serve(store).get("/mail?list-type=2")):
        assert (answer.status, answer.code) == (status, code)
        if status == 503:
            assert int(answer.headers["retry-after"]) > 0
    if getattr(error, "hint", ""):
        assert answer.text("Hint") == error.hint  # type: ignore[attr-defined]
    head = await serve(store).head("/mail/1")
    assert (head.status, head.body) == (status, b"")


async def test_a_bug_is_a_500_that_tells_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(fail=RuntimeError("secret detail"))
    answer = await serve(store).get("/mail/1")
    assert (answer.status, answer.code) == (500, "InternalError")
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text
    assert caplog.records[-1].exc_info


# ---------------------------------------------------------------- answers cut off


async def test_a_body_that_breaks_in_the_middle_is_cut_and_never_looks_whole() -> None:
    store = MemoryStore(chunk=4, break_at=8, break_with=AltUnavailable())
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1")
    assert answer.ending is Ending.CUT
    assert answer.body == MAIL[:8]
    assert store.open_readings == 0


async def test_a_bug_in_the_middle_of_a_body_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(chunk=4, break_at=8)
    store.put("1", MAIL)
    assert (await serve(store).get("/mail/1")).ending is Ending.CUT
    assert "secret detail" in caplog.text


async def test_what_fails_before_the_first_byte_is_still_an_answer() -> None:
    store = MemoryStore(chunk=4, break_at=0, break_with=AltUnavailable())
    store.put("1", MAIL)
    answer = await serve(store).get("/mail/1")
    assert (answer.status, answer.code, answer.whole) == (503, "ServiceUnavailable", True)
    assert store.open_readings == 0


async def test_a_stream_that_ends_short_is_cut() -> None:
    class Short(MemoryStore):
        async def open(self, *args: object, **kwargs: object):  # type: ignore[no-untyped-def]
            reading = await super().open(*args, **kwargs)  # type: ignore[arg-type]
            reading._data = reading._data[:-1]
            return reading

    store = Short(chunk=4)
    store.put("1", MAIL)
    probe = serve(store)
    assert (await probe.get("/mail/1")).ending is Ending.CUT

    async def careless(message: object) -> None:
        """A server that does not count."""

    with pytest.raises(Cut):
        await probe.app(probe.scope("GET", "/mail/1", {}), careless, careless)  # type: ignore[arg-type]


async def test_a_reader_that_takes_nothing_stops_the_store_from_reading_on() -> None:
    store = MemoryStore(chunk=4)
    store.put("1", MAIL)
    async with serve(store).call("GET", "/mail/1", hold=True) as call:
        await call.started()
        await call.take(2)
        await call.received(8)
        assert store.chunks_read == 3  # two taken, the third waits at the door
        await call.take(10)
        answer = await call.answer()
    assert answer.body == MAIL


async def test_a_reader_that_takes_nothing_for_too_long_is_cut() -> None:
    store = MemoryStore(chunk=4)
    store.put("1", MAIL)
    async with serve(store, body_timeout=Duration(0.02)).call("GET", "/mail/1", hold=True) as call:
        assert await call.ended() is Ending.CUT
    assert store.open_readings == 0


async def test_a_reader_that_leaves_stops_its_own_reading() -> None:
    store = MemoryStore(chunk=4)
    store.put("1", MAIL)
    async with serve(store).call("GET", "/mail/1", hold=True) as call:
        await call.take(1)
        await call.received(4)
        call.leave()
        await call.ended()
    assert store.chunks_read < 5
    assert store.open_readings == 0
