"""Requests signed by botocore, in each of the ways there are, as bytes for a socket or as what a probe is given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tierproxy.s3api.auth import EMPTY_SHA256
from tierproxy.s3api.request import Request

HOST = "127.0.0.1:9300"
REGION = "us-east-1"
CHUNKED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


@dataclass
class Wanted:
    """A request before it is signed, and after. ``target``: path and query, as they go over the wire."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def wire(self) -> bytes:
        """As it goes over the wire."""
        headers = {"Host": HOST, **self.headers}
        if self.body or self.method in {"PUT", "POST"}:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([f"{self.method} {self.target} HTTP/1.1", *lines, "", ""]).encode() + self.body

    def request(self) -> Request:
        """As the object port sees it."""
        path, _, query = self.target.partition("?")
        headers = {"Host": HOST, **self.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        return Request(self.method, path.encode(), query.encode(), raw)


class _Chunked(S3SigV4Auth):
    """Signs for a body whose chunks are signed."""

    def payload(self, request: AWSRequest) -> str:
        return CHUNKED


class _Unsigned(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:
        return "UNSIGNED-PAYLOAD"


def by_header(wanted: Wanted, keys: Credentials, *, unsigned: bool = False) -> Wanted:
    """With the digest of the body, or ``unsigned``."""
    signer = (_Unsigned if unsigned else S3SigV4Auth)(keys, "s3", REGION)
    asked = AWSRequest(
        wanted.method, f"http://{HOST}{wanted.target}", headers={"Host": HOST, **wanted.headers}, data=wanted.body
    )
    signer.add_auth(asked)
    return Wanted(wanted.method, wanted.target, _lines(asked), wanted.body)


def by_query(wanted: Wanted, keys: Credentials) -> Wanted:
    """Presigned for an hour."""
    asked = AWSRequest(wanted.method, f"http://{HOST}{wanted.target}", headers={"Host": HOST, **wanted.headers})
    S3SigV4QueryAuth(keys, "s3", REGION, expires=3600).add_auth(asked)
    assert asked.url is not None
    return Wanted(wanted.method, asked.url.removeprefix(f"http://{HOST}"), dict(wanted.headers), wanted.body)


def by_chunks(wanted: Wanted, keys: Credentials, sizes: Iterable[int] = (3,)) -> Wanted:
    """With an aws-chunked body, each of whose chunks is signed. ``sizes``: of the first chunks."""
    signer = _Chunked(keys, "s3", REGION)
    headers = {
        "Host": HOST, "Content-Encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(wanted.body)),
        **wanted.headers,
    }  # fmt: skip
    asked = AWSRequest(wanted.method, f"http://{HOST}{wanted.target}", headers=headers)
    signer.add_auth(asked)
    lines = _lines(asked)
    last = lines["Authorization"].rpartition("Signature=")[2]
    stamp = lines["X-Amz-Date"]
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    body = b""
    for piece in _pieces(wanted.body, sizes):
        digests = f"{EMPTY_SHA256}\n{_sha256(piece)}"
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{last}\n{digests}"
        last = signer.signature(text, asked)
        body += b"%x;chunk-signature=%b\r\n%b\r\n" % (len(piece), last.encode(), piece)
    return Wanted(wanted.method, wanted.target, lines, body)


def _pieces(body: bytes, sizes: Iterable[int]) -> Iterable[bytes]:
    for size in sizes:
        if piece := body[:size]:
            yield piece
        body = body[size:]
    if body:
        yield body
    yield b""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(asked: AWSRequest) -> dict[str, str]:
    headers: Mapping[str, str | bytes] = dict(asked.headers.items())
    return {
        name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items() if name != "Host"
    }
