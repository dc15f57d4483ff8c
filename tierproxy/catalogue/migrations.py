"""Brings a database to the schema this version knows: numbered SQL files, each in its own transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from importlib import resources
from pathlib import Path

from tierproxy.errors import ConfigError

NEWER = "run the tierproxy version that wrote this data directory, or a newer one"


def known_migrations() -> dict[str, str]:
    """Name to SQL, in the order they are applied."""
    folder = resources.files("tierproxy.catalogue") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return {file.name.removesuffix(".sql"): file.read_text("utf-8") for file in files}


def applied_migrations(connection: sqlite3.Connection) -> list[str]:
    """Names recorded in the database; empty for a new file."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone() is None:
        return []
    return [row[0] for row in connection.execute("SELECT name FROM migration ORDER BY name")]


def refuse_newer(connection: sqlite3.Connection, known: Mapping[str, str]) -> list[str]:
    """The applied migrations, unless this version does not know one of them: then ConfigError."""
    applied = applied_migrations(connection)
    strange = [name for name in applied if name not in known]
    if strange:
        raise ConfigError(f"the catalogue was written by a newer tierproxy (it has {', '.join(strange)})", hint=NEWER)
    return applied


def refuse_newer_file(file: Path) -> None:
    """Nothing, unless this version does not know a migration of the catalogue at ``file``: then ConfigError. Blocking.

    Read as it lies there, without its WAL, its locks or a change to either, so that a newer directory is left as it is
    even where no ``format`` file speaks for it. What cannot be read so (none there, damaged) is for whoever opens it.
    """
    uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True)) as peek:
        refuse_newer(peek, known_migrations())


def migrate(connection: sqlite3.Connection, known: Mapping[str, str] | None = None) -> list[str]:
    """Apply what is missing and return its names. Raises ConfigError for a newer database, sqlite3.Error."""
    migrations = known_migrations() if known is None else known
    applied = refuse_newer(connection, migrations)
    missing = [name for name in migrations if name not in applied]
    if missing:
        with _sorting_on_disk(connection):
            for name in missing:
                _apply(connection, name, migrations[name])
    return missing


@contextmanager
def _sorting_on_disk(connection: sqlite3.Connection) -> Iterator[None]:
    """An index of ten million entries is sorted in files beside the catalogue, without a name, not in 2 GB of memory.
    SQLite has one such place for the process: no other thread opens or uses a database while this one starts."""
    was = connection.execute("PRAGMA temp_store").fetchone()[0]
    file = connection.execute("PRAGMA database_list").fetchone()[2]  # "" for one in memory
    place = str(Path(file).parent).replace("'", "''") if file else ""
    connection.execute("PRAGMA temp_store = FILE")
    connection.execute(f"PRAGMA temp_store_directory = '{place}'")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store_directory = ''")
        connection.execute(f"PRAGMA temp_store = {was}")


def _apply(connection: sqlite3.Connection, name: str, sql: str) -> None:
    """All of ``sql`` and the record of it, or nothing."""
    record = "CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY) WITHOUT ROWID;"
    quoted = name.replace("'", "''")
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{record}\n{sql}\nINSERT INTO migration VALUES ('{quoted}');\nCOMMIT;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
