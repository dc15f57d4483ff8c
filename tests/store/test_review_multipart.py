"""Multipart uploads that end twice at once, and clocks that jump."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import WriteSection
from tierproxy.config.values import Duration
from tierproxy.errors import NoSuchUpload
from tierproxy.model import Headers, Part, Upload
from tierproxy.store.body import Md5Check
from tierproxy.store.multipart import EXPIRY_PERIOD
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, name, pieces, rig

DAY = 86400.0
WEEK = WriteSection(multipart_expiry=Duration(7 * DAY))
SOON = WriteSection(multipart_expiry=Duration(EXPIRY_PERIOD / 2))

End = Callable[[Rig, Upload], Awaitable[object]]


async def begin(r: Rig, key: str = "k") -> Upload:
    return await r.parts.store.multipart.create(name(key), Headers(), None, None, None)


async def part(r: Rig, up: Upload, body: bytes) -> Part:
    return await r.parts.store.multipart.put_part(up, 1, len(body), pieces(body, 1024), Md5Check(len(body)))


async def aborted(r: Rig, up: Upload) -> None:
    with pytest.raises(NoSuchUpload):
        await r.parts.store.multipart.abort(up)


async def expired(r: Rig, up: Upload) -> None:
    await r.parts.store.multipart.expire(up.created_at + 1)


@pytest.mark.parametrize("end", [aborted, expired])
async def test_an_upload_that_is_being_completed_is_not_removed_under_it(tmp_path: Path, end: End) -> None:
    """Alt has the new object already: were the upload gone, it would have no row."""
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        await r.put("k", b"acknowledged before")
        up = await begin(r)
        chosen = [(1, (await part(r, up, b"from the upload")).etag)]
        gate = alt.gate("put")
        completing = asyncio.create_task(r.parts.store.multipart.complete(up, chosen))
        await gate.reached()
        ending = asyncio.create_task(_awaited(end(r, up)))
        await asyncio.wait([ending], timeout=0.05)
        gate.open()
        await completing
        await ending
        assert await r.get("k") == alt.alt.content(name("k")) == b"from the upload"  # type: ignore[attr-defined]


async def _awaited(end: Awaitable[object]) -> None:
    await end


async def test_a_clock_that_jumps_ahead_makes_no_running_upload_old(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, write=WEEK) as r:
        up = await begin(r)
        await part(r, up, b"a part")
        clock.jump_wall(8 * DAY)
        await clock.advance(EXPIRY_PERIOD + 1)
        await r.idle()
        assert r.parts.store.multipart.find(up.id, name("k")) == up


async def test_an_upload_nobody_finishes_goes_though_the_clock_jumped(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, write=SOON) as r:
        up = await begin(r)
        clock.jump_wall(8 * DAY)
        await clock.advance(EXPIRY_PERIOD + 1)
        await r.idle()
        with pytest.raises(NoSuchUpload):
            r.parts.store.multipart.find(up.id, name("k"))


async def test_an_upload_abandoned_before_a_restart_still_expires(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock(), write=WEEK) as r:
        up = await begin(r)
    clock = VirtualClock(up.created_at + 7 * DAY - EXPIRY_PERIOD / 2)
    async with rig(tmp_path, clock=clock, write=WEEK) as r:
        await clock.advance(EXPIRY_PERIOD + 1)
        await r.idle()
        with pytest.raises(NoSuchUpload):
            r.parts.store.multipart.find(up.id, name("k"))
