"""Rows of the database to the nouns of ``tierproxy.model`` and back; headers, parts and checksums are compact JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from tierproxy.model import Ack, BucketRow, Entry, Headers, Job, JobKind, ObjectName, Part, State, Upload

Row = tuple[Any, ...]

ENTRY = (
    "bucket, key, generation, state, size, etag, written_at, alt_etag, headers, parts, blob, blob_bytes, xxh3, "
    "stored_at, last_read_at, reads, purged_at, purged_by, owner, folder"
)
JOB = "bucket, key, generation, kind, size, queued_at, attempts, next_try_at, last_error"
UPLOAD = "id, bucket, key, headers, created_at, ack, checksum_algorithm, checksum_type, owner, folder"
PART = "number, size, etag, file, modified_at, checksums"

_STATES = {str(state): state for state in State}
_KINDS = {str(kind): kind for kind in JobKind}
_HEADER_FIELDS = tuple(field.name for field in fields(Headers))
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def placeholders(columns: str) -> str:
    """``?, ?, ?`` for a list of columns."""
    return ", ".join("?" * len(columns.split(",")))


def headers_text(headers: Headers) -> str:
    """Only what is set, so that the usual row stays short."""
    return _encode({name: value for name in _HEADER_FIELDS if (value := getattr(headers, name))})


def headers_of(text: str) -> Headers:
    return Headers(**json.loads(text))


def json_or_null(value: Sequence[int] | Mapping[str, str]) -> str | None:
    return _encode(value) if value else None


def entry_row(entry: Entry) -> Row:
    """The values of ``ENTRY``."""
    headers = None if entry.headers is None else headers_text(entry.headers)
    return (
        *entry.name, entry.generation, entry.state, entry.size, entry.etag, entry.written_at, entry.alt_etag,
        headers, json_or_null(entry.parts), entry.blob, entry.blob_bytes, entry.xxh3,
        entry.stored_at, entry.last_read_at, entry.reads, entry.purged_at, entry.purged_by,
        entry.owner, entry.folder,
    )  # fmt: skip


def entry_of(row: Row) -> Entry:
    """The columns ``ENTRY``; positional because this is on the path of every hit."""
    headers, parts = row[8], row[9]
    return Entry(
        ObjectName(row[0], row[1]), row[2], _STATES[row[3]], row[4], row[5], row[6], row[7],
        None if headers is None else headers_of(headers), () if parts is None else tuple(json.loads(parts)),
        *row[10:],
    )  # fmt: skip


def job_row(job: Job) -> Row:
    """The values of ``JOB``."""
    return (
        *job.name, job.generation, job.kind, job.size,
        job.queued_at, job.attempts, job.next_try_at, job.last_error,
    )  # fmt: skip


def job_of(row: Row) -> Job:
    return Job(ObjectName(row[0], row[1]), row[2], _KINDS[row[3]], *row[4:])


def bucket_of(row: Row) -> BucketRow:
    """The columns ``name, created_at, created, complete``."""
    return BucketRow(row[0], row[1], bool(row[2]), bool(row[3]))


def upload_row(upload: Upload) -> Row:
    """The values of ``UPLOAD``."""
    return (
        upload.id, *upload.name, headers_text(upload.headers), upload.created_at,
        upload.ack, upload.checksum_algorithm, upload.checksum_type, upload.owner, upload.folder,
    )  # fmt: skip


def upload_of(row: Row) -> Upload:
    ack = None if row[5] is None else Ack(row[5])
    return Upload(row[0], ObjectName(row[1], row[2]), headers_of(row[3]), row[4], ack, *row[6:])


def part_row(part: Part) -> Row:
    """The values of ``PART``."""
    return (part.number, part.size, part.etag, part.file, part.modified_at, json_or_null(part.checksums))


def part_of(row: Row) -> Part:
    number, size, etag, file, modified_at, checksums = row
    return Part(number, size, etag, file, modified_at, {} if checksums is None else json.loads(checksums))
