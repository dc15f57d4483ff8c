"""The relay between clients and an S3 server: it counts by kind, and fails as told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.fixtures_seaweed import new_bucket, seaweed
from tierproxy.alt.client import s3_client
from tierproxy.config.values import Duration
from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.s3relay import S3Relay, counted, kind_of

__all__ = ["new_bucket", "seaweed"]


@pytest.fixture
def relay(seaweed: EmbeddedS3) -> Iterator[S3Relay]:
    with S3Relay("127.0.0.1", seaweed.ports["s3"]) as found:
        yield found


@pytest.fixture
def client(seaweed: EmbeddedS3, relay: S3Relay) -> Iterator[Any]:
    section = seaweed.section(endpoint=relay.endpoint, request_timeout=Duration(1), max_retries=0)
    with closing(s3_client(section)) as found:
        yield found


@pytest.fixture(scope="module")
def bucket(new_bucket: Any) -> str:
    name: str = new_bucket()
    return name


def test_requests_pass_and_are_counted_by_kind(relay: S3Relay, client: Any, bucket: str) -> None:
    body = b"x" * 300_000
    client.put_object(Bucket=bucket, Key="a/u.1", Body=body)
    client.copy_object(Bucket=bucket, Key="a/u.2", CopySource={"Bucket": bucket, "Key": "a/u.1"})
    assert client.get_object(Bucket=bucket, Key="a/u.2")["Body"].read() == body
    client.head_object(Bucket=bucket, Key="a/u.2")
    listed = client.list_objects_v2(Bucket=bucket, Prefix="a/")
    assert [row["Key"] for row in listed["Contents"]] == ["a/u.1", "a/u.2"]
    client.delete_object(Bucket=bucket, Key="a/u.1")
    taken = relay.take()
    assert counted(taken) == {"PUT": 1, "COPY": 1, "GET": 1, "HEAD": 1, "LIST": 1, "DELETE": 1}
    assert taken[0].key == "a/u.1"
    assert {one.status for one in taken} <= {200, 204}
    assert relay.take() == []


def test_it_answers_for_the_server_when_told_and_only_those_meant(relay: S3Relay, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="b", Body=b"b")
    relay.set(answer=503, kinds=["GET"])
    with pytest.raises(ClientError, match="SlowDown"):
        client.get_object(Bucket=bucket, Key="b")
    client.head_object(Bucket=bucket, Key="b")
    relay.set()
    assert client.get_object(Bucket=bucket, Key="b")["Body"].read() == b"b"


@pytest.mark.parametrize("mode", ["refuse", "blackhole"])
def test_it_is_gone_or_silent_and_comes_back_on_its_port(relay: S3Relay, client: Any, bucket: str, mode: str) -> None:
    client.put_object(Bucket=bucket, Key="c", Body=b"c")
    relay.set(mode=mode)
    with pytest.raises(BotoCoreError):
        client.get_object(Bucket=bucket, Key="c")
    relay.set()
    assert client.get_object(Bucket=bucket, Key="c")["Body"].read() == b"c"


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/b?list-type=2&prefix=x/", "LIST"),
        ("GET", "/b?versioning", "BUCKET"),
        ("HEAD", "/b", "BUCKET"),
        ("POST", "/b/k?uploads", "MULTIPART"),
        ("POST", "/b?delete", "DELETE"),
        ("GET", "/b/k%20l?x-id=GetObject", "GET"),
    ],
)
def test_kinds(method: str, target: str, kind: str) -> None:
    assert kind_of(method, target, {})[0] == kind


def test_each_kind_can_have_a_delay_of_its_own(relay: S3Relay, client: Any, bucket: str) -> None:
    """The client waits one second: a PUT that is held up for longer fails, a GET passes."""
    client.put_object(Bucket=bucket, Key="e", Body=b"e")
    relay.set(delays={"PUT": 60.0, "LIST": 0.01})
    assert client.get_object(Bucket=bucket, Key="e")["Body"].read() == b"e"
    with pytest.raises(BotoCoreError):
        client.put_object(Bucket=bucket, Key="e", Body=b"f")
    relay.set()
    client.put_object(Bucket=bucket, Key="e", Body=b"g")
