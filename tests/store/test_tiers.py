"""The ways through the house, with nothing broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.errors import NoSuchKey
from tierproxy.model import Ack, State, Tier
from tierproxy.testing.rig import rig


async def test_a_write_is_on_both_tiers_and_read_from_disk_then_memory(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        written = await r.put("alice/u.1", b"hello")
        assert written.entry.tiers == ("disk", "alt")
        assert await r.read("alice/u.1") == (Tier.DISK, b"hello")
        assert await r.read("alice/u.1") == (Tier.MEMORY, b"hello")


async def test_a_purged_object_is_read_from_alt_and_filled(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        for size in (0, 1, 5000, 700_000, 3_000_000):
            body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            await r.put(f"u.{size}", body)
            await r.purge(f"u.{size}")
            assert await r.read(f"u.{size}") == (Tier.ALT, body)
            await r.idle()
            assert (await r.read(f"u.{size}"))[1] == body
            row = r.row(f"u.{size}")
            assert row is not None
            assert row.blob is not None


async def test_a_deleted_object_is_gone_everywhere(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", b"hello")
        await r.delete("u.1")
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        assert r.row("u.1") is None


async def test_ack_disk_answers_before_alt_has_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        written = await r.put("u.1", b"hello", ack=Ack.DISK)
        assert written.entry.state is State.DIRTY
        assert written.entry.tiers == ("disk",)
        await r.drained()
        row = r.row("u.1")
        assert row is not None
        assert row.state is State.CLEAN


async def test_ack_alt_leaves_the_disk_alone(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        for size in (5, 9 * 2**20):
            written = await r.put(f"u.{size}", b"h" * size, ack=Ack.ALT)
            assert written.entry.tiers == ("alt",)
            assert await r.read(f"u.{size}") == (Tier.ALT, b"h" * size)


async def test_an_overwrite_replaces_memory_disk_and_alt(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", b"old")
        await r.get("u.1")
        await r.get("u.1")
        await r.put("u.1", b"new")
        assert await r.read("u.1") == (Tier.DISK, b"new")
        await r.purge("u.1")
        assert await r.read("u.1") == (Tier.ALT, b"new")


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", b"hello")
        alt = r.alt
    async with rig(tmp_path, alt=alt) as r:
        assert await r.read("u.1") == (Tier.DISK, b"hello")
