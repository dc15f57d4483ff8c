"""What a killed node had sent to alt may be done after what the next node sends: so nothing is sent over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, BucketSection, WriteSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import AltUnavailable, AltUncertain, NoSuchKey
from tierproxy.model import Ack, Headers, ObjectName, OnAltDown, State
from tierproxy.near.versions import VersionTable
from tierproxy.node import Node
from tierproxy.store.body import MemorySource
from tierproxy.store.late import LateChanges
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, abandon, name, rig, stopped_node
from tierproxy.wiring import Doors

from .test_races import later, memory

LATE = AltSection().request_timeout
SHARED = (BucketSection(name="mail", exclusive=False),)


class Machine:
    """Shared memory that outlives a killed node, and an alt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data, self.memory = root / "data", root / "shm"
        self.memory.mkdir()
        self.alt = FaultyAlt(MemoryAlt())
        self.clock = VirtualClock()
        self._table: VersionTable | None = None

    def wrap(self, doors: Doors) -> Doors:
        table = VersionTable.open(Path(doors.config.node.data_dir), Files(), 0.0, self.memory)
        self._table = table
        return replace(doors, versions=table)

    async def kill(self, node: Node) -> None:
        """Nothing is written to the shared memory from here on, and the kernel lets it go."""
        table, self._table = self._table, None
        assert table is not None
        table._closed = True
        await abandon(node)
        table._unmap()

    @asynccontextmanager
    async def node(self, **sections: Any) -> AsyncIterator[Rig]:
        async with rig(self.root, alt=self.alt, clock=self.clock, wrap=self.wrap, **sections) as one:
            yield one
        if self._table is not None:
            self._table.close()

    async def dies_in(self, key: str, body: bytes, **sections: Any) -> None:
        """A node that is killed while alt is at a PUT of it, which will be done later."""
        node = stopped_node(self.root, self.alt, self.clock, None, self.wrap, **sections)
        await node.start()
        one = Rig(node, self.alt, self.root)
        sending = self.alt.gate("put")
        putting = later(one.put(key, body))
        await sending.reached()
        await self.kill(node)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)
        self.alt.heal()

    async def over(self, one: Rig) -> None:
        """Nothing can be late any more, and alt has everything."""
        await self.clock.advance(LATE)
        await one.drained_now()

    async def lands(self, key: str, body: bytes) -> None:
        """What the killed node had sent is done."""
        await memory(self.alt).put(name(key), MemorySource(body), Headers(), md5="")


@pytest.mark.parametrize("bucket", [(), SHARED], ids=["exclusive", "others write, too"])
async def test_a_write_over_what_a_killed_node_had_sent_is_not_overtaken(tmp_path: Path, bucket: Any) -> None:
    machine, sections = Machine(tmp_path), {"bucket": bucket} if bucket else {}
    await machine.dies_in("u.1", b"first", **sections)
    async with machine.node(**sections) as one:
        await one.put("u.1", b"second, acknowledged")
        row = one.row("u.1")
        assert row is not None
        assert row.state is State.DIRTY, "it waits on the disk"
        await machine.lands("u.1", b"first")
        assert await one.get("u.1") == b"second, acknowledged"
        await machine.over(one)
        assert memory(machine.alt).content(name("u.1")) == b"second, acknowledged"
        await one.purge()
        assert await one.get("u.1") == b"second, acknowledged"


async def test_a_delete_of_what_a_killed_node_had_sent_is_not_overtaken(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await machine.dies_in("u.1", b"first")
    async with machine.node() as one:
        await one.delete("u.1")
        await machine.lands("u.1", b"first")
        with pytest.raises(NoSuchKey):
            await one.get("u.1")
        await machine.over(one)
        assert memory(machine.alt).content(name("u.1")) is None
        with pytest.raises(NoSuchKey):
            await one.get("u.1")


async def test_an_overwrite_of_what_a_killed_node_was_overwriting_is_not_overtaken(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        await one.put("u.1", b"old")
    await machine.dies_in("u.1", b"first")
    async with machine.node() as one:
        await one.put("u.1", b"second, acknowledged")
        await machine.lands("u.1", b"first")
        await machine.over(one)
        await one.purge()
        assert await one.get("u.1") == memory(machine.alt).content(name("u.1")) == b"second, acknowledged"


async def test_what_only_alt_would_have_is_refused_until_nothing_can_be_late_any_more(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await machine.dies_in("u.1", b"first")
    async with machine.node() as one:
        with pytest.raises(AltUnavailable, match="killed"):
            await one.put("u.1", b"second", ack=Ack.ALT)
        await machine.clock.advance(LATE)
        await one.put("u.1", b"second", ack=Ack.ALT)
        assert await one.get("u.1") == memory(machine.alt).content(name("u.1")) == b"second"


async def test_who_refuses_while_alt_is_down_refuses_this_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await machine.dies_in("u.1", b"first")
    async with machine.node(write=WriteSection(on_alt_down=OnAltDown.REFUSE)) as one:
        with pytest.raises(AltUnavailable, match="killed"):
            await one.put("u.1", b"second")
        assert one.row("u.1") is None
        await machine.clock.advance(LATE)
        await one.put("u.1", b"second")
        assert memory(machine.alt).content(name("u.1")) == b"second"


async def test_other_names_wait_for_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await machine.dies_in("u.1", b"first")
    async with machine.node() as one:
        await one.put("u.2", b"another mail")
        assert memory(machine.alt).content(name("u.2")) == b"another mail"
        assert one.parts.alt_health.steady("mail")


async def test_a_second_kill_does_not_make_it_forgotten(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await machine.dies_in("u.1", b"first")
    await machine.dies_in("u.2", b"another mail")
    async with machine.node() as one:
        for key in ("u.1", "u.2"):
            with pytest.raises(AltUnavailable, match="killed"):
                await one.put(key, b"second", ack=Ack.ALT)


# ---------------------------------------------------------------- what is counted


class Counts:
    """``tierproxy.ports.Unanswered`` without another process."""

    left = 0

    def __init__(self) -> None:
        self.open: list[ObjectName] = []

    def is_left(self, name: ObjectName) -> bool:
        return False

    def sent(self, name: ObjectName) -> None:
        self.open.append(name)

    def answered(self, name: ObjectName) -> None:
        self.open.remove(name)

    def forget_left(self) -> None:
        raise AssertionError("nothing is left")


@pytest.mark.parametrize(
    ("outcome", "certain"),
    [
        (None, True), (AltUnavailable("503"), True), (AltUncertain("no answer"), False),
        (asyncio.CancelledError(), False),
    ],
    ids=["done", "not done", "who knows", "not waited for"],
)  # fmt: skip
async def test_a_change_without_an_answer_may_be_done_for_the_time_of_a_request(
    outcome: BaseException | None, certain: bool
) -> None:
    counts, clock = Counts(), VirtualClock()
    late = LateChanges(counts, clock, 20.0)
    try:
        with late.sending(name("u.1")):
            assert counts.open == [name("u.1")], "before alt hears of it"
            if outcome is not None:
                raise outcome
    except (AltUnavailable, AltUncertain, asyncio.CancelledError):
        pass
    assert counts.open == ([] if certain else [name("u.1")])
    await clock.advance(19.9)
    with late.sending(name("u.2")):
        pass
    assert counts.open == ([] if certain else [name("u.1")])
    await clock.advance(0.1)
    with late.sending(name("u.2")):
        pass
    assert not counts.open
