"""Multipart uploads: parts are staged on the local disk, alt gets one object."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from tierproxy.errors import BadBody, DiskError, InvalidPart, NoSuchUpload, TierproxyError
from tierproxy.logs import event
from tierproxy.model import Ack, Headers, ObjectName, Part, Upload
from tierproxy.ports import BodyCheck, Catalogue, Clock, DiskTier, Staged
from tierproxy.store.body import Md5Check, Timings
from tierproxy.store.buckets import Buckets
from tierproxy.store.calls import ANYTHING, Precondition, Select, Written
from tierproxy.store.changes import Content
from tierproxy.store.describing import Describing
from tierproxy.store.order import KeyOrder
from tierproxy.store.policies import Policies
from tierproxy.store.reader import Reader
from tierproxy.store.space import Reservation, Space
from tierproxy.store.tasks import Tasks
from tierproxy.store.writer import Writer
from tierproxy.traffic import NOBODY, Visitor

log = logging.getLogger(__name__)
MIN_PART = 5 * 2**20
PIECE = 2**20
EXPIRY_PERIOD = 3600.0


class Multipart:
    """CreateMultipartUpload to CompleteMultipartUpload. An upload's parts are durable; the upload ends in the same
    transaction that makes the object, so it is never half done. Parts count against the disk budget."""

    def __init__(
        self, *, disk: DiskTier, catalogue: Catalogue, buckets: Buckets, reader: Reader, writer: Writer, space: Space,
        order: KeyOrder, tasks: Tasks, clock: Clock, policies: Policies, describing: Describing,
        min_part: int = MIN_PART,
    ) -> None:  # fmt: skip
        self._disk = disk
        self._catalogue = catalogue
        self._buckets = buckets
        self._reader = reader
        self._writer = writer
        self._space = space
        self._order = order
        self._tasks = tasks
        self._clock = clock
        self._policies = policies
        self._describing = describing
        self._min_part = min_part
        self._started, self._started_at = clock.monotonic(), clock.now()

    async def create(
        self, name: ObjectName, headers: Headers, ack: Ack | None, checksum_algorithm: str | None,
        checksum_type: str | None, visitor: Visitor = NOBODY,
    ) -> Upload:  # fmt: skip
        """Raises NoSuchBucket, OutOfSpace."""
        self._buckets.require(name.bucket)
        self._space.admit_row()
        upload = Upload(
            uuid.uuid4().hex, name, headers, self._clock.now(), ack, checksum_algorithm, checksum_type, visitor.owner,
            visitor.folder,
        )  # fmt: skip
        await self._tasks.finish(self._catalogue.add_upload(upload), "create upload")
        return upload

    def find(self, id: str, name: ObjectName) -> Upload:
        """Raises NoSuchUpload, also when the upload is of another object."""
        upload = self._catalogue.upload(id)
        if upload is None or upload.name != name:
            raise NoSuchUpload
        return upload

    async def put_part(
        self, upload: Upload, number: int, size: int, body: AsyncIterator[bytes], check: BodyCheck
    ) -> Part:
        """UploadPart. Raises BadBody, OutOfSpace, NoSuchUpload (aborted meanwhile)."""
        self._space.admit_row()
        reservation = await self._space.reserve_arriving(size)
        staged = self._disk.stage(check)
        handed_over = False
        try:
            async for piece in body:
                await staged.write(piece)
                await reservation.cover(staged.size)
            await staged.finish()
            check.verify(staged.size)
            handed_over = True
            return await self._tasks.finish(self._keep_part(upload, number, staged, check, reservation), "part")
        finally:
            if not handed_over:
                reservation.release()
                await staged.close()

    async def copy_part(self, upload: Upload, number: int, source: ObjectName, select: Select) -> Part:
        """UploadPartCopy: the range of ``source`` that ``select`` chooses becomes a part."""
        reading = await self._reader.fetch(source, select)
        try:
            size = reading.range.length if reading.range else reading.entry.size
            return await self.put_part(upload, number, size, reading.chunks(), Md5Check(size))
        finally:
            await reading.close()

    def parts(self, upload: Upload, after: int = 0, limit: int = 10_000) -> list[Part]:
        return self._catalogue.parts(upload.id, after, limit)

    def uploads(
        self, bucket: str, prefix: str = "", after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> list[Upload]:
        self._buckets.require(bucket)
        return self._catalogue.uploads(bucket, prefix, after, limit)

    async def complete(
        self, upload: Upload, chosen: Sequence[tuple[int, str]], *, precondition: Precondition = ANYTHING,
        checksums: dict[str, str] | None = None, checksum_type: str | None = None, visitor: Visitor = NOBODY,
    ) -> Written:  # fmt: skip
        """CompleteMultipartUpload. ``chosen``: part numbers with their ETags, in order. Raises InvalidPart, BadBody
        (EntityTooSmall), NoSuchUpload, and as ``Writer.write``; then the upload and its parts are still there."""
        headers = replace(upload.headers, checksums=checksums or {}, checksum_type=checksum_type)
        named = replace(visitor, owner=visitor.owner or upload.owner, folder=visitor.folder or upload.folder)
        work = self._complete(replace(upload, headers=headers), chosen, precondition, named)
        return await self._tasks.finish(work, "complete upload")

    async def abort(self, upload: Upload) -> None:
        """AbortMultipartUpload. Raises NoSuchUpload."""
        await self._tasks.finish(self._remove(upload.id), "abort upload")

    async def expire(self, older_than: float) -> int:
        """Remove uploads created before ``older_than`` (seconds since the epoch). Returns how many."""
        old = self._catalogue.uploads_before(older_than, 1000)
        for upload in old:
            event(log, logging.INFO, "multipart upload expired", name=upload.name, upload=upload.id)
            with contextlib.suppress(NoSuchUpload):  # its client was quicker
                await self._tasks.finish(self._remove(upload.id), "expire upload")
        return len(old)

    async def keep_expiring(self) -> None:
        """Until cancelled: remove uploads nobody finished within ``[write] multipart_expiry``."""
        while True:
            try:
                await self.expire(self._sober_now() - self._policies.multipart_expiry)
            except DiskError as error:
                event(log, logging.WARNING, "multipart uploads not expired", error=error)
            await self._clock.sleep(EXPIRY_PERIOD)

    def _sober_now(self) -> float:
        """The wall clock, but never ahead of what it showed at the start and the seconds that passed since: one that
        jumps ahead while the node runs must not make every running upload look old."""
        passed = self._clock.monotonic() - self._started
        return min(self._clock.now(), self._started_at + passed)

    async def _keep_part(
        self, upload: Upload, number: int, staged: Staged, check: BodyCheck, reservation: Reservation
    ) -> Part:
        """Owned by the node from here. Takes over ``staged`` and ``reservation``."""
        try:
            with reservation:
                file = await self._disk.keep_part(staged)
                part = Part(number, staged.size, check.etag(), file, self._clock.now(), check.checksums())
                reservation.commit(part.size)
                try:
                    # Not while the upload is being completed: that removes the parts it saw, and no others.
                    async with self._order.hold(ObjectName("", upload.id)):
                        replaced = await self._catalogue.add_part(upload.id, part)
                except TierproxyError:  # aborted or completed meanwhile, or the catalogue fails
                    await self._drop([part])
                    raise
                if replaced is not None:
                    await self._drop([replaced])
                return part
        finally:
            await staged.close()

    async def _complete(
        self, upload: Upload, chosen: Sequence[tuple[int, str]], precondition: Precondition, visitor: Visitor
    ) -> Written:  # fmt: skip
        async with self._order.hold(ObjectName("", upload.id)):  # one completion at a time
            self._space.admit_row()
            every = self.parts(self.find(upload.id, upload.name))
            parts = self._choose(every, chosen)
            size = sum(part.size for part in parts)
            reservation = await self._space.reserve_write(size, upload.name.bucket)
            staged = self._disk.stage()
            etag = multipart_etag([part.etag for part in parts])
            sizes = tuple(part.size for part in parts)
            content = Content(upload.name, upload.headers, etag, staged, precondition, sizes, upload.id, visitor)
            try:
                await self._assemble(parts, staged)
                content = await self._describing.described(content)
            except BaseException:
                reservation.release()
                await staged.close()
                raise
            policy = self._writer.policy(upload.name, upload.ack, size, visitor)
            written = await self._writer.keep(content, staged, reservation, policy, Timings(self._clock))
            await self._drop(every)
            return written

    def _choose(self, every: Sequence[Part], chosen: Sequence[tuple[int, str]]) -> list[Part]:
        known = {part.number: part for part in every}
        parts = []
        for number, etag in chosen:
            part = known.get(number)
            if part is None or part.etag != etag.strip('"'):
                raise InvalidPart(f"part {number} is not there or has another ETag")
            parts.append(part)
        if any(part.size < self._min_part for part in parts[:-1]):
            raise BadBody("every part but the last must have at least 5 MiB", code="EntityTooSmall")
        return parts

    async def _assemble(self, parts: Sequence[Part], staged: Staged) -> None:
        for part in parts:
            source = await self._disk.open_part(part.file, part.size, part.etag)
            try:
                for offset in range(0, part.size, PIECE):
                    await staged.write(await source.read(offset, min(PIECE, part.size - offset)))
            finally:
                await source.close()
        await staged.finish()

    async def _remove(self, id: str) -> None:
        """Before a completion or after it, never in between: alt may have the object already, which then must become
        a row."""
        async with self._order.hold(ObjectName("", id)):
            await self._drop(await self._catalogue.remove_upload(id))

    async def _drop(self, parts: Sequence[Part]) -> None:
        """No row names these parts any more; a file that cannot be removed now is found at the next start."""
        try:
            await self._disk.remove_parts([part.file for part in parts])
        except DiskError as error:
            event(log, logging.WARNING, "parts not removed", count=len(parts), error=error)
        self._space.release(sum(part.size for part in parts))


def multipart_etag(etags: Sequence[str]) -> str:
    """S3's ETag of a multipart object: the MD5 of the parts' binary MD5s, and their number."""
    digest = hashlib.md5(b"".join(bytes.fromhex(etag) for etag in etags), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(etags)}"
