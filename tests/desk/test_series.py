"""Counters over time, and what is summed up of them."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.catalogue import CatalogueReader
from tierproxy.desk.series import POINTS, alt_use, latencies, percentile, series, speed
from tierproxy.stats import Latency
from tierproxy.traffic import DAY, Outcome, Rollup

HOUR = 3600


class Rollups:
    """A catalogue that has rollups alone. ``asked``: since when, the last time."""

    def __init__(self, *rollups: Rollup) -> None:
        self._rollups = rollups
        self.asked = 0.0

    def rollups(self, span: int, since: float, until: float) -> list[Rollup]:
        self.asked = since
        return [one for one in self._rollups if one.span == span and since <= one.at < until]

    def grown(self, span: int, since: float, until: float) -> Rollup:
        found: Counter[str] = Counter()
        for one in self.rollups(span, since, until):
            found.update(one.counters)
        return Rollup(int(since), span, found)


def reader(rollups: Rollups) -> CatalogueReader:
    return cast(CatalogueReader, rollups)


def test_days_are_the_sums_of_their_hours() -> None:
    day = 20_000 * DAY
    found = series(
        reader(
            Rollups(
                Rollup(day - HOUR, HOUR, {"writes.puts": 1}),
                Rollup(day, HOUR, {"writes.puts": 2, "gets.hits.disk": 3}),
                Rollup(day + 23 * HOUR, HOUR, {"writes.puts": 4, "gets.misses.fill": 5, "gets.misses.error": 6}),
            )
        ),
        "day", day - DAY, day + DAY,
    )  # fmt: skip
    assert [(point.at, point.puts) for point in found.points] == [(day - DAY, 1), (day, 6)]
    assert found.points[1].gets == {"disk": 3, "fill": 5, "error": 6}


def test_the_first_point_is_whole() -> None:
    held = Rollups(Rollup(7200, HOUR, {"writes.puts": 2}))
    assert [point.puts for point in series(reader(held), "hour", 7300, 9000).points] == [2]


def test_no_question_is_too_long_for_an_answer() -> None:
    held = Rollups()
    found = series(reader(held), "minute", 0, 1e9)
    assert held.asked >= 1e9 - (POINTS + 1) * 60
    assert found.since == 1e9 - POINTS * 60


def test_reads_are_of_people_less_those_that_were_scans() -> None:
    grown = {
        "reads.person": 10, "reads.scan": 2, "reads.backup": 1, "reads.corrected": 3, "reads.person.hits": 8,
        "reads.corrected.hits": 2, "regrets.person": 2, "regrets.corrected": 1,
    }  # fmt: skip
    [point] = series(reader(Rollups(Rollup(0, 60, grown))), "minute", 0, 60).points
    assert (point.reads, point.machine_reads, point.person_hits, point.regrets) == (7, 6, 6, 1)


def test_requests_to_alt_are_counted_by_class_and_failures_together() -> None:
    grown = {
        "alt.get.ok": 5, "alt.get.AltUnavailable": 2, "alt.put.ok": 1, "alt.bytes.read": 99, "alt.body.AltError": 7
    }  # fmt: skip
    assert alt_use(grown) == {"get": 7, "errors": 2, "put": 1, "bytes.read": 99}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 3600), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_percentiles_are_bounds_within_a_factor_of_two(times: list[float], share: float) -> None:
    counted = Latency()
    for time in times:
        counted.add(time)
    bound = percentile(counted.sample(), share)
    assert sum(time < bound for time in times) >= share * len(times)
    assert sum(int(time * 1e6) >= int(bound * 1e6) // 2 or time < 2e-6 for time in times) >= (1 - share) * len(times)


def test_latency_is_told_by_outcome_and_not_where_there_is_none() -> None:
    counted = Latency()
    for _ in range(99):
        counted.add(0.001)
    counted.add(1.0)
    grown = {f"latency.disk.{name}": count for name, count in counted.sample().items()}
    found = {one.outcome: one for one in latencies([Rollup(0, 60, grown)])}
    assert set(found) == {str(outcome) for outcome in Outcome}
    assert found["disk"].mean == pytest.approx((99 * 0.001 + 1) / 100)
    assert (found["disk"].p50, found["disk"].p99) == (0.001024, 0.001024)
    assert (found["fill"].gets, found["fill"].mean, found["fill"].p99) == (0, None, None)


def test_gets_a_second_are_those_of_the_last_whole_minute() -> None:
    now = 1_000_000 * 60 + 30
    held = Rollups(
        Rollup(now - 30, 60, {"gets.hits.disk": 999}), Rollup(now - 90, 60, {"gets.hits.disk": 120}),
        Rollup(now - 150, 60, {"gets.hits.disk": 6}),
    )  # fmt: skip
    assert speed(reader(held), now).per_second == 2.0


def test_gets_from_stubs_are_beside_the_hit_ratio_and_in_the_rate() -> None:
    now = 20_000 * DAY + 7200.0
    grown = {"gets.hits.disk": 3, "gets.misses.fill": 1, "gets.stubs.stub": 60}
    held = reader(Rollups(Rollup(int(now) - 60, 60, grown), Rollup(int(now) - HOUR, HOUR, grown)))
    found = speed(held, now)
    assert (found.hits["hour"].gets, found.hits["hour"].hits, found.hits["hour"].stubs) == (4, 3, 60)
    assert (found.hits["hour"].ratio, found.per_second) == (0.75, 64 / 60)
    (point,) = series(held, "minute", now - 120, now).points
    assert point.gets == {"disk": 3, "fill": 1, "stub": 60}
