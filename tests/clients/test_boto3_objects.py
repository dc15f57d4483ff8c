"""The AWS SDK for Python with its default settings, over plain HTTP and over TLS (it signs bodies differently)."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.clients.proxy import MIB, Behind, Proxy, sha256

pytestmark = pytest.mark.clients


@pytest.fixture(params=["plain_proxy", "tls_proxy"], ids=["http", "https"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    found: Proxy = request.getfixturevalue(request.param)
    return found


def read(client: Any, bucket: str, key: str, **options: Any) -> bytes:
    found: bytes = client.get_object(Bucket=bucket, Key=key, **options)["Body"].read()
    return found


def headers(answer: Any) -> Any:
    return answer["ResponseMetadata"]["HTTPHeaders"]


class Pipe(io.RawIOBase):
    """A stream that cannot seek, as from a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)


def test_a_mail_is_put_read_and_deleted(client: Any, bucket: str, behind: Behind) -> None:
    mail = os.urandom(20_000)
    put = client.put_object(
        Bucket=bucket, Key="ann/1", Body=mail, ContentType="message/rfc822", Metadata={"Folder": "INBOX/Sent + more"}
    )
    got = client.get_object(Bucket=bucket, Key="ann/1")
    assert sha256(got["Body"].read()) == sha256(mail) == behind.sha256(bucket, "ann/1")
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(mail).hexdigest()}"'
    head = client.head_object(Bucket=bucket, Key="ann/1")
    assert (head["ContentLength"], head["ContentType"]) == (20_000, "message/rfc822")
    assert head["Metadata"] == got["Metadata"] == {"folder": "INBOX/Sent + more"}
    client.delete_object(Bucket=bucket, Key="ann/1")
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=bucket, Key="ann/1")
    assert behind.keys(bucket) == set()


def test_an_empty_object_is_an_object(client: Any, bucket: str, behind: Behind) -> None:
    client.put_object(Bucket=bucket, Key="empty")
    assert read(client, bucket, "empty") == b""
    assert behind.sha256(bucket, "empty") == sha256(b"")


def test_a_file_of_30_mb_goes_up_and_down_in_parts(client: Any, bucket: str, behind: Behind, tmp_path: Path) -> None:
    content = os.urandom(30 * MIB)
    (tmp_path / "up").write_bytes(content)
    client.upload_file(str(tmp_path / "up"), bucket, "big", ExtraArgs={"ContentType": "x/y", "Metadata": {"a": "b"}})
    head = client.head_object(Bucket=bucket, Key="big")
    assert head["ETag"].endswith('-4"')
    assert (head["ContentType"], head["Metadata"]) == ("x/y", {"a": "b"})
    client.download_file(bucket, "big", str(tmp_path / "down"))
    assert sha256((tmp_path / "down").read_bytes()) == sha256(content) == behind.sha256(bucket, "big")
    part = client.get_object(Bucket=bucket, Key="big", PartNumber=4)
    assert (part["PartsCount"], part["Body"].read()) == (4, content[24 * MIB :])


def test_a_stream_of_unknown_length_goes_up(client: Any, bucket: str, behind: Behind) -> None:
    content = os.urandom(11 * MIB)
    for key, size in (("small", 100_000), ("large", 11 * MIB)):
        client.upload_fileobj(Pipe(content[:size]), bucket, key)
        found = io.BytesIO()
        client.download_fileobj(bucket, key, found)
        assert sha256(found.getvalue()) == sha256(content[:size]) == behind.sha256(bucket, key)


def test_ranges_are_the_bytes_that_were_asked_for(client: Any, bucket: str) -> None:
    content = os.urandom(300_000)
    client.put_object(Bucket=bucket, Key="1", Body=content)
    for range, wanted in (
        ("bytes=0-0", content[:1]), ("bytes=100-99999", content[100:100_000]), ("bytes=299999-", content[-1:]),
        ("bytes=-5", content[-5:]), ("bytes=299990-400000", content[-10:]), ("bytes=-400000", content),
    ):  # fmt: skip
        got = client.get_object(Bucket=bucket, Key="1", Range=range)
        assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (206, wanted)
        assert got["ContentRange"].endswith("/300000")


def test_a_write_can_demand_what_is_there(client: Any, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="1", Body=b"one", IfNoneMatch="*")["ETag"]
    for demand in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket=bucket, Key="1", Body=b"two", **demand)
    client.put_object(Bucket=bucket, Key="1", Body=b"two", IfMatch=etag)
    assert read(client, bucket, "1") == b"two"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.delete_object(Bucket=bucket, Key="1", IfMatch=etag)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket=bucket, Key="1", IfMatch=etag)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="none", Body=b"x", IfMatch=etag)


def test_a_read_can_be_answered_not_modified(client: Any, bucket: str) -> None:
    etag = client.put_object(Bucket=bucket, Key="1", Body=b"one")["ETag"]
    for call in (client.get_object, client.head_object):
        with pytest.raises(ClientError, match="304"):
            call(Bucket=bucket, Key="1", IfNoneMatch=etag)
        modified = call(Bucket=bucket, Key="1")["LastModified"]
        with pytest.raises(ClientError, match="304"):
            call(Bucket=bucket, Key="1", IfModifiedSince=modified)


def test_a_copy_keeps_metadata_or_replaces_it(client: Any, bucket: str, behind: Behind) -> None:
    source, key = {"Bucket": bucket, "Key": "a ä+%2F"}, "a ä+%2F"
    client.put_object(Bucket=bucket, Key=key, Body=b"mail", ContentType="message/rfc822", Metadata={"a": "1"})
    client.copy_object(Bucket="mail", Key=f"copies/{bucket}", CopySource=source)
    kept = client.get_object(Bucket="mail", Key=f"copies/{bucket}")
    assert (kept["Body"].read(), kept["ContentType"], kept["Metadata"]) == (b"mail", "message/rfc822", {"a": "1"})
    assert behind.sha256("mail", f"copies/{bucket}") == sha256(b"mail")
    for target in ("b", key):
        client.copy_object(
            Bucket=bucket, Key=target, CopySource=source, MetadataDirective="REPLACE", ContentType="text/plain",
            Metadata={"b": "2"},
        )  # fmt: skip
        replaced = client.get_object(Bucket=bucket, Key=target)
        found = replaced["Body"].read(), replaced["ContentType"], replaced["Metadata"]
        assert found == (b"mail", "text/plain", {"b": "2"})
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.copy_object(Bucket=bucket, Key="c", CopySource=source, CopySourceIfMatch='"0"')
    with pytest.raises(ClientError, match="InvalidRequest"):
        client.copy_object(Bucket=bucket, Key=key, CopySource=source)


def test_a_large_copy_is_made_of_parts(client: Any, bucket: str, behind: Behind) -> None:
    content = os.urandom(12 * MIB)
    client.put_object(Bucket=bucket, Key="source", Body=content, Metadata={"a": "1"})
    settings = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    client.copy({"Bucket": bucket, "Key": "source"}, bucket, "target", Config=settings)
    assert client.head_object(Bucket=bucket, Key="target")["ETag"].endswith('-3"')
    assert sha256(read(client, bucket, "target")) == sha256(content) == behind.sha256(bucket, "target")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_checksum_is_verified_stored_and_told(client: Any, bucket: str, algorithm: str) -> None:
    content = os.urandom(2 * MIB)
    bodies: list[Any] = [content, io.BytesIO(content)]
    for body in bodies:
        put = client.put_object(Bucket=bucket, Key="1", Body=body, ChecksumAlgorithm=algorithm)
        got = client.get_object(Bucket=bucket, Key="1", ChecksumMode="ENABLED")
        assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
        assert sha256(got["Body"].read()) == sha256(content)
        assert got["ResponseMetadata"]["ChecksumAlgorithm"] == algorithm.lower(), "botocore has verified it"
    wrong = {f"Checksum{algorithm}": put[f"Checksum{algorithm}"]}
    with pytest.raises(ClientError, match="BadDigest"):
        client.put_object(Bucket=bucket, Key="2", Body=content[1:], **wrong)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


@pytest.fixture
def opener(proxy: Proxy) -> urllib.request.OpenerDirector:
    """A client that knows no S3."""
    handlers: list[Any] = [urllib.request.ProxyHandler({})]
    if proxy.url.startswith("https"):
        handlers.append(urllib.request.HTTPSHandler(context=proxy.trust()))
    return urllib.request.build_opener(*handlers)


def refusal(opener: urllib.request.OpenerDirector, url: str) -> str:
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        opener.open(url)
    with refused.value:
        return refused.value.read().decode()


def test_presigned_urls_work_without_credentials(
    proxy: Proxy, bucket: str, behind: Behind, opener: urllib.request.OpenerDirector
) -> None:
    name = {"Bucket": bucket, "Key": "a b/ä+"}
    with closing(proxy.client(signature_version="s3v4")) as client:
        put = client.generate_presigned_url("put_object", Params=name)
        get = client.generate_presigned_url("get_object", Params=name | {"ResponseContentDisposition": "inline"})
    opener.open(urllib.request.Request(put, b"mail", {"Content-Type": ""}, method="PUT")).close()
    assert behind.sha256(bucket, "a b/ä+") == sha256(b"mail")
    with opener.open(get) as answer:
        assert (answer.read(), answer.headers["content-disposition"]) == (b"mail", "inline")
    for changed in (get.replace("inline", "other"), get.replace("a%20b", "a%20c")):
        assert "SignatureDoesNotMatch" in refusal(opener, changed)


def test_presigned_urls_of_the_old_kind_are_refused_in_clear_words(
    client: Any, bucket: str, opener: urllib.request.OpenerDirector
) -> None:
    """What boto3 makes by default for an endpoint that is not AWS."""
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "1"})
    assert "Signature Version 2 is not supported" in refusal(opener, url)


def test_answers_say_where_the_bytes_are_and_what_took_time(client: Any, bucket: str, behind: Behind) -> None:
    put = headers(client.put_object(Bucket=bucket, Key="1", Body=b"mail"))
    assert put["x-tierproxy-tiers"] == "disk,alt"
    assert put["server-timing"].startswith("disk;dur=")
    got = client.get_object(Bucket=bucket, Key="1")
    assert headers(got)["x-tierproxy-tier"] in {"memory", "disk"}
    assert headers(got)["x-tierproxy-tiers"] == "disk,alt"
    assert headers(got)["x-tierproxy-fill"] == "hit"
    assert headers(client.head_object(Bucket=bucket, Key="1"))["x-tierproxy-tiers"] == "disk,alt"
    assert got["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(("ack", "tiers"), [("both", "disk,alt"), ("disk", "disk"), ("alt", "alt")])
def test_a_client_chooses_what_is_acknowledged(client: Any, bucket: str, behind: Behind, ack: str, tiers: str) -> None:
    def choose(request: Any, **_: Any) -> None:
        request.headers["x-tierproxy-ack"] = ack

    client.meta.events.register("before-sign.s3.PutObject", choose)
    put = client.put_object(Bucket=bucket, Key="1", Body=b"mail")
    assert headers(put)["x-tierproxy-tiers"] == tiers
    got = client.get_object(Bucket=bucket, Key="1", Range="bytes=1-")
    assert got["Body"].read() == b"ail"
    assert (headers(got)["x-tierproxy-tier"] == "alt") is (ack == "alt")
    assert read(client, bucket, "1") == b"mail"
    if ack != "disk":
        assert behind.sha256(bucket, "1") == sha256(b"mail")
