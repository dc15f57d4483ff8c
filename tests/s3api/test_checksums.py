"""What a body must hash to."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import refusal, request
from tierproxy.errors import BadBody
from tierproxy.s3api.checksums import (
    ALGORITHMS,
    DIGEST_BYTES,
    ContentCheck,
    composite,
    content_check,
    decode,
    digest_of,
    encode,
    full_object,
    multipart_type,
    parse_algorithm,
    trailing_algorithms,
)
from tierproxy.s3api.faults import S3Error

MD5 = base64.b64encode(hashlib.md5(b"123456789").digest()).decode()

# The check values of the catalogue of parametrised CRC algorithms, and FIPS 180's way of SHA, over "123456789".
CHECK_VALUES = {
    "crc32": (0xCBF43926).to_bytes(4, "big"),
    "crc32c": (0xE3069283).to_bytes(4, "big"),
    "crc64nvme": (0xAE8B14860A799888).to_bytes(8, "big"),
    "sha1": bytes.fromhex("f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
    "sha256": bytes.fromhex("15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
}


def checksum(algorithm: str, content: bytes) -> str:
    digest = digest_of(algorithm)
    digest.update(content)
    return encode(digest.digest())


def verified(headers: dict[str, str], content: bytes = b"123456789", sha256: str | None = None) -> ContentCheck:
    check = content_check(request("PUT", "/mail/a", headers), size=9, sha256=sha256)
    check.update(content)
    check.verify(len(content))
    return check


def code_of(headers: dict[str, str], content: bytes = b"123456789", sha256: str | None = None) -> str:
    with pytest.raises((BadBody, S3Error)) as refused:
        verified(headers, content, sha256)
    assert isinstance(refused.value, (BadBody, S3Error))
    return refused.value.code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_gives_its_published_check_value(algorithm: str) -> None:
    assert checksum(algorithm, b"123456789") == encode(CHECK_VALUES[algorithm])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=50), max_size=5))
def test_a_body_in_pieces_of_any_kind_has_the_same_checksum(algorithm: str, pieces: list[bytes]) -> None:
    digest = digest_of(algorithm)
    for index, piece in enumerate(pieces):
        digest.update((piece, bytearray(piece), memoryview(piece))[index % 3])
    assert encode(digest.digest()) == checksum(algorithm, b"".join(pieces))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_declared_checksum_is_compared_and_kept(algorithm: str) -> None:
    right, wrong = encode(CHECK_VALUES[algorithm]), checksum(algorithm, b"other")
    header = f"x-amz-checksum-{algorithm}"
    assert verified({header: right}).checksums() == {algorithm: right}
    assert code_of({header: wrong}) == "BadDigest"
    assert code_of({header: right}, b"12345678x") == "BadDigest"
    for malformed in ("", "x", right + "=", right[:-4], "!" + right[1:], "ä"):
        assert code_of({header: malformed}) == "InvalidRequest"


def test_the_etag_is_the_md5() -> None:
    check = verified({"Content-MD5": MD5})
    assert check.etag() == hashlib.md5(b"123456789").hexdigest()
    assert check.checksums() == {}


def test_a_wrong_md5_is_a_bad_digest_and_a_malformed_one_invalid() -> None:
    assert code_of({"Content-MD5": MD5}, b"12345678x") == "BadDigest"
    for malformed in ("", "abc", MD5[:-2], hashlib.md5(b"").hexdigest()):
        assert code_of({"Content-MD5": malformed}) == "InvalidDigest"


def test_a_signed_digest_must_match() -> None:
    sha256 = hashlib.sha256(b"123456789").hexdigest()
    assert verified({}, sha256=sha256).checksums() == {}
    assert code_of({}, b"12345678x", sha256) == "XAmzContentSHA256Mismatch"
    both = {"x-amz-checksum-sha256": encode(bytes.fromhex(sha256))}
    assert verified(both, sha256=sha256).checksums() == {"sha256": both["x-amz-checksum-sha256"]}
    assert code_of(both, b"12345678x", sha256) == "XAmzContentSHA256Mismatch"


def test_a_body_of_another_length_is_incomplete() -> None:
    assert code_of({}, b"12345678") == "IncompleteBody"
    assert code_of({}, b"1234567890") == "IncompleteBody"


def test_one_checksum_at_a_time() -> None:
    two = {"x-amz-checksum-crc32": encode(b"1234"), "x-amz-checksum-crc32c": encode(b"1234")}
    assert code_of(two) == "InvalidRequest"
    assert (
        code_of({"x-amz-checksum-crc32": encode(b"1234"), "x-amz-trailer": "x-amz-checksum-sha1"}) == "InvalidRequest"
    )


def test_an_sdk_that_names_an_algorithm_must_send_its_checksum() -> None:
    assert code_of({"x-amz-sdk-checksum-algorithm": "CRC32"}) == "InvalidRequest"
    assert code_of({"x-amz-sdk-checksum-algorithm": "CRC31"}) == "InvalidRequest"
    good = {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32": encode(CHECK_VALUES["crc32"])}
    assert verified(good)
    assert code_of({**good, "x-amz-sdk-checksum-algorithm": "SHA1"}) == "InvalidRequest"


def test_only_checksums_may_be_trailers() -> None:
    assert trailing_algorithms(request("PUT", "/a-b/c", {"x-amz-trailer": "X-Amz-Checksum-CRC32"})) == ("crc32",)
    for names in ("x-amz-meta-a", "x-amz-checksum-md4", "", "x-amz-checksum-crc32,,"):
        with pytest.raises(S3Error):
            trailing_algorithms(request("PUT", "/a-b/c", {"x-amz-trailer": names}))


def test_a_promised_trailer_that_never_came_is_noticed() -> None:
    check = content_check(request("PUT", "/mail/a", {"x-amz-trailer": "x-amz-checksum-crc32"}), size=0)
    with pytest.raises(BadBody) as refused:
        check.verify(0)
    assert refused.value.code == "MalformedTrailerError"


def test_a_checksum_nobody_announced_cannot_be_expected() -> None:
    with pytest.raises(BadBody):
        ContentCheck().expect("crc32", encode(b"1234"))


def test_an_upload_s_own_algorithm_is_computed_without_being_declared() -> None:
    check = content_check(request("PUT", "/mail/a"), size=9, also=["crc64nvme"])
    check.update(b"123456789")
    assert check.checksums() == {"crc64nvme": encode(CHECK_VALUES["crc64nvme"])}


# ---------------------------------------------------------------- multipart


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme"])
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=80), max_size=6))
def test_the_checksum_of_the_whole_follows_from_the_parts(algorithm: str, parts: list[bytes]) -> None:
    told = [(checksum(algorithm, part), len(part)) for part in parts]
    assert full_object(algorithm, told) == checksum(algorithm, b"".join(parts))


def test_shas_do_not_combine() -> None:
    assert full_object("sha256", [(checksum("sha256", b"a"), 1)]) is None


def test_a_composite_is_the_checksum_of_the_parts_digests() -> None:
    parts = [b"one", b"two"]
    raw = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
    expected = encode(zlib.crc32(raw).to_bytes(4, "big")) + "-2"
    assert composite("crc32", [checksum("crc32", part) for part in parts]) == expected


def test_the_type_of_a_multipart_checksum_is_s3s_default_or_as_asked() -> None:
    assert multipart_type("crc64nvme", None) == "FULL_OBJECT"
    assert multipart_type("sha256", None) == "COMPOSITE"
    assert multipart_type("crc32", "full_object") == "FULL_OBJECT"
    for algorithm, kind in (("sha1", "FULL_OBJECT"), ("crc64nvme", "COMPOSITE"), ("crc32", "OTHER")):
        with pytest.raises(S3Error):
            multipart_type(algorithm, kind)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ALGORITHMS), st.text(max_size=60))
def test_no_text_makes_the_parsers_stumble(algorithm: str, text: str) -> None:
    digest = decode(text, DIGEST_BYTES[algorithm])
    assert digest is None or len(digest) == DIGEST_BYTES[algorithm]
    assert refusal(lambda: parse_algorithm(text)) in {None, "InvalidRequest"}
