"""A start that is killed in the middle of bringing the catalogue up to date: the next one goes on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.upgrade.then import NAMES, Old, unpacked
from tierproxy.catalogue import catalogue_file
from tierproxy.catalogue.connection import connect
from tierproxy.catalogue.migrations import applied_migrations, known_migrations, migrate
from tierproxy.testing.rig import rig

KILLED = 9


def migrated_until(file: Path, statement: int) -> bool:
    """A child of this process migrates ``file`` and is gone at the beginning of that statement. False: there are not
    that many."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
    try:
        connection = connect(file, cache_kib=1024)
        seen = iter(range(statement))

        def traced(_sql: str) -> None:
            if next(seen, None) is None:
                os._exit(KILLED)

        connection.set_trace_callback(traced)
        migrate(connection)
    finally:
        os._exit(0)


def copies(old: Old, place: Path) -> Iterator[tuple[int, Path]]:
    """The catalogue of ``old``, killed at each statement."""
    original = catalogue_file(old.data).read_bytes()
    for statement in range(10_000):
        file = place / f"killed-{statement}.sqlite"
        file.write_bytes(original)
        if not migrated_until(file, statement):
            return
        yield statement, file
        for left in place.glob(f"{file.name}*"):
            left.unlink()


@pytest.mark.parametrize("name", NAMES[:2])
def test_a_kill_at_any_statement_loses_nothing(name: str, tmp_path: Path) -> None:
    old = unpacked(name, tmp_path)
    with closing(sqlite3.connect(catalogue_file(old.data))) as before:
        began = applied_migrations(before)
        keys = before.execute("SELECT bucket, key, generation, etag FROM entry ORDER BY bucket, key").fetchall()
    seen = set()
    for statement, file in copies(old, tmp_path):
        with closing(connect(file, cache_kib=1024)) as after:
            left = applied_migrations(after)
            seen.add(tuple(left))
            assert left == list(known_migrations())[: len(left)], f"killed at statement {statement}"
            assert len(left) >= len(began)
            migrate(after)
            assert applied_migrations(after) == list(known_migrations())
            assert after.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = after.execute("SELECT bucket, key, generation, etag FROM entry ORDER BY bucket, key").fetchall()
            assert found == keys
    wanted = {tuple(list(known_migrations())[:number]) for number in range(len(began), len(known_migrations()))}
    assert wanted <= seen, "killed inside each of them"


async def test_a_node_opens_what_a_kill_has_left(tmp_path: Path) -> None:
    old = unpacked(NAMES[0], tmp_path)
    assert migrated_until(catalogue_file(old.data), 40)
    async with rig(old.data, alt=await old.alt(), **old.options()) as one:
        for key, content in old.contents.items():
            assert await one.get(key) == content


def test_each_migration_is_one_transaction(tmp_path: Path) -> None:
    """With a statement in the middle that fails, nothing of it is there."""
    names = list(known_migrations())
    with closing(connect(tmp_path / "catalogue.sqlite", cache_kib=1024)) as connection:
        for name in names:
            broken = dict(known_migrations()) | {name: known_migrations()[name] + "\nSELECT nothing_of_the_kind();"}
            before = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
            with pytest.raises(sqlite3.OperationalError):
                migrate(connection, {one: broken[one] for one in names[: names.index(name) + 1]})
            after = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
            assert after == before
            migrate(connection, {one: known_migrations()[one] for one in names[: names.index(name) + 1]})
