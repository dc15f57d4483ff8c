"""A disk that falls ill under a store, hangs in the middle of something, and comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from pathlib import Path

import pytest

from tierproxy.config.sections import WriteSection
from tierproxy.config.values import Duration
from tierproxy.disk.reading import BlockedBlob
from tierproxy.errors import DiskHangs, DiskUnavailable, NoSuchKey
from tierproxy.model import Ack, JobKind, Tier
from tierproxy.model import State as RowState
from tierproxy.ports import Condition, State
from tierproxy.store.disk_health import ALARM
from tierproxy.testing.rig import name

from .sick import DISK, ENOUGH, Ward, ward

LARGE = bytes(range(251)) * (3 * 2**20 // 251)
BODIES = pytest.mark.parametrize("body", [b"a mail" * 10, LARGE], ids=["small", "large"])
STEPS = pytest.mark.parametrize("step", ["create", "write_at", "rename", "fsync", "fsync_dir"])


def condition(w: Ward) -> Condition:
    return w.rig.parts.conditions()[0]


def alarms(w: Ward) -> list[str]:
    return [alarm for alarm, _ in w.rig.parts.alarms.active()]


# ---------------------------------------------------------------- falling ill, getting well


async def test_errors_of_the_disk_bring_it_down_and_good_probes_and_a_look_bring_it_back(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        seen = [State.NORMAL]
        w.rig.parts.disk_health.on_change.append(seen.append)
        w.files.fail(errno.EIO, "fsync")
        for number in range(10):
            await w.rig.put(f"u.{number}", b"a mail")
        await w.until(lambda: w.state is State.DOWN)
        assert alarms(w) == [ALARM]
        assert "Input/output error" in condition(w).reason
        await w.passes(60)
        assert w.state is State.DOWN
        await w.recovers()
        assert seen == [State.NORMAL, State.UNSTABLE, State.DOWN, State.PROBING, State.NORMAL]
        assert alarms(w) == []
        assert (condition(w).reason, condition(w).changes) == ("", 4)
        assert (await w.rig.put("u.1", b"again")).entry.tiers == ("disk", "alt")


async def test_what_is_shown_of_it_says_what_where_since_when_and_why(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        assert condition(w) == Condition("disk", str(tmp_path), State.NORMAL, w.clock.now())
        await w.passes(100)
        w.doubt()
        assert condition(w) == Condition("disk", str(tmp_path), State.UNSTABLE, w.clock.now(), "said a test", 1)


async def test_slow_calls_count_as_failed(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        for number in range(5):
            w.files.hang("fsync")
            writing = asyncio.ensure_future(w.rig.put(f"u.{number}", b"a mail"))
            await w.files.standing()
            await w.clock.advance(DISK.slow_call + 1)
            w.files.heal()
            assert (await writing).entry.tiers == ("disk", "alt"), "slow is not failed for the one who waits"
        await w.passes(1)
        assert w.state is State.UNSTABLE
        assert condition(w).reason.endswith("slow")


async def test_a_doubt_that_was_not_confirmed_passes(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.unstable()
        await w.passes(20)
        assert w.state is State.UNSTABLE
        await w.until(lambda: w.state is State.NORMAL)
        assert alarms(w) == []


async def test_a_disk_that_fails_under_the_look_through_is_down_again(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.probing()
        w.files.fail(errno.EIO)
        await w.until(lambda: w.state is State.DOWN)
        assert alarms(w) == [ALARM]


async def test_a_look_through_that_fails_is_begun_again(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        health, look, fails = w.rig.parts.disk_health, w.rig.parts.disk_health.look_through, [True]

        async def failing() -> None:
            if fails:
                raise DiskUnavailable("scandir: Input/output error")
            await look()

        health.look_through = failing
        await w.down()
        w.files.heal()
        await w.until(lambda: condition(w).reason.startswith("the look-through failed"))
        assert w.state is State.DOWN
        fails.clear()


async def test_a_hung_probe_is_not_joined_by_a_second_one(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        w.files.hang("fsync")
        w.doubt()
        await w.files.standing()
        for _ in range(100):
            await w.clock.advance(1)
            await asyncio.sleep(0)
        assert w.files.hanging == 1
        assert w.state is State.DOWN


async def test_the_options_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        config = w.rig.parts.config
        disk = dataclasses.replace(config.disk, patience=Duration(4), slow_call=Duration(3))
        w.rig.node.reload(dataclasses.replace(config, disk=disk))
        calls = w.rig.parts.disk_calls
        assert (calls.patience, calls.slow) == (4, 3)
        await w.unstable()
        assert calls.patience == 3, "in doubt nobody waits for what is slow"


# ---------------------------------------------------------------- hanging in the middle of a write


@STEPS
@BODIES
async def test_a_write_whose_copy_hangs_is_acknowledged_by_alt_alone_within_the_patience(
    tmp_path: Path, body: bytes, step: str
) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"old")
        await w.rig.idle()
        before = w.files_left()
        w.files.hang(step)
        written, waited = await w.outcome(w.rig.put("u.1", body))
        assert not isinstance(written, BaseException)
        assert written.entry.tiers == ("alt",)
        assert waited <= 3 * ENOUGH, "each of its calls is given up by itself"
        assert w.in_alt("u.1") == body
        assert await w.result(w.rig.read("u.1")) == (Tier.ALT, body)
        assert w.state in {State.UNSTABLE, State.DOWN}
        await w.recovers()
        await w.until(lambda: not w.rig.parts.disk_calls.stuck)
        await w.rig.idle()
        assert len(w.files_left()) <= len(before), "neither what hung nor what it replaced is left"
        assert await w.rig.get("u.1") == body


@STEPS
async def test_a_write_that_needs_the_disk_and_hangs_is_try_again_and_never_happens(tmp_path: Path, step: str) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"old")
        w.files.hang(step)
        found, waited = await w.outcome(w.rig.put("u.1", b"new", ack=Ack.DISK))
        assert isinstance(found, DiskHangs)
        assert waited <= 2 * ENOUGH
        await w.recovers()
        await w.until(lambda: not w.rig.parts.disk_calls.stuck)
        assert await w.rig.get("u.1") == b"old"
        assert w.in_alt("u.1") == b"old"


async def test_a_crowd_of_writes_that_hang_keeps_neither_threads_nor_clients(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        w.files.hang()
        crowd = [asyncio.ensure_future(w.rig.put(f"u.{number}", b"a mail")) for number in range(60)]

        async def all_of_them() -> None:
            await asyncio.wait(crowd)

        begin = w.clock.monotonic()
        everybody = asyncio.ensure_future(all_of_them())
        while not everybody.done():
            await asyncio.sleep(0.001)
            await w.clock.advance(0.25)
        assert w.clock.monotonic() - begin <= 4 * ENOUGH
        assert {one.result().entry.tiers for one in crowd} == {("alt",)}
        assert w.rig.parts.disk_calls.stuck <= 3 * DISK.threads
        await w.until(lambda: w.state is State.DOWN, ENOUGH)  # one probe hangs, too
        assert (await w.result(w.rig.read("u.7"))) == (Tier.ALT, b"a mail")
        await w.recovers()
        await w.until(lambda: not w.rig.parts.disk_calls.stuck)
        assert not w.files_left()


@pytest.mark.parametrize("step", ["write_at", "fsync"])
@BODIES
async def test_a_fill_that_hangs_costs_its_reader_nothing_but_patience(tmp_path: Path, body: bytes, step: str) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", body)
        await w.rig.purge()
        w.files.hang(step)
        found, waited = await w.outcome(w.rig.get("u.1"))
        assert found == body
        assert waited <= ENOUGH
        await w.outcome(w.rig.idle())
        await w.recovers()
        await w.until(lambda: not w.rig.parts.disk_calls.stuck)
        assert not w.files_left()


async def test_a_body_that_hangs_half_way_is_sent_on_from_alt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    async def hangs(*_: object) -> bytes:
        raise DiskHangs("read")

    async with ward(tmp_path) as w:
        await w.rig.put("u.1", LARGE)
        reading = await w.rig.parts.store.open(name("u.1"))
        assert reading.tier is Tier.DISK
        chunks = reading.chunks()
        got = await anext(chunks)
        monkeypatch.setattr(BlockedBlob, "read", hangs)
        got += b"".join([chunk async for chunk in chunks])
        monkeypatch.undo()
        assert got == LARGE
        await reading.close()
        row = w.rig.row("u.1")
        assert row is not None
        assert row.blob is not None, "nothing is wrong with the blob"


async def test_a_purge_of_a_disk_that_hangs_ends(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        w.files.hang("unlink")
        found, waited = await w.outcome(w.rig.purge("u.1"))
        assert not isinstance(found, BaseException)
        assert waited <= ENOUGH
        assert w.rig.parts.space.used == 0


# ---------------------------------------------------------------- coming back


@BODIES
async def test_what_was_overwritten_while_the_disk_was_down_is_never_served_from_it(
    tmp_path: Path, body: bytes
) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", body)
        old = w.file_of("u.1")
        await w.down()
        await w.result(w.rig.put("u.1", b"new" + body))
        assert old.exists()
        await w.recovers()
        assert not old.exists()
        assert await w.rig.get("u.1") == b"new" + body
        await w.rig.check()


async def test_what_was_deleted_while_the_disk_was_down_does_not_come_back(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        old = w.file_of("u.1")
        await w.down()
        await w.result(w.rig.delete("u.1"))
        assert old.exists()
        await w.recovers()
        assert not old.exists()
        with pytest.raises(NoSuchKey):
            await w.rig.get("u.1")
        assert w.in_alt("u.1") is None


async def test_before_it_was_looked_through_nothing_is_served_as_a_matter_of_course(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.probing()
        await w.passes(100)
        assert w.state is State.PROBING
        assert (await w.result(w.rig.read("u.1")))[0] is Tier.ALT
        w.looking.open()
        await w.until(lambda: w.state is State.NORMAL)
        assert (await w.rig.read("u.1"))[0] is Tier.DISK


@pytest.mark.parametrize("damage", ["gone", "cut"])
async def test_a_copy_that_a_repair_of_the_file_system_took_away_is_forgotten(tmp_path: Path, damage: str) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", LARGE)
        await w.down()
        path = w.file_of("u.1")
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:1000])
        await w.recovers()
        row = w.rig.row("u.1")
        assert row is not None
        assert row.blob is None
        assert await w.rig.get("u.1") == LARGE
        assert alarms(w) == []


async def test_an_only_copy_that_a_repair_of_the_file_system_took_away_is_an_alarm(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        w.alt.down()
        await w.rig.put("u.1", b"a mail", ack=Ack.DISK)
        await w.down()
        path = w.file_of("u.1")
        content = path.read_bytes()
        path.unlink()
        w.files.heal()
        await w.until(lambda: w.state is State.NORMAL)
        assert alarms(w) == ["only copy damaged"]
        row = w.rig.row("u.1")
        assert row is not None
        assert row.state is RowState.DIRTY
        assert w.rig.journal() == [("u.1", JobKind.PUT)]
        path.write_bytes(content)


async def test_a_write_that_is_still_on_its_way_when_the_disk_is_looked_through_is_no_stray(tmp_path: Path) -> None:
    async with ward(tmp_path, write=WriteSection(alt_patience=Duration(3600))) as w:
        await w.rig.put("u.0", b"a mail")
        gate = w.alt.gate("put")
        writing = asyncio.ensure_future(w.rig.put("u.1", LARGE))
        await gate.reached()
        await w.until(lambda: len(w.files_left()) == 2)
        await w.passes(1)  # it is on disk, and waits for alt
        await w.down()
        w.files.heal()
        await w.until(lambda: w.state is State.NORMAL)
        gate.open()
        assert (await writing).entry.tiers == ("disk", "alt")
        assert await w.rig.read("u.1") == (Tier.DISK, LARGE)


async def test_a_stray_nobody_can_name_is_put_aside(tmp_path: Path) -> None:
    async with ward(tmp_path) as w:
        await w.rig.put("u.1", b"a mail")
        await w.down()
        mail = w.file_of("u.1")
        stray = mail.with_name(mail.name[:8] + "0" * 24)
        stray.write_bytes(b"rubbish")
        misplaced = mail.with_name("f" * 32)
        misplaced.write_bytes(b"what is this")
        await w.recovers()
        misplaced.unlink()
        assert not stray.exists()
        assert (tmp_path / "quarantine" / stray.name).exists()
