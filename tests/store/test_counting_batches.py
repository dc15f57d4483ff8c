"""Reads told in batches count exactly as the same reads told one by one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import CountingSection, FoldersSection
from tierproxy.config.values import Duration
from tierproxy.errors import DiskUnavailable
from tierproxy.mail.names import Naming
from tierproxy.model import ByteRange, Entry, Headers, ObjectName, State, Tier
from tierproxy.store import tally
from tierproxy.store.counters import Counters
from tierproxy.store.rollups import Rollups
from tierproxy.store.tally import Tally
from tierproxy.testing.clock import VirtualClock
from tierproxy.traffic import Counts, Delivery, Event, Outcome, Reason, Visitor

KEYS = [f"ann/mailboxes/INBOX/dbox-Mails/u.{number}" for number in range(6)] + ["ann/dovecot.index.log", "other"]
VISITORS = [
    Visitor("ann@1", "ann", "mutt"), Visitor("bob@2", "bob", "mutt"), Visitor("robot@3", "robot", "", Reason.BACKUP),
    Visitor("ann@1", "ann", "mutt", Reason.PERSON), Visitor("", "", ""), Visitor("backup@4", "backup", "rclone"),
    Visitor("ann@1", "ann", "mutt", owner="eve", folder="trash"),
]  # fmt: skip


@dataclass(frozen=True)
class Lot:
    """Gets of one object that were answered alike, ``lengths`` of them."""

    key: int
    visitor: int
    disk: bool
    ranged: bool
    lengths: tuple[int, ...]
    size: int
    row: tuple[str | None, str | None]


@dataclass(frozen=True)
class Later:
    seconds: float


@dataclass(frozen=True)
class Flush:
    fails: bool = False


Step = Lot | Later | Flush


@st.composite
def lots(draw: st.DrawFn) -> Lot:
    ranged, size = draw(st.booleans()), draw(st.sampled_from([0, 10, 10, 100]))
    times = draw(st.integers(1, 4))
    lengths = [size] * times
    if ranged and size:
        lengths = draw(st.lists(st.integers(1, size), min_size=times, max_size=times))
    elif draw(st.integers(0, 9)) == 0:
        lengths = [0] * times
    row = draw(st.sampled_from([("ann", "inbox"), ("", ""), (None, None), ("bob", None)]))
    return Lot(
        draw(st.integers(0, len(KEYS) - 1)), draw(st.integers(0, len(VISITORS) - 1)), draw(st.booleans()), ranged,
        tuple(lengths), size, row,
    )  # fmt: skip


@st.composite
def walks(draw: st.DrawFn) -> list[Lot]:
    """One visitor, the keys in order: what is a scan if it is long enough."""
    visitor = draw(st.sampled_from([0, 1, 6]))
    return [Lot(key, visitor, False, False, (10,) * draw(st.integers(1, 3)), 10, ("ann", "inbox")) for key in range(6)]


STEPS = st.lists(
    st.one_of(
        lots().map(lambda one: [one]), walks(), st.booleans().map(lambda fails: [Flush(fails)]),
        st.sampled_from([0.0, 0.3, 3.0, 11.0, 86_000.0]).map(lambda seconds: [Later(seconds)]),
    ),
    max_size=20,
).map(lambda pieces: [step for piece in pieces for step in piece])  # fmt: skip


@dataclass
class Books:
    """Stands for the catalogue and for history."""

    written: list[Counts] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    fails: bool = False

    async def count(self, counts: Counts) -> None:
        if self.fails:
            raise DiskUnavailable("EIO")
        self.written.append(counts)

    def note(self, event: Event, times: int = 1) -> None:
        self.events += [event] * times


class Bench:
    def __init__(self, section: CountingSection) -> None:
        self.clock, self.counters, self.books = VirtualClock(), Counters(), Books()
        self.tally = Tally(
            catalogue=cast(Any, self.books), clock=self.clock, counters=self.counters,
            rollups=Rollups(self.counters.sample), naming=Naming((), FoldersSection()).of, history=self.books,
            settings=section,
        )  # fmt: skip
        self.batch: list[Delivery] = []

    async def one_by_one(self, lot: Lot) -> None:
        visitor, (owner, folder) = VISITORS[lot.visitor], lot.row
        entry = Entry(
            ObjectName("mail", KEYS[lot.key]), 1, State.CLEAN, lot.size, "0" * 32, 0.0, headers=Headers(), owner=owner,
            folder=folder,
        )  # fmt: skip
        outcome = Outcome.DISK if lot.disk else Outcome.MEMORY
        for length in lot.lengths:
            reading = SimpleNamespace(
                entry=entry, outcome=outcome, tier=Tier(outcome), timings={}, purged=None,
                range=ByteRange(0, length) if lot.ranged else None,
            )  # fmt: skip
            self.counters.got(outcome)
            self.tally.delivered(cast(Any, reading), visitor, length, 0.0)

    async def batched(self, lot: Lot) -> None:
        self.batch.append(
            Delivery(
                ObjectName("mail", KEYS[lot.key]), VISITORS[lot.visitor], Outcome.DISK if lot.disk else Outcome.MEMORY,
                lot.size, *lot.row, lot.ranged, len(lot.lengths), sum(lot.lengths), self.clock.now(),
            )
        )  # fmt: skip

    async def flush(self, fails: bool) -> None:
        self.tell()
        self.books.fails = fails
        await self.tally.flush()

    def tell(self) -> None:
        self.tally.delivered_all(self.batch)
        self.batch.clear()

    async def run(self, steps: Sequence[Step], *, in_batches: bool) -> None:
        for step in steps:
            if isinstance(step, Later):
                await self.clock.advance(step.seconds)
            elif isinstance(step, Flush):
                await self.flush(step.fails)
            else:
                await (self.batched(step) if in_batches else self.one_by_one(step))
        await self.flush(False)


def lines(events: Sequence[Event]) -> tuple[Counter[Event], Counter[tuple[object, ...]]]:
    """Events without their bytes, and the bytes of those that are alike but for whether they begin a read."""
    sent: Counter[tuple[object, ...]] = Counter()
    for one in events:
        sent[(*one._replace(sent=0, first=True),)] += one.sent
    return Counter(one._replace(sent=0) for one in events), sent


def both(steps: Sequence[Step], section: CountingSection) -> tuple[Bench, Bench]:
    plain, batched = Bench(section), Bench(section)
    asyncio.run(plain.run(steps, in_batches=False))
    asyncio.run(batched.run(steps, in_batches=True))
    return plain, batched


@pytest.mark.parametrize("window", [0, 10])
@pytest.mark.parametrize("scan", [0, 3])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_a_batch_counts_what_the_same_reads_count_one_by_one(window: int, scan: int, steps: list[Step]) -> None:
    section = CountingSection(
        range_window=Duration(window), scan_objects=scan, scan_gap=Duration(10), machine_access_keys=("backup",)
    )
    plain, batched = both(steps, section)
    assert batched.counters == plain.counters
    assert batched.counters.sample() == plain.counters.sample()
    assert batched.books.written == plain.books.written
    assert lines(batched.books.events) == lines(plain.books.events)


def lot(key: int, times: int = 1, visitor: int = 0, **others: Any) -> Lot:
    plain = {"disk": False, "ranged": False, "lengths": (10,) * times, "size": 10, "row": ("ann", "inbox")}
    facts: dict[str, Any] = plain | others
    return Lot(key, visitor, **facts)


def test_a_scan_recognised_later_takes_back_one_read_of_each_object_of_a_batch() -> None:
    section = CountingSection(scan_objects=3)
    plain, batched = both([lot(0, 5), lot(1, 2), Flush(), Later(1), lot(2, 4), lot(3, 2)], section)
    assert batched.counters == plain.counters
    assert (batched.counters.corrected, batched.counters.reads[Reason.SCAN]) == (2, 6)
    (early, late) = batched.books.written
    assert [one.name.key for one in late.corrections] == KEYS[:2]
    assert [one.reads for one in early.reads] == [5, 2]


def test_of_ranges_of_one_batch_the_first_is_the_read_and_the_bytes_are_all_told() -> None:
    _, batched = both([lot(0, ranged=True, lengths=(1, 2, 4))], CountingSection(range_window=Duration(10)))
    assert batched.counters.reads[Reason.PERSON] == 1
    assert [one.first for one in batched.books.events] == [True, False, False]
    assert sum(one.sent for one in batched.books.events) == batched.counters.delivered[Tier.MEMORY] == 7


def test_what_finds_no_room_while_the_catalogue_fails_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.store.pending.NAMES", 1)
    plain, batched = both([lot(0, 3), lot(1, 5), Flush(True)], CountingSection())
    assert batched.counters.lost_counts == plain.counters.lost_counts == 5


def test_a_time_ahead_of_the_clock_counts_as_now() -> None:
    bench = Bench(CountingSection())
    asyncio.run(bench.batched(lot(0)))
    bench.batch[0] = bench.batch[0]._replace(at=bench.clock.now() + 1000)
    asyncio.run(bench.flush(False))
    assert bench.books.written[0].reads[0].last_read_at == bench.clock.now()


def test_what_is_remembered_for_ranges_is_bounded_in_batches_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "RECENT", 2)
    steps = [*(lot(key) for key in range(4)), lot(0, 2, ranged=True), lot(3, 2, ranged=True)]
    plain, batched = both(steps, CountingSection(scan_objects=0))
    assert batched.counters.reads == plain.counters.reads
    assert batched.counters.reads[Reason.PERSON] == 5


def test_a_read_is_remembered_for_its_ranges_no_longer_than_the_window() -> None:
    bench = Bench(CountingSection(range_window=Duration(10), scan_objects=0))

    async def play() -> None:
        await bench.batched(lot(0, 1, ranged=True))
        await bench.flush(False)
        await bench.clock.advance(6)
        await bench.batched(lot(1, 1, ranged=True))
        await bench.flush(False)
        assert len(bench.tally._recent) == 2
        await bench.clock.advance(6)
        await bench.flush(False)
        assert [name.key for _, name in bench.tally._recent] == [KEYS[1]]

    asyncio.run(play())
