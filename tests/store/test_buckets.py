"""Which buckets there are, and whether the catalogue alone may speak for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, DynamicBucketsSection, QueueSection
from tierproxy.config.values import Duration
from tierproxy.errors import (
    AltUnavailable,
    BucketExists,
    BucketNotEmpty,
    NoSuchBucket,
    NoSuchKey,
    RequestError,
)
from tierproxy.model import Ack, Headers, ObjectName
from tierproxy.store.body import MemorySource
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import BUCKET, name, pieces, rig

DYNAMIC = DynamicBucketsSection(enabled=True, alt_bucket="all")
PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))


async def test_an_empty_bucket_is_complete_from_the_start(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        assert r.parts.store.bucket(BUCKET).complete
        alt.down()
        with pytest.raises(NoSuchKey):
            await r.get("u.1")


async def test_a_bucket_that_alt_knows_more_of_is_not_complete(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("before"), MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt) as r:
        assert not r.parts.store.bucket(BUCKET).complete
        assert await r.get("before") == b"there"


async def test_a_bucket_shared_with_other_writers_is_never_complete(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=(BucketSection(name=BUCKET, exclusive=False),)) as r:
        assert not r.parts.buckets.authoritative(BUCKET)


async def test_alt_that_was_down_at_the_start_is_asked_again(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    alt.down()
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        assert not r.parts.store.bucket(BUCKET).complete
        alt.heal()
        while not r.parts.store.bucket(BUCKET).complete:
            await clock.advance(6)
            await r.idle()


async def test_a_bucket_that_was_complete_stays_so_when_alt_is_down_at_the_start(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        await r.put("u.1", b"a mail")
    alt.down()
    async with rig(tmp_path, alt=alt) as r:
        assert await r.get("u.1") == b"a mail"
        with pytest.raises(NoSuchKey):
            await r.get("u.2")


async def test_clients_make_and_remove_buckets_where_it_is_allowed(tmp_path: Path) -> None:
    async with rig(tmp_path, dynamic_buckets=DYNAMIC) as r:
        store = r.parts.store
        await store.create_bucket("new")
        with pytest.raises(BucketExists):
            await store.create_bucket("new")
        with pytest.raises(BucketExists):
            await store.create_bucket(BUCKET)
        assert [row.name for row in store.buckets()] == [BUCKET, "new"]
        from tierproxy.store.body import Md5Check
        from tierproxy.store.calls import Write

        one = ObjectName("new", "u.1")
        await store.write(Write(one, Headers(), 1, pieces(b"x", 1), Md5Check(1)))
        with pytest.raises(BucketNotEmpty):
            await store.delete_bucket("new")
        await store.delete(one)
        await store.delete_bucket("new")
        with pytest.raises(NoSuchBucket):
            store.bucket("new")
        with pytest.raises(RequestError):
            await store.delete_bucket(BUCKET)


async def test_a_bucket_with_an_unfinished_upload_or_a_queued_delete_is_not_empty(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, dynamic_buckets=DYNAMIC, queue=PATIENT) as r:
        store = r.parts.store
        await store.create_bucket("new")
        up = await store.multipart.create(ObjectName("new", "u.1"), Headers(), None, None, None)
        with pytest.raises(BucketNotEmpty):
            await store.delete_bucket("new")
        await store.multipart.abort(up)
        alt.down()
        await store.delete(ObjectName("new", "u.1"))
        with pytest.raises(BucketNotEmpty):
            await store.delete_bucket("new")


async def test_buckets_are_not_made_where_it_is_not_allowed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        with pytest.raises(RequestError):
            await r.parts.store.create_bucket("new")


async def test_a_bucket_is_not_made_blindly_while_alt_is_down(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, dynamic_buckets=DYNAMIC) as r:
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.parts.store.create_bucket("new")
        assert [row.name for row in r.parts.store.buckets()] == [BUCKET]


async def test_a_bucket_made_over_objects_alt_already_has_is_not_complete(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(ObjectName("new", "old"), MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt, dynamic_buckets=DYNAMIC) as r:
        await r.parts.store.create_bucket("new")
        assert not r.parts.store.bucket("new").complete


async def test_every_way_in_refuses_a_bucket_nobody_knows(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        store, one = r.parts.store, ObjectName("nobody", "u.1")
        from tierproxy.store.body import Md5Check
        from tierproxy.store.calls import Write

        calls = [
            store.open(one), store.head(one), store.delete(one), store.copy(one, one),
            store.write(Write(one, Headers(), 1, pieces(b"x", 1), Md5Check(1), ack=Ack.DISK)),
            store.multipart.create(one, Headers(), None, None, None),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(NoSuchBucket):
                await call
