"""The alt tier."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Protocol

from tierproxy.model import (
    AltObject,
    ByteRange,
    Headers,
    ListPage,
    ListRequest,
    ObjectName,
)
from tierproxy.ports.disk import Source

UNHEARD: ContextVar[Callable[[], None]] = ContextVar("tierproxy_unheard", default=lambda: None)
"""An alt tier calls it each time it has sent a change and does not hear the answer, also when it then tries again and
succeeds: the first one may be done after the second."""


class AltBody(Protocol):
    """An object of alt while it is being read."""

    @property
    def meta(self) -> AltObject: ...

    @property
    def range(self) -> ByteRange:
        """What ``chunks`` delivers."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Ends after exactly ``range.length`` bytes or raises AltUnavailable / AltCorrupt: a short body never looks
        whole."""
        ...

    async def close(self) -> None: ...


class AltTier(Protocol):
    """S3. Names are the client's; mapping to alt's bucket, prefix and hash prefix is the implementation's.

    Raises AltUnavailable, AltRefused, AltMissing, AltPrecondition, AltCorrupt; changes also AltUncertain. From a
    change, AltCorrupt means that it took effect with other bytes than were sent: what alt holds now is not known to be
    anything. Every other error but AltUncertain means that nothing changed.
    """

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        """GetObject, with If-Match ``etag`` (alt's) if given. ``range`` is half-open; a range beyond the end is
        RangeUnsatisfiable."""
        ...

    async def head(self, name: ObjectName) -> AltObject: ...

    async def put(
        self,
        name: ObjectName,
        source: Source,
        headers: Headers,
        *,
        md5: str,
        etag: str | None = None,
        parts: tuple[int, ...] = (),
        create: bool = False,
        match: str | None = None,
    ) -> str:
        """PutObject, or a multipart upload above the configured size. ``md5``: hex MD5 of the bytes, "" if not known;
        checked against alt's answer where alt's ETag is an MD5. ``etag``: the client's ETag when it differs from the
        MD5 (kept in user metadata, with ``parts``); ``md5`` is kept in its place where alt's ETag will not be the MD5.
        ``create``: If-None-Match *; ``match``: If-Match alt ETag (AltPrecondition). Returns alt's ETag."""
        ...

    async def put_stream(
        self,
        name: ObjectName,
        chunks: AsyncIterator[bytes],
        headers: Headers,
        *,
        create: bool = False,
        match: str | None = None,
    ) -> str:
        """Write-around of a body too large for memory: a multipart upload that is completed only if ``chunks`` ends
        without an exception, and aborted otherwise (the exception is passed on). ``create`` and ``match`` as in
        ``put``, decided when the upload is completed. Returns alt's ETag."""
        ...

    async def delete(self, name: ObjectName) -> None:
        """DeleteObject; a missing object is fine."""
        ...

    async def copy(
        self,
        source: ObjectName,
        target: ObjectName,
        headers: Headers | None,
        *,
        etag: str | None = None,
        match: str | None = None,
        create: bool = False,
        target_match: str | None = None,
        known: AltObject | None = None,
    ) -> str:
        """Server-side CopyObject; ``headers`` replace the source's, None keeps them. ``etag`` as in ``put``.

        ``match``: the source must have this alt ETag, else AltUnavailable: it changed meanwhile. ``create`` and
        ``target_match``: as ``create`` and ``match`` in ``put``, for the target; AltPrecondition speaks of the target
        alone. Atomic only on a server that keeps to If-None-Match and If-Match of CopyObject (AWS and SeaweedFS do);
        elsewhere the target is looked at just before. ``known``: what the source is (its etag: alt's), for a caller who
        knows that nobody else writes it: then alt is not asked. AltMissing: there is no source. AltCorrupt: alt copied
        something else. Returns alt's ETag."""
        ...

    async def etag_is_md5(self, name: ObjectName) -> bool:
        """Whether an ETag of 32 hex digits that alt shows for ``name`` is the MD5 of its bytes. False where encryption
        (SSE-KMS, SSE-C; perhaps only a default of the bucket) makes it something else. May ask alt, so it is for those
        who have found that they differ."""
        ...

    async def page(self, request: ListRequest) -> ListPage:
        """One page of ListObjectsV2, ETags as alt shows them. AltRefused for a bucket with a hash prefix, which alt
        cannot list in key order (see ``walk``)."""
        ...

    def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        """Every object of ``bucket``, in batches and in no order, without headers (``catalogue sync``)."""
        ...

    async def close(self) -> None: ...
