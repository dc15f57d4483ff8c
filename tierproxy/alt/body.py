"""A body of alt while it is read, with the promise of its length (``tierproxy.ports.AltBody``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tierproxy.alt.answers import FOREIGN, error_of
from tierproxy.alt.odd import BotoPieces
from tierproxy.alt.tries import Tries
from tierproxy.errors import AltCorrupt, AltDeferred
from tierproxy.model import AltObject, ByteRange, ObjectName


class Resumption:
    """How a body goes on after it broke off: ``pieces`` from a position, of the same content. ``most`` times, and as
    often as the budget of second tries allows."""

    def __init__(
        self, tries: Tries, most: int, name: ObjectName, pieces: Callable[[int], Awaitable[AsyncIterator[Any]]]
    ) -> None:  # fmt: skip
        self._tries = tries
        self._most = most
        self._name = name
        self._pieces = pieces
        self._made = 0

    async def after(self, position: int) -> AsyncIterator[Any] | None:
        """The pieces from ``position`` on, or None: it stays broken."""
        while self._made < self._most and self._tries.budget.second(self._name.bucket):
            self._made += 1
            await self._tries.pause(self._made)
            try:
                async with asyncio.timeout(self._tries.time_limit):
                    return await self._pieces(position)
            except FOREIGN:
                continue
        return None


class S3Body:
    """``pieces`` as a body of exactly ``range`` bytes; ``piece_timeout`` seconds bound the wait for each."""

    def __init__(
        self, meta: AltObject, range: ByteRange, pieces: AsyncIterator[Any], *, piece_timeout: float,
        at_once: bool = False, rest: Resumption | None = None,
    ) -> None:  # fmt: skip
        """``at_once``: the first of ``pieces`` is all there is. ``rest``: what to go on with when they break off."""
        self._at_once = at_once
        self._rest = rest
        self._position = range.start
        self._meta = meta
        self._range = range
        self._pieces: AsyncIterator[Any] | None = pieces
        self._piece_timeout = piece_timeout

    @property
    def meta(self) -> AltObject:
        return self._meta

    @property
    def range(self) -> ByteRange:
        return self._range

    async def chunks(self) -> AsyncIterator[bytes]:
        left = self._range.length
        while (piece := await self._next()) is not None:
            left -= len(piece)
            self._position += len(piece)
            if left < 0:
                raise AltCorrupt(f"{self._meta.name}: alt sent more than {self._range.length} bytes")
            yield piece
            if self._at_once:
                break
        if left and self._pieces is None:
            raise AltDeferred(f"{self._meta.name}: the body was closed with {left} bytes unread")
        if left:
            raise AltCorrupt(f"{self._meta.name}: alt sent {left} bytes less than {self._range.length}")

    async def close(self) -> None:
        """Dropping obstore's stream closes its connection unless the body was read to the end."""
        pieces, self._pieces = self._pieces, None
        if isinstance(pieces, BotoPieces):
            await pieces.aclose()

    async def _next(self) -> bytes | None:
        while self._pieces is not None:
            try:
                async with asyncio.timeout(self._piece_timeout):
                    return bytes(await anext(self._pieces))
            except StopAsyncIteration:
                return None
            except FOREIGN as error:
                if not await self._resumed():
                    raise error_of(error, self._meta.name, change=False) from error
        return None

    async def _resumed(self) -> bool:
        """There are more pieces. Unless it was closed meanwhile, for which there need be none."""
        pieces = None if self._rest is None else await self._rest.after(self._position)
        if pieces is None:
            return False
        self._at_once = False
        if self._pieces is not None:
            self._pieces = pieces
        return True


class AtOnce:
    """A small body in one piece: one step into obstore and back, where a stream takes two. Not a generator: one that
    is dropped half-way would have to be closed."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        result, self._result = self._result, None
        if result is None:
            raise StopAsyncIteration
        return await result.bytes_async()
