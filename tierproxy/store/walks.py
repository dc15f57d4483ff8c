"""Rows page by page, and many calls a few at a time: how the offline tools and the scrub go through everything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from tierproxy.model import Entry, ObjectName
from tierproxy.ports import Catalogue

T = TypeVar("T")
PAGE = 500

Progress = Callable[[str, int, "int | None"], None]
"""Told now and then: what is being done, how many are done, of how many (None: not known)."""


def silent(_phase: str, _done: int, _total: int | None) -> None:
    """The progress nobody watches."""


async def each(items: Iterable[T], call: Callable[[T], Awaitable[object]], parallel: int) -> None:
    """``await call(item)`` for every item, at most ``parallel`` at once. The first error ends it: no further call
    begins, those that run are cancelled and awaited."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await call(item)

    workers = [asyncio.create_task(work()) for _ in range(max(1, parallel))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def blob_rows(catalogue: Catalogue, after: str = "") -> AsyncIterator[list[Entry]]:
    """Entries with a blob in pages, by blob name > ``after``."""
    while page := await catalogue.blob_page(after, PAGE):
        yield page
        after = page[-1].blob or ""


async def rows_in(catalogue: Catalogue, state: str, bucket: str | None = None) -> AsyncIterator[list[Entry]]:
    """Entries of one state in pages, in name order; of one bucket, or of all. Changing the rows of a page that was
    handed out does not disturb the walk."""
    after = None if bucket is None else ObjectName(bucket, "")
    while page := await catalogue.entries_in(state, after, PAGE):
        inside = [entry for entry in page if bucket in {None, entry.name.bucket}]
        if inside:
            yield inside
        if len(inside) < len(page):
            return
        after = page[-1].name
