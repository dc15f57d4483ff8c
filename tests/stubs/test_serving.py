"""What is answered from stubs, and what is not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import FillSection, HistorySection, MemorySection, StubsSection
from tierproxy.config.values import Size
from tierproxy.errors import AltUnavailable, NoSuchKey, NotModified, PreconditionFailed
from tierproxy.model import Ack, ByteRange, Entry, FillPolicy, Headers, ObjectName, Stub, Tier
from tierproxy.purges import OPERATOR, Drop
from tierproxy.store.calls import Reading, Select, whole
from tierproxy.testing.crash import CrashFiles, SimulatedCrash
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.invariants import leaks
from tierproxy.testing.memory_stubs import MemoryStubs
from tierproxy.testing.rig import Rig, name, rig
from tierproxy.traffic import Outcome, Reason, Visitor

SMALL, LARGE = b"m" * 3000, bytes(random.Random(7).randbytes(700_000))
MIDDLE = bytes(random.Random(8).randbytes(50_000))
NO_MEMORY = MemorySection(max_bytes=Size(0))
PERSON = Visitor("AKIA@10.0.0.1", "AKIA")


@asynccontextmanager
async def stubbed(root: Path, alt: FaultyAlt | None = None, **sections: object) -> AsyncIterator[Rig]:
    given: dict[str, object] = {"stubs": StubsSection(), "memory": NO_MEMORY} | sections
    async with rig(root, alt=alt or FaultyAlt(MemoryAlt()), **given) as r:  # type: ignore[arg-type]
        yield r


def span(start: int, stop: int) -> Select:
    return lambda _entry: ByteRange(start, stop)


async def opened(
    r: Rig, key: str, select: Select = whole, *, stub: bool = False, visitor: Visitor = PERSON
) -> tuple[Reading, bytes]:
    """A read that delivers everything."""
    reading = await r.parts.store.open(name(key), select, visitor=visitor, stub=stub)
    body = reading.content if reading.content is not None else b"".join([chunk async for chunk in reading.chunks()])
    r.parts.store.delivered(reading, visitor, len(body), 0.001)
    await reading.close()
    return reading, body


def asked(r: Rig) -> dict[str, int]:
    """What was asked of alt until now."""
    assert isinstance(r.alt, FaultyAlt)
    return dict(r.alt.calls)


@pytest.mark.parametrize("body", [MIDDLE, LARGE], ids=["one block", "several blocks"])
async def test_header_fetches_of_purged_mail_touch_no_s3(body: bytes, tmp_path: Path) -> None:
    with leaks():
        async with stubbed(tmp_path) as r:
            await r.put("u.1", body)
            assert await r.purge()
            before = asked(r)
            for piece in ((0, 8192), (0, 1), (100, 200), (len(body) - 1024, len(body)), (len(body) - 1, len(body))):
                reading, got = await opened(r, "u.1", span(*piece))
                assert (reading.tier, reading.outcome, reading.fill) == (Tier.STUB, Outcome.STUB, "stub")
                assert (got, reading.stub) == (body[slice(*piece)], None)
            reading, got = await opened(r, "u.1", stub=True)
            assert got == body[:8192] + body[-1024:]
            assert reading.stub is not None
            assert (reading.stub.size, len(reading.stub.head), len(reading.stub.tail)) == (len(body), 8192, 1024)
            assert reading.entry.etag
            assert asked(r) == before


async def test_all_of_a_small_mail_is_its_head(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        for key, size in (("exact", 8192 + 1024), ("small", 3000), ("empty", 0)):
            await r.put(key, b"m" * size)
        await r.purge()
        before = asked(r)
        for key, size in (("exact", 8192 + 1024), ("small", 3000), ("empty", 0)):
            reading, got = await opened(r, key, stub=True)
            assert reading.stub is not None
            assert (got, len(reading.stub.head), reading.stub.tail) == (b"m" * size, size, b"")
        assert (await opened(r, "exact", span(8000, 9216)))[0].tier is Tier.STUB
        assert asked(r) == before


@pytest.mark.parametrize("piece", [(0, 8193), (8191, 8193), (20_000, 20_001), (48_975, 50_000), (0, 50_000), None])
async def test_what_does_not_lie_inside_is_a_miss_as_ever(piece: tuple[int, int] | None, tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        reading, got = await opened(r, "u.1", span(*piece) if piece else whole)
        assert reading.outcome is Outcome.FILL
        assert reading.purged is not None
        assert got == (MIDDLE[slice(*piece)] if piece else MIDDLE)
        await r.idle()
        assert (await opened(r, "u.1", span(0, 100)))[0].tier is Tier.DISK
        assert (await opened(r, "u.1", stub=True))[1] == MIDDLE


async def test_stubs_are_served_while_alt_is_down_and_after_a_restart(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with stubbed(tmp_path, alt) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
    async with stubbed(tmp_path, alt) as r:
        alt.down()
        assert (await opened(r, "u.1", span(0, 100)))[1] == MIDDLE[:100]
        assert (await opened(r, "u.1", stub=True))[0].stub is not None
        with pytest.raises(AltUnavailable):
            await r.get("u.1")
        alt.heal()


async def test_conditions_hold_as_ever(tmp_path: Path) -> None:
    def refuse(error: Exception) -> Select:
        def select(_entry: Entry) -> ByteRange | None:
            raise error

        return select

    async with stubbed(tmp_path) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        before = asked(r)
        for error in (PreconditionFailed(), NotModified()):
            with pytest.raises(type(error)):
                await r.parts.store.open(name("u.1"), refuse(error), stub=True)
        assert asked(r) == before
        assert r.parts.counters.gets == 0


async def test_a_new_content_is_never_shown_the_stub_of_the_old(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", b"old" * 10_000)
        await r.purge()
        assert (await opened(r, "u.1", span(0, 3)))[1] == b"old"
        await r.put("u.1", b"new" * 10_000, ack=Ack.ALT)  # no blob: only a stub could answer from near
        reading, got = await opened(r, "u.1", span(0, 3))
        assert (got, reading.tier) == (b"new", Tier.ALT)
        await r.idle()
        await r.purge()
        reading, got = await opened(r, "u.1", span(0, 3))
        assert (got, reading.tier) == (b"new", Tier.STUB)


async def test_a_deleted_mail_has_no_stub(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        await r.delete("u.1")
        with pytest.raises(NoSuchKey):
            await r.parts.store.open(name("u.1"), span(0, 10), stub=True)
        await r.parts.stubs.flush()
        assert r.parts.stubs.objects == 0


async def test_what_changes_while_it_is_purged_keeps_no_stub_of_the_old(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", b"old" * 10_000)
        row = r.row("u.1")
        assert row is not None
        await r.put("u.1", b"new" * 10_000)
        assert (await r.parts.store.purge([Drop.of(row, OPERATOR)])).skipped == 1
        assert not await r.parts.stubs.has(row.name, row.generation)
        assert (await opened(r, "u.1", span(0, 3)))[0].tier is Tier.DISK


@pytest.mark.parametrize("change", ["overwrite", "delete"])
async def test_what_changes_under_a_stub_in_the_making_loses_it_again(change: str, tmp_path: Path) -> None:
    class Slow(MemoryStubs):
        """Tells when it is asked to keep something, and waits."""

        def __init__(self) -> None:
            super().__init__()
            self.gate = Gate()

        async def put_all(self, stubs: Iterable[tuple[ObjectName, int, Stub]]) -> None:
            await self.gate.passage()
            await super().put_all(stubs)

    slow = Slow()
    async with stubbed(tmp_path, wrap=lambda doors: replace(doors, stubs=slow)) as r:
        await r.put("u.1", b"old" * 10_000)
        purge = asyncio.create_task(r.purge())
        await slow.gate.reached()
        await (r.delete("u.1") if change == "delete" else r.put("u.1", b"new" * 10_000))
        slow.gate.open()
        assert await purge == 0
        assert slow.objects == 0


async def test_copies_take_the_stub_along_and_never_read_it(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        await r.parts.store.copy(name("u.1"), name("u.2"))
        await r.parts.store.copy(name("u.1"), name("u.1"), headers=Headers(metadata={"seen": "1"}))
        before = asked(r)
        for key in ("u.1", "u.2"):
            assert r.row(key).blob is None  # type: ignore[union-attr]
            assert (await opened(r, key, stub=True))[1] == MIDDLE[:8192] + MIDDLE[-1024:]
        assert asked(r) == before
        await r.parts.store.copy(name("u.1"), name("u.3"), ack=Ack.DISK)
        assert await r.get("u.3") == MIDDLE


async def test_a_body_that_only_passes_by_leaves_a_stub(tmp_path: Path) -> None:
    async with stubbed(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        await r.put("u.1", MIDDLE, ack=Ack.ALT)
        assert (await opened(r, "u.1", stub=True))[0].outcome is Outcome.PASS
        await r.idle()
        before = asked(r)
        assert (await opened(r, "u.1", stub=True))[0].outcome is Outcome.STUB
        assert (await opened(r, "u.1", span(0, 10)))[1] == MIDDLE[:10]
        assert asked(r) == before


async def test_bodies_that_pass_by_at_the_same_time_leave_a_stub_each(tmp_path: Path) -> None:
    async with stubbed(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        keys = [f"u.{number}" for number in range(12)]
        for key in keys:
            await r.put(key, MIDDLE + key.encode(), ack=Ack.ALT)
        for _ in range(2):  # the second time there is nothing to keep
            await asyncio.gather(*(r.get(key) for key in keys))
            await r.idle()
        before = asked(r)
        for key in keys:
            assert (await opened(r, key, span(0, 10)))[1] == MIDDLE[:10]
            row = r.row(key)
            assert row is not None
            assert await r.parts.store.head(name(key)) == row
            assert (await opened(r, key, span(row.size - 5, row.size)))[1] == (MIDDLE + key.encode())[-5:]
        assert asked(r) == before


async def test_a_prefetch_wants_the_body_on_disk(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        reading, _ = await opened(r, "u.1", span(0, 100), visitor=replace(PERSON, reason=Reason.PREFETCH))
        assert reading.outcome is Outcome.FILL
        await r.idle()
        assert r.row("u.1").blob is not None  # type: ignore[union-attr]


async def test_stubs_only_where_a_rule_says_trim(tmp_path: Path) -> None:
    async with stubbed(tmp_path, stubs=StubsSection(on_purge=False)) as r:
        await r.put("purged", MIDDLE)
        await r.put("trimmed", MIDDLE)
        rows = [r.row("purged"), r.row("trimmed")]
        drops = [replace(Drop.of(row, "rule:x"), trim=row.name.key == "trimmed") for row in rows if row]
        assert (await r.parts.store.purge(drops)).objects == 2
        assert (await opened(r, "trimmed", span(0, 10)))[0].tier is Tier.STUB
        assert (await opened(r, "purged", span(0, 10)))[0].tier is Tier.ALT


async def test_without_room_for_stubs_a_purge_is_a_purge(tmp_path: Path) -> None:
    async with stubbed(tmp_path, stubs=StubsSection(max_bytes=Size(0))) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        assert (await opened(r, "u.1", stub=True))[0].outcome is Outcome.FILL
        assert not (tmp_path / "stubs").exists()


async def test_a_blob_that_cannot_be_read_goes_without_a_stub(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("good", MIDDLE)
        await r.put("bad", MIDDLE)
        row = r.row("bad")
        assert row is not None
        path = next(tmp_path.glob(f"blobs/*/*/{row.blob}"))
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        await r.purge("good", "bad")
        assert (await opened(r, "good", span(0, 10)))[0].tier is Tier.STUB
        reading, got = await opened(r, "bad", span(0, 200))
        assert (reading.tier, got) == (Tier.ALT, MIDDLE[:200])


async def test_a_remembered_stub_is_served_and_a_purge_replaces_it(tmp_path: Path) -> None:
    async with stubbed(tmp_path) as r:
        await r.put("u.1", MIDDLE, ack=Ack.ALT)
        row = r.row("u.1")
        assert row is not None
        await r.parts.stubbing.remember(row, MIDDLE[:40], MIDDLE[-20:])
        assert await r.parts.stubbing.has(row)
        before = asked(r)
        reading, got = await opened(r, "u.1", stub=True)
        assert got == MIDDLE[:40] + MIDDLE[-20:]
        assert reading.tier is Tier.STUB
        assert asked(r) == before
        assert await r.get("u.1") == MIDDLE
        await r.idle()
        await r.purge()
        assert len((await opened(r, "u.1", stub=True))[1]) == 8192 + 1024


# ------------------------------------------------------------ counting


async def test_a_stub_is_neither_hit_nor_miss_and_no_read(tmp_path: Path) -> None:
    async with stubbed(tmp_path, history=HistorySection(enabled=True)) as r:
        await r.put("u.1", MIDDLE)
        await r.purge()
        await opened(r, "u.1", span(0, 100))
        await opened(r, "u.1", stub=True)
        counters = r.parts.counters
        assert (counters.stubs, counters.hits, counters.misses, counters.gets) == (2, 0, 0, 2)
        assert counters.gets == sum(counters.of(outcome) for outcome in Outcome) + counters.errors
        assert (sum(counters.reads.values()), counters.regrets, counters.machine_regrets) == (0, 0, 0)
        assert counters.delivered[Tier.STUB] == 100 + 8192 + 1024
        sample = counters.sample()
        assert (sample["gets.stubs.stub"], sample["latency.stub.count"], sample["delivered.stub"]) == (2, 2, 9316)
        await r.parts.tally.flush()
        row = r.row("u.1")
        assert row is not None
        assert (row.reads, row.last_read_at) == (0, None)
        await opened(r, "u.1")  # the body is a read of its own, not a later range of one that was counted
        assert counters.reads[Reason.PERSON] == 1
        assert counters.regrets == 1


# ------------------------------------------------------------ crashes, races


async def test_wherever_a_purge_is_cut_off_head_and_tail_are_right_afterwards(tmp_path: Path) -> None:
    crash_at, crashed = 0, True
    while crashed:
        crash_at += 1
        assert crash_at < 60, "the purge never got through"
        root, alt = tmp_path / str(crash_at), FaultyAlt(MemoryAlt())
        async with stubbed(root, alt) as r:
            await r.put("u.1", MIDDLE)
            await r.put("u.2", LARGE)
        files = CrashFiles()
        async with stubbed(root, alt, files=files, check=False) as r:
            files.crash_at = files.steps + crash_at
            try:
                await r.purge()
                await r.idle()
            except SimulatedCrash:
                pass
            crashed, files.crash_at, files.crashed = files.crashed, 10**9, False
        async with stubbed(root, alt, check=False) as r:
            for key, body in (("u.1", MIDDLE), ("u.2", LARGE)):
                assert (await opened(r, key, span(0, 500)))[1] == body[:500]
                assert (await opened(r, key, span(len(body) - 500, len(body))))[1] == body[-500:]
    assert crash_at > 2


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_every_answer_is_of_one_content(seed: int, tmp_path: Path) -> None:
    """Writes, deletes, purges, reads of all kinds at once, with hardly room for stubs; a stub may be missing, never
    wrong."""
    dice = random.Random(seed)
    contents: dict[str, set[bytes]] = {f"u.{number}": {b""} for number in range(6)}

    async def change(r: Rig, key: str) -> None:
        body = dice.randbytes(dice.choice((10, 2000, 9216, 9217, 30_000, 300_000)))
        contents[key].add(body)
        await r.put(key, body, ack=dice.choice(list(Ack)))

    async def read(r: Rig, key: str) -> None:
        start, length, stub = dice.choice((0, 10, 9000)), dice.choice((1, 500, 8192)), dice.random() < 0.3
        select = whole if stub else lambda entry: ByteRange(min(start, entry.size - 1), min(start + length, entry.size))
        try:
            reading, got = await opened(r, key, select, stub=stub)
        except NoSuchKey:
            return
        of = [body for body in contents[key] if len(body) == reading.entry.size]
        part = reading.range
        if part is not None:
            assert got in {body[part.start : part.stop] for body in of}
        elif reading.stub is not None:
            assert got in {body[: len(reading.stub.head)] + body[len(body) - len(reading.stub.tail) :] for body in of}
        else:
            assert got in of

    async def delete(r: Rig, key: str) -> None:
        await r.delete(key)

    async def purge(r: Rig, key: str) -> None:
        await r.purge(key)

    alt = FaultyAlt(MemoryAlt())
    small = StubsSection(max_bytes=Size(2**20), head=Size(8192), tail=Size(1024))
    for _ in range(3):  # restarts
        async with stubbed(tmp_path, alt, stubs=small) as r:
            for _ in range(25):
                steps = dice.choices((change, read, delete, purge), (2, 6, 0.5, 4), k=6)
                await asyncio.gather(*(step(r, dice.choice(list(contents))) for step in steps))
            await r.idle()
            await r.drained()
            for key in contents:
                await purge(r, key)
                await read(r, key)
