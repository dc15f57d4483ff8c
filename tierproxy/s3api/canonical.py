"""The canonical request of Signature Version 4: what exactly is signed.

What is signed is the client's own notation of path and query, and clients differ in what they percent-encode. So the
signature is compared for the canonical notation first (decoded, encoded again as AWS documents it) and then for the
notation on the wire. Both name the same bucket, key and parameters, so neither lets through more than was signed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from urllib.parse import quote, unquote_to_bytes

from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9._~-]*")
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9/._~-]*")


class SignedHeaders:
    """The names of the headers a signature covers, as the client lists them: ``host;x-amz-date``."""

    __slots__ = ("known", "names", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.names = text.split(b";")
        self.known = frozenset(self.names)

    def __repr__(self) -> str:
        return f"<SignedHeaders {self.text.decode()}>"


def canonical_requests(request: Request, signed_headers: SignedHeaders, payload: str) -> Iterator[bytes]:
    """The canonical notation and then, if it differs, the one on the wire. ``payload``: x-amz-content-sha256 or what
    stands for it. Raises S3Error AccessDenied when a header is unsigned that must be signed."""
    headers = _canonical_headers(request, signed_headers)
    tail = b"\n%b\n%b\n%b" % (headers, signed_headers.text, payload.encode())
    head = request.method.encode() + b"\n"
    first = _canonical_path(request.raw_path) + b"\n" + _canonical_query(request)
    yield head + first + tail
    second = request.raw_path + b"\n" + _wire_query(request)
    if second != first:
        yield head + second + tail


def _canonical_headers(request: Request, signed: SignedHeaders) -> bytes:
    headers, known = request.headers, signed.known
    if b"host" not in known:
        raise S3Error("AccessDenied", "The host header must be signed.")
    for header in headers:
        if header not in known and header.startswith(b"x-amz-"):
            raise S3Error(
                "AccessDenied", f"There were headers present which were not signed: {header.decode('latin-1')}"
            )
    # A header that was signed and is not here makes an empty line, which matches no signature.
    return b"".join([b"%b:%b\n" % (name, b" ".join(headers.get(name, b"").split())) for name in signed.names])


def _canonical_path(raw: bytes) -> bytes:
    """Encoded once, slashes kept, segments untouched: S3 does not normalise paths."""
    if _PLAIN_PATH.fullmatch(raw):
        return raw or b"/"
    return quote(unquote_to_bytes(raw), safe="/-_.~").encode()


def _canonical_query(request: Request) -> bytes:
    """Sorted by encoded name, then encoded value; without the signature itself."""
    if not request.raw_query:
        return b""
    own = _left_out(request)
    pairs = [(_quoted(name), _quoted(value)) for name, value in request.query.pairs if name not in own]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs)).encode()


def _left_out(request: Request) -> Collection[str]:
    """The parameter that holds the signature. Beside one in a header it is a parameter like any other: what is left out
    of a signature anybody may add."""
    return () if b"authorization" in request.headers else ("X-Amz-Signature",)


def _quoted(text: str) -> str:
    return text if _PLAIN_TEXT.fullmatch(text) else quote(text, safe="-_.~")


def _wire_query(request: Request) -> bytes:
    own = [name.encode() for name in _left_out(request)]
    pairs = [piece.partition(b"=") for piece in request.raw_query.split(b"&") if piece]
    kept = sorted((name, value) for name, _, value in pairs if name not in own)
    return b"&".join(name + b"=" + value for name, value in kept)
