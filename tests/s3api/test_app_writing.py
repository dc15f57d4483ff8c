"""Writing and deleting objects through the probe."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import (
    AltUnavailable,
    OutOfSpace,
    TooLarge,
)
from tierproxy.model import Ack, Headers
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Ending, Probe

MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"
MD5 = hashlib.md5(MAIL).hexdigest()


def serve(store: MemoryStore, **listen: object) -> Probe:
    return Probe(ObjectApp(store, Open(), ListenSection(auth="none", **listen), SystemClock()))  # type: ignore[arg-type]


# ---------------------------------------------------------------- writing


async def test_a_put_is_stored_with_all_it_says_of_itself() -> None:
    store = MemoryStore()
    answer = await serve(store).put(
        "/mail/ann/%C3%A4%2B+1",
        MAIL,
        {
            "content-type": "message/rfc822",
            "cache-control": "no-store",
            "content-encoding": "aws-chunked,gzip",
            "x-amz-meta-Folder": "INBOX",
            "x-amz-acl": "private",
            "x-amz-storage-class": "STANDARD",
            "x-tierproxy-ack": "disk",
        },
    )
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["etag"] == f'"{MD5}"'
    assert answer.headers["x-tierproxy-tiers"] == "disk,alt"
    assert answer.headers["server-timing"] == "disk;dur=1.25"
    assert store.data("ann/ä++1") == MAIL
    write = store.writes[0]
    assert write.ack is Ack.DISK
    assert write.headers == Headers(
        content_type="message/rfc822", cache_control="no-store", content_encoding="gzip", metadata={"folder": "INBOX"}
    )


async def test_the_empty_object_can_be_put() -> None:
    store = MemoryStore()
    answer = await serve(store).put("/mail/1", b"")
    assert answer.status == 200
    assert store.data("1") == b""


async def test_a_declared_checksum_is_stored_and_answered() -> None:
    store = MemoryStore()
    crc = base64.b64encode(zlib.crc32(MAIL).to_bytes(4, "big")).decode()
    answer = await serve(store).put("/mail/1", MAIL, {"x-amz-checksum-crc32": crc})
    assert answer.headers["x-amz-checksum-crc32"] == crc
    assert answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"


@pytest.mark.parametrize("told", [True, False])
async def test_an_aws_chunked_body_with_a_trailer_is_decoded(told: bool) -> None:
    store = MemoryStore()
    crc = base64.b64encode(zlib.crc32(MAIL).to_bytes(4, "big")).decode()
    raw = (
        b"5\r\n" + MAIL[:5] + b"\r\n1a\r\n" + MAIL[5:] + b"\r\n0\r\nx-amz-checksum-crc32:" + crc.encode() + b"\r\n\r\n"
    )
    headers = {
        **({"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"} if told else {}),
        "x-amz-decoded-content-length": str(len(MAIL)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        "content-encoding": "aws-chunked",
    }
    answer = await serve(store).put("/mail/1", raw, headers)
    assert answer.status == 200
    assert store.data("1") == MAIL
    assert answer.headers["x-amz-checksum-crc32"] == crc
    wrong = await serve(store).put("/mail/2", raw.replace(crc.encode(), b"AAAAAA=="), headers)
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    assert len(store.objects) == 1


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-md5": base64.b64encode(bytes(16)).decode()}, "BadDigest"),
        ({"content-md5": "nonsense"}, "InvalidDigest"),
        ({"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}, "BadDigest"),
        ({"x-amz-content-sha256": "0" * 64}, "XAmzContentSHA256Mismatch"),
        ({"x-tierproxy-ack": "perhaps"}, "InvalidArgument"),
        ({"x-amz-meta-long": "x" * 3000}, "MetadataTooLarge"),
        ({"x-amz-storage-class": "GLACIER"}, "InvalidStorageClass"),
    ],
)
async def test_what_is_not_as_declared_is_refused_and_not_stored(headers: dict[str, str], code: str) -> None:
    store = MemoryStore()
    answer = await serve(store).put("/mail/1", MAIL, headers)
    assert (answer.status, answer.code) == (400, code)
    assert not store.objects


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-acl": "public-read"},
        {"x-amz-grant-read": "id=1"},
        {"x-amz-tagging": "a=b"},
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
        {"x-amz-server-side-encryption": "aws:kms"},
        {"x-amz-write-offset-bytes": "0"},
        {"x-amz-website-redirect-location": "/x"},
    ],
)
async def test_what_a_put_asks_for_and_is_not_done_is_501(headers: dict[str, str]) -> None:
    store = MemoryStore()
    answer = await serve(store).put("/mail/1", MAIL, headers)
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert not store.objects


async def test_a_put_without_a_length_is_411() -> None:
    answer = await serve(MemoryStore()).request("PUT", "/mail/1", [b"x"], {"transfer-encoding": "chunked"})
    assert (answer.status, answer.code) == (411, "MissingContentLength")


async def test_a_put_that_is_too_large_is_refused_before_a_byte_is_read() -> None:
    async with serve(MemoryStore(), max_put_size=Size(10)).call("PUT", "/mail/1", {"content-length": "11"}) as call:
        answer = await call.answer()
        assert call.asked == 0
    assert (answer.status, answer.code) == (400, "EntityTooLarge")


async def test_if_none_match_star_writes_once() -> None:
    store = MemoryStore()
    first = await serve(store).put("/mail/1", MAIL, {"if-none-match": "*"})
    second = await serve(store).put("/mail/1", b"other", {"if-none-match": "*"})
    assert (first.status, second.status, second.code) == (200, 412, "PreconditionFailed")
    assert store.data("1") == MAIL


async def test_if_match_replaces_what_the_client_knows() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    wrong = await serve(store).put("/mail/1", b"other", {"if-match": '"0"'})
    right = await serve(store).put("/mail/1", b"other", {"if-match": f'"{MD5}"'})
    assert (wrong.status, right.status) == (412, 200)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OutOfSpace(), 507, "InsufficientStorage"),
        (TooLarge(), 400, "EntityTooLarge"),
        (AltUnavailable(), 503, "ServiceUnavailable"),
    ],
)
async def test_a_write_the_store_refuses_tells_why(error: Exception, status: int, code: str) -> None:
    answer = await serve(MemoryStore(fail=error)).put("/mail/1", MAIL)
    assert (answer.status, answer.code) == (status, code)


async def test_a_body_is_pulled_only_as_the_store_asks_for_it() -> None:
    store = MemoryStore()
    async with serve(store).call("PUT", "/mail/1", {"content-length": "8"}) as call:
        await call.send(b"0123")
        await call.send(b"4567", last=True)
        answer = await call.answer()
        assert call.asked == 2
    assert answer.status == 200


async def test_an_error_known_beforehand_leaves_the_body_unread_and_closes_when_the_client_waits_for_100() -> None:
    headers = {"content-length": "8", "expect": "100-continue", "x-amz-tagging": "a=b"}
    async with serve(MemoryStore()).call("PUT", "/mail/1", headers) as call:
        answer = await call.answer()
        assert call.asked == 0
    assert answer.status == 501
    assert answer.headers["connection"] == "close"


async def test_a_client_that_leaves_in_the_middle_of_a_put_abandons_the_write() -> None:
    store = MemoryStore()
    async with serve(store).call("PUT", "/mail/1", {"content-length": "8"}) as call:
        await call.send(b"0123")
        call.leave()
        assert await call.ended() is Ending.SILENT
    assert len(store.abandoned) == 1
    assert not store.objects


async def test_a_client_that_falls_silent_in_the_middle_of_a_put_is_given_up() -> None:
    store = MemoryStore()
    async with serve(store, body_timeout=Duration(0.02)).call("PUT", "/mail/1", {"content-length": "8"}) as call:
        await call.send(b"0123")
        answer = await call.answer()
    assert (answer.status, answer.code) == (400, "RequestTimeout")
    assert answer.headers["connection"] == "close"
    assert len(store.abandoned) == 1
    assert not store.objects


# ---------------------------------------------------------------- deleting


async def test_a_delete_is_204_whether_or_not_it_was_there() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    for _ in range(2):
        answer = await serve(store).delete("/mail/1")
        assert (answer.status, answer.body) == (204, b"")
    assert not store.objects


async def test_a_delete_with_if_match_spares_another_content() -> None:
    store = MemoryStore()
    store.put("1", MAIL)
    wrong = await serve(store).delete("/mail/1", {"if-match": '"0"'})
    right = await serve(store).delete("/mail/1", {"if-match": f'"{MD5}"'})
    assert (wrong.status, right.status) == (412, 204)
