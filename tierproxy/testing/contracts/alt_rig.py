"""What the promises of the alt tier work on."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tierproxy.model import ByteRange, Headers, ObjectName
from tierproxy.ports import AltTier
from tierproxy.testing.faults import BytesSource

BODY = bytes(range(256)) * 300
RICH = Headers(
    content_type="message/rfc822",
    cache_control="no-store",
    content_disposition='attachment; filename="a.eml"',
    content_encoding="identity",
    content_language="de",
    expires="Wed, 21 Oct 2026 07:28:00 GMT",
    metadata={"subject": "grün & blau ✓", "content-type": "not the header", "tierproxy-etag": "not ours", "empty": ""},
    checksums={"crc32": "AAAAAA==", "sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
    checksum_type="FULL_OBJECT",
)
PLAIN = Headers(content_type="text/plain")
AWKWARD = (
    "a b+c", "a%2Fb", "%", "ü/ß/日本😀", "a?b#c&d", "it's \"quoted\" <&>", "line\nfeed", "bell\x07", "tab\there",
    "...", "a/...b", "dir/", "~a!*()[]{}^`|", "\u2028\u0085", "x" * 200,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rig:
    """A tier, a bucket of it, and a prefix nothing else uses. ``part_size``: of its multipart uploads, which begin
    above ``threshold``. ``byte_order``: listings are in byte order over pages too."""

    alt: AltTier
    bucket: str
    prefix: str
    threshold: int
    byte_order: bool = True

    def name(self, key: str) -> ObjectName:
        return ObjectName(self.bucket, self.prefix + key)

    async def put(self, key: str, body: bytes = BODY, headers: Headers = PLAIN) -> str:
        return await self.alt.put(self.name(key), BytesSource(body), headers, md5=md5(body))

    async def read(self, key: str, range: ByteRange | None = None) -> bytes:
        body = await self.alt.get(self.name(key), range)
        try:
            return b"".join([chunk async for chunk in body.chunks()])
        finally:
            await body.close()


Promise = Callable[[Rig], Awaitable[None]]


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
