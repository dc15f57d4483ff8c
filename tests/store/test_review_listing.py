"""Listings that alt answered before a change that ended before they did."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tierproxy.alt.memory import MemoryAlt
from tierproxy.model import Ack, Headers, ListPage, ListRequest
from tierproxy.store.body import MemorySource
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import BUCKET, Rig, name, rig

from .test_races import PATIENT


class LatePages(MemoryAlt):
    """Pages are made at once and arrive when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(opened=True)

    async def page(self, request: ListRequest) -> ListPage:
        found = await super().page(request)
        await self.gate.passage()
        return found


async def listed(r: Rig) -> list[str]:
    return [one.key for one in (await r.parts.store.page(ListRequest(BUCKET))).objects]


async def alt_with(*keys: str) -> LatePages:
    """Alt holds objects the catalogue does not know, so that it has to be asked for a listing."""
    alt = LatePages()
    for key in keys:
        await alt.put(name(key), MemorySource(b"x"), Headers(), md5="")
    return alt


async def test_a_listing_does_not_miss_what_is_uploaded_while_alt_answers(tmp_path: Path) -> None:
    late = await alt_with("other")
    alt = FaultyAlt(late)
    async with rig(tmp_path, alt=alt) as r:
        uploading = alt.gate("put")
        await r.put("acknowledged", b"a mail", ack=Ack.DISK)
        await uploading.reached()
        late.gate = Gate()
        listing = asyncio.create_task(listed(r))
        await late.gate.reached()
        uploading.open()
        await r.drained()
        late.gate.open()
        assert await listing == ["acknowledged", "other"]


async def test_a_listing_does_not_show_what_was_deleted_before_it_was_asked_for(tmp_path: Path) -> None:
    late = await alt_with("deleted", "other")
    alt = FaultyAlt(late)
    async with rig(tmp_path, alt=alt, queue=PATIENT) as r:
        alt.fail("delete")
        await r.delete("deleted")
        late.gate = Gate()
        listing = asyncio.create_task(listed(r))
        await late.gate.reached()
        await r.drained_now()
        late.gate.open()
        assert await listing == ["other"]
