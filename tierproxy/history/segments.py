"""Writing segments: whole, durable and under their final name, or not there at all."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl
import xxhash

from tierproxy.errors import TierproxyError
from tierproxy.history import schema
from tierproxy.history.names import UNFINISHED, segment_name, segments
from tierproxy.history.rows import row_of
from tierproxy.ports import FileCalls
from tierproxy.traffic import Event

UNFIT = (pl.exceptions.PolarsError, ValueError, TypeError, OverflowError)
"""What making a frame raises for values that no segment holds."""
ROW_GROUP = 65_536
"""Rows of a row group: what a reader with a filter on time skips at once."""
PIECE = 2**20
ROWS = 250_000
"""Rows of a segment that is imported or generated."""


def encode(frame: pl.DataFrame, *, node: str = "", source: str = "node") -> bytes:
    """``frame`` in time order as the bytes of a segment."""
    buffer = io.BytesIO()
    schema.conform(frame).sort("at", maintain_order=True).write_parquet(
        buffer, compression="zstd", row_group_size=ROW_GROUP, metadata=schema.metadata(node, source)
    )
    return buffer.getvalue()


def write(
    directory: Path, frame: pl.DataFrame, *, files: FileCalls, started: int | None = None, node: str = "",
    source: str = "",
) -> Path:  # fmt: skip
    """Write ``frame`` (of the schema, not empty) as a segment into ``directory``; durable on return.

    ``started``: milliseconds, part of the name, None for the first event's. ``source``: "" for the node's own, else a
    word as "nginx". The file gets its name after its content is on disk: a crash leaves an unfinished file, which
    nobody reads. Raises DiskError.
    """
    first, last = span(frame)
    content = encode(frame, node=node, source=source or "node")
    check = xxhash.xxh3_64_intdigest(content)
    path = directory / segment_name(first if started is None else started, last, check, source)
    put(path, content, files)
    return path


def put(path: Path, content: bytes, files: FileCalls) -> None:
    """``content`` at ``path``, whole or not at all, durable on return. Raises DiskError."""
    unfinished = path.with_name(path.name + UNFINISHED)
    fd = files.open_or_create(unfinished)
    try:
        files.truncate(fd, 0)
        view = memoryview(content)
        for offset in range(0, len(view), PIECE):
            files.write_at(fd, view[offset : offset + PIECE], offset)
        files.fsync(fd)
    finally:
        os.close(fd)
    files.rename(unfinished, path)
    files.fsync_dir(path.parent)


def span(frame: pl.DataFrame) -> tuple[int, int]:
    """Milliseconds of the first and the last event."""
    times = frame["at"].dt.epoch("ms")
    first, last = times.min(), times.max()
    if not isinstance(first, int) or not isinstance(last, int):
        raise ValueError("a segment has at least one event")
    return first, last


class SegmentWriter:
    """Streams events into segments of ``rows`` rows below ``directory``, which it makes if need be. Memory is bounded
    by one segment. ``with SegmentWriter(...) as out:`` writes the last one at the end, unless an exception ends it.

    Raises DiskError. Not for several threads.
    """

    def __init__(self, directory: Path, files: FileCalls, *, source: str, node: str = "", rows: int = ROWS) -> None:
        if not source:
            raise TierproxyError("history that the node did not write names its source")
        self.directory = directory
        self.written: list[Path] = []
        self.events = 0
        self._files = files
        self._source = source
        self._node = node
        self._rows = rows
        self._waiting: list[Sequence[Any]] = []
        self._frames: list[pl.DataFrame] = []
        self._held = 0
        _make(directory, files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self.close()

    def add(self, event: Event) -> None:
        self.add_row(row_of(event))

    def extend(self, events: Iterable[Event]) -> None:
        for event in events:
            self.add(event)

    def add_row(self, row: Sequence[Any]) -> None:
        """``row``: the values of ``rows.GIVEN``."""
        self._waiting.append(row)
        if len(self._waiting) >= min(schema.CHUNK, self._rows):
            self._gather()

    def add_frame(self, frame: pl.DataFrame) -> None:
        """``frame``: of the schema, any length."""
        self._gather()
        self._take(frame)

    def close(self) -> None:
        """Write what is left."""
        self._gather()
        if self._held:
            self._write(pl.concat(self._frames))
            self._frames, self._held = [], 0

    def _gather(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows:
            self._take(schema.frame_of_rows(rows))

    def _take(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)
        self._held += frame.height
        if self._held < self._rows:
            return
        whole = pl.concat(self._frames)
        while whole.height >= self._rows:
            self._write(whole.head(self._rows))
            whole = whole.slice(self._rows)
        self._frames, self._held = [whole], whole.height

    def _write(self, frame: pl.DataFrame) -> None:
        self.written.append(write(self.directory, frame, files=self._files, node=self._node, source=self._source))
        self.events += frame.height


def _make(directory: Path, files: FileCalls) -> None:
    """``directory`` and what is missing above it, durable."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        files.mkdir(path)
        files.fsync_dir(path.parent)


def bytes_of(directory: Path) -> int:
    """Bytes of all segments in ``directory``."""
    return sum(segment.size for segment in segments(directory))
