"""Signature V4: AWS's published examples, botocore's signer as an oracle, and everything that must be refused."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import (
    ACCESS_KEY,
    HOST,
    KEY,
    SECRET,
    authenticator,
    by_header,
    by_query,
    moment_of,
    request,
)
from tierproxy.errors import BadBody
from tierproxy.s3api.auth import EMPTY_SHA256, AccessKey, Open, Payload, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_date, amz_stamp
from tierproxy.s3api.faults import STATUS, S3Error
from tierproxy.s3api.grants import EVERYTHING
from tierproxy.s3api.request import Request

DAY = amz_date("20130524T000000Z")
AWS_DOMAIN = "s3.amazonaws.com"
AWS_HOST = f"examplebucket.{AWS_DOMAIN}"
SCOPE = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request"


def code_of(wanted: Request, moment: float | None = None, region: str = "us-east-1") -> str:
    with pytest.raises(S3Error) as refused:
        authenticator(moment_of(wanted) if moment is None else moment, region).admit(wanted)
    return refused.value.code


def aws_example(
    method: str, target: str, headers: dict[str, str], names: str, signature: str, sha256: str = EMPTY_SHA256
) -> Request:
    authorization = f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={names},Signature={signature}"
    fixed = {"Host": AWS_HOST, "x-amz-content-sha256": sha256, "x-amz-date": "20130524T000000Z"}
    return request(method, target, {**fixed, **headers, "Authorization": authorization}, AWS_DOMAIN)


EXAMPLES = {
    "get object": aws_example(
        "GET",
        "/test.txt",
        {"Range": "bytes=0-9"},
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put object": aws_example(
        "PUT",
        "/test$file.text",
        {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
    ),
    "get bucket lifecycle": aws_example(
        "GET",
        "/?lifecycle",
        {},
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": aws_example(
        "GET",
        "/?max-keys=2&prefix=J",
        {},
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
    "presigned get": request(
        "GET",
        f"/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={quote(SCOPE, safe='')}"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        {"Host": AWS_HOST},
        AWS_DOMAIN,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_amazon_publishes_are_let_in(name: str) -> None:
    admission = authenticator(DAY).admit(EXAMPLES[name])
    assert admission.identity.access_key_id == ACCESS_KEY
    assert admission.signed


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_examples_with_another_secret_are_not(name: str) -> None:
    other = AccessKey(ACCESS_KEY, SECRET + "x", EVERYTHING)
    with pytest.raises(S3Error) as refused:
        authenticator(DAY, key=other).admit(EXAMPLES[name])
    assert refused.value.code == "SignatureDoesNotMatch"


# ---------------------------------------------------------------- botocore as the oracle

# The dots are left out because botocore's plain signer works on URLs, not on keys: urllib3 would resolve them.
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
odd = st.sampled_from(
    ["a b", "a+b", "//", "ä/ö", "%2F", "a%20b", "~._-", "x=y&z", "日本", "*'()!", "a:b@c,d;e", "📧", "\n"]
)
parameters = st.dictionaries(
    st.sampled_from(["prefix", "marker", "delimiter", "uploads", "partNumber", "start-after", "versionId"]),
    keys | odd | st.just(""),
    max_size=4,
)


def target_of(key: str, query: dict[str, str]) -> str:
    pairs = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query.items())
    return f"/mail/{quote(key, safe='/-_.~')}" + (f"?{pairs}" if pairs else "")


@settings(max_examples=300, deadline=None)
@given(keys | odd, parameters, st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"]), st.binary(max_size=20))
def test_what_botocore_signs_in_headers_is_let_in(key: str, query: dict[str, str], method: str, body: bytes) -> None:
    wanted = by_header(method, target_of(key, query), {"x-amz-meta-a": "  two   spaces "}, body)
    admission = authenticator(moment_of(wanted)).admit(wanted)
    assert (wanted.bucket, wanted.key) == ("mail", key)
    assert admission.payload is Payload.SIGNED
    assert admission.sha256 == hashlib.sha256(body).hexdigest()
    assert {name: wanted.query.get(name) for name in wanted.query.names()} == query


@settings(max_examples=300, deadline=None)
@given(keys | odd, parameters, st.sampled_from(["GET", "PUT"]))
def test_what_botocore_presigns_is_let_in(key: str, query: dict[str, str], method: str) -> None:
    wanted = by_query(method, target_of(key, query))
    admission = authenticator(moment_of(wanted) + 3599).admit(wanted)
    assert wanted.key == key
    assert admission.payload is Payload.UNSIGNED


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_changed_byte_of_path_query_or_signed_header_is_let_in(data: st.DataObject) -> None:
    wanted = by_header("GET", "/mail/a/b?prefix=c", {"x-amz-meta-a": "v"})
    auth = authenticator(moment_of(wanted))
    path, query, headers = wanted.raw_path, wanted.raw_query, dict(wanted.headers)
    part = data.draw(st.sampled_from(["path", "query", "method", *sorted(headers)]))
    extra = data.draw(st.sampled_from([b"x", b"/", b"1"]))
    method = "PUT" if part == "method" else "GET"
    if part == "path":
        path += extra
    elif part == "query":
        query += extra
    elif isinstance(part, bytes):
        headers[part] += extra
    with pytest.raises(S3Error):
        auth.admit(Request(method, path, query, headers.items()))


def test_a_client_that_signs_its_own_notation_of_the_path_is_let_in() -> None:
    wanted = by_header("GET", "/mail/a(b),c'd!e*f%2fg?list-type=2&prefix=a/b:c")
    assert authenticator(moment_of(wanted)).admit(wanted)


def test_a_path_encoded_more_than_the_signature_says_is_the_same_object() -> None:
    wanted = by_header("GET", "/mail/abc")
    again = Request("GET", b"/mail/%61bc", b"", wanted.headers.items())
    assert authenticator(moment_of(wanted)).admit(again)
    assert again.key == "abc"


def test_what_is_encoded_less_on_the_wire_than_in_the_signature_is_let_in() -> None:
    wanted = by_header("GET", "/mail/a%2Bb%40c?prefix=d%2Fe%3Af")
    again = Request("GET", b"/mail/a+b@c", b"prefix=d/e:f", wanted.headers.items())
    assert authenticator(moment_of(wanted)).admit(again)
    assert again.key == wanted.key == "a+b@c"


def test_a_presigned_query_may_be_written_anew_on_its_way() -> None:
    wanted = by_query("GET", "/mail/a?prefix=b")
    again = Request("GET", b"/mail/a", wanted.raw_query.replace(b"prefix=b", b"%70refix=%62"), wanted.headers.items())
    assert authenticator(moment_of(wanted)).admit(again)


# ---------------------------------------------------------------- what must be refused


def test_a_request_without_a_signature_is_refused() -> None:
    assert code_of(request("GET", "/mail/a", {"Host": HOST})) == "AccessDenied"


@pytest.mark.parametrize("authorization", ["AWS AKIA:c2ln", "Bearer x", "Basic eDp5", "AWS4-ECDSA-P256-SHA256 x=y", ""])
def test_other_schemes_are_refused(authorization: str) -> None:
    assert code_of(request("GET", "/mail/a", {"Host": HOST, "Authorization": authorization}), DAY) == "AccessDenied"


def test_version_two_in_the_query_is_refused() -> None:
    assert (
        code_of(request("GET", "/mail/a?AWSAccessKeyId=A&Signature=s&Expires=1", {"Host": HOST}), DAY) == "AccessDenied"
    )


@pytest.mark.parametrize(("skew", "admitted"), [(899, True), (-899, True), (901, False), (-901, False)])
def test_the_clocks_may_differ_by_fifteen_minutes(skew: float, admitted: bool) -> None:
    wanted = by_header("GET", "/mail/a")
    if admitted:
        assert authenticator(moment_of(wanted) + skew).admit(wanted)
    else:
        assert code_of(wanted, moment_of(wanted) + skew) == "RequestTimeTooSkewed"


def test_a_presigned_url_ends() -> None:
    wanted = by_query("GET", "/mail/a", expires=60)
    assert authenticator(moment_of(wanted) + 60).admit(wanted)
    assert code_of(wanted, moment_of(wanted) + 61) == "AccessDenied"
    assert code_of(wanted, moment_of(wanted) - 901) == "AccessDenied"


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "x", "1e3", "", "٣"])
def test_a_presigned_url_lives_a_second_to_a_week(expires: str) -> None:
    wanted = by_query("GET", "/mail/a")
    query = wanted.raw_query.replace(b"X-Amz-Expires=3600", b"X-Amz-Expires=" + quote(expires).encode())
    again = Request("GET", wanted.raw_path, query, wanted.headers.items())
    assert code_of(again) == "AuthorizationQueryParametersError"


def test_a_week_is_not_too_long() -> None:
    wanted = by_query("GET", "/mail/a", expires=604800)
    assert authenticator(moment_of(wanted) + 604800).admit(wanted)


def test_the_wrong_region_is_told_the_right_one() -> None:
    wanted = by_header("GET", "/mail/a")
    with pytest.raises(S3Error, match="eu-west-9") as refused:
        authenticator(moment_of(wanted), "eu-west-9").admit(wanted)
    assert refused.value.code == "AuthorizationHeaderMalformed"
    assert code_of(by_query("GET", "/mail/a"), region="eu-west-9") == "AuthorizationQueryParametersError"


def test_an_unknown_key_is_refused() -> None:
    wanted = by_header("GET", "/mail/a")
    other = AccessKey("somebody", SECRET, EVERYTHING)
    with pytest.raises(S3Error) as refused:
        authenticator(moment_of(wanted), key=other).admit(wanted)
    assert refused.value.code == "InvalidAccessKeyId"


def test_session_tokens_are_refused_with_a_reason() -> None:
    wanted = by_header("GET", "/mail/a", {"x-amz-security-token": "t"})
    assert code_of(wanted) == "InvalidToken"
    assert code_of(by_query("GET", "/mail/a?X-Amz-Security-Token=t")) == "InvalidToken"


def test_an_amz_header_added_after_signing_is_refused() -> None:
    for wanted in (by_header("PUT", "/mail/a"), by_query("PUT", "/mail/a")):
        added = Request("PUT", wanted.raw_path, wanted.raw_query, [*wanted.headers.items(), (b"x-amz-acl", b"private")])
        assert code_of(added) == "AccessDenied"


def test_the_host_must_be_signed() -> None:
    wanted = EXAMPLES["get object"]
    headers = dict(wanted.headers)
    headers[b"authorization"] = headers[b"authorization"].replace(b"host;", b"")
    assert code_of(Request("GET", wanted.raw_path, b"", headers.items()), DAY) == "AccessDenied"


def test_a_header_and_a_query_signature_together_are_refused() -> None:
    query, header = by_query("GET", "/mail/a"), by_header("GET", "/mail/a")
    both = Request("GET", query.raw_path, query.raw_query, header.headers.items())
    assert code_of(both) == "InvalidArgument"


def test_the_digest_of_the_body_is_required_in_the_header_form() -> None:
    wanted = by_header("GET", "/mail/a")
    headers = {name: value for name, value in wanted.headers.items() if name != b"x-amz-content-sha256"}
    assert code_of(Request("GET", wanted.raw_path, b"", headers.items())) == "InvalidRequest"
    for value in (b"SIGNED", b"abc", b"E3" * 32):
        again = Request("GET", wanted.raw_path, b"", {**headers, b"x-amz-content-sha256": value}.items())
        assert code_of(again) == "InvalidArgument"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/s3/", b"/ec2/"),
        (b"aws4_request", b"aws3_request"),
        (b"SignedHeaders=host;", b"SignedHeaders=HOST;"),
        (b"SignedHeaders=host;", b"SignedHeaders=host;host;"),
        (b"SignedHeaders=host;", b"SignedHeaders=z;host;"),
        (b"Signature=", b"Signature=G"),
        (b"Signature=", b"Signatur="),
        (b"Credential=", b"Credential=;"),
        (b"Credential=", b"Credential=a,Credential="),
    ],
)
def test_a_malformed_authorization_header_is_called_that(old: bytes, new: bytes) -> None:
    wanted = by_header("GET", "/mail/a")
    headers = dict(wanted.headers)
    assert old in headers[b"authorization"]
    headers[b"authorization"] = headers[b"authorization"].replace(old, new)
    code = code_of(Request("GET", wanted.raw_path, b"", headers.items()))
    assert code == "AuthorizationHeaderMalformed" or new == b"Credential=;"


def test_the_day_of_the_credential_is_the_day_of_the_request() -> None:
    wanted = EXAMPLES["get object"]
    headers = {**wanted.headers, b"x-amz-date": b"20130525T000000Z"}
    assert code_of(Request("GET", wanted.raw_path, b"", headers.items()), DAY) == "AuthorizationHeaderMalformed"


# ---------------------------------------------------------------- what comes with an admission


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(KEY)
    assert SECRET not in repr(authenticator(DAY))


def test_the_cache_of_derived_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.s3api.auth.MAX_CACHED_KEYS", 1)
    wanted = by_header("GET", "/mail/a")
    auth = authenticator(moment_of(wanted))
    assert auth.admit(wanted)
    assert auth.admit(wanted)
    assert len(auth._derived) == 1


def test_a_key_is_derived_anew_each_day() -> None:
    wanted = by_query("GET", "/mail/a", expires=604800)
    day = moment_of(wanted)
    auth = authenticator(day)
    assert auth.admit(wanted)
    yesterday = amz_stamp(day - 86400)
    scope = quote(f"/{yesterday[:8]}/us-east-1/s3/", safe="")
    changed = wanted.raw_query.replace(amz_stamp(day).encode(), yesterday.encode())
    changed = changed.replace(quote(f"/{amz_stamp(day)[:8]}/us-east-1/s3/", safe="").encode(), scope.encode())
    # Signed anew with today's key over yesterday's scope: it must not pass for a signature of yesterday's.
    query = changed.rpartition(b"&X-Amz-Signature=")[0]
    canonical = b"GET\n/mail/a\n%b\nhost:%b\n\nhost\nUNSIGNED-PAYLOAD" % (query, HOST.encode())
    text = string_to_sign(yesterday, f"{yesterday[:8]}/us-east-1/s3/aws4_request", canonical)
    for key_day, admitted in ((yesterday[:8], True), (amz_stamp(day)[:8], False)):
        signature = sign(derive_key(SECRET, key_day, "us-east-1"), text).encode()
        again = Request("GET", b"/mail/a", query + b"&X-Amz-Signature=" + signature, wanted.headers.items())
        if admitted:
            assert auth.admit(again)
        else:
            assert code_of(again, day) == "SignatureDoesNotMatch"


def test_with_auth_none_everybody_is_let_in_but_digests_still_count() -> None:
    admission = Open().admit(request("PUT", "/mail/a", {"x-amz-content-sha256": EMPTY_SHA256}))
    assert (admission.signed, admission.sha256) == (False, EMPTY_SHA256)
    assert Open().admit(request("GET", "/mail/a")).identity.grants.allows("mail", "a", write=True)
    chunked = Open().admit(request("PUT", "/mail/a", {"x-amz-content-sha256": Payload.CHUNKS_SIGNED.value}))
    assert (chunked.payload.chunked, chunked.seed) == (True, None)


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=60),
    st.dictionaries(
        st.sampled_from(["Authorization", "X-Amz-Date", "Date", "X-Amz-Content-Sha256", "Host"]),
        st.text(max_size=80) | st.just(f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders=host,Signature={'a' * 64}"),
    ),
    st.dictionaries(
        st.sampled_from(
            [f"X-Amz-{n}" for n in ("Algorithm", "Date", "Credential", "Expires", "SignedHeaders", "Signature")]
        ),
        st.text(max_size=20) | st.sampled_from(["AWS4-HMAC-SHA256", "20130524T000000Z", SCOPE, "host", "a" * 64, "60"]),
    ),
)
def test_no_request_whatever_makes_the_authenticator_stumble(
    path: str, headers: dict[str, str], query: dict[str, str]
) -> None:
    pairs = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    with pytest.raises((S3Error, BadBody)) as refused:
        authenticator(DAY).admit(request("GET", f"/{path}?{pairs}", headers))
    assert isinstance(refused.value, S3Error)
    assert refused.value.code in STATUS
