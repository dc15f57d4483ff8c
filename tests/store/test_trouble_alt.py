"""The rows "alt ..." of the table of outcomes under trouble in ``docs/semantics.md``, cell by cell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import FillSection, QueueSection, WriteSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import (
    AltCorrupt,
    AltError,
    AltRefused,
    AltUnavailable,
    LostInAlt,
    NoSuchKey,
)
from tierproxy.model import Ack, ByteRange, FillPolicy, Headers, JobKind, ListRequest, OnAltDown, State, Tier
from tierproxy.store.body import MemorySource
from tierproxy.store.calls import Reading
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import BUCKET, Rig, name, rig

REFUSE = WriteSection(on_alt_down=OnAltDown.REFUSE)
PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))  # the queue waits until it is told
LARGE = bytes(range(256)) * 8192  # 2 MiB: streamed
SIZES = pytest.mark.parametrize("body", [b"", b"a mail", LARGE], ids=["empty", "small", "large"])


@asynccontextmanager
async def faulty(root: Path, **sections: Any) -> AsyncIterator[tuple[Rig, FaultyAlt]]:
    alt = FaultyAlt(MemoryAlt())
    async with rig(root, alt=alt, **{"queue": PATIENT, **sections}) as r:
        yield r, alt


def in_alt(alt: FaultyAlt, key: str) -> bytes | None:
    assert isinstance(alt.alt, MemoryAlt)
    return alt.alt.content(name(key))


def memory_of(alt: FaultyAlt) -> MemoryAlt:
    assert isinstance(alt.alt, MemoryAlt)
    return alt.alt


async def listed(r: Rig) -> list[str]:
    return [one.key for one in (await r.parts.store.page(ListRequest(BUCKET))).objects]


async def collect(reading: Reading, got: bytearray) -> None:
    async for chunk in reading.chunks():
        got += chunk


# ---------------------------------------------------------------- alt down: reads


@SIZES
async def test_what_is_on_disk_is_served_while_alt_is_down(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", body)
        alt.down()
        assert await r.read("u.1") == (Tier.DISK, body)
        assert await r.get("u.1", lambda _entry: ByteRange(0, 1) if body else None) == body[:1]


@SIZES
async def test_a_miss_while_alt_is_down_is_unavailable_and_never_not_there(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", body)
        await r.purge()
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.get("u.1")
        alt.heal()
        assert await r.get("u.1") == body


async def test_an_unknown_key_in_an_incomplete_bucket_is_unavailable_while_alt_is_down(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("before"), MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt, queue=PATIENT) as r:
        alt.down()
        for call in (r.get("u.1"), r.parts.store.head(name("u.1")), r.parts.store.page(ListRequest(BUCKET))):
            with pytest.raises(AltUnavailable):
                await call


async def test_head_and_list_of_a_complete_bucket_need_no_alt(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        await r.purge()
        alt.down()
        assert (await r.parts.store.head(name("u.1"))).size == 6
        assert await listed(r) == ["u.1"]
        with pytest.raises(NoSuchKey):
            await r.get("nobody")


async def test_alt_that_goes_down_in_the_middle_of_a_body_cuts_it_and_keeps_nothing(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", LARGE)
        await r.purge()
        alt.cut_body(AltUnavailable("gone"), chunk=5)
        got = bytearray()
        reading = await r.parts.store.open(name("u.1"))
        with pytest.raises(AltUnavailable):
            await collect(reading, got)
        await reading.close()
        assert len(got) < len(LARGE)
        assert LARGE.startswith(bytes(got))
        await r.idle()
        row = r.row("u.1")
        assert row is not None
        assert row.blob is None
        assert await r.get("u.1") == LARGE


# ---------------------------------------------------------------- alt down: writes


@SIZES
async def test_a_write_while_alt_is_down_is_queued_and_arrives(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        alt.down()
        written = await r.put("u.1", body)
        assert written.entry.tiers == ("disk",)
        assert r.journal() == [("u.1", JobKind.PUT)]
        assert await r.get("u.1") == body
        alt.heal()
        await r.drained_now()
        assert in_alt(alt, "u.1") == body
        row = r.row("u.1")
        assert row is not None
        assert row.state is State.CLEAN


@SIZES
async def test_refuse_changes_nothing(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"old")
        before, used = r.row("u.1"), r.parts.space.used
        alt.down()
        for key in ("u.1", "u.new"):
            with pytest.raises(AltUnavailable):
                await r.put(key, body)
        await r.idle()
        assert r.row("u.1") == before
        assert r.row("u.new") is None
        assert await r.get("u.1") == b"old"
        assert r.parts.space.used == used
        assert not r.parts.space.reserved
        assert not list((tmp_path / "staging").iterdir())
        assert not r.journal()


async def test_a_delete_while_alt_is_down_is_certain_and_hidden_everywhere(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        await r.get("u.1")
        alt.down()
        await r.delete("u.1")
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        with pytest.raises(NoSuchKey):
            await r.parts.store.head(name("u.1"))
        assert await listed(r) == []
        assert r.journal() == [("u.1", JobKind.DELETE)]
    async with rig(tmp_path, alt=alt, queue=PATIENT) as r:
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        alt.heal()
        await r.drained_now()
        assert in_alt(alt, "u.1") is None
        assert r.row("u.1") is None


async def test_a_write_to_alt_alone_is_refused_while_alt_is_down(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.put("u.1", b"new", ack=Ack.ALT)
        assert await r.get("u.1") == b"old"


# ---------------------------------------------------------------- alt refuses


async def test_alt_that_refuses_a_write_is_as_if_it_were_down(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        alt.fail("put", AltRefused("quota"))
        assert (await r.put("u.1", b"a mail")).entry.tiers == ("disk",)
        assert await r.get("u.1") == b"a mail"


async def test_alt_that_refuses_a_write_changes_nothing_where_writes_are_not_queued(tmp_path: Path) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"old")
        before = r.row("u.1")
        alt.fail("put", AltRefused("quota"))
        with pytest.raises(AltRefused):
            await r.put("u.1", b"new")
        assert r.row("u.1") == before


async def test_alt_that_refuses_a_read_says_so(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        await r.purge()
        alt.fail("get", AltRefused("403"))
        with pytest.raises(AltRefused):
            await r.get("u.1")


async def test_a_delete_that_alt_refuses_is_queued(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        alt.fail("delete", AltRefused("403"))
        await r.delete("u.1")
        assert r.journal() == [("u.1", JobKind.DELETE)]
        with pytest.raises(NoSuchKey):
            await r.get("u.1")


# ---------------------------------------------------------------- alt says 404


@SIZES
async def test_alt_that_lost_a_known_object_raises_an_alarm_and_no_404(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", body)
        await r.purge()
        memory_of(alt).lose(name("u.1"))
        with pytest.raises(LostInAlt):
            await r.get("u.1")
        assert ("lost in alt", str(name("u.1"))) in r.parts.alarms.active()
        assert r.row("u.1") is not None


async def test_a_lost_object_that_is_on_disk_is_served(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        memory_of(alt).lose(name("u.1"))
        assert await r.read("u.1") == (Tier.DISK, b"a mail")


async def test_an_unknown_object_of_an_incomplete_bucket_is_not_there_if_alt_says_so(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("before"), MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt) as r:
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        assert await r.get("before") == b"there"
        assert not r.parts.alarms.active()


async def test_a_copy_of_an_object_that_alt_lost_raises_the_alarm_and_changes_nothing(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        await r.put("u.2", b"another")
        await r.purge()
        memory_of(alt).lose(name("u.1"))
        with pytest.raises(LostInAlt):
            await r.parts.store.copy(name("u.1"), name("u.2"))
        assert ("lost in alt", str(name("u.1"))) in r.parts.alarms.active()
        assert await r.get("u.2") == b"another"


# ---------------------------------------------------------------- alt sends something else


@pytest.mark.parametrize("fill", list(FillPolicy))
@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
async def test_other_bytes_than_were_stored_are_not_served_as_whole_and_not_kept(
    tmp_path: Path, body: bytes, fill: FillPolicy
) -> None:
    async with faulty(tmp_path, fill=FillSection(policy=fill, coalesce_limit=Size(4 * 2**20))) as (r, alt):
        await r.put("u.1", body)
        await r.purge()
        memory_of(alt).corrupt(name("u.1"), body[:-1] + b"?")
        with pytest.raises(AltCorrupt):
            await r.get("u.1")
        await r.idle()
        row = r.row("u.1")
        assert row is not None
        assert row.blob is None
        assert r.parts.hot.get(name("u.1")) is None


async def test_the_bytes_of_a_multipart_object_are_compared_with_what_was_stored(tmp_path: Path) -> None:
    """Its ETag says nothing about the bytes; what the blob was does."""
    async with faulty(tmp_path) as (r, alt):
        parts = r.parts.store.multipart
        up = await parts.create(name("u.1"), Headers(), None, None, None)
        from tierproxy.store.body import Md5Check
        from tierproxy.testing.rig import pieces

        part = await parts.put_part(up, 1, 6, pieces(b"a mail", 6), Md5Check(6))
        await parts.complete(up, [(1, part.etag)])
        await r.purge()
        memory_of(alt).corrupt(name("u.1"), b"A mail")
        with pytest.raises(AltCorrupt):
            await r.get("u.1")
        memory_of(alt).corrupt(name("u.1"), b"a mail")
        assert await r.get("u.1") == b"a mail"


@pytest.mark.parametrize("chunk", [1, 2, 32])
async def test_a_body_that_ends_short_is_cut_and_not_kept(tmp_path: Path, chunk: int) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", LARGE)
        await r.purge()
        alt.cut_body(None, chunk=chunk)
        with pytest.raises(AltError):
            await r.get("u.1")
        await r.idle()
        assert await r.read("u.1") == (Tier.ALT, LARGE)
