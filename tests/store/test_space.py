"""The disk budget: exact after every kind of end, and kept under load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, MemorySection, QueueSection
from tierproxy.config.values import Share, Size
from tierproxy.errors import OutOfSpace
from tierproxy.model import Ack, FreeSpace, Headers, Tier
from tierproxy.rules.model import BucketBudget
from tierproxy.store.body import Md5Check
from tierproxy.store.space import Reservation, Space, footprint
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, name, pieces, rig

MIB = 2**20
PLENTY = FreeSpace(10**12, 10**12, 10**6, 10**6)


def space(free: FreeSpace = PLENTY, used: int = 0, **disk: object) -> Space:
    return Space(DiskSection(max_bytes=Size(MIB), **disk), used, lambda: free)  # type: ignore[arg-type]


@asynccontextmanager
async def small(root: Path, mib: float = 4, **disk: object) -> AsyncIterator[tuple[Rig, FaultyAlt]]:
    """A node with a budget of ``mib``; min_free does not matter."""
    alt = FaultyAlt(MemoryAlt())
    section = DiskSection(max_bytes=Size(int(mib * MIB)), min_free=Share(bytes=0), **disk)  # type: ignore[arg-type]
    queue = QueueSection(max_bytes=Size(10**9))  # by default its limit is reached before the disk's hard limit
    async with rig(root, alt=alt, disk=section, queue=queue, memory=MemorySection(max_bytes=Size(0))) as r:
        yield r, alt


async def fits(r: Rig, n: int) -> bool:
    """Whether the disk takes the n-th mail."""
    try:
        await r.put(f"u.{n}", b"%d" % n * 20_000, ack=Ack.DISK)
    except OutOfSpace:
        return False
    return True


# ---------------------------------------------------------------- the sums


async def test_bytes_written_and_released_count_before_the_file_system_is_asked_again() -> None:
    answers = [FreeSpace(200_000, 100_000, 10**6, 10**6)]
    budget = Space(DiskSection(max_bytes=Size(MIB), min_free=Share(bytes=10_000)), 50_000, lambda: answers[-1])
    (await budget.reserve_write(60_000)).commit(80_000)
    assert budget.free().free_bytes == 20_000
    with pytest.raises(OutOfSpace, match="min_free"):
        await budget.reserve_write(10_000)
    budget.release(80_000)
    assert budget.free().free_bytes == 100_000, "a purge sees what it has done"
    (await budget.reserve_write(60_000)).commit(80_000)
    answers.append(FreeSpace(200_000, 20_500, 10**6, 10**6))
    assert budget.free().free_bytes == 20_500, "a new answer knows about the bytes of before"


async def test_a_reservation_becomes_used_bytes_or_nothing() -> None:
    budget = space()
    with await budget.reserve_write(1000) as one:
        assert budget.reserved == footprint(1000)
        one.commit(4096)
        assert (budget.used, budget.reserved) == (4096, 0)
        assert not one
    with await budget.reserve_write(1000):
        pass
    assert (budget.used, budget.reserved) == (4096, 0)
    budget.release(4096)
    assert budget.used == 0


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 256 * 1024, 256 * 1024 + 1, 10 * MIB])
async def test_a_claim_is_never_less_than_the_file_will_be(tmp_path: Path, size: int) -> None:
    async with rig(tmp_path) as r:
        headers = Headers(content_type="x" * 200, metadata={f"k{n}": "v" * 90 for n in range(20)})
        written = await r.put("k" * 1000, b"x" * size, headers=headers)
        assert written.entry.blob_bytes <= footprint(size)


async def test_writes_may_pass_the_budget_up_to_the_hard_limit_and_fills_may_not() -> None:
    budget = space(used=int(MIB * 0.99), hard_limit=1.10)
    with pytest.raises(OutOfSpace):
        budget.reserve_fill(20_000)
    with await budget.reserve_write(20_000):
        assert budget.reserved
    with pytest.raises(OutOfSpace):
        await budget.reserve_write(150_000)
    assert not budget.reserved


async def test_what_is_reserved_counts_while_bytes_are_still_arriving() -> None:
    budget = space(hard_limit=1.0)
    with await budget.reserve_write(600_000), pytest.raises(OutOfSpace):
        await budget.reserve_write(600_000)


@pytest.mark.parametrize(
    ("keep", "free", "refused"),
    [
        (Share(bytes=500_000), FreeSpace(10**7, 505_000, 100, 100), True),
        (Share(bytes=500_000), FreeSpace(10**7, 600_000, 100, 1), False),
        (Share(percent=5.0), FreeSpace(10**7, 505_000, 1000, 1000), True),
        (Share(percent=5.0), FreeSpace(10**7, 9 * 10**6, 1000, 50), True),
        (Share(percent=5.0), FreeSpace(10**7, 9 * 10**6, 1000, 51), False),
        (Share(percent=5.0), FreeSpace(10**7, 9 * 10**6, 0, 0), False),
    ],
    ids=["bytes", "bytes-not-inodes", "percent", "inodes", "inodes-left", "no-inodes-known"],
)
async def test_min_free_is_left_to_others(keep: Share, free: FreeSpace, refused: bool) -> None:
    wanted: list[tuple[int, str]] = []
    budget = space(free, min_free=keep)
    budget.on_pressure = lambda *told: wanted.append(told)
    if refused:
        with pytest.raises(OutOfSpace):
            await budget.reserve_write(1000)
        assert wanted
    else:
        (await budget.reserve_write(1000)).release()


async def test_pressure_is_told_of_at_high_water_and_of_what_was_refused() -> None:
    wanted: list[tuple[int, str]] = []
    budget = space(high_water=0.5)
    budget.on_pressure = lambda *told: wanted.append(told)
    first = await budget.reserve_write(400_000)
    assert wanted == []
    second = await budget.reserve_write(200_000)
    assert wanted == [(0, "")]
    with pytest.raises(OutOfSpace):
        budget.reserve_fill(MIB // 2)
    assert wanted[-1] == (footprint(MIB // 2), "")
    first.release()
    second.release()


async def test_a_write_is_tried_once_more_after_what_can_be_purged_was() -> None:
    budget = space(used=MIB, hard_limit=1.0)

    async def relieve(wanted: int, _bucket: str) -> None:
        budget.release(wanted)

    budget.relieve = relieve
    reservation: Reservation = await budget.reserve_write(1000)
    reservation.release()


async def test_a_bucket_is_held_to_its_own_budget_and_others_are_not() -> None:
    wanted: list[tuple[int, str]] = []
    budget = space(hard_limit=1.5)
    budget.reload(budget.settings, [BucketBudget("mail", 100_000)])
    budget.on_pressure = lambda *told: wanted.append(told)
    with pytest.raises(OutOfSpace, match="for bucket mail"):
        budget.reserve_fill(100_000, "mail")
    assert wanted == [], "it is larger than the whole: to purge for it would be in vain"
    budget.reserve_fill(100_000, "other").release()
    with await budget.reserve_write(100_000, "mail") as claimed:
        claimed.commit(footprint(100_000))
    assert (budget.footprint("mail"), budget.footprint("other")) == (footprint(100_000), 0)
    with pytest.raises(OutOfSpace):
        await budget.reserve_write(100_000, "mail")
    assert wanted[-1] == (footprint(100_000), "mail")
    budget.release(footprint(100_000), "mail")
    assert (budget.footprint("mail"), budget.footprint(), budget.reserved, budget.claimed("mail")) == (0, 0, 0, 0)


async def test_a_prefetch_takes_what_is_free_below_high_water_and_purges_nothing() -> None:
    wanted: list[tuple[int, str]] = []
    budget = space(used=900_000, high_water=0.95)
    budget.reload(budget.settings, [BucketBudget("mail", 200_000)])
    budget.on_pressure = lambda most, bucket: wanted.append((most, bucket))
    budget.reserve_spare(50_000).release()
    with pytest.raises(OutOfSpace, match="below high water"):
        budget.reserve_spare(100_000)
    budget.reserve_fill(100_000).release()
    assert wanted == [(0, "")], "a person's read may ask for room"
    budget.used = 0
    wanted.clear()
    budget.reserve_spare(150_000, "mail").release()
    with pytest.raises(OutOfSpace, match="of bucket mail"):
        budget.reserve_spare(190_000, "mail")
    assert wanted == []


async def test_pressure_of_a_bucket_is_told_at_its_own_high_water() -> None:
    wanted: list[tuple[int, str]] = []
    budget = space(high_water=0.9)
    budget.reload(budget.settings, [BucketBudget("mail", 100_000)])
    budget.on_pressure = lambda *told: wanted.append(told)
    first = budget.reserve_fill(50_000, "mail")
    assert wanted == []
    second = budget.reserve_fill(20_000, "mail")
    assert wanted == [(0, "mail")]
    first.release()
    second.release()


# ---------------------------------------------------------------- a node in its budget


async def test_a_load_of_writes_stays_in_the_budget_and_loses_nothing(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, _alt):
        limit = int(r.parts.space.settings.max_bytes * 1.1)
        most = 0
        for start in range(0, 160, 8):
            batch = range(start, start + 8)
            await asyncio.gather(*(r.put(f"u.{n}", b"%d" % n * 20_000) for n in batch))
            most = max(most, r.parts.space.used + r.parts.space.reserved)
        assert most <= limit
        await r.idle()
        for n in range(0, 160, 10):
            assert await r.get(f"u.{n}") == b"%d" % n * 20_000
        await r.parts.purge.run()
        await r.idle()
        assert r.parts.space.used <= r.parts.space.high


async def test_dirty_blobs_are_never_purged_and_the_hard_limit_refuses_more(tmp_path: Path) -> None:
    async with small(tmp_path, 1) as (r, alt):
        alt.down()
        done = [n for n in range(40) if await fits(r, n)]
        assert 20 < len(done) < 40
        for n in done:
            assert await r.get(f"u.{n}") == b"%d" % n * 20_000
        alt.heal()
        written = await r.put("u.both", b"b" * 40_000)
        assert written.entry.tiers == ("alt",), "full for good: around the disk"
        await r.drained_now()
        assert (await r.put("u.more", b"m" * 40_000, ack=Ack.DISK)).entry.blob is not None, "there is room again"
        await r.drained()


async def test_an_object_larger_than_the_budget_goes_around_it(tmp_path: Path) -> None:
    async with small(tmp_path, 1) as (r, _alt):
        body = b"large" * 300_000
        assert (await r.put("u.1", body)).entry.tiers == ("alt",)
        assert await r.read("u.1") == (Tier.ALT, body)
        await r.idle()
        with pytest.raises(OutOfSpace):
            await r.put("u.1", body, ack=Ack.DISK)
        assert r.parts.space.used == 0


async def test_a_read_without_room_for_a_copy_is_passed(tmp_path: Path) -> None:
    async with small(tmp_path, 1) as (r, alt):
        await r.put("cold", b"cold" * 50_000, ack=Ack.ALT)
        alt.down()
        for n in range(4):
            await r.put(f"u.{n}", b"d" * 220_000, ack=Ack.DISK)
        alt.heal()
        assert await r.read("cold") == (Tier.ALT, b"cold" * 50_000)
        await r.idle()
        row = r.row("cold")
        assert row is not None
        assert row.blob is None


async def test_parts_of_uploads_count_and_are_released(tmp_path: Path) -> None:
    async with small(tmp_path, 8) as (r, _alt):
        parts = r.parts.store.multipart
        up = await parts.create(name("u.1"), Headers(), None, None, None)
        for number in (1, 2, 2):
            await parts.put_part(up, number, 5 * 2**18, pieces(b"p" * 5 * 2**18, 2**18), Md5Check())
        assert r.parts.space.used == 2 * 5 * 2**18
        with pytest.raises(OutOfSpace):
            await parts.put_part(up, 3, 8 * MIB, pieces(b"", 1), Md5Check())
        await parts.abort(up)
        assert r.parts.space.used == 0


async def test_a_client_that_leaves_while_its_part_is_kept_leaves_the_sums_right(tmp_path: Path) -> None:
    async with small(tmp_path, 8) as (r, _alt):
        from tierproxy.testing.gate import Gate

        parts, gate = r.parts.store.multipart, Gate()
        up = await parts.create(name("u.1"), Headers(), None, None, None)
        keep = r.parts.disk.keep_part

        async def slow(*args: object) -> str:
            await gate.passage()
            return await keep(*args)  # type: ignore[arg-type]

        r.parts.disk.keep_part = slow  # type: ignore[method-assign,assignment]
        sender = asyncio.ensure_future(parts.put_part(up, 1, 6, pieces(b"a part", 6), Md5Check(6)))
        await gate.reached()
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        gate.open()
        await r.idle()
        del r.parts.disk.keep_part
        assert [part.size for part in parts.parts(up)] == [6]
        await r.check()
        await parts.abort(up)
        assert (r.parts.space.used, r.parts.space.reserved) == (0, 0)


async def test_the_budget_can_be_lowered_while_the_node_runs(tmp_path: Path) -> None:
    async with small(tmp_path, 4) as (r, _alt):
        for n in range(8):
            await r.put(f"u.{n}", b"x" * 200_000)
        r.parts.space.reload(DiskSection(max_bytes=Size(MIB), min_free=Share(bytes=0)))
        await r.parts.purge.run()
        await r.idle()
        assert r.parts.space.used <= MIB
        assert await r.get("u.0") == b"x" * 200_000
