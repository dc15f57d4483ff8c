"""The open end of history: a file of checked lines to which each second's events are appended.

A line is 16 hex digits (xxh3 of the rest), a space, and a JSON array of rows (``rows.GIVEN``). A line that does not
check out is skipped: what a crash tore, and what a disk made up, is told from what was written.

Not fsynced each second. A killed process loses nothing that was written; a power failure loses what the kernel had not
written yet, some seconds of statistics. An fsync a second would make every acknowledged mail wait behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from tierproxy.errors import DiskError, DiskUnavailable
from tierproxy.history.names import journal_name
from tierproxy.history.rows import GIVEN
from tierproxy.ports import FileCalls

ROWS = 500
"""Rows of a line: encoding one holds the interpreter for about a millisecond."""
DIGITS = 16
_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Journal:
    """One open journal. Blocking; for one thread at a time. Raises DiskError."""

    def __init__(self, directory: Path, started: int, files: FileCalls) -> None:
        """A new file, its name durable."""
        self.path = directory / journal_name(started)
        self.events = 0
        self._files = files
        self._size = 0
        self._torn = False
        self._fd = files.create(self.path)
        try:
            files.fsync_dir(directory)
        except DiskError:
            os.close(self._fd)
            with contextlib.suppress(DiskError):
                files.unlink(self.path)
            raise

    def append(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write ``rows`` at the end: all of them or, when it raises DiskError, none."""
        if self._torn:
            self._files.truncate(self._fd, self._size)
        self._torn = True
        end = self._size
        for begin in range(0, len(rows), ROWS):
            line = encode(rows[begin : begin + ROWS])
            self._files.write_at(self._fd, line, end)
            end += len(line)
        self._torn = False
        self._size = end
        self.events += len(rows)

    def close(self) -> None:
        """End it, durable if the disk will have it."""
        try:
            if self._torn:
                self._files.truncate(self._fd, self._size)
            self._files.fsync(self._fd)
        finally:
            os.close(self._fd)


def encode(rows: Sequence[Sequence[Any]]) -> bytes:
    """A line. The same row many times in a row is encoded once. Half surrogates, which no UTF-8 holds, become question
    marks."""
    texts: list[str] = []
    before, written = None, ""
    for row in rows:
        if row is not before:
            before, written = row, _json(row)
        texts.append(written)
    text = f"[{','.join(texts)}]".encode(errors="replace")
    return b"%016x %s\n" % (xxhash.xxh3_64_intdigest(text), text)


def decode(line: bytes) -> list[list[Any]] | None:
    """The rows of a line; None: it is torn or not ours."""
    text = line[DIGITS + 1 : -1]
    if line[-1:] != b"\n" or line[:DIGITS] != b"%016x" % xxhash.xxh3_64_intdigest(text):
        return None
    rows: list[list[Any]] = json.loads(text)
    return rows if all(len(row) == len(GIVEN) for row in rows) else None


@dataclass(slots=True)
class Torn:
    """What of a journal could not be read. The last line of an open one may be on its way."""

    lines: int = 0
    bytes: int = 0


def read(path: Path, torn: Torn) -> Iterator[list[list[Any]]]:
    """The lines of a journal as lists of rows; what is skipped is added to ``torn``. Raises FileNotFoundError and,
    when the disk fails, DiskUnavailable."""
    try:
        with path.open("rb") as file:
            for line in file:
                rows = decode(line)
                if rows is not None:
                    yield rows
                else:
                    torn.lines += 1
                    torn.bytes += len(line)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskUnavailable(f"read {path}: {error.strerror or error}") from error
