"""History for others: as it is or without names, as segments, JSON lines or CSV. In bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import polars as pl

from tierproxy.history import schema
from tierproxy.history.anonymise import Anonymiser
from tierproxy.history.reading import History
from tierproxy.history.segments import SegmentWriter
from tierproxy.ports import FileCalls

TIME = "%Y-%m-%dT%H:%M:%S.%6fZ"
SOURCE = "export"
TEXTS = ("jsonl", "csv")
Progress = Callable[[int], None]


class Export:
    """One export of the events of ``history`` with ``since <= at < until``. ``anonymiser`` None: names stay."""

    def __init__(
        self,
        history: History,
        *,
        since: float | None = None,
        until: float | None = None,
        anonymiser: Anonymiser | None = None,
        progress: Progress = lambda events: None,
    ) -> None:
        self._history = history
        self._since = since
        self._until = until
        self._anonymiser = anonymiser
        self._progress = progress
        self.events = 0

    def to_directory(self, directory: Path, files: FileCalls) -> list[Path]:
        """As segments below ``directory``. Returns them. Raises DiskError."""
        with SegmentWriter(directory, files, source=SOURCE) as out:
            for frame in self._frames():
                out.add_frame(frame)
        return out.written

    def to_text(self, form: str, out: IO[bytes]) -> None:
        """As lines of ``form`` (of ``TEXTS``), which ``tierproxy history import`` reads."""
        header = True
        for frame in self._frames():
            texts = frame.with_columns(pl.col("at").dt.strftime(TIME))
            if form == "jsonl":
                texts.write_ndjson(out)
            else:
                texts.write_csv(out, include_header=header)
            header = False
        if header and form == "csv":
            out.write((",".join(schema.NAMES) + "\n").encode())

    def _frames(self) -> Iterator[pl.DataFrame]:
        for frame in self._history.batches(self._since, self._until):
            yield frame if self._anonymiser is None else self._anonymiser.frame(frame)
            self.events += frame.height
            self._progress(self.events)
