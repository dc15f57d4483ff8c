"""Published signatures: botocore's signer and ours come to the same, and neither lets anything else pass for it.

The chunked examples (with and without a trailer) are in tests/s3api/test_stream.py.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.s3api.signed import refusal
from tests.security.vectors import (
    S3,
    S3_ACCESS_KEY,
    S3_DATE,
    S3_HOST,
    S3_SECRET,
    SUITE,
    SUITE_ACCESS_KEY,
    SUITE_DATE,
    SUITE_HOST,
    SUITE_SECRET,
    Vector,
)
from tierproxy.s3api.auth import AccessKey, SigV4, derive_key, sign, string_to_sign
from tierproxy.s3api.canonical import SignedHeaders, canonical_requests
from tierproxy.s3api.dates import amz_date
from tierproxy.s3api.grants import EVERYTHING
from tierproxy.s3api.request import Request
from tierproxy.testing.clock import VirtualClock

DOMAINS = {SUITE_HOST: "amazonaws.com", S3_HOST: "s3.amazonaws.com"}


class _Verbatim(SigV4Auth):
    """With the path as it is, as the suite's "unnormalized" cases have it: botocore does that for S3 alone."""

    def _normalize_url_path(self, path: str) -> str:
        return path


def request_of(vector: Vector, host: str, more: dict[str, str]) -> Request:
    """As the object port sees it."""
    path, _, query = (vector.sent or vector.target).partition("?")
    headers = [("host", host), *((name.lower(), value) for name, value in (*vector.headers, *more.items()))]
    raw = [(name.encode(), value.encode()) for name, value in headers]
    return Request(vector.method, path.encode(), query.encode(), raw, DOMAINS[host])


def asked_of(vector: Vector, host: str) -> AWSRequest:
    """As botocore sees it."""
    asked = AWSRequest(vector.method, f"https://{host}{vector.sent or vector.target}", data=vector.body)
    for name, value in (("Host", host), *vector.headers):
        asked.headers.add_header(name, value)
    return asked


def at(stamp: str) -> mock._patch[mock.Mock]:
    """botocore's clock."""
    moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return mock.patch("botocore.auth.get_current_datetime", return_value=moment.replace(tzinfo=None))


# ---------------------------------------------------------------- the test suite


@pytest.mark.parametrize("name", SUITE)
def test_the_suites_signatures_are_ours(name: str) -> None:
    vector = SUITE[name]
    request = request_of(vector, SUITE_HOST, {"x-amz-date": SUITE_DATE})
    names = sorted({"host", "x-amz-date", *(header.lower() for header, _ in vector.headers)})
    digest = hashlib.sha256(vector.body).hexdigest()
    key = derive_key(SUITE_SECRET, SUITE_DATE[:8], "us-east-1", "service")
    scope = f"{SUITE_DATE[:8]}/us-east-1/service/aws4_request"
    made = {
        sign(key, string_to_sign(SUITE_DATE, scope, canonical))
        for canonical in canonical_requests(request, SignedHeaders(";".join(names).encode()), digest)
    }
    assert vector.signature in made


@pytest.mark.parametrize("name", SUITE)
def test_the_suites_signatures_are_botocores(name: str) -> None:
    vector = SUITE[name]
    signer = _Verbatim(Credentials(SUITE_ACCESS_KEY, SUITE_SECRET), "service", "us-east-1")
    asked = asked_of(vector, SUITE_HOST)
    with at(SUITE_DATE):
        signer.add_auth(asked)
    assert asked.headers["Authorization"].endswith(f"Signature={vector.signature}")


# ---------------------------------------------------------------- the examples of S3


class _BothDates(S3SigV4Auth):
    """botocore signs Date or x-amz-date; one of the examples has both."""

    def _set_necessary_date_headers(self, request: AWSRequest) -> None:
        request.headers["X-Amz-Date"] = request.context["timestamp"]


def signed_by_botocore(vector: Vector) -> AWSRequest:
    asked, keys = asked_of(vector, S3_HOST), Credentials(S3_ACCESS_KEY, S3_SECRET)
    with at(S3_DATE):
        if vector.expires:
            S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=vector.expires).add_auth(asked)
        else:
            _BothDates(keys, "s3", "us-east-1").add_auth(asked)
    return asked


def arrived(asked: AWSRequest) -> Request:
    assert asked.url is not None
    assert asked.method is not None
    path, _, query = asked.url.removeprefix(f"https://{S3_HOST}").partition("?")
    raw = [(name.lower().encode(), value.encode()) for name, value in asked.headers.items()]
    return Request(asked.method, path.encode(), query.encode(), raw, DOMAINS[S3_HOST])


@pytest.mark.parametrize("name", S3)
def test_the_examples_of_s3_are_botocores_and_are_let_in(name: str) -> None:
    vector = S3[name]
    asked = signed_by_botocore(vector)
    assert vector.signature in f"{asked.url} {asked.headers.get('Authorization', '')}"
    guard = SigV4([AccessKey(S3_ACCESS_KEY, S3_SECRET, EVERYTHING)], "us-east-1", VirtualClock(amz_date(S3_DATE)))
    assert guard.admit(arrived(asked)).identity.access_key_id == S3_ACCESS_KEY


@pytest.mark.parametrize("name", S3)
def test_no_digit_of_a_published_signature_can_be_another(name: str) -> None:
    vector = S3[name]
    guard = SigV4([AccessKey(S3_ACCESS_KEY, S3_SECRET, EVERYTHING)], "us-east-1", VirtualClock(amz_date(S3_DATE)))
    for place, digit in enumerate(vector.signature):
        other = vector.signature[:place] + ("0" if digit != "0" else "1") + vector.signature[place + 1 :]
        asked = signed_by_botocore(vector)
        assert asked.url is not None
        asked.url = asked.url.replace(vector.signature, other)
        if "Authorization" in asked.headers:
            asked.headers.replace_header(
                "Authorization", asked.headers["Authorization"].replace(vector.signature, other)
            )
        assert refusal(lambda sent=asked: guard.admit(arrived(sent))) == "SignatureDoesNotMatch"  # type: ignore[misc]
