"""The upload queue: what outlives what, in which order, and who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import hurry_from_outside
from tierproxy.config.sections import QueueSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import AltRefused, AltUnavailable, DiskUnavailable
from tierproxy.model import Ack, Job, JobKind, State
from tierproxy.store.upload import OVERDUE
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.rig import Rig, name, rig
from tierproxy.wiring import Doors


class Bench:
    """A rig on virtual time, the alt tier behind it, and the jitter."""

    def __init__(self, rig: Rig, alt: FaultyAlt, clock: VirtualClock, catalogue: FaultyCatalogue) -> None:
        self.rig = rig
        self.alt = alt
        self.clock = clock
        self.catalogue = catalogue

    async def pass_time(self, seconds: float) -> None:
        """Time passes, and what it woke is done."""
        await self.clock.advance(seconds)
        for _ in range(5):
            await self.clock.settle()
            await self.rig.idle()
        await asyncio.sleep(0.005)
        await self.rig.idle()

    def in_alt(self, key: str) -> bytes | None:
        assert isinstance(self.alt.alt, MemoryAlt)
        return self.alt.alt.content(name(key))

    def puts(self) -> int:
        return self.alt.calls["put"]


@asynccontextmanager
async def bench(root: Path, *, jitter: float = 1.0, alt: FaultyAlt | None = None, **queue: Any) -> AsyncIterator[Bench]:
    alt, clock, catalogues = alt or FaultyAlt(MemoryAlt()), VirtualClock(), list[FaultyCatalogue]()

    def wrap(doors: Doors) -> Doors:
        catalogues.append(FaultyCatalogue(doors.catalogue))
        return replace(doors, random=lambda: jitter, catalogue=catalogues[0].port)

    section = QueueSection(**queue)
    async with rig(root, alt=alt, clock=clock, queue=section, wrap=wrap) as r:
        yield Bench(r, alt, clock, catalogues[0])


@pytest.mark.parametrize(("jitter", "factor"), [(1.0, 1.0), (0.0, 0.5)])
async def test_the_wait_doubles_with_jitter_up_to_its_limit(tmp_path: Path, jitter: float, factor: float) -> None:
    async with bench(tmp_path, jitter=jitter, backoff=Duration(2), max_backoff=Duration(10)) as b:
        b.alt.down()
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.pass_time(0)
        waits = []
        for _ in range(5):
            (job,) = b.rig.parts.catalogue.jobs()
            waits.append(round(job.next_try_at - b.clock.now(), 6))
            await b.pass_time(job.next_try_at - b.clock.now() + 0.001)
        assert waits == [pytest.approx(wait * factor, abs=0.01) for wait in (2, 4, 8, 10, 10)]
        assert job.last_error is not None
        assert "AltUnavailable" in job.last_error
        b.alt.heal()
        await b.pass_time(11)
        assert b.in_alt("u.1") == b"a mail"


async def test_jobs_are_tried_in_the_order_they_became_due(tmp_path: Path) -> None:
    async with bench(tmp_path, workers=1, backoff=Duration(3600), max_backoff=Duration(3600)) as b:
        b.alt.down()
        for number in range(6):
            await b.rig.put(f"u.{number}", b"a mail", ack=Ack.DISK)
            await b.pass_time(0)
        b.alt.heal()
        b.alt.history.clear()
        await b.rig.parts.catalogue.hurry(None, b.clock.now())
        await b.rig.drained()
        assert [subject[-3:] for operation, subject in b.alt.history if operation == "put"] == [
            f"u.{number}" for number in range(6)
        ]


async def test_no_more_than_the_set_workers_upload_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path, workers=2) as b:
        gates = [b.alt.gate("put", nth=nth) for nth in range(1, 6)]
        for number in range(5):
            await b.rig.put(f"u.{number}", b"a mail", ack=Ack.DISK)
        await gates[0].reached()
        await gates[1].reached()
        await b.clock.settle()
        assert b.puts() == 2
        for gate in gates:
            gate.open()
        await b.rig.drained()
        assert b.puts() == 5


async def test_a_refusal_is_tried_again_for_ever(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(1), max_backoff=Duration(1)) as b:
        for nth in range(1, 20):
            b.alt.fail("put", AltRefused("quota"), nth=nth)
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        for _ in range(25):
            await b.pass_time(1.1)
        assert b.in_alt("u.1") == b"a mail"


async def test_an_overdue_upload_is_an_alarm_until_it_is_done(tmp_path: Path) -> None:
    async with bench(tmp_path, deadline=Duration(100), backoff=Duration(1), max_backoff=Duration(30)) as b:
        b.alt.down()
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.pass_time(90)
        assert (OVERDUE, "queue") not in b.rig.parts.alarms.active()
        await b.pass_time(20)
        assert (OVERDUE, "queue") in b.rig.parts.alarms.active()
        b.alt.heal()
        await b.pass_time(40)
        await b.pass_time(2)
        assert not b.rig.parts.alarms.active()


async def test_a_wall_clock_set_back_does_not_hold_up_the_queue(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(10), max_backoff=Duration(10)) as b:
        b.alt.fail("put", AltUnavailable("once"))
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.pass_time(0)
        b.clock.jump_wall(-86400)
        for _ in range(30):
            await b.pass_time(1.1)
            if b.in_alt("u.1") is not None:  # the journal is changed in a thread, which may take longer
                break
        assert b.in_alt("u.1") == b"a mail"


async def test_a_wall_clock_set_forward_loses_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(10), max_backoff=Duration(10)) as b:
        b.alt.down()
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.rig.delete("u.2")
        b.clock.jump_wall(86400 * 365)
        await b.pass_time(3)
        assert len(b.rig.journal()) == 2
        b.alt.heal()
        await b.pass_time(30)
        assert b.in_alt("u.1") == b"a mail"
        assert not b.rig.journal()


async def test_another_process_can_hurry_a_job(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(3600), max_backoff=Duration(3600)) as b:
        b.alt.fail("put", AltUnavailable("once"))
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.pass_time(0)
        await b.pass_time(5)
        assert b.in_alt("u.1") is None
        assert hurry_from_outside(tmp_path, [name("u.1")], b.clock.now()) == 1
        await b.pass_time(2)
        assert b.in_alt("u.1") == b"a mail"


async def test_a_job_survives_restarts(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    alt.down()
    for number in range(3):
        async with bench(tmp_path, alt=alt) as b:
            await b.rig.put(f"u.{number}", b"a mail", ack=Ack.DISK)
            assert len(b.rig.journal()) == number + 1
    alt.heal()
    async with bench(tmp_path, alt=alt) as b:
        await b.pass_time(120)
        assert [b.in_alt(f"u.{number}") for number in range(3)] == [b"a mail"] * 3


@pytest.mark.parametrize("limit", [{"max_jobs": 2}, {"max_bytes": Size(12)}])
async def test_a_full_queue_takes_nothing_more_and_drops_nothing(tmp_path: Path, limit: dict[str, Any]) -> None:
    async with bench(tmp_path, backoff=Duration(3600), max_backoff=Duration(3600), **limit) as b:
        b.alt.down()
        for number in range(2):
            await b.rig.put(f"u.{number}", b"a mail", ack=Ack.DISK)
        for ack in (Ack.DISK, Ack.BOTH):
            with pytest.raises(AltUnavailable):
                await b.rig.put("u.3", b"a mail", ack=ack)
        assert len(b.rig.journal()) == 2
        b.alt.heal()
        written = await b.rig.put("u.3", b"a mail", ack=Ack.DISK)
        assert written.entry.state is State.CLEAN, "as ack both"
        await b.rig.parts.catalogue.hurry(None, b.clock.now())
        await b.rig.drained()


async def test_deletes_are_queued_even_when_the_queue_is_full(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(3600), max_backoff=Duration(3600), max_jobs=1) as b:
        await b.rig.put("u.1", b"a mail")
        b.alt.down()
        await b.rig.put("u.2", b"a mail", ack=Ack.DISK)
        await b.rig.delete("u.1")
        assert ("u.1", JobKind.DELETE) in b.rig.journal()


async def test_a_failure_that_cannot_be_written_down_does_not_make_the_queue_spin(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(10), max_backoff=Duration(10)) as b:
        b.alt.down()
        b.catalogue.fail(b.catalogue.changes + 2, DiskUnavailable("database"))  # the put's own commit is the first
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        for _ in range(3):
            await b.clock.settle()
            await asyncio.sleep(0.002)
        assert b.puts() == 1
        b.alt.heal()
        await b.clock.advance(11)
        await b.rig.drained()
        assert b.in_alt("u.1") == b"a mail"


async def test_a_defect_in_a_try_does_not_make_the_queue_spin(tmp_path: Path) -> None:
    async with bench(tmp_path, backoff=Duration(10), max_backoff=Duration(10)) as b:
        b.alt.fail("put", ZeroDivisionError("a defect"))
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        for _ in range(3):
            await b.clock.settle()
            await asyncio.sleep(0.002)
        assert b.puts() == 1
        await b.pass_time(11)
        assert b.in_alt("u.1") == b"a mail"


async def test_a_request_does_its_own_job_without_waiting_for_its_turn(tmp_path: Path) -> None:
    async with bench(tmp_path, workers=1) as b:
        gate = b.alt.gate("put")
        await b.rig.put("slow", b"a mail", ack=Ack.DISK)
        await gate.reached()
        await b.rig.delete("other")
        assert ("delete", str(name("other"))) in b.alt.history
        gate.open()
        await b.rig.drained()


async def test_an_overwritten_job_is_never_uploaded_over_the_newer_one(tmp_path: Path) -> None:
    async with bench(tmp_path, workers=4) as b:
        gate = b.alt.gate("put")
        await b.rig.put("u.1", b"old", ack=Ack.DISK)
        await gate.reached()
        for number in range(5):
            await b.rig.put("u.2", b"%d" % number, ack=Ack.DISK)
        writers = [asyncio.ensure_future(b.rig.put("u.1", b"%d" % number, ack=Ack.DISK)) for number in range(5)]
        await asyncio.gather(*writers)
        gate.open()
        await b.rig.drained()
        assert b.in_alt("u.1") == await b.rig.get("u.1")
        assert b.in_alt("u.2") == b"4"


async def test_a_lingering_upload_begins_when_its_time_is_over(tmp_path: Path) -> None:
    async with bench(tmp_path, linger=Duration(0.5)) as b:
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.pass_time(0.4)
        assert b.puts() == 0
        await b.rig.put("u.2", b"another", ack=Ack.DISK)
        await b.pass_time(0.2)
        assert (b.in_alt("u.1"), b.in_alt("u.2")) == (b"a mail", None)
        await b.pass_time(0.4)
        assert b.in_alt("u.2") == b"another"
        assert (b.puts(), b.rig.parts.catalogue.jobs()) == (2, [])


async def test_what_is_overwritten_or_deleted_while_it_lingers_is_not_sent(tmp_path: Path) -> None:
    async with bench(tmp_path, linger=Duration(0.5)) as b:
        await b.rig.put("u.1", b"old", ack=Ack.DISK)
        await b.rig.put("u.2", b"gone soon", ack=Ack.DISK)
        await b.rig.put("u.1", b"new", ack=Ack.DISK)
        await b.rig.delete("u.2")
        await b.pass_time(0.6)
        assert (b.in_alt("u.1"), b.in_alt("u.2"), b.puts()) == (b"new", None, 1)


async def test_a_write_that_somebody_waits_for_does_not_linger(tmp_path: Path) -> None:
    async with bench(tmp_path, linger=Duration(60)) as b:
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.rig.put("u.1", b"newer", ack=Ack.BOTH)
        assert b.in_alt("u.1") == b"newer"


async def test_a_queue_that_wakes_in_time_is_not_woken_by_each_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    async with bench(tmp_path, linger=Duration(0.5)) as b:
        await b.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await b.pass_time(0.1)
        looks: list[float] = []
        due = b.catalogue.inner.due

        def counted(now: float, limit: int) -> list[Job]:
            looks.append(now)
            return due(now, limit)

        monkeypatch.setattr(b.catalogue.inner, "due", counted)
        for number in range(2, 6):
            await b.rig.put(f"u.{number}", b"a mail", ack=Ack.DISK)
        assert looks == []
        await b.pass_time(0.6)
        assert b.rig.parts.catalogue.jobs() == []
