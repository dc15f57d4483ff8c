"""Changes whose outcome nobody knows, beside other writers, slow clients and old uploads: what a review found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import AltSection, BucketSection
from tierproxy.errors import (
    AltCorrupt,
    AltError,
    AltRefused,
    AltUnavailable,
    AltUncertain,
    DiskError,
    DiskUnavailable,
    LostInAlt,
    PreconditionFailed,
)
from tierproxy.model import Ack, Headers, ObjectName, State
from tierproxy.purges import Drop
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import ANYTHING, Precondition, Write, Written
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import BUCKET, Rig, abandon, name, pieces, rig, stopped_node

from .test_races import faulty, later, memory
from .test_review_reads import SHARED, outside, state
from .test_trouble_alt import REFUSE

HALF = b"h" * (5 * 2**20)
CREATE = Precondition(create=True)
LATE = AltSection().request_timeout


def put_slowly(r: Rig, gate: Gate, precondition: Precondition = ANYTHING) -> asyncio.Task[Written]:
    """A stream to alt of two halves, from a client who waits at ``gate`` between them."""

    async def body() -> AsyncIterator[bytes]:
        yield HALF
        await gate.passage()
        yield HALF

    size = 2 * len(HALF)
    call = Write(name("u.1"), Headers(), size, body(), Md5Check(size), precondition, Ack.ALT)
    return asyncio.create_task(r.parts.store.write(call))


async def make_suspect(r: Rig, alt: FaultyAlt, effect: Effect = Effect.NONE) -> None:
    """An overwrite with ``new`` is refused, and nobody knows whether it happened."""
    alt.fail("put", AltUncertain("?"), effect=effect)
    alt.fail("head")
    with pytest.raises(AltUncertain):
        await r.put("u.1", b"new")
    assert state(r, "u.1") is State.SUSPECT


# ---------------------------------------------------------------- over a content that is still being uploaded


async def test_an_uncertain_write_around_the_disk_over_an_upload_leaves_the_row_suspect(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        uploading = alt.gate("put")
        await r.put("u.1", b"old", ack=Ack.DISK)
        await uploading.reached()
        alt.fail("put", effect=Effect.DONE)
        alt.fail("head")
        writer = later(r.put("u.1", b"new", ack=Ack.ALT))
        await asyncio.wait([writer], timeout=0.05)
        uploading.open()
        with pytest.raises(AltError):
            await writer
        assert state(r, "u.1") is State.SUSPECT
        assert await r.get("u.1") == memory(alt).content(name("u.1")) == b"new"


async def test_a_crash_between_alt_and_the_commit_over_an_upload_is_settled_by_the_next_start(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    node = stopped_node(tmp_path, alt, SystemClock())
    await node.start()
    r = Rig(node, alt, tmp_path)
    uploading, committing = alt.gate("put"), Gate()
    await r.put("u.1", b"old", ack=Ack.DISK)
    await uploading.reached()
    catalogue = r.parts.catalogue
    catalogue.publish = committing.guard(catalogue.publish)  # type: ignore[method-assign,assignment]
    writer = later(r.put("u.1", b"new", ack=Ack.ALT))
    await asyncio.wait([writer], timeout=0.05)
    uploading.open()
    await committing.reached()
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    await abandon(node)
    async with rig(tmp_path, alt=alt) as r:
        assert await r.get("u.1") == memory(alt).content(name("u.1")) == b"new"
        await r.purge()
        assert await r.get("u.1") == b"new"


async def test_an_old_put_that_lands_much_too_late_is_an_alarm_and_never_the_older_content(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with faulty(tmp_path, clock=clock) as (r, alt):
        landing = alt.late("put")
        await r.put("u.1", b"first")  # queued: the HEAD found nothing yet
        await r.put("u.1", b"second, acknowledged")
        await clock.advance(LATE)
        await r.drained_now()
        assert state(r, "u.1") is State.CLEAN
        await landing.land()
        assert await r.get("u.1") == b"second, acknowledged"
        await r.purge()
        with pytest.raises(LostInAlt):
            await r.get("u.1")
        assert r.parts.alarms.active() == [("alt changed by somebody else", "mail/u.1")]


# ---------------------------------------------------------------- alt took other bytes than were sent


@pytest.mark.parametrize("ack", [Ack.BOTH, Ack.ALT])
async def test_a_refused_overwrite_that_alt_garbled_sends_the_old_content_again(tmp_path: Path, ack: Ack) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"acknowledged")
        alt.fail("put", AltCorrupt("alt's ETag is another"), effect=Effect.DONE)
        with pytest.raises(AltCorrupt):
            await r.put("u.1", b"garbled", ack=ack)
        await r.purge()  # must not take the only good copy
        assert await r.get("u.1") == b"acknowledged"
        await r.drained()
        assert memory(alt).content(name("u.1")) == b"acknowledged"


@pytest.mark.parametrize("ack", [Ack.BOTH, Ack.ALT])
async def test_what_alt_garbled_is_never_served_when_no_copy_is_left(tmp_path: Path, ack: Ack) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"acknowledged")
        await r.purge()
        alt.fail("put", AltCorrupt("alt's ETag is another"), effect=Effect.DONE)
        with pytest.raises(AltCorrupt):
            await r.put("u.1", b"garbled", ack=ack)
        await outside(memory(alt), "u.1", b"garbleD")
        with pytest.raises(LostInAlt):
            await r.get("u.1")


@pytest.mark.parametrize("ack", [Ack.BOTH, Ack.ALT])
async def test_what_alt_took_and_says_it_did_not_is_served_once_it_shows_it(tmp_path: Path, ack: Ack) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"acknowledged")
        await r.purge()
        alt.fail("put", AltRefused("not allowed"), effect=Effect.DONE)
        with pytest.raises(AltRefused):
            await r.put("u.1", b"refused, and done", ack=ack)
        assert await r.get("u.1") == b"refused, and done"
        assert not r.parts.alarms.active()


# ---------------------------------------------------------------- other writers


async def test_a_large_body_around_the_disk_does_not_replace_what_another_writer_created(tmp_path: Path) -> None:
    async with faulty(tmp_path, bucket=SHARED) as (r, alt):
        gate = Gate()
        writer = put_slowly(r, gate, CREATE)
        await gate.reached()
        await outside(memory(alt), "u.1", b"somebody else's")
        gate.open()
        with pytest.raises(PreconditionFailed):
            await writer
        assert await r.get("u.1") == memory(alt).content(name("u.1")) == b"somebody else's"


async def test_a_copy_does_not_replace_what_another_writer_created(tmp_path: Path) -> None:
    async with faulty(tmp_path, bucket=SHARED) as (r, alt):
        await r.put("source", b"source")
        gate = alt.gate("copy")
        copying = later(r.parts.store.copy(name("source"), name("u.1"), precondition=CREATE))
        await gate.reached()
        await outside(memory(alt), "u.1", b"somebody else's")
        gate.open()
        with pytest.raises(PreconditionFailed):
            await copying
        assert await r.get("u.1") == memory(alt).content(name("u.1")) == b"somebody else's"


# ---------------------------------------------------------------- copies


async def test_an_uncertain_copy_that_happened_is_found_out(tmp_path: Path) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("source", b"source")
        alt.fail("copy", effect=Effect.DONE)
        written = await r.parts.store.copy(name("source"), name("u.1"))
        assert written.entry.tiers == ("disk", "alt")
        assert await r.get("u.1") == b"source"


async def test_a_failed_copy_leaves_the_target_readable(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("source", b"source")
        await r.put("u.1", b"target")
        memory(alt).lose(name("source"))
        with pytest.raises(LostInAlt):
            await r.parts.store.copy(name("source"), name("u.1"))
        alt.down()
        assert await r.get("u.1") == b"target"


# ---------------------------------------------------------------- slow clients


async def test_slow_senders_do_not_hold_up_deletes_of_the_key(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, _alt):
        await r.put("u.1", b"old")
        gate = Gate()
        writer = put_slowly(r, gate)
        await gate.reached()
        try:
            await asyncio.wait_for(r.delete("u.1"), 60)
        finally:
            gate.open()
            await writer
        assert await r.get("u.1") == HALF + HALF


async def test_slow_senders_do_not_hold_up_reads_of_a_suspect_row(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with faulty(tmp_path, write=REFUSE, clock=clock) as (r, alt):
        await r.put("u.1", b"old")
        await make_suspect(r, alt)
        await clock.advance(LATE)
        gate = Gate()
        writer = put_slowly(r, gate)
        await gate.reached()
        try:
            assert await asyncio.wait_for(r.get("u.1"), 60) == b"old"
        finally:
            gate.open()
            await writer


# ---------------------------------------------------------------- commits that fail


async def test_a_purge_that_fails_half_way_keeps_the_sums(tmp_path: Path) -> None:
    """Its second batch cannot be committed: what the first removed is gone and accounted for, the rest is there."""
    async with rig(tmp_path) as r:
        for key in "abc":
            await r.put(key, b"mail " + key.encode())
        catalogue = r.parts.catalogue
        drop_blobs, used = catalogue.drop_blobs, r.parts.space.used

        async def drop(drops: Sequence[Drop], *args: Any, **kwargs: Any) -> list[bool]:
            if any(one.name.key == "b" for one in drops):
                raise DiskUnavailable("this commit failed")
            return await drop_blobs(drops, *args, **kwargs)

        catalogue.drop_blobs = drop  # type: ignore[method-assign]
        freed = await r.purge("a")
        with pytest.raises(DiskError):
            await r.purge("b", "c")
        rows = {key: r.row(key) for key in "abc"}
        assert [key for key, row in rows.items() if row and row.blob] == ["b", "c"]
        assert freed > 0
        assert r.parts.space.used == used - freed
        assert await r.get("b") == b"mail b"
        await r.check()


async def test_memory_does_not_speak_for_a_suspect_row(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        await r.get("u.1")  # in memory
        catalogue = r.parts.catalogue
        publish = catalogue.publish

        async def failing(*_args: object, **_kwargs: object) -> None:
            raise DiskUnavailable("this commit failed")

        catalogue.publish = failing  # type: ignore[method-assign]
        with pytest.raises(DiskError):
            await r.put("u.1", b"new")
        catalogue.publish = publish  # type: ignore[method-assign]
        assert state(r, "u.1") is State.SUSPECT
        assert await r.get("u.1") == memory(alt).content(name("u.1")) == b"new"


# ---------------------------------------------------------------- other buckets


class HalfThere(MemoryAlt):
    """Alt's bucket ``broken`` is gone."""

    async def put(self, name: ObjectName, *args: Any, **kwargs: Any) -> str:
        if name.bucket == "broken":
            raise AltUnavailable("a 404 that S3 did not write")
        return await super().put(name, *args, **kwargs)


async def test_trouble_with_one_bucket_does_not_weaken_the_acknowledgements_of_another(tmp_path: Path) -> None:
    buckets = (BucketSection(name=BUCKET), BucketSection(name="broken"))
    async with rig(tmp_path, alt=HalfThere(), bucket=buckets) as r:
        for key in "ab":
            call = Write(ObjectName("broken", key), Headers(), 1, pieces(b"x", 1), Md5Check(1))
            assert (await r.parts.store.write(call)).entry.tiers == ("disk",)
        assert (await r.put("u.1", b"a mail")).entry.tiers == ("disk", "alt")
