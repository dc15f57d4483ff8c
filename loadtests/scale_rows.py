"""Catalogues of up to ten million mails, without the mails, made by SQLite alone and in the order of their keys.

Triggers and indexes are taken away, all rows inserted, and both put back; the sums that the triggers keep are counted
once. Values come from low-discrepancy sequences: as many entries have the same sizes, ages and reads again. A user has
four folders of 250 mails; with the entries it is the users that grow in number. The pages of the table are as full as
they can be, as after an import; ages, blobs and reads lie in no order of the keys.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from crowded import FIRST, PREFIX
from served import BUCKET

from tierproxy.catalogue import catalogue_file
from tierproxy.catalogue.invariants import SUMS
from tierproxy.traffic import DAY

A_USER = 1000  #: mails of one
FOLDERS = ("Archive", "INBOX", "Sent", "Trash")  #: in the order of their names: keys come sorted
GROWN = 250_000  #: rows a transaction

# Numbers between 0 and 1 that look like chance, by the number of a row: multiples of irrational numbers.
CHANCE = {
    "age": 0.6180339887498949,
    "old": 0.4142135623730951,
    "size": 0.7320508075688772,
    "turn": 0.2360679774997898,
    "disk": 0.6457513110645906,
    "read": 0.3166247903553998,
    "often": 0.6055512754639891,
    "lately": 0.1231056256176606,
    "when_": 0.3588989435406740,
}
DRAWN = ", ".join(f"1.0 - (n * {value!r} - CAST(n * {value!r} AS INTEGER)) AS {name}" for name, value in CHANCE.items())
ROWS = f"""WITH RECURSIVE
    number(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :last),
    drawn AS (SELECT n, {DRAWN} FROM number),
    mail AS (SELECT n, disk < 0.9 AS stored, :now + ln(age) * {200 * DAY} AS written_at,
            CAST(exp(9.5 + 1.6 * sqrt(-2 * ln(size)) * cos(2 * pi() * turn)) AS INTEGER) + 500 AS size,
            iif(read < 0.3, 0, min(30, CAST(-ln(often) / 0.6 AS INTEGER) + 1)) AS reads, lately, when_,
            printf('user%06d@example.org', n / {A_USER}) AS owner,
            CASE n % {A_USER} / {A_USER // len(FOLDERS)}
                {" ".join(f"WHEN {number} THEN '{name}'" for number, name in enumerate(FOLDERS))} END AS folder
        FROM drawn),
    timed AS (SELECT *, CASE WHEN reads = 0 THEN NULL
            WHEN lately < 0.48 THEN :now - when_ * min({30 * DAY}, :now - written_at)
            ELSE written_at + when_ * max(0, :now - written_at - {30 * DAY}) END AS last_read_at
        FROM mail)
INSERT INTO entry (bucket, key, generation, state, size, etag, written_at, alt_etag, headers, blob, blob_bytes, xxh3,
    stored_at, last_read_at, previous_read_at, reads, owner, folder, visits, queued_at, worth)
SELECT '{BUCKET}', '{PREFIX}' || owner || '/' || folder || printf('/%09d.', n) || lower(hex(randomblob(8))),
    {FIRST} + n * 7919 % :entries, 'clean', size, lower(hex(randomblob(16))), written_at, lower(hex(randomblob(16))),
    printf('{{"content_type":"message/rfc822","metadata":{{"guid":"%032x","attachments":"%d"}},'
        || '"checksums":{{"crc32":"AAAAAA=="}},"checksum_type":"FULL_OBJECT"}}', n, n % 3),
    iif(stored, printf('%012x', CAST(written_at * 1000 AS INTEGER)) || lower(hex(randomblob(10))), NULL),
    iif(stored, (size + 4095) / 4096 * 4096, 0), iif(stored, randomblob(16), NULL),
    iif(stored, written_at + 1, NULL), last_read_at, iif(reads > 1, last_read_at - {2 * DAY}, NULL), reads,
    owner, lower(folder), iif(stored, min(reads, 3), 0), iif(stored, written_at + 1, NULL),
    max(reads, 1) / max(size / 1024.0, 1)
FROM timed"""
DAYS = f"""INSERT INTO read_day
    SELECT bucket, key, CAST(previous_read_at / {DAY} AS INTEGER), reads - 1, 0 FROM entry
        WHERE reads > 1 AND generation >= {FIRST}
    UNION ALL SELECT bucket, key, CAST(last_read_at / {DAY} AS INTEGER), 1, 0 FROM entry
        WHERE reads > 0 AND generation >= {FIRST}
    ORDER BY 1, 2, 3"""
TOTAL = "INSERT OR REPLACE INTO total"
TAKEN = """SELECT type, name, sql FROM sqlite_schema
    WHERE sql IS NOT NULL AND type IN ('trigger', 'index') AND tbl_name IN ('entry', 'read_day')"""
HEARD_OF = "UPDATE fact SET value = max(value, (SELECT max(generation) FROM entry)) WHERE name LIKE 'generation_%'"


def grow(data: Path, entries: int, now: float) -> None:
    """Rows of ``entries`` mails in the catalogue of the data directory ``data``, which no node may have open. Sizes,
    ages and reads are spread as in ``crowded``: nine in ten have a blob (a name; there is no file)."""
    with closing(sqlite3.connect(catalogue_file(data), isolation_level=None)) as connection:
        for pragma in ("synchronous = OFF", "journal_mode = DELETE", f"cache_size = -{256 * 1024}"):
            connection.execute(f"PRAGMA {pragma}")
        taken = connection.execute(TAKEN).fetchall()
        for kind, name, _ in taken:
            connection.execute(f"DROP {kind} {name}")
        for first in range(0, entries, GROWN):
            last = min(first + GROWN, entries)
            connection.execute(ROWS, {"first": first, "last": last, "now": now, "entries": entries})
        connection.execute(DAYS)
        for _, _, sql in taken:
            connection.execute(sql)
        connection.execute("INSERT OR IGNORE INTO bucket VALUES (?, ?, 0, 1)", (BUCKET, now))
        _account(connection)
        connection.execute("PRAGMA journal_mode = WAL")


def _account(connection: sqlite3.Connection) -> None:
    """What the triggers keep: sums, and the newest generation."""
    connection.execute("BEGIN")
    connection.execute(f"{TOTAL} {SUMS} GROUP BY bucket")
    connection.execute(f"{TOTAL} {SUMS.replace('bucket,', repr('') + ',', 1)}")
    connection.execute(HEARD_OF)
    connection.execute("COMMIT")


def keys(data: Path, wanted: Sequence[int]) -> list[str]:
    """The keys of the mails with these numbers."""
    with closing(sqlite3.connect(f"file:{catalogue_file(data)}?mode=ro", uri=True)) as connection:
        sql = "SELECT key FROM entry WHERE bucket = ? AND key >= ? ORDER BY key LIMIT 1"
        found = (connection.execute(sql, (BUCKET, place(number))).fetchone() for number in wanted)
        return [row[0] for row in found if row is not None]


def place(number: int) -> str:
    """What the key of mail ``number`` begins with."""
    folder = FOLDERS[number % A_USER // (A_USER // len(FOLDERS))]
    return f"{PREFIX}user{number // A_USER:06}@example.org/{folder}/{number:09}."
