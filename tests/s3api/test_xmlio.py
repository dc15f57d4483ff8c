"""S3's XML, read safely and written exactly."""

from __future__ import annotations

from functools import partial
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import refusal
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.xmlio import (
    MAX_DOCUMENT,
    NAMESPACE,
    DeleteTarget,
    NamedPart,
    document,
    escape,
    group,
    parse_complete,
    parse_create_bucket,
    parse_delete,
    tag,
    url_encoded,
)


def code_of_delete(body: bytes) -> str:
    with pytest.raises(S3Error) as refused:
        parse_delete(body)
    return refused.value.code


@pytest.mark.parametrize("namespace", ["", f' xmlns="{NAMESPACE}"'])
def test_a_delete_names_objects(namespace: str) -> None:
    body = (
        f"<Delete{namespace}><Quiet>true</Quiet><Object><Key> a&amp;b/ä </Key></Object>"
        '<Object><Key>c</Key><VersionId>null</VersionId><ETag>"e"</ETag></Object></Delete>'
    )
    parsed = parse_delete(body.encode())
    assert parsed.quiet
    assert parsed.targets == (DeleteTarget(" a&b/ä "), DeleteTarget("c", "null", "e"))


def test_quiet_is_not_the_default() -> None:
    assert not parse_delete(b"<Delete><Object><Key>a</Key></Object></Delete>").quiet


@pytest.mark.parametrize("count", [0, 1001])
def test_a_delete_names_one_to_a_thousand(count: int) -> None:
    assert code_of_delete(b"<Delete>" + b"<Object><Key>a</Key></Object>" * count + b"</Delete>") == "MalformedXML"
    full = b"<Delete>" + b"<Object><Key>a</Key></Object>" * 1000 + b"</Delete>"
    assert len(parse_delete(full).targets) == 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"<Delete>",
        b"<Delete/>",
        b"<Other><Object><Key>a</Key></Object></Other>",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object><Key/></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Object><Key>a<b/></Key></Object></Delete>",
        b"<Delete><Object><Key>&undefined;</Key></Object></Delete>",
        b"<Delete><Object><Key>\x00</Key></Object></Delete>",
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="no-such-encoding"?><Delete/>',
        b'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>',
        b'<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&f;</Key></Object></Delete>',
        b"<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>",
        b"<Delete>" + b"<a>" * 16 + b"</a>" * 16 + b"<Object><Key>a</Key></Object></Delete>",
        b"<Delete>" + b"<a/>" * 100_000 + b"<Object><Key>a</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object></Delete><Delete/>",
    ],
)
def test_hostile_and_broken_documents_are_malformed(body: bytes) -> None:
    assert code_of_delete(body) == "MalformedXML"


def test_a_document_has_a_size() -> None:
    assert code_of_delete(b" " * (MAX_DOCUMENT + 1)) == "MaxMessageLengthExceeded"


def test_a_conditional_delete_that_cannot_be_kept_is_not_ignored() -> None:
    assert code_of_delete(b"<Delete><Object><Key>a</Key><Size>3</Size></Object></Delete>") == "NotImplemented"


def part(number: str, etag: str = '"e"', more: str = "") -> str:
    return f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{more}</Part>"


def complete(*parts: str) -> bytes:
    return f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()


def test_an_upload_is_completed_from_parts_in_order() -> None:
    body = complete(part("1", "&quot;e&quot;"), part(" 7 ", "f", "<ChecksumCRC32>AAAA</ChecksumCRC32>"))
    assert parse_complete(body) == (NamedPart(1, "e"), NamedPart(7, "f", {"crc32": "AAAA"}))


def test_ten_thousand_parts_are_not_too_many() -> None:
    more = f"<ChecksumSHA256>{'a' * 44}</ChecksumSHA256>"
    assert len(parse_complete(complete(*(part(str(n), "e" * 34, more) for n in range(1, 10_001))))) == 10_000


@pytest.mark.parametrize("numbers", [("2", "1"), ("1", "1")])
def test_parts_out_of_order_are_refused(numbers: tuple[str, ...]) -> None:
    with pytest.raises(S3Error) as refused:
        parse_complete(complete(*map(part, numbers)))
    assert refused.value.code == "InvalidPartOrder"


@pytest.mark.parametrize(
    "body", [complete(), complete(part("0")), complete(part("10001")), complete(part("x")), complete(part("-1")),
             complete(part("٣")), complete(part("1", "")), complete("<Part/>")],
)  # fmt: skip
def test_parts_that_are_none_are_malformed(body: bytes) -> None:
    with pytest.raises(S3Error) as refused:
        parse_complete(body)
    assert refused.value.code == "MalformedXML"


def test_a_new_bucket_may_name_its_location() -> None:
    inner = "<LocationConstraint>eu-west-1</LocationConstraint>"
    body = f'<CreateBucketConfiguration xmlns="{NAMESPACE}">{inner}</CreateBucketConfiguration>'
    assert parse_create_bucket(body.encode()) == "eu-west-1"
    assert parse_create_bucket(b"<CreateBucketConfiguration/>") is None
    assert parse_create_bucket(b"") is None


pieces = st.sampled_from(
    [
        b"<Delete>",
        b"</Delete>",
        b"<Object>",
        b"</Object>",
        b"<Key>",
        b"</Key>",
        b"a",
        b"&amp;",
        b"&#0;",
        b"<!--",
        b"<?xml ",
        b"]]>",
        b"\xef\xbb\xbf",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces | st.binary(max_size=6), max_size=14))
def test_no_bytes_make_the_parsers_stumble(parts: list[bytes]) -> None:
    body = b"".join(parts)
    for parse in (parse_delete, parse_complete, parse_create_bucket):
        assert refusal(partial(parse, body)) in {None, "MalformedXML", "InvalidPartOrder", "NotImplemented"}


# ---------------------------------------------------------------- writing


def test_a_document_is_written_as_s3_writes_it() -> None:
    body = document("ListBucketResult", tag("Name", "mail"), group("Contents", tag("Size", 3), tag("Last", False)))
    assert body == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Name>mail</Name><Contents><Size>3</Size><Last>false</Last></Contents></ListBucketResult>"
    )
    assert b"xmlns" not in document("Error", tag("Code", "NoSuchKey"), namespace="")


def test_what_xml_cannot_carry_becomes_a_reference() -> None:
    assert escape('a<b>&"c"\r\n\x01\x1f\uffff') == "a&lt;b&gt;&amp;&quot;c&quot;&#13;\n&#x1;&#x1f;&#xffff;"


carried = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\r\n\t")
)


@settings(max_examples=300, deadline=None)
@given(carried)
def test_what_xml_can_carry_comes_back_unchanged(text: str) -> None:
    assert (fromstring(document("R", tag("Key", text), namespace="")).findtext("Key") or "") == text


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_can_be_written(text: str) -> None:
    assert document("R", tag("Key", text))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_url_encoded_keys_are_read_back_by_either_kind_of_client(text: str) -> None:
    from urllib.parse import unquote, unquote_plus

    assert unquote(url_encoded(text)) == unquote_plus(url_encoded(text)) == text
    assert url_encoded(text).isascii()
