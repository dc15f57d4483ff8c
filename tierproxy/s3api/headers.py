"""Headers of objects: what a request asks to be stored, and what an answer shows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tierproxy.model import Entry, Headers
from tierproxy.s3api.dates import format_http
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request, text_of

RawHeaders = list[tuple[bytes, bytes]]

MAX_METADATA_BYTES = 2048
DEFAULT_CONTENT_TYPE = "binary/octet-stream"
META = b"x-amz-meta-"
OVERRIDES = {
    "response-content-type": b"content-type",
    "response-content-language": b"content-language",
    "response-expires": b"expires",
    "response-cache-control": b"cache-control",
    "response-content-disposition": b"content-disposition",
    "response-content-encoding": b"content-encoding",
}
REFUSED = (
    b"x-amz-grant-",
    b"x-amz-tagging",
    b"x-amz-object-lock-",
    b"x-amz-server-side-encryption",
    b"x-amz-copy-source-server-side-encryption",
    b"x-amz-website-redirect-location",
    b"x-amz-write-offset-bytes",
    b"x-amz-bucket-object-lock-enabled",
    b"x-amz-expected-bucket-owner",
    b"x-amz-source-expected-bucket-owner",
)
"""Beginnings of headers that ask for what tierproxy does not do. To ignore them would be a silent success."""

_HARMLESS_ACLS = {"private", "bucket-owner-full-control", "bucket-owner-read"}


def stored_headers(request: Request) -> Headers:
    """What PutObject, CreateMultipartUpload or a REPLACE copy asks to be stored. Raises S3Error MetadataTooLarge."""
    return Headers(
        content_type=request.header("content-type") or None,
        cache_control=request.header("cache-control"),
        content_disposition=request.header("content-disposition"),
        content_encoding=_content_encoding(request.header("content-encoding")),
        content_language=request.header("content-language"),
        expires=request.header("expires"),
        metadata=_metadata(request.headers),
    )


def with_checksums(headers: Headers, checksums: Mapping[str, str], checksum_type: str = "FULL_OBJECT") -> Headers:
    """``headers`` with the checksums of the whole object, which are known only when its body has ended."""
    return replace(headers, checksums=dict(checksums), checksum_type=checksum_type) if checksums else headers


def refuse_unsupported(request: Request) -> None:
    """Raises S3Error NotImplemented or InvalidStorageClass for headers of a write that cannot be honoured."""
    for name in request.headers:
        # Objects have no tags, so what a copy does with them may be asked for.
        if name.startswith(REFUSED) and name != b"x-amz-tagging-directive":
            raise S3Error("NotImplemented", f"The header {name.decode('latin-1')} is not supported.")
    if (request.header("x-amz-acl") or "private") not in _HARMLESS_ACLS:
        raise S3Error("NotImplemented", "Access control lists are not supported.")
    if (request.header("x-amz-storage-class") or "STANDARD") != "STANDARD":
        raise S3Error("InvalidStorageClass", "The storage class is the node's to choose; only STANDARD is accepted.")


def _content_encoding(text: str | None) -> str | None:
    """Without ``aws-chunked``, which is a matter of this transfer and not of the object."""
    if text is None:
        return None
    kept = [token.strip() for token in text.split(",") if token.strip().lower() not in {"aws-chunked", ""}]
    return ", ".join(kept) or None


def _metadata(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    total = 0
    for raw_name, raw_value in headers.items():
        if raw_name.startswith(META):
            name, value = raw_name[len(META) :].decode("latin-1"), text_of(raw_value)
            total += len(name.encode()) + len(value.encode())
            found[name] = value
    if total > MAX_METADATA_BYTES:
        raise S3Error(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size of 2048 bytes."
        )
    return found


# ---------------------------------------------------------------- of answers


def wants_checksums(request: Request) -> bool:
    """x-amz-checksum-mode: ENABLED."""
    return (request.header("x-amz-checksum-mode") or "").upper() == "ENABLED"


def response_overrides(request: Request, *, signed: bool) -> dict[bytes, bytes]:
    """The response-* query parameters as header name to value. Raises S3Error InvalidRequest, InvalidArgument."""
    found: dict[bytes, bytes] = {}
    if not len(request.query):
        return found
    for parameter, name in OVERRIDES.items():
        value = request.query.get(parameter)
        if value is not None:
            if not signed:
                raise S3Error("InvalidRequest", "Request specific response headers need a signed request.")
            found[name] = header_value(value)
    return found


def header_value(text: str) -> bytes:
    """``text`` as a header's value. Raises S3Error InvalidArgument for characters that would end the header."""
    if any(ord(character) < 32 and character != "\t" for character in text) or "\x7f" in text:
        raise S3Error("InvalidArgument", "A header's value must not contain control characters.")
    return text.strip(" \t").encode()


def quoted(etag: str) -> bytes:
    """An ETag as it goes into a header."""
    return b'"%b"' % etag.encode()


def validators(entry: Entry) -> RawHeaders:
    """ETag and Last-Modified: all that a 304 carries."""
    return [(b"etag", quoted(entry.etag)), (b"last-modified", format_http(entry.written_at).encode())]


def object_headers(
    entry: Entry, *, checksums: bool = False, overrides: Mapping[bytes, bytes] | None = None
) -> RawHeaders:
    """What GetObject and HeadObject show of an entry, without Content-Length, Content-Range and tierproxy's own.

    ``checksums``: show them (the whole object is asked for, with x-amz-checksum-mode). Content-Type is always there.
    """
    stored = entry.headers or Headers()
    shown = [*validators(entry), (b"accept-ranges", b"bytes")]
    for name, value in _system(stored):
        if value is not None and not (overrides and name in overrides):
            shown.append((name, value.encode()))
    if overrides:
        shown.extend(overrides.items())
    shown.extend([(META + name.encode(), value.encode()) for name, value in stored.metadata.items()])
    if checksums:
        shown.extend(checksum_headers(stored.checksums, stored.checksum_type))
    return shown


def checksum_headers(checksums: Mapping[str, str], checksum_type: str | None = None) -> RawHeaders:
    """x-amz-checksum-<algorithm> and, if given, x-amz-checksum-type."""
    shown = [(b"x-amz-checksum-" + algorithm.encode(), value.encode()) for algorithm, value in checksums.items()]
    if shown and checksum_type:
        shown.append((b"x-amz-checksum-type", checksum_type.encode()))
    return shown


def _system(stored: Headers) -> tuple[tuple[bytes, str | None], ...]:
    return (
        (b"content-type", stored.content_type or DEFAULT_CONTENT_TYPE),
        (b"cache-control", stored.cache_control),
        (b"content-disposition", stored.content_disposition),
        (b"content-encoding", stored.content_encoding),
        (b"content-language", stored.content_language),
        (b"expires", stored.expires),
    )
