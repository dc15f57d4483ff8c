"""A catalogue of very many mails, without the mails: for measuring what looks at rows alone."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from served import BUCKET

from tierproxy.catalogue import catalogue_file
from tierproxy.traffic import DAY

OWNERS = 2000
FOLDERS = ("inbox", "sent", "archive", "trash")
PREFIX = "mail/"
COLUMNS = (
    "bucket", "key", "generation", "state", "size", "etag", "written_at", "alt_etag", "headers", "blob", "blob_bytes",
    "xxh3", "stored_at", "last_read_at", "previous_read_at", "reads", "owner", "folder", "visits", "queued_at", "worth",
)  # fmt: skip
FIRST = 10**9  #: generation of the first one; those of the node's own objects are smaller
DAYS = (
    "INSERT INTO read_day SELECT bucket, key, CAST(last_read_at / 86400 AS INTEGER), 1, 0 FROM entry "
    "WHERE reads > 0 AND generation >= ?",
    "INSERT INTO read_day SELECT bucket, key, CAST(previous_read_at / 86400 AS INTEGER), reads - 1, 0 FROM entry "
    "WHERE reads > 1 AND generation >= ?",
)


def crowd(data: Path, entries: int, now: float) -> None:
    """Rows of ``entries`` mails in the catalogue of the data directory ``data``, which no node may have open.

    Nine in ten have a blob (a name; there is no file), a third was read within 30 days, on one or two days of them. The
    ages are exponential with a mean of 200 days, the sizes lognormal with a median of 13 KB.
    """
    marks = ", ".join("?" * len(COLUMNS))
    with closing(sqlite3.connect(catalogue_file(data), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"PRAGMA cache_size = -{256 * 1024}")
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO entry ({', '.join(COLUMNS)}) VALUES ({marks})", _rows(entries, now, random.Random(1))
        )
        for sql in DAYS:
            connection.execute(sql, (FIRST,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rows(entries: int, now: float, chance: random.Random) -> Iterator[tuple[object, ...]]:
    for number in range(entries):
        owner, folder = f"user{number * OWNERS // entries:05}@example.org", FOLDERS[number % len(FOLDERS)]
        key = f"{PREFIX}{owner}/{folder}/{number:09}.{chance.getrandbits(64):016x}"
        size = int(chance.lognormvariate(9.5, 1.6)) + 500
        written_at = now - chance.expovariate(1 / (200 * DAY))
        reads, last, previous = _reading(now, written_at, chance)
        on_disk = chance.random() < 0.9
        yield (
            BUCKET, key, FIRST + number, "clean", size, f"{chance.getrandbits(128):032x}", written_at,
            f"{chance.getrandbits(128):032x}", _headers(number), f"{FIRST + number:032x}" if on_disk else None,
            -(-size // 4096) * 4096 if on_disk else 0, chance.randbytes(16) if on_disk else None,
            written_at + 1 if on_disk else None, last, previous, reads, owner, folder, min(reads, 3),
            written_at + 1 if on_disk else None, (reads or 1) / (size / 1024),
        )  # fmt: skip


def _reading(now: float, written_at: float, chance: random.Random) -> tuple[int, float | None, float | None]:
    """How often it was read, when last, and when before that (on a day before)."""
    age = now - written_at
    if chance.random() < 0.3:
        return 0, None, None
    reads = min(30, int(chance.expovariate(0.6)) + 1)
    lately = chance.random() < 0.48
    last = (
        now - chance.random() * min(30 * DAY, age) if lately else written_at + chance.random() * max(0, age - 30 * DAY)
    )
    return reads, last, last - 2 * DAY if reads > 1 else None


def _headers(number: int) -> str:
    metadata = {"guid": f"{number:032x}", "attachments": str(number % 3)}
    headers = {
        "content_type": "message/rfc822", "metadata": metadata, "checksums": {"crc32": "AAAAAA=="},
        "checksum_type": "FULL_OBJECT",
    }  # fmt: skip
    return json.dumps(headers, separators=(",", ":"))
