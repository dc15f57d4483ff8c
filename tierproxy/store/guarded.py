"""An alt tier that nobody waits for while it is down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tierproxy.model import AltObject, ByteRange, Headers, ListPage, ListRequest, ObjectName
from tierproxy.ports import UNHEARD, AltBody, AltTier, Source
from tierproxy.shares import BEGUN
from tierproxy.store.health import AltHealth, Side, Visit
from tierproxy.store.late import GONE, LateChanges, Made, Sent

T = TypeVar("T")
QUICK = 2**20
"""Bytes up to which a write that takes long says something about alt, and not about its size."""


class GuardedBody:
    """A body whose end alt's health hears of, if it is none."""

    def __init__(self, body: AltBody, broken: Callable[[BaseException], None]) -> None:
        self._body = body
        self._broken = broken

    @property
    def meta(self) -> AltObject:
        return self._body.meta

    @property
    def range(self) -> ByteRange:
        return self._body.range

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body.chunks():
                yield chunk
        except Exception as error:
            self._broken(error)
            raise

    async def close(self) -> None:
        await self._body.close()


class Guarded:
    """``alt`` as ``health`` lets it be asked: every request has leave, or raises AltDown at once, and every outcome is
    told. When reads go down, those that still wait for their first byte get AltDown too: alt being down is certain, and
    theirs would be the longest wait. Changes that were sent are followed to their end, and ``late`` knows of them.

    ``walk`` and ``etag_is_md5`` pass: an operator's work, and the rest of a read that has begun.
    """

    def __init__(self, alt: AltTier, health: AltHealth, late: LateChanges) -> None:
        self._alt = alt
        self._health = health
        self._late = late
        self._waiting: dict[asyncio.Timeout, str] = {}
        health.on_outage.append(self._let_go)

    def __repr__(self) -> str:
        return f"<Guarded {self._alt!r}>"

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        body = await self._read(name.bucket, lambda: self._alt.get(name, range, etag=etag))
        return GuardedBody(body, lambda error: self._health.broken(name.bucket, error))

    async def head(self, name: ObjectName) -> AltObject:
        return await self._read(name.bucket, lambda: self._alt.head(name))

    async def page(self, request: ListRequest) -> ListPage:
        return await self._read(request.bucket, lambda: self._alt.page(request))

    async def put(
        self, name: ObjectName, source: Source, headers: Headers, *, md5: str, etag: str | None = None,
        parts: tuple[int, ...] = (), create: bool = False, match: str | None = None,
    ) -> str:  # fmt: skip
        def put() -> Awaitable[str]:
            return self._alt.put(name, source, headers, md5=md5, etag=etag, parts=parts, create=create, match=match)

        return await self._change(name, Made.of(etag or md5, headers), put, timed=source.size <= QUICK)

    async def put_stream(
        self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers, *, create: bool = False,
        match: str | None = None,
    ) -> str:  # fmt: skip
        """Alt is asked for nothing before the last of ``chunks``: then another change may have been lost meanwhile."""
        with self._sending(name, None) as sent:
            sent.asked = False

            async def whole() -> AsyncIterator[bytes]:
                async for chunk in chunks:
                    yield chunk
                self._late.admit(name, None)
                sent.asked = True

            visit = self._health.visit(name.bucket, Side.CHANGES, timed=False)
            return await self._told(
                visit, lambda: self._alt.put_stream(name, whole(), headers, create=create, match=match)
            )

    async def delete(self, name: ObjectName) -> None:
        await self._change(name, GONE, lambda: self._alt.delete(name), timed=True)

    async def copy(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, *, etag: str | None = None,
        match: str | None = None, create: bool = False, target_match: str | None = None, known: AltObject | None = None,
    ) -> str:  # fmt: skip
        def copy() -> Awaitable[str]:
            return self._alt.copy(
                source, target, headers, etag=etag, match=match, create=create, target_match=target_match,
                known=known,
            )  # fmt: skip

        kept = known.headers if headers is None and known is not None else headers
        return await self._change(target, Made.of(etag or "", kept), copy, timed=False)

    async def etag_is_md5(self, name: ObjectName) -> bool:
        return await self._alt.etag_is_md5(name)

    def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        return self._alt.walk(bucket)

    async def close(self) -> None:
        await self._alt.close()

    # ------------------------------------------------------------ how

    async def _read(self, bucket: str, call: Callable[[], Awaitable[T]]) -> T:
        visit = self._health.visit(bucket, Side.READS)
        scope = asyncio.timeout(None)
        try:
            async with scope:
                return await self._told(visit, lambda: self._until_let_go(bucket, scope, call))
        except TimeoutError:
            if scope.expired():
                raise self._health.outage(bucket, Side.READS) from None
            raise

    async def _until_let_go(self, bucket: str, scope: asyncio.Timeout, call: Callable[[], Awaitable[T]]) -> T:
        self._waiting[scope] = bucket
        try:
            return await call()
        finally:
            self._waiting.pop(scope, None)

    async def _change(
        self, name: ObjectName, made: Made | None, call: Callable[[], Awaitable[T]], *, timed: bool
    ) -> T:  # fmt: skip
        with self._sending(name, made):
            return await self._told(self._health.visit(name.bucket, Side.CHANGES, timed=timed), call)

    @contextmanager
    def _sending(self, name: ObjectName, made: Made | None) -> Iterator[Sent]:
        with self._late.sending(name, made) as sent:
            token = UNHEARD.set(sent.lost)
            try:
                yield sent
            finally:
                UNHEARD.reset(token)

    async def _told(self, visit: Visit, call: Callable[[], Awaitable[T]]) -> T:
        """Its time begins when it has its place among the requests."""
        token = BEGUN.set(lambda: self._health.begun(visit))
        try:
            result = await call()
        except BaseException as error:
            self._health.ended(visit, error)
            raise
        finally:
            BEGUN.reset(token)
        self._health.ended(visit)
        return result

    def _let_go(self, bucket: str, side: Side) -> None:
        """Nobody waits for what is down."""
        if side is Side.READS:
            now = asyncio.get_running_loop().time()
            for scope in [scope for scope, of in self._waiting.items() if of == bucket]:
                del self._waiting[scope]
                scope.reschedule(now)
