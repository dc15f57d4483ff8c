"""Buckets that come, go and change hands while others use them."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, DynamicBucketsSection
from tierproxy.errors import AltUnavailable, BucketNotEmpty, NoSuchBucket, NoSuchKey
from tierproxy.model import Ack, BucketRow, Headers, ObjectName
from tierproxy.store.body import Md5Check, MemorySource
from tierproxy.store.calls import Write, Written
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import BUCKET, Rig, config_for, name, pieces, rig

DYNAMIC = DynamicBucketsSection(enabled=True, alt_bucket="all")
SHARED = (BucketSection(name=BUCKET, exclusive=False),)
MAIL = ObjectName("new", "u.1")


async def write(r: Rig, ack: Ack | None = None) -> Written:
    return await r.parts.store.write(Write(MAIL, Headers(), 1, pieces(b"x", 1), Md5Check(1), ack=ack))


@pytest.mark.parametrize("ack", [Ack.BOTH, Ack.ALT])
async def test_a_bucket_deleted_under_a_write_leaves_no_acknowledged_object(tmp_path: Path, ack: Ack) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, dynamic_buckets=DYNAMIC) as r:
        await r.parts.store.create_bucket("new")
        gate = alt.gate("put")
        writing = asyncio.create_task(write(r, ack))
        await gate.reached()
        await r.parts.store.delete_bucket("new")
        gate.open()
        with pytest.raises(NoSuchBucket):
            await writing
        assert r.parts.catalogue.totals().objects == 0


async def test_a_bucket_whose_objects_only_alt_knows_is_not_empty(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(MAIL, MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt, dynamic_buckets=DYNAMIC) as r:
        await r.parts.store.create_bucket("new")
        with pytest.raises(BucketNotEmpty):
            await r.parts.store.delete_bucket("new")
        await r.parts.store.delete(MAIL)
        await r.parts.store.delete_bucket("new")


async def test_a_bucket_that_alt_cannot_be_asked_about_stays(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(MAIL, MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt, dynamic_buckets=DYNAMIC) as r:
        await r.parts.store.create_bucket("new")
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.parts.store.delete_bucket("new")
        assert r.parts.store.bucket("new").name == "new"


async def written_by_another(alt: MemoryAlt) -> None:
    await alt.put(name("theirs"), MemorySource(b"there"), Headers(), md5="")


async def test_a_bucket_that_had_other_writers_is_not_complete_after_them(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt) as r:
        assert r.parts.buckets.authoritative(BUCKET)
    async with rig(tmp_path, alt=alt, bucket=SHARED):
        await written_by_another(alt)
    async with rig(tmp_path, alt=alt) as r:
        assert not r.parts.buckets.authoritative(BUCKET)
        assert await r.get("theirs") == b"there"


async def test_a_bucket_shared_by_a_reload_is_not_complete_after_the_next(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt) as r:
        exclusive = config_for(tmp_path)
        with pytest.raises(NoSuchKey):
            await r.get("theirs")
        r.node.reload(dataclasses.replace(exclusive, bucket=SHARED))
        await r.idle()
        await written_by_another(alt)
        r.node.reload(exclusive)
        await r.idle()
        assert await r.get("theirs") == b"there"


async def test_a_client_that_leaves_while_its_bucket_is_made_finds_it_later(tmp_path: Path) -> None:
    async with rig(tmp_path, dynamic_buckets=DYNAMIC) as r:
        gate, catalogue = Gate(), r.parts.catalogue
        add = catalogue.add_bucket

        async def added(row: BucketRow) -> None:
            await add(row)
            await gate.passage()

        catalogue.add_bucket = added  # type: ignore[method-assign]
        making = asyncio.create_task(r.parts.store.create_bucket("new"))
        await gate.reached()
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        gate.open()
        await r.idle()
        assert r.parts.store.bucket("new").complete


async def test_a_client_that_leaves_while_its_bucket_is_removed_does_not_find_it_again(tmp_path: Path) -> None:
    async with rig(tmp_path, dynamic_buckets=DYNAMIC) as r:
        gate, catalogue = Gate(), r.parts.catalogue
        remove = catalogue.remove_bucket

        async def removed(name: str) -> None:
            await remove(name)
            await gate.passage()

        catalogue.remove_bucket = removed  # type: ignore[method-assign]
        await r.parts.store.create_bucket("new")
        removing = asyncio.create_task(r.parts.store.delete_bucket("new"))
        await gate.reached()
        removing.cancel()
        await asyncio.gather(removing, return_exceptions=True)
        gate.open()
        await r.idle()
        with pytest.raises(NoSuchBucket):
            r.parts.store.bucket("new")
