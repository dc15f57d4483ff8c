"""What was sent to alt and not answered may be done after what is sent next: so nothing else is sent over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, BucketSection, QueueSection, WriteSection
from tierproxy.config.values import Duration
from tierproxy.disk.fsio import Files
from tierproxy.errors import AltHeld, AltUnavailable, AltUncertain, BadBody, NoSuchKey
from tierproxy.model import Ack, Headers, ObjectName, OnAltDown, State
from tierproxy.near.versions import VersionTable
from tierproxy.node import Node
from tierproxy.ports import UNHEARD
from tierproxy.store.body import Md5Check, MemorySource
from tierproxy.store.calls import Write
from tierproxy.store.late import LateChanges, Made
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt, Landing
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
        with pytest.raises(AltUnavailable, match="before this one"):
            await one.put("u.1", b"second", ack=Ack.ALT)
        await machine.clock.advance(LATE)
        await one.put("u.1", b"second", ack=Ack.ALT)
        assert await one.get("u.1") == memory(machine.alt).content(name("u.1")) == b"second"


async def test_who_refuses_while_alt_is_down_refuses_this_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    await machine.dies_in("u.1", b"first")
    async with machine.node(write=WriteSection(on_alt_down=OnAltDown.REFUSE)) as one:
        with pytest.raises(AltUnavailable, match="before this one"):
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
            with pytest.raises(AltUnavailable, match="before this one"):
                await one.put(key, b"second", ack=Ack.ALT)


# ---------------------------------------------------------------- within one process


async def lost(one: Rig, alt: FaultyAlt, key: str, body: bytes, ack: Ack = Ack.ALT) -> Landing:
    """A write that nobody has heard of again; alt will do it when it is told to."""
    landing = alt.late("put")
    with pytest.raises(AltUncertain):
        await one.put(key, body, ack=ack)
    return landing


@pytest.mark.parametrize("ack", [Ack.BOTH, Ack.DISK])
async def test_a_write_is_not_overtaken_by_one_whose_answer_was_lost(tmp_path: Path, ack: Ack) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        landing = await lost(one, machine.alt, "u.1", b"first")
        await one.put("u.1", b"second, acknowledged", ack=ack)
        await one.idle()
        await landing.land()
        assert await one.get("u.1") == b"second, acknowledged"
        await machine.over(one)
        assert memory(machine.alt).content(name("u.1")) == b"second, acknowledged"
        await one.purge()
        assert await one.get("u.1") == b"second, acknowledged"
        assert not one.parts.alarms.active()


async def test_a_write_is_not_undone_by_a_delete_whose_answer_was_lost(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        await one.put("u.1", b"first")
        landing = machine.alt.late("delete")
        await one.delete("u.1")
        await one.put("u.1", b"second, acknowledged")
        await landing.land()
        await machine.over(one)
        await one.purge()
        assert await one.get("u.1") == b"second, acknowledged"


async def test_a_delete_is_not_undone_by_a_write_whose_answer_was_lost(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        landing = await lost(one, machine.alt, "u.1", b"first")
        await one.delete("u.1")
        await landing.land()
        with pytest.raises(NoSuchKey):
            await one.get("u.1")
        await machine.over(one)
        assert memory(machine.alt).content(name("u.1")) is None


async def test_the_same_again_waits_for_nothing(tmp_path: Path) -> None:
    """Whichever is done last: that is what the queue, and a client who tries again, want."""
    machine = Machine(tmp_path)
    async with machine.node() as one:
        landing = await lost(one, machine.alt, "u.1", b"a mail")
        await one.put("u.1", b"a mail", ack=Ack.ALT)
        assert memory(machine.alt).content(name("u.1")) == b"a mail"
        await landing.land()
        await one.put("u.2", b"another")
        machine.alt.late("delete")
        await one.delete("u.2")
        await one.parts.catalogue.hurry(None, machine.clock.now())
        await one.drained_now()
        assert memory(machine.alt).content(name("u.2")) is None


async def test_other_headers_are_another_content(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        await lost(one, machine.alt, "u.1", b"a mail")
        with pytest.raises(AltHeld) as refused:
            await one.put("u.1", b"a mail", ack=Ack.ALT, headers=Headers(content_type="text/plain"))
        assert refused.value.retry_after == LATE


async def test_a_copy_that_was_lost_and_goes_by_the_bytes_waits_for_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        await one.put("u.1", b"a mail")
        machine.alt.fail("copy", AltUncertain("no answer"))
        await one.parts.store.copy(name("u.1"), name("u.2"))
        assert memory(machine.alt).content(name("u.2")) == b"a mail"


@pytest.mark.parametrize(("backoff", "wait"), [(LATE + 5, LATE - 5), (LATE / 4, LATE / 4)], ids=["long", "short"])
async def test_what_the_queue_must_not_send_yet_is_no_failure_and_is_sent_as_soon_as_it_may_be(
    tmp_path: Path, backoff: float, wait: float
) -> None:
    """No job waits for longer than ``max_backoff``: who sees one that does takes the clock for set back."""
    machine = Machine(tmp_path)
    queue = QueueSection(backoff=Duration(backoff), max_backoff=Duration(backoff))
    async with machine.node(queue=queue) as one:
        await lost(one, machine.alt, "u.1", b"first")
        await machine.clock.advance(5)
        await one.put("u.1", b"second")
        await machine.clock.settle()
        await one.idle()
        assert not one.parts.counters.upload_failures
        (job,) = one.parts.catalogue.jobs()
        assert (job.attempts, job.next_try_at - machine.clock.now()) == (0, wait)
        while machine.clock.monotonic() <= LATE:  # by seconds: the journal is written by real threads
            await machine.clock.advance(1)
            await one.idle()
        assert memory(machine.alt).content(name("u.1")) == b"second"


async def test_a_body_that_broke_off_was_never_asked_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        for failure in (BadBody("the client has left"), asyncio.CancelledError()):
            with pytest.raises(type(failure)):
                await one.parts.store.write(stream("u.1", failure))
        await one.put("u.1", b"a mail", ack=Ack.ALT)


async def test_a_stream_is_not_completed_over_what_was_lost_while_it_came(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        landings: list[Landing] = []

        async def meanwhile() -> None:
            landings.append(await lost(one, machine.alt, "u.1", b"first"))

        with pytest.raises(AltHeld):
            await one.parts.store.write(stream("u.1", meanwhile))
        await landings[0].land()
        assert memory(machine.alt).content(name("u.1")) == b"first"
        await machine.clock.advance(LATE)
        await one.parts.store.write(stream("u.1", None))
        assert await one.get("u.1") == 2 * HALF


async def test_an_end_in_order_leaves_what_it_has_given_up_to_the_next_node(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        landing = await lost(one, machine.alt, "u.1", b"first")
    async with machine.node() as one:
        await one.put("u.1", b"second, acknowledged")
        await landing.land()
        await machine.over(one)
        assert memory(machine.alt).content(name("u.1")) == b"second, acknowledged"
    assert not list(machine.memory.iterdir())


async def test_an_end_in_order_leaves_nothing_when_nothing_can_be_late(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with machine.node() as one:
        await lost(one, machine.alt, "u.1", b"first")
        await machine.clock.advance(LATE)
    assert not list(machine.memory.iterdir())


HALF = b"h" * (5 * 2**20)


def stream(key: str, between: BaseException | Callable[[], Awaitable[None]] | None) -> Write:
    """A body too large for memory, to alt alone, and what happens in the middle of it."""

    async def body() -> AsyncIterator[bytes]:
        yield HALF
        if isinstance(between, BaseException):
            raise between
        if between is not None:
            await between()
        yield HALF

    return Write(name(key), Headers(), 2 * len(HALF), body(), Md5Check(2 * len(HALF)), ack=Ack.ALT)


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
        with late.sending(name("u.1"), Made("1", Headers())):
            assert counts.open == [name("u.1")], "before alt hears of it"
            if outcome is not None:
                raise outcome
    except (AltUnavailable, AltUncertain, asyncio.CancelledError):
        pass
    assert counts.open == ([] if certain else [name("u.1")])
    await clock.advance(19.9)
    with late.sending(name("u.2"), None):
        pass
    assert counts.open == ([] if certain else [name("u.1")])
    await clock.advance(0.1)
    with late.sending(name("u.2"), None):
        pass
    assert not counts.open


async def test_two_that_were_lost_at_the_same_moment_are_both_over() -> None:
    counts, clock = Counts(), VirtualClock()
    late, made = LateChanges(counts, clock, 20.0), Made("1", Headers())
    for _ in range(2):
        with pytest.raises(AltUncertain), late.sending(name("u.1"), made):
            raise AltUncertain
    assert counts.open == [name("u.1")] * 2
    await clock.advance(20.0)
    late.admit(name("u.1"), None)
    assert not counts.open


async def test_an_answer_that_was_lost_on_the_way_to_success_counts(tmp_path: Path) -> None:
    """Alt's own second try succeeded: the first one may still be done."""
    machine = Machine(tmp_path)
    async with machine.node() as one:
        put = machine.alt.put

        async def tried_twice(*args: Any, **named: Any) -> str:
            UNHEARD.get()()
            return await put(*args, **named)

        machine.alt.put = tried_twice  # type: ignore[method-assign]
        await one.put("u.1", b"first", ack=Ack.ALT)
        with pytest.raises(AltHeld):
            await one.put("u.1", b"second", ack=Ack.ALT)


def test_what_is_not_known_is_the_same_as_nothing() -> None:
    counts, clock = Counts(), VirtualClock()
    late = LateChanges(counts, clock, 20.0)
    for made in (None, Made("1", Headers())):
        with pytest.raises(AltUncertain), late.sending(name(repr(made)), made):
            raise AltUncertain
        with pytest.raises(AltHeld):
            late.admit(name(repr(made)), None)
    late.admit(name(repr(made)), Made("1", Headers()))
    assert Made.of("", Headers()) is Made.of("1", None) is None
    assert Made.of("1", Headers(checksums={"crc32": "AAAAAA=="})) == Made.of("1", Headers())
