"""Pages of objects, filtered, and the heat map: random catalogues beside the same made in Python."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.catalogue.planned import Drawn, drawn_objects, filled
from tierproxy.catalogue import SqliteCatalogue, Wanted, finding, open_reader
from tierproxy.catalogue.scopes import START
from tierproxy.model import ObjectName, State
from tierproxy.purges import Standing
from tierproxy.stats import AGES, READ_CLASSES
from tierproxy.testing.rules import BUCKETS, NOW

bounded = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
PAGES = 100  #: more than any walk of these takes


def wishes() -> st.SearchStrategy[Wanted]:
    return st.builds(
        Wanted,
        st.sampled_from(("", *BUCKETS)),
        st.sampled_from(("", "mail/", "mail/alice", "lists")),
        st.just(START),
        st.sampled_from((None, None, "", "alice", "bob")),
        st.sampled_from((None, None, *State)),
    )


@bounded
@given(drawn_objects(), wishes(), st.integers(1, 4), st.sampled_from((1, 3, 1000)))
def test_pages_have_all_that_was_asked_for_in_order(
    objects: list[Drawn], wanted: Wanted, limit: int, looked_at: int
) -> None:
    asyncio.run(_walk(objects, wanted, limit, looked_at))


async def _walk(objects: Sequence[Drawn], wanted: Wanted, limit: int, looked_at: int) -> None:
    async with filled(objects) as catalogue:
        standings = [standing for one in objects if (standing := catalogue.standing(one.facts.name))]
        expected = sorted(one.entry.name for one in standings if _fits(one, wanted))
        with patch.object(finding, "LOOKED_AT", looked_at):
            assert _pages(catalogue, wanted, limit) == expected


def _pages(catalogue: SqliteCatalogue, wanted: Wanted, limit: int) -> list[ObjectName]:
    found: list[ObjectName] = []
    with open_reader(catalogue._database.file.parent.parent) as reader:
        for _ in range(PAGES):
            page = reader.found(wanted, limit)
            assert len(page.entries) <= limit
            found += [entry.name for entry, _ in page.entries]
            if page.next is None:
                return found
            assert page.next > wanted.after
            wanted = Wanted(wanted.bucket, wanted.prefix, page.next, wanted.owner, wanted.state)
    raise AssertionError("the walk does not end")


def _fits(one: Standing, wanted: Wanted) -> bool:
    entry = one.entry
    state = entry.state is not State.DELETING if wanted.state is None else entry.state is wanted.state
    return (
        state
        and wanted.bucket in {"", entry.name.bucket}
        and entry.name.key.startswith(wanted.prefix)
        and wanted.owner in {None, entry.owner}
    )


@bounded
@given(drawn_objects())
def test_every_object_is_in_the_cell_of_its_age_and_reads(objects: list[Drawn]) -> None:
    asyncio.run(_heat(objects))


async def _heat(objects: Sequence[Drawn]) -> None:
    async with filled(objects) as catalogue:
        standings = [standing for one in objects if (standing := catalogue.standing(one.facts.name))]
        alive = [one for one in standings if one.entry.state is not State.DELETING]
        with open_reader(catalogue._database.file.parent.parent) as reader:
            for bucket in ("", *BUCKETS):
                inside = [one for one in alive if bucket in {"", one.entry.name.bucket}]
                heat = reader.heat(bucket=bucket, now=NOW)
                for age, row in enumerate(heat.cells):
                    for times, cell in enumerate(row):
                        there = [one.entry for one in inside if _place(one) == (age, times)]
                        assert cell.objects == len(there)
                        assert cell.bytes == sum(entry.size for entry in there)
                        assert cell.disk_objects == sum(entry.blob is not None for entry in there)
                        assert cell.disk_bytes == sum(entry.blob_bytes for entry in there)
                assert {len(row) for row in heat.cells} == {len(READ_CLASSES)}


def _place(one: Standing) -> tuple[int, int]:
    age = NOW - one.entry.written_at
    reads = one.entry.reads
    times = min(reads, 3) if reads <= 5 else 4
    return next((number for number, (_, bound) in enumerate(AGES) if age < bound), len(AGES)), times
