"""What a scrape shows of times, what it costs others, and how late the event loop is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metrics.watched import scrape, watched
from tierproxy.errors import DiskUnavailable
from tierproxy.metrics import LoopLag, Measured
from tierproxy.metrics.exposition import ROOMS
from tierproxy.metrics.families import BOUNDS, families, histogram
from tierproxy.metrics.lag import PERIOD, WINDOW
from tierproxy.purges import RulesInForce
from tierproxy.stats import CatalogueGauges, Latency
from tierproxy.testing.clock import VirtualClock


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 200), max_size=60))
def test_a_histogram_counts_what_is_below_each_bound(times: list[float]) -> None:
    latency = Latency()
    for time in times:
        latency.add(time)
    metric = histogram("tierproxy_test_seconds", "Test")
    (family,) = families([metric], [metric.of(latency)])
    for sample in family.samples:
        bound = sample.labels.get("le")
        if bound == "+Inf" or sample.name.endswith("_count"):
            assert sample.value == len(times)
        elif sample.name.endswith("_sum"):
            assert sample.value == pytest.approx(sum(times), abs=1e-6 * len(times))
        elif bound is not None:
            assert sample.value == sum(int(time * 1e6) < float(bound) * 1e6 for time in times)
    assert len(family.samples) == len(BOUNDS) + 3


# ------------------------------------------------------------ what a scrape costs others


async def test_others_get_their_turn_between_two_rooms(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        await scrape(rig)  # what is looked up is at hand now
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(count())
        await scrape(rig)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert turns >= len(ROOMS)


class Reluctant:
    """A catalogue that answers when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked = 0
        self.found = CatalogueGauges(file_bytes=1)
        self.error: Exception | None = None

    async def gauges(self) -> CatalogueGauges:
        self.asked += 1
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return self.found

    async def records(self, _since: int) -> list[object]:
        return []


async def test_a_slow_catalogue_holds_up_no_scrape_and_is_asked_once() -> None:
    slow, clock = Reluctant(), VirtualClock()
    measured = Measured(slow, clock, RulesInForce, patience=0)  # type: ignore[arg-type]
    before = measured.gauges
    await asyncio.gather(*(measured.refresh() for _ in range(5)))
    assert measured.gauges is before
    slow.let.set()
    while measured.gauges is before:
        await asyncio.sleep(0)
    await measured.refresh()
    assert slow.asked == 1
    assert measured.gauges is slow.found
    await clock.advance(20)
    await measured.refresh()
    await measured.stop()
    assert slow.asked <= 2


async def test_a_catalogue_that_fails_costs_its_values_and_not_the_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> object:
        raise DiskUnavailable("EIO")

    def broken(*_: object) -> object:
        raise DiskUnavailable("EIO")

    async with watched(tmp_path) as rig:
        monkeypatch.setattr(rig.parts.catalogue, "gauges", fail)
        monkeypatch.setattr(rig.parts.catalogue, "totals", broken)
        found = await scrape(rig)
        monkeypatch.undo()
    assert found.value("tierproxy_metrics_failures_total") == 5, "the look in a thread, and four rooms"
    assert found.value("tierproxy_alt_up") == 1, "alarms do not depend on the catalogue"
    assert found.value("tierproxy_gets_total", outcome="memory") == 0
    assert "tierproxy_dirty_bytes" not in found.text


# ------------------------------------------------------------ the event loop


async def test_the_watcher_measures_how_late_it_wakes() -> None:
    clock = VirtualClock()
    lag = LoopLag(clock)
    watcher = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    await clock.advance(10 * PERIOD)
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
    assert lag.latency.count == 10
    assert lag.longest < 1e-9


async def test_the_longest_lag_is_forgotten_after_two_minutes_at_most() -> None:
    clock = VirtualClock()
    lag = LoopLag(clock)
    lag.add(0.7)
    assert lag.longest == 0.7
    await clock.advance(WINDOW)
    lag.add(0.1)
    assert lag.longest == 0.7
    await clock.advance(WINDOW)
    lag.add(0.2)
    assert lag.longest == 0.2
    await clock.advance(5 * WINDOW)
    lag.add(0.0)
    assert lag.longest == 0.0
