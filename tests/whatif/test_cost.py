"""Prices, delays and what a replay costs."""

from __future__ import annotations

from array import array
from datetime import date
from pathlib import Path

import pytest

from tests.whatif.steps import DAY, delete, read, trace_of, write
from tierproxy.errors import ConfigError
from tierproxy.rules.model import NO_RULES
from tierproxy.traffic import Rollup
from tierproxy.whatif import cost
from tierproxy.whatif.latency import DEFAULT, Latencies, measured
from tierproxy.whatif.live import simulate
from tierproxy.whatif.prices import SECTIONS, parse
from tierproxy.whatif.result import MONTH, AltRequests, Delay

SHEET = (Path(__file__).parents[2] / "config" / "prices.toml").read_text()
PRICES = parse(SHEET)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_the_sheet_of_the_sources_is_read_and_says_where_it_is_from() -> None:
    assert PRICES.as_of > date(2024, 1, 1)
    assert any("aws.amazon.com/s3/pricing" in source for source in PRICES.sources)
    assert (PRICES.get, PRICES.put, PRICES.delete, PRICES.alt_gb_month) == (0.0004, 0.005, 0, 0.023)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("get    = 0.0004", 'get = "cheap"', "line 14: get: 'cheap' is no price; write dollars as a number"),
        ("get    = 0.0004", "get = -1", "line 14: get: -1 is no price; write dollars from 0 to 1,000,000"),
        ("get    = 0.0004", "get = nan", "line 14: get: nan is no price"),
        ("get    = 0.0004", "gte = 0.0004", "line 14: there is no option gte; did you mean get?"),
        ("get    = 0.0004", "", "line 13: get is missing; write it below [requests]"),
        ("[alt]", "[alto]", "line 20: there is no section alto; did you mean alt?"),
        ("as_of   = 2025-06-01", 'as_of = "June"', "line 7: as_of: 'June' is no date"),
        ("[disk]", "[disk", "line 24: this is not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_sheet_is_refused_with_its_line_and_what_to_write(old: str, new: str, said: str) -> None:
    assert f"prices.toml {said}" in refusal(SHEET.replace(old, new))


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = refusal("[sheet]\n")
    assert all(f"{name} is missing" in said for names in SECTIONS.values() for name in names)


def test_an_empty_list_of_sources_is_refused() -> None:
    assert "say where the prices are from" in refusal(SHEET.replace("sources = [", "sources = []\nold = ["))


def test_dollars_are_those_of_a_month() -> None:
    alt = AltRequests(get=10_000, put=2000, delete=5, fetched=3 * 10**9)
    half = cost.dollars(PRICES, alt, seconds=MONTH / 2, max_bytes=10**10, kept_bytes=2e9)
    assert half.requests == pytest.approx(2 * (10 * 0.0004 + 2 * 0.005))
    assert (half.disk, half.stored, half.egress) == pytest.approx((0.8, 0.046, 0.0))
    assert half.total == pytest.approx(0.8 + 0.046 + 2 * 0.014)


def test_no_time_costs_no_requests() -> None:
    assert cost.dollars(PRICES, AltRequests(get=5), seconds=0.0, max_bytes=0, kept_bytes=0.0).requests == 0


def test_what_alt_holds_is_the_mean_over_time() -> None:
    trace = trace_of([write(0, "a", 1000), write(DAY, "b", 500), write(2 * DAY, "a", 3000), delete(3 * DAY, "b"),
                      read(4 * DAY, "a", 3000)])  # fmt: skip
    assert simulate(trace, NO_RULES).kept_bytes == (1000 + 1500 + 3500 + 3000) / 4


def test_requests_of_a_replay_are_counted_by_class() -> None:
    trace = trace_of([write(0, "a"), read(1, "b", 700), read(2, "b", 700), delete(3, "a")])
    found = simulate(trace, NO_RULES, prices=PRICES)
    assert found.alt == AltRequests(get=1, put=1, delete=1, fetched=700, sent=1000)
    assert found.dollars.total > 0


def test_the_delay_is_that_of_where_reads_came_from() -> None:
    latencies = Latencies(memory=1.0, disk=2.0, alt=10.0, alt_bytes_per_second=100.0, memory_share=0.5)
    assert latencies.of(0, array("q")) == Delay()
    assert latencies.of(4, array("q", [1000])) == Delay((2 * 1 + 2 * 2 + 20) / 5, 20.0)
    assert latencies.of(1000, array("q", [5])) == Delay(pytest.approx(1510.05 / 1001), 2.0)  # type: ignore[arg-type]
    assert latencies.of(98, array("q", [900, 100])).p99 == 11.0


def test_measured_latencies_are_means_of_what_a_node_counted() -> None:
    rollups = [
        Rollup(0, 60, {"latency.memory.count": 2, "latency.memory.us": 40, "gets.hits.memory": 3}),
        Rollup(60, 60, {"latency.fill.count": 1, "latency.fill.us": 300_000, "latency.pass.count": 1,
                        "latency.pass.us": 100_000, "latency.join.count": 9, "gets.hits.disk": 1}),
    ]  # fmt: skip
    found = measured(rollups)
    assert (found.memory, found.disk, found.alt, found.memory_share) == (0.00002, DEFAULT.disk, 0.2, 0.75)
    assert measured([]) == DEFAULT
