"""An alt that says nothing keeps no write waiting for longer than ``[write] alt_patience``, and the next not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import QueueSection, WriteSection
from tierproxy.config.values import Duration
from tierproxy.errors import AltUnavailable, AltUncertain, NoSuchKey
from tierproxy.model import Ack, JobKind, OnAltDown, State
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import Rig, name, rig

PATIENCE = 10.0
LATER = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))


class Silent:
    """A store whose alt does not answer what it is told not to."""

    def __init__(self, r: Rig, alt: FaultyAlt, clock: VirtualClock) -> None:
        self.r, self.alt, self.clock = r, alt, clock

    def content(self, key: str) -> bytes | None:
        assert isinstance(self.alt.alt, MemoryAlt)
        return self.alt.alt.content(name(key))

    async def given_up(self, task: asyncio.Task[object], gate: Gate) -> None:
        """Waits for as long as it may, and not longer."""
        await gate.reached()
        await self.clock.advance(PATIENCE - 0.1)
        assert not task.done()
        await self.clock.advance(0.2)
        await asyncio.wait([task])

    async def tidy(self) -> None:
        """Let the queue do what is left: alt is down, so its first try comes when the pause of the breaker is over."""
        await self.clock.advance(1)
        while self.r.journal():
            await self.r.parts.catalogue.hurry(None, self.clock.now())
            self.r.parts.queue.wake()
            await self.clock.settle()
            await self.r.idle()


@asynccontextmanager
async def silent(
    root: Path, mode: OnAltDown = OnAltDown.QUEUE, ack: Ack = Ack.BOTH, patience: float = PATIENCE
) -> AsyncIterator[Silent]:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    write = WriteSection(ack=ack, on_alt_down=mode, alt_patience=Duration(patience))
    async with rig(root, alt=alt, clock=clock, write=write, queue=LATER) as r:
        yield Silent(r, alt, clock)


async def test_a_write_is_queued_when_patience_is_over_and_its_request_ends_the_job(tmp_path: Path) -> None:
    async with silent(tmp_path) as s:
        await s.r.put("u.1", b"old")
        gate = s.alt.gate("put")
        task = asyncio.create_task(s.r.put("u.1", b"a mail"))
        await s.given_up(task, gate)
        assert task.result().entry.tiers == ("disk",)
        assert await s.r.get("u.1") == b"a mail"
        assert s.r.journal() == [("u.1", JobKind.PUT)]
        s.alt.calls.clear()
        gate.open()
        await s.r.drained()
        assert not s.alt.calls["put"]  # the request that was under way was enough
        assert s.content("u.1") == b"a mail"
        row = s.r.row("u.1")
        assert row is not None
        assert row.state is State.CLEAN


async def test_a_large_write_that_can_be_read_from_the_blob_alone_by_now_is_sent_again(tmp_path: Path) -> None:
    body = bytes(3_000_000)
    async with silent(tmp_path) as s:
        gate = s.alt.gate("put")
        task = asyncio.create_task(s.r.put("u.1", body))
        await s.given_up(task, gate)
        assert await s.r.get("u.1") == body
        gate.open()
        await s.r.idle()
        await s.tidy()
        assert s.content("u.1") == body


async def test_nobody_waits_after_the_first(tmp_path: Path) -> None:
    async with silent(tmp_path) as s:
        await s.r.put("old", b"old")
        gates = [s.alt.gate(kind, nth=nth) for kind in ("put", "copy", "delete") for nth in range(1, 5)]
        task = asyncio.create_task(s.r.put("u.1", b"1"))
        await s.given_up(task, gates[0])
        assert (await s.r.put("u.2", b"2")).entry.tiers == ("disk",)
        assert (await s.r.parts.store.copy(name("old"), name("u.3"))).entry.tiers == ("disk",)
        await s.r.delete("old")
        assert ("alt does not take changes", "mail") in s.r.parts.alarms.active()
        for gate in gates:
            gate.open()
        await s.tidy()
        assert (await s.r.put("u.4", b"4")).entry.tiers == ("disk", "alt")
        assert [s.content(key) for key in ("u.1", "u.2", "u.3", "old")] == [b"1", b"2", b"old", None]


async def test_a_write_that_may_not_be_queued_is_refused(tmp_path: Path) -> None:
    async with silent(tmp_path, OnAltDown.REFUSE) as s:
        await s.r.put("u.1", b"old")
        gate = s.alt.gate("put")
        task = asyncio.create_task(s.r.put("u.1", b"new"))
        await s.given_up(task, gate)
        with pytest.raises(AltUncertain):
            task.result()
        gate.open()
        assert await s.r.get("u.1") == b"old"
        assert not s.r.journal()


@pytest.mark.parametrize("then", ["write", "delete"])
async def test_a_later_change_waits_for_the_request_under_way(tmp_path: Path, then: str) -> None:
    async with silent(tmp_path) as s:
        gate = s.alt.gate("put")
        task = asyncio.create_task(s.r.put("u.1", b"first"))
        await s.given_up(task, gate)
        if then == "write":
            await s.r.put("u.1", b"second")
        else:
            await s.r.delete("u.1")
        await s.r.parts.catalogue.hurry(None, s.clock.now())
        s.r.parts.queue.wake()
        await s.clock.settle()
        assert s.alt.calls["put"] == 1
        assert not s.alt.calls["delete"]
        gate.open()
        await s.tidy()
        assert s.content("u.1") == (b"second" if then == "write" else None)


async def test_a_request_under_way_that_fails_is_sent_again(tmp_path: Path) -> None:
    async with silent(tmp_path) as s:
        s.alt.fail("put", AltUnavailable("no"))
        gate = s.alt.gate("put")
        task = asyncio.create_task(s.r.put("u.1", b"a mail"))
        await s.given_up(task, gate)
        gate.open()
        await s.r.idle()
        assert s.r.journal() == [("u.1", JobKind.PUT)]
        await s.tidy()
        assert s.content("u.1") == b"a mail"


async def test_a_copy_goes_by_the_bytes_when_patience_is_over(tmp_path: Path) -> None:
    async with silent(tmp_path) as s:
        await s.r.put("one", b"a mail")
        gate = s.alt.gate("copy")
        task = asyncio.create_task(s.r.parts.store.copy(name("one"), name("two")))
        await s.given_up(task, gate)
        assert task.result().entry.tiers == ("disk",)
        assert await s.r.get("two") == b"a mail"
        gate.open()
        await s.tidy()
        assert s.content("two") == b"a mail"


async def test_a_copy_of_what_only_alt_has_fails_when_patience_is_over(tmp_path: Path) -> None:
    async with silent(tmp_path) as s:
        await s.r.put("one", b"a mail")
        await s.r.purge()
        gate = s.alt.gate("copy")
        task = asyncio.create_task(s.r.parts.store.copy(name("one"), name("two")))
        await s.given_up(task, gate)
        with pytest.raises(AltUncertain):
            task.result()
        gate.open()
        with pytest.raises(NoSuchKey):
            await s.r.get("two")


async def test_a_delete_is_certain_when_patience_is_over(tmp_path: Path) -> None:
    async with silent(tmp_path) as s:
        await s.r.put("u.1", b"a mail")
        gate = s.alt.gate("delete")
        task = asyncio.create_task(s.r.delete("u.1"))
        await s.given_up(task, gate)
        task.result()
        with pytest.raises(NoSuchKey):
            await s.r.get("u.1")
        gate.open()
        await s.tidy()
        assert s.content("u.1") is None


async def test_a_reload_changes_the_patience(tmp_path: Path) -> None:
    async with silent(tmp_path, patience=300) as s:
        hasty = WriteSection(alt_patience=Duration(PATIENCE))
        s.r.parts.policies.reload(replace(s.r.parts.config, write=hasty))
        gate = s.alt.gate("put")
        task = asyncio.create_task(s.r.put("u.1", b"a mail"))
        await s.given_up(task, gate)
        gate.open()
        await s.tidy()


async def test_a_store_that_stops_meanwhile_sends_the_mail_at_its_next_start(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    gate = alt.gate("put")
    async with rig(tmp_path, alt=alt, clock=clock, check=False) as r:
        task = asyncio.create_task(r.put("u.1", b"a mail"))
        await gate.reached()
        await clock.advance(PATIENCE + 1)
        assert (await task).entry.tiers == ("disk",)
        await r.parts.queue.stop(0)
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        await r.drained()
        assert isinstance(alt.alt, MemoryAlt)
        assert alt.alt.content(name("u.1")) == b"a mail"


@pytest.mark.parametrize("where", ["both", "alt"])
async def test_with_ack_disk_alt_copies_what_it_has_by_itself(tmp_path: Path, where: str) -> None:
    async with silent(tmp_path, ack=Ack.DISK) as s:
        await s.r.put("one", b"a mail", ack=Ack.BOTH)
        if where == "alt":
            await s.r.purge()
        s.alt.calls.clear()
        written = await s.r.parts.store.copy(name("one"), name("two"))
        assert written.entry.tiers == (("disk", "alt") if where == "both" else ("alt",))
        assert dict(s.alt.calls) == {"copy": 1}
        assert not s.r.journal()
        s.alt.down()
        if where == "both":
            assert (await s.r.parts.store.copy(name("one"), name("three"))).entry.tiers == ("disk",)
        else:
            with pytest.raises(AltUnavailable):
                await s.r.parts.store.copy(name("one"), name("three"))
        s.alt.heal()
        await s.tidy()
