"""aws-chunked bodies: AWS's published examples, cut anywhere; tampering and nonsense."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.s3api.signed import ACCESS_KEY, authenticator, refusal, request
from tierproxy.errors import BadBody
from tierproxy.s3api.auth import ALGORITHM, EMPTY_SHA256, ChunkSeed, Payload, derive_key, sign
from tierproxy.s3api.checksums import ContentCheck, digest_of, encode
from tierproxy.s3api.dates import amz_date
from tierproxy.s3api.faults import STATUS
from tierproxy.s3api.stream import LEAST, MAX_LINE, ChunkDecoder, decode

STAMP = "20130524T000000Z"
SCOPE = "20130524/us-east-1/s3/aws4_request"
CONTENT = b"a" * 66560

EXAMPLE_SIGNATURES = (
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
TRAILER_SIGNATURES = (
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)


def example_seed(payload: Payload, signature: str, names: str, extra: dict[str, str]) -> ChunkSeed:
    """Through the authenticator, as a request brings it."""
    headers = {
        "Host": "s3.amazonaws.com",
        "x-amz-date": STAMP,
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": payload.value,
        "Content-Encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        **extra,
        "Authorization": f"{ALGORITHM} Credential={ACCESS_KEY}/{SCOPE},SignedHeaders={names},Signature={signature}",
    }
    admission = authenticator(amz_date(STAMP)).admit(request("PUT", "/examplebucket/chunkObject.txt", headers))
    assert admission.seed is not None
    assert admission.payload is payload
    return admission.seed


def example(trailer: bool) -> tuple[ChunkSeed, bytes]:
    if trailer:
        seed = example_seed(
            Payload.CHUNKS_SIGNED_TRAILER,
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
            "x-amz-trailer",
            {"x-amz-trailer": "x-amz-checksum-crc32c"},
        )
        first, second, last = TRAILER_SIGNATURES
        tail = (
            "x-amz-checksum-crc32c:sOO8/Q==\r\n"
            "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
        )
    else:
        seed = example_seed(
            Payload.CHUNKS_SIGNED,
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
            "x-amz-storage-class",
            {"Content-Length": "66824"},
        )
        first, second, last = EXAMPLE_SIGNATURES
        tail = ""
    body = (
        f"10000;chunk-signature={first}\r\n{'a' * 65536}\r\n400;chunk-signature={second}\r\n{'a' * 1024}\r\n"
        f"0;chunk-signature={last}\r\n{tail}\r\n"
    )
    return seed, body.encode()


def decoder_of(
    payload: Payload,
    size: int,
    seed: ChunkSeed | None = None,
    trailers: tuple[str, ...] = (),
    check: ContentCheck | None = None,
) -> ChunkDecoder:
    return ChunkDecoder(
        payload, size, check=check or ContentCheck(trailing=trailers, size=size), seed=seed, trailers=trailers
    )


def decoded(decoder: ChunkDecoder, pieces: list[bytes]) -> bytes:
    body = b"".join(part for piece in pieces for part in decoder.feed(piece))
    decoder.finish()
    return body


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:stop] for start, stop in pairwise(edges)]


def code_of(decoder: ChunkDecoder, body: bytes) -> str:
    with pytest.raises(BadBody) as refused:
        decoded(decoder, [body])
    assert refused.value.code in STATUS
    return refused.value.code


# ---------------------------------------------------------------- the published examples


def test_the_chunked_upload_amazon_publishes_is_decoded() -> None:
    seed, body = example(trailer=False)
    assert len(body) == 66824
    assert decoded(decoder_of(Payload.CHUNKS_SIGNED, 66560, seed), [body]) == CONTENT


def test_the_chunked_upload_with_a_trailer_amazon_publishes_is_decoded_and_verified() -> None:
    seed, body = example(trailer=True)
    check = ContentCheck(trailing=["crc32c"], size=66560)
    content = decoded(decoder_of(Payload.CHUNKS_SIGNED_TRAILER, 66560, seed, ("crc32c",), check), [body])
    check.update(content)
    check.verify(len(content))
    assert check.checksums() == {"crc32c": "sOO8/Q=="}


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(st.integers(0, 70_000), max_size=30))
def test_a_body_may_arrive_cut_anywhere(trailer: bool, places: list[int]) -> None:
    seed, body = example(trailer)
    payload = Payload.CHUNKS_SIGNED_TRAILER if trailer else Payload.CHUNKS_SIGNED
    trailers = ("crc32c",) if trailer else ()
    assert decoded(decoder_of(payload, 66560, seed, trailers), cut(body, places)) == CONTENT


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.data())
def test_no_flipped_bit_goes_unnoticed(trailer: bool, data: st.DataObject) -> None:
    seed, body = example(trailer)
    payload = Payload.CHUNKS_SIGNED_TRAILER if trailer else Payload.CHUNKS_SIGNED
    place = data.draw(st.integers(0, len(body) - 1) | st.integers(0, 90) | st.integers(len(body) - 250, len(body) - 1))
    changed = bytearray(body)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    # The case of hex digits and header names is no content.
    if bytes(changed).lower() != body.lower():
        code_of(decoder_of(payload, 66560, seed, ("crc32c",) if trailer else ()), bytes(changed))


# ---------------------------------------------------------------- bodies made here

SEED = ChunkSeed(derive_key("secret", "20130524", "us-east-1"), STAMP, SCOPE, "0" * 64)


def signed_body(chunks: list[bytes], trailers: str | None = None) -> bytes:
    """As a client would sign it."""
    body, last = b"", SEED.signature
    for chunk in [*chunks, b""]:
        text = (
            f"AWS4-HMAC-SHA256-PAYLOAD\n{STAMP}\n{SCOPE}\n{last}\n{EMPTY_SHA256}\n{hashlib.sha256(chunk).hexdigest()}"
        )
        last = sign(SEED.signing_key, text.encode())
        body += f"{len(chunk):x};chunk-signature={last}\r\n".encode() + (chunk + b"\r\n" if chunk else b"")
    if trailers is not None:
        digest = hashlib.sha256(trailers.replace("\r\n", "\n").encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{STAMP}\n{SCOPE}\n{last}\n{digest}"
        body += f"{trailers}x-amz-trailer-signature:{sign(SEED.signing_key, text.encode())}\r\n".encode()
    return body + b"\r\n"


def plain_body(chunks: list[bytes], trailers: str = "") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + f"0\r\n{trailers}\r\n".encode()


def crc32(content: bytes) -> str:
    digest = digest_of("crc32")
    digest.update(content)
    return encode(digest.digest())


chunk_lists = st.lists(st.binary(min_size=1, max_size=60), max_size=6)
places_of = st.lists(st.integers(0, 2000), max_size=10)


@settings(max_examples=150, deadline=None)
@given(chunk_lists, places_of)
def test_signed_chunks_of_any_size_cut_anywhere(chunks: list[bytes], places: list[int]) -> None:
    content = b"".join(chunks)
    decoder = decoder_of(Payload.CHUNKS_SIGNED, len(content), SEED)
    assert decoded(decoder, cut(signed_body(chunks), places)) == content


@settings(max_examples=150, deadline=None)
@given(chunk_lists, places_of)
def test_unsigned_chunks_with_a_checksum_trailer_cut_anywhere(chunks: list[bytes], places: list[int]) -> None:
    content = b"".join(chunks)
    check = ContentCheck(size=len(content), trailing=["crc32"])
    decoder = decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, len(content), None, ("crc32",), check)
    body = plain_body(chunks, f"x-amz-checksum-crc32:{crc32(content)}\r\n")
    check.update(decoded(decoder, cut(body, places)))
    check.verify(len(content))


def test_a_trailer_that_does_not_match_the_body_is_noticed() -> None:
    check = ContentCheck(size=3, trailing=["crc32"])
    decoder = decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, 3, None, ("crc32",), check)
    check.update(decoded(decoder, [plain_body([b"abc"], f"x-amz-checksum-crc32:{crc32(b'abd')}\r\n")]))
    with pytest.raises(BadBody, match="CRC32") as refused:
        check.verify(3)
    assert refused.value.code == "BadDigest"


def test_chunks_cannot_change_places() -> None:
    body = signed_body([b"one", b"two"])
    head, tail = body.index(b"one\r\n") + 5, body.index(b"two\r\n") + 5
    swapped = body[head:tail] + body[:head] + body[tail:]
    assert code_of(decoder_of(Payload.CHUNKS_SIGNED, 6, SEED), swapped) == "SignatureDoesNotMatch"


def test_a_chunk_cannot_be_left_out() -> None:
    body = signed_body([b"one", b"two"])
    without = body[body.index(b"one\r\n") + 5 :]
    assert code_of(decoder_of(Payload.CHUNKS_SIGNED, 3, SEED), without) == "SignatureDoesNotMatch"


def test_signed_trailers_must_be_signed() -> None:
    trailers = f"x-amz-checksum-crc32:{crc32(b'abc')}\r\n"
    announced = ("crc32",)
    good = signed_body([b"abc"], trailers)
    assert decoded(decoder_of(Payload.CHUNKS_SIGNED_TRAILER, 3, SEED, announced), [good]) == b"abc"
    unsigned = signed_body([b"abc"])[:-2] + trailers.encode() + b"\r\n"
    wrong = good.replace(crc32(b"abc").encode(), crc32(b"abd").encode())
    for body in (unsigned, wrong):
        decoder = decoder_of(Payload.CHUNKS_SIGNED_TRAILER, 3, SEED, announced)
        assert code_of(decoder, body) == "SignatureDoesNotMatch"


def test_without_a_seed_signatures_are_read_and_not_checked() -> None:
    body = signed_body([b"one"]).replace(b"one", b"two")
    assert decoded(decoder_of(Payload.CHUNKS_SIGNED, 3), [body]) == b"two"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "IncompleteBody"),
        (b"3\r\nab", "IncompleteBody"),
        (b"3\r\nabc\r\n", "IncompleteBody"),
        (b"3\r\nabc\r\n0\r", "IncompleteBody"),
        (b"3\r\nabc\r\n0\n\r\n", "InvalidRequest"),
        (b"2\r\nab\r\n0\r\n\r\n", "IncompleteBody"),
        (b"4\r\nabcd\r\n0\r\n\r\n", "IncompleteBody"),
        (b"3\r\nabcd\r\n0\r\n\r\n", "InvalidRequest"),
        (b"3\nabc\r\n0\r\n\r\n", "InvalidRequest"),
        (b"g\r\n", "InvalidRequest"),
        (b"-3\r\nabc\r\n", "InvalidRequest"),
        (b"0x3\r\nabc\r\n", "InvalidRequest"),
        (b" 3\r\nabc\r\n", "InvalidRequest"),
        (b"\r\n", "InvalidRequest"),
        (b"3" * 2000, "InvalidRequest"),
        (b"f" * 17 + b"\r\n", "InvalidRequest"),
        (b"ffffffffffffffff\r\n", "IncompleteBody"),
        (b"3\r\nabc\r\n0\r\n\r\nx", "IncompleteBody"),
        (b"3\r\nabc\r\n0\r\n\r\nx\r\n", "InvalidRequest"),
        (b"3\r\nabc\r\n0\r\n\r\n\r\n\r\n", "InvalidRequest"),
        (b"3\r\nabc\r\n0\r\n\r\n3\r\nabc\r\n", "InvalidRequest"),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "MalformedTrailerError"),
        (b"3\r\nabc\r\n0\r\nx-amz-meta-a:b\r\n\r\n", "MalformedTrailerError"),
        (b"3\r\nabc\r\n0\r\nnonsense\r\n\r\n", "MalformedTrailerError"),
    ],
)
def test_a_malformed_body_is_refused(body: bytes, code: str) -> None:
    assert code_of(decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, 3), body) == code


@pytest.mark.parametrize(
    "end",
    [
        "0\r\nTRAILER\r\n\r\n",
        "0\r\nTRAILER\r\n",  # no empty line at the end
        "0\r\n\r\nTRAILER\n\r\n",  # an empty line before, LF behind
        "0\r\nTRAILER\n\r\n\r\n",
        "0\r\nTRAILER\n\n",
    ],
)
def test_the_ways_clients_end_a_body_are_all_understood(end: str) -> None:
    line = f"x-amz-checksum-crc32:{crc32(b'abc')}"
    decoder = decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, 3, None, ("crc32",))
    assert decoded(decoder, [b"3\r\nabc\r\n" + end.replace("TRAILER", line).encode()]) == b"abc"


def test_an_announced_trailer_must_come_once_and_be_a_checksum() -> None:
    def code(trailers: str) -> str:
        decoder = decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, 3, None, ("crc32",))
        return code_of(decoder, plain_body([b"abc"], trailers))

    line = f"x-amz-checksum-crc32:{crc32(b'abc')}\r\n"
    assert code("") == "MalformedTrailerError"
    assert code(line + line) == "MalformedTrailerError"
    assert code("x-amz-checksum-crc32:abc\r\n") == "InvalidRequest"


def test_chunks_that_must_be_signed_and_are_not_are_refused() -> None:
    for payload in (Payload.CHUNKS_SIGNED, Payload.CHUNKS_SIGNED_TRAILER):
        assert code_of(decoder_of(payload, 3, SEED), plain_body([b"abc"])) == "InvalidRequest"


def test_a_chunk_that_is_too_large_is_refused_before_its_bytes_are_taken() -> None:
    for body in (b"4\r\n", b"ffffffffffffffff\r\n"):
        with pytest.raises(BadBody):
            decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, 3).feed(body)


def test_a_header_that_never_ends_costs_no_memory() -> None:
    decoder = decoder_of(Payload.CHUNKS_UNSIGNED_TRAILER, 3)
    for _ in range(MAX_LINE):
        decoder.feed(b"1")
    with pytest.raises(BadBody):
        decoder.feed(b"1")


mostly_chunks = st.lists(
    st.sampled_from(
        [
            b"3\r\nabc\r\n",
            b"0\r\n",
            b"\r\n",
            b"1",
            b";chunk-signature=",
            b"a" * 64,
            b"x-amz-checksum-crc32:",
            b"AAAAAA==",
            b"x-amz-trailer-signature:",
        ]
    )
    | st.binary(max_size=8),
    max_size=10,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([p for p in Payload if p.chunked]), mostly_chunks, st.booleans(), st.integers(0, 9), places_of)
def test_no_body_whatever_makes_the_decoder_stumble(
    payload: Payload, parts: list[bytes], signed: bool, size: int, places: list[int]
) -> None:
    decoder = decoder_of(payload, size, SEED if signed else None, ("crc32",))
    content: list[bytes] = []
    code = refusal(lambda: content.append(decoded(decoder, cut(b"".join(parts), places))))
    assert code in STATUS if code else len(content[0]) == size


# ---------------------------------------------------------------- as the object port uses it


async def pieces_of(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_the_stream_ends_without_an_error_only_if_all_was_in_order() -> None:
    async def read(take: Callable[[bytes], bytes]) -> bytes:
        body = take(signed_body([b"one", b"two"]))
        decoder = decoder_of(Payload.CHUNKS_SIGNED, 6, SEED)
        return b"".join([piece async for piece in decode(pieces_of(cut(body, [10, 100, 120])), decoder)])

    assert await read(lambda body: body) == b"onetwo"
    with pytest.raises(BadBody):
        await read(lambda body: body[:-1])
    with pytest.raises(BadBody):
        await read(lambda body: body.replace(b"two", b"tw0"))


# ---------------------------------------------------------------- many small chunks


def small_chunks(size: int, each: int) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (each, b"a" * each)
    return chunk * (size // each) + b"0\r\n\r\n"


async def pieces_in(raw: bytes, size: int) -> list[bytes]:
    decoder = ChunkDecoder(Payload.CHUNKS_UNSIGNED_TRAILER, size, check=ContentCheck(size=size), seed=None)
    return [piece async for piece in decode(pieces_of([raw]), decoder)]


async def test_small_chunks_that_come_together_go_on_together() -> None:
    assert await pieces_in(small_chunks(900, 1), 900) == [b"a" * 900]


async def test_chunks_that_are_many_and_small_are_refused() -> None:
    """One packet of the smallest would have the loop for a tenth of a second."""
    with pytest.raises(BadBody, match="too small"):
        await pieces_in(small_chunks(20_000, 1), 20_000)
    with pytest.raises(BadBody, match="too small"):
        await pieces_in(small_chunks(2**20, 512), 2**20)


async def test_chunks_of_a_kilobyte_may_be_as_many_as_they_like() -> None:
    size = 4 * 2**20
    assert sum(map(len, await pieces_in(small_chunks(size, LEAST), size))) == size
