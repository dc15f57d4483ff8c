"""The AWS SDK for Python with its default settings, against a live server."""

from __future__ import annotations

import asyncio
import io
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tierproxy.clock import SystemClock
from tierproxy.config.sections import DynamicBucketsSection, ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import AccessKey, SigV4
from tierproxy.s3api.grants import EVERYTHING
from tierproxy.s3api.ports import Store
from tierproxy.server import ObjectServer
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.rig import rig

MIB = 2**20
SECRET = "wJalrXUtnFEMI/K7MDENG"


Steps = Callable[[Any], None]
Run = Callable[..., None]


@asynccontextmanager
async def memory_store(_root: Path) -> AsyncIterator[Store]:
    yield MemoryStore(chunk=65536, min_part=5 * MIB)


@asynccontextmanager
async def tiered_store(root: Path) -> AsyncIterator[Store]:
    async with rig(root, dynamic_buckets=DynamicBucketsSection(enabled=True, alt_bucket="dynamic")) as node:
        yield node.parts.store


@pytest.fixture(params=[memory_store, tiered_store], ids=["memory", "tiers"])
def with_client(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run steps in a thread with a client of a fresh server."""

    def run(steps: Steps, *, secret: str = SECRET, tls: bool = False, **options: Any) -> None:
        files = write_certificate(tmp_path, "one") if tls else None

        async def serve() -> None:
            async with request.param(tmp_path / "data") as store:
                await _serve(store, steps, secret, files, options)

        asyncio.run(serve())

    return run


async def _serve(
    store: Store, steps: Steps, secret: str, files: tuple[str, str] | None, options: dict[str, Any]
) -> None:
    certificate, key = files or ("", "")
    clock = SystemClock()
    settings = ListenSection(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
    keys = SigV4([AccessKey("AKIDEXAMPLE", SECRET, EVERYTHING)], settings.region, clock)
    server = ObjectServer(settings, ObjectApp(store, keys, settings, clock), clock)
    await server.start()
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key=secret,
        region_name=settings.region,
        verify=certificate or None,
        config=Config(retries={"max_attempts": 1}, **options),
    )
    try:
        await asyncio.to_thread(steps, client)
    finally:
        client.close()
        await server.stop(1)


def content(client: Any, key: str) -> bytes:
    found: bytes = client.get_object(Bucket="mail", Key=key)["Body"].read()
    return found


def test_put_get_head_and_delete(with_client: Run) -> None:
    def steps(client: Any) -> None:
        put = client.put_object(
            Bucket="mail", Key="ann/1 ä+&", Body=b"mail", ContentType="message/rfc822", Metadata={"Folder": "INBOX"}
        )
        assert put["ResponseMetadata"]["HTTPHeaders"]["x-tierproxy-tiers"] == "disk,alt"
        got = client.get_object(Bucket="mail", Key="ann/1 ä+&")
        assert got["Body"].read() == b"mail"
        assert (got["ContentType"], got["Metadata"], got["ETag"]) == (
            "message/rfc822", {"folder": "INBOX"}, put["ETag"],
        )  # fmt: skip
        assert got["ChecksumCRC32"] == put["ChecksumCRC32"]
        assert client.get_object(Bucket="mail", Key="ann/1 ä+&", Range="bytes=1-2")["Body"].read() == b"ai"
        assert client.head_object(Bucket="mail", Key="ann/1 ä+&")["ContentLength"] == 4
        client.delete_object(Bucket="mail", Key="ann/1 ä+&")
        with pytest.raises(client.exceptions.NoSuchKey):
            client.get_object(Bucket="mail", Key="ann/1 ä+&")
        with pytest.raises(ClientError, match="404"):
            client.head_object(Bucket="mail", Key="ann/1 ä+&")

    with_client(steps)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_every_checksum_a_stream_can_have(with_client: Run, algorithm: str) -> None:
    def steps(client: Any) -> None:
        body = bytes(range(256)) * 3000
        put = client.put_object(Bucket="mail", Key="1", Body=io.BytesIO(body), ChecksumAlgorithm=algorithm)
        assert put[f"Checksum{algorithm}"]
        got = client.get_object(Bucket="mail", Key="1", ChecksumMode="ENABLED")
        assert got["Body"].read() == body
        assert got[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]

    with_client(steps)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
@pytest.mark.parametrize("signed", [True, False])
def test_bodies_signed_or_not_with_checksums_or_without(
    with_client: Run, checksums: str, signed: bool, tls: bool
) -> None:
    def steps(client: Any) -> None:
        sent: list[str] = []
        client.meta.events.register(
            "before-send.s3.PutObject",
            lambda request, **_: sent.append(str(request.headers.get("X-Amz-Content-SHA256"))),
        )
        client.put_object(Bucket="mail", Key="1", Body=io.BytesIO(b"mail" * 50_000))
        assert content(client, "1") == b"mail" * 50_000
        if tls and checksums == "when_supported" and not signed:
            assert "STREAMING-UNSIGNED-PAYLOAD-TRAILER" in sent[0]

    with_client(steps, tls=tls, request_checksum_calculation=checksums, s3={"payload_signing_enabled": signed})


def test_a_multipart_upload_and_download(with_client: Run) -> None:
    def steps(client: Any) -> None:
        data = bytes(range(251)) * 60_000
        settings = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=3)
        client.upload_fileobj(io.BytesIO(data), "mail", "big", Config=settings)
        assert content(client, "big") == data
        assert client.head_object(Bucket="mail", Key="big")["ETag"].endswith('-3"')
        found = io.BytesIO()
        client.download_fileobj("mail", "big", found, Config=settings)
        assert found.getvalue() == data
        client.copy({"Bucket": "mail", "Key": "big"}, "mail", "copy", Config=settings)
        assert content(client, "copy") == data

    with_client(steps)


def test_uploads_are_listed_and_aborted(with_client: Run) -> None:
    def steps(client: Any) -> None:
        id = client.create_multipart_upload(Bucket="mail", Key="big")["UploadId"]
        client.upload_part(Bucket="mail", Key="big", UploadId=id, PartNumber=1, Body=b"x")
        assert [part["Size"] for part in client.list_parts(Bucket="mail", Key="big", UploadId=id)["Parts"]] == [1]
        assert [one["Key"] for one in client.list_multipart_uploads(Bucket="mail")["Uploads"]] == ["big"]
        client.abort_multipart_upload(Bucket="mail", Key="big", UploadId=id)
        assert "Uploads" not in client.list_multipart_uploads(Bucket="mail")

    with_client(steps)


def test_listings_and_deletes_of_many(with_client: Run) -> None:
    def steps(client: Any) -> None:
        keys = [f"ann/{number:02} ä&+" for number in range(25)] + ["bob/1"]
        for key in keys:
            client.put_object(Bucket="mail", Key=key, Body=b"x")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="mail", PaginationConfig={"PageSize": 10})
        assert [row["Key"] for page in pages for row in page["Contents"]] == keys
        pages = client.get_paginator("list_objects").paginate(Bucket="mail", PaginationConfig={"PageSize": 10})
        assert [row["Key"] for page in pages for row in page["Contents"]] == keys
        folded = client.list_objects_v2(Bucket="mail", Delimiter="/")
        assert [row["Prefix"] for row in folded["CommonPrefixes"]] == ["ann/", "bob/"]
        answer = client.delete_objects(Bucket="mail", Delete={"Objects": [{"Key": key} for key in keys]})
        assert [row["Key"] for row in answer["Deleted"]] == keys
        assert client.list_objects_v2(Bucket="mail")["KeyCount"] == 0

    with_client(steps)


def test_copies_and_conditions(with_client: Run) -> None:
    def steps(client: Any) -> None:
        client.put_object(Bucket="mail", Key="a ä", Body=b"mail", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket="mail", Key="a ä", Body=b"other", IfNoneMatch="*")
        copied = client.copy_object(Bucket="mail", Key="b", CopySource={"Bucket": "mail", "Key": "a ä"})
        assert copied["CopyObjectResult"]["ETag"] == client.head_object(Bucket="mail", Key="a ä")["ETag"]
        with pytest.raises(ClientError, match="304"):
            client.get_object(Bucket="mail", Key="b", IfNoneMatch=copied["CopyObjectResult"]["ETag"])

    with_client(steps)


def test_buckets(with_client: Run) -> None:
    def steps(client: Any) -> None:
        client.create_bucket(Bucket="news")
        assert [row["Name"] for row in client.list_buckets()["Buckets"]] == ["mail", "news"]
        assert client.get_bucket_location(Bucket="news")["LocationConstraint"] is None
        assert "Status" not in client.get_bucket_versioning(Bucket="news")
        client.head_bucket(Bucket="news")
        client.delete_bucket(Bucket="news")
        with pytest.raises(ClientError, match="NotImplemented"):
            client.get_bucket_acl(Bucket="mail")

    with_client(steps)


def test_presigned_urls(with_client: Run) -> None:
    def steps(client: Any) -> None:
        put = client.generate_presigned_url("put_object", Params={"Bucket": "mail", "Key": "a b/ä"})
        urllib.request.urlopen(urllib.request.Request(put, data=b"mail", method="PUT", headers={"Content-Type": ""}))
        get = client.generate_presigned_url(
            "get_object", Params={"Bucket": "mail", "Key": "a b/ä", "ResponseContentType": "text/plain"}
        )
        with urllib.request.urlopen(get) as answer:
            assert (answer.read(), answer.headers["content-type"]) == (b"mail", "text/plain")
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            urllib.request.urlopen(get.replace("text%2Fplain", "text%2Fhtml"))
        refused.value.close()

    with_client(steps, signature_version="s3v4")


def test_a_wrong_secret_is_refused(with_client: Run) -> None:
    def steps(client: Any) -> None:
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            client.put_object(Bucket="mail", Key="1", Body=bytes(3 * MIB))

    with_client(steps, secret="wrong")
