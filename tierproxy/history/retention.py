"""How long history is kept: by age and by bytes, the oldest first. Decides by names and sizes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tierproxy.history.names import SegmentFile, journals, segments
from tierproxy.ports import FileCalls


@dataclass(frozen=True, slots=True)
class Retained:
    """What a pass of retention removed, and what is left."""

    removed: int
    removed_bytes: int
    bytes: int


def surplus(kept: Sequence[SegmentFile], *, oldest: float, max_bytes: int) -> list[SegmentFile]:
    """What goes of ``kept`` (oldest first): files whose last event is before ``oldest`` (milliseconds), and then the
    first ones until at most ``max_bytes`` are left."""
    going = [segment for segment in kept if segment.last < oldest]
    staying = [segment for segment in kept if segment.last >= oldest]
    size = sum(segment.size for segment in staying)
    for segment in staying:
        if size <= max_bytes:
            break
        going.append(segment)
        size -= segment.size
    return going


def retain(
    directory: Path, files: FileCalls, *, now: float, max_age: float, max_bytes: int, open_journal: Path | None
) -> Retained:
    """Remove what is older than ``max_age`` seconds or beyond ``max_bytes`` from ``directory``: segments, and journals
    that could not become one, never the open one. Raises DiskError."""
    kept = sorted(segments(directory) + _closed(directory, open_journal))
    going = surplus(kept, oldest=(now - max_age) * 1000, max_bytes=max_bytes)
    for segment in going:
        files.unlink(segment.path)
    if going:
        files.fsync_dir(directory)
    gone = sum(segment.size for segment in going)
    return Retained(len(going), gone, sum(segment.size for segment in kept) - gone)


def _closed(directory: Path, open_journal: Path | None) -> list[SegmentFile]:
    found = []
    for started, path in journals(directory):
        if path != open_journal:
            status = path.stat()
            found.append(SegmentFile(started, max(started, int(status.st_mtime * 1000)), "", path, status.st_size))
    return found
