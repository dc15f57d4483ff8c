"""Copies and multipart uploads through the probe, and answers that take long."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import zlib

import pytest

from tierproxy.config.sections import ListenSection
from tierproxy.config.values import Size
from tierproxy.errors import AltUnavailable
from tierproxy.model import Headers, ObjectName
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Answer, Ending, Probe

MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"
MD5 = hashlib.md5(MAIL).hexdigest()


def serve(store: MemoryStore, *, clock: VirtualClock | None = None, **listen: object) -> Probe:
    settings = ListenSection(auth="none", **listen)  # type: ignore[arg-type]
    return Probe(ObjectApp(store, Open(), settings, clock or VirtualClock()))


def crc(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


# ---------------------------------------------------------------- CopyObject


def mail_store() -> MemoryStore:
    store = MemoryStore()
    store.put("from", MAIL, Headers(content_type="message/rfc822", metadata={"folder": "INBOX"}))
    return store


async def copy(store: MemoryStore, target: str = "/mail/to", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await serve(store).put(target, b"", {"x-amz-copy-source": "/mail/from", **named})


async def test_a_copy_keeps_bytes_and_headers() -> None:
    store = mail_store()
    answer = await copy(store)
    assert (answer.status, answer.text("ETag")) == (200, f'"{MD5}"')
    assert answer.text("LastModified") == "2023-11-14T22:13:20.250Z"
    assert answer.headers["x-tierproxy-tiers"] == "disk,alt"
    entry, data = store.objects[ObjectName("mail", "to")]
    assert data == MAIL
    assert entry.headers == Headers(content_type="message/rfc822", metadata={"folder": "INBOX"})


async def test_replace_gives_the_copy_headers_of_its_own() -> None:
    store = mail_store()
    await copy(store, x_amz_metadata_directive="REPLACE", x_amz_meta_folder="Trash")
    entry = store.objects[ObjectName("mail", "to")][0]
    assert entry.headers == Headers(metadata={"folder": "Trash"})
    itself = await copy(store, "/mail/from", x_amz_metadata_directive="REPLACE")
    assert itself.status == 200


async def test_a_copy_onto_itself_that_changes_nothing_is_refused() -> None:
    answer = await copy(mail_store(), "/mail/from")
    assert (answer.status, answer.code) == (400, "InvalidRequest")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-copy-source-if-match", '"0123"'),
        ("x-amz-copy-source-if-none-match", f'"{MD5}"'),
        ("x-amz-copy-source-if-modified-since", "Wed, 15 Nov 2023 00:00:00 GMT"),
        ("x-amz-copy-source-if-unmodified-since", "Mon, 13 Nov 2023 00:00:00 GMT"),
    ],
)
async def test_conditions_on_the_source_of_a_copy_are_412(name: str, value: str) -> None:
    store = mail_store()
    answer = await copy(store, **{name: value})
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert ObjectName("mail", "to") not in store.objects


async def test_a_copy_is_refused_what_it_asks_for_and_is_not_done() -> None:
    store = mail_store()
    assert (await copy(store, x_amz_copy_source="mail/none")).code == "NoSuchKey"
    assert (await copy(store, x_amz_copy_source="mail")).code == "InvalidArgument"
    assert (await copy(store, x_amz_copy_source="mail/from?versionId=3")).code == "NotImplemented"
    assert (await copy(store, x_amz_copy_source="mail/from?versionId=null")).status == 200
    assert (await copy(store, x_amz_metadata_directive="MERGE")).code == "InvalidArgument"
    assert (await copy(store, if_none_match="*")).code == "PreconditionFailed"
    small = serve(store, max_put_size=Size(5))
    assert (await small.put("/mail/x", b"", {"x-amz-copy-source": "mail/from"})).code == "InvalidRequest"


# ---------------------------------------------------------------- multipart


async def begin(probe: Probe, target: str = "/mail/big", headers: dict[str, str] | None = None) -> str:
    answer = await probe.post(f"{target}?uploads", b"", headers)
    assert (answer.status, answer.text("Bucket")) == (200, "mail")
    return answer.text("UploadId") or ""


async def put_parts(probe: Probe, upload: str, *parts: bytes, target: str = "/mail/big") -> list[str]:
    etags = []
    for number, part in enumerate(parts, 1):
        answer = await probe.put(f"{target}?partNumber={number}&uploadId={upload}", part)
        assert answer.status == 200
        etags.append(answer.headers["etag"])
    return etags


def completion(*parts: tuple[int, str], extra: str = "") -> bytes:
    named = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag>{extra}</Part>" for n, etag in parts)
    return f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()


async def complete(
    probe: Probe, upload: str, body: bytes, headers: dict[str, str] | None = None, target: str = "/mail/big"
) -> Answer:
    return await probe.post(f"{target}?uploadId={upload}", body, headers)


async def test_parts_become_one_object() -> None:
    store = MemoryStore()
    probe = serve(store)
    upload = await begin(probe, headers={"content-type": "message/rfc822", "x-amz-meta-a": "b"})
    etags = await put_parts(probe, upload, b"aaa", b"bbbb", b"c")
    answer = await complete(probe, upload, completion(*enumerate(etags, 1)))
    assert answer.status == 200
    assert (answer.text("Key"), answer.text("Location")) == ("big", "http://127.0.0.1/mail/big")
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in (b"aaa", b"bbbb", b"c"))).hexdigest()
    assert answer.text("ETag") == f'"{digest}-3"'
    entry, data = store.objects[ObjectName("mail", "big")]
    assert data == b"aaabbbbc"
    assert entry.headers is not None
    assert (entry.headers.content_type, entry.headers.metadata) == ("message/rfc822", {"a": "b"})
    assert (await complete(probe, upload, completion((1, etags[0])))).code == "NoSuchUpload"


async def test_a_completion_whose_answer_was_lost_can_be_repeated() -> None:
    probe = serve(MemoryStore())
    upload = await begin(probe)
    etags = await put_parts(probe, upload, b"aaa", b"b")
    body = completion(*enumerate(etags, 1))
    first = await complete(probe, upload, body)
    again = await complete(probe, upload, body)
    assert (again.status, again.text("ETag")) == (200, first.text("ETag"))
    await probe.put("/mail/big", b"newer")
    assert (await complete(probe, upload, body)).code == "NoSuchUpload"
    assert (await complete(probe, upload, completion((1, "not hex")))).code == "NoSuchUpload"
    await probe.delete("/mail/big")
    assert (await complete(probe, upload, body)).code == "NoSuchUpload"


async def test_checksums_of_parts_become_a_composite_one() -> None:
    store = MemoryStore()
    probe = serve(store)
    upload = await begin(probe, headers={"x-amz-checksum-algorithm": "CRC32"})
    etags = await put_parts(probe, upload, b"aaa", b"b")
    whole = crc(zlib.crc32(b"aaa").to_bytes(4, "big") + zlib.crc32(b"b").to_bytes(4, "big"))
    wrong = await complete(probe, upload, completion(*enumerate(etags, 1)), {"x-amz-checksum-crc32": "AAAAAA=="})
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    answer = await complete(probe, upload, completion(*enumerate(etags, 1)), {"x-amz-checksum-crc32": f"{whole}-2"})
    assert (answer.text("ChecksumCRC32"), answer.text("ChecksumType")) == (f"{whole}-2", "COMPOSITE")
    shown = await probe.head("/mail/big", {"x-amz-checksum-mode": "ENABLED"})
    assert shown.headers["x-amz-checksum-crc32"] == f"{whole}-2"


async def test_checksums_of_parts_become_that_of_the_whole_object() -> None:
    probe = serve(MemoryStore())
    upload = await begin(probe, headers={"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
    etags = await put_parts(probe, upload, b"aaa", b"b")
    answer = await complete(probe, upload, completion(*enumerate(etags, 1)), {"x-amz-mp-object-size": "4"})
    assert (answer.text("ChecksumCRC32"), answer.text("ChecksumType")) == (crc(b"aaab"), "FULL_OBJECT")


async def test_a_part_copied_from_an_object_counts_as_one() -> None:
    store = mail_store()
    probe = serve(store)
    upload = await begin(probe)
    source = {"x-amz-copy-source": "mail/from", "x-amz-copy-source-range": "bytes=0-4"}
    first = await probe.put(f"/mail/big?partNumber=1&uploadId={upload}", b"", source)
    second = await probe.put(f"/mail/big?partNumber=2&uploadId={upload}", b"", {"x-amz-copy-source": "mail/from"})
    assert (first.status, first.xml.tag) == (200, "CopyPartResult")
    body = completion((1, first.text("ETag") or ""), (2, second.text("ETag") or ""))
    assert (await complete(probe, upload, body)).status == 200
    assert store.data("big") == b"From:" + MAIL
    other = await begin(probe)
    beyond = {"x-amz-copy-source": "mail/from", "x-amz-copy-source-range": "bytes=0-99"}
    assert (await probe.put(f"/mail/big?partNumber=1&uploadId={other}", b"", beyond)).code == "InvalidArgument"


async def test_what_is_wrong_with_a_completion_is_told() -> None:
    probe = serve(MemoryStore())
    upload = await begin(probe, headers={"x-amz-checksum-algorithm": "CRC32"})
    one, two, three = await put_parts(probe, upload, b"aaa", b"b", b"c")
    cases = [
        (completion((1, one), (2, two), (3, three)), "EntityTooSmall"),
        (completion((2, two), (1, one)), "InvalidPartOrder"),
        (completion((1, two)), "InvalidPart"),
        (completion((4, one)), "InvalidPart"),
        (completion((1, one), extra="<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"), "InvalidPart"),
        (completion(), "MalformedXML"),
        (b"<CompleteMultipartUpload>", "MalformedXML"),
    ]
    for body, code in cases:
        answer = await complete(probe, upload, body)
        assert (answer.status, answer.code) == (400, code)
    sized = await complete(probe, upload, completion((1, one)), {"x-amz-mp-object-size": "4"})
    assert sized.code == "InvalidRequest"
    assert (await complete(probe, upload, completion((1, one)))).status == 200


async def test_a_wrong_part_number_or_upload_is_told() -> None:
    probe = serve(MemoryStore())
    upload = await begin(probe)
    assert (await probe.put(f"/mail/big?partNumber=0&uploadId={upload}", b"x")).code == "InvalidArgument"
    assert (await probe.put(f"/mail/big?partNumber=10001&uploadId={upload}", b"x")).code == "InvalidArgument"
    assert (await probe.put(f"/mail/big?uploadId={upload}", b"x")).code == "InvalidArgument"
    assert (await probe.put("/mail/big?partNumber=1&uploadId=other", b"x")).code == "NoSuchUpload"
    assert (await probe.put(f"/mail/small?partNumber=1&uploadId={upload}", b"x")).code == "NoSuchUpload"


async def test_parts_are_listed_in_pages() -> None:
    probe = serve(MemoryStore())
    upload = await begin(probe, headers={"x-amz-checksum-algorithm": "CRC32"})
    await put_parts(probe, upload, b"aaa", b"bbb", b"c")
    first = await probe.get(f"/mail/big?uploadId={upload}&max-parts=2")
    assert first.texts("Part/PartNumber") == ["1", "2"]
    assert (first.text("IsTruncated"), first.text("NextPartNumberMarker")) == ("true", "2")
    assert first.text("Part/ChecksumCRC32") == crc(b"aaa")
    assert (first.text("ChecksumAlgorithm"), first.text("ChecksumType")) == ("CRC32", "COMPOSITE")
    rest = await probe.get(f"/mail/big?uploadId={upload}&part-number-marker=2")
    assert (rest.texts("Part/Size"), rest.text("IsTruncated")) == (["1"], "false")


async def test_uploads_are_listed_in_pages() -> None:
    probe = serve(MemoryStore())
    ids = [await begin(probe, f"/mail/{key}") for key in ("a", "a", "b")]
    first = await probe.get("/mail?uploads&max-uploads=1")
    assert first.texts("Upload/UploadId") == [ids[0]]
    assert first.text("IsTruncated") == "true"
    marker = f"key-marker={first.text('NextKeyMarker')}&upload-id-marker={first.text('NextUploadIdMarker')}"
    assert (await probe.get(f"/mail?uploads&{marker}")).texts("Upload/UploadId") == ids[1:]
    assert (await probe.get("/mail?uploads&key-marker=a")).texts("Upload/Key") == ["b"]
    assert (await probe.get("/mail?uploads&prefix=b")).texts("Upload/Key") == ["b"]
    assert (await probe.get("/mail?uploads&delimiter=/")).status == 501


async def test_an_aborted_upload_is_gone() -> None:
    probe = serve(MemoryStore())
    upload = await begin(probe)
    assert (await probe.delete(f"/mail/big?uploadId={upload}")).status == 204
    assert (await probe.delete(f"/mail/big?uploadId={upload}")).code == "NoSuchUpload"


async def test_a_client_that_leaves_in_the_middle_of_a_part_abandons_it() -> None:
    store = MemoryStore()
    probe = serve(store)
    upload = await begin(probe)
    target = f"/mail/big?partNumber=1&uploadId={upload}"
    async with probe.call("PUT", target, {"content-length": "8"}) as call:
        await call.send(b"0123")
        call.leave()
        assert await call.ended() is Ending.SILENT
    assert store.abandoned
    assert not (await probe.get(f"/mail/big?uploadId={upload}")).texts("Part/PartNumber")


# ---------------------------------------------------------------- answers that take long


async def slow_copy(store: MemoryStore, clock: VirtualClock, seconds: float) -> Answer:
    """A copy that takes ``seconds``."""
    store.gate = asyncio.Event()
    probe = serve(store, clock=clock)
    async with probe.call("PUT", "/mail/to", {"x-amz-copy-source": "mail/from", "content-length": "0"}) as call:
        await clock.settle()
        await clock.advance(seconds)
        store.gate.set()
        return await call.answer()


async def test_an_outcome_within_ten_seconds_is_an_ordinary_answer() -> None:
    answer = await slow_copy(mail_store(), VirtualClock(), 9)
    assert answer.body.startswith(b"<?xml")
    assert "content-length" in answer.headers


async def test_a_slow_outcome_is_kept_alive_by_spaces() -> None:
    answer = await slow_copy(mail_store(), VirtualClock(), 35)
    assert answer.pieces[0] == b'<?xml version="1.0" encoding="UTF-8"?>\n'
    assert answer.pieces[1:-1] == (b" ", b" ")
    assert (answer.status, answer.text("ETag")) == (200, f'"{MD5}"')
    assert "content-length" not in answer.headers


async def test_a_slow_failure_is_an_error_in_the_body() -> None:
    store = mail_store()
    clock = VirtualClock()
    probe = serve(store, clock=clock)
    upload = await begin(probe)
    etags = await put_parts(probe, upload, b"aaa")
    store.gate = asyncio.Event()
    body = completion((1, etags[0]))
    async with probe.call("POST", f"/mail/big?uploadId={upload}", {"content-length": str(len(body))}) as call:
        await call.send(body, last=True)
        await clock.settle()
        await clock.advance(15)
        store.fail = AltUnavailable()
        store.gate.set()
        answer = await call.answer()
    assert (answer.status, answer.code) == (200, "ServiceUnavailable")


async def test_work_goes_on_to_its_end_when_the_client_of_a_slow_answer_leaves() -> None:
    store, clock = mail_store(), VirtualClock()
    store.gate = asyncio.Event()
    probe = serve(store, clock=clock)
    async with probe.call("PUT", "/mail/to", {"x-amz-copy-source": "mail/from", "content-length": "0"}) as call:
        await clock.settle()
        await clock.advance(15)
        call.leave()
        await clock.advance(15)
        store.gate.set()
        await call.ended()
    assert ObjectName("mail", "to") in store.objects
