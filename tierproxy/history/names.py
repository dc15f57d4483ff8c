"""What files of history are called. No polars here: the log and retention decide by names alone.

A segment is ``<started>-<last>.<check>.parquet`` (by the node) or ``<started>-<last>-<source>.<check>.parquet``
(imported, generated): milliseconds since the epoch, 13 digits, of its beginning and its last event, and the xxh3 of the
file in 16 hex digits. Parquet as polars writes it has no checksum of its own, and a flipped bit is otherwise found as
wrong numbers or not at all. ``started`` is unique among the node's segments and is also the name of the journal it was
made of: a journal whose segment is there is one that a crash kept from being removed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

JOURNAL = re.compile(r"open-(\d{13})\.journal")
SEGMENT = re.compile(r"(\d{13})-(\d{13})(?:-([a-z][a-z0-9_]*))?\.([0-9a-f]{16})\.parquet")
UNFINISHED = ".part"
"""Suffix of a segment that is being written."""
LARGEST = 10**13 - 1


@dataclass(frozen=True, slots=True, order=True)
class SegmentFile:
    """A segment by its name. Times in milliseconds, ``size`` in bytes; ``source`` is "" of the node's."""

    started: int
    last: int
    source: str
    path: Path
    size: int


def stamp(milliseconds: float) -> str:
    """13 digits, which sort as the times do."""
    return f"{min(max(int(milliseconds), 0), LARGEST):013d}"


def journal_name(started: int) -> str:
    return f"open-{stamp(started)}.journal"


def segment_name(started: int, last: int, check: int, source: str = "") -> str:
    return f"{stamp(started)}-{stamp(last)}{f'-{source}' if source else ''}.{check:016x}.parquet"


def check_of(path: Path) -> str | None:
    """The checksum in a segment's name; None: it is called otherwise."""
    match = SEGMENT.fullmatch(path.name)
    return match[4] if match else None


def started_of(path: Path) -> int | None:
    """When the journal was begun that the node's segment at ``path`` was made of; None: it is no such segment."""
    match = SEGMENT.fullmatch(path.name)
    return None if match is None or match[3] else int(match[1])


def segments(directory: Path) -> list[SegmentFile]:
    """The segments in ``directory``, oldest first; files of other names are not ours."""
    found = []
    for path in directory.iterdir() if directory.is_dir() else ():
        match = SEGMENT.fullmatch(path.name)
        if match is None:
            continue
        try:
            size = path.stat().st_size
        except FileNotFoundError:  # retention was here
            continue
        found.append(SegmentFile(int(match[1]), int(match[2]), match[3] or "", path, size))
    return sorted(found)


def journals(directory: Path) -> list[tuple[int, Path]]:
    """Journals with the time they were begun, oldest first."""
    paths = directory.iterdir() if directory.is_dir() else ()
    return sorted((int(match[1]), path) for path in paths if (match := JOURNAL.fullmatch(path.name)))


def free_start(directory: Path, milliseconds: float) -> int:
    """The first millisecond from ``milliseconds`` on that no journal and no segment of the node began at."""
    taken = {segment.started for segment in segments(directory)} | {started for started, _ in journals(directory)}
    start = int(stamp(milliseconds))
    while start in taken:
        start += 1
    return start
