"""Rules, runs and pressure where something goes wrong around them: clocks, editors, absurd wishes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.purge.bench import LARGE, LARGE_GO, Bench, bench, passing, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, MemorySection, PurgeSection
from tierproxy.config.values import Share, Size
from tierproxy.errors import OutOfSpace
from tierproxy.model import Ack, FreeSpace
from tierproxy.offload import ThreadPool
from tierproxy.purge.live import ALARM, LARGEST, RuleFile
from tierproxy.purge.pressure import ALARM as SHORT
from tierproxy.purge.run import WAITS
from tierproxy.purges import RunKind, RunState
from tierproxy.rules.model import BucketBudget
from tierproxy.store.space import Space
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import name
from tierproxy.traffic import DAY

YEAR = 365 * DAY
SLOW = PurgeSection(max_objects_per_second=1)
OLD_GO = '[[rule]]\nname = "old"\nwhen = { age = "> 30d" }\nthen = "purge"\n'
PLENTY = FreeSpace(10**12, 10**12, 10**6, 10**6)
MIB = 2**20

# ---------------------------------------------------------------- the clock on the wall


async def test_a_clock_set_forward_makes_everything_old_and_nothing_recent_so_the_run_asks(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", OLD_GO) as b:
        await b.mails(3)
        await b.read("u.0", "u.1", "u.2")
        b.clock.jump_wall(YEAR)
        run = await b.runs.scheduled()
        assert run is not None
        assert (run.state, len(b.on_disk())) == (RunState.WAITING, 3)
        assert run.note == "the machine's clock was set forward by 365d"
        assert b.alarms() == [(WAITS, f"run {run.number}")]
        again = await b.runs.scheduled()
        assert again is not None
        assert (again.number, again.state) == (run.number, RunState.WAITING), "they do not pile up"
        b.clock.jump_wall(-YEAR)
        assert (await b.runs.carry_out(again, again=True)).objects == 0
        assert (b.alarms(), len(b.on_disk())) == ([], 3)


async def test_a_new_time_that_somebody_confirmed_is_believed(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", OLD_GO) as b:
        await b.mails(2)
        b.clock.jump_wall(YEAR)
        run = await b.runs.scheduled()
        assert run is not None
        await b.rig.parts.catalogue.confirm_run(run.number)
        await b.runs.work()
        assert (b.run(run.number).state, b.on_disk()) == (RunState.DONE, [])
        await b.mails(1)
        await b.ask()
        await b.runs.work()
        assert b.alarms() == []


@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_clock_set_forward_in_the_middle_of_a_run_ends_it_or_makes_it_ask(
    tmp_path: Path, confirmed: bool
) -> None:
    """Its next page would be of what has become old just now."""
    async with bench(tmp_path / "d", purge=SLOW) as b:
        await b.mails(5)
        asked = await b.ask(confirmed=confirmed)
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 1)
        b.clock.jump_wall(YEAR)
        run = await passing(b.clock, work)
        assert run.state is (RunState.FAILED if confirmed else RunState.WAITING)
        assert "set forward by 365d" in run.note
        assert len(b.on_disk()) >= 3
        if not confirmed:
            await b.rig.parts.catalogue.confirm_run(run.number)
            await passing(b.clock, b.runs.carry_out(run))
            assert (b.run(run.number).state, b.run(run.number).objects) == (RunState.DONE, 5), "it goes on, not anew"


async def test_a_clock_that_jumps_back_purges_nothing_by_age(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", OLD_GO) as b:
        await b.mails(2)
        b.clock.jump_wall(-YEAR)
        assert await b.runs.scheduled() is None
        assert len(b.on_disk()) == 2


# ---------------------------------------------------------------- what needs a confirmation


async def test_a_run_of_one_rule_is_weighed_against_all_that_was_read(tmp_path: Path) -> None:
    """And not against what this rule decides, of which it takes all."""
    async with bench(tmp_path / "d") as b:
        await b.mails(1)
        await b.mails(20, prefix="draft.")
        await b.read("u.0", *(f"draft.{number}" for number in range(20)))
        asked = await b.ask(rule="large")
        await b.runs.work()
        assert (b.run(asked.number).state, b.run(asked.number).note) == (RunState.DONE, "")


# ---------------------------------------------------------------- pressure


async def test_what_is_larger_than_the_whole_budget_does_not_empty_the_disk(tmp_path: Path) -> None:
    """Nothing that goes makes room for it."""
    disk = DiskSection(max_bytes=Size(4 * MIB), min_free=Share(bytes=0))
    async with bench(tmp_path / "d", None, disk=disk, memory=MemorySection(max_bytes=Size(0))) as b:
        await b.mails(20)
        await b.rig.idle()
        giant = b"g" * (5 * MIB)
        with pytest.raises(OutOfSpace):
            await b.rig.put("giant", giant, ack=Ack.DISK)
        await b.rig.put("giant", giant, ack=Ack.BOTH)
        await b.rig.idle()
        assert await b.rig.get("giant") == giant
        await b.rig.parts.purge.run()
        await b.rig.idle()
        assert len(b.on_disk()) == 20


async def test_a_refused_giant_calls_nobody() -> None:
    called: list[object] = []
    space = Space(DiskSection(max_bytes=Size(MIB), hard_limit=1.1), MIB // 2, lambda: PLENTY)
    space.reload(space.settings, [BucketBudget("mail", MIB // 4)])
    space.on_pressure = lambda *told: called.append(told)

    async def relieve(*told: object) -> None:
        called.append(told)

    space.relieve = relieve
    for size, bucket in ((2 * MIB, ""), (MIB, "mail")):
        with pytest.raises(OutOfSpace, match="never fit"):
            await space.reserve_write(size, bucket)
        with pytest.raises(OutOfSpace, match="never fit"):
            space.reserve_fill(size, bucket)
    assert called == []


async def test_the_alarms_of_a_buckets_budget_go_with_the_budget(tmp_path: Path) -> None:
    rules = '[budget.bucket.mail]\nmax_bytes = "1MiB"\n' + LARGE_GO
    disk = DiskSection(max_bytes=Size(64 * MIB), min_free=Share(bytes=0), hard_limit=4)
    async with bench(tmp_path / "d", rules, disk=disk) as b:
        await b.rig.put("pinned", b"p" * (MIB - 100_000))
        await b.rig.idle()
        await b.rig.parts.catalogue.pin(name("pinned"), float("inf"))
        assert await b.rig.parts.purge.run(wanted=100_000, bucket="mail") is not None
        assert b.alarms() == [(SHORT, "bucket mail")]
        b.file.write_text(LARGE_GO)
        await b.rig.parts.purges.live.look()
        await b.rig.parts.purge.run()
        assert b.alarms() == []


# ---------------------------------------------------------------- the rule file


async def test_a_file_in_the_middle_of_being_written_is_left_alone(tmp_path: Path) -> None:
    """What there is of this one is good TOML, and lacks what is still to come."""
    async with bench(tmp_path / "d") as b:
        await b.rig.node.quiet()  # nobody else looks
        live = b.rig.parts.purges.live
        await live.look(patient=True)
        b.file.write_text(OLD_GO)
        await live.look(patient=True)
        b.file.write_text(OLD_GO + '\n[pressure]\nkept = "never"\n')
        await live.look(patient=True)
        assert live.in_force.number == 1
        await live.look(patient=True)
        assert live.in_force.number == 2
        assert [version.text for version in b.rig.parts.catalogue.versions("live", 9)][1:] == [LARGE_GO]


async def test_a_file_cut_off_in_a_list_is_named_with_its_line_and_the_watch_goes_on(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        b.file.write_text('[[rule]]\nname = "x"\nthen = "keep"\n[schedule]\nwindows = [ "01:00-02:00"\n')
        await live.look()
        assert b.alarms() == [(ALARM, str(b.file))]
        b.file.write_text(LARGE_GO)
        await live.look()
        assert b.alarms() == []


@pytest.mark.parametrize("what", ["directory", "pipe", "latin-1", "huge", "unreadable number"])
async def test_what_is_no_rule_file_keeps_the_old_rules(tmp_path: Path, what: str) -> None:
    async with bench(tmp_path / "d") as b:
        live = b.rig.parts.purges.live
        b.file.unlink()
        match what:
            case "directory":
                b.file.mkdir()
            case "pipe":
                os.mkfifo(b.file)
            case "latin-1":
                b.file.write_bytes(LARGE_GO.replace("large", "gro\xdf").encode("latin-1"))
            case "huge":
                b.file.write_bytes(LARGE_GO.encode() + b"#" * LARGEST)
            case _:
                b.file.write_text(f"[budget]\nmax_bytes = {'9' * 5000}\n")
        await live.look()
        assert live.in_force.number == 1
        assert b.alarms() == [(ALARM, str(b.file))]
        await live.look()
        b.file.rmdir() if what == "directory" else b.file.unlink()
        b.file.write_text(LARGE_GO)
        await live.look()
        assert b.alarms() == []


@pytest.mark.parametrize("text", [b"\xef\xbb\xbf" + LARGE_GO.encode(), LARGE_GO.replace("\n", "\r\n").encode()])
async def test_what_editors_of_other_systems_write_is_read(tmp_path: Path, text: bytes) -> None:
    file, threads = tmp_path / "rules.toml", ThreadPool("rules", 1)
    file.write_bytes(text)
    assert await RuleFile(str(file), threads).changed() == LARGE_GO
    await threads.close()


# ---------------------------------------------------------------- the schedule


async def test_a_node_started_more_often_than_the_rules_have_their_turn_comes_to_it(tmp_path: Path) -> None:
    """No run leaves a record while there is nothing to purge."""
    alt, clock = MemoryAlt(), VirtualClock()
    rules = LARGE_GO.replace("1h", "3d")
    async with bench(tmp_path / "d", rules, alt=alt, clock=clock):
        pass
    clock.jump_wall(2 * DAY)
    async with bench(tmp_path / "d", rules, alt=alt, clock=clock) as b:
        await b.mails(1)
        assert b.on_disk() == ["u.0"]
    clock.jump_wall(2 * DAY)
    async with bench(tmp_path / "d", rules, alt=alt, clock=clock) as b:
        await until(lambda: b.on_disk() == [])


async def test_an_operators_word_is_booked_on_him_and_a_rule_of_any_name_on_itself(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", LARGE_GO.replace('"large"', '"(everything)"')) as b:
        await b.mails(1)
        await b.runs.carry_out(await b.ask())
        await b.mails(1, prefix="w.", body=b"small")
        await b.runs.carry_out(await b.ask(RunKind.OPERATOR, bucket="mail"))
        assert [by(b, key) for key in ("u.0", "w.0")] == ["rule:(everything)", "operator"]


def by(b: Bench, key: str) -> str | None:
    row = b.rig.row(key)
    return row.purged_by if row is not None else None


async def test_a_zero_byte_object_goes_like_others(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", LARGE_GO.replace(">= 1000", "= 0")) as b:
        await b.rig.put("empty", b"")
        await b.rig.put("one", LARGE)
        run = await b.runs.carry_out(await b.ask())
        assert (run.objects, b.on_disk()) == (1, ["one"])
        assert await b.rig.get("empty") == b""


# ---------------------------------------------------------------- speed, and what breaks


async def test_a_limit_that_was_much_too_low_is_lifted_while_the_run_waits_for_it(tmp_path: Path) -> None:
    slow = PurgeSection(max_objects_per_second=0, max_bytes_per_second=Size(1))
    async with bench(tmp_path / "d", purge=slow) as b:
        await b.mails(600)
        asked = await b.ask()
        work = asyncio.create_task(b.runs.carry_out(asked))
        await until(lambda: b.run(asked.number).objects == 500)
        await b.clock.advance(5)
        assert not work.done(), "it would wait for weeks"
        b.runs.reload(PurgeSection(max_objects_per_second=0))
        assert (await passing(b.clock, work)).objects == 600


async def test_a_defect_in_a_plan_is_told_and_the_disk_goes_on_being_emptied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(tmp_path / "d") as b:
        catalogue, purge = b.rig.parts.catalogue, b.rig.parts.purge
        await b.mails(3)
        await b.rig.idle()
        pressed = catalogue.pressed

        async def broken(*_: object, **__: object) -> None:
            catalogue.pressed = pressed  # type: ignore[method-assign]
            raise ZeroDivisionError("a defect")

        catalogue.pressed = broken  # type: ignore[method-assign, assignment]
        purge.wake(10**12)
        await until(lambda: any(record.message == "pressure purge broke" for record in caplog.records))
        purge._stalled.clear()  # as the next look does
        purge.wake(10**12)
        await until(lambda: b.on_disk() == [])


async def test_a_pressure_run_that_nobody_waits_for_any_more_is_recorded_as_such(tmp_path: Path) -> None:
    async with bench(tmp_path / "d") as b:
        await b.mails(3)
        await b.rig.idle()
        catalogue = b.rig.parts.catalogue
        entered, never = asyncio.Event(), asyncio.Event()
        requeued = b.rig.parts.store.purge

        async def hangs(*given: object, **named: object) -> object:
            done = await requeued(*given, **named)  # type: ignore[arg-type]
            entered.set()
            await never.wait()
            return done

        b.rig.parts.purge._store.purge = hangs  # type: ignore[method-assign, assignment]
        work = asyncio.create_task(b.rig.parts.purge.relieve(10**12))
        await entered.wait()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        b.rig.parts.purge._store.purge = requeued  # type: ignore[method-assign]
        assert catalogue.runs(1)[0].state is RunState.CANCELLED
