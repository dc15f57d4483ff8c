"""What a review found of stubs: those made of metadata, which hold less than those made of bodies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stubs.test_serving import MIDDLE, SMALL, asked, opened, span, stubbed
from tierproxy.config.sections import FillSection
from tierproxy.model import Ack, FillPolicy
from tierproxy.store.stubbing import PASSING
from tierproxy.testing.memory_stubs import MemoryStubs
from tierproxy.testing.rig import name
from tierproxy.traffic import Outcome


@pytest.mark.parametrize("content", [MIDDLE, SMALL], ids=["more than head and tail", "less"])
async def test_a_body_that_passes_by_replaces_what_metadata_made(content: bytes, tmp_path: Path) -> None:
    async with stubbed(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        await r.put("u.1", content, ack=Ack.ALT)
        row = r.row("u.1")
        assert row is not None
        await r.parts.stubbing.remember(row, content[:46], content[-55:])
        assert (await opened(r, "u.1"))[1] == content
        await r.idle()
        before = asked(r)
        reading, got = await opened(r, "u.1", span(0, min(8192, len(content))))
        assert (reading.outcome, got) == (Outcome.STUB, content[:8192])
        assert asked(r) == before


async def test_what_is_kept_in_full_is_not_written_again(tmp_path: Path) -> None:
    kept = MemoryStubs()
    async with stubbed(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        stubbing = r.parts.stubbing
        stubbing._stubs = kept
        for key, content in (("long", MIDDLE), ("short", SMALL)):
            await r.put(key, content, ack=Ack.ALT)
            await opened(r, key)
            await r.idle()
            await stubbing.settle()
            first = await kept.peek(name(key), r.row(key).generation)  # type: ignore[union-attr]
            assert first is not None
            await opened(r, key)
            await r.idle()
            await stubbing.settle()
            assert await kept.peek(name(key), r.row(key).generation) is first  # type: ignore[union-attr]


async def test_what_passes_is_served_at_once_and_kept_with_others_later(tmp_path: Path) -> None:
    kept = MemoryStubs()
    async with stubbed(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        stubbing = r.parts.stubbing
        stubbing._stubs = kept
        keys = [f"u.{number}" for number in range(PASSING)]
        for key in keys:
            await r.put(key, MIDDLE, ack=Ack.ALT)
        for key in keys[:-1]:
            await opened(r, key)
        await r.idle()
        assert await kept.peek(name("u.0"), r.row("u.0").generation) is None  # type: ignore[union-attr]
        before = asked(r)
        reading, got = await opened(r, "u.0", span(0, 8192))
        assert (reading.outcome, got, asked(r)) == (Outcome.STUB, MIDDLE[:8192], before)
        await opened(r, keys[-1])  # as many as are held in memory
        await r.idle()
        for key in keys:
            assert await kept.peek(name(key), r.row(key).generation) is not None  # type: ignore[union-attr]
