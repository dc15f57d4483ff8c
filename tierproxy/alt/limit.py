"""Wrappers of an alt tier, each with one concern: ``Limited(Counted(S3Alt(...)), 64)``."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from tierproxy.alt.budget import RetryBudget
from tierproxy.alt.pace import Pace
from tierproxy.clock import SystemClock
from tierproxy.errors import AltBusy, TierproxyError
from tierproxy.model import AltObject, ByteRange, Headers, ListPage, ListRequest, ObjectName
from tierproxy.ports import AltBody, AltTier, Clock, Source, Spans
from tierproxy.shares import BEGUN, GUEST, LOOK, Guest, Places
from tierproxy.stats import Latency

T = TypeVar("T")
BODIES = 4  #: bodies at once for each request at once
SPARE = 4  #: one place more for each so many, for who has less than his share
PATIENCE = 10.0  #: seconds that a body or a stream waits for its place


def most_connections(concurrency: int) -> int:
    """To alt, with ``concurrency`` requests at once: bodies, requests, and the parts of streams."""
    return concurrency * (BODIES + BODIES // SPARE + 3)


class WrappedBody:
    """Another body, seen through."""

    def __init__(self, body: AltBody) -> None:
        self._body = body

    @property
    def meta(self) -> AltObject:
        return self._body.meta

    @property
    def range(self) -> ByteRange:
        return self._body.range


class LimitedBody(WrappedBody):
    """A body that keeps its place in the queue until it is read to the end, has failed, or is closed."""

    def __init__(self, body: AltBody, release: Callable[[], None]) -> None:
        super().__init__(body)
        self._release: Callable[[], None] | None = release

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body.chunks():
                yield chunk
        finally:
            self._let_go()

    async def close(self) -> None:
        try:
            await self._body.close()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


class Room:
    """Places for ``limit`` at once, and ``spare`` for clients with less than their share; more wait, in fair turns
    (``tierproxy.shares``). ``patience``: seconds after which a waiter gets AltBusy, None for ever."""

    def __init__(self, limit: int, what: str, patience: float | None, *, spare: int = 0) -> None:
        self.places = Places(limit, spare=spare)
        self._what = what
        self._patience = patience

    def __repr__(self) -> str:
        return f"{self.taken} of {self.places.limit} {self._what}"

    @property
    def taken(self) -> int:
        return self.places.taken

    async def enter(self) -> Guest:
        """Whose place it is: ``leave`` wants to know."""
        guest = GUEST.get()
        if not self.places.take(guest):  # at once, and without a timer for what takes no time
            await self._wait(guest)
        return guest

    async def _wait(self, guest: Guest) -> None:
        place = self.places.queue(guest)
        try:
            if self._patience is None:
                await place
            elif not await self._granted(place, guest.client, self._patience):
                raise AltBusy(f"all {self.places.limit} {self._what} are busy")
        except BaseException:
            self.places.withdraw(guest, place)
            raise

    async def _granted(self, place: asyncio.Future[None], client: str, patience: float) -> bool:
        """Whether it was, in time. Who is too slow may have to give way meanwhile."""
        while not place.done() and patience > 0:
            self.places.make_room(client)
            await asyncio.wait({place}, timeout=min(LOOK, patience))
            patience -= LOOK
        return place.done()

    def leave(self, guest: Guest) -> None:
        self.places.leave(guest)

    async def within(self, call: Callable[[], Awaitable[T]]) -> T:
        guest = await self.enter()
        BEGUN.get()()
        try:
            return await call()
        finally:
            self.leave(guest)


class Limited:
    """At most ``concurrency`` requests at once; more wait, and whose client has fewest is next.

    What lasts as long as a client likes has room of its own, so that slow clients never stop other requests: a body
    (``get``) is a request until its headers are here and then one of ``BODIES * concurrency`` bodies until it is read
    or closed; a stream (``put_stream``) is one of ``concurrency`` streams and no request. Of both there are a quarter
    more for clients that have less than their share. Who finds no such room for ``patience`` seconds gets AltBusy, so
    that two that wait for each other part again. A body's place is taken before its request's, and nobody waits for
    one while he holds a request: a body's reader may always make another request. Connections to alt: at most
    ``concurrency`` for requests, ``BODIES`` times that and a quarter for bodies, and for each stream the parts it has
    in flight.
    """

    def __init__(
        self, alt: AltTier, concurrency: int, *, patience: float = PATIENCE, pace: Pace | None = None
    ) -> None:  # fmt: skip
        """``pace``: at which bodies begin."""
        self._alt = alt
        self._pace = pace
        self._requests = Room(concurrency, "requests", None)
        self._bodies = Room(concurrency * BODIES, "bodies", patience, spare=concurrency * BODIES // SPARE)
        self._streams = Room(concurrency, "streams", patience, spare=concurrency // SPARE)

    def __repr__(self) -> str:
        return f"<Limited {self._requests}, {self._bodies}, {self._streams} {self._alt!r}>"

    @property
    def running(self) -> int:
        """Requests, bodies and streams now."""
        return self._requests.taken + self._bodies.taken + self._streams.taken

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        if self._pace is not None:
            await self._pace.turn()
        guest = await self._bodies.enter()
        try:
            body = await self._within(lambda: self._alt.get(name, range, etag=etag))
        except BaseException:
            self._bodies.leave(guest)
            raise
        return LimitedBody(body, partial(self._bodies.leave, guest))

    async def head(self, name: ObjectName) -> AltObject:
        return await self._within(lambda: self._alt.head(name))

    async def put(
        self, name: ObjectName, source: Source, headers: Headers, *, md5: str, etag: str | None = None,
        parts: tuple[int, ...] = (), create: bool = False, match: str | None = None,
    ) -> str:  # fmt: skip
        return await self._within(
            lambda: self._alt.put(name, source, headers, md5=md5, etag=etag, parts=parts, create=create, match=match)
        )

    async def put_stream(
        self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers, *, create: bool = False,
        match: str | None = None,
    ) -> str:  # fmt: skip
        return await self._streams.within(
            lambda: self._alt.put_stream(name, chunks, headers, create=create, match=match)
        )

    async def delete(self, name: ObjectName) -> None:
        await self._within(lambda: self._alt.delete(name))

    async def copy(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, *, etag: str | None = None,
        match: str | None = None, create: bool = False, target_match: str | None = None, known: AltObject | None = None,
    ) -> str:  # fmt: skip
        def copy() -> Awaitable[str]:
            return self._alt.copy(
                source, target, headers, etag=etag, match=match, create=create, target_match=target_match,
                known=known,
            )  # fmt: skip

        return await self._within(copy)

    async def etag_is_md5(self, name: ObjectName) -> bool:
        return await self._within(lambda: self._alt.etag_is_md5(name))

    async def page(self, request: ListRequest) -> ListPage:
        return await self._within(lambda: self._alt.page(request))

    async def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        """Waits for its turn before each batch."""
        async with aclosing(self._alt.walk(bucket)) as batches:  # type: ignore[type-var]
            while (batch := await self._within(lambda: anext(batches, None))) is not None:
                yield batch

    async def close(self) -> None:
        await self._alt.close()

    async def _within(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._requests.within(call)


class CountedBody(WrappedBody):
    """A body whose failures are counted under ``body`` and whose bytes add up."""

    def __init__(self, body: AltBody, counts: Counted) -> None:
        super().__init__(body)
        self._counts = counts

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body.chunks():
                self._counts.bytes_read += len(chunk)
                yield chunk
        except TierproxyError as error:
            self._counts.requests["body", type(error).__name__] += 1
            raise

    async def close(self) -> None:
        await self._body.close()


class Counted:
    """Counts operations by class (get, head, put, delete, copy, list) and outcome ("ok" or the error's class name).

    ``requests[class, outcome]``; bodies that break are ("body", error). One operation may be several HTTP requests.
    ``latency[class]``: of those that succeeded, of a get until its headers are here.
    """

    def __init__(self, alt: AltTier, clock: Clock | None = None) -> None:
        self.spans: Spans | None = None  #: where operations are traced to
        self.budget: RetryBudget | None = None  #: of second tries, where there are any
        self._alt = alt
        self._clock = clock or SystemClock()
        self.latency: defaultdict[str, Latency] = defaultdict(Latency)
        self.requests: Counter[tuple[str, str]] = Counter()
        self.bytes_read = 0
        self.bytes_written = 0

    def __repr__(self) -> str:
        return f"<Counted {sum(self.requests.values())} {self._alt!r}>"

    def sample(self) -> dict[str, int]:
        """By dotted name: ``alt.get.ok``, ``alt.put.AltUnavailable``, ``alt.bytes.read``, ``alt.bytes.written``."""
        found = {f"alt.{kind}.{outcome}": count for (kind, outcome), count in self.requests.items()}
        return found | {"alt.bytes.read": self.bytes_read, "alt.bytes.written": self.bytes_written}

    def total(self, kind: str) -> int:
        """Operations of one class, whatever came of them."""
        return sum(count for (found, _), count in self.requests.items() if found == kind)

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        return CountedBody(await self._count("get", self._alt.get(name, range, etag=etag)), self)

    async def head(self, name: ObjectName) -> AltObject:
        return await self._count("head", self._alt.head(name))

    async def put(
        self, name: ObjectName, source: Source, headers: Headers, *, md5: str, etag: str | None = None,
        parts: tuple[int, ...] = (), create: bool = False, match: str | None = None,
    ) -> str:  # fmt: skip
        call = self._alt.put(name, source, headers, md5=md5, etag=etag, parts=parts, create=create, match=match)
        alt_etag = await self._count("put", call)
        self.bytes_written += source.size
        return alt_etag

    async def put_stream(
        self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers, *, create: bool = False,
        match: str | None = None,
    ) -> str:  # fmt: skip
        call = self._alt.put_stream(name, self._passing(chunks), headers, create=create, match=match)
        return await self._count("put", call)

    async def delete(self, name: ObjectName) -> None:
        await self._count("delete", self._alt.delete(name))

    async def copy(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, *, etag: str | None = None,
        match: str | None = None, create: bool = False, target_match: str | None = None, known: AltObject | None = None,
    ) -> str:  # fmt: skip
        call = self._alt.copy(
            source, target, headers, etag=etag, match=match, create=create, target_match=target_match, known=known
        )
        return await self._count("copy", call)

    async def etag_is_md5(self, name: ObjectName) -> bool:
        return await self._alt.etag_is_md5(name)

    async def page(self, request: ListRequest) -> ListPage:
        return await self._count("list", self._alt.page(request))

    async def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        async with aclosing(self._alt.walk(bucket)) as batches:  # type: ignore[type-var]
            while (batch := await self._count("list", anext(batches, None))) is not None:
                yield batch

    async def close(self) -> None:
        await self._alt.close()

    async def _passing(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.bytes_written += len(chunk)
            yield chunk

    async def _count(self, kind: str, call: Awaitable[T]) -> T:
        if self.spans is None:
            return await self._timed(kind, call)
        with self.spans.call(kind):
            return await self._timed(kind, call)

    async def _timed(self, kind: str, call: Awaitable[T]) -> T:
        outcome = "cancelled"
        begin = self._clock.monotonic()
        try:
            result = await call
            outcome = "ok"
            self.latency[kind].add(self._clock.monotonic() - begin)
            return result
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self.requests[kind, outcome] += 1
