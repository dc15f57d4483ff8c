"""Multipart uploads to alt: bounded memory, nothing visible before the end, nothing left behind on failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from tierproxy.alt.answers import FOREIGN, error_of
from tierproxy.alt.budget import RetryBudget
from tierproxy.alt.metadata import Stored
from tierproxy.alt.odd import BotoObjects, condition, unquoted
from tierproxy.errors import AltError, AltUncertain
from tierproxy.logs import event
from tierproxy.ports import Source

logger = logging.getLogger(__name__)

T = TypeVar("T")
AT_ONCE = 2  #: parts in flight; the memory is this plus one, times the part size
MOST_PARTS = 10_000
Upload = Callable[[dict[str, str]], Awaitable[list[dict[str, Any]]]]
Send = Callable[[int, bytes], Awaitable[dict[str, Any]]]


class Multipart:
    """Uploads in parts through boto3. ``retries``: at most, of each part, as ``budget`` allows; beginning and
    completing are tried once. ``time_limit``: seconds, of each request."""

    def __init__(self, objects: BotoObjects, budget: RetryBudget, retries: int, time_limit: float) -> None:
        self._objects = objects
        self._budget = budget
        self._retries = retries
        self._time_limit = time_limit

    async def put(
        self, bucket: str, key: str, parts: AsyncIterator[bytes], stored: Stored, *, create: bool, match: str | None,
    ) -> str:  # fmt: skip
        """Send ``parts`` (each but the last of 5 MiB or more) and complete. Whatever ``parts`` raises is passed on.
        Only the completion can be AltUncertain. Returns the ETag."""

        async def upload(where: dict[str, str]) -> list[dict[str, Any]]:
            return await self._send_all(where, _sender(self._objects, where), parts)

        return await self._run(bucket, key, stored, upload, condition(create, match))

    async def copy(
        self, source: tuple[str, str], target: tuple[str, str], size: int, part: int, match: str, stored: Stored,
        conditions: dict[str, str],
    ) -> str:  # fmt: skip
        """UploadPartCopy of ranges of ``part`` bytes, for sources too large for CopyObject; ``conditions`` on the
        target (``odd.condition``) at the completion. Returns the ETag."""

        async def upload(where: dict[str, str]) -> list[dict[str, Any]]:
            return [
                await self._copy_part(where, source, match, number, start, min(start + part, size))
                for number, start in enumerate(range(0, size, part), 1)
            ]

        return await self._run(*target, stored, upload, conditions)

    async def _run(
        self, bucket: str, key: str, stored: Stored, upload: Upload,
        conditions: dict[str, str],
    ) -> str:  # fmt: skip
        where = {"Bucket": bucket, "Key": key}
        where["UploadId"] = await self._bounded(self._begun(where, stored), key)
        try:
            sent = await upload(where)
            return await self._bounded(self._completed(where, sent, conditions), key, change=True)
        except AltUncertain:
            raise  # it may be complete: an abort must not race with that
        except BaseException:
            await self._abort(where)
            raise

    async def _begun(self, where: dict[str, str], stored: Stored) -> str:
        answer = await self._objects.call("create_multipart_upload", **where, **self._objects.facts(stored))
        return str(answer["UploadId"])

    async def _completed(
        self, where: dict[str, str], sent: list[dict[str, Any]], conditions: dict[str, str]
    ) -> str:  # fmt: skip
        parts = {"Parts": sent}
        answer = await self._objects.call("complete_multipart_upload", **where, MultipartUpload=parts, **conditions)
        return unquoted(answer["ETag"])

    async def _send_all(self, where: dict[str, str], send: Send, parts: AsyncIterator[bytes]) -> list[dict[str, Any]]:
        room = asyncio.Semaphore(AT_ONCE)
        tasks: list[asyncio.Task[dict[str, Any]]] = []

        async def one(number: int, content: bytes) -> dict[str, Any]:
            try:
                return await self._again(lambda: send(number, content), where)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as group:
                async for content in parts:
                    await room.acquire()
                    tasks.append(group.create_task(one(len(tasks) + 1, content)))
                    del content  # the task alone holds it
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _copy_part(
        self, where: dict[str, str], source: tuple[str, str], match: str, number: int, start: int, stop: int,
    ) -> dict[str, Any]:  # fmt: skip
        async def send() -> dict[str, Any]:
            answer = await self._objects.call(
                "upload_part_copy", **where, PartNumber=number, CopySource={"Bucket": source[0], "Key": source[1]},
                CopySourceIfMatch=f'"{match}"', CopySourceRange=f"bytes={start}-{stop - 1}",
            )  # fmt: skip
            return _receipt(number, answer["CopyPartResult"])

        return await self._again(send, where)

    async def _again(self, attempt: Callable[[], Awaitable[T]], where: dict[str, str]) -> T:
        """A part sent twice is the same part, so any failure may be tried again."""
        bucket, key = where["Bucket"], where["Key"]
        self._budget.first(bucket)
        for _ in range(self._retries):
            try:
                return await self._bounded(attempt(), key)
            except AltError as error:
                if not self._budget.second(bucket):
                    raise
                event(logger, logging.INFO, "part tried again", key=key, error=error)
        return await self._bounded(attempt(), key)

    async def _bounded(self, call: Awaitable[T], subject: str, *, change: bool = False) -> T:
        try:
            async with asyncio.timeout(self._time_limit):
                return await call
        except FOREIGN as error:
            raise error_of(error, subject, change=change) from error

    async def _abort(self, where: dict[str, str]) -> None:
        try:
            await self._bounded(self._objects.call("abort_multipart_upload", **where), where["Key"])
        except AltError as error:
            event(logger, logging.WARNING, "unfinished upload left in alt", key=where["Key"], error=error)


def _sender(objects: BotoObjects, where: dict[str, str]) -> Send:
    async def send(number: int, content: bytes) -> dict[str, Any]:
        return _receipt(number, await objects.upload_part(where, number, content))

    return send


def _receipt(number: int, answer: dict[str, Any]) -> dict[str, Any]:
    receipt = {"PartNumber": number, "ETag": answer["ETag"]}
    if "ChecksumSHA256" in answer:
        receipt["ChecksumSHA256"] = answer["ChecksumSHA256"]
    return receipt


async def cut(source: Source, part_size: int) -> AsyncIterator[bytes]:
    """The bytes of ``source`` in pieces of ``part_size`` bytes, the last one shorter."""
    for start in range(0, source.size, part_size):
        yield await source.read(start, min(part_size, source.size - start))


async def gathered(chunks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """``chunks`` in pieces of exactly ``size`` bytes, the last one shorter."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        while len(waiting) >= size:
            yield bytes(waiting[:size])
            del waiting[:size]
    if waiting:
        yield bytes(waiting)


async def after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """``first``, then ``rest``."""
    yield first
    async for part in rest:
        yield part
