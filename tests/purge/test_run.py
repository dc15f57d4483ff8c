"""Rule and operator runs on a whole node: real files, the real catalogue, virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.purge.bench import LARGE, LARGE_GO, Bench, bench, passing, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import PurgeSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import DiskUnavailable
from tierproxy.purge.run import WAITS
from tierproxy.purges import RunKind, RunState
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import name

SLOW = PurgeSection(max_objects_per_second=2)


async def test_a_rule_run_purges_what_rules_purge_and_books_it(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(3)
        await b.rig.put("draft.1", LARGE)
        await b.rig.put("small", b"s")
        asked = await b.ask()
        await b.runs.work()
        run = b.run(asked.number)
        assert (run.state, run.planned_objects, run.objects, run.skipped) == (RunState.DONE, 3, 3, 0)
        assert run.bytes == run.planned_bytes > 0
        assert b.on_disk() == ["draft.1", "small"]
        row = b.rig.row("u.0")
        assert row is not None
        assert row.purged_by == "rule:large"
        (booked,) = b.rig.parts.catalogue.run_rules(run.number)
        assert (booked.by, booked.objects) == ("rule:large", 3)
        assert await b.rig.get("u.0") == LARGE


async def test_runs_are_done_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(2)
        first = await b.ask(prefix="u.1")
        second = await b.ask()
        await b.runs.work()
        assert (b.run(first.number).objects, b.run(second.number).objects) == (1, 1)


async def test_a_run_that_would_remove_much_that_was_read_recently_asks_first(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(4)
        await b.read("u.0")
        asked = await b.ask()
        await b.runs.work()
        assert b.run(asked.number).state is RunState.WAITING
        assert "100% of the bytes read" in b.run(asked.number).note
        assert b.alarms() == [(WAITS, f"run {asked.number}")]
        assert len(b.on_disk()) == 4
        await b.runs.work()
        assert len(b.on_disk()) == 4, "nobody has confirmed it"
        await b.rig.parts.catalogue.confirm_run(asked.number)
        await b.runs.work()
        assert b.run(asked.number).state is RunState.DONE
        assert (b.on_disk(), b.alarms()) == ([], [])


async def test_a_confirmed_run_does_not_ask(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(2)
        await b.read("u.0")
        asked = await b.ask(confirmed=True)
        await b.runs.work()
        assert b.run(asked.number).state is RunState.DONE


async def test_a_run_confined_to_a_prefix_is_weighed_against_all_that_was_read(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(20)
        await b.read(*(f"u.{number}" for number in range(20)))
        asked = await b.ask(prefix="u.5")
        await b.runs.work()
        assert b.run(asked.number).state is RunState.DONE
        assert b.run(asked.number).objects == 1


async def test_a_waiting_run_that_is_cancelled_takes_its_alarm_along(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(1)
        await b.read("u.0")
        asked = await b.ask()
        await b.runs.work()
        await b.rig.parts.catalogue.cancel_run(asked.number)
        await b.runs.work()
        assert b.alarms() == []
        assert b.on_disk() == ["u.0"]


async def test_a_run_keeps_to_its_rate_and_ends_soon_after_a_cancel(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", purge=SLOW) as b:
        await b.mails(6)
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 2)
        await b.clock.settle()
        assert b.run(asked.number).objects == 2, "no time has passed"
        await b.clock.advance(1)
        await until(lambda: b.run(asked.number).objects == 4)
        await b.rig.parts.catalogue.cancel_run(asked.number)
        run = await passing(b.clock, work)
        assert (run.state, run.objects, run.note) == (RunState.CANCELLED, 4, "cancelled")
        assert b.on_disk() == ["u.4", "u.5"]


async def test_bytes_are_limited_as_well(tmp_path: Path) -> None:
    async with bench(
        tmp_path / "d", purge=PurgeSection(max_objects_per_second=1, max_bytes_per_second=Size(1024))
    ) as b:
        await b.mails(2)
        asked = await b.ask()
        began = b.clock.monotonic()
        run = await passing(b.clock, b.runs.carry_out(asked))
        assert b.clock.monotonic() - began >= run.bytes / 1024


async def test_a_run_that_a_stop_cuts_off_goes_on_behind_its_cursor(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with bench(tmp_path / "d", purge=SLOW, alt=alt, clock=clock) as b:
        await b.mails(6)
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 2)
        b.runs.stop()
        await passing(clock, work)
        stopped = b.run(asked.number)
        assert (stopped.state, stopped.cursor) == (RunState.RUNNING, name("u.1"))
        await b.rig.put("u.0", LARGE + b"written again")
    async with bench(tmp_path / "d", alt=alt, clock=clock) as b:
        await until(lambda: b.run(asked.number).state is RunState.DONE)
        assert b.run(asked.number).objects == 6
        assert b.on_disk() == ["u.0"], "the next run's"


async def test_a_run_ends_under_the_rules_it_began_with_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", purge=SLOW) as b:
        await b.mails(4)
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 2)
        b.file.write_text('[[rule]]\nname = "all stays"\nthen = "keep"\n')
        await b.rig.parts.purges.live.look()
        before, now = b.run(asked.number).rules, b.rig.parts.purges.live.in_force.number
        run = await passing(b.clock, work)
        assert (run.state, run.objects, run.rules) == (RunState.DONE, 4, before)
        assert run.note == f"worked by rules version {before} to its end; version {now} is in force since"


async def test_a_blob_that_somebody_reads_stays_for_the_next_run(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(3)
        b.rig.parts.leases.take(name("u.1"))
        first = await b.ask()
        await b.runs.work()
        assert (b.run(first.number).objects, b.run(first.number).skipped) == (2, 1)
        assert b.on_disk() == ["u.1"]
        b.rig.parts.leases.give(name("u.1"))
        await b.ask()
        await b.runs.work()
        assert b.on_disk() == []


async def overwritten(b: Bench) -> None:
    await b.rig.put("u.1", LARGE + b"new")


async def deleted(b: Bench) -> None:
    await b.rig.delete("u.1")


async def pinned(b: Bench) -> None:
    await b.rig.parts.catalogue.pin(name("u.1"), math.inf)


@pytest.mark.parametrize("change", [overwritten, deleted, pinned], ids=lambda change: change.__name__)
async def test_what_changes_between_plan_and_purge_is_left(
    tmp_path: Path, change: Callable[[Bench], Awaitable[None]]
) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(3)
        catalogue: Any = b.rig.parts.catalogue
        gate, decided = Gate(), catalogue.decided

        async def held(*arguments: object) -> object:
            page = await decided(*arguments)
            await gate.passage()
            return page

        catalogue.decided = held
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await gate.reached()
        await change(b)
        gate.open()
        run = await work
        assert (run.objects, run.skipped) == (2, 1)
        assert (b.on_disk() == ["u.1"]) == (change is not deleted)


async def test_an_operators_word_takes_what_rules_keep_but_not_what_is_pinned(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(2, "a/")
        await b.rig.put("draft.1", LARGE)
        await b.rig.put("draft.2", b"s")
        await b.rig.parts.catalogue.pin(name("draft.2"), math.inf)
        asked = await b.ask(RunKind.OPERATOR, bucket="mail", prefix="draft.")
        await b.runs.work()
        run = b.run(asked.number)
        assert (run.state, run.planned_objects, run.objects) == (RunState.DONE, 1, 1)
        assert b.on_disk() == ["a/0", "a/1", "draft.2"]
        row = b.rig.row("draft.1")
        assert row is not None
        assert row.purged_by == "operator"


async def test_one_rule_can_be_run_alone(tmp_path: Path) -> None:
    rules = LARGE_GO + '\n[[rule]]\nname = "rest"\nthen = "purge"\n'
    async with bench(tmp_path / "d", rules) as b:
        await b.mails(1)
        await b.rig.put("small", b"s")
        asked = await b.ask(rule="rest")
        await b.runs.work()
        assert b.run(asked.number).objects == b.run(asked.number).planned_objects == 1
        assert b.on_disk() == ["u.0"]


async def test_a_run_of_a_rule_that_is_not_there_fails_and_says_so(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        asked = await b.ask(rule="lagre")
        await b.runs.work()
        assert b.run(asked.number).state is RunState.FAILED
        assert "no rule 'lagre'" in b.run(asked.number).note


async def test_a_failing_disk_fails_the_run_and_not_the_node(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(1)
        catalogue: Any = b.rig.parts.catalogue

        async def fails(*_drops: object, **_options: object) -> None:
            raise DiskUnavailable("the disk is gone")

        catalogue.drop_blobs = fails
        asked = await b.ask()
        await b.runs.work()
        assert (b.run(asked.number).state, b.run(asked.number).note) == (RunState.FAILED, "the disk is gone")


async def test_pressure_does_not_wait_for_a_slow_run(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", purge=SLOW) as b:
        await b.mails(6)
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 2)
        space = b.rig.parts.space
        small = replace(space.settings, max_bytes=Size(space.used))
        space.reload(small)
        assert await b.rig.parts.purge.run() is None
        assert space.used <= space.low
        run = await passing(b.clock, work)
        pressure = next(one for one in b.rig.parts.catalogue.runs(9) if one.kind is RunKind.PRESSURE)
        assert pressure.objects + run.objects == 6


# ---------------------------------------------------------------- the schedule


async def test_the_rules_have_their_turn_each_interval(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(2)
        schedule = b.rig.parts.purges.schedule
        await schedule.look()
        assert b.on_disk() == ["u.0", "u.1"], "not before an interval has passed"
        await b.clock.advance(3600)
        await until(lambda: b.on_disk() == [])
        (run,) = b.rig.parts.catalogue.runs(9)
        assert (run.kind, run.author, run.objects) == (RunKind.RULES, "schedule", 2)


async def test_a_turn_without_anything_to_purge_leaves_no_record(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        assert await b.runs.scheduled() is None
        assert b.rig.parts.catalogue.runs(9) == []


async def test_a_turn_missed_while_the_node_was_off_comes_at_once(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with bench(tmp_path / "d", alt=alt, clock=clock) as b:
        await b.mails(1)
        await b.runs.scheduled()
        await b.mails(1)
    clock.jump_wall(7200)
    async with bench(tmp_path / "d", alt=alt, clock=clock) as b:
        await until(lambda: b.on_disk() == [])


async def test_a_scheduled_run_that_waits_is_planned_anew_at_the_next_turn(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(2)
        await b.read("u.0")
        first = await b.runs.scheduled()
        assert first is not None
        assert first.state is RunState.WAITING
        await b.rig.delete("u.0")
        second = await b.runs.scheduled()
        assert second is not None
        assert (second.number, second.state) == (first.number, RunState.DONE)
        assert b.alarms() == []


async def test_outside_of_its_windows_nothing_is_scheduled(tmp_path: Path) -> None:
    clock = VirtualClock(start=1_700_000_000.0 // 86_400 * 86_400 + 12 * 3600)
    rules = LARGE_GO.replace('every = "1h"', 'every = "1h"\nwindows = ["02:00-05:00"]')
    async with bench(tmp_path / "d", rules, clock=clock) as b:
        await b.mails(1)
        schedule = b.rig.parts.purges.schedule
        await b.clock.advance(3700)
        await schedule.look()
        assert b.on_disk() == ["u.0"]
        b.clock.jump_wall(13 * 3600)
        await schedule.look()
        assert b.on_disk() == []


async def test_old_records_go(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", purge=PurgeSection(keep_runs=Duration(3600), max_objects_per_second=0)) as b:
        await b.mails(1)
        await b.ask()
        await b.runs.work()
        assert len(b.rig.parts.catalogue.runs(9)) == 1
        await b.clock.advance(7200)
        await b.rig.parts.purges.schedule.look()
        await until(lambda: b.rig.parts.catalogue.runs(9) == [])


async def test_a_resumed_run_works_by_the_version_it_began_with(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with bench(tmp_path / "d", purge=SLOW, alt=alt, clock=clock) as b:
        await b.mails(4)
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 2)
        b.runs.stop()
        await passing(clock, work)
    async with bench(tmp_path / "d", '[[rule]]\nname = "all stays"\nthen = "keep"\n', alt=alt, clock=clock) as b:
        await until(lambda: b.run(asked.number).state is RunState.DONE)
        assert (b.run(asked.number).rules, b.run(asked.number).objects) == (1, 4)
        assert b.run(asked.number).note.endswith("version 2 is in force since")
