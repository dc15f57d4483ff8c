"""Nobody waits for an alt that is down, nothing is said to be missing because of that, and the first answer ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.limit import Limited
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, BucketSection, QueueSection, WriteSection
from tierproxy.config.values import Duration
from tierproxy.errors import (
    AltBusy,
    AltCorrupt,
    AltDeferred,
    AltDown,
    AltMissing,
    AltPrecondition,
    AltRefused,
    AltUnavailable,
    AltUncertain,
    DiskUnavailable,
    NoSuchKey,
    RangeUnsatisfiable,
    TierproxyError,
)
from tierproxy.model import Headers, JobKind, ListRequest, ObjectName, OnAltDown, State
from tierproxy.ports import State as Tier
from tierproxy.s3api.faults import fault_of
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.body import Md5Check, MemorySource
from tierproxy.store.breaker import QUIET, TROUBLED
from tierproxy.store.calls import Precondition, Write
from tierproxy.store.health import ALARM, UNREAD, AltHealth, Side
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.rig import BUCKET, Rig, name, pieces, rig
from tierproxy.wiring import Doors

FAILURES = AltSection().breaker_failures
LATER = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))
REFUSE = WriteSection(on_alt_down=OnAltDown.REFUSE)


class Outage:
    """A store, its alt, and its clock."""

    def __init__(self, r: Rig, alt: FaultyAlt, clock: VirtualClock) -> None:
        self.r, self.alt, self.clock = r, alt, clock

    def state(self) -> Tier:
        return self.r.parts.conditions()[-1].state

    def alarms(self) -> set[str]:
        return {alarm for alarm, _ in self.r.parts.alarms.active()}

    async def cold(self, *keys: str) -> None:
        """Objects that only alt has."""
        for key in keys:
            await self.r.put(key, key.encode())
        await self.r.purge(*keys)

    async def reads_down(self, key: str) -> None:
        """Alt fails, until reads are known to be down; then it is well again."""
        await self.clock.advance(QUIET)
        self.alt.down()
        for _ in range(FAILURES):
            with pytest.raises(AltUnavailable):
                await self.r.get(key)
        self.alt.heal()
        assert UNREAD in self.alarms()
        self.alt.calls.clear()

    async def changes_down(self) -> None:
        await self.clock.advance(QUIET)
        self.alt.down()
        for number in range(FAILURES):
            await self.r.put(f"down.{number}", b"x")
            await self.r.idle()
        self.alt.heal()
        assert ALARM in self.alarms()
        self.alt.calls.clear()

    async def well(self) -> None:
        """Until the queue has nothing left."""
        while self.r.parts.catalogue.queue_totals().jobs:
            await self.clock.advance(1)
            await self.r.parts.catalogue.hurry(None, self.clock.now())
            self.r.parts.queue.wake()
            await self.r.idle()


@asynccontextmanager
async def outage(root: Path, section: AltSection | None = None, **sections: Any) -> AsyncIterator[Outage]:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()

    def wrap(doors: Doors) -> Doors:
        return doors if section is None else replace(doors, config=replace(doors.config, alt=section))

    async with rig(root, alt=alt, clock=clock, wrap=wrap, **({"queue": LATER} | sections)) as r:
        yield Outage(r, alt, clock)


# ---------------------------------------------------------------- reads


async def test_a_read_of_what_only_alt_has_is_refused_at_once_and_hits_are_served(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        await o.r.put("near", b"near")
        await o.cold("far")
        await o.reads_down("far")
        with pytest.raises(AltDown) as caught:
            await o.r.get("far")
        assert 0 < caught.value.retry_after <= 1
        assert await o.r.get("near") == b"near"
        assert not o.alt.calls
        assert o.r.parts.alt_health.refused[BUCKET, Side.READS] == 1


async def test_the_answer_names_the_time_until_the_next_probe(tmp_path: Path) -> None:
    async with outage(tmp_path, AltSection(breaker_pause=Duration(40), breaker_max_pause=Duration(40))) as o:
        await o.cold("far")
        await o.reads_down("far")
        with pytest.raises(AltDown) as caught:
            await o.r.get("far")
        fault = fault_of(caught.value)
        assert (fault.status, fault.code) == (503, "ServiceUnavailable")
        assert 20 <= int(dict(fault.headers)[b"retry-after"]) <= 40


async def test_one_read_tries_whether_alt_is_back_and_the_others_do_not_wait_for_it(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        await o.cold("u.1", "u.2")
        await o.reads_down("u.1")
        await o.clock.advance(1)
        gate = o.alt.gate("get")
        probe = asyncio.create_task(o.r.get("u.1"))
        await gate.reached()
        with pytest.raises(AltDown):
            await o.r.get("u.2")
        assert o.state() is Tier.PROBING
        gate.open()
        assert await probe == b"u.1"
        assert await o.r.get("u.2") == b"u.2"
        assert o.state() is Tier.UNSTABLE
        assert UNREAD not in o.alarms()


async def test_a_reader_who_leaves_while_it_probes_keeps_nobody_out(tmp_path: Path) -> None:
    async with outage(tmp_path, bucket=(BucketSection(name=BUCKET, exclusive=False),)) as o:
        await o.cold("u.1")
        await o.reads_down("u.1")
        await o.clock.advance(1)
        gate = o.alt.gate("head")
        probe = asyncio.create_task(o.r.parts.store.head(name("u.1")))
        await gate.reached()
        probe.cancel()
        await asyncio.wait([probe])
        assert (await o.r.parts.store.head(name("u.1"))).size == 3


async def test_who_waits_for_a_first_byte_when_alt_goes_down_waits_no_longer(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        keys = [f"u.{number}" for number in range(50)]
        await o.cold(*keys)
        await o.clock.advance(QUIET)
        gates = [o.alt.gate("get", nth=nth) for nth in range(1, len(keys) + 1)]
        readers = [asyncio.create_task(o.r.get(key)) for key in keys]
        await gates[-1].reached()
        o.alt.down()  # it said nothing; now some of them hear that there is nobody
        for gate in gates[:FAILURES]:
            gate.open()
        outcomes = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(AltDown) == len(keys) - FAILURES
        o.alt.heal()
        await o.clock.advance(1)
        assert [await o.r.get(key) for key in keys] == [key.encode() for key in keys]


async def test_nothing_is_said_to_be_missing_because_alt_is_not_asked(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    await alt.put(name("before"), MemorySource(b"there"), Headers(), md5="")
    async with rig(tmp_path, alt=alt, clock=clock, queue=LATER) as r:  # its catalogue does not know everything
        o = Outage(r, alt, clock)
        await o.reads_down("before")
        create = Write(name("before"), Headers(), 1, pieces(b"x", 1), Md5Check(1), Precondition(create=True))
        asks: list[Callable[[], Awaitable[object]]] = [
            lambda: r.get("before"), lambda: r.get("nobody"), lambda: r.parts.store.head(name("before")),
            lambda: r.parts.store.page(ListRequest(BUCKET)), lambda: r.parts.store.write(create),
            lambda: r.parts.store.copy(name("before"), name("two")),
        ]  # fmt: skip
        for ask in asks:
            with pytest.raises(AltDown):
                await ask()
        assert not alt.calls
        await clock.advance(1)
        assert await r.get("before") == b"there"


async def test_a_body_that_breaks_off_again_and_again_is_trouble(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        await o.cold("u.1")
        for _ in range(TROUBLED):
            o.alt.cut_body(AltUnavailable("gone"))
            with pytest.raises(AltUnavailable):
                await o.r.get("u.1")
            await o.r.idle()
        assert o.state() is Tier.UNSTABLE


async def test_an_alt_that_fails_every_second_read_goes_on_being_asked(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        keys = [f"u.{number}" for number in range(60)]
        await o.cold(*keys)
        served = 0
        for number, key in enumerate(keys):
            await o.clock.advance(1)
            if number % 2:
                o.alt.fail("get")
            try:
                served += await o.r.get(key) == key.encode()
            except AltDown:
                raise AssertionError("a client was locked out") from None
            except AltUnavailable:
                pass
        assert served == 30
        assert o.state() is Tier.UNSTABLE
        assert not o.r.parts.alt_health.steady(BUCKET)


async def test_an_alt_that_takes_ten_seconds_for_each_answer_is_unstable(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        keys = [f"u.{number}" for number in range(TROUBLED)]
        await o.cold(*keys)
        for key in keys:
            gate = o.alt.gate("get")
            reader = asyncio.create_task(o.r.get(key))
            await gate.reached()
            await o.clock.advance(10)
            gate.open()
            assert await reader == key.encode()
        assert o.state() is Tier.UNSTABLE
        assert not o.r.parts.alt_health.steady(BUCKET)
        assert "longer than 5 s" in o.r.parts.conditions()[-1].reason


async def test_who_waits_for_a_place_of_ours_has_not_met_a_slow_alt(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    async with rig(tmp_path, alt=Limited(alt, 1), clock=clock, queue=LATER) as r:
        o = Outage(r, alt, clock)
        keys = [f"u.{number}" for number in range(2 * TROUBLED)]
        await o.cold(*keys)
        gate = alt.gate("get")
        readers = [asyncio.create_task(r.get(key)) for key in keys]
        await gate.reached()
        await clock.advance(10)
        gate.open()
        assert await asyncio.gather(*readers) == [key.encode() for key in keys]
        assert o.state() is Tier.NORMAL  # one of them was slow


# ---------------------------------------------------------------- changes


async def test_while_it_is_down_writes_and_deletes_do_not_wait_for_alt(tmp_path: Path) -> None:
    async with outage(tmp_path, queue=QueueSection()) as o:
        await o.r.put("old", b"old")
        await o.changes_down()
        gates = [o.alt.gate(operation, nth=nth) for operation in ("put", "delete") for nth in range(1, 10)]
        # Whoever asks alt now hangs: these return.
        assert (await o.r.put("u.9", b"x")).entry.tiers == ("disk",)
        await o.r.delete("old")
        with pytest.raises(NoSuchKey):
            await o.r.get("old")
        for gate in gates:
            gate.open()
        await o.well()
        assert (await o.r.put("u.10", b"x")).entry.tiers == ("disk", "alt")
        assert not o.alarms()


async def test_refuse_is_refused_at_once_while_it_is_down_and_asks_again_when_the_pause_is_over(tmp_path: Path) -> None:
    async with outage(tmp_path, write=REFUSE) as o:
        await o.r.put("u.1", b"old")
        await o.clock.advance(QUIET)
        o.alt.down()
        for _ in range(FAILURES):
            with pytest.raises(AltUnavailable):
                await o.r.put("u.1", b"new")
        o.alt.heal()
        o.alt.calls.clear()
        with pytest.raises(AltDown):
            await o.r.put("u.1", b"new")
        assert not o.alt.calls["put"]
        assert await o.r.get("u.1") == b"old"
        await o.clock.advance(1)
        assert (await o.r.put("u.1", b"new")).entry.tiers == ("disk", "alt")


async def test_the_upload_queue_finds_out_that_alt_is_back_by_itself(tmp_path: Path) -> None:
    async with outage(tmp_path, queue=QueueSection()) as o:
        await o.changes_down()
        while o.r.parts.catalogue.queue_totals().jobs:
            await o.clock.advance(1)
            await o.r.idle()
        assert not o.alarms()
        assert o.alt.calls["put"] == FAILURES  # each once: nothing was sent again because it was tried while down


async def test_an_alt_that_takes_no_changes_is_read_from_as_before(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        keys = [f"u.{number}" for number in range(FAILURES + 1)]
        await o.cold(*keys)
        await o.clock.advance(QUIET)
        for nth in range(1, 3 * FAILURES):
            o.alt.fail("put", AltUnavailable("read-only"), nth=nth)
        for key in keys[1:]:
            await o.r.put(f"new.{key}", b"x")
            assert await o.r.get(key) == key.encode()
            await o.r.idle()
        assert o.state() is Tier.DOWN
        assert o.r.parts.conditions()[-1].reason.startswith("changes: ")
        assert "failures in a row: read-only" in o.r.parts.conditions()[-1].reason
        assert await o.r.get(keys[0]) == keys[0].encode()
        assert o.alarms() == {ALARM}
        o.alt.heal()
        await o.well()


async def test_when_changes_go_down_reads_are_tried_one_at_a_time_unless_they_work(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        await o.cold("u.1", "u.2")
        await o.clock.advance(1)
        gate = o.alt.gate("put")
        write = asyncio.create_task(o.r.put("u.3", b"x"))
        await gate.reached()
        await o.clock.advance(11)
        assert (await write).entry.tiers == ("disk",)
        silent = o.alt.gate("get")
        reader = asyncio.create_task(o.r.get("u.1"))
        await silent.reached()
        with pytest.raises(AltDown):
            await o.r.get("u.2")
        silent.open()
        assert await reader == b"u.1"
        assert await o.r.get("u.2") == b"u.2"
        gate.open()
        await o.well()


async def test_one_silent_change_among_others_that_are_answered_is_no_outage(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        gate = o.alt.gate("put")
        write = asyncio.create_task(o.r.put("u.1", b"x"))
        await gate.reached()
        await o.clock.advance(5)
        await o.r.put("u.2", b"x")
        await o.clock.advance(6)
        assert (await write).entry.tiers == ("disk",)
        assert o.state() is Tier.NORMAL
        gate.open()
        await o.well()


async def test_what_became_of_a_change_that_was_sent_is_asked_also_while_reads_are_down(tmp_path: Path) -> None:
    async with outage(tmp_path, write=REFUSE) as o:
        await o.cold("u.1")
        await o.reads_down("u.1")
        await o.r.put("before", b"x")  # changes are well
        o.alt.fail("put", effect=Effect.DONE)
        written = await o.r.put("u.2", b"a mail")
        assert written.entry.tiers == ("disk", "alt")
        assert o.alt.calls["head"] == 1
        row = o.r.row("u.2")
        assert row is not None
        assert row.state is State.CLEAN


async def test_a_conditional_write_with_an_unknown_outcome_keeps_its_truth_while_alt_is_down(tmp_path: Path) -> None:
    async with outage(tmp_path, write=REFUSE) as o:
        await o.r.put("u.1", b"old")
        await o.clock.advance(QUIET)
        landing = o.alt.late("put")
        with pytest.raises(AltUncertain):
            await o.r.put("u.1", b"new")
        o.alt.down()
        for _ in range(FAILURES):  # nobody can say which content is the right one
            with pytest.raises(AltUnavailable):
                await o.r.get("u.1")
        with pytest.raises(AltDown):
            await o.r.get("u.1")
        o.alt.heal()
        await landing.land()
        await o.clock.advance(1)
        assert await o.r.get("u.1") == b"new"


# ---------------------------------------------------------------- what counts


@pytest.mark.parametrize(
    "error",
    [
        AltRefused("403"), AltMissing("404"), AltPrecondition("412"), AltCorrupt("short"), RangeUnsatisfiable(1),
        AltDeferred("409"), AltBusy("no room"), DiskUnavailable("the source"), asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_only_what_is_not_available_counts(error: BaseException) -> None:
    clock = VirtualClock()
    health = AltHealth(AlarmBoard(), clock, AltSection(), random=lambda: 1.0)
    await clock.advance(60)
    for _ in range(30):
        for side in Side:
            health.ended(health.visit(BUCKET, side), error)
    assert [one.state for one in health.conditions()] == [Tier.NORMAL]


@pytest.mark.parametrize("error", [AltUnavailable("no route"), AltUncertain("reset")])
async def test_what_is_not_available_counts(error: TierproxyError) -> None:
    clock = VirtualClock()
    health = AltHealth(AlarmBoard(), clock, AltSection(), random=lambda: 1.0)
    await clock.advance(60)
    for _ in range(FAILURES):
        health.ended(health.visit(BUCKET, Side.CHANGES), error)
    assert health.down(BUCKET)
    assert not health.down("other")
    with pytest.raises(AltDown):
        health.visit(BUCKET, Side.CHANGES)


async def test_a_refusal_while_it_is_down_is_an_answer(tmp_path: Path) -> None:
    async with outage(tmp_path) as o:
        await o.cold("u.1")
        await o.reads_down("u.1")
        await o.clock.advance(1)
        o.alt.fail("get", AltRefused("403"))
        with pytest.raises(AltRefused) as caught:
            await o.r.get("u.1")
        fault = fault_of(caught.value)
        assert (fault.status, bool(fault.hint)) == (502, True)
        assert o.state() is Tier.UNSTABLE
        assert await o.r.get("u.1") == b"u.1"


class HalfDown:
    """An alt in which one bucket is not to be had."""

    def __init__(self, alt: MemoryAlt, bucket: str) -> None:
        self._alt, self._bucket = alt, bucket
        self.broken = False

    def __getattr__(self, attribute: str) -> object:
        method = getattr(self._alt, attribute)

        async def call(first: object, *args: object, **kwargs: object) -> object:
            if self.broken and getattr(first, "bucket", "") == self._bucket:
                raise AltUnavailable("this bucket is not to be had")
            return await method(first, *args, **kwargs)

        return call if attribute in {"get", "head", "put", "delete", "page"} else method


async def test_one_buckets_trouble_is_not_anothers(tmp_path: Path) -> None:
    alt, clock = HalfDown(MemoryAlt(), BUCKET), VirtualClock()
    buckets = (BucketSection(name=BUCKET), BucketSection(name="other"))
    async with rig(tmp_path, alt=alt, clock=clock, bucket=buckets, queue=LATER) as r:  # type: ignore[arg-type]
        other = ObjectName("other", "u.1")
        write = Write(other, Headers(), 1, pieces(b"o", 1), Md5Check(1))
        await r.put("u.1", b"m")
        await r.parts.store.write(write)
        await r.purge()
        await clock.advance(QUIET)
        alt.broken = True
        for _ in range(FAILURES):
            with pytest.raises(AltUnavailable):
                await r.get("u.1")
        with pytest.raises(AltDown):
            await r.get("u.1")
        reading = await r.parts.store.open(other)
        assert reading.content == b"o"
        await reading.close()
        states = {one.subject: one.state for one in r.parts.conditions() if one.tier == "alt"}
        assert states == {BUCKET: Tier.DOWN, "other": Tier.NORMAL}
        alt.broken = False


async def test_a_restart_begins_at_normal_and_keeps_what_is_queued(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    async with rig(tmp_path, alt=alt, clock=clock, queue=LATER) as r:
        o = Outage(r, alt, clock)
        await o.changes_down()
        await r.delete("down.0")
    async with rig(tmp_path, alt=alt, clock=clock, queue=LATER) as r:
        o = Outage(r, alt, clock)
        assert o.state() is Tier.NORMAL
        assert ("down.0", JobKind.DELETE) in r.journal()
        await o.well()
        assert isinstance(alt.alt, MemoryAlt)
        assert [alt.alt.content(name(f"down.{number}")) for number in range(3)] == [None, b"x", b"x"]


async def test_buckets_that_clients_make_do_not_fill_the_memory() -> None:
    clock = VirtualClock()
    health = AltHealth(AlarmBoard(), clock, AltSection(), random=lambda: 1.0)
    await clock.advance(60)
    for _ in range(FAILURES):
        health.ended(health.visit("down", Side.READS), AltUnavailable())
    for number in range(5000):
        health.ended(health.visit(f"bucket-{number}", Side.READS))
    assert len(health.conditions()) <= 2000
    assert any(one.state is Tier.DOWN for one in health.conditions())
