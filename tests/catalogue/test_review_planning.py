"""Plans of rule files as large as they may be, of names that mean something to SQL, and of nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tierproxy.catalogue.compile import MARKS, decider
from tierproxy.catalogue.connection import connect
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.pressing import decided, pressed
from tierproxy.catalogue.survey import survey
from tierproxy.catalogue.turns import Ending, Turns
from tierproxy.model import ObjectName
from tierproxy.purges import Scope, Survey
from tierproxy.rules.language import MOST_PATTERNS, MOST_RULES, parse
from tierproxy.rules.model import Condition, Order, Rule, RuleSet, TextCondition, Word
from tierproxy.testing.contracts.catalogue_planning import NOW, PURGE
from tierproxy.testing.contracts.catalogue_rows import sqlite_catalogue, stored

AS_IT_COMES = {sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 32_766, sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000}
"""Limits of a SQLite that nobody built otherwise."""


def rules_of(*when: Condition) -> RuleSet:
    return RuleSet((Rule("one", when, PURGE),))


def owners(count: int) -> RuleSet:
    return rules_of(TextCondition(Word.OWNER, tuple(f"user{number}" for number in range(count))))


def folders(count: int) -> RuleSet:
    return rules_of(TextCondition(Word.FOLDER, tuple(f"folder{number}*" for number in range(count))))


def many_rules() -> RuleSet:
    return parse(
        "".join(
            f'[[rule]]\nname = "r{number}"\nwhen = {{ key = "u{number}/*", idle = "> {number}d", '
            f'reads = "<= 3 in 30d" }}\nthen = "purge"\n'
            for number in range(MOST_RULES)
        )
    )


@pytest.mark.parametrize("make", ["owners", "folders", "rules"])
async def test_the_largest_rule_files_are_no_more_than_sqlite_takes_as_it_comes(tmp_path: Path, make: str) -> None:
    rules = {"owners": lambda: owners(300_000), "folders": lambda: folders(MOST_PATTERNS), "rules": many_rules}[make]()
    scope = Scope(rules, NOW)
    async with sqlite_catalogue(tmp_path) as catalogue:
        name = ObjectName("mail", "u.1")
        await catalogue.publish(stored(name, owner="user299999", folder="folder4999"))
        reads = Reads(connect(catalogue._database.file, cache_kib=1000, read_only=True))
        try:
            for limit, value in AS_IT_COMES.items():
                reads.connection.setlimit(limit, value)
            found = 0 if make == "rules" else 1
            with reads.snapshot():
                assert survey(reads, scope, Turns(Ending().wait)).of(0).objects == found
                assert len(decided(reads, scope, None, 10)) == found
                assert len(pressed(reads, scope, Order.LRU, 10, None, False, None)) == 1
        finally:
            reads.close()


@pytest.mark.parametrize("count", [MARKS - 1, MARKS, MARKS + 1, 2 * MARKS])
async def test_a_list_means_the_same_however_long_it_is(tmp_path: Path, count: int) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for number in (0, count - 1, count):
            await catalogue.publish(stored(ObjectName("mail", f"u.{number}"), owner=f"user{number}"))
        await catalogue.publish(stored(ObjectName("mail", "quoted"), owner='"\\user1'))
        scope = Scope(owners(count), NOW)
        assert [one.name.key for one in await catalogue.decided(scope, None, 9)] == ["u.0", f"u.{count - 1}"]
        not_these = rules_of(TextCondition(Word.OWNER, (), owners(count).rules[0].when[0].wanted))  # type: ignore[union-attr]
        assert len(await catalogue.decided(Scope(not_these, NOW), None, 9)) == 2
    assert len(decider(owners(10 * count), NOW).values) == 1


@pytest.mark.parametrize("prefix", ["a%", "a_", "a*", "a[", "a?", "a'", 'a"', "a\\", "ä", "a\U0010ffff"])
async def test_a_prefix_with_signs_that_mean_something_to_sql_means_itself(tmp_path: Path, prefix: str) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for key in (prefix, prefix + "z", "a", "ab", "b", "A%"):
            await catalogue.publish(stored(ObjectName("mail", key)))
        scope = Scope(rules_of(), NOW, prefix=prefix)
        assert sorted(one.name.key for one in await catalogue.decided(scope, None, 9)) == sorted([prefix, prefix + "z"])
        assert (await catalogue.survey(scope)).of(0).objects == 2


async def test_an_empty_catalogue_and_a_bucket_that_is_gone_have_empty_plans(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for bucket in ("", "mail", "gone"):
            scope = Scope(rules_of(), NOW, bucket)
            assert await catalogue.survey(scope) == Survey(())
            assert await catalogue.decided(scope, None, 9) == []
            for order in Order:
                assert await catalogue.pressed(scope, order, 9) == []
                assert await catalogue.ahead(scope, order, ObjectName("mail", "x")) is None
