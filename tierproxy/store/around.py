"""Writes that go around the disk: ack ``alt``, and ack ``both`` when the disk has no room or fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from tierproxy.errors import AltError, AltUnavailable, AltUncertain
from tierproxy.model import Entry, State
from tierproxy.ports import AltTier, BodyCheck, Staged
from tierproxy.store.body import MemorySource, Timings
from tierproxy.store.calls import Write, Written
from tierproxy.store.changes import Changes, Content, received
from tierproxy.store.order import KeyOrder
from tierproxy.store.space import Reservation, Space
from tierproxy.store.tasks import Tasks

IN_MEMORY = 8 * 2**20
"""Bodies up to this are received whole, so that a wrong checksum is noticed before alt hears of them."""


class Around:
    """Alt is the only tier that gets the bytes; the row has no blob."""

    def __init__(self, *, alt: AltTier, changes: Changes, order: KeyOrder, space: Space, tasks: Tasks) -> None:
        self._alt = alt
        self._changes = changes
        self._order = order
        self._space = space
        self._tasks = tasks

    async def write(self, call: Write, timings: Timings) -> Written:
        """Raises as ``Writer.write``."""
        return await self._write(call, call.body, 0, timings)

    async def go_on(self, call: Write, staged: Staged, timings: Timings) -> Written:
        """The disk failed in the middle of the body: what was staged can still be read, the rest comes from the client.
        ``call.check`` has seen all that was staged."""
        seen = staged.size

        async def body() -> AsyncIterator[bytes]:
            for offset in range(0, seen, 2**20):
                yield await staged.read(offset, min(2**20, seen - offset))
            async for piece in call.body:
                yield piece

        return await self._write(call, body(), seen, timings)

    async def commit(self, content: Content, entry: Entry, timings: Timings) -> Written:
        """The row of an object only alt has."""
        with Reservation(self._space, 0) as nothing:
            return Written(await self._changes.commit(content, entry, nothing), timings.phases)

    async def _write(self, call: Write, body: AsyncIterator[bytes], seen: int, timings: Timings) -> Written:
        if call.size > IN_MEMORY:
            return await self._stream(call, hashed(body, call.check, seen), timings)
        source = MemorySource()
        async for piece in hashed(body, call.check, seen):
            await source.write(piece)
        return await self._tasks.finish(self._send(received(call, source, call.check), timings), "write around")

    async def _send(self, content: Content, timings: Timings) -> Written:
        async with self._order.hold(content.name):
            current = await self._changes.admitted(content.name, content.precondition)
            await self._changes.settle_queue(content.name)
            async with self._changes.suspected(current):
                entry = self._changes.entry(content, State.CLEAN)
                try:
                    alt_etag = await self._changes.send(content, entry, current, timings)
                except AltError as error:
                    await self._changes.undone(current, error)
                    raise
                return await self.commit(content, replace(entry, alt_etag=alt_etag), timings)

    async def _stream(self, call: Write, body: AsyncIterator[bytes], timings: Timings) -> Written:
        """Too large for memory: a multipart upload to alt that is completed only when the body has been verified. The
        name's order is held while the client sends; the row of an object that is overwritten is SUSPECT meanwhile."""
        async with self._order.hold(call.name):
            current = await self._changes.admitted(call.name, call.precondition)
            await self._changes.settle_queue(call.name)
            async with self._changes.suspected(current):
                sent = Passing(body)
                try:
                    with timings.phase("alt-body"):
                        alt_etag = await self._alt.put_stream(call.name, aiter(sent), call.headers)
                except BaseException as error:
                    # The client's error, or ours: before the last byte nothing was completed, after it nobody knows.
                    broken = AltUncertain("interrupted") if sent.ended else AltUnavailable("not completed")
                    outcome = error if isinstance(error, AltError) else broken
                    await self._tasks.finish(self._changes.undone(current, outcome), "settle")
                    raise
                content = received(call, MemorySource(), call.check)
                entry = replace(self._changes.entry(content, State.CLEAN), size=call.size, alt_etag=alt_etag)
                return await self._tasks.finish(self.commit(content, entry, timings), "write around")


class Passing:
    """An iterator that knows whether it was read to its end."""

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece
        self.ended = True


async def hashed(body: AsyncIterator[bytes], check: BodyCheck, seen: int) -> AsyncIterator[bytes]:
    """``body``, hashed as it passes except for the first ``seen`` bytes; ends with an error unless ``check`` agrees."""
    size = 0
    async for piece in body:
        fresh = piece[max(0, seen - size) :]
        if fresh:
            check.update(fresh)
        size += len(piece)
        yield piece
    check.verify(size)
