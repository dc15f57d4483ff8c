"""Pressure runs under rules, on a whole node."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.purge.bench import Bench, bench
from tierproxy.config.sections import DiskSection, MemorySection
from tierproxy.config.values import Share, Size
from tierproxy.errors import OutOfSpace
from tierproxy.model import Ack, Tier
from tierproxy.purge.pressure import ALARM, KEPT_ALARM
from tierproxy.purge.relief import PASSED
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.testing.rig import name

DISK = DiskSection(max_bytes=Size(2**30), high_water=0.51, low_water=0.5, min_free=Share(bytes=0))
MAIL = b"m" * 9000  # 20 KiB on disk
RULES = """
[[rule]]
name = "new stays"
when = { key = "new.*" }
then = "keep"

[[rule]]
name = "old goes"
when = { key = "old.*" }
then = "purge"
"""


async def squeezed(b: Bench, blobs: float) -> None:
    """A budget whose low water leaves ``blobs`` mails, and what it asks for."""
    space = b.rig.parts.space
    each = space.used // len(b.on_disk())
    space.reload(replace(DISK, max_bytes=Size(int(each * blobs * 2))), ())
    await b.rig.parts.purge.run()
    await b.rig.idle()


async def mails(b: Bench, *keys: str) -> None:
    """A second apart."""
    for key in keys:
        b.clock.jump_wall(1)
        await b.rig.put(key, MAIL)


def pressure_runs(b: Bench) -> list[PurgeRun]:
    return [run for run in b.rig.parts.catalogue.runs(99) if run.kind is RunKind.PRESSURE]


async def test_what_a_rule_purges_goes_first_then_the_undecided_then_what_is_kept(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES, disk=DISK) as b:
        await mails(b, "new.1", "u.1", "u.2", "old.1", "new.2", "old.2")
        await squeezed(b, 5)
        assert b.on_disk() == ["new.1", "new.2", "old.2", "u.1", "u.2"]
        await squeezed(b, 4)
        assert b.on_disk() == ["new.1", "new.2", "u.1", "u.2"]
        await squeezed(b, 3)
        assert b.on_disk() == ["new.1", "new.2", "u.2"], "the least recently used of those nobody decides"
        assert b.alarms() == []
        await squeezed(b, 1)
        assert b.on_disk() == ["new.2"]
        assert b.alarms() == [(KEPT_ALARM, "disk")]
        by = {key: row.purged_by for key in ("old.1", "u.1", "new.1") if (row := b.rig.row(key))}
        assert by == {"old.1": "rule:old goes", "u.1": "pressure", "new.1": "pressure"}


async def test_every_pressure_run_is_a_record(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES, disk=DISK) as b:
        await mails(b, "new.1", "u.1", "old.1")
        await squeezed(b, 0.5)
        (run,) = pressure_runs(b)
        assert (run.state, run.objects, run.reason, run.rules) == (RunState.DONE, 3, "high water", 1)
        assert run.note == "took what rules keep: new stays"
        booked = {(one.by, one.rule): one.objects for one in b.rig.parts.catalogue.run_rules(run.number)}
        assert booked == {("rule:old goes", ""): 1, ("pressure", ""): 1, ("pressure", "new stays"): 1}


async def test_kept_never_means_never(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", '[pressure]\nkept = "never"\n' + RULES, disk=DISK) as b:
        await mails(b, "new.1", "u.1", "new.2")
        await squeezed(b, 0.5)
        assert b.on_disk() == ["new.1", "new.2"]
        assert b.alarms() == [(ALARM, "disk")]
        assert pressure_runs(b)[0].note.startswith("not met")


async def test_pinned_young_dirty_and_held_blobs_are_never_taken(tmp_path: Path) -> None:
    rules = '[budget]\nmin_on_disk = "1h"\n' + RULES
    async with bench(tmp_path / "d", rules, disk=DISK) as b:
        await mails(b, "u.old", "u.pinned", "u.held")
        b.clock.jump_wall(3600)
        await mails(b, "u.young")
        await b.rig.parts.catalogue.pin(name("u.pinned"), math.inf)
        b.rig.parts.leases.take(name("u.held"))
        await squeezed(b, 0.1)
        assert b.on_disk() == ["u.held", "u.pinned", "u.young"]
        b.rig.parts.leases.give(name("u.held"))


@pytest.mark.parametrize("order", ["lru", "fifo", "lfu", "gdsf", "sieve", "s3-fifo", "score"])
async def test_every_order_keeps_the_budget_and_ends(tmp_path: Path, order: str) -> None:
    async with bench(tmp_path / "d", f'[pressure]\norder = "{order}"\n' + RULES, disk=DISK) as b:
        await mails(b, *(f"u.{number}" for number in range(6)), "old.1", "new.1")
        for _ in range(3):
            b.clock.jump_wall(1)
            await b.read("u.0")
        await squeezed(b, 3)
        assert b.rig.parts.space.used <= b.rig.parts.space.low
        assert "old.1" not in b.on_disk()
        assert "new.1" in b.on_disk()
        assert ("u.0" in b.on_disk()) == (order != "fifo")
        await squeezed(b, 0.1)
        assert b.on_disk() == []


async def test_sieve_clears_the_visits_of_what_its_hand_passes(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", '[pressure]\norder = "sieve"\n', disk=DISK) as b:
        await mails(b, "u.0", "u.1", "u.2", "u.3")
        await b.read("u.0", "u.1")
        await squeezed(b, 3)
        assert b.on_disk() == ["u.0", "u.1", "u.3"]
        standing = b.rig.parts.catalogue.standing(name("u.0"))
        assert standing is not None
        assert standing.visits == 0
        assert b.rig.parts.catalogue.eviction("").hand > 0
        await squeezed(b, 2)
        assert b.on_disk() == ["u.0", "u.1"], "the hand goes on where it stood"
        await squeezed(b, 1)
        assert b.on_disk() == ["u.1"], "and round"


async def test_s3_fifo_takes_what_came_back_into_the_main_queue(tmp_path: Path) -> None:
    async with bench(
        tmp_path / "d", '[pressure]\norder = "s3-fifo"\n', disk=DISK, memory=MemorySection(max_bytes=Size(0))
    ) as b:
        await mails(b, "u.0", "u.1", "u.2", "u.3")
        await squeezed(b, 3)
        assert b.on_disk() == ["u.1", "u.2", "u.3"]
        assert (await b.rig.read("u.0"))[0] is Tier.ALT
        await b.rig.idle()
        await squeezed(b, 2)
        assert b.on_disk() == ["u.0", "u.3"], "the ghost came back to stay longer than the new"


async def test_a_bucket_over_its_budget_is_purged_and_others_are_not(tmp_path: Path) -> None:
    rules = '[budget.bucket.mail]\nmax_bytes = "1MiB"\n' + RULES
    async with bench(tmp_path / "d", rules, disk=DISK) as b:
        space = b.rig.parts.space
        await mails(b, *(f"u.{number}" for number in range(80)))
        await b.rig.parts.purge.run()
        await b.rig.idle()
        assert space.footprint("mail") <= 2**20 * 0.51
        assert pressure_runs(b)[-1].bucket == "mail"
        assert pressure_runs(b)[-1].reason == "bucket budget"


async def test_a_write_beyond_a_buckets_hard_limit_purges_first(tmp_path: Path) -> None:
    rules = '[budget]\nhard_limit = 1.0\nhigh_water = 1.0\n[budget.bucket.mail]\nmax_bytes = "1MiB"\n' + RULES
    async with bench(tmp_path / "d", rules, disk=DISK) as b:
        for number in range(100):
            written = await b.rig.put(f"u.{number}", MAIL, ack=Ack.BOTH)
            assert written.entry.blob is not None, "room was made for it"
        await b.rig.idle()
        assert b.rig.parts.space.footprint("mail") <= 2**20
        with pytest.raises(OutOfSpace, match="for bucket mail"):
            await b.rig.put("u.large", b"l" * 2_000_000, ack=Ack.DISK)


@pytest.mark.parametrize("order", ["lru", "sieve", "s3-fifo"])
async def test_the_next_run_looks_last_for_what_rules_purge_and_a_later_one_first_again(
    tmp_path: Path, order: str
) -> None:
    rules = f'[pressure]\norder = "{order}"\n{RULES}'
    async with bench(tmp_path / "d", rules, disk=DISK) as b:
        await mails(b, "u.1", "u.2", "u.3")
        await squeezed(b, 2)  # nothing that a rule purges: looked for, and remembered
        b.rig.parts.space.reload(DISK, ())
        await mails(b, "old.1")
        await squeezed(b, 2)
        assert b.on_disk() == ["old.1", "u.3"]
        await squeezed(b, 0.5)
        assert b.on_disk() == [], "what is looked for last goes nevertheless"
        b.rig.parts.space.reload(DISK, ())
        await b.clock.advance(PASSED + 1)
        await mails(b, "u.4", "old.2", "u.5")
        await squeezed(b, 2)
        assert b.on_disk() == ["u.4", "u.5"]
