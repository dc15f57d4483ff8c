"""The canonical request of Signature Version 4: what exactly is signed.

What is signed is the client's own notation of path and query, and clients differ in what they percent-encode. So the
signature is compared for the canonical notation first (decoded, encoded again as AWS documents it) and then for the
notation on the wire. Both name the same bucket, key and parameters, so neither lets through more than was signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes

from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request

_PLAIN_PATH = re.compile(rb"[A-Za-z0-9/._~-]*")


def canonical_requests(request: Request, signed_headers: tuple[str, ...], payload: str) -> Iterator[bytes]:
    """The canonical notation and then, if it differs, the one on the wire. ``payload``: x-amz-content-sha256 or what
    stands for it. Raises S3Error AccessDenied when a header is unsigned that must be signed."""
    headers = _canonical_headers(request, signed_headers)
    tail = b"\n%b\n%b\n%b" % (headers, ";".join(signed_headers).encode(), payload.encode())
    head = request.method.encode() + b"\n"
    first = _canonical_path(request.raw_path) + b"\n" + _canonical_query(request)
    yield head + first + tail
    second = request.raw_path + b"\n" + _wire_query(request)
    if second != first:
        yield head + second + tail


def _canonical_headers(request: Request, names: tuple[str, ...]) -> bytes:
    if "host" not in names:
        raise S3Error("AccessDenied", "The host header must be signed.")
    for header in request.headers:
        if header.startswith(b"x-amz-") and header.decode("latin-1") not in names:
            raise S3Error(
                "AccessDenied", f"There were headers present which were not signed: {header.decode('latin-1')}"
            )
    lines = bytearray()
    for name in map(str.encode, names):
        # A header that was signed and is not here makes an empty line, which matches no signature.
        lines += name + b":" + b" ".join(request.headers.get(name, b"").split()) + b"\n"
    return bytes(lines)


def _canonical_path(raw: bytes) -> bytes:
    """Encoded once, slashes kept, segments untouched: S3 does not normalise paths."""
    if _PLAIN_PATH.fullmatch(raw):
        return raw or b"/"
    return quote(unquote_to_bytes(raw), safe="/-_.~").encode()


def _canonical_query(request: Request) -> bytes:
    """Sorted by encoded name, then encoded value; without the signature itself."""
    pairs = [
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in request.query.pairs
        if name != "X-Amz-Signature"
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs)).encode()


def _wire_query(request: Request) -> bytes:
    pairs = [piece.partition(b"=") for piece in request.raw_query.split(b"&") if piece]
    kept = sorted((name, value) for name, _, value in pairs if name != b"X-Amz-Signature")
    return b"&".join(name + b"=" + value for name, value in kept)
