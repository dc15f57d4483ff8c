"""Reads beside changes of others, readers that leave, disks that cannot say what is free: what a review found."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, BucketSection, FillSection
from tierproxy.errors import AltError, AltMissing, AltUncertain, DiskUnavailable, NoSuchKey
from tierproxy.model import AltObject, FillPolicy, Headers, ObjectName, State, Tier
from tierproxy.store.body import MemorySource
from tierproxy.store.calls import Precondition
from tierproxy.store.sync import Sync
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import BUCKET, Rig, name, rig

from .test_late_answers import LateAlt
from .test_races import BODIES, LARGE, PATIENT, content, faulty, filling, later, memory
from .test_trouble_alt import REFUSE

SHARED = (BucketSection(name=BUCKET, exclusive=False),)
PASS = FillSection(policy=FillPolicy.NEVER)


async def outside(alt: MemoryAlt, key: str, body: bytes, headers: Headers | None = None, **kwargs: Any) -> None:
    """Another writer."""
    md5 = hashlib.md5(body).hexdigest()
    await alt.put(name(key), MemorySource(body), headers or Headers(), md5=md5, **kwargs)


def state(r: Rig, key: str) -> State | None:
    row = r.row(key)
    return None if row is None else row.state


# ---------------------------------------------------------------- answers of alt that come late


async def test_a_head_beside_a_delete_never_answers_with_the_tombstone(tmp_path: Path) -> None:
    late = LateAlt()
    await outside(late, "u.1", b"a mail")
    alt = FaultyAlt(late)
    async with rig(tmp_path, alt=alt, queue=PATIENT) as r:
        late.gate = Gate()
        head = asyncio.create_task(r.parts.store.head(name("u.1")))
        await late.gate.reached()
        alt.fail("delete")
        await r.delete("u.1")
        assert state(r, "u.1") is State.DELETING
        late.gate.open()
        try:
            entry = await head
        except NoSuchKey:
            return
        assert (entry.size, entry.state) == (len(b"a mail"), State.CLEAN)


class LateNotThere(MemoryAlt):
    """That an object is not there arrives when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    async def head(self, name: ObjectName) -> AltObject:
        try:
            return await super().head(name)
        except AltMissing:
            await self.gate.passage()
            raise


async def test_a_late_404_does_not_throw_away_what_was_written_meanwhile(tmp_path: Path) -> None:
    late = LateNotThere()
    alt = FaultyAlt(late)
    async with rig(tmp_path, alt=alt, bucket=SHARED) as r:
        await r.put("u.1", b"old")
        late.lose(name("u.1"))
        reader = later(content(r, "u.1"))
        await late.gate.reached()
        assert (await r.put("u.1", b"new")).entry.tiers == ("disk", "alt")
        late.gate.open()
        await reader
        alt.down()
        assert await r.get("u.1") == b"new"


# ---------------------------------------------------------------- other writers


@BODIES
async def test_a_reader_does_not_join_the_flight_of_an_older_content(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path, bucket=SHARED) as (r, alt):
        first, gate = await filling(r, alt, body)
        await outside(memory(alt), "u.1", b"of another writer")
        second = later(r.get("u.1"))
        await asyncio.wait([second], timeout=0.05)
        gate.open()
        await first
        assert await second == b"of another writer"


async def test_headers_changed_by_another_writer_are_seen_although_the_bytes_are_the_same(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt, bucket=SHARED) as r:
        await r.put("u.1", b"same bytes")
        await outside(alt, "u.1", b"same bytes", Headers(content_type="text/new"))
        headers = (await r.parts.store.head(name("u.1"))).headers
        assert headers is not None
        assert headers.content_type == "text/new"


async def test_an_if_match_with_the_etag_clients_know_holds_on_a_row_from_a_listing(tmp_path: Path) -> None:
    """A listing tells alt's ETag only; clients were told the one kept in the metadata."""
    alt = MemoryAlt()
    await outside(alt, "u.1", b"a mail", etag="told-to-clients-2")
    async with rig(tmp_path, alt=alt) as r:
        await Sync(catalogue=r.parts.catalogue, alt=alt, bucket=BUCKET).run()
        await r.put("u.1", b"new", precondition=Precondition(match="told-to-clients-2"))
        assert await r.get("u.1") == b"new"


# ---------------------------------------------------------------- what is damaged or lost


async def test_a_whole_body_passed_from_alt_that_is_corrupt_does_not_look_whole(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt, fill=PASS) as r:
        await r.put("u.1", LARGE)
        await r.purge()
        alt.corrupt(name("u.1"), bytes(len(LARGE)))
        with pytest.raises(AltError):
            await r.get("u.1")


async def test_a_suspect_object_that_alt_lost_is_served_from_disk_and_sent_again(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with faulty(tmp_path, write=REFUSE, clock=clock) as (r, alt):
        await r.put("u.1", b"acknowledged")
        alt.fail("put", AltUncertain("?"))
        alt.fail("head")
        with pytest.raises(AltError):
            await r.put("u.1", b"refused")
        assert state(r, "u.1") is State.SUSPECT
        memory(alt).lose(name("u.1"))
        assert await r.get("u.1") == b"acknowledged"
        await clock.advance(AltSection().request_timeout)
        await r.drained_now()
        assert memory(alt).content(name("u.1")) == b"acknowledged"


def broken() -> NoReturn:
    raise DiskUnavailable("statvfs: input/output error")


async def test_a_disk_that_cannot_say_what_is_free_fails_no_read(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", b"a mail")
        await r.purge()
        r.parts.space._free = broken
        assert await r.read("u.1") == (Tier.ALT, b"a mail")


async def test_a_disk_that_cannot_say_what_is_free_fails_no_write_to_both(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.parts.space._free = broken
        assert (await r.put("u.1", b"a mail")).entry.tiers == ("alt",)


# ---------------------------------------------------------------- readers that leave


def leaving(reader: Callable[[], asyncio.Task[object]], call: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """``call``, at whose begin the client of ``reader`` goes away."""

    async def called(*args: object, **kwargs: object) -> Any:
        reader().cancel()
        return await call(*args, **kwargs)

    return called


async def test_a_reader_that_leaves_while_news_are_written_down_leaves_no_file_behind(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt, bucket=SHARED) as r:
        await r.put("u.1", b"old")
        await outside(alt, "u.1", b"changed")
        catalogue = r.parts.catalogue
        catalogue.learn = leaving(lambda: reader, catalogue.learn)  # type: ignore[method-assign]
        reader = later(r.get("u.1"))
        with pytest.raises(asyncio.CancelledError):
            await reader
        await r.check()


async def test_a_reader_that_leaves_while_a_suspect_row_is_settled_leaves_no_file_behind(tmp_path: Path) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"old")
        alt.fail("put", effect=Effect.DONE)
        alt.fail("head")
        with pytest.raises(AltError):
            await r.put("u.1", b"newer")
        catalogue = r.parts.catalogue
        publish = catalogue.publish
        catalogue.publish = leaving(lambda: reader, publish)  # type: ignore[method-assign]
        reader = later(r.get("u.1"))
        with pytest.raises(asyncio.CancelledError):
            await reader
        catalogue.publish = publish  # type: ignore[method-assign]
        await r.check()


async def test_a_read_can_be_cancelled_at_every_step_and_leaves_nothing(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt, bucket=SHARED) as r:
        body = b""
        for steps in range(80):
            body = b"x" * (steps * 37_000)
            await outside(alt, "u.1", body)
            reader = later(r.get("u.1"))
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.wait([reader], timeout=0.001 * (steps % 3))  # some get further: disk and catalogue answer
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        await r.check()
        assert await r.get("u.1") == body


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("policy", [FillPolicy.ALWAYS, FillPolicy.NEVER])
async def test_readers_of_one_cold_object_share_its_bytes(tmp_path: Path, policy: FillPolicy) -> None:
    async with rig(tmp_path, fill=FillSection(policy=policy)) as r:
        await r.put("u.1", b"x" * 2**20)
        await r.purge()
        readings = await asyncio.gather(*(r.parts.store.open(name("u.1")) for _ in range(100)))
        held = {id(reading.content): reading.content for reading in readings}
        assert None not in held.values()
        assert len(held) < 10, f"{len(held)} MiB for {len(readings)} readers of 1 MiB"
        for reading in readings:
            await reading.close()
