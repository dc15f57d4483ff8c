"""What the object port needs of the store behind it. ``tierproxy.store.tiered.TieredStore`` is the one that counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tierproxy.model import Ack, BucketRow, Entry, Headers, ListPage, ListRequest, ObjectName, Part, Upload
from tierproxy.ports import BodyCheck
from tierproxy.store.calls import ANYTHING, Precondition, Reading, Room, Select, Write, Written, whole
from tierproxy.store.feed import Listener
from tierproxy.traffic import NOBODY, Delivery, Visitor


class MultipartStore(Protocol):
    """Multipart uploads: parts are staged on the local disk and become one object."""

    async def create(
        self,
        name: ObjectName,
        headers: Headers,
        ack: Ack | None,
        checksum_algorithm: str | None,
        checksum_type: str | None,
        visitor: Visitor = NOBODY,
    ) -> Upload:
        """Raises NoSuchBucket."""
        ...

    def find(self, id: str, name: ObjectName) -> Upload:
        """Raises NoSuchUpload, also when the upload is of another object."""
        ...

    async def put_part(
        self, upload: Upload, number: int, size: int, body: AsyncIterator[bytes], check: BodyCheck
    ) -> Part: ...

    async def copy_part(self, upload: Upload, number: int, source: ObjectName, select: Select) -> Part: ...

    def parts(self, upload: Upload, after: int, limit: int) -> list[Part]:
        """Parts with a number greater than ``after``, in order."""
        ...

    def uploads(self, bucket: str, prefix: str, after: tuple[str, str], limit: int) -> list[Upload]:
        """In order of key, then id, greater than ``after`` (key, id)."""
        ...

    async def complete(
        self,
        upload: Upload,
        chosen: list[tuple[int, str]],
        *,
        precondition: Precondition = ANYTHING,
        checksums: dict[str, str],
        checksum_type: str | None,
        visitor: Visitor = NOBODY,
    ) -> Written:
        """``chosen``: part numbers with their ETags, in order. Raises InvalidPart, BadBody EntityTooSmall,
        NoSuchUpload, PreconditionFailed."""
        ...

    async def abort(self, upload: Upload) -> None: ...


class Store(Protocol):
    """Objects and buckets. Every method may raise the AltError and DiskError kinds as well as what it names."""

    @property
    def multipart(self) -> MultipartStore: ...

    async def open(
        self, name: ObjectName, select: Select = whole, *, visitor: Visitor = NOBODY, stub: bool = False
    ) -> Reading:  # fmt: skip
        """Raises NoSuchKey, NoSuchBucket and what ``select`` raises. A visitor who prefetches gets a copy made on disk
        whatever the fill policy says, if there is room. ``stub``: head and tail will do for the whole of an object
        whose body is not on disk."""
        ...

    def delivered(self, reading: Reading, visitor: Visitor, sent: int, seconds: float) -> None:
        """loop. ``sent`` body bytes of ``reading`` went out to ``visitor``, the first after ``seconds``: this is what
        counts as a read (0 bytes of an object that has some do not)."""
        ...

    def delivered_all(self, deliveries: Sequence[Delivery]) -> None:
        """loop. Hits that were answered without ``open``, in the order of their times: each counts as ``times`` gets
        that were open at once and were ``delivered``. Never raises."""
        ...

    async def head(self, name: ObjectName, *, full: bool = True) -> Entry:
        """``full``: with headers. Raises NoSuchKey, NoSuchBucket."""
        ...

    async def write(self, write: Write) -> Written: ...

    async def delete(
        self, name: ObjectName, precondition: Precondition = ANYTHING, *, visitor: Visitor = NOBODY
    ) -> None:
        """A key that is not there is fine, unless the precondition wants it."""
        ...

    async def copy(
        self,
        source: ObjectName,
        target: ObjectName,
        *,
        headers: Headers | None,
        select: Select,
        precondition: Precondition,
        ack: Ack | None,
        visitor: Visitor = NOBODY,
    ) -> Written:
        """``headers`` replace the source's, None keeps them. ``select`` sees the source's entry."""
        ...

    async def page(self, request: ListRequest) -> ListPage: ...

    def listen(self, bucket: str, prefix: str = "") -> Listener:
        """loop. Hear of changes below ``prefix`` from now on. Raises NoSuchBucket, ShuttingDown."""
        ...

    def room(self) -> Room:
        """loop. The disk budget."""
        ...

    def buckets(self) -> Sequence[BucketRow]: ...

    def bucket(self, name: str) -> BucketRow:
        """Raises NoSuchBucket."""
        ...

    async def create_bucket(self, name: str) -> None:
        """Raises BucketExists."""
        ...

    async def delete_bucket(self, name: str) -> None:
        """Raises NoSuchBucket, BucketNotEmpty."""
        ...
