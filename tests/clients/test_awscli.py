"""The aws command line, version 1, with its default settings."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.clients.mailtree import digests, plant
from tests.clients.programs import Program, find
from tests.clients.proxy import MIB, REGION, SECRETS, WRITER, Behind, Proxy, clean_environment, sha256

pytestmark = pytest.mark.clients


def aws_of(proxy: Proxy, directory: Path) -> Program:
    environment = clean_environment(
        HOME=str(directory), AWS_ACCESS_KEY_ID=WRITER, AWS_SECRET_ACCESS_KEY=SECRETS[WRITER],
        AWS_DEFAULT_REGION=REGION, AWS_ENDPOINT_URL=proxy.url, AWS_MAX_ATTEMPTS="1", AWS_EC2_METADATA_DISABLED="true",
        AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    )  # fmt: skip
    if proxy.url.startswith("https"):
        environment["AWS_CA_BUNDLE"] = str(proxy.certificate)
    return Program([find("aws", beside=Path(sys.prefix) / "bin")], environment, directory)


@pytest.fixture
def aws(proxy: Proxy, tmp_path: Path) -> Program:
    return aws_of(proxy, tmp_path)


def test_a_tree_of_mails_is_synced_up_and_down(aws: Program, bucket: str, behind: Behind, tmp_path: Path) -> None:
    planted = plant(tmp_path / "up")
    aws.run("s3", "sync", "up", f"s3://{bucket}/tree", "--quiet")
    assert behind.keys(bucket) == {f"tree/{name}" for name in planted}
    assert aws.run("s3", "sync", "up", f"s3://{bucket}/tree") == b"", "nothing is left to be done"
    aws.run("s3", "sync", f"s3://{bucket}/tree", "down", "--quiet")
    assert digests(tmp_path / "down") == planted
    (tmp_path / "up" / next(iter(planted))).unlink()
    aws.run("s3", "sync", "up", f"s3://{bucket}/tree", "--delete", "--quiet")
    assert behind.keys(bucket) == {f"tree/{name}" for name in digests(tmp_path / "up")}


def test_a_large_file_and_a_stream_are_copied_over_tls(tls_proxy: Proxy, tmp_path: Path) -> None:
    aws, content = aws_of(tls_proxy, tmp_path), os.urandom(20 * MIB)
    (tmp_path / "big").write_bytes(content)
    aws.run("s3", "mb", "s3://from-aws-cli")
    aws.run("s3", "cp", "big", "s3://from-aws-cli/big ä", "--quiet")
    assert sha256(aws.run("s3", "cp", "s3://from-aws-cli/big ä", "-")) == sha256(content)
    aws.run("s3", "cp", "-", "s3://from-aws-cli/streamed", "--quiet", stdin=content)
    aws.run("s3", "mv", "s3://from-aws-cli/streamed", "back", "--quiet")
    assert sha256((tmp_path / "back").read_bytes()) == sha256(content)
    aws.run("s3", "rb", "s3://from-aws-cli", "--force")
    aws.run("s3", "ls", "s3://from-aws-cli", fails=True)


def test_objects_are_listed_moved_and_removed(aws: Program, bucket: str, behind: Behind, tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"mail")
    aws.run("s3", "cp", "mail", f"s3://{bucket}/ann/1 + ä", "--quiet")
    assert aws.lines("s3", "ls", f"s3://{bucket}")[0].split() == ["PRE", "ann/"]
    assert aws.lines("s3", "ls", f"s3://{bucket}/ann/")[0].endswith("4 1 + ä")
    aws.run("s3", "mv", f"s3://{bucket}/ann/1 + ä", f"s3://{bucket}/bob/2", "--quiet")
    assert behind.keys(bucket) == {"bob/2"}
    aws.run("s3", "rm", f"s3://{bucket}", "--recursive", "--quiet")
    assert behind.keys(bucket) == set()


def test_a_presigned_url_works(aws: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n    signature_version = s3v4\n")
    aws = aws.also(AWS_CONFIG_FILE=str(tmp_path / "config"))
    aws.run("s3", "cp", "-", f"s3://{bucket}/1 ä", stdin=b"mail")
    url = aws.lines("s3", "presign", f"s3://{bucket}/1 ä")[0]
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        assert answer.read() == b"mail"


def test_single_calls_and_their_errors(aws: Program, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"mail")
    put = ("s3api", "put-object", "--bucket", bucket, "--key", "1", "--body", "mail")
    assert json.loads(aws.run(*put, "--checksum-algorithm", "SHA256"))["ChecksumSHA256"]
    head = json.loads(aws.run("s3api", "head-object", "--bucket", bucket, "--key", "1"))
    assert head["ContentLength"] == 4
    assert b"PreconditionFailed" in aws.run(*put, "--if-none-match", "*", fails=True)
    assert b"NotImplemented" in aws.run("s3api", "get-bucket-acl", "--bucket", bucket, fails=True)
    assert b"NoSuchBucket" in aws.run("s3", "ls", "s3://no-such-bucket", fails=True)
