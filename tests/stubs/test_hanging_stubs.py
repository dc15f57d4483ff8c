"""Stubs on a disk that hangs: they cost a request a little patience once, and never memory, the store, or its end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.test_serving import LARGE, MIDDLE, opened, span, stubbed
from tierproxy.config.sections import FillSection
from tierproxy.disk.fsio import Files
from tierproxy.model import Ack, FillPolicy, ObjectName, Stub
from tierproxy.store import stubbing
from tierproxy.stubs import heads
from tierproxy.stubs.database import open_cache
from tierproxy.testing.invariants import leaks
from tierproxy.testing.rig import Rig, name
from tierproxy.traffic import Outcome


class HungStubs:
    """Stubs that answer nothing while they hang. ``asked``: how often they were."""

    def __init__(self) -> None:
        self.hangs = True
        self.going = asyncio.Event()
        self.asked = 0
        self.objects = 1
        self.bytes_used = 0

    def __getattr__(self, call: str) -> Any:
        async def answer(*_: object) -> Any:
            self.asked += 1
            if self.hangs:
                await self.going.wait()
            return None

        return answer

    def drop(self, _name: ObjectName) -> None:
        """Nothing."""


def hung(r: Rig) -> HungStubs:
    found = r.parts.stubbing._stubs = HungStubs()
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubbing, "PATIENCE", 0.05)
    monkeypatch.setattr(heads, "PATIENCE", 0.05)


async def test_a_read_goes_on_to_alt_and_the_next_does_not_even_ask(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", LARGE, ack=Ack.ALT)
        stubs = hung(r)
        for _ in range(3):
            reading, got = await opened(r, "u.1", span(0, 100))
            assert (reading.outcome is Outcome.STUB, got) == (False, LARGE[:100])
        assert stubs.asked == 1
        stubs.hangs = False


async def test_they_are_asked_again_later_by_one_and_then_by_all(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        stubs, room = hung(r), r.parts.stubbing
        await r.put("u.1", MIDDLE, ack=Ack.ALT)
        row = r.row("u.1")
        assert row is not None
        assert not await room.has(row)
        room._quiet_until = r.parts.clock.monotonic() - 1
        await asyncio.gather(*(room.has(row) for _ in range(10)))
        assert stubs.asked == 2
        stubs.hangs = False
        room._quiet_until = r.parts.clock.monotonic() - 1
        for _ in range(3):
            await room.has(row)
        assert stubs.asked == 5


async def test_what_passes_by_meanwhile_keeps_neither_flights_nor_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stubbing, "PATIENCE", 3600)
    async with stubbed(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        await r.put("u.1", MIDDLE, ack=Ack.ALT)
        row, room = r.row("u.1"), r.parts.stubbing
        assert row is not None
        stubs = hung(r)
        room._passing[name("first"), 0] = Stub(1, b"", b"")
        settling = asyncio.create_task(room.settle())
        while not stubs.asked:
            await asyncio.sleep(0)
        for number in range(stubbing.MOST_PASSING - 1):
            room._passing[name(str(number)), number] = Stub(1, b"", b"")
        _, body = await opened(r, "u.1")
        assert body == MIDDLE
        while len(r.parts.tasks):
            await asyncio.sleep(0)
        assert not settling.done(), "nobody has waited for it"
        assert len(room._passing) <= stubbing.MOST_PASSING
        stubs.hangs = False
        stubs.going.set()
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)


async def test_a_store_ends_although_their_disk_hangs(tmp_path: Path) -> None:
    going, closed = threading.Event(), threading.Event()

    class Standing:
        def __init__(self, cache: Any) -> None:
            self._cache = cache

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self._cache, attribute)

        def __len__(self) -> int:
            return len(self._cache)

        def __contains__(self, key: str) -> bool:
            going.wait()
            return key in self._cache

        def close(self) -> None:
            self._cache.close()
            closed.set()

    with leaks():
        found = await heads.Heads.open(
            tmp_path / "stubs", 2**20, Files(), heads.threads(),
            opener=lambda directory, size: Standing(open_cache(directory, size)),
        )  # fmt: skip
        found.drop(name("u.1"))
        await found.close()
        going.set()
        await found.close()
        await ended("tierproxy-stubs")
        assert closed.is_set()


async def test_what_is_dropped_while_nothing_can_be_written_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(heads, "MOST", 10)
    found = await heads.Heads.open(tmp_path / "stubs", 2**20, Files(), heads.threads())
    for number in range(100):
        found.drop(name(str(number)))
    assert len(found._changes) == 10
    await found.close()


async def ended(threads: str) -> None:
    while any(thread.name.startswith(threads) for thread in threading.enumerate()):
        await asyncio.sleep(0.001)
