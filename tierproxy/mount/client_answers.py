"""What the node's answers mean: which of them are errors of which kind, and what they say of an object.

404 is believed only where the node names the key: a wrong bucket, or another server in the place of the node, must not
make mail look deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tierproxy.mount.ports import Doubt, File, InTheWay, NodeError, NoRoom, NotAllowed, NotThere
from tierproxy.s3api.dates import http_date
from tierproxy.s3api.extension.children import seconds

META = "x-amz-meta-"
_CODE = re.compile(rb"<Code>([A-Za-z0-9]+)</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")
_ETAG = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([^<&\"]*)(?:&quot;|&#34;|\")?</ETag>")
_STUB = re.compile(rb"size=([0-9]+); *head=([0-9]+); *tail=([0-9]+)")
_UNKNOWN = range(500, 600)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. ``headers``: lower-case names; ``again``: the request had to be sent a second time, so an earlier
    one may have been carried out."""

    status: int
    headers: Mapping[str, bytes] = field(default_factory=dict)
    body: bytes = b""
    again: bool = False

    @property
    def uncertain(self) -> bool:
        """The node failed in the middle of it: what was asked for may have happened, or may yet."""
        return self.status in _UNKNOWN and self.status != 507

    @property
    def code(self) -> str:
        """S3's error code, "" where none is said. Answers to HEAD say it in a header."""
        found = _CODE.search(self.body)
        said = found[1] if found and b"<Error" in self.body else self.headers.get("x-tierproxy-error", b"")
        return said.decode("ascii", "replace")

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300 and b"<Error" not in self.body[:200]

    def refusal(self) -> NodeError:
        """The error it means, for an answer that is not good."""
        code, said = self.code, _MESSAGE.search(self.body)
        text = f"{self.status} {code}: {said[1].decode('utf-8', 'replace') if said else 'without a word'}"
        kind = _KINDS.get(code)
        if kind is not None:
            return kind(text)
        if code == "NoSuchBucket":
            return Doubt(text, hint="the mount's URL names a bucket the node does not have: [[bucket]]")
        return _BY_STATUS.get(self.status, Doubt)(text)

    @property
    def etag(self) -> str:
        """From the header, or from the body of CopyObject; "" if there is none."""
        found = self.headers.get("etag")
        if found is None and (match := _ETAG.search(self.body)):
            found = match[1]
        return (found or b"").decode("latin-1").strip('"')

    def length(self) -> int:
        """Content-Length. Raises Doubt."""
        text = self.headers.get("content-length", b"")
        if not text.isdigit():
            raise Doubt("the node does not say how long the object is")
        return int(text)

    def file(self, key: str, size: int | None = None) -> File:
        """The object it is about. ``size``: if Content-Length is not that. Raises Doubt."""
        if not self.etag:
            raise Doubt("the node's answer about an object has no ETag")
        written = http_date(self.headers.get("last-modified", b"").decode("latin-1")) or 0.0
        return File(
            key, self.length() if size is None else size, self.etag,
            seconds(self._meta("mtime"), written), seconds(self._meta("ctime"), written),
        )  # fmt: skip

    def stub(self) -> tuple[int, int, int] | None:
        """Size of the object, bytes of its head and of its tail, where the body is these two. Raises Doubt."""
        if self.headers.get("x-tierproxy-tier") != b"stub":
            return None
        found = _STUB.fullmatch(self.headers.get("x-tierproxy-stub", b"").strip())
        size, head, tail = map(int, found.groups()) if found else (0, 0, 1)
        if head + tail != self.length() or head + tail > size:
            raise Doubt("the node's word about a stub contradicts itself")
        return size, head, tail

    def _meta(self, name: str) -> str | None:
        found = self.headers.get(META + name)
        return None if found is None else found.decode("latin-1")


_KINDS: dict[str, type[NodeError]] = {
    "NoSuchKey": NotThere,
    "PreconditionFailed": InTheWay,
    "ConditionalRequestConflict": InTheWay,
    "AccessDenied": NotAllowed,
    "InsufficientStorage": NoRoom,
}
_BY_STATUS: dict[int, type[NodeError]] = {403: NotAllowed, 409: InTheWay, 412: InTheWay, 507: NoRoom}
