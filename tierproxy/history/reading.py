"""Reading history: whatever is at a place, in time order, without what is torn or not ours.

A place is a data directory, a directory of segments, or one file. Of a data directory the journals count as well, so
that the last hour is not missing beside a running node. Reading changes nothing and needs no lock.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import xxhash

from tierproxy.errors import TierproxyError
from tierproxy.history import schema
from tierproxy.history.journal import Torn, read
from tierproxy.history.names import check_of, journal_name, journals, segments, started_of
from tierproxy.history.rows import MICROSECONDS
from tierproxy.history.segments import UNFIT
from tierproxy.logs import event

log = logging.getLogger(__name__)

BROKEN = (*UNFIT, pl.exceptions.PanicException, OSError)
"""What polars raises for files that are no Parquet, or damaged. The panic is not an Exception."""
BATCH = 65_536
HEAD = 4096
PIECE = 2**20


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left out, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Events in time order. ``first`` and ``last`` in microseconds since the epoch."""

    first: int
    last: int
    rows: int
    path: Path
    lazy: pl.LazyFrame = field(compare=False, repr=False)


class History:
    """What is at a place. ``skipped`` grows while it is read: damage may be found late."""

    def __init__(self, pieces: Sequence[Piece], skipped: list[Skipped]) -> None:
        self.pieces = sorted(
            (piece for piece in pieces if piece.rows), key=lambda piece: (piece.first, piece.last, str(piece.path))
        )
        self.skipped = skipped

    def __repr__(self) -> str:
        return f"<History of {len(self.pieces)} pieces, {self.rows} events, {len(self.skipped)} files skipped>"

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.pieces)

    def span(self) -> tuple[float, float] | None:
        """Seconds since the epoch of the first and the last event; None: there is none."""
        if not self.pieces:
            return None
        return self.pieces[0].first / MICROSECONDS, max(piece.last for piece in self.pieces) / MICROSECONDS

    def scan(self, since: float | None = None, until: float | None = None) -> pl.LazyFrame:
        """All events with ``since <= at < until`` (seconds since the epoch) in time order, as one lazy frame of
        ``schema.COLUMNS``. Files are read when it is collected."""
        runs = list(self._runs(since, until))
        return pl.concat(runs) if runs else schema.empty().lazy()

    def batches(
        self, since: float | None = None, until: float | None = None, *, where: pl.Expr | None = None,
        columns: Sequence[str] = schema.NAMES, size: int = BATCH,
    ) -> Iterator[pl.DataFrame]:  # fmt: skip
        """The same as frames of about ``size`` rows, one after the other: memory is bounded. ``where``: a further
        condition. A file that turns out to be damaged is skipped from there on."""
        for run in self._runs(since, until):
            chosen = run if where is None else run.filter(where)
            try:
                batches = chosen.select(columns).collect_batches(chunk_size=size, maintain_order=True)
                yield from (batch for batch in batches if batch.height)
            except BROKEN as error:
                self._skip(Path("?"), f"cannot be read to its end: {_first_line(error)}")

    def events(
        self, since: float | None = None, until: float | None = None, *, key: str = "*"
    ) -> Iterator[dict[str, Any]]:
        """The same one by one, as values by column, ``at`` in microseconds since the epoch. ``key``: a shell pattern
        for keys."""
        wanted = re.compile(fnmatch.translate(key)).match
        for batch in self.batches(since, until, size=HEAD):
            words = batch.with_columns(pl.col("at").dt.epoch("us"))
            yield from (row for row in words.iter_rows(named=True) if wanted(row["key"]))

    def _runs(self, since: float | None, until: float | None) -> Iterator[pl.LazyFrame]:
        """Pieces that overlap are merged; those that do not follow each other."""
        low, high = _microseconds(since), _microseconds(until)
        wanted = [
            piece
            for piece in self.pieces
            if (low is None or piece.last >= low) and (high is None or piece.first < high)
        ]
        for group in overlapping(wanted):
            merged = group[0].lazy
            for piece in group[1:]:
                merged = merged.merge_sorted(piece.lazy, "at")
            yield _between(merged, low, high)

    def _skip(self, path: Path, why: str) -> None:
        self.skipped.append(Skipped(path, why))
        event(log, logging.WARNING, "history skipped", path=path, why=why)


def overlapping(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """``pieces`` (by first event) in groups: those that share some time."""
    groups: list[list[Piece]] = []
    end = -1
    for piece in pieces:
        if groups and piece.first <= end:
            groups[-1].append(piece)
        else:
            groups.append([piece])
        end = max(end, piece.last)
    return groups


def _between(frame: pl.LazyFrame, low: int | None, high: int | None) -> pl.LazyFrame:
    if low is not None:
        frame = frame.filter(pl.col("at") >= pl.lit(low).cast(schema.AT))
    if high is not None:
        frame = frame.filter(pl.col("at") < pl.lit(high).cast(schema.AT))
    return frame


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * MICROSECONDS)


def open_history(*places: Path) -> History:
    """What is at ``places``. Files that are torn or not ours are skipped and named. Raises TierproxyError when a place
    is not there."""
    history = History([], [])
    pieces: list[Piece] = []
    for place in places:
        waiting = _files(place)
        while waiting:
            path = waiting.pop(0)
            try:
                pieces += _journal(path, history) if path.suffix == ".journal" else [_segment(path)]
            except FileNotFoundError:  # it became a segment, or retention was here
                waiting += _successor(path)
            except Unfit as error:
                history._skip(path, str(error))
            except BROKEN as error:
                history._skip(path, f"no Parquet file, or torn: {_first_line(error)}")
    return History(pieces, history.skipped)


class Unfit(Exception):
    """A file that is not a segment of ours."""


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise TierproxyError(
            f"there is no history at {place}", hint="a data directory, a directory of segments, or a Parquet file"
        )
    directory = place / "history" if (place / "history").is_dir() else place
    waiting = journals(directory)  # before the segments: one that becomes a segment now is in one list or in both
    whole = sorted(directory.glob("*.parquet"))
    settled = {started_of(path) for path in whole}  # of this very list: a later one may have what it has not
    return whole + [path for started, path in waiting if started not in settled]


def _successor(gone: Path) -> list[Path]:
    """The segment that a journal has become since it was listed."""
    if gone.suffix != ".journal":
        return []
    own = (one for one in segments(gone.parent) if not one.source)
    return [one.path for one in own if journal_name(one.started) == gone.name]


def _segment(path: Path) -> Piece:
    """A segment that is whole, of a schema we know, and in time order."""
    wanted = check_of(path)
    if wanted is not None and wanted != _check(path):
        raise Unfit("torn or damaged: its content is not that of its checksum")
    version = pl.read_parquet_metadata(path).get(schema.META_VERSION)
    if version is None:
        raise Unfit("not written by tierproxy")
    if not version.isdigit() or int(version) > schema.VERSION:
        raise Unfit(f"of schema {version[:20]}: a newer tierproxy reads it")
    lazy = pl.scan_parquet(path, extra_columns="ignore")
    found = lazy.collect_schema()
    different = [name for name, type_ in schema.TYPES.items() if found.get(name) != type_]
    if different:
        raise Unfit(f"columns missing or of another type: {', '.join(different)}")
    times = lazy.select(pl.col("at")).collect()["at"]
    if not times.is_sorted():
        raise Unfit("not in time order")
    return _piece(path, times, lazy.select(schema.NAMES))


def _journal(path: Path, history: History) -> list[Piece]:
    torn = Torn()
    frames = [schema.frame_of_rows(rows) for rows in read(path, torn)]
    if torn.lines:
        history._skip(path, f"{torn.lines} lines ({torn.bytes} bytes) are torn or still being written")
    if not frames:
        return []
    frame = pl.concat(frames).sort("at", maintain_order=True)
    return [_piece(path, frame["at"], frame.lazy())]


def _piece(path: Path, times: pl.Series, lazy: pl.LazyFrame) -> Piece:
    microseconds = times.dt.epoch("us")
    first: Any = microseconds.min()
    last: Any = microseconds.max()
    if first is None or last is None:
        return Piece(0, 0, 0, path, lazy)
    return Piece(first, last, len(times), path, lazy)


def _check(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
