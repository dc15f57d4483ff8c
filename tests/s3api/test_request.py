"""What a request names, the headers it stores, and what an answer shows."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import refusal, request
from tierproxy import errors
from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.s3api.faults import STATUS, S3Error, fault_of
from tierproxy.s3api.headers import (
    object_headers,
    refuse_unsupported,
    response_overrides,
    stored_headers,
    wants_checksums,
    with_checksums,
)
from tierproxy.s3api.request import Query, Request, creatable_bucket_name, parse_query, split_copy_source


def code_of(target: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> str:
    path, _, query = target.partition(b"?")
    with pytest.raises(S3Error) as refused:
        Request("GET", path, query, headers or [])
    return refused.value.code


# ---------------------------------------------------------------- bucket and key


@pytest.mark.parametrize(
    ("path", "bucket", "key"),
    [
        ("/", "", ""),
        ("/mail", "mail", ""),
        ("/mail/", "mail", ""),
        ("/mail/a", "mail", "a"),
        ("/mail//a", "mail", "/a"),
        ("/mail/a/", "mail", "a/"),
        ("/mail/a//b", "mail", "a//b"),
        ("/mail/a+b", "mail", "a+b"),
        ("/mail/a%20b", "mail", "a b"),
        ("/mail/a%2520b", "mail", "a%20b"),  # decoded once
        ("/mail/a%2Fb", "mail", "a/b"),
        ("/mail/%E2%82%AC", "mail", "€"),
        ("/mail/.", "mail", "."),
        ("/mail/../other/x", "mail", "../other/x"),
        ("/mail/a/../../b", "mail", "a/../../b"),
        ("/mail/%2e%2e/b", "mail", "../b"),
        ("/mail%2Fa", "mail", "a"),
    ],
)
def test_the_path_names_a_bucket_and_a_key_verbatim(path: str, bucket: str, key: str) -> None:
    wanted = request("GET", path)
    assert (wanted.bucket, wanted.key) == (bucket, key)
    assert wanted.raw_path == path.encode()


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (b"", "InvalidURI"),
        (b"*", "InvalidURI"),
        (b"mail/a", "InvalidURI"),
        (b"/mail/%", "InvalidURI"),
        (b"/mail/%2", "InvalidURI"),
        (b"/mail/%zz", "InvalidURI"),
        (b"/mail/%ff", "InvalidURI"),
        (b"/mail/%c0%ae", "InvalidURI"),  # overlong dot
        (b"/mail/%ed%a0%80", "InvalidURI"),  # a surrogate
        (b"/mail/\xff", "InvalidURI"),
        (b"/mail/a%00b", "InvalidArgument"),
        (b"/mail?prefix=%00", "InvalidArgument"),
        (b"/mail?prefix=%ff", "InvalidURI"),
        (b"/mail?%g=1", "InvalidURI"),
        (b"//a", "InvalidBucketName"),
        (b"/./a", "InvalidBucketName"),
        (b"/../a", "InvalidBucketName"),
        (b"/ab/a", "InvalidBucketName"),
        (b"/mail box/a", "InvalidBucketName"),
        (b"/%2e%2e%2fetc", "InvalidBucketName"),
        (b"/mail/" + b"a" * 1025, "KeyTooLongError"),
        (b"/mail/" + "€".encode() * 342, "KeyTooLongError"),
    ],
)
def test_what_names_nothing_is_refused(target: bytes, code: str) -> None:
    assert code_of(target) == code


def test_a_key_of_1024_bytes_is_not_too_long() -> None:
    assert len(request("GET", "/mail/" + "a" * 1024).key) == 1024
    assert len(request("GET", "/mail/" + quote("é" * 512)).key) == 512


@pytest.mark.parametrize(
    ("host", "bucket", "key"),
    [
        ("mail.s3.example", "mail", "a/b"),
        ("mail.s3.example:9300", "mail", "a/b"),
        ("MAIL.S3.Example", "mail", "a/b"),
        ("a.b.s3.example", "a.b", "a/b"),
        ("s3.example", "aaa", "b"),
        ("s3.example.org", "aaa", "b"),
        ("[::1]:9300", "aaa", "b"),
        ("", "aaa", "b"),
    ],
)
def test_the_host_may_name_the_bucket(host: str, bucket: str, key: str) -> None:
    path = "/a/b" if key == "a/b" else "/aaa/b"
    wanted = request("GET", path, {"Host": host}, "s3.example")
    assert (wanted.bucket, wanted.key, wanted.virtual_host) == (bucket, key, key == "a/b")


def test_without_a_domain_the_host_names_nothing() -> None:
    assert request("GET", "/aaa/b", {"Host": "mail.s3.example"}).bucket == "aaa"


@pytest.mark.parametrize(
    ("name", "fine"),
    [("mail", True), ("a.b-c", True), ("ab", False), ("Mail", False), ("a..b", False), ("192.168.0.1", False),
     ("-ab", False), ("xn--abc", False), ("a" * 63, True), ("a" * 64, False), ("mail_box", False), ("", False)],
)  # fmt: skip
def test_new_buckets_are_named_as_s3_has_it(name: str, fine: bool) -> None:
    assert creatable_bucket_name(name) is fine


def test_a_copy_source_is_decoded_once() -> None:
    assert split_copy_source("/mail/a%20b%2Bc/d") == ("mail", "a b+c/d", None)
    assert split_copy_source("mail/a?versionId=7") == ("mail", "a", "7")
    for malformed in ("", "mail", "mail/", "/", "/%ff/a", "mail/%"):
        with pytest.raises(S3Error):
            split_copy_source(malformed)


# ---------------------------------------------------------------- query and headers


def test_the_query_keeps_order_and_duplicates() -> None:
    query = parse_query(b"uploads&prefix=a%26b&x=1&x=2&&=&plus=a+b%2B")
    assert query.pairs == (("uploads", ""), ("prefix", "a&b"), ("x", "1"), ("x", "2"), ("", ""), ("plus", "a b+"))
    assert "uploads" in query
    assert query.get("prefix") == "a&b"
    assert query.get("nothing") is None
    with pytest.raises(S3Error):
        query.get("x")


@pytest.mark.parametrize("text", ["-1", "x", "1001", "1e3", " 1", "٣", "9" * 30])
def test_a_number_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(S3Error):
        Query([("max-keys", text)]).number("max-keys", 1000, most=1000)


def test_a_number_has_a_default() -> None:
    assert Query([]).number("max-keys", 1000) == 1000
    assert Query([("max-keys", "7")]).number("max-keys", 1000) == 7


@pytest.mark.parametrize("name", [b"host", b"authorization", b"content-length", b"range", b"x-amz-checksum-crc32"])
def test_headers_that_decide_may_come_once(name: bytes) -> None:
    assert code_of(b"/mail/a", [(name, b"1"), (name, b"1")]) == "InvalidRequest"


def test_other_headers_are_joined() -> None:
    wanted = Request("GET", b"/mail/a", b"", [(b"if-match", b'"a"'), (b"if-match", b'"b"')])
    assert wanted.header("if-match") == '"a","b"'


@pytest.mark.parametrize("value", ["-1", "+1", "1_0", "0x1", "٣", "", "1,1", "9" * 20])
def test_a_length_is_digits(value: str) -> None:
    with pytest.raises(S3Error):
        _ = request("PUT", "/mail/a", {"Content-Length": value}).content_length
    with pytest.raises(S3Error):
        _ = request("PUT", "/mail/a", {"X-Amz-Decoded-Content-Length": value}).decoded_length


@settings(max_examples=400, deadline=None)
@given(
    st.binary(max_size=40) | st.from_regex(rb"/[a-z%0-9/.]{0,30}", fullmatch=True),
    st.binary(max_size=30),
    st.lists(
        st.tuples(st.sampled_from([b"host", b"x-amz-meta-a", b"range", b"content-length"]), st.binary(max_size=20))
    ),
)
def test_no_bytes_make_the_parser_stumble(path: bytes, query: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    def read() -> None:
        wanted = Request("GET", path, query, headers, "s3.example")
        assert (wanted.header("x-amz-meta-a") is None) == (b"x-amz-meta-a" not in wanted.headers)
        assert len(wanted.key.encode()) <= 1024
        stored_headers(wanted)
        assert wanted.content_length is None or wanted.content_length >= 0

    code = refusal(read)
    assert code is None or code in STATUS


# ---------------------------------------------------------------- what is stored, what is shown


def test_what_a_request_asks_to_be_stored() -> None:
    wanted = request(
        "PUT",
        "/mail/a",
        {
            "Content-Type": "message/rfc822",
            "Cache-Control": "no-cache",
            "Content-Disposition": "inline",
            "Content-Encoding": "aws-chunked, gzip",
            "Content-Language": "de",
            "Expires": "0",
            "X-Amz-Meta-Folder": "Entwürfe",
            "X-Amz-Meta-Flags": "a, b",
        },
    )
    assert stored_headers(wanted) == Headers(
        "message/rfc822", "no-cache", "inline", "gzip", "de", "0", {"folder": "Entwürfe", "flags": "a, b"}
    )
    assert stored_headers(request("PUT", "/mail/a", {"Content-Encoding": "aws-chunked"})).content_encoding is None


def test_metadata_that_is_not_utf8_is_latin1() -> None:
    wanted = Request("PUT", b"/mail/a", b"", [(b"x-amz-meta-a", b"\xe4")])
    assert stored_headers(wanted).metadata == {"a": "ä"}


def test_user_metadata_has_two_kilobytes() -> None:
    assert stored_headers(request("PUT", "/mail/a", {"x-amz-meta-a": "x" * 2047}))
    for headers in ({"x-amz-meta-a": "x" * 2048}, {f"x-amz-meta-{n:03}": "x" * 20 for n in range(100)}):
        with pytest.raises(S3Error) as refused:
            stored_headers(request("PUT", "/mail/a", headers))
        assert refused.value.code == "MetadataTooLarge"


ENTRY = Entry(
    ObjectName("mail", "a"),
    1,
    State.CLEAN,
    3,
    "abc",
    1_000_000_000.75,
    headers=with_checksums(
        Headers(content_type="text/plain", metadata={"folder": "Entwürfe"}, cache_control="no-cache"), {"crc32": "AAAA"}
    ),
)


def test_what_an_answer_shows() -> None:
    assert dict(object_headers(ENTRY)) == {
        b"etag": b'"abc"',
        b"last-modified": b"Sun, 09 Sep 2001 01:46:40 GMT",
        b"accept-ranges": b"bytes",
        b"content-type": b"text/plain",
        b"cache-control": b"no-cache",
        b"x-amz-meta-folder": "Entwürfe".encode(),
    }


def test_checksums_are_shown_when_asked_for() -> None:
    assert wants_checksums(request("GET", "/mail/a", {"x-amz-checksum-mode": "ENABLED"}))
    shown = dict(object_headers(ENTRY, checksums=True))
    assert shown[b"x-amz-checksum-crc32"] == b"AAAA"
    assert shown[b"x-amz-checksum-type"] == b"FULL_OBJECT"


def test_a_request_may_override_headers_if_it_is_signed() -> None:
    wanted = request("GET", "/mail/a?response-content-type=text/html&response-expires=0")
    overrides = response_overrides(wanted, signed=True)
    shown = object_headers(ENTRY, overrides=overrides)
    assert [value for name, value in shown if name == b"content-type"] == [b"text/html"]
    assert (b"expires", b"0") in shown
    with pytest.raises(S3Error):
        response_overrides(wanted, signed=False)
    assert response_overrides(request("GET", "/mail/a"), signed=False) == {}


@pytest.mark.parametrize("value", ["a%0d%0aSet-Cookie:x", "a%0a", "%01", "%7f"])
def test_an_override_cannot_smuggle_a_header(value: str) -> None:
    with pytest.raises(S3Error) as refused:
        response_overrides(request("GET", f"/mail/a?response-content-type={value}"), signed=True)
    assert refused.value.code == "InvalidArgument"


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-tagging": "a=b"},
        {"x-amz-acl": "public-read"},
        {"x-amz-expected-bucket-owner": "111122223333"},
        {"x-amz-grant-read": "id=1"},
        {"x-amz-storage-class": "GLACIER"},
        {"x-amz-server-side-encryption-customer-key": "k"},
        {"x-amz-object-lock-mode": "COMPLIANCE"},
    ],
)
def test_what_cannot_be_done_is_refused_and_not_ignored(headers: dict[str, str]) -> None:
    with pytest.raises(S3Error):
        refuse_unsupported(request("PUT", "/mail/a", headers))
    harmless = {"x-amz-acl": "private", "x-amz-storage-class": "STANDARD", "x-amz-tagging-directive": "COPY"}
    refuse_unsupported(request("PUT", "/mail/a", harmless))


# ---------------------------------------------------------------- faults


def kinds_of(base: type[Exception]) -> list[type[Exception]]:
    return [base, *(kind for child in base.__subclasses__() for kind in kinds_of(child))]


@pytest.mark.parametrize("kind", [*kinds_of(errors.AltError), errors.LostInAlt, errors.Unreadable])
def test_trouble_with_alt_is_never_a_404(kind: type[errors.TierproxyError]) -> None:
    assert fault_of(kind("secret detail")).status in {501, 502, 503}
    assert "secret detail" not in fault_of(kind("secret detail")).message


def test_only_what_is_certain_is_a_404() -> None:
    missing = {code for code, status in STATUS.items() if status == 404}
    assert missing == {"NoSuchBucket", "NoSuchKey", "NoSuchUpload"}


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.NoSuchKey(), "NoSuchKey", 404),
        (errors.OutOfSpace(), "InsufficientStorage", 507),
        (errors.Busy(), "SlowDown", 503),
        (errors.AltRefused(), "BadGateway", 502),
        (errors.BadBody("x", code="IncompleteBody"), "IncompleteBody", 400),
        (errors.TooLarge(), "EntityTooLarge", 400),
        (errors.RangeUnsatisfiable(7), "InvalidRange", 416),
        (S3Error("AccessDenied", "no"), "AccessDenied", 403),
        (errors.StaleGeneration(), "ServiceUnavailable", 503),
        (ValueError("secret"), "InternalError", 500),
    ],
)
def test_each_error_has_its_code_and_status(error: Exception, code: str, status: int) -> None:
    fault = fault_of(error)
    assert (fault.code, fault.status) == (code, status)
    assert "secret" not in fault.message


def test_a_refused_range_tells_the_size_and_a_busy_node_when_to_come_back() -> None:
    assert (b"content-range", b"bytes */7") in fault_of(errors.RangeUnsatisfiable(7)).headers
    for error in (errors.AltUnavailable(), errors.Busy(), errors.ShuttingDown(), errors.AltMissing()):
        assert any(name == b"retry-after" for name, _ in fault_of(error).headers)
