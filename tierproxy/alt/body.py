"""A body of alt while it is read, with the promise of its length (``tierproxy.ports.AltBody``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tierproxy.alt.answers import FOREIGN, error_of
from tierproxy.alt.odd import BotoPieces
from tierproxy.errors import AltCorrupt, AltUnavailable
from tierproxy.model import AltObject, ByteRange


class S3Body:
    """``pieces`` as a body of exactly ``range`` bytes; ``piece_timeout`` seconds bound the wait for each."""

    def __init__(
        self, meta: AltObject, range: ByteRange, pieces: AsyncIterator[Any], *, piece_timeout: float,
        at_once: bool = False,
    ) -> None:  # fmt: skip
        """``at_once``: the first of ``pieces`` is all there is."""
        self._at_once = at_once
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
            if left < 0:
                raise AltCorrupt(f"{self._meta.name}: alt sent more than {self._range.length} bytes")
            yield piece
            if self._at_once:
                break
        if left and self._pieces is None:
            raise AltUnavailable(f"{self._meta.name}: the body was closed with {left} bytes unread")
        if left:
            raise AltCorrupt(f"{self._meta.name}: alt sent {left} bytes less than {self._range.length}")

    async def close(self) -> None:
        """Dropping obstore's stream closes its connection unless the body was read to the end."""
        pieces, self._pieces = self._pieces, None
        if isinstance(pieces, BotoPieces):
            await pieces.aclose()

    async def _next(self) -> bytes | None:
        if self._pieces is None:
            return None
        try:
            async with asyncio.timeout(self._piece_timeout):
                return bytes(await anext(self._pieces))
        except StopAsyncIteration:
            return None
        except FOREIGN as error:
            raise error_of(error, self._meta.name, change=False) from error
