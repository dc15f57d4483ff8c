"""Writes that go around the disk: ack ``alt``, and ack ``both`` when the disk has no room or fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, TypeVar

import xxhash

from tierproxy.errors import AltError, AltUnavailable, AltUncertain, Busy
from tierproxy.model import Entry, State
from tierproxy.ports import AltTier, BodyCheck, Staged
from tierproxy.shares import GUEST, Places
from tierproxy.store.body import MemorySource, Timings
from tierproxy.store.calls import Write, Written
from tierproxy.store.changes import Changes, Content, received
from tierproxy.store.describing import Describing
from tierproxy.store.order import KeyOrder
from tierproxy.store.space import Reservation, Space
from tierproxy.store.tasks import Tasks

T = TypeVar("T")
IN_MEMORY = 8 * 2**20
"""Bodies up to this are received whole, so that a wrong checksum is noticed before alt hears of them."""
AT_ONCE = 256 * 2**20  #: bytes of them, and a quarter more for clients with less than their share


class Around:
    """Alt is the only tier that gets the bytes; the row has no blob."""

    def __init__(
        self, *, alt: AltTier, changes: Changes, order: KeyOrder, space: Space, tasks: Tasks, describing: Describing
    ) -> None:
        self._alt = alt
        self._changes = changes
        self._order = order
        self._space = space
        self._tasks = tasks
        self._describing = describing
        self._memory = Places(AT_ONCE, spare=AT_ONCE // 4)

    async def write(self, call: Write, timings: Timings) -> Written:
        """Raises as ``Writer.write``, and Busy."""
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
        digest = xxhash.xxh3_128()
        checked = hashed(body, call.check, seen, digest)
        if call.size > IN_MEMORY:
            return await self._stream(call, checked, digest, timings)
        guest, amount = GUEST.get(), max(1, call.size)
        if not self._memory.take(guest, amount):
            self._memory.make_room(guest.client)
            raise Busy("Too many bodies are being received; try again.")
        try:
            return await self._write_small(call, checked, digest, timings)
        finally:
            self._memory.leave(guest, amount)

    async def _write_small(
        self, call: Write, body: AsyncIterator[bytes], digest: xxhash.xxh3_128, timings: Timings
    ) -> Written:  # fmt: skip
        source = MemorySource()
        async for piece in body:
            await source.write(piece)
        content = await self._describing.described(received(call, source, call.check))
        return await self._tasks.finish(self._send(content, digest.digest(), timings), "write around")

    async def _send(self, content: Content, xxh3: bytes, timings: Timings) -> Written:
        async with self._order.hold(content.name), self._changes.alone(content.name, content.precondition) as current:
            entry = replace(self._changes.entry(content, State.CLEAN), xxh3=xxh3)
            try:
                alt_etag = await self._changes.send(content, entry, current, timings)
            except AltError as error:
                await self._changes.undone(current, error)
                raise
            return await self.commit(content, replace(entry, alt_etag=alt_etag), timings)

    async def _stream(
        self, call: Write, body: AsyncIterator[bytes], digest: xxhash.xxh3_128, timings: Timings
    ) -> Written:  # fmt: skip
        """Too large for memory: a multipart upload to alt that is completed only when the body has been verified. A
        slow client holds up nobody: the name's order is taken when only the last piece is left to send. Alt is told
        the metadata before the end of the body is here, so a mail says nothing of itself."""
        early = await self._changes.admitted(call.name, call.precondition)
        create, match = self._changes.conditions(call.name, call.precondition, early)
        async with AsyncExitStack() as stack:
            last = LastPiece(body, lambda: self._enter(stack, call))
            try:
                with timings.phase("alt-body"):
                    alt_etag = await self._alt.put_stream(
                        call.name, aiter(last), call.headers, create=create, match=match
                    )
            except BaseException as error:
                await self._tasks.finish(within(stack.pop_all(), self._broken(last, error)), "settle")
                raise
            content = received(call, MemorySource(), call.check)
            entry = self._changes.entry(content, State.CLEAN)
            entry = replace(entry, size=call.size, alt_etag=alt_etag, xxh3=digest.digest())
            commit = within(stack.pop_all(), self.commit(content, entry, timings))
            return await self._tasks.finish(commit, "write around")

    async def _enter(self, stack: AsyncExitStack, call: Write) -> Entry | None:
        await stack.enter_async_context(self._order.hold(call.name))
        return await stack.enter_async_context(self._changes.alone(call.name, call.precondition))

    async def _broken(self, last: LastPiece, error: BaseException) -> None:
        """The client's error, or ours: before the last piece nothing was completed, after it nobody knows."""
        broken = AltUncertain("interrupted") if last.sent else AltUnavailable("not completed")
        await self._changes.undone(last.replaced, error if isinstance(error, AltError) else broken)


class LastPiece:
    """A body whose last piece waits for ``enter``. ``replaced`` is what that returned; ``sent``: the end was
    reached."""

    def __init__(self, body: AsyncIterator[bytes], enter: Callable[[], Awaitable[Entry | None]]) -> None:
        self._body = body
        self._enter = enter
        self.replaced: Entry | None = None
        self.sent = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held = b""
        async for piece in self._body:
            if held:
                yield held
            held = piece
        self.replaced = await self._enter()
        if held:
            yield held
        self.sent = True


async def within(held: AsyncExitStack, work: Coroutine[Any, Any, T]) -> T:
    """``work``, which has what is ``held`` to its end, also when the client has left."""
    async with held:
        return await work


async def hashed(
    body: AsyncIterator[bytes], check: BodyCheck, seen: int, digest: xxhash.xxh3_128
) -> AsyncIterator[bytes]:  # fmt: skip
    """``body``, hashed as it passes: by ``check`` except for the first ``seen`` bytes, by ``digest``, which the row
    remembers, all of it; ends with an error unless ``check`` agrees."""
    size = 0
    async for piece in body:
        digest.update(piece)
        fresh = piece[max(0, seen - size) :]
        if fresh:
            check.update(fresh)
        size += len(piece)
        yield piece
    check.verify(size)
