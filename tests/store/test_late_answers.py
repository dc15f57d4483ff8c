"""Alt's answers are about the moment they were given. One that arrives after a change must not be written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection
from tierproxy.errors import NoSuchKey
from tierproxy.model import AltObject, ByteRange, ObjectName
from tierproxy.ports import AltBody
from tierproxy.store.recent import RecentChanges
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import BUCKET, Rig, name, rig


class LateAlt(MemoryAlt):
    """Answers are given at once and arrive when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate(opened=True)

    async def head(self, name: ObjectName) -> AltObject:
        found = await super().head(name)
        await self.gate.passage()
        return found

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        body = await super().get(name, range, etag=etag)
        await self.gate.passage()
        return body


async def test_a_fill_that_arrives_after_a_delete_does_not_bring_the_object_back(tmp_path: Path) -> None:
    alt = LateAlt()
    async with rig(tmp_path / "one", alt=alt) as r:
        await r.put("u.1", b"deleted mail")
    async with rig(tmp_path / "two", alt=alt) as r:  # does not know the object
        alt.gate = Gate()
        read = asyncio.create_task(r.get("u.1"))
        await alt.gate.reached()
        await r.delete("u.1")
        assert r.row("u.1") is None
        alt.gate.open()
        assert await read == b"deleted mail"  # it began before the delete
        await gone(r, "u.1")


async def test_a_head_that_arrives_after_a_delete_does_not_bring_the_object_back(tmp_path: Path) -> None:
    alt = LateAlt()
    async with rig(tmp_path / "one", alt=alt) as r:
        await r.put("u.1", b"deleted mail")
    async with rig(tmp_path / "two", alt=alt) as r:
        alt.gate = Gate()
        head = asyncio.create_task(r.parts.store.head(name("u.1")))
        await alt.gate.reached()
        await r.delete("u.1")
        alt.gate.open()
        await head
        await gone(r, "u.1")


async def test_a_fill_that_arrives_after_an_overwrite_does_not_replace_it(tmp_path: Path) -> None:
    alt = LateAlt()
    async with rig(tmp_path, alt=alt) as r:
        await r.put("u.1", b"old")
        await r.purge()
        alt.gate = Gate()
        read = asyncio.create_task(r.get("u.1"))
        await alt.gate.reached()
        await r.put("u.1", b"the new one")
        alt.gate.open()
        assert await read == b"old"
        await r.idle()
        assert await r.get("u.1") == b"the new one"
        assert not r.parts.alarms.active()


async def test_a_head_that_arrives_after_an_overwrite_does_not_replace_it(tmp_path: Path) -> None:
    alt = LateAlt()
    shared = (BucketSection(name=BUCKET, exclusive=False),)
    async with rig(tmp_path, alt=alt, bucket=shared) as r:
        await r.put("u.1", b"old")
        alt.gate = Gate()
        head = asyncio.create_task(r.parts.store.head(name("u.1")))
        await alt.gate.reached()
        await r.put("u.1", b"the new one")
        alt.gate.open()
        await head
        row = r.row("u.1")
        assert row is not None
        assert row.size == len(b"the new one")
        assert row.blob is not None


async def gone(r: Rig, key: str) -> None:
    await r.idle()
    assert r.row(key) is None
    with pytest.raises(NoSuchKey):
        await r.get(key)


def test_names_that_fell_out_of_memory_count_as_changed() -> None:
    changes = RecentChanges(names=2)
    asked = changes.now()
    for key in "abc":
        changes.note(name(key))
    assert changes.since(name("a"), asked)
    assert changes.since(name("never seen"), asked)
    assert not changes.since(name("never seen"), changes.now())
