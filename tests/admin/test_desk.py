"""The desk of questions: a node that stops does not wait until every row was looked at."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from tierproxy.admin.services import DESK_THREADS, Desk
from tierproxy.catalogue import CatalogueReader
from tierproxy.errors import DiskError
from tierproxy.offload import ThreadPool
from tierproxy.purges import Scope
from tierproxy.rules.model import RuleSet
from tierproxy.testing.contracts.catalogue_rows import sqlite_catalogue, stored

SCOPE = Scope(RuleSet(), 0.0)


async def test_a_look_at_every_row_ends_with_the_desk(tmp_path: Path) -> None:
    begun, enough = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def look(catalogue: CatalogueReader) -> str:
        """As long as a look at very many rows."""
        loop.call_soon_threadsafe(begun.set)
        while not enough.is_set():
            catalogue.survey(SCOPE)
        return "looked at all"

    threads = ThreadPool("desk", DESK_THREADS)
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        desk = Desk(tmp_path, threads)
        asked = asyncio.create_task(desk.ask(look))
        try:
            await begun.wait()
            await desk.close()
            done, _ = await asyncio.wait({asked}, timeout=60)
            assert done
            with pytest.raises(DiskError):
                asked.result()
            with pytest.raises(DiskError):
                await desk.ask(lambda reader: reader.survey(SCOPE))
        finally:
            enough.set()
            await asyncio.gather(asked, return_exceptions=True)
            await threads.close()
