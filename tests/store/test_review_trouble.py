"""What a second look at the health of disk and alt has found: each of these was red once."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.disk.rigs import open_files
from tests.store.sick import ward
from tests.store.test_patience import PATIENCE, silent
from tierproxy.config.sections import AltSection
from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import DataDirectory
from tierproxy.disk.probe import Probe
from tierproxy.errors import AltCorrupt, AltUnavailable, DiskHangs, OutOfSpace
from tierproxy.model import Ack, OnAltDown
from tierproxy.model import Tier as Near
from tierproxy.offload import WatchedPool
from tierproxy.ports import State as Tier
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.around import IN_MEMORY
from tierproxy.store.health import AltHealth, Side
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import name, rig

MIB = 2**20
LARGE = bytes(range(251)) * (3 * MIB // 251)
ERROR = AltUnavailable("no route")


# ---------------------------------------------------------------- the disk


async def test_a_probe_that_was_never_begun_keeps_nobody_from_the_next(tmp_path: Path) -> None:
    """A machine that stands still for a moment gives up a probe before its thread has seen it."""
    DataDirectory(tmp_path).make(Files())
    clock = VirtualClock()
    pool = WatchedPool("probe", 1, clock, patience=2.0)
    probe = Probe(tmp_path, Files(), pool)
    start, pool._start_thread = pool._start_thread, lambda: None  # type: ignore[method-assign]
    asked = asyncio.create_task(probe.ask())
    await clock.advance(3)
    with pytest.raises(DiskHangs):
        await asked
    pool._start_thread = start  # type: ignore[method-assign]
    await probe.ask()
    await pool.close()


async def test_a_disk_that_goes_down_while_room_is_made_costs_a_write_nothing(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        space = w.rig.parts.space
        reserve = space._reserve

        def full(*_: object) -> Any:
            space._reserve = reserve  # type: ignore[method-assign]
            raise OutOfSpace("made to be full")

        async def relieve(_wanted: int, _bucket: str) -> None:
            await w.down()

        space._reserve, space.relieve = full, relieve  # type: ignore[method-assign, assignment]
        written = await w.result(w.rig.put("u.1", b"a mail"))
        assert written.entry.tiers == ("alt",)
        assert not space.reserved
        assert w.in_alt("u.1") == b"a mail"


async def test_a_copy_that_meets_a_disk_going_down_keeps_no_file_open(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", LARGE)
        disk = w.rig.parts.disk
        opened = disk.open

        async def then_down(*args: Any, **kwargs: Any) -> Any:
            found = await opened(*args, **kwargs)
            await w.down()
            return found

        disk.open = then_down  # type: ignore[method-assign]
        gc.disable()
        try:
            copied = await w.result(w.rig.parts.store.copy(name("u.1"), name("u.2")))
            disk.open = opened  # type: ignore[method-assign]
            await w.recovers()
            assert copied.entry.tiers == ("alt",)
            assert not [path for path in open_files(w.rig.root) if "blobs/" in str(path)]
        finally:
            gc.enable()


async def test_what_alt_answers_wrongly_is_read_from_a_disk_in_doubt(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.down()
        w.alt.fail("get", AltCorrupt("wrong bytes"))
        assert await w.result(w.rig.get("u.1")) == b"a mail"


async def test_a_node_that_stops_while_the_disk_is_looked_through_leaves_no_timer(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.probing()
        health = asyncio.create_task(w.rig.parts.disk_health.run())
        await w.passes(1)
        before = asyncio.all_tasks()
        assert [task for task in before if "_sleep" in str(task.get_coro())]
        health.cancel()
        await asyncio.gather(health, return_exceptions=True)


async def test_a_file_that_is_let_go_while_the_disk_hangs_is_given_back(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", LARGE)
        reading = await w.rig.parts.store.open(name("u.1"))
        assert reading.tier is Near.DISK
        calls = w.rig.parts.disk_calls
        stuck, calls._stuck = calls._stuck, 2 * calls.size
        await reading.close()
        calls._stuck = stuck
        await w.rig.parts.disk.tidy()
        assert not [path for path in open_files(w.rig.root) if "blobs/" in path]


async def test_a_machine_without_another_thread_is_served_by_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    pool = WatchedPool("test", 2, clock, patience=10.0)

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        waiting = [asyncio.create_task(pool.run(str, number)) for number in range(3)]
        await clock.settle()
    assert await asyncio.wait_for(pool.run(str, 3), 30) == "3"
    assert await asyncio.gather(*waiting) == ["0", "1", "2"]
    await pool.close()


async def test_a_look_through_that_breaks_is_heard_of_and_begun_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ward(tmp_path) as w:
        health = w.rig.parts.disk_health
        look = health.look_through

        async def broken() -> None:
            health.look_through = look
            raise ValueError("a defect")

        await w.down()
        health.look_through = broken
        w.files.heal()
        await w.until(lambda: "a defect" in health.conditions()[0].reason)
        assert w.state is Tier.DOWN
        await w.until(lambda: w.state is Tier.NORMAL)
        assert "look-through broke" in caplog.text


async def test_a_file_that_goes_while_it_is_uploaded_is_uploaded_all_the_same(tmp_path: Path) -> None:
    """Who has it open reads what was there, and the disk's copy is made anew."""
    async with ward(tmp_path) as w:
        gate = w.alt.gate("put")
        await w.rig.put("u.1", LARGE, ack=Ack.DISK)
        await gate.reached()
        w.file_of("u.1").unlink()
        gate.open()
        await w.rig.idle()
        assert w.in_alt("u.1") == LARGE
        assert await w.result(w.rig.get("u.1")) == LARGE
        assert not w.rig.parts.alarms.active()


async def test_what_went_while_the_disk_was_down_goes_from_it_although_it_was_nearly_everything(tmp_path: Path) -> None:
    """More files without a row than with one look like another catalogue's; of these it is known whose they are."""
    async with ward(tmp_path) as w:
        await asyncio.gather(*(w.rig.put(f"u.{number}", b"a mail") for number in range(120)))
        await w.down()
        for number in range(110):
            await w.result(w.rig.delete(f"u.{number}"))
        await w.recovers()
        assert len(w.files_left()) == 10


# ---------------------------------------------------------------- alt


async def test_one_side_that_goes_down_is_a_doubt_of_the_other_also_before_anybody_asked_it() -> None:
    health, clock = health_of()
    await clock.advance(10)
    health.silent("mail", clock.monotonic() - 5, ERROR)
    health.visit("mail", Side.READS)
    with pytest.raises(AltUnavailable):
        health.visit("mail", Side.READS)


@pytest.mark.parametrize("answered", [False, True])
async def test_reads_that_fail_until_they_are_down_are_a_doubt_of_changes_that_nobody_has_answered(
    answered: bool,
) -> None:
    health, clock = health_of()
    await clock.advance(10)
    visits = [health.visit("mail", Side.READS) for _ in range(AltSection().breaker_failures)]
    await clock.advance(5)
    if answered:
        health.ended(health.visit("mail", Side.CHANGES))
    for visit in visits:
        health.ended(visit, ERROR)
    assert health.down("mail") is not answered
    first = health.visit("mail", Side.CHANGES)
    if not answered:
        with pytest.raises(AltUnavailable):
            health.visit("mail", Side.CHANGES)
        health.ended(first)
    assert not health.down("mail")


def health_of(buckets: tuple[str, ...] = ()) -> tuple[AltHealth, VirtualClock]:
    clock = VirtualClock()
    return AltHealth(AlarmBoard(), clock, AltSection(), random=lambda: 1.0, buckets=lambda: buckets), clock


async def test_a_large_upload_that_gets_on_is_no_silence_of_alt_to_who_waits_for_it(tmp_path: Path) -> None:
    """The new content of a key waits for the upload of the old one, which is large and reads its blob all the time."""
    async with silent(tmp_path, OnAltDown.REFUSE) as s:
        gate, again = Gate(), Gate()

        async def put(_name: Any, source: Any, *_: Any, **__: Any) -> str:
            await gate.passage()
            await source.read(0, MIB)
            await again.passage()
            raise AltUnavailable("no")

        taken, s.alt.put = s.alt.put, put  # type: ignore[method-assign, assignment]
        await s.r.put("u.1", LARGE, ack=Ack.DISK)
        await gate.reached()
        task = asyncio.create_task(s.r.put("u.1", b"new"))
        await s.clock.advance(PATIENCE - 1)
        gate.open()
        await again.reached()
        await s.clock.advance(2)
        await asyncio.wait([task])
        assert isinstance(task.exception(), AltUnavailable)
        assert s.r.parts.conditions()[-1].state is Tier.NORMAL
        task = asyncio.create_task(s.r.put("u.1", b"new"))
        await s.clock.advance(PATIENCE + 1)
        assert s.r.parts.conditions()[-1].state is Tier.DOWN, "it did not get on"
        s.alt.put = taken  # type: ignore[method-assign]
        again.open()
        await asyncio.wait([task])
        await s.r.idle()
        await s.tidy()


async def test_a_request_that_fails_while_the_file_is_waited_for_is_nobodys_loose_end(tmp_path: Path) -> None:
    """asyncio complains of a task whose error nobody has ever looked at."""
    async with silent(tmp_path) as s:
        gate, kept = s.alt.gate("put"), Gate()
        s.alt.fail("put", AltUnavailable("no"))
        writer = s.r.parts.store._writer
        writer._kept = kept.guard(writer._kept)  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(s.r.put("u.1", b"a mail"))
        await gate.reached()
        (sending,) = [one for one in asyncio.all_tasks() if one.get_name() == "change of alt"]
        await s.clock.advance(PATIENCE + 1)
        await kept.reached()
        gate.open()
        await asyncio.wait([sending])
        kept.open()
        await asyncio.wait([task])
        assert task.result().entry.tiers == ("disk",)
        assert not sending._log_traceback
        await s.tidy()


async def test_who_leaves_during_the_commit_of_a_large_body_lets_nobody_in_between(tmp_path: Path) -> None:
    """The order of the name is held until the row is there."""
    body = bytes(IN_MEMORY + 1)
    async with rig(tmp_path, clock=VirtualClock()) as r:
        catalogue, gate = r.parts.catalogue, Gate()
        around = r.parts.store._writer._around
        around.commit = gate.guard(around.commit)  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(r.put("u.1", body, ack=Ack.ALT))
        await gate.reached()
        task.cancel()
        await asyncio.wait([task])
        assert r.parts.lookup._order.held(name("u.1"))
        gate.open()
        await r.idle()
        assert not r.parts.lookup._order.held(name("u.1"))
        row = catalogue.find(name("u.1"))
        assert row is not None
        assert row.size == len(body)
