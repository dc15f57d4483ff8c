"""Listings against a model in plain Python, and sums against what they sum up."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tierproxy.catalogue import SqliteCatalogue
from tierproxy.catalogue.blobs import VICTIMS
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.entries import STORE
from tierproxy.catalogue.journal import DUE, JOBS
from tierproxy.catalogue.listing import BLOBS, CLEAN, KEYS, PAGE, UNCLEAN, UNSENT, page, string_after_prefix
from tierproxy.catalogue.migrations import migrate
from tierproxy.catalogue.naming import register
from tierproxy.catalogue.rows import entry_row
from tierproxy.errors import NoSuchKey, NoSuchUpload, StaleGeneration
from tierproxy.model import Entry, Listed, ListPage, ListRequest, ObjectName, State, Totals
from tierproxy.purges import Booking, PurgeRun, RunKind, RunState
from tierproxy.testing.contracts.catalogue_rows import (
    counted,
    dirty,
    drop,
    entry,
    machine,
    put,
    read,
    removal,
    sqlite_catalogue,
    stored,
)
from tierproxy.traffic import Correction, Regret

LAST = "\U0010ffff"
NASTY = ["a", "b", "/", "//", ".", " ", "\x00", "\x7f", "é", "\ud7ff", "\ue000", "\uffff", "\U00010000", LAST]
keys = st.lists(st.sampled_from(NASTY), max_size=6).map("".join)
names = keys.filter(bool)  # a key has at least one byte; prefix and after may be empty
delimiters = st.sampled_from(["", "/", "a", "//", "/a", "\ud7ff", LAST, LAST + LAST])
requests = st.builds(
    ListRequest, st.just("mail"), prefix=keys, delimiter=delimiters, after=keys, limit=st.integers(0, 5)
)


@contextmanager
def table(rows: dict[str, State]) -> Iterator[Reads]:
    """A catalogue in memory with these keys."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        register(connection, None)
        for key, state in rows.items():
            connection.execute(STORE, entry_row(entry(ObjectName("mail", key), state=state)))
        yield Reads(connection)


def listed_by_the_book(keys: list[str], request: ListRequest) -> ListPage:
    """S3's listing, said as plainly as possible."""
    items: dict[str, bool] = {}
    for key in keys:
        if key.startswith(request.prefix):
            head, found, _ = key[len(request.prefix) :].partition(request.delimiter or "\ud800")
            items[request.prefix + head + found] = bool(found)
    left = [item for item in sorted(items, key=lambda item: item.encode()) if item > request.after or not request.after]
    taken = left[: request.limit]
    objects = tuple(Listed(item, 100, "etag", 1000.0) for item in taken if not items[item])
    prefixes = tuple(item for item in taken if items[item])
    return ListPage(objects, prefixes, taken[-1] if taken and len(left) > len(taken) else None)


@settings(max_examples=600, deadline=None)
@given(st.dictionaries(names, st.sampled_from(State), max_size=25), requests)
@example({"a/": State.CLEAN, "a/b": State.CLEAN, "a0": State.CLEAN}, ListRequest("mail", delimiter="/", after="a/"))
@example({f"a{LAST}b": State.CLEAN, "b": State.CLEAN}, ListRequest("mail", delimiter=LAST, after="", limit=1))
@example({f"{LAST}b": State.CLEAN}, ListRequest("mail", delimiter=LAST, after=LAST))
def test_a_page_is_what_the_model_says(rows: dict[str, State], request: ListRequest) -> None:
    visible = [key for key, state in rows.items() if state is not State.DELETING]
    with table(rows) as reads:
        assert page(reads, request) == listed_by_the_book(visible, request)


@settings(max_examples=100, deadline=None)
@given(st.sets(names, max_size=25), requests.filter(lambda request: request.limit > 0))
def test_pages_put_together_are_the_whole_listing(rows: set[str], request: ListRequest) -> None:
    whole = listed_by_the_book(list(rows), replace(request, limit=1000))
    objects: list[Listed] = []
    prefixes: list[str] = []
    with table(dict.fromkeys(rows, State.CLEAN)) as reads:
        for _ in range(len(rows) + 1):
            one = page(reads, request)
            objects += one.objects
            prefixes += one.prefixes
            if one.next_after is None:
                break
            request = replace(request, after=one.next_after)
    assert (tuple(objects), tuple(prefixes)) == (whole.objects, whole.prefixes)


@settings(max_examples=200, deadline=None)
@given(keys, keys, keys)
def test_the_string_after_a_prefix_is_a_bound(prefix: str, below: str, other: str) -> None:
    bound = string_after_prefix(prefix)
    if bound is not None:
        assert (prefix + below).encode() < bound.encode()
        assert other.startswith(prefix) or not prefix <= other < bound


@pytest.mark.parametrize(
    ("prefix", "bound"),
    [("", None), ("a", "b"), ("\ud7ff", "\ue000"), ("a" + LAST, "b"), (LAST + LAST, None), ("\x7f", "\x80")],
)
def test_the_string_after(prefix: str, bound: str | None) -> None:
    assert string_after_prefix(prefix) == bound


def test_a_listing_seeks_over_what_lies_below_a_common_prefix() -> None:
    deep = {f"{folder}/{number}": State.CLEAN for folder in "abc" for number in range(1000)}
    with table(deep) as reads:
        ticks = []
        reads.connection.set_progress_handler(lambda: ticks.append(1), 100)
        assert page(reads, ListRequest("mail", delimiter="/")).prefixes == ("a/", "b/", "c/")
        assert len(ticks) < 10


PLANS = {
    VICTIMS: (10,),
    UNSENT: ("mail", "", b"", 10),
    UNCLEAN: ("", "", "dirty", 10),
    CLEAN: ("", "", "clean", 10),
    BLOBS: ("", 10),
    PAGE: ("mail", "", b"", 10),
    KEYS: ("mail", "", 10),
    DUE: (1.0, 10),
    JOBS: (0, 10),
}


@pytest.mark.parametrize("sql", PLANS)
def test_a_walk_reads_its_index_in_order_and_sorts_nothing(sql: str) -> None:
    with table({}) as reads:
        plan = [row[3] for row in reads.rows(f"EXPLAIN QUERY PLAN {sql}", *PLANS[sql])]
    assert len(plan) == 1, plan
    assert "USING" in plan[0]


# ------------------------------------------------------------ sums

OPERATIONS = [
    "write", "queue", "delete", "fill", "learn", "relearn", "suspect", "settle", "uploaded", "forget", "purge",
    "count", "listed", "adopt", "postpone", "correct", "batch", "shadow", "end shadow", "shadow purge", "pin", "regret",
]  # fmt: skip
NAMES = [ObjectName("mail", "a"), ObjectName("mail", "b"), ObjectName("other", "c")]
steps = st.lists(
    st.tuples(
        st.sampled_from(OPERATIONS), st.sampled_from(NAMES), st.sampled_from([0, 0, 0, 0, 1]), st.integers(0, 1000)
    ),
    min_size=20,
    max_size=60,
)


async def perform(catalogue: SqliteCatalogue, operation: str, name: ObjectName, back: int, size: int) -> None:
    """One change; ``back`` generations behind the newest, so that some are stale."""
    new = catalogue.next_generation()
    old = catalogue.find(name)
    now = max((old.generation if old else 0) - back, 0)
    match operation:
        case "write":
            await catalogue.publish(stored(name, new - back * 3, size=size))
        case "queue":
            await catalogue.publish(dirty(name, new, size=size), job=put(name, new, size=size))
        case "delete":
            await catalogue.tombstone(name, new, removal(name, new))
        case "fill":
            await catalogue.fill(stored(name, new, size=size), expected=now or None)
        case "learn":
            await catalogue.learn(entry(name, new, size=size), expected=now or None)
        case "relearn":
            await catalogue.learn(entry(name, new, alt_etag=old.alt_etag if old else "x"), expected=now or None)
        case "suspect":
            await catalogue.suspect(name, now)
        case "settle":
            await catalogue.settle(name, now)
        case "uploaded":
            await catalogue.uploaded(name, now, "alt")
        case "forget":
            await catalogue.forget(name, now)
        case "purge":
            await catalogue.drop_blob(name, now, f"{name.key}#{now}", by="rule", at=1.0)
        case "count":
            await catalogue.count(counted(read(name, at=float(size)), machine(name)))
        case "correct":
            await catalogue.count(counted(corrections=(Correction(name, float(size)),)))
        case "regret":
            await catalogue.count(counted(read(name), regrets=(Regret(name, "rule:old", float(size), 5.0),)))
        case "batch" if old is not None:
            run = await catalogue.add_run(PurgeRun(0, RunKind.RULES, RunState.RUNNING, 1.0))
            await catalogue.drop_blobs([drop(old), drop(old)], at=float(size), booking=Booking(run.number, name))
        case "shadow purge" if old is not None:
            await catalogue.shadow_drop([drop(old)], at=float(size))
        case "shadow":
            await catalogue.begin_shadow(float(size))
        case "end shadow":
            await catalogue.end_shadow()
        case "pin":
            await catalogue.pin(name, float(size))
        case "listed":
            await catalogue.insert_listed([entry(name, new, size=size, headers=None)])
        case "adopt":
            await catalogue.adopt([dirty(name, new - back * 3, size=size)])
        case "postpone":
            await catalogue.postpone(put(name, now, attempts=size % 3))


async def all_rows(catalogue: SqliteCatalogue) -> list[Entry]:
    return [row for state in State for row in await catalogue.entries_in(state, None, 100)]


def summed(rows: list[Entry]) -> Totals:
    alive = [row for row in rows if row.state is not State.DELETING]
    blobs = [row for row in rows if row.blob is not None]
    unsent = [row for row in rows if row.state is State.DIRTY]
    return Totals(
        len(alive), sum(row.size for row in alive),
        len(blobs), sum(row.blob_bytes for row in blobs),
        len(unsent), sum(row.size for row in unsent),
    )  # fmt: skip


async def live_through(steps: list[tuple[str, ObjectName, int, int]], data: Path) -> None:
    async with sqlite_catalogue(data, generation_block=7) as catalogue:
        await catalogue.raise_generation(100)  # so that older ones are generations, too
        for step in steps:
            with suppress(StaleGeneration, NoSuchUpload, NoSuchKey):
                await perform(catalogue, *step)
        rows = await all_rows(catalogue)
        assert catalogue.totals() == summed(rows)
        for bucket in ("mail", "other"):
            assert catalogue.totals(bucket) == summed([row for row in rows if row.name.bucket == bucket])
        assert catalogue.queue_totals().jobs == len(catalogue.jobs())
        assert await catalogue.check() == []


@settings(max_examples=25, deadline=None)
@given(steps)
def test_totals_are_exact_whatever_happened(steps: list[tuple[str, ObjectName, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(live_through(steps, Path(data)))
