"""Flights and fills: which misses are shared, which leave a copy, and what a reader sees of a body that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, FillSection, MemorySection, PolicySection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import AltCorrupt, AltUnavailable
from tierproxy.model import Ack, ByteRange, Entry, FillPolicy, Headers, ObjectName, Tier
from tierproxy.store.body import Fingerprint, Md5Check, MemorySource
from tierproxy.store.calls import Reading
from tierproxy.store.flight import Flight
from tierproxy.store.lookup import Seen
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import BUCKET, Rig, name, rig

LARGE = bytes(range(251)) * 12_000


@asynccontextmanager
async def cold(
    root: Path, body: bytes, *, clock: VirtualClock | None = None, **fill: Any
) -> AsyncIterator[tuple[Rig, FaultyAlt]]:
    """A node with ``u.1`` in alt only."""
    alt = FaultyAlt(MemoryAlt())
    no_memory = MemorySection(max_bytes=Size(0))
    async with rig(root, alt=alt, clock=clock, memory=no_memory, fill=FillSection(**fill)) as r:
        await r.put("u.1", body, ack=Ack.ALT)
        alt.calls.clear()
        yield r, alt


def on_disk(r: Rig, key: str = "u.1") -> bool:
    row = r.row(key)
    return row is not None and row.blob is not None


async def collect(reading: Reading, got: bytearray) -> None:
    async for chunk in reading.chunks():
        got += chunk


@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
async def test_never_leaves_no_copy(tmp_path: Path, body: bytes) -> None:
    async with cold(tmp_path, body, policy=FillPolicy.NEVER) as (r, _alt):
        for _ in range(3):
            assert await r.read("u.1") == (Tier.ALT, body)
            await r.idle()
        assert not on_disk(r)
        assert r.parts.counters.passes == 3


@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
async def test_second_read_leaves_a_copy_at_the_second_read_within_the_window(tmp_path: Path, body: bytes) -> None:
    clock = VirtualClock()
    options = {"policy": FillPolicy.SECOND_READ, "second_read_window": Duration(100)}
    async with cold(tmp_path, body, clock=clock, **options) as (r, _alt):
        assert await r.get("u.1") == body
        await r.idle()
        assert not on_disk(r)
        await clock.advance(200)
        assert await r.get("u.1") == body
        await r.idle()
        await r.parts.tally.flush()
        assert not on_disk(r), "the first read was too long ago"
        await clock.advance(50)
        assert await r.get("u.1") == body
        await r.idle()
        assert on_disk(r)


async def test_objects_above_the_limit_are_passed(tmp_path: Path) -> None:
    async with cold(tmp_path, LARGE, max_object=Size(2 * 2**20)) as (r, _alt):
        assert await r.read("u.1") == (Tier.ALT, LARGE)
        await r.idle()
        assert not on_disk(r)


async def test_a_range_of_a_very_large_object_is_fetched_alone(tmp_path: Path) -> None:
    async with cold(tmp_path, LARGE, range_limit=Size(2**20)) as (r, _alt):
        assert await r.get("u.1", lambda _entry: ByteRange(5, 10)) == LARGE[5:10]
        await r.idle()
        assert not on_disk(r)
        assert await r.get("u.1") == LARGE
        await r.idle()
        assert on_disk(r)


async def test_a_range_of_a_smaller_object_fills_it_whole(tmp_path: Path) -> None:
    async with cold(tmp_path, LARGE) as (r, alt):
        assert await r.get("u.1", lambda _entry: ByteRange(5, 10)) == LARGE[5:10]
        await r.idle()
        assert await r.read("u.1") == (Tier.DISK, LARGE)
        assert alt.calls["get"] == 1


async def test_the_fill_policy_of_a_key_pattern_counts(tmp_path: Path) -> None:
    bucket = BucketSection(
        name=BUCKET, fill=FillPolicy.ALWAYS, policy=(PolicySection(key="tmp/*", fill=FillPolicy.NEVER),)
    )
    async with rig(tmp_path, bucket=(bucket,)) as r:
        for key in ("tmp/1", "mail/1"):
            await r.put(key, b"a mail", ack=Ack.ALT)
            await r.get(key)
        await r.idle()
        assert not on_disk(r, "tmp/1")
        assert on_disk(r, "mail/1")


async def test_a_filled_object_costs_alt_nothing_more(tmp_path: Path) -> None:
    async with cold(tmp_path, LARGE) as (r, alt):
        await r.get("u.1")
        await r.idle()
        for _ in range(3):
            assert await r.read("u.1") == (Tier.DISK, LARGE)
        assert dict(alt.calls) == {"get": 1}


@pytest.mark.parametrize("policy", [FillPolicy.ALWAYS, FillPolicy.NEVER])
async def test_a_miss_looks_at_the_row_before_alt_is_asked_and_not_again(tmp_path: Path, policy: FillPolicy) -> None:
    async with cold(tmp_path, b"a mail", policy=policy) as (r, alt):
        catalogue: Any = r.parts.catalogue
        find, looks = catalogue.find, []

        def counted(wanted: ObjectName) -> Entry | None:
            looks.append(wanted)
            return find(wanted)  # type: ignore[no-any-return]

        gate = alt.gate("get")
        catalogue.find = counted
        reader = asyncio.ensure_future(r.get("u.1"))
        await gate.reached(1)
        assert looks == [name("u.1")]
        gate.open()
        assert await reader == b"a mail"
        await r.idle()
        assert len(looks) == 1 + (policy is FillPolicy.NEVER), "what is learnt without a copy is compared with the row"
        del catalogue.find


async def test_a_row_seen_before_a_change_is_not_the_one_that_is_filled(tmp_path: Path) -> None:
    async with cold(tmp_path, b"a mail") as (r, alt):
        store: Any = r.parts.store
        lookup, row = store._lookup, r.row("u.1")
        assert row is not None
        seen = Seen(row, lookup.asking())
        found = await alt.head(name("u.1"))
        assert lookup.identify(found, lookup.asking(), seen) == (row, row.generation)
        await r.put("u.1", b"b mail", ack=Ack.ALT)
        now = r.row("u.1")
        assert now is not None
        assert now.generation > row.generation
        found = await alt.head(name("u.1"))
        assert lookup.identify(found, lookup.asking(), seen) == (now, now.generation)


async def test_readers_of_what_is_small_are_woken_once_by_its_last_byte(tmp_path: Path) -> None:
    flight = Flight(name("u.1"))
    flight.sink = MemorySource(b"a mail")
    waiting = asyncio.ensure_future(flight.complete())
    await asyncio.sleep(0)
    assert not waiting.done()
    flight.verified.set_result(None)
    await waiting
    await flight.complete()
    flight.opened.cancel()
    broken = Flight(name("u.1"))
    broken.fail(AltCorrupt("other bytes"))
    with pytest.raises(AltCorrupt):
        await broken.complete()


async def test_no_reader_gets_the_last_byte_before_the_body_is_known_to_be_right(tmp_path: Path) -> None:
    async with cold(tmp_path, LARGE) as (r, alt):
        assert isinstance(alt.alt, MemoryAlt)
        alt.alt.corrupt(name("u.1"), b"?" + LARGE[1:])
        reading = await r.parts.store.open(name("u.1"))
        got = bytearray()
        with pytest.raises(AltCorrupt):
            await collect(reading, got)
        await reading.close()
        assert len(got) < len(LARGE)


async def test_a_range_that_ends_before_the_end_also_waits_for_the_whole_to_be_right(tmp_path: Path) -> None:
    async with cold(tmp_path, LARGE) as (r, alt):
        assert isinstance(alt.alt, MemoryAlt)
        alt.alt.corrupt(name("u.1"), LARGE[:-1] + b"?")
        with pytest.raises(AltCorrupt):
            await r.get("u.1", lambda _entry: ByteRange(0, 2_000_000))


async def test_the_errors_of_a_flight_reach_every_reader_and_are_counted_once_each(tmp_path: Path) -> None:
    async with cold(tmp_path, b"a mail") as (r, alt):
        alt.cut_body(AltUnavailable("cut"))
        outcomes = await asyncio.gather(*(r.get("u.1") for _ in range(4)), return_exceptions=True)
        assert all(isinstance(outcome, AltUnavailable) for outcome in outcomes)
        assert r.parts.counters.errors == 4
        assert r.parts.counters.gets == 4


async def test_readers_wait_for_bytes_and_are_woken_by_them() -> None:
    flight = Flight(name("u.1"))
    sink = flight.sink = MemorySource()
    waiting = asyncio.ensure_future(flight.readable(0))
    await asyncio.sleep(0)
    await sink.write(b"0123456789")
    flight.grow()
    assert await waiting == 9, "all but the last byte"
    last = asyncio.ensure_future(flight.readable(9))
    await asyncio.sleep(0)
    flight.verified.set_result(None)
    flight.grow()
    assert await last == 10
    flight.opened.cancel()


async def test_a_fingerprint_compares_what_can_be_compared() -> None:
    import xxhash

    from tierproxy.model import State

    def entry(etag: str, xxh3: bytes | None) -> Entry:
        return Entry(name("u.1"), 1, State.CLEAN, 6, etag, 0.0, headers=Headers(), xxh3=xxh3)

    md5 = Md5Check()
    md5.update(b"a mail")
    good, bad = xxhash.xxh3_128_digest(b"a mail"), xxhash.xxh3_128_digest(b"A mail")
    multipart = "0" * 32 + "-1"
    for of, etag_is_md5, right in (
        (entry(md5.etag(), None), True, True), (entry("0" * 32, None), True, False),
        (entry("0" * 32, None), False, True), (entry("0" * 32, bad), False, False),
        (entry(multipart, good), True, True), (entry(multipart, bad), True, False),
        (entry(multipart, None), True, True),
    ):  # fmt: skip
        check = Fingerprint(of, etag_is_md5=etag_is_md5)
        check.update(b"a mail")
        if right:
            check.compare(6)
        else:
            with pytest.raises(AltCorrupt):
                check.compare(6)
    with pytest.raises(AltCorrupt):
        Fingerprint(entry(multipart, None), etag_is_md5=True).compare(5)
