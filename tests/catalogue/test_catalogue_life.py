"""Versions of the database, generations over restarts, other processes, and broken invariants."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tierproxy.catalogue import catalogue_file, hurry_from_outside, open_reader
from tierproxy.catalogue.migrations import applied_migrations, known_migrations, migrate
from tierproxy.errors import ConfigError, DiskUnavailable
from tierproxy.model import ListRequest
from tierproxy.testing.contracts.catalogue_rows import MAIL, OTHER, dirty, entry, put, sqlite_catalogue, stored


def tamper(data: Path, sql: str) -> None:
    """Change the database behind the catalogue's back."""
    with closing(sqlite3.connect(catalogue_file(data), isolation_level=None)) as connection:
        connection.executescript(sql)


# ------------------------------------------------------------ migrations


async def test_a_reopened_catalogue_has_its_rows_and_migrates_nothing(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
    async with sqlite_catalogue(tmp_path) as catalogue:
        assert catalogue.find(MAIL) == stored()
    with closing(sqlite3.connect(catalogue_file(tmp_path), isolation_level=None)) as connection:
        assert applied_migrations(connection) == list(known_migrations())
        assert migrate(connection) == []


async def test_a_catalogue_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path):
        pass
    tamper(tmp_path, "INSERT INTO migration VALUES ('0999_future')")
    with pytest.raises(ConfigError, match="0999_future") as refused:
        async with sqlite_catalogue(tmp_path):
            pass
    assert "newer" in refused.value.hint
    for use in (lambda: open_reader(tmp_path).__enter__(), lambda: hurry_from_outside(tmp_path, None, 1.0)):
        with pytest.raises(ConfigError):
            use()


def test_migrations_run_once_in_order_and_are_recorded() -> None:
    first = {"0001_one": "CREATE TABLE one (x);"}
    both = {**first, "0002_two": "ALTER TABLE one ADD COLUMN y; INSERT INTO one VALUES (1, 2);"}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        assert migrate(connection, first) == ["0001_one"]
        assert migrate(connection, both) == ["0002_two"]
        assert migrate(connection, both) == []
        assert connection.execute("SELECT * FROM one").fetchall() == [(1, 2)]


def test_a_migration_that_fails_leaves_the_version_before_it() -> None:
    broken = {"0001_one": "CREATE TABLE one (x);", "0002_two": "CREATE TABLE two (x); INSERT INTO nowhere VALUES (1);"}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, broken)
        assert not connection.in_transaction
        assert applied_migrations(connection) == ["0001_one"]
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'two'").fetchall() == []


# ------------------------------------------------------------ generations


async def test_generations_never_repeat_over_restarts(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(4):
        async with sqlite_catalogue(tmp_path, generation_block=3) as catalogue:
            seen += [catalogue.next_generation() for _ in range(10)]
    assert seen == sorted(set(seen))


async def test_a_generation_is_durable_before_it_is_used(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path, generation_block=2) as catalogue:
        for _ in range(20):
            generation = catalogue.next_generation()
            with closing(sqlite3.connect(catalogue_file(tmp_path))) as connection:
                ceiling = connection.execute("SELECT value FROM fact WHERE name = 'generation_ceiling'").fetchall()
            assert generation <= ceiling[0][0]


async def test_a_raised_generation_survives_a_restart(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path, generation_block=4) as catalogue:
        catalogue.next_generation()
        await catalogue.raise_generation(1000)
    async with sqlite_catalogue(tmp_path, generation_block=4) as catalogue:
        assert catalogue.next_generation() > 1000


# ------------------------------------------------------------ other processes


async def test_a_reader_beside_the_node_sees_what_is_committed(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        with open_reader(tmp_path) as reader:
            assert reader.find(MAIL) is None
            await catalogue.publish(dirty(), job=put())
            assert reader.find(MAIL) == dirty()
            assert [one.key for one in reader.page(ListRequest("mail")).objects] == [MAIL.key]
            assert (reader.totals(), reader.queue_totals()) == (catalogue.totals(), catalogue.queue_totals())
            assert reader.jobs() == [put()]
            assert reader.check() == []


async def test_a_reader_works_without_a_node(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(entry())
    with open_reader(tmp_path) as reader:
        assert reader.find(MAIL) == entry()


def test_where_there_is_no_catalogue_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), open_reader(tmp_path):
        pass
    with pytest.raises(ConfigError):
        hurry_from_outside(tmp_path, None, 1.0)
    assert list(tmp_path.iterdir()) == []


async def test_the_node_notices_a_queue_that_was_hurried_from_outside(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for generation, name in enumerate((MAIL, OTHER), 1):
            await catalogue.publish(dirty(name, generation), job=put(name, generation, next_try_at=99.0))
        assert not catalogue.changed_outside()
        assert hurry_from_outside(tmp_path, [MAIL], 5.0) == 1
        assert catalogue.changed_outside()
        assert not catalogue.changed_outside()
        assert [job.name for job in catalogue.due(5.0, 10)] == [MAIL]
        assert hurry_from_outside(tmp_path, None, 6.0) == 2
        assert catalogue.changed_outside()


# ------------------------------------------------------------ check

RUN = """INSERT INTO purge_run SELECT 1, 'rules', 'done', 1, 0, '', '', '', '', '', 0, 0, NULL, NULL, 0, 0,
    objects, 0, 0, bucket, NULL, '' FROM """
BROKEN = {
    "dirty entry without a put": "DELETE FROM job WHERE kind = 'put'",
    "tombstone without a delete": "UPDATE entry SET state = 'deleting', blob = NULL, blob_bytes = 0",
    "job without the entry": "UPDATE entry SET generation = generation + 1",
    "dirty entry without a blob": "UPDATE entry SET blob = NULL, blob_bytes = 0",
    "tombstone with a blob": "UPDATE entry SET state = 'deleting'",
    "blob bytes without a blob": "UPDATE entry SET blob = NULL",
    "blob without its digest": "UPDATE entry SET xxh3 = NULL",
    "blob without the time": "UPDATE entry SET stored_at = NULL",
    "generation above the ceiling": "UPDATE fact SET value = 0 WHERE name = 'generation_ceiling'",
    "part without an upload": "PRAGMA foreign_keys = OFF; INSERT INTO part VALUES ('x', 1, 1, 'e', 'f', 1, NULL)",
    "totals that do not add up": "UPDATE total SET bytes = bytes + 1",
    "queue totals that do not": "UPDATE queue SET failing = 1",
    "blob without its place": "UPDATE entry SET queued_at = NULL",
    "visits without a blob": "UPDATE entry SET visits = 4",
    "read counts below nothing": "UPDATE entry SET machine_reads = -1",
    "last read before": "UPDATE entry SET previous_read_at = 7",
    "pin of a tombstone": "UPDATE entry SET state = 'deleting', pinned_until = 1",
    "day bin without its entry": "INSERT INTO read_day VALUES ('mail', 'gone', 1, 1, 0)",
    "minute or hour": "INSERT INTO rollup VALUES (60, 61, 'a', 1)",
    "shadow without an entry": "INSERT INTO shadow SELECT bucket, key, 1, 1, NULL, NULL FROM entry",
    "shadow blob without": "INSERT INTO shadow VALUES ('mail', 'x', 1, NULL, NULL, NULL)",
    "purge run whose reasons": f"{RUN} (SELECT 5 AS objects, NULL AS bucket)",
    "purge run that went backwards": f"{RUN} (SELECT 0 AS objects, 'mail' AS bucket)",
}


@pytest.mark.parametrize("rule", BROKEN)
async def test_a_broken_invariant_is_found(rule: str, tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(dirty(), job=put())
        assert await catalogue.check() == []
        tamper(tmp_path, BROKEN[rule])
        assert any(line.startswith(rule) for line in await catalogue.check())


async def test_totals_left_without_rows_are_found(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        tamper(tmp_path, "INSERT INTO total VALUES ('ghost', 1, 1, 0, 0, 0, 0)")
        assert any("ghost" in line for line in await catalogue.check())


async def test_damage_of_the_file_is_an_error_not_an_answer(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for number in range(200):
            await catalogue.publish(entry(OTHER._replace(key=f"k{number}")))
    file = catalogue_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    file.write_bytes(content)
    with pytest.raises(DiskUnavailable) as refused:
        async with sqlite_catalogue(tmp_path) as catalogue:
            catalogue.find(OTHER)
    assert "rebuild" in refused.value.hint
