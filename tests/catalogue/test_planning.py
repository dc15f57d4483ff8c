"""What is particular to plans in SQL; what plans are is in the contract of the catalogue."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest

from tierproxy.catalogue import SqliteCatalogue, open_reader, pressing
from tierproxy.catalogue.connection import connect
from tierproxy.catalogue.database import PLAN_NICE, Reads
from tierproxy.catalogue.patterns import glob_of, is_literal
from tierproxy.catalogue.scopes import Span, pages
from tierproxy.errors import DiskUnavailable
from tierproxy.model import Headers, ObjectName
from tierproxy.purges import Place, Scope, facts_of
from tierproxy.rules.evaluate import deciding
from tierproxy.rules.model import (
    Action,
    ActionKind,
    Condition,
    Measure,
    NumberCondition,
    Operator,
    Order,
    Rule,
    RuleSet,
    TextCondition,
    Word,
)
from tierproxy.stats import Breakdown
from tierproxy.testing.contracts.catalogue_planning import NOW, PURGE, key_rule
from tierproxy.testing.contracts.catalogue_rows import MAIL, sqlite_catalogue, stored
from tierproxy.traffic import DAY, Correction, Counts, ReadCount

# ---------------------------------------------------------------- what a rule trims


@pytest.mark.parametrize("order", [Order.LRU, Order.SIEVE])
async def test_what_a_rule_trims_is_purged_in_sql_too(tmp_path: Path, order: Order) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for number, key in enumerate(("heads", "keep", "other")):
            await catalogue.publish(stored(ObjectName("mail", key), number + 1))
        rules = RuleSet((key_rule("heads", Action(ActionKind.TRIM)), key_rule("keep", Action(ActionKind.KEEP))))
        scope = Scope(rules, NOW)
        assert [found.name.key for found in await catalogue.decided(scope, None, 10)] == ["heads"]
        taken = await catalogue.pressed(scope, order, limit=10)
        assert [found.name.key for found in taken] == ["heads", "other"]
        kept = await catalogue.pressed(scope, order, limit=10, kept=True)
        assert [found.name.key for found in kept] == ["keep"]
        assert await catalogue.ahead(scope, order, ObjectName("mail", "other")) == (1, 4096)


# ---------------------------------------------------------------- patterns


@contextmanager
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    try:
        yield connection
    finally:
        connection.close()


def globbed(connection: sqlite3.Connection, text: str, pattern: str) -> bool:
    translated = glob_of(pattern)
    return translated is not None and bool(connection.execute("SELECT ? GLOB ?", (text, translated)).fetchone()[0])


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")  # of re, which fnmatch uses
def test_a_glob_matches_what_fnmatch_matches() -> None:
    chance = random.Random(20_800)
    matched = 0
    with sqlite() as connection:
        for _ in range(20_000):
            pattern = "".join(chance.choices("ab[]^-!*?\\é_.", k=chance.randint(0, 8)))
            text = "".join(chance.choices("ab[]^-!\\é_.", k=chance.randint(0, 4)))
            if chance.random() < 0.5:
                pattern, text = f"[{pattern}]", text[:1]
            expected = fnmatchcase(text, pattern)
            assert globbed(connection, text, pattern) == expected, (text, pattern, glob_of(pattern))
            assert not is_literal(pattern) or expected == (text == pattern)
            matched += expected
    assert matched > 500


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("[!x]*", "abc"), ("[^x]", "^"), ("a[b", "a[b"), ("[]a]", "]"), ("[!]a]", "b"), ("[a-]", "-"), ("[Z-^]", "]"),
        ("[+--]", ","), ("mail/*", "mail/a/b"), ("*\\*", "a\\b"), ("grüße/?", "grüße/✉"), ("", ""),
    ],
)  # fmt: skip
def test_odd_patterns_match(pattern: str, text: str) -> None:
    assert fnmatchcase(text, pattern)
    with sqlite() as connection:
        assert globbed(connection, text, pattern)


# ---------------------------------------------------------------- what rules ask of a row

ODD_NAMES = ("plain", "a.b", 'quo"te', "back\\slash", "grüße", "✉", "[0]", "$", "", "new\nline", 'x".y', "a b")


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("there", [True, False])
async def test_metadata_of_any_name_is_found(tmp_path: Path, name: str, there: bool) -> None:
    metadata = dict.fromkeys(ODD_NAMES, "") if there else {other: "1" for other in ODD_NAMES if other != name}
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(headers=Headers(metadata=metadata)))
        condition = TextCondition(Word.HAS, (f"metadata:{name}",))
        assert await decided_by(catalogue, condition) == (0 if there else None)


@pytest.mark.parametrize(("attachments", "has"), [("2", True), ("0", False), ("", False), (None, False), ("00", True)])
async def test_an_attachment_is_what_the_metadata_says(tmp_path: Path, attachments: str | None, has: bool) -> None:
    metadata = {} if attachments is None else {"attachments": attachments}
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(headers=Headers(metadata=metadata)))
        assert await decided_by(catalogue, TextCondition(Word.HAS, ("attachment",))) == (0 if has else None)


@pytest.mark.parametrize("folder", ["GRÜẞE", "İstanbul", "Ünal", "INBOX", ""])
async def test_folders_are_compared_in_lower_case_of_any_script(tmp_path: Path, folder: str) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(folder=folder))
        assert await decided_by(catalogue, TextCondition(Word.FOLDER, (folder.lower(),))) == 0
        assert await decided_by(catalogue, TextCondition(Word.FOLDER, (f"{folder.lower()}*",))) == 0


async def test_a_rule_may_list_thousands_of_owners(tmp_path: Path) -> None:
    owners = tuple(f"user{number}@*" for number in range(3000))
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(owner="user2999@example.org"))
        assert await decided_by(catalogue, TextCondition(Word.OWNER, owners)) == 0
        assert await decided_by(catalogue, TextCondition(Word.OWNER, owners[:-1])) is None


async def test_a_rule_file_may_have_hundreds_of_rules(tmp_path: Path) -> None:
    rules = RuleSet(tuple(key_rule(f"{number}-*", PURGE) for number in range(900)))
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(ObjectName("mail", "899-x")))
        assert [one.rule for one in await catalogue.decided(Scope(rules, NOW), None, 10)] == [899]


@pytest.mark.parametrize("read_before", [True, False])
async def test_reads_in_a_window_count_when_the_last_read_was_taken_back(tmp_path: Path, read_before: bool) -> None:
    """Two reads come in one flush and the second is a machine's: the row then says that the last read is long ago, or
    that there was none; the day bins know better."""
    today, at = int(NOW // DAY), NOW + 100.0
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        if read_before:
            old = ReadCount(MAIL, today - 40, reads=1, last_read_at=at - 40 * DAY)
            await catalogue.count(Counts(at, (old,)))
        twice = ReadCount(MAIL, today, reads=2, last_read_at=at)
        await catalogue.count(Counts(at, (twice,), corrections=(Correction(MAIL, at),)))
        assert await decided_by(catalogue, NumberCondition(Measure.READS, Operator.GE, 1.0, 7)) == 0
        assert await decided_by(catalogue, NumberCondition(Measure.READS, Operator.GT, 1.0, 7)) is None
        assert (await catalogue.survey(Scope(RuleSet(), NOW))).of(None).reads_7d == 1


async def decided_by(catalogue: SqliteCatalogue, condition: Condition) -> int | None:
    """The rule that decides MAIL when there is one with this condition; Python must agree."""
    rules = RuleSet((Rule("rule", (condition,), Action(ActionKind.PURGE)),))
    found = await catalogue.decided(Scope(rules, NOW), None, 10)
    standing = catalogue.standing(MAIL)
    assert standing is not None
    assert [one.rule for one in found] == [0] * len(found)
    assert deciding(rules, facts_of(standing), NOW) == (0 if found else None)
    return 0 if found else None


# ---------------------------------------------------------------- how it is read


@pytest.mark.parametrize(
    ("order", "index"),
    [
        (Order.LRU, "COVERING INDEX entry_victim"), (Order.FIFO, "INDEX entry_queue"),
        (Order.SIEVE, "INDEX entry_queue"), (Order.S3_FIFO, "INDEX entry_queue"),
    ],
)  # fmt: skip
async def test_the_walks_of_lru_and_fifo_do_not_sort(
    tmp_path: Path, order: Order, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        reads = Reads(connect(catalogue._database.file, cache_kib=100, read_only=True))
        asked: list[str] = []
        rows = reads.rows

        def noted(sql: str, *values: object) -> list[tuple[object, ...]]:
            asked.append(sql)
            return rows(sql, *values)

        monkeypatch.setattr(reads, "rows", noted)
        scope = Scope(RuleSet((key_rule("a*", Action(ActionKind.KEEP)),)), NOW)
        try:
            for after in (None, Place(5.0, MAIL)):
                pressing.pressed(reads, scope, order, 10, after, False, None)
                plan = [row[3] for row in rows(f"EXPLAIN QUERY PLAN {asked[-1]}", *[0] * asked[-1].count("?"))]
                assert any(f"USING {index}" in step for step in plan), plan
                assert not any("TEMP B-TREE" in step for step in plan), plan
                assert after is None or any("SEARCH" in step for step in plan), plan
        finally:
            reads.close()


def with_numbers(*measures: Measure) -> list[Condition]:
    return [NumberCondition(measure, Operator.GE, 1) for measure in measures]


@pytest.mark.parametrize(
    ("conditions", "neighbours"),
    [
        (with_numbers(Measure.READS, Measure.SIZE, Measure.AGE, Measure.ON_DISK, Measure.IDLE), True),
        ([TextCondition(word, ("a*", "b")) for word in (Word.KEY, Word.BUCKET, Word.FOLDER)], True),
        ([NumberCondition(Measure.READS, Operator.GE, 1, days=7)], True),
        ([TextCondition(Word.OWNER, ("a*",))], False),
        (with_numbers(Measure.MACHINE_READS), False),
    ],
)  # fmt: skip
async def test_the_walk_of_lru_reads_no_row_for_what_most_rules_ask(
    tmp_path: Path, conditions: Sequence[Condition], neighbours: bool
) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        reads = Reads(connect(catalogue._database.file, cache_kib=100, read_only=True))
        scope = Scope(RuleSet((Rule("rule", tuple(conditions), Action(ActionKind.KEEP)),)), NOW)
        asked: list[str] = []
        try:
            reads.connection.set_trace_callback(asked.append)
            assert pressing.pressed(reads, scope, Order.LRU, 10, None, False, None) == []
            reads.connection.set_trace_callback(None)
            plan = [row[3] for row in reads.rows(f"EXPLAIN QUERY PLAN {asked[-1]}")]
            assert any("COVERING INDEX entry_victim" in step for step in plan) is neighbours, plan
        finally:
            reads.close()


QUESTIONS: dict[str, Callable[[Reads, Scope], object]] = {
    **{
        order.value: partial(pressing.pressed, order=order, limit=10, after=Place(-0.5, MAIL), kept=False, main=None)
        for order in (Order.LFU, Order.GDSF, Order.SCORE)
    },
    "kept": partial(pressing.pressed, order=Order.LFU, limit=10, after=None, kept=True, main=None),
    "rule run": partial(pressing.decided, after=None, limit=10),
    "ahead": partial(pressing.ahead, order=Order.LRU, name=MAIL),
    "small bytes": lambda reads, scope: pressing.small_bytes(reads, scope.bucket),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("bucket", ["", "mail"])
async def test_what_looks_at_every_row_goes_through_the_table_and_not_through_the_blobs(
    tmp_path: Path, question: str, bucket: str
) -> None:
    """By the index of blobs it would be a look-up for each row, in no order of the table."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    rules = RuleSet((key_rule("a*", PURGE), key_rule("b*", Action(ActionKind.KEEP))))
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        reads = Noted(connect(catalogue._database.file, cache_kib=100, read_only=True), asked)
        try:
            QUESTIONS[question](reads, Scope(rules, NOW, bucket))
            walks = [Reads.rows(reads, f"EXPLAIN QUERY PLAN {sql}", *values) for sql, values in asked]
        finally:
            reads.close()
    steps = [row[3] for walk in walks for row in walk]
    assert any(step.startswith(("SCAN entry", "SEARCH entry")) for step in steps), steps
    assert not any("entry_" in step for step in steps), steps


class Noted(Reads):
    """Notes what it is asked."""

    def __init__(self, connection: sqlite3.Connection, asked: list[tuple[str, tuple[object, ...]]]) -> None:
        super().__init__(connection)
        self._asked = asked

    def row(self, sql: str, *values: object) -> tuple[object, ...] | None:
        self._asked.append((sql, values))
        return super().row(sql, *values)

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        self._asked.append((sql, values))
        return super().rows(sql, *values)


async def test_pages_cover_all_rows_once(tmp_path: Path) -> None:
    names = [ObjectName(bucket, f"k{number}") for bucket in ("mail", "other") for number in range(7)]
    async with sqlite_catalogue(tmp_path) as catalogue:
        for generation, name in enumerate(names, 1):
            await catalogue.publish(stored(name, generation, blob=f"b{generation}"))
        for span in (Span(), Span("mail"), Span("mail", "k1"), Span("", "k"), Span("none")):
            expected = [name for name in names if span.bucket in {"", name.bucket} and name.key.startswith(span.prefix)]
            for size in (1, 3, 7, 14, 100):
                assert paged(catalogue, span, size) == expected


def paged(catalogue: SqliteCatalogue, span: Span, size: int) -> list[ObjectName]:
    found: list[ObjectName] = []
    for page in pages(catalogue._database.reads, span, size):
        where = page.sql()
        rows = catalogue._database.reads.rows(f"SELECT bucket, key FROM entry WHERE {where.text}", *where.values)
        assert len(rows) <= size
        found += [ObjectName(*row) for row in rows]
    return found


async def test_another_process_makes_the_same_plans(tmp_path: Path) -> None:
    rules = RuleSet((key_rule("a*", PURGE),))
    async with sqlite_catalogue(tmp_path) as catalogue:
        for generation, key in enumerate(("a1", "a2", "b"), 1):
            await catalogue.publish(stored(ObjectName("mail", key), generation))
        scope, name = Scope(rules, NOW), ObjectName("mail", "b")
        with open_reader(tmp_path) as reader:
            assert reader.survey(scope) == await catalogue.survey(scope)
            assert reader.decided(scope, None, 10) == await catalogue.decided(scope, None, 10)
            assert reader.pressed(scope, Order.LRU, 10) == await catalogue.pressed(scope, Order.LRU, 10)
            assert reader.ahead(scope, Order.LRU, name) == await catalogue.ahead(scope, Order.LRU, name) == (2, 8192)
            assert reader.standing(name) == catalogue.standing(name)
            for by in (Breakdown.AGE, Breakdown.OWNER, Breakdown.FOLDER, Breakdown.DAY):
                assert reader.stats(by, bucket="", now=NOW) == await catalogue.stats(by, bucket="", now=NOW)


async def test_a_plan_sees_one_state_while_changes_go_on(tmp_path: Path) -> None:
    """Every change moves an object from one rule to the other: the sum is always the same."""
    rules = RuleSet((Rule("small", (TextCondition(Word.OWNER, ("a",)),), PURGE),))
    async with sqlite_catalogue(tmp_path) as catalogue:
        for number in range(40):
            await catalogue.publish(stored(ObjectName("mail", f"{number:02}"), number + 1, owner="ab"[number % 2]))

        async def swap() -> None:
            for number in range(40):
                owner = "ba"[number % 2]
                await catalogue.publish(stored(ObjectName("mail", f"{number:02}"), number + 101, owner=owner))

        task = asyncio.create_task(swap())
        while not task.done():
            survey = await catalogue.survey(Scope(rules, NOW))
            assert survey.of(0).objects + survey.of(None).objects == 40
        await task


async def test_a_plan_does_not_wait_for_listings(tmp_path: Path) -> None:
    """All threads of listings are held; a plan has its own."""
    async with sqlite_catalogue(tmp_path) as catalogue:
        gate = threading.Event()
        held = [asyncio.create_task(catalogue._database.pool.call(gate.wait)) for _ in range(4)]
        try:
            async with asyncio.timeout(60):
                assert (await catalogue.survey(Scope(RuleSet(), NOW))).rules == ()
        finally:
            gate.set()
            await asyncio.gather(*held)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_plans_stand_back_behind_everything_else(tmp_path: Path) -> None:
    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async with sqlite_catalogue(tmp_path) as catalogue:
        here = priority()
        assert await catalogue._database.plans.call(priority) == max(here, PLAN_NICE)
        assert await catalogue._database.pool.call(priority) == here
        assert priority() == here


async def test_closing_ends_a_plan_that_runs(tmp_path: Path) -> None:
    started = threading.Event()

    def endless(reads: Reads) -> None:
        reads.connection.create_function("started", 0, started.set)
        numbers = "WITH RECURSIVE n(x) AS (SELECT started() UNION ALL SELECT coalesce(x, 0) + 1 FROM n)"
        reads.row(f"{numbers} SELECT max(x) FROM n")

    async with sqlite_catalogue(tmp_path) as catalogue:
        plan = asyncio.create_task(catalogue._database.plans.run(endless))
        await catalogue._database.pool.call(started.wait)
        async with asyncio.timeout(60):
            await catalogue.close()
        with pytest.raises(DiskUnavailable):
            await plan
