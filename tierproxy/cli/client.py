"""A small S3 client of the proxy's own object port, for commands and the demo: SigV4, over TCP, TLS or unix socket.

boto3 is for the alt tier alone; what a command needs of S3 is five requests.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, Any, Self
from urllib.parse import quote, unquote, urlencode

from defusedxml.ElementTree import fromstring

from tierproxy.cli.trust import own_certificate
from tierproxy.clock import SystemClock
from tierproxy.config.checks import host_and_port
from tierproxy.config.sections import Config, KeySection
from tierproxy.errors import (
    AltUnavailable,
    ConfigError,
    NoSuchBucket,
    NoSuchKey,
    PreconditionFailed,
    RequestError,
    TierproxyError,
)
from tierproxy.model import Listed, ObjectName
from tierproxy.ports import Clock
from tierproxy.s3api.auth import ALGORITHM, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_stamp

Body = bytes | IO[bytes]
BLOCK = 1 << 20
PAGE = 1000


class Unreachable(AltUnavailable):
    """The proxy does not answer."""

    hint = "is it running? start it with `tierproxy serve --config ...`"


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a response, names in lower case, and its body to be read."""

    status: int
    headers: Mapping[str, str]
    body: http.client.HTTPResponse

    def blocks(self) -> Iterator[bytes]:
        """The body in blocks. Raises Unreachable when the connection is cut before its end."""
        try:
            while block := self.body.read(BLOCK):
                yield block
        except (http.client.HTTPException, OSError) as error:
            raise Unreachable(f"the connection was cut in the middle of the object: {error!r}") from error
        if self.body.length:
            raise Unreachable(f"the connection was cut {self.body.length} bytes before the end of the object")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of ListObjectsV2; ``token`` continues it."""

    objects: tuple[Listed, ...]
    prefixes: tuple[str, ...]
    token: str


@dataclass(frozen=True, slots=True)
class Door:
    """Where the object port is, and who knocks. ``key`` is None with auth = "none"."""

    host: str
    port: int
    unix_socket: str = ""
    tls_certificate: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret: str = field(default="", repr=False)
    timeout: float = 120.0

    @classmethod
    def of(cls, config: Config, key: KeySection | None = None) -> Door:
        """The door of a configuration, with ``key`` or the first one that may write. Raises ConfigError."""
        listen = config.listen
        key = key or next((one for one in config.key if one.access == "write"), next(iter(config.key), None))
        host, port = host_and_port(listen.address) if listen.address else ("localhost", 0)
        if listen.address and port == 0 and not listen.unix_socket:
            raise ConfigError("[listen] address has port 0, so its port is not known here")
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- compared, not listened on
        return cls(
            everywhere.get(host, host), port, "" if listen.address and port else listen.unix_socket,
            listen.tls_certificate if listen.address and port else "", listen.region,
            key.access_key_id if key and listen.auth == "sigv4" else "", key.secret if key else "",
        )  # fmt: skip

    @property
    def endpoint(self) -> str:
        """For people and other clients."""
        if self.unix_socket:
            return f"unix:{self.unix_socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        if self.unix_socket:
            return _UnixConnection(self.unix_socket, self.timeout)
        if self.tls_certificate:
            context = own_certificate(self.tls_certificate)
            return http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ObjectClient:
    """Requests over one kept connection; not for several threads."""

    def __init__(self, door: Door, *, clock: Clock | None = None) -> None:
        self.door = door
        self._clock = clock or SystemClock()
        self._connection = door.connect()

    def __repr__(self) -> str:
        return f"<ObjectClient {self.door.endpoint}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def get(self, name: ObjectName, headers: Mapping[str, str] | None = None) -> Iterator[Answer]:
        """GetObject. Raises NoSuchKey, NoSuchBucket, RequestError, Unreachable."""
        with self._exchange("GET", name, headers=headers) as answer:
            yield answer

    def read(self, name: ObjectName) -> tuple[Answer, bytes]:
        """GetObject, whole."""
        with self._exchange("GET", name) as answer:
            return answer, b"".join(answer.blocks())

    def put(self, name: ObjectName, body: Body, size: int, headers: Mapping[str, str] | None = None) -> Answer:
        """PutObject of ``size`` bytes. A stream is sent unsigned, bytes with their digest."""
        with self._exchange("PUT", name, body=body, size=size, headers=headers or {}) as answer:
            return answer

    def head(self, name: ObjectName, headers: Mapping[str, str] | None = None) -> Answer:
        with self._exchange("HEAD", name, headers=headers) as answer:
            return answer

    def delete(self, name: ObjectName) -> Answer:
        with self._exchange("DELETE", name) as answer:
            return answer

    def page(self, bucket: str, prefix: str = "", delimiter: str = "", token: str = "") -> Page:
        """One page of ListObjectsV2."""
        query = {
            "list-type": "2",
            "prefix": prefix,
            "delimiter": delimiter,
            "continuation-token": token,
            "encoding-type": "url",
            "max-keys": str(PAGE),
        }
        given = {name: value for name, value in query.items() if value}
        with self._exchange("GET", ObjectName(bucket, ""), query=given) as answer:
            return _page(b"".join(answer.blocks()))

    def objects(self, bucket: str, prefix: str = "") -> Iterator[Listed]:
        """Every object below ``prefix``, in order."""
        token = ""
        while True:
            page = self.page(bucket, prefix, token=token)
            yield from page.objects
            token = page.token
            if not token:
                return

    def buckets(self) -> list[str]:
        """ListBuckets."""
        with self._exchange("GET", ObjectName("", "")) as answer:
            tree = fromstring(b"".join(answer.blocks()))
        return [element.text or "" for element in tree.findall("{*}Buckets/{*}Bucket/{*}Name")]

    # ------------------------------------------------------------ one request

    @contextmanager
    def _exchange(
        self, method: str, name: ObjectName, *, query: Mapping[str, str] | None = None, body: Body | None = None,
        size: int = 0, headers: Mapping[str, str] | None = None,
    ) -> Iterator[Answer]:  # fmt: skip
        path = _path(name)
        text = urlencode(sorted((query or {}).items()), quote_via=quote, safe="")
        sent = self._signed(method, path, text, body, size, headers or {})
        response = self._send(method, f"{path}?{text}" if text else path, body, sent)
        try:
            if response.status >= 300:
                raise _refusal(response, name)
            yield Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response)
            response.read()
        finally:
            if not response.isclosed():  # the caller left before the end: the connection cannot be used again
                self._connection.close()

    def _send(
        self, method: str, target: str, body: Body | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self._connection.request(method, target, body=body, headers=dict(headers))
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(f"{self.door.endpoint} does not answer: {error or type(error).__name__}") from error

    def _signed(
        self, method: str, path: str, query: str, body: Body | None, size: int, headers: Mapping[str, str]
    ) -> dict[str, str]:
        digest = "UNSIGNED-PAYLOAD" if body is not None and not isinstance(body, bytes) else _digest(body)
        stamp = amz_stamp(self._clock.now())
        host = f"{self._connection.host}:{self._connection.port}" if not self.door.unix_socket else "localhost"
        sent = {name.lower(): value for name, value in headers.items()}
        sent |= {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest}
        if body is not None:
            sent["content-length"] = str(size)
        if self.door.access_key_id:
            sent["authorization"] = self._authorization(method, path, query, sent, digest, stamp)
        return sent

    def _authorization(
        self, method: str, path: str, query: str, sent: Mapping[str, str], digest: str, stamp: str
    ) -> str:
        names = sorted(name for name in sent if name != "content-length")
        lines = "".join(f"{name}:{sent[name].strip()}\n" for name in names)
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{digest}"
        scope = f"{stamp[:8]}/{self.door.region}/s3/aws4_request"
        key = derive_key(self.door.secret, stamp[:8], self.door.region)
        signature = sign(key, string_to_sign(stamp, scope, canonical.encode("latin-1")))
        credential = f"{self.door.access_key_id}/{scope}"
        return f"{ALGORITHM} Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signature}"


def _digest(body: bytes | None) -> str:
    return hashlib.sha256(body or b"").hexdigest()


def _path(name: ObjectName) -> str:
    if not name.bucket:
        return "/"
    return f"/{name.bucket}/{quote(name.key, safe='/-_.~')}" if name.key else f"/{name.bucket}"


def _refusal(response: http.client.HTTPResponse, name: ObjectName) -> TierproxyError:
    """What an error response means to a command. A HEAD has no body: the status decides."""
    code, message = _error(response.read())
    said = message or response.reason
    if code == "NoSuchBucket":
        return NoSuchBucket(f"there is no bucket {name.bucket!r}")
    if response.status == 404:
        return NoSuchKey(f"there is no object {name}" if name.key else said)
    if response.status == 412:
        return PreconditionFailed(f"{name}: {said}")
    if response.status == 412:
        return PreconditionFailed(f"{name}: a condition of the request does not hold: {said}")
    if response.status in {500, 502, 503, 504, 507}:
        return Unreachable(f"{name}: {response.status} {code or said}: {said}", hint="try again; see the proxy's log")
    return RequestError(f"{name}: {response.status} {code or said}: {said}")


def _error(body: bytes) -> tuple[str, str]:
    try:
        tree = fromstring(body)
    except Exception:  # noqa: BLE001 -- whatever came is not S3's XML
        return "", ""
    return _text(tree, "Code"), _text(tree, "Message")


def _page(body: bytes) -> Page:
    tree = fromstring(body)
    objects = tuple(
        Listed(
            unquote(_text(one, "Key")),
            int(_text(one, "Size")),
            _text(one, "ETag").strip('"'),
            datetime.fromisoformat(_text(one, "LastModified")).timestamp(),
        )
        for one in tree.findall("{*}Contents")
    )
    prefixes = tuple(unquote(_text(one, "Prefix")) for one in tree.findall("{*}CommonPrefixes"))
    return Page(objects, prefixes, _text(tree, "NextContinuationToken"))


def _text(tree: Any, tag: str) -> str:
    found = tree.find(f"{{*}}{tag}")
    return found.text or "" if found is not None else ""
