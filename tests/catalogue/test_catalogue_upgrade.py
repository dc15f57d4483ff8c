"""A catalogue from before reads were counted by day: its rows are there, and everything new works on them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tierproxy.catalogue import catalogue_file
from tierproxy.catalogue.connection import connect
from tierproxy.catalogue.migrations import known_migrations, migrate
from tierproxy.model import ObjectName
from tierproxy.testing.contracts.catalogue_rows import MAIL, OTHER, counted, drop, entry, read, sqlite_catalogue, stored

OLD = """INSERT INTO entry (bucket, key, generation, state, size, etag, written_at, alt_etag, headers, parts, blob,
        blob_bytes, xxh3, stored_at, last_read_at, reads, purged_at, purged_by)
    VALUES (?, ?, ?, 'clean', 100, 'etag', 1000, 'alt1', '{}', NULL, ?, ?, ?, ?, ?, ?, ?, ?)"""


def old_catalogue(data: Path) -> None:
    """As the first two migrations leave it, with a blob that was read twice and one that was purged."""
    file = catalogue_file(data)
    file.parent.mkdir()
    known = {name: sql for name, sql in known_migrations().items() if name < "0003"}
    assert len(known) == 2
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, known)
        connection.execute("INSERT INTO bucket VALUES ('mail', 0, 1, 0)")
        connection.execute(OLD, (*MAIL, 1, f"{MAIL.key}#1", 4096, bytes(16), 1001.0, 1500.0, 2, None, None))
        connection.execute(OLD, (*OTHER, 1, None, 0, None, None, None, 0, 1400.0, "pressure"))
        connection.execute("UPDATE fact SET value = 1000 WHERE name = 'generation_ceiling'")


async def test_an_older_catalogue_is_brought_up_to_date(tmp_path: Path) -> None:
    old_catalogue(tmp_path)
    async with sqlite_catalogue(tmp_path, naming=lambda name: (name.key.partition("/")[0], "")) as catalogue:
        assert await catalogue.check() == []
        found = catalogue.standing(MAIL)
        assert found is not None
        assert (found.entry.reads, found.entry.last_read_at, found.queued_at, found.days) == (2, 1500.0, 1001.0, ())
        assert (found.entry.owner, found.entry.folder) == ("", "")
        assert await catalogue.reclassify(None, 1000) is None
        await catalogue.count(counted(read(at=2000.0)))
        found = catalogue.standing(MAIL)
        assert found is not None
        assert (found.entry.owner, found.entry.reads, found.days) == ("user", 3, ((0, 1, 0),))
        await catalogue.begin_shadow(2100.0)
        assert await catalogue.drop_blobs([drop(stored())], at=2200.0) == [True]
        await catalogue.fill(stored(OTHER), expected=1)
        ghost = catalogue.standing(OTHER)
        assert ghost is not None
        assert ghost.main
        await catalogue.publish(entry(ObjectName("mail", "new")))
        assert await catalogue.check() == []


def test_an_index_is_sorted_beside_the_catalogue_not_in_memory(tmp_path: Path) -> None:
    seen: list[str] = []
    place = tmp_path / "it's"
    place.mkdir()
    with closing(connect(place / "catalogue.sqlite", cache_kib=1024)) as connection:
        in_memory = connection.execute("PRAGMA temp_store").fetchone()
        connection.set_trace_callback(seen.append)
        assert migrate(connection) == list(known_migrations())
        connection.set_trace_callback(None)
        assert connection.execute("PRAGMA temp_store").fetchone() == in_memory
        assert not connection.execute("PRAGMA temp_store_directory").fetchone()
    first = next(number for number, sql in enumerate(seen) if sql.startswith("BEGIN"))
    assert f"PRAGMA temp_store_directory = '{tmp_path}/it''s'" in seen[:first]
    assert "PRAGMA temp_store = FILE" in seen[:first]


def test_a_catalogue_that_is_up_to_date_is_not_touched(tmp_path: Path) -> None:
    seen: list[str] = []
    with closing(connect(tmp_path / "new.sqlite", cache_kib=1024)) as connection:
        migrate(connection)
        connection.set_trace_callback(seen.append)
        assert migrate(connection) == []
    assert not [sql for sql in seen if not sql.startswith("SELECT")]
