"""The worker's side of the log: journals that grow, become segments, and go. Blocking; one thread at a time."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tierproxy.config.sections import HistorySection
from tierproxy.errors import BlobMissing
from tierproxy.history.journal import Journal, Torn, read
from tierproxy.history.names import UNFINISHED, free_start, journals, segments
from tierproxy.history.retention import retain
from tierproxy.history.rows import Row, row_of
from tierproxy.logs import event
from tierproxy.ports import FileCalls
from tierproxy.traffic import Event

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)


class HistoryFiles:
    """``<data>/history``. Everything raises DiskError; what was not done then is done by the next call."""

    def __init__(self, directory: Path, files: FileCalls, node: str) -> None:
        self.directory = directory
        self._files = files
        self._node = node
        self._journal: Journal | None = None
        self._made = False

    @property
    def events(self) -> int:
        """Events in the open journal."""
        return self._journal.events if self._journal else 0

    def append(self, events: Sequence[Event], now: float) -> None:
        """Write ``events`` to the open journal, all or none; without one a new journal begins."""
        if not events:
            return
        if self._journal is None:
            self._make()
            self._journal = Journal(self.directory, free_start(self.directory, now * 1000), self._files)
        self._journal.append(_rows(events))

    def close(self) -> None:
        """The open journal is complete: ``settle`` makes a segment of it, now or at the next start."""
        journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def settle(self) -> int:
        """Every journal but the open one becomes a segment. Returns how many did."""
        open_path = self._journal.path if self._journal else None
        settled = 0
        for started, path in journals(self.directory):
            if path != open_path:
                self._settle(started, path)
                settled += 1
        return settled

    def tidy(self) -> None:
        """Remove segments that a crash left unfinished (the node's; an import may be writing its own)."""
        for path in self.directory.glob(f"[0-9]*{UNFINISHED}") if self.directory.is_dir() else ():
            if path.name.count("-") == 1:
                self._files.unlink(path)

    def retain(self, settings: HistorySection, now: float) -> None:
        """Remove what is too old or too much."""
        open_path = self._journal.path if self._journal else None
        kept = retain(
            self.directory, self._files, now=now, max_age=settings.max_age, max_bytes=settings.max_bytes,
            open_journal=open_path,
        )  # fmt: skip
        if kept.removed:
            event(log, logging.INFO, "history removed", files=kept.removed, bytes=kept.removed_bytes, left=kept.bytes)

    def _make(self) -> None:
        if not self._made:
            self._files.mkdir(self.directory)
            self._files.fsync_dir(self.directory.parent)
            self._made = True

    def _settle(self, started: int, path: Path) -> None:
        """The segment is durable under its name before the journal goes; a journal whose segment is there has been
        through this, and only its removal is left."""
        if not any(segment.started == started and not segment.source for segment in segments(self.directory)):
            self._write_segment(started, path)
        with contextlib.suppress(BlobMissing):
            self._files.unlink(path)
            self._files.fsync_dir(self.directory)

    def _write_segment(self, started: int, path: Path) -> None:
        from tierproxy.history import segments as writing  # takes 0.1 s and memory: not before it is needed

        torn = Torn()
        try:
            frame = _frame_of(path, torn)
        except writing.UNFIT as error:
            self._files.rename(path, path.with_suffix(".bad"))
            event(log, logging.ERROR, "history journal cannot be read", path=path, error=error)
            return
        if torn.lines:
            event(log, logging.WARNING, "history journal torn", path=path, lines=torn.lines, bytes=torn.bytes)
        if frame.height:
            made = writing.write(self.directory, frame, files=self._files, started=started, node=self._node)
            event(log, logging.INFO, "history segment written", path=made, events=frame.height)


def _rows(events: Sequence[Event]) -> list[Row]:
    """One row, not two alike, for the same event many times in a row."""
    rows: list[Row] = []
    before = None
    for each in events:
        if each is not before:
            row, before = row_of(each), each
        rows.append(row)
    return rows


def _frame_of(path: Path, torn: Torn) -> pl.DataFrame:
    """All events of a journal; some thousand at a time are Python objects."""
    import polars as pl

    from tierproxy.history import schema

    frames = [schema.empty()]
    waiting: list[list[object]] = []
    for rows in read(path, torn):
        waiting += rows
        if len(waiting) >= schema.CHUNK:
            frames.append(schema.frame_of_rows(waiting))
            waiting = []
    frames.append(schema.frame_of_rows(waiting))
    return pl.concat(frames)
