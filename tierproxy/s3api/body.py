"""The body of a request, decoded and with its check, pulled from the client only as fast as it is used."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from types import TracebackType

from tierproxy.errors import Busy
from tierproxy.s3api.auth import Payload
from tierproxy.s3api.call import Call
from tierproxy.s3api.checksums import ContentCheck, content_check, trailing_algorithms
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.stream import ChunkDecoder, decode
from tierproxy.s3api.xmlio import MAX_DOCUMENT
from tierproxy.shares import GUEST


class Body:
    """``size`` decoded bytes in ``pieces``, which ``check`` is to see. An async context manager: what is not
    read by its end is not read at all."""

    def __init__(self, size: int, check: ContentCheck, *layers: AsyncGenerator[bytes, None]) -> None:
        """``layers``: from the raw body up to the decoded one."""
        self.size = size
        self.check = check
        self.pieces: AsyncIterator[bytes] = layers[-1]
        self._layers = layers

    async def __aenter__(self) -> Body:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for layer in reversed(self._layers):
            await layer.aclose()


def object_body(call: Call, *, limit: int, also: Iterable[str] = ()) -> Body:
    """The body of PutObject or UploadPart. ``also``: checksums to compute without being asked.

    Raises S3Error: MissingContentLength, EntityTooLarge, and what ``content_check`` raises.
    """
    request, payload = call.request, _payload(call)
    size = request.decoded_length if payload.chunked else request.content_length
    if size is None:
        missing = "x-amz-decoded-content-length" if payload.chunked else "Content-Length"
        raise S3Error("MissingContentLength", f"You must provide the {missing} HTTP header.")
    if size > limit:
        raise S3Error(
            "EntityTooLarge", f"Your proposed upload exceeds the maximum allowed size of {limit} bytes for one request."
        )
    return _body(call, size, content_check(request, size=size, sha256=call.admission.sha256, also=also))


def _payload(call: Call) -> Payload:
    """How the body comes. SDKs without credentials (presigned URLs, auth = "none") may send aws-chunked bodies and not
    say so in x-amz-content-sha256, which is the signer's: then the chunks' headers must not be stored as content."""
    payload, headers = call.admission.payload, call.request.headers
    if payload.chunked or b"x-amz-decoded-content-length" not in headers:
        return payload
    tokens = headers.get(b"content-encoding", b"").lower().split(b",")
    return Payload.CHUNKS_UNSIGNED_TRAILER if any(token.strip() == b"aws-chunked" for token in tokens) else payload


def _body(call: Call, size: int, check: ContentCheck) -> Body:
    raw, payload = call.exchange.body(), _payload(call)
    if not payload.chunked:
        return Body(size, check, raw)
    trailers = trailing_algorithms(call.request)
    decoder = ChunkDecoder(payload, size, check=check, seed=call.admission.seed, trailers=trailers)
    return Body(size, check, raw, decode(raw, decoder))


async def read_document(call: Call, *, limit: int = MAX_DOCUMENT, checksums: bool = True) -> bytes:
    """The whole of a small body (an XML document), checked against what was declared of it. b"" if there is none.

    ``checksums`` False: the x-amz-checksum-* headers are not about this body (CompleteMultipartUpload).
    Raises S3Error MaxMessageLengthExceeded, BadBody, Busy.
    """
    request = call.request
    size = request.decoded_length if _payload(call).chunked else request.content_length
    if size is not None and size > limit:
        raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
    sha256 = call.admission.sha256
    check = content_check(request, size=size, sha256=sha256) if checksums else ContentCheck(size=size, sha256=sha256)
    guest, amount = GUEST.get(), max(1, limit if size is None else size)
    if not call.documents.take(guest, amount):
        call.documents.make_room(guest.client)
        raise Busy("Too many documents are being read; try again.")
    try:
        found = await _whole(call, size or 0, check, limit)
    finally:
        call.documents.leave(guest, amount)
    check.update(found)
    check.verify(len(found))
    return found


async def _whole(call: Call, size: int, check: ContentCheck, limit: int) -> bytes:
    found = bytearray()
    async with _body(call, size, check) as body:
        async for piece in body.pieces:
            found += piece
            if len(found) > limit:
                raise S3Error("MaxMessageLengthExceeded", "Your request was too big.")
    return bytes(found)
