"""Buckets that are not exclusive: other writers change alt behind the node's back, and alt decides."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tierproxy.config.sections import BucketSection, WriteSection
from tierproxy.config.values import Duration
from tierproxy.errors import (
    AltUnavailable,
    AltUncertain,
    NoSuchKey,
    PreconditionFailed,
)
from tierproxy.model import Headers, OnAltDown, Tier
from tierproxy.store.body import MemorySource
from tierproxy.store.calls import Precondition
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import BUCKET, name

from .test_trouble_alt import LARGE, REFUSE, faulty, in_alt, listed, memory_of


def shared(**options: Any) -> dict[str, Any]:
    return {"bucket": (BucketSection(name=BUCKET, exclusive=False, **options),)}


async def other_writes(alt: FaultyAlt, key: str, body: bytes) -> None:
    await memory_of(alt).put(name(key), MemorySource(body), Headers(), md5="")


@pytest.mark.parametrize("body", [b"theirs", LARGE], ids=["small", "large"])
async def test_what_another_writer_put_is_served_and_kept(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path, **shared()) as (r, alt):
        await r.put("u.1", b"ours")
        await r.get("u.1")
        await other_writes(alt, "u.1", body)
        assert await r.get("u.1") == body
        await r.idle()
        row = r.row("u.1")
        assert row is not None
        assert row.size == len(body)
        assert row.blob is not None
        assert await r.read("u.1") == (Tier.DISK, body)
        assert not r.parts.alarms.active()


async def test_what_another_writer_deleted_is_gone(tmp_path: Path) -> None:
    async with faulty(tmp_path, **shared()) as (r, alt):
        await r.put("u.1", b"ours")
        memory_of(alt).lose(name("u.1"))
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        assert r.row("u.1") is None


async def test_an_interrupted_overwrite_of_what_another_writer_deleted_is_not_there(tmp_path: Path) -> None:
    async with faulty(tmp_path, write=REFUSE, **shared()) as (r, alt):
        await r.put("u.1", b"ours")
        alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"ours too")
        memory_of(alt).lose(name("u.1"))
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        assert r.row("u.1") is None


async def test_alt_is_not_asked_again_within_revalidate(tmp_path: Path) -> None:
    async with faulty(tmp_path, **shared(revalidate=Duration(3600))) as (r, alt):
        await r.put("u.1", b"ours")
        await r.get("u.1")
        heads = alt.calls["head"]
        for _ in range(3):
            assert await r.get("u.1") == b"ours"
        assert alt.calls["head"] == heads


async def test_a_copy_on_disk_is_served_while_nobody_can_be_asked_whether_it_is_current(tmp_path: Path) -> None:
    async with faulty(tmp_path, **shared()) as (r, alt):
        await r.put("u.1", b"ours")
        alt.down()
        assert await r.get("u.1") == b"ours"


@pytest.mark.parametrize("mode", list(OnAltDown))
async def test_another_writer_that_was_first_wins_a_conditional_write(tmp_path: Path, mode: OnAltDown) -> None:
    async with faulty(tmp_path, write=WriteSection(on_alt_down=mode), **shared()) as (r, alt):
        gate = alt.gate("put")
        task = asyncio.create_task(r.put("u.1", b"ours", precondition=Precondition(create=True)))
        await gate.reached()
        await other_writes(alt, "u.1", b"theirs")
        gate.open()
        with pytest.raises(PreconditionFailed):
            await task
        assert in_alt(alt, "u.1") == b"theirs"
        assert await r.get("u.1") == b"theirs"


async def test_a_conditional_write_is_never_queued_where_there_are_other_writers(tmp_path: Path) -> None:
    """The queue's put is unconditional: it would overwrite whoever was first."""
    async with faulty(tmp_path, **shared()) as (r, alt):
        alt.fail("put", AltUnavailable("down"))
        with pytest.raises(AltUnavailable):
            await r.put("u.1", b"ours", precondition=Precondition(create=True))
        assert not r.journal()
        assert r.row("u.1") is None


async def test_an_uncertain_create_that_another_writer_won_has_failed(tmp_path: Path) -> None:
    async with faulty(tmp_path, **shared()) as (r, alt):
        alt.fail("put", AltUncertain("?"))
        gate = alt.gate("head", nth=2)  # the one that decides
        task = asyncio.create_task(r.put("u.1", b"ours", precondition=Precondition(create=True)))
        await gate.reached()
        await other_writes(alt, "u.1", b"theirs")
        gate.open()
        with pytest.raises(PreconditionFailed):
            await task
        assert await r.get("u.1") == b"theirs"


async def test_if_match_is_checked_by_alt_where_there_are_other_writers(tmp_path: Path) -> None:
    async with faulty(tmp_path, **shared()) as (r, alt):
        first = await r.put("u.1", b"ours")
        await r.put("u.1", b"ours again", precondition=Precondition(match=first.entry.etag))
        with pytest.raises(PreconditionFailed):
            await r.put("u.1", b"no", precondition=Precondition(match=first.entry.etag))
        await other_writes(alt, "u.1", b"theirs")
        with pytest.raises(PreconditionFailed):
            await r.put("u.1", b"no", precondition=Precondition(match="0" * 32))
        assert in_alt(alt, "u.1") == b"theirs"


async def test_the_listing_is_alts_with_what_alt_does_not_know_yet(tmp_path: Path) -> None:
    async with faulty(tmp_path, **shared()) as (r, alt):
        await r.put("ours", b"1")
        await other_writes(alt, "theirs", b"2")
        alt.down()
        await r.put("a/queued", b"3")
        await r.delete("ours")
        alt.heal()
        assert await listed(r) == ["a/queued", "theirs"]
