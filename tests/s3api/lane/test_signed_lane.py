"""Signatures and grants in the hit lane: what the ordinary way refuses, the lane declines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.s3api import signed
from tests.s3api.lane.ground import Ground
from tierproxy.s3api.auth import AccessKey
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.request import Request
from tierproxy.testing.clock import VirtualClock

SIGNED: dict[str, Request] = {
    "header": signed.by_header("GET", "/mail/a"),
    "HEAD": signed.by_header("HEAD", "/mail/a"),
    "range": signed.by_header("GET", "/mail/a", {"Range": "bytes=0-1"}),
    "checksum mode": signed.by_header("GET", "/mail/a", {"x-amz-checksum-mode": "ENABLED"}),
    "agent": signed.by_header("GET", "/mail/a", {"User-Agent": "aws cli", "amz-sdk-request": "attempt=1"}),
    "encoded": signed.by_header("GET", "/mail/d%20e"),
    "presigned": signed.by_query("GET", "/mail/a"),
    "presigned HEAD": signed.by_query("HEAD", "/mail/a"),
    "presigned with overrides": signed.by_query("GET", "/mail/a?response-content-type=text%2Fplain"),
}


def ground_for(request: Request, key: AccessKey = signed.KEY, late: float = 0.0) -> Ground:
    moment = signed.moment_of(request) + late
    ground = Ground(keys=signed.authenticator(moment, key=key), clock=VirtualClock(moment))
    ground.near.put("a", b"mail")
    ground.near.put("d e", b"mail")
    ground.near.put("ann/1", b"mail")
    return ground


@pytest.mark.parametrize("how", SIGNED)
def test_a_signed_request_is_answered_again_and_again(how: str) -> None:
    request = SIGNED[how]
    ground = ground_for(request)
    for _ in range(3):
        answer = ground.ask(request)
        assert answer is not None
        assert answer.status in {200, 206}
    assert all(one.visitor.access_key == signed.ACCESS_KEY for one in ground.lane.take().deliveries)


def without(name: bytes) -> Callable[[Request], None]:
    return lambda request: request.headers.__delitem__(name)


def changed(name: bytes, old: bytes, new: bytes) -> Callable[[Request], None]:
    def change(request: Request) -> None:
        assert old in request.headers[name]
        request.headers[name] = request.headers[name].replace(old, new)

    return change


def added(name: bytes, value: bytes) -> Callable[[Request], None]:
    return lambda request: request.headers.__setitem__(name, value)


def elsewhere(request: Request) -> None:
    request.raw_path = b"/mail/d%20e"


REFUSED: dict[str, Callable[[Request], None]] = {
    "no authorization": without(b"authorization"),
    "no date": without(b"x-amz-date"),
    "no digest": without(b"x-amz-content-sha256"),
    "no host": without(b"host"),
    "another host": changed(b"host", b"9300", b"9301"),
    "another object": elsewhere,
    "another signature": changed(b"authorization", b"Signature=", b"Signature=0"),
    "a signature that is none": changed(b"authorization", b"Signature=", b"Signature=x"),
    "another day": changed(b"authorization", b"/us-east-1", b"1/us-east-1"),
    "another region": changed(b"authorization", b"us-east-1", b"us-east-2"),
    "another service": changed(b"authorization", b"/s3/", b"/iam/"),
    "another key": changed(b"authorization", b"AKIA", b"AKIB"),
    "fewer headers": changed(b"authorization", b";x-amz-date", b""),
    "more headers": changed(b"authorization", b"host;", b"host;range;"),
    "no host among them": changed(b"authorization", b"host;", b""),
    "another scheme": changed(b"authorization", b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA512"),
    "twice the signature": changed(b"authorization", b"Signature=", b"Signature=1, Signature="),
    "an unsigned header": added(b"x-amz-meta-a", b"1"),
    "a token": added(b"x-amz-security-token", b"1"),
    "an old date": changed(b"x-amz-date", b"T", b"U"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_ordinary_way_refuses_is_declined(what: str) -> None:
    request = signed.by_header("GET", "/mail/a")
    ground = ground_for(request)
    assert ground.ask(request) is not None
    REFUSED[what](request)
    assert signed.refusal(lambda: ground.keys.admit(request)) is not None
    assert ground.ask(request) is None
    assert ground.lane.take().answers == {200: 1}


@pytest.mark.parametrize("late", [-1000.0, 1000.0])
def test_a_signature_of_another_time_is_declined(late: float) -> None:
    request = signed.by_header("GET", "/mail/a")
    assert ground_for(request, late=late).ask(request) is None


def test_a_presigned_url_ends() -> None:
    request = signed.by_query("GET", "/mail/a", expires=60)
    assert ground_for(request, late=59).ask(request) is not None
    assert ground_for(request, late=61).ask(request) is None


@pytest.mark.parametrize("old", ["X-Amz-Signature=", "X-Amz-Date=2", "X-Amz-Expires=", "X-Amz-Credential=A"])
def test_a_changed_presigned_url_is_declined(old: str) -> None:
    request = signed.by_query("GET", "/mail/a")
    ground = ground_for(request)
    assert ground.ask(request) is not None
    assert old.encode() in request.raw_query
    request.raw_query = request.raw_query.replace(old.encode(), old.encode() + b"1")
    assert ground.ask(request) is None


def test_grants_are_looked_at_for_each_object_and_key() -> None:
    request, other = signed.by_header("GET", "/mail/ann/1"), signed.by_header("GET", "/mail/a")
    key = AccessKey(signed.ACCESS_KEY, signed.SECRET, Grants.of(["mail/ann"], "read"))
    ground = ground_for(request, key)
    for _ in range(2):
        assert ground.ask(request) is not None
        assert ground.ask(other) is None


def test_one_key_reads_what_another_was_refused() -> None:
    request = signed.by_header("GET", "/mail/a")
    refused = ground_for(request, AccessKey(signed.ACCESS_KEY, signed.SECRET, Grants.of(["other"], "write")))
    assert refused.ask(request) is None
    assert ground_for(request).ask(request) is not None


def test_unsigned_requests_are_declined_where_signatures_are_asked_for() -> None:
    ground = ground_for(SIGNED["header"])
    assert ground.ask(SIGNED["header"]) is not None
    assert ground.get("/mail/a", host=signed.HOST) is None
    assert ground.get("/mail/a?x-id=GetObject", host=signed.HOST) is None
