"""A request, parsed once from an ASGI scope: who is named (bucket, key), how (query, headers), and the raw bytes of it.

The raw path and query stay as they came: the signature is over them. The key is decoded exactly once, and ``.`` and
``..`` in it are ordinary names: S3 has no directories, so nothing here resolves a path.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from tierproxy.model import ObjectName
from tierproxy.s3api.faults import S3Error

MAX_KEY_BYTES = 1024
SINGLE = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-md5",
        b"content-type",
        b"date",
        b"host",
        b"if-range",
        b"range",
        b"transfer-encoding",
        b"x-amz-content-sha256",
        b"x-amz-copy-source",
        b"x-amz-copy-source-range",
        b"x-amz-date",
        b"x-amz-decoded-content-length",
        b"x-amz-security-token",
        b"x-tierproxy-ack",
        b"x-tierproxy-change",
        b"x-tierproxy-folder",
        b"x-tierproxy-owner",
        b"x-tierproxy-reason",
        b"x-tierproxy-withdraw",
    }
)
"""Headers that mean something else when repeated: a second one is an error (request smuggling, RFC 9112 11.2)."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ADDRESSABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_CREATABLE = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")
_DIGITS = re.compile(r"[0-9]{1,19}")


class Query:
    """The query parameters in the order they came, decoded; names without ``=`` have the value ""."""

    __slots__ = ("_values", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = tuple(pairs)
        self._values: dict[str, list[str]] = {}
        for name, value in self.pairs:
            self._values.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        return f"Query({', '.join(self._values)})"

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __len__(self) -> int:
        return len(self.pairs)

    def names(self) -> frozenset[str]:
        return frozenset(self._values)

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of ``name``. A repeated parameter is InvalidArgument: which one counts would be a guess."""
        values = self._values.get(name)
        if values is None:
            return default
        if len(values) > 1:
            raise S3Error("InvalidArgument", f"The query parameter {name} is given more than once.")
        return values[0]

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """The value of ``name`` as an integer within ``least`` and ``most``. Raises InvalidArgument."""
        text = self.get(name)
        if text is None or text == "":
            return default
        if _DIGITS.fullmatch(text) is None or not least <= int(text) <= most:
            raise S3Error("InvalidArgument", f"{name} must be an integer between {least} and {most}.")
        return int(text)


class Request:
    """One request. ``bucket`` and ``key`` are "" where the request names none (ListBuckets; bucket operations).

    ``headers`` maps lower-case names to the raw value; repeated ones are joined with commas (RFC 9110 5.3).
    """

    __slots__ = ("bucket", "headers", "key", "method", "query", "raw_path", "raw_query", "virtual_host")

    def __init__(
        self, method: str, raw_path: bytes, raw_query: bytes, headers: Collection[tuple[bytes, bytes]], domain: str = ""
    ) -> None:
        """``domain``: the parent domain of virtual-host-style buckets, "" for path-style only.

        Raises S3Error: InvalidURI, InvalidArgument, InvalidBucketName, KeyTooLongError, InvalidRequest.
        """
        self.method = method
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.headers = _joined(headers)
        host_bucket = bucket_of_host(self.headers.get(b"host", b""), domain) if domain else ""
        self.virtual_host = bool(host_bucket)
        self.bucket, self.key = _named(raw_path, host_bucket)
        self.query = parse_query(raw_query) if raw_query else _NO_QUERY

    @classmethod
    def known(
        cls, method: str, raw_path: bytes, raw_query: bytes, headers: dict[bytes, bytes], name: ObjectName
    ) -> Request:
        """A path-style request for an object whose name was read from ``raw_path`` before, with headers that are not
        repeated. Raises S3Error InvalidURI, InvalidArgument."""
        self = cls.__new__(cls)
        self.method = method
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.headers = headers
        self.virtual_host = False
        self.bucket, self.key = name
        self.query = parse_query(raw_query) if raw_query else _NO_QUERY
        return self

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any], domain: str = "") -> Request:
        """From an ASGI HTTP scope (``raw_path`` without query, ``query_string``, ``headers``)."""
        return cls(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], domain)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.bucket}/{self.key} {self.query!r}>"

    @property
    def name(self) -> ObjectName:
        return ObjectName(self.bucket, self.key)

    def header(self, name: str) -> str | None:
        """The value of a header, stripped: UTF-8 if it is that, Latin-1 otherwise; None if absent."""
        raw = self.headers.get(name.encode("latin-1"))
        return None if raw is None else text_of(raw)

    @property
    def content_length(self) -> int | None:
        """Bytes of the raw body as declared; None if not declared. Raises InvalidArgument."""
        return self._length("content-length")

    @property
    def decoded_length(self) -> int | None:
        """x-amz-decoded-content-length: bytes of an aws-chunked body once decoded. Raises InvalidArgument."""
        return self._length("x-amz-decoded-content-length")

    def _length(self, name: str) -> int | None:
        text = self.header(name)
        if text is None:
            return None
        if _DIGITS.fullmatch(text) is None:
            raise S3Error("InvalidArgument", f"{name} is not a number of bytes.")
        return int(text)


def text_of(raw: bytes) -> str:
    """A header value as text: UTF-8 if it is valid UTF-8, else Latin-1 (RFC 9110 5.5). Never fails."""
    try:
        return raw.strip(b" \t").decode()
    except UnicodeDecodeError:
        return raw.strip(b" \t").decode("latin-1")


def parse_query(raw: bytes) -> Query:
    """``a=1&b`` -> Query. ``+`` is a space, as S3 reads it. Raises S3Error InvalidURI, InvalidArgument."""
    pairs = []
    for piece in raw.split(b"&"):
        if piece:
            name, _, value = piece.replace(b"+", b" ").partition(b"=")
            pairs.append((_decoded(name, "query string"), _decoded(value, "query string")))
    return Query(pairs)


_NO_QUERY = Query(())


def creatable_bucket_name(name: str) -> bool:
    """Whether CreateBucket may make a bucket of this name (S3's rules for general purpose buckets)."""
    return (
        _CREATABLE.fullmatch(name) is not None
        and ".." not in name
        and _IPV4.fullmatch(name) is None
        and not name.startswith(("xn--", "sthree-"))
        and not name.endswith(("-s3alias", "--ol-s3"))
    )


def split_copy_source(value: str) -> tuple[str, str, str | None]:
    """x-amz-copy-source ``[/]bucket/key[?versionId=id]``, percent-encoded -> (bucket, key, version id or None).

    Raises S3Error InvalidArgument, InvalidURI, KeyTooLongError.
    """
    path, _, version = value.partition("?versionId=")
    raw = path.encode().removeprefix(b"/")
    bucket, slash, key = _decoded(raw, "copy source").partition("/")
    if not (bucket and slash and key):
        raise S3Error("InvalidArgument", "x-amz-copy-source must be <bucket>/<key>.")
    return bucket, _checked_key(key), version or None


def _joined(headers: Collection[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found = dict(headers)
    if len(found) == len(headers):
        return found
    found = {}
    for name, value in headers:
        if name not in found:
            found[name] = value
        elif name in SINGLE or name.startswith(b"x-amz-checksum-"):
            raise S3Error("InvalidRequest", f"The header {name.decode('latin-1')} is given more than once.")
        else:
            found[name] = found[name] + b"," + value
    return found


def bucket_of_host(host: bytes, domain: str) -> str:
    """``mail.s3.example:9300`` with domain ``s3.example`` -> ``mail``; "" for anything else: then the path names it."""
    name = host.decode("latin-1").strip().lower()
    if not name.endswith("]"):
        name = re.sub(r":\d*$", "", name)
    suffix = "." + domain.lower().strip(".")
    return name[: -len(suffix)] if name.endswith(suffix) else ""


@lru_cache(256)  # of one request it is asked twice: by the hit lane, and on the ordinary way
def _named(raw_path: bytes, host_bucket: str) -> tuple[str, str]:
    if not raw_path.startswith(b"/"):
        raise S3Error("InvalidURI", "The request target must begin with a slash.")
    path = _decoded(raw_path[1:], "path")
    bucket, key = (host_bucket, path) if host_bucket else _cut(path)
    if bucket and _ADDRESSABLE.fullmatch(bucket) is None:
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.")
    if key and not bucket:
        raise S3Error("InvalidBucketName", "The path names a key but no bucket.")
    return bucket, _checked_key(key)


def _cut(path: str) -> tuple[str, str]:
    bucket, _, key = path.partition("/")
    return bucket, key


def _decoded(raw: bytes, what: str) -> str:
    """Percent-decoded once, as UTF-8."""
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise S3Error("InvalidURI", f"The {what} has a percent sign that begins no escape.")
        raw = unquote_to_bytes(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI", f"The {what} is not UTF-8 once decoded.") from None
    if "\0" in text:
        raise S3Error("InvalidArgument", f"The {what} must not contain a zero byte.")
    return text


def _checked_key(key: str) -> str:
    # Up to 256 characters are at most 1024 bytes: the common key is not encoded just to be measured.
    if len(key) > MAX_KEY_BYTES // 4 and len(key.encode()) > MAX_KEY_BYTES:
        raise S3Error("KeyTooLongError", "Your key is too long: 1024 bytes of UTF-8 are the limit.")
    return key
