"""Hits keep half of the loop while misses storm: the scales, and the pace of reads of alt."""

from __future__ import annotations

import asyncio

import pytest

from tierproxy.alt.limit import Limited
from tierproxy.alt.memory import MemoryAlt
from tierproxy.alt.pace import PATIENCE, TICK, Pace
from tierproxy.errors import AltBusy
from tierproxy.model import Headers, ObjectName
from tierproxy.server.hits_first import DEMAND, FEWEST, HOLD, LEAST, REST, SLOWER, HitsFirst
from tierproxy.shares import GUEST, Guest
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import BytesSource

HIT, MISS = 50e-6, 1e-3  #: seconds of the loop
LOOK = 0.25


class Loop:
    """A loop that is always busy: misses as many as want and may, hits with what is left, in turns of one each.
    ``share``: of a processor that others leave it."""

    def __init__(self, *, hits: float = 1e9, misses: float = 0.0, share: float = 1.0) -> None:
        self.has = share * LOOK
        self.rate: float | None = None
        self.hits_wanted, self.misses_wanted = hits, misses
        self.hits = self.misses = 0.0
        self.spent = self.now = 0.0
        self.scales = HitsFirst(self.allow, lambda: int(self.misses))

    def allowed(self) -> float:
        assert self.rate is not None
        return self.rate

    def allow(self, rate: float | None) -> None:
        self.rate = rate

    def go_on(self, looks: int) -> float:
        """What share of the last look's time hits had."""
        share = 0.0
        for _ in range(looks):
            may = self.misses_wanted if self.rate is None else min(self.rate, self.misses_wanted)
            missed = min(may * LOOK, self.has / (HIT + MISS))  # one hit in between, at least
            left = self.has - missed * MISS
            hit = min(self.hits_wanted * LOOK, left / HIT)
            self.hits, self.misses = self.hits + hit, self.misses + missed
            self.spent += missed * MISS + hit * HIT
            self.now += LOOK
            self.scales.look(int(self.hits), self.spent, self.now / LOOK * (LOOK - self.has), self.now)
            share = hit * HIT / self.has
        return share


def test_hits_get_their_half_back_soon_and_misses_go_on() -> None:
    loop = Loop()
    assert loop.go_on(8) == pytest.approx(1.0)
    assert loop.rate is None
    loop.misses_wanted = 5000.0
    assert loop.go_on(1) < 0.1
    assert loop.go_on(5) > 0.5
    assert loop.allowed() >= LEAST
    before = loop.misses
    shares = [loop.go_on(1) for _ in range(40)]
    assert min(shares) > 0.5
    assert sum(shares) / len(shares) == pytest.approx(1 - REST, abs=0.1)
    assert (loop.misses - before) / (40 * LOOK) > 100  # and they are not locked out


def test_a_loop_that_gets_little_of_the_machine_gives_hits_their_half_as_well() -> None:
    loop = Loop(share=0.03)
    loop.go_on(8)
    loop.misses_wanted = 5000.0
    loop.go_on(6)
    before = loop.misses
    shares = [loop.go_on(1) for _ in range(40)]
    assert min(shares) > 0.5
    assert loop.misses - before >= FEWEST * 40 * LOOK


@pytest.mark.parametrize(("second", "wanted"), [(40, 40), (400, 100)], ids=["fewer than may", "more than may"])
def test_the_next_step_down_begins_where_misses_are_and_not_where_they_might_be(second: int, wanted: float) -> None:
    allowed: list[float | None] = []
    begun = iter([0, 400, 400 + second])
    scales = HitsFirst(allowed.append, begun.__next__)
    for number in range(1, 4):
        scales.look(250 * number, number * 0.2, 0.0, number * LOOK)
    assert allowed[0] == pytest.approx(SLOWER * 400 / LOOK)
    assert allowed[1] == pytest.approx(wanted)


def test_nothing_is_slowed_down_where_nobody_wants_hits() -> None:
    loop = Loop(hits=DEMAND / 2, misses=5000.0)
    loop.go_on(20)
    assert loop.rate is None


def test_misses_are_let_go_when_hits_do_not_want_the_room_that_was_made() -> None:
    loop = Loop(hits=500.0, misses=5000.0)
    slow = sum(loop.go_on(1) * 0 + (loop.rate is not None) for _ in range(int(10 * HOLD / LOOK)))
    assert 0 < slow < 10 * HOLD / LOOK / 4  # it was tried now and then


def test_nothing_is_slowed_down_while_the_loop_has_time_for_both() -> None:
    loop = Loop(hits=1000.0, misses=100.0)
    loop.go_on(20)
    assert loop.rate is None


def test_time_in_which_a_loop_waits_for_a_processor_is_not_idle() -> None:
    allowed: list[float | None] = []
    for late in (0.0, 0.1):
        scales = HitsFirst(allowed.append, iter(range(0, 10_000, 100)).__next__)
        for number in range(1, 8):
            scales.look(1000 * number, number * 0.07, number * late, number * LOOK)
        assert bool(allowed) is bool(late)


def test_when_the_hits_end_misses_are_let_go_at_once() -> None:
    loop = Loop(misses=5000.0)
    loop.go_on(10)
    assert loop.allowed()
    loop.hits_wanted = 0.0
    loop.go_on(1)
    assert loop.rate is None


def test_when_the_storm_is_over_nothing_is_left_of_it() -> None:
    loop = Loop(misses=5000.0)
    loop.go_on(10)
    loop.misses_wanted = 1.0
    loop.go_on(20)
    assert loop.rate is None


async def test_so_many_reads_begin_in_a_second_and_clients_take_turns() -> None:
    clock = VirtualClock()
    pace = Pace(clock)
    begun: list[str] = []

    async def read(client: str) -> None:
        GUEST.set(Guest(client))
        await pace.turn()
        begun.append(client)

    await read("free")
    pace.allow(2 / TICK)
    tasks = [asyncio.create_task(read("ann")) for _ in range(20)]
    await clock.settle()
    tasks += [asyncio.create_task(read("bob")) for _ in range(3)]
    await clock.settle()
    assert begun == ["free", "ann", "ann"]
    await clock.advance(TICK)
    assert sorted(begun[3:]) == ["ann", "bob"]
    await clock.advance(2 * TICK)
    assert len(begun) == 9
    assert begun.count("bob") == 3
    pace.allow(None)
    await asyncio.gather(*tasks)
    assert (len(begun), pace.begun) == (24, 24)
    await read("free")
    assert clock.sleeping == 0


@pytest.mark.parametrize("rate", [3.0, 21.0, 39.0, 186.0])
async def test_a_rate_is_kept_that_is_no_whole_number_of_reads_in_a_tick(rate: float) -> None:
    clock = VirtualClock()
    pace = Pace(clock)
    pace.allow(rate)
    tasks = [asyncio.create_task(pace.turn()) for _ in range(400)]
    await clock.settle()
    for _ in range(int(2 / TICK)):
        await clock.advance(TICK)
    assert abs(pace.begun - 2 * rate) <= 2 + rate * TICK
    pace.allow(None)
    await asyncio.gather(*tasks)


async def test_who_cannot_begin_for_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.alt.pace.PATIENCE", 0.01)
    assert PATIENCE > 1
    clock = VirtualClock()
    pace = Pace(clock)
    alt = Limited(MemoryAlt(), 4, pace=pace)
    await alt.put(ObjectName("mail", "k"), BytesSource(b"x"), Headers(), md5="")
    pace.allow(1.0)
    body = await alt.get(ObjectName("mail", "k"))
    with pytest.raises(AltBusy):
        await alt.get(ObjectName("mail", "k"))
    await body.close()
    pace.allow(None)
    await (await alt.get(ObjectName("mail", "k"))).close()
    assert alt.running == 0
