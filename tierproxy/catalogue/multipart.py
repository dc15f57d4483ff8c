"""Multipart uploads in progress, and their staged parts."""

from __future__ import annotations

import sqlite3

from tierproxy.catalogue.buckets import require_bucket
from tierproxy.catalogue.database import Database
from tierproxy.catalogue.listing import string_after_prefix
from tierproxy.catalogue.rows import PART, UPLOAD, part_of, part_row, placeholders, upload_of, upload_row
from tierproxy.errors import NoSuchUpload
from tierproxy.model import Part, Upload

PARTS = f"SELECT {PART} FROM part WHERE upload = ? AND number > ? ORDER BY number LIMIT ?"
ADD_PART = f"""INSERT INTO part (upload, {PART}) VALUES (?, {placeholders(PART)})
    ON CONFLICT (upload, number) DO UPDATE SET
        size = excluded.size, etag = excluded.etag, file = excluded.file,
        modified_at = excluded.modified_at, checksums = excluded.checksums"""
ADD_UPLOAD = f"INSERT INTO upload ({UPLOAD}) VALUES ({placeholders(UPLOAD)})"
EVERY = -1  # LIMIT -1 is no limit


class Multipart:
    """Uploads and parts; the parts' files are the caller's."""

    def __init__(self, database: Database) -> None:
        self._reads = database.reads
        self._change = database.change

    async def add_upload(self, upload: Upload) -> None:
        await self._change(lambda connection: _add_upload(connection, upload))

    def upload(self, id: str) -> Upload | None:
        row = self._reads.row(f"SELECT {UPLOAD} FROM upload WHERE id = ?", id)
        return None if row is None else upload_of(row)

    def uploads(
        self, bucket: str, prefix: str = "", after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> list[Upload]:
        stop = string_after_prefix(prefix)
        sql = (
            f"SELECT {UPLOAD} FROM upload WHERE bucket = ?1 AND key >= ?2 AND (?3 IS NULL OR key < ?3) "
            "AND (key, id) > (?4, ?5) ORDER BY key, id LIMIT ?6"
        )
        start = max(prefix, after[0])
        return [upload_of(row) for row in self._reads.rows(sql, bucket, start, stop, *after, limit)]

    def uploads_before(self, created_before: float, limit: int) -> list[Upload]:
        sql = f"SELECT {UPLOAD} FROM upload WHERE created_at < ? ORDER BY created_at LIMIT ?"
        return [upload_of(row) for row in self._reads.rows(sql, created_before, limit)]

    async def add_part(self, upload: str, part: Part) -> Part | None:
        return await self._change(lambda connection: _add_part(connection, upload, part))

    def parts(self, upload: str, after: int = 0, limit: int = 10_000) -> list[Part]:
        return [part_of(row) for row in self._reads.rows(PARTS, upload, after, limit)]

    async def remove_upload(self, id: str) -> list[Part]:
        return await self._change(lambda connection: _remove_upload(connection, id))

    def part_files(self) -> set[str]:
        return {row[0] for row in self._reads.rows("SELECT file FROM part")}

    def part_bytes(self) -> int:
        return int(self._reads.rows("SELECT coalesce(sum(size), 0) FROM part")[0][0])


def _add_upload(connection: sqlite3.Connection, upload: Upload) -> None:
    require_bucket(connection, upload.name.bucket)
    connection.execute(ADD_UPLOAD, upload_row(upload))


def end_upload(connection: sqlite3.Connection, id: str) -> None:
    """Remove an upload and, by cascade, its parts. Raises NoSuchUpload."""
    if not connection.execute("DELETE FROM upload WHERE id = ?", (id,)).rowcount:
        raise NoSuchUpload


def _remove_upload(connection: sqlite3.Connection, id: str) -> list[Part]:
    parts = [part_of(row) for row in connection.execute(PARTS, (id, 0, EVERY))]
    end_upload(connection, id)
    return parts


def _add_part(connection: sqlite3.Connection, upload: str, part: Part) -> Part | None:
    if connection.execute("SELECT 1 FROM upload WHERE id = ?", (upload,)).fetchone() is None:
        raise NoSuchUpload
    row = connection.execute(
        f"SELECT {PART} FROM part WHERE upload = ? AND number = ?", (upload, part.number)
    ).fetchone()
    connection.execute(ADD_PART, (upload, *part_row(part)))
    return None if row is None else part_of(row)
