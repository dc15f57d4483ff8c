"""Whole requests as boto3 makes them by default: authenticated, decoded and verified, without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import ACCESS_KEY, REGION, SECRET, authenticator, moment_of
from tierproxy.errors import BadBody
from tierproxy.s3api.auth import Admission, Payload
from tierproxy.s3api.checksums import ContentCheck, content_check, trailing_algorithms
from tierproxy.s3api.request import Request
from tierproxy.s3api.stream import ChunkDecoder

DOMAIN = "s3.example"
Sent = tuple[Request, bytes]


def client_of(scheme: str, style: str, **more: Any) -> Any:
    make: Any = boto3.client
    return make(
        "s3",
        endpoint_url=f"{scheme}://{DOMAIN}",
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        config=Config(s3={"addressing_style": style}, **more),  # type: ignore[arg-type]
    )


class Wire:
    """Takes what a client would send."""

    def __init__(self, scheme: str, style: str) -> None:
        self.sent: list[Sent] = []
        self.client = client_of(scheme, style)
        self.client.meta.events.register("before-send.s3", self._take)

    def _take(self, request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        headers = [(name.lower().encode(), _bytes(value)) for name, value in request.headers.items()]
        if b"host" not in dict(headers):
            headers.append((b"host", url.netloc.encode()))
        body = request.body
        raw = body if isinstance(body, bytes) else (b"" if body is None else body.read())
        self.sent.append((Request(request.method, url.path.encode(), url.query.encode(), headers, DOMAIN), raw))
        return AWSResponse(request.url, 200, HTTPHeaders(), _Empty())

    def after(self, call: Callable[[Any], object]) -> Sent:
        call(self.client)
        return self.sent.pop()


class _Empty(BytesIO):
    def stream(self, **_: Any) -> list[bytes]:
        return []


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")


@cache
def wire_of(scheme: str, style: str) -> Wire:
    return Wire(scheme, style)


wires = st.tuples(st.sampled_from(["http", "https"]), st.sampled_from(["path", "virtual"]))
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40) | (
    st.sampled_from(["../a", "./a", "a/../../b", "a//b", "//", "a b+c%20d", "日本/📧", "a?b#c&d=e", "*'()!~", "\r\n"])
)


def admitted(request: Request) -> Admission:
    return authenticator(moment_of(request)).admit(request)


def received(sent: Sent) -> tuple[bytes, ContentCheck, Payload]:
    """The decoded and verified body."""
    request, raw = sent
    admission = admitted(request)
    chunked = admission.payload.chunked
    size = request.decoded_length if chunked else request.content_length
    check = content_check(request, size=size, sha256=admission.sha256)
    if chunked:
        decoder = ChunkDecoder(
            admission.payload, size or 0, check=check, seed=admission.seed, trailers=trailing_algorithms(request)
        )
        raw = b"".join(decoder.feed(raw))
        decoder.finish()
    check.update(raw)
    check.verify(len(raw))
    return raw, check, admission.payload


@settings(max_examples=150, deadline=None)
@given(wires, keys, st.binary(max_size=200), st.dictionaries(st.sampled_from("abc"), st.text("xyz ", max_size=9)))
def test_a_put_of_any_key(wire: tuple[str, str], key: str, content: bytes, metadata: dict[str, str]) -> None:
    sent = wire_of(*wire).after(lambda s3: s3.put_object(Bucket="mail", Key=key, Body=content, Metadata=metadata))
    assert (sent[0].bucket, sent[0].key) == ("mail", key)
    assert received(sent)[0] == content


@settings(max_examples=100, deadline=None)
@given(wires, keys)
def test_reads_and_deletes_of_any_key(wire: tuple[str, str], key: str) -> None:
    for call in (
        lambda s3: s3.head_object(Bucket="mail", Key=key),
        lambda s3: s3.get_object(Bucket="mail", Key=key, Range="bytes=0-9", PartNumber=1),
        lambda s3: s3.delete_object(Bucket="mail", Key=key),
        lambda s3: s3.list_objects_v2(Bucket="mail", Prefix=key, StartAfter=key, Delimiter="/"),
        lambda s3: s3.copy_object(Bucket="mail", Key=key, CopySource={"Bucket": "mail", "Key": "x"}),
    ):
        request, _ = wire_of(*wire).after(call)
        assert admitted(request)
        assert request.key == key or request.query.get("prefix") == key


@settings(max_examples=100, deadline=None)
@given(wires, keys)
def test_presigned_urls_of_any_key(wire: tuple[str, str], key: str) -> None:
    client = client_of("https", wire[1], signature_version="s3v4")
    url = urlsplit(client.generate_presigned_url("get_object", {"Bucket": "mail", "Key": key, "ResponseExpires": "0"}))
    request = Request("GET", url.path.encode(), url.query.encode(), [(b"host", url.netloc.encode())], DOMAIN)
    assert admitted(request).payload is Payload.UNSIGNED
    assert (request.bucket, request.key) == ("mail", key)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_each_checksum_boto3_can_send_is_verified_and_its_absence_from_the_bytes_noticed(
    algorithm: str, scheme: str
) -> None:
    content = b"From: ann@example.org\r\n\r\nhello\r\n" * 300
    sent = wire_of(scheme, "path").after(
        lambda s3: s3.put_object(Bucket="mail", Key="a", Body=content, ChecksumAlgorithm=algorithm)
    )
    body, check, payload = received(sent)
    assert body == content
    assert list(check.checksums()) == [algorithm.lower()]
    assert check.etag() == hashlib.md5(content).hexdigest()
    assert payload is (Payload.CHUNKS_UNSIGNED_TRAILER if scheme == "https" else Payload.SIGNED)
    with pytest.raises(BadBody):
        received((sent[0], sent[1].replace(b"hello", b"hallo", 1)))


def test_streams_are_sent_with_a_trailer_and_verified() -> None:
    content = bytes(range(256)) * 1000
    for scheme in ("http", "https"):
        sent = wire_of(scheme, "path").after(lambda s3: s3.put_object(Bucket="mail", Key="a", Body=BytesIO(content)))
        assert received(sent)[0] == content
