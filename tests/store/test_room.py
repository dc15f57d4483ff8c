"""A node whose catalogue lives on its reserve: what is refused, what goes on, and when it is over (decision 36).

The reserve is let go by hand here; ``test_full_disk_real.py`` does it with a full disk.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import CatalogueReserve
from tierproxy.config.sections import DiskSection, FillSection, HistorySection, MemorySection, StubsSection
from tierproxy.config.values import Duration, Size
from tierproxy.disk.fsio import Files
from tierproxy.errors import NoSuchKey, OutOfSpace
from tierproxy.model import Ack, FillPolicy, Headers, ListRequest, Tier
from tierproxy.store.body import Md5Check
from tierproxy.store.room import ALARM
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import BytesSource
from tierproxy.testing.rig import Rig, name, pieces, rig
from tierproxy.wiring import Doors

MIB = 2**20
SIZE = MIB
BODY = b"a mail\n" * 100
INTERVAL = 7.0


class Crowded(Files):
    """No room for anything that is allocated, while ``full``."""

    def __init__(self) -> None:
        self.full = False

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        if self.full and kind == "allocate":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().call(kind, function, *args)


class Story:
    def __init__(self, r: Rig, alt: MemoryAlt, clock: VirtualClock, files: Crowded, reserve: CatalogueReserve) -> None:
        self.r = r
        self.alt = alt
        self.clock = clock
        self.files = files
        self.reserve = reserve

    async def let_go(self, slices: int) -> None:
        """As commits that find no room do."""
        self.files.full = True
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        for _ in range(slices):
            await self.r.parts.disk_calls.run(self.reserve.relieves, error)
        await self.clock.advance(0)

    def alarmed(self) -> bool:
        return any(alarm == ALARM for alarm, _subject in self.r.parts.alarms.active())

    async def later(self) -> None:
        """The next try to take it back is over."""
        await self.clock.advance(INTERVAL + 1)
        while self.r.parts.disk_calls.under_way:
            await self.clock.advance(0)
        await self.clock.advance(0)


@asynccontextmanager
async def story(root: Path, alt: MemoryAlt | None = None, **sections: Any) -> AsyncIterator[Story]:
    alt, clock, files, reserves = alt or MemoryAlt(), VirtualClock(), Crowded(), list[CatalogueReserve]()

    def seen(doors: Doors) -> Doors:
        assert isinstance(doors.reserve, CatalogueReserve)
        reserves.append(doors.reserve)
        return doors

    sections = {
        "disk": DiskSection(probe_interval=Duration(INTERVAL)), "memory": MemorySection(max_bytes=Size(0)),
        "fill": FillSection(policy=FillPolicy.ALWAYS), **sections,
    }  # fmt: skip
    async with rig(
        root, alt=alt, clock=clock, files=files, wrap=seen, reserve_size=SIZE, calls_clock=clock, **sections
    ) as r:
        yield Story(r, alt, clock, files, reserves[0])


async def test_files_are_refused_and_rows_are_not(tmp_path: Path) -> None:
    async with story(tmp_path) as s:
        await s.r.put("there", BODY)
        await s.r.put("passed", BODY)
        await s.r.purge("passed")
        await s.let_go(1)
        assert s.alarmed()
        assert (await s.r.put("new", BODY)).entry.tiers == ("alt",)
        with pytest.raises(OutOfSpace):
            await s.r.put("disk", BODY, ack=Ack.DISK)
        assert s.alt.content(name("disk")) is None
        upload = await s.r.parts.store.multipart.create(name("parts"), Headers(), None, None, None)
        with pytest.raises(OutOfSpace):
            await s.r.parts.store.multipart.put_part(upload, 1, len(BODY), pieces(BODY, 100), Md5Check(len(BODY)))
        assert (await s.r.parts.store.copy(name("there"), name("copied"))).entry.tiers == ("alt",)
        assert await s.r.read("passed") == (Tier.ALT, BODY)
        await s.r.idle()
        assert s.r.row("passed").blob is None  # type: ignore[union-attr]
        await s.r.delete("there")
        with pytest.raises(NoSuchKey):
            await s.r.get("there")
        assert s.alt.content(name("there")) is None


async def test_when_it_is_nearly_used_up_alt_hears_of_no_new_mail_and_deletes_go_on(tmp_path: Path) -> None:
    async with story(tmp_path) as s:
        upload = await s.r.parts.store.multipart.create(name("parts"), Headers(), None, None, None)
        for key in ("old", "deleted"):
            await s.r.put(key, BODY)
        await s.let_go(6)
        for key in ("new", "old"):
            for ack in Ack:
                with pytest.raises(OutOfSpace):
                    await s.r.put(key, b"another", ack=ack)
        with pytest.raises(OutOfSpace):
            await s.r.parts.store.copy(name("old"), name("new"))
        with pytest.raises(OutOfSpace):
            await s.r.parts.store.multipart.complete(upload, [])
        with pytest.raises(OutOfSpace):
            await s.r.parts.store.multipart.create(name("new"), Headers(), None, None, None)
        assert s.alt.content(name("new")) is None
        assert s.alt.content(name("old")) == await s.r.get("old") == BODY
        await s.r.delete("deleted")
        await s.r.parts.store.multipart.abort(upload)
        assert s.alt.content(name("deleted")) is None
        page = await s.r.parts.store.page(ListRequest("mail"))
        assert [one.key for one in page.objects] == ["old"]


async def test_it_is_taken_back_when_there_is_room_and_then_all_is_as_before(tmp_path: Path) -> None:
    async with story(tmp_path) as s:
        await s.let_go(6)
        await s.later()
        assert s.alarmed()
        assert s.reserve.left == SIZE // 4
        s.files.full = False
        await s.later()
        assert not s.alarmed()
        assert s.reserve.left == SIZE
        assert (await s.r.put("new", BODY)).entry.tiers == ("disk", "alt")
        await s.let_go(1)
        assert s.alarmed()


async def test_what_can_go_is_purged_to_make_room(tmp_path: Path) -> None:
    async with story(tmp_path) as s:
        wanted = list[int]()
        s.r.parts.space.on_pressure = lambda amount, _bucket: wanted.append(amount)
        await s.let_go(1)
        assert wanted == [SIZE // 8 + SIZE // 4]


async def test_a_read_that_would_learn_a_row_leaves_none(tmp_path: Path) -> None:
    alt = MemoryAlt()
    for key in ("strange", "stranger"):
        await alt.put(name(key), BytesSource(BODY), Headers(), md5="")
    async with story(tmp_path, alt) as s:
        await s.let_go(1)
        assert await s.r.read("strange") == (Tier.ALT, BODY)
        assert (await s.r.parts.store.head(name("stranger"))).size == len(BODY)
        await s.r.idle()
        assert s.r.row("strange") is None
        assert s.r.row("stranger") is None
        s.files.full = False
        await s.later()
        assert await s.r.get("strange") == BODY
        await s.r.idle()
        assert s.r.row("strange").blob is not None  # type: ignore[union-attr]


async def test_no_history_and_no_stubs_are_written(tmp_path: Path) -> None:
    history, stubs = HistorySection(), StubsSection(max_bytes=Size(4 * MIB))
    async with story(tmp_path, history=history, stubs=stubs) as s:
        await s.r.put("a", BODY)
        await s.r.put("b", BODY)
        await s.let_go(1)
        dropped = s.r.parts.history.dropped
        await s.r.get("a")
        await s.r.parts.history.flush()  # type: ignore[union-attr]
        assert s.r.parts.history.dropped > dropped
        await s.r.purge("a")
        assert s.r.parts.stubs.objects == 0
        s.files.full = False
        await s.later()
        await s.r.purge("b")
        assert s.r.parts.stubs.objects == 1
