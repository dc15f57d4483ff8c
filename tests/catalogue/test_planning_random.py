"""SQL and naive Python make the same plans of random catalogues under random rules."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.catalogue.planned import (
    Drawn,
    Row,
    drawn_objects,
    filled,
    naive,
    naive_decided,
    naive_pressed,
    naive_survey,
    scopes,
    shadowed,
)
from tierproxy.catalogue import SqliteCatalogue
from tierproxy.catalogue.compile import decider
from tierproxy.catalogue.connection import connect
from tierproxy.model import ObjectName
from tierproxy.purges import Candidate, Place, Scope, Standing, facts_of
from tierproxy.rules.evaluate import deciding
from tierproxy.rules.model import Order

bounded = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
PAGE = 2


@bounded
@given(drawn_objects(), st.lists(scopes(), min_size=4, max_size=8))
def test_sql_and_python_make_the_same_plans(objects: list[Drawn], wanted: list[Scope]) -> None:
    asyncio.run(_compare(objects, wanted))


@bounded
@given(drawn_objects(), st.lists(scopes(), min_size=4, max_size=8))
def test_sql_and_python_make_the_same_plans_of_the_shadow(objects: list[Drawn], wanted: list[Scope]) -> None:
    asyncio.run(_compare_shadows(objects, wanted))


async def _compare(objects: Sequence[Drawn], wanted: Sequence[Scope]) -> None:
    async with filled(objects) as catalogue:
        standings = [standing for one in objects if (standing := catalogue.standing(one.facts.name))]
        assert len(standings) == len(objects)
        for scope in wanted:
            _compare_deciders(catalogue, standings, scope)
            await _compare_plans(catalogue, naive(standings, scope), scope)


async def _compare_shadows(objects: Sequence[Drawn], wanted: Sequence[Scope]) -> None:
    async with filled(objects) as catalogue:
        await shadowed(catalogue, objects)
        seen = [standing for one in objects if (standing := catalogue.standing(one.facts.name))]
        standings = [_in_shadow(catalogue, standing) for standing in seen if standing.shadow]
        for scope in wanted:
            await _compare_plans(catalogue, naive(standings, scope), replace(scope, shadow=True), skip=True)


def _in_shadow(catalogue: SqliteCatalogue, standing: Standing) -> Standing:
    """As if the shadow were the disk."""
    connection = connect(catalogue._database.file, cache_kib=100, read_only=True)
    try:
        sql = "SELECT bytes, stored_at, purged_at FROM shadow WHERE bucket = ? AND key = ?"
        size, stored_at, purged_at = connection.execute(sql, standing.entry.name).fetchone()
    finally:
        connection.close()
    entry = replace(standing.entry, blob_bytes=size, stored_at=stored_at, purged_at=purged_at)
    return replace(standing, entry=entry)


def _compare_deciders(catalogue: SqliteCatalogue, standings: Sequence[Standing], scope: Scope) -> None:
    """Of every row, those without a blob and tombstones too."""
    sql = decider(scope.rules, scope.now)
    connection: sqlite3.Connection = connect(catalogue._database.file, cache_kib=100, read_only=True)
    try:
        rows = connection.execute(f"SELECT bucket, key, {sql.text} FROM entry", sql.values).fetchall()
    finally:
        connection.close()
    expected = {one.entry.name: deciding(scope.rules, facts_of(one), scope.now) for one in standings}
    assert {ObjectName(bucket, key): rule for bucket, key, rule in rows} == expected


async def _compare_plans(catalogue: SqliteCatalogue, rows: Sequence[Row], scope: Scope, *, skip: bool = False) -> None:
    assert await catalogue.survey(scope) == naive_survey(rows, scope)
    assert await _decided(catalogue, scope) == naive_decided(rows)
    for order in Order:
        if skip and order in {Order.FIFO, Order.SIEVE, Order.S3_FIFO}:
            continue  # the shadow has no queues of its own
        for kept in (False, True):
            expected = naive_pressed(rows, scope, order, kept=kept)
            assert await _pressed(catalogue, scope, order, kept=kept) == expected
            if not kept:
                await _compare_ahead(catalogue, rows, scope, order, expected)


async def _compare_ahead(
    catalogue: SqliteCatalogue, rows: Sequence[Row], scope: Scope, order: Order, expected: Sequence[tuple[object, ...]]
) -> None:
    places = {line[0]: number for number, line in enumerate(expected)}
    for row in rows:
        place = places.get(row.name)
        before = [line[3] for line in expected[: place or 0]]
        wanted = None if place is None else (place, sum(before))  # type: ignore[arg-type]
        assert await catalogue.ahead(scope, order, row.name) == wanted


async def _decided(catalogue: SqliteCatalogue, scope: Scope) -> list[tuple[object, ...]]:
    found: list[Candidate] = []
    while page := await catalogue.decided(scope, found[-1].name if found else None, PAGE):
        found += page
    return [_line(one) for one in found]


async def _pressed(catalogue: SqliteCatalogue, scope: Scope, order: Order, *, kept: bool) -> list[tuple[object, ...]]:
    found: list[Candidate] = []
    after = None
    while page := await catalogue.pressed(scope, order, PAGE, after=after, kept=kept):
        found += page
        after = Place(found[-1].rank, found[-1].name)
    return [_line(one) for one in found]


def _line(candidate: Candidate) -> tuple[object, ...]:
    return (candidate.name, *astuple(candidate)[1:])
