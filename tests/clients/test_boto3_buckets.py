"""Buckets, listings, many deletes and errors, as the AWS SDK for Python meets them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.proxy import MAX_PUT, MIB, READABLE, READER, REGION, Behind, Proxy, sha256

pytestmark = pytest.mark.clients

ODD_KEYS = [
    "plain", "with space", " begins and ends with one ", "a+b", "a%20b", "100%", "%2F", "a&b=c?d#e", "ä/ö/ü ß",
    "会議/資料 ✓", "🚀", "folder/", "folder/in it", "semi;colon,comma", "quote'\"<&>`", "a:b@c$d!e*(f)", "~tilde^{}[]|",
    "u\u0308 decomposed", "dot.", ".hidden", "...", "a/.b/..c/d..", "tab\there", "x" * 200 + "/" + "y" * 200,
    "&ZeVnLIqe-/dbox-Mails/u.1",
]  # fmt: skip
MERGED_KEYS = ["a//b", "/a/b", "a/./b", "a/../b", "../b", "..", "a\\b", "//"]
"""What SeaweedFS takes for another key. Other servers keep these apart."""


@pytest.fixture
def reader(proxy: Proxy) -> Iterator[Any]:
    """With the key that may read one prefix and write nothing."""
    with closing(proxy.client(READER)) as found:
        yield found


def keys(client: Any, operation: str, **arguments: Any) -> list[str]:
    pages = client.get_paginator(operation).paginate(**arguments)
    return [row["Key"] for page in pages for row in page.get("Contents", [])]


def test_odd_keys_keep_their_names_and_bytes(client: Any, bucket: str, behind: Behind) -> None:
    contents = {key: b"" if key.endswith("/") else os.urandom(30) for key in ODD_KEYS}
    for key, content in contents.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)
    for operation in ("list_objects", "list_objects_v2"):
        found = keys(client, operation, Bucket=bucket, PaginationConfig={"PageSize": 4})
        assert found == sorted(ODD_KEYS, key=str.encode)
    assert behind.keys(bucket) == set(ODD_KEYS)
    for key, content in contents.items():
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == content
        assert behind.sha256(bucket, key) == sha256(content)
        client.copy_object(Bucket=bucket, Key=f"copy of {key}", CopySource={"Bucket": bucket, "Key": key})
        assert client.get_object(Bucket=bucket, Key=f"copy of {key}")["Body"].read() == content
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in ODD_KEYS]})
    assert [row["Key"] for row in answer["Deleted"]] == ODD_KEYS
    assert behind.keys(bucket) == {f"copy of {key}" for key in ODD_KEYS}


@pytest.mark.parametrize("key", MERGED_KEYS)
def test_a_key_that_alt_would_take_for_another_is_refused(client: Any, bucket: str, behind: Behind, key: str) -> None:
    client.put_object(Bucket=bucket, Key="a/b", Body=b"precious")
    client.put_object(Bucket=bucket, Key="b", Body=b"precious")
    with pytest.raises(ClientError, match="NotImplemented"):
        client.put_object(Bucket=bucket, Key=key, Body=b"other")
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket, Key=key)
    client.delete_object(Bucket=bucket, Key=key)
    assert keys(client, "list_objects_v2", Bucket=bucket) == ["a/b", "b"]
    assert behind.sha256(bucket, "a/b") == behind.sha256(bucket, "b") == sha256(b"precious")


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_listings_fold_at_the_delimiter_and_go_on_over_pages(client: Any, bucket: str, operation: str) -> None:
    names = [f"{user}/{folder} ä/{number:02}" for user in ("ann", "bob") for folder in "AB" for number in range(6)]
    for key in [*names, "top", "zoo+"]:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    paginator = client.get_paginator(operation)
    for size in (1, 2, 1000):
        pages = list(paginator.paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}))
        prefixes = [row["Prefix"] for page in pages for row in page.get("CommonPrefixes", [])]
        found = [row["Key"] for page in pages for row in page.get("Contents", [])]
        assert (prefixes, found) == (["ann/", "bob/"], ["top", "zoo+"])
        pages = list(
            paginator.paginate(Bucket=bucket, Prefix="ann/", Delimiter="/", PaginationConfig={"PageSize": size})
        )
        assert [row["Prefix"] for page in pages for row in page["CommonPrefixes"]] == ["ann/A ä/", "ann/B ä/"]
    assert keys(client, operation, Bucket=bucket, Prefix="bob/A ä/") == names[12:18]
    row = client.list_objects_v2(Bucket=bucket, StartAfter="bob/A ä/04", MaxKeys=1)["Contents"][0]
    assert (row["Key"], row["Size"], row["StorageClass"]) == ("bob/A ä/05", 1, "STANDARD")
    assert row["ETag"] == client.head_object(Bucket=bucket, Key="bob/A ä/05")["ETag"]


def test_many_are_deleted_at_once(client: Any, bucket: str, behind: Behind) -> None:
    for number in range(30):
        client.put_object(Bucket=bucket, Key=f"{number} ä", Body=b"x")
    names = [{"Key": f"{number} ä"} for number in range(29)] + [{"Key": "never was"}]
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": names})
    assert len(answer["Deleted"]) == 30
    assert "Deleted" not in client.delete_objects(Bucket=bucket, Delete={"Objects": names, "Quiet": True})
    assert behind.keys(bucket) == {"29 ä"}


def test_a_bucket_is_made_found_and_deleted_when_it_is_empty(client: Any) -> None:
    client.create_bucket(Bucket="short-lived")
    assert client.head_bucket(Bucket="short-lived")["BucketRegion"] == REGION
    assert client.get_bucket_location(Bucket="short-lived")["LocationConstraint"] is None
    assert "short-lived" in [row["Name"] for row in client.list_buckets()["Buckets"]]
    with pytest.raises(ClientError, match="BucketAlreadyOwnedByYou"):
        client.create_bucket(Bucket="short-lived")
    client.put_object(Bucket="short-lived", Key="1", Body=b"x")
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        client.delete_bucket(Bucket="short-lived")
    client.delete_object(Bucket="short-lived", Key="1")
    client.delete_bucket(Bucket="short-lived")
    with pytest.raises(ClientError, match="404"):
        client.head_bucket(Bucket="short-lived")
    with pytest.raises(ClientError, match="InvalidBucketName"):
        client.create_bucket(Bucket="ab.-")


def test_a_key_for_reading_reads_its_prefix_and_no_more(client: Any, reader: Any) -> None:
    prefix = READABLE.partition("/")[2]
    client.put_object(Bucket="mail", Key=f"{prefix}/1", Body=b"public")
    client.put_object(Bucket="mail", Key=f"{prefix}-not/1", Body=b"private")
    assert reader.get_object(Bucket="mail", Key=f"{prefix}/1")["Body"].read() == b"public"
    assert keys(reader, "list_objects_v2", Bucket="mail", Prefix=f"{prefix}/") == [f"{prefix}/1"]
    assert [row["Name"] for row in reader.list_buckets()["Buckets"]] == ["mail"]
    calls: list[Callable[[], Any]] = [
        lambda: reader.get_object(Bucket="mail", Key=f"{prefix}-not/1"),
        lambda: reader.get_object(Bucket="mail", Key="not there either"),
        lambda: reader.list_objects_v2(Bucket="mail"),
        lambda: reader.list_objects(Bucket="mail", Prefix=prefix),
        lambda: reader.put_object(Bucket="mail", Key=f"{prefix}/2", Body=b"x"),
        lambda: reader.delete_object(Bucket="mail", Key=f"{prefix}/1"),
        lambda: reader.copy_object(Bucket="mail", Key=f"{prefix}/2", CopySource=f"mail/{prefix}/1"),
        lambda: reader.create_multipart_upload(Bucket="mail", Key=f"{prefix}/2"),
        lambda: reader.create_bucket(Bucket="readers-own"),
        lambda: reader.delete_bucket(Bucket="mail"),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()
    errors = reader.delete_objects(Bucket="mail", Delete={"Objects": [{"Key": f"{prefix}/1"}]})["Errors"]
    assert [row["Code"] for row in errors] == ["AccessDenied"]
    with pytest.raises(ClientError, match="403"):
        reader.head_bucket(Bucket="another")
    assert client.get_object(Bucket="mail", Key=f"{prefix}/1")["Body"].read() == b"public"


def test_what_is_not_there_is_named(client: Any, bucket: str) -> None:
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket, Key="none")
    for call in (client.get_object, client.delete_object):
        with pytest.raises(client.exceptions.NoSuchBucket):
            call(Bucket="no-such-bucket", Key="none")
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.put_object(Bucket="no-such-bucket", Key="1", Body=b"x")
    with pytest.raises(client.exceptions.NoSuchBucket):
        client.list_objects_v2(Bucket="no-such-bucket")
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.copy_object(Bucket=bucket, Key="1", CopySource={"Bucket": bucket, "Key": "none"})
    with pytest.raises(client.exceptions.NoSuchUpload):
        client.upload_part(Bucket=bucket, Key="1", UploadId="none", PartNumber=1, Body=b"x")


def test_a_wrong_secret_and_an_unknown_key_are_told_apart(proxy: Proxy, bucket: str) -> None:
    for key, secret, code in ((READER, "wrong", "SignatureDoesNotMatch"), ("AKIDNOBODY", "x", "InvalidAccessKeyId")):
        with closing(proxy.client(key, secret=secret)) as client, pytest.raises(ClientError, match=code):
            client.put_object(Bucket=bucket, Key="1", Body=b"x" * MIB)


def test_what_is_too_large_or_out_of_range_is_refused(client: Any, bucket: str) -> None:
    with pytest.raises(ClientError, match="EntityTooLarge"):
        client.put_object(Bucket=bucket, Key="1", Body=bytes(MAX_PUT + 1))
    with pytest.raises(ClientError, match="KeyTooLong"):
        client.put_object(Bucket=bucket, Key="k" * 1025, Body=b"x")
    with pytest.raises(ClientError, match="MetadataTooLarge"):
        client.put_object(Bucket=bucket, Key="1", Body=b"x", Metadata={"a": "x" * 2048})
    client.put_object(Bucket=bucket, Key="1", Body=b"0123456789")
    with pytest.raises(ClientError, match="InvalidRange"):
        client.get_object(Bucket=bucket, Key="1", Range="bytes=10-")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1


def test_what_is_not_done_says_so(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="1", Body=b"x")
    name, tags = {"Bucket": bucket, "Key": "1"}, {"TagSet": [{"Key": "a", "Value": "b"}]}
    calls: list[Callable[[], Any]] = [
        lambda: client.get_object_acl(**name),
        lambda: client.put_object_acl(**name, ACL="public-read"),
        lambda: client.put_object(**name, Body=b"y", ACL="public-read"),
        lambda: client.get_object_tagging(**name),
        lambda: client.put_object_tagging(**name, Tagging=tags),
        lambda: client.put_object(**name, Body=b"y", Tagging="a=b"),
        lambda: client.get_bucket_policy(Bucket=bucket),
        lambda: client.put_bucket_policy(Bucket=bucket, Policy="{}"),
        lambda: client.delete_bucket_policy(Bucket=bucket),
        lambda: client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
        lambda: client.list_object_versions(Bucket=bucket),
        lambda: client.get_object_attributes(**name, ObjectAttributes=["ETag"]),
    ]
    for call in calls:
        with pytest.raises(ClientError, match="NotImplemented"):
            call()
    assert client.get_object(**name)["Body"].read() == b"x"
    assert "Status" not in client.get_bucket_versioning(Bucket=bucket)


def test_a_multipart_upload_is_listed_completed_or_aborted(client: Any, bucket: str, behind: Behind) -> None:
    name: dict[str, Any] = {"Bucket": bucket, "Key": "parts ä+"}
    upload = name | {"UploadId": client.create_multipart_upload(**name)["UploadId"]}
    content = os.urandom(5 * MIB + 7)
    pieces = content[: 5 * MIB], content[5 * MIB :]
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**upload, PartNumber=number, Body=piece)["ETag"]}
        for number, piece in enumerate(pieces, 1)
    ]
    assert [row["Key"] for row in client.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["parts ä+"]
    assert [row["Size"] for row in client.list_parts(**upload)["Parts"]] == [5 * MIB, 7]
    with pytest.raises(ClientError, match="InvalidPart"):
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": [{"PartNumber": 3, "ETag": '"0"'}]})
    with pytest.raises(ClientError, match="404"):
        client.head_object(**name)
    client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert behind.sha256(bucket, "parts ä+") == sha256(content)
    upload["UploadId"] = client.create_multipart_upload(**name)["UploadId"]
    client.upload_part(**upload, PartNumber=1, Body=b"thrown away")
    client.abort_multipart_upload(**upload)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert sha256(client.get_object(**name)["Body"].read()) == sha256(content)
