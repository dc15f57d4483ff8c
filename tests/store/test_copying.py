"""CopyObject: by alt where it can, from disk to disk beside it, by the bytes where it must."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import QueueSection, WriteSection
from tierproxy.config.values import Duration
from tierproxy.errors import AltUnavailable, AltUncertain, NoSuchBucket, NoSuchKey, PreconditionFailed
from tierproxy.model import Ack, Entry, Headers, ObjectName, OnAltDown, State, Tier
from tierproxy.store.calls import Precondition
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.rig import Rig, name, rig

PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))
LARGE = bytes(range(251)) * 8000


async def copy(r: Rig, source: str, target: str, **options: object) -> Entry:
    return (await r.parts.store.copy(name(source), name(target), **options)).entry  # type: ignore[arg-type]


@pytest.mark.parametrize("ack", [None, *Ack])
@pytest.mark.parametrize("body", [b"", b"a mail", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("where", ["both", "alt", "disk"])
async def test_a_copy_has_the_bytes_wherever_they_are(tmp_path: Path, body: bytes, where: str, ack: Ack | None) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, queue=PATIENT) as r:
        if where == "disk":
            alt.fail("put")
        headers = Headers(content_type="text/x", metadata={"a": "b"})
        await r.put("one", body, headers=headers, ack=Ack.DISK if where == "disk" else None)
        while not alt.calls["put"]:
            await asyncio.sleep(0)
        await r.idle()
        if where == "alt":
            await r.purge()
        entry = await copy(r, "one", "two", ack=ack)
        assert entry.size == len(body)
        assert await r.get("two") == body
        found = await r.parts.store.head(name("two"))
        assert found.headers is not None
        assert (found.headers.content_type, found.headers.metadata) == ("text/x", {"a": "b"})
        await r.drained_now()
        assert isinstance(alt.alt, MemoryAlt)
        assert alt.alt.content(name("two")) == body
        await r.purge()
        assert await r.get("two") == body


async def test_alt_copies_by_itself_and_no_bytes_travel(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        await r.put("one", LARGE)
        alt.calls.clear()
        entry = await copy(r, "one", "two")
        assert entry.tiers == ("disk", "alt")
        assert dict(alt.calls) == {"copy": 1}
        assert await r.read("two") == (Tier.DISK, LARGE)


async def test_replaced_headers_are_the_copys_own(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("one", b"a mail")
        await copy(r, "one", "one", headers=Headers(content_type="text/new"))
        found = await r.parts.store.head(name("one"))
        assert found.headers is not None
        assert found.headers.content_type == "text/new"
        await r.purge()
        assert await r.get("one") == b"a mail"


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("one", b"1")
        await r.put("two", b"2")

        def refuse(_entry: Entry) -> None:
            raise PreconditionFailed

        with pytest.raises(PreconditionFailed):
            await copy(r, "one", "two", select=refuse)
        with pytest.raises(PreconditionFailed):
            await copy(r, "one", "two", precondition=Precondition(create=True))
        with pytest.raises(NoSuchKey):
            await copy(r, "nobody", "two")
        with pytest.raises(NoSuchBucket):
            await r.parts.store.copy(name("one"), ObjectName("nobody", "two"))
        assert await r.get("two") == b"2"
        assert r.row("two").state is State.CLEAN  # type: ignore[union-attr]


async def test_a_copy_while_alt_is_down_is_queued_or_changes_nothing(tmp_path: Path) -> None:
    for mode, on_disk in itertools.product(OnAltDown, (True, False)):
        alt = FaultyAlt(MemoryAlt())
        write = WriteSection(on_alt_down=mode)
        async with rig(tmp_path / f"{mode}{on_disk}", alt=alt, queue=PATIENT, write=write) as r:
            await r.put("one", b"1")
            await r.put("two", b"2")
            if not on_disk:
                await r.purge("one")
            alt.down()
            if mode is OnAltDown.QUEUE and on_disk:
                assert (await copy(r, "one", "two")).state is State.DIRTY
                assert await r.get("two") == b"1"
            else:
                with pytest.raises(AltUnavailable):
                    await copy(r, "one", "two")
                assert await r.get("two") == b"2"
            alt.heal()
            await r.drained_now()


async def test_an_uncertain_copy_is_decided_by_what_alt_holds(tmp_path: Path) -> None:
    for effect in (Effect.DONE, Effect.NONE):  # found there, or sent by way of the bytes
        alt = FaultyAlt(MemoryAlt())
        async with rig(tmp_path / effect, alt=alt) as r:
            await r.put("one", b"1")
            await r.put("two", b"2")
            alt.fail("copy", AltUncertain("?"), effect=effect)
            assert (await copy(r, "one", "two")).size == 1
            assert await r.get("two") == b"1"
            await r.drained()
            assert isinstance(alt.alt, MemoryAlt)
            assert alt.alt.content(name("two")) == b"1"


async def test_a_source_that_is_overwritten_meanwhile_is_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        await r.put("one", b"old")
        gate = alt.gate("copy")
        copying = asyncio.ensure_future(copy(r, "one", "two"))
        await gate.reached()
        await r.put("one", b"new")
        gate.open()
        assert (await copying).size == 3
        assert await r.get("two") == b"new"
        await r.drained()
        assert isinstance(alt.alt, MemoryAlt)
        assert alt.alt.content(name("two")) == b"new"
