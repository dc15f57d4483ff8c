"""Statistics of random catalogues, beside the same sums made in Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.catalogue.planned import Drawn, drawn_objects, filled
from tierproxy.catalogue import stats
from tierproxy.catalogue.turns import Turns
from tierproxy.model import ObjectName, State
from tierproxy.purges import Standing
from tierproxy.stats import AGES, OLDEST, Breakdown, StatsRow
from tierproxy.testing.contracts.catalogue_rows import sqlite_catalogue, stored
from tierproxy.testing.rules import BUCKETS, NOW
from tierproxy.traffic import DAY

bounded = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@bounded
@given(drawn_objects())
def test_statistics_are_the_sums_of_the_rows(objects: list[Drawn]) -> None:
    asyncio.run(_compare(objects))


async def _compare(objects: Sequence[Drawn]) -> None:
    async with filled(objects) as catalogue:
        standings = [standing for one in objects if (standing := catalogue.standing(one.facts.name))]
        for bucket in ("", *BUCKETS):
            inside = [one for one in standings if bucket in {"", one.entry.name.bucket}]
            alive = [one for one in inside if one.entry.state is not State.DELETING]
            for by, label in LABELS.items():
                table = await catalogue.stats(by, bucket=bucket, now=NOW)
                assert {row.label: row for row in table.rows if row.objects} == _rows(alive, label)
                assert table.total == _row("", alive)
            days = await catalogue.stats(Breakdown.DAY, bucket=bucket, now=NOW)
            assert list(days.rows) == _days(inside)
            assert days.total.objects == sum(any(one[1] + one[2] for one in each.days) for each in inside)


def _age(standing: Standing) -> str:
    age = NOW - standing.entry.written_at
    return next((label for label, bound in AGES if age < bound), OLDEST)


@bounded
@given(drawn_objects())
def test_one_look_tells_what_four_looks_tell(objects: list[Drawn]) -> None:
    asyncio.run(_compare_overview(objects))


async def _compare_overview(objects: Sequence[Drawn]) -> None:
    async with filled(objects) as catalogue:
        reads, turns = catalogue._database.reads, Turns(lambda _seconds: None)
        for bucket in ("", *BUCKETS):
            found = stats.overview(reads, bucket, NOW, turns)
            assert found.heat == stats.heat(reads, bucket, NOW, turns)
            assert list(found.tables) == [stats.table(reads, by, bucket, NOW, turns) for by in LABELS]


LABELS: dict[Breakdown, Callable[[Standing], str]] = {
    Breakdown.AGE: _age,
    Breakdown.OWNER: lambda standing: standing.entry.owner or "",
    Breakdown.FOLDER: lambda standing: standing.entry.folder or "",
}


def _rows(standings: Sequence[Standing], label: Callable[[Standing], str]) -> dict[str, StatsRow]:
    labels = {label(one) for one in standings}
    return {wanted: _row(wanted, [one for one in standings if label(one) == wanted]) for wanted in labels}


def _row(label: str, standings: Sequence[Standing]) -> StatsRow:
    entries = [one.entry for one in standings]
    stored = [entry for entry in entries if entry.blob is not None]
    read = [entry.reads for entry in entries]
    classes = tuple(sum(low <= reads <= high for reads in read) for low, high in CLASSES)
    return StatsRow(
        label, len(entries), sum(entry.size for entry in entries), len(stored),
        sum(entry.blob_bytes for entry in stored), sum(read), sum(one.machine_reads for one in standings), classes,
    )  # fmt: skip


CLASSES = ((0, 0), (1, 1), (2, 2), (3, 5), (6, 10**9))


def _days(standings: Sequence[Standing]) -> list[StatsRow]:
    bins = [one for standing in standings for one in standing.days]
    rows = []
    for day in sorted({one[0] for one in bins}):
        found = [one for one in bins if one[0] == day]
        label = datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")
        people, machines = sum(one[1] for one in found), sum(one[2] for one in found)
        rows.append(
            StatsRow(label, sum(one[1] + one[2] > 0 for one in found), reads=people, machine_reads=machines)
        )  # fmt: skip
    return rows


async def test_the_largest_owners_come_first_and_the_rest_only_in_the_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "LARGEST", 2)
    monkeypatch.setattr(stats, "PAGE", 2)
    async with sqlite_catalogue(tmp_path) as catalogue:
        for number, owner in enumerate("abcab", 1):
            await catalogue.publish(stored(ObjectName("mail", str(number)), number, owner=owner, size=number))
        table = await catalogue.stats(Breakdown.OWNER, bucket="", now=NOW)
        assert [(row.label, row.bytes) for row in table.rows] == [("b", 7), ("a", 5)]
        assert (table.total.objects, table.total.bytes) == (5, 15)


async def test_a_breakdown_by_rule_is_no_table(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        with pytest.raises(ValueError, match="survey"):
            await catalogue.stats(Breakdown.RULE, bucket="", now=NOW)
