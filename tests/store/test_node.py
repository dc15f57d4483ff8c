"""A node from start to stop: what it refuses, what it finds again, what it learns when alt comes back."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import BucketSection, DiskSection, WriteSection
from tierproxy.config.values import Size
from tierproxy.errors import AltUnavailable, ConfigError, DataDirectoryInUse, NoSuchBucket, NoSuchKey
from tierproxy.model import Ack, ListRequest, Tier
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.invariants import leaks
from tierproxy.testing.rig import BUCKET, config_for, rig, stopped_node


async def test_a_second_node_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        second = stopped_node(tmp_path, r.alt, SystemClock())
        with pytest.raises(DataDirectoryInUse):
            await second.start()


async def test_blobs_without_a_catalogue_are_not_taken_for_rubbish(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", b"dear")
    shutil.rmtree(tmp_path / "catalogue")
    with pytest.raises(ConfigError, match="blobs and no catalogue"):
        await stopped_node(tmp_path, MemoryAlt(), SystemClock()).start()
    assert list((tmp_path / "blobs").glob("*/*/*"))


async def test_a_node_starts_and_serves_its_disk_while_alt_is_down(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        await r.put("u.1", b"hello")
    alt.down()
    async with rig(tmp_path, alt=alt) as r:
        assert await r.read("u.1") == (Tier.DISK, b"hello")
        with pytest.raises(NoSuchKey):  # the catalogue was complete, and is
            await r.get("u.2")


async def test_a_fresh_bucket_becomes_complete_when_alt_comes_back(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    alt.down()
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        with pytest.raises(AltUnavailable):
            await r.get("u.1")
        with pytest.raises(AltUnavailable):
            await r.parts.store.page(ListRequest(BUCKET))
        alt.heal()
        while not r.parts.store.bucket(BUCKET).complete:
            await clock.advance(1)
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        assert (await r.parts.store.page(ListRequest(BUCKET))).objects == ()


async def test_a_bucket_that_holds_unknown_objects_is_not_complete_and_asks_alt(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path / "one", alt=alt) as r:
        await r.put("u.1", b"hello")
    async with rig(tmp_path / "two", alt=alt) as r:
        assert not r.parts.store.bucket(BUCKET).complete
        assert await r.read("u.1") == (Tier.ALT, b"hello")
        with pytest.raises(NoSuchKey):
            await r.get("u.2")
        await r.idle()
        assert await r.read("u.1") == (Tier.MEMORY, b"hello")


async def test_a_bucket_that_left_the_configuration_is_not_served(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt) as r:
        await r.put("u.1", b"hello")
    async with rig(tmp_path, alt=alt, bucket=(BucketSection(name="other"),)) as r:
        with pytest.raises(NoSuchBucket):
            await r.get("u.1")
    async with rig(tmp_path, alt=alt) as r:
        assert await r.get("u.1") == b"hello"


async def test_a_reload_changes_acks_and_budget_of_the_running_node(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        assert (await r.put("u.1", b"hello")).entry.tiers == ("disk", "alt")
        config = config_for(tmp_path, write=WriteSection(ack=Ack.ALT), disk=DiskSection(max_bytes=Size(12345)))
        r.node.reload(config)
        assert (await r.put("u.2", b"hello")).entry.tiers == ("alt",)
        assert r.parts.space.settings.max_bytes == 12345
        r.node.reload(replace(config, write=WriteSection(), disk=DiskSection()))


async def test_a_stopped_node_leaves_no_task_thread_or_descriptor(tmp_path: Path) -> None:
    with leaks():
        async with rig(tmp_path) as r:
            for number in range(20):
                await r.put(f"u.{number}", b"hello" * number)
                await r.get(f"u.{number}")
            await r.purge()
            await asyncio.gather(*(r.get(f"u.{number}") for number in range(20)))


async def test_stopping_with_alt_down_journals_what_is_not_uploaded(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        alt.down()
        for number in range(5):
            assert (await r.put(f"u.{number}", b"hello")).entry.tiers == ("disk",)
        await r.put("gone", b"x")
        await r.delete("gone")
    alt.heal()
    async with rig(tmp_path, alt=alt) as r:
        await r.drained()
        await r.purge()
        for number in range(5):
            assert await r.read(f"u.{number}") == (Tier.ALT, b"hello")
        with pytest.raises(NoSuchKey):
            await r.get("gone")
