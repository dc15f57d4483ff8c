"""Other programs' logs as history: line by line, in bounded memory, with what was left out counted and named."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl

from tierproxy.errors import TierproxyError
from tierproxy.history.access import PARSERS, Access, BadLine
from tierproxy.history.records import csv_rows, jsonl
from tierproxy.history.segments import SegmentWriter
from tierproxy.model import ObjectName
from tierproxy.traffic import EventKind, Reason

FORMATS = (*PARSERS, "jsonl", "csv")
LONGEST = 64 * 1024
"""Bytes of a line; a longer one is bad, and does not have to fit in memory."""
SHOWN = 5
"""Bad lines that are named."""
RECENT = 100_000
"""Client and object pairs remembered to tell ranges of one read."""
REPORT = 2**20
"""Bytes between two reports of progress."""
GZIP = b"\x1f\x8b"
BOM = "\ufeff"

KINDS = {("GET", 200): EventKind.READ, ("GET", 206): EventKind.READ, ("PUT", 200): EventKind.WRITE}
KINDS |= {("DELETE", 204): EventKind.DELETE}
SUBRESOURCES = frozenset({
    "acl", "attributes", "cors", "delete", "encryption", "legal-hold", "lifecycle", "list-type", "location", "logging",
    "notification", "partNumber", "policy", "replication", "requestPayment", "restore", "retention", "select",
    "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
})  # fmt: skip
"""Queries (S3 API) that make a request one of something else than the object's content."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where bucket and key are in a path. ``pattern``: for the whole path, with the groups ``key`` and, unless
    ``bucket`` is given, ``bucket``."""

    pattern: re.Pattern[str]
    bucket: str = ""

    @classmethod
    def of(cls, pattern: str = "", bucket: str = "") -> Target:
        """Default: path-style, ``/bucket/key``; with ``bucket`` the whole path is the key. Raises TierproxyError."""
        text = pattern or (r"/(?P<key>.+)" if bucket else r"/(?P<bucket>[^/]+)/(?P<key>.+)")
        try:
            compiled = re.compile(text, re.DOTALL)
        except re.error as error:
            raise TierproxyError(f"the pattern for paths cannot be used: {error}") from error
        if "key" not in compiled.groupindex or not (bucket or "bucket" in compiled.groupindex):
            raise TierproxyError("the pattern for paths needs the named groups key and bucket (or give a bucket)")
        return cls(compiled, bucket)

    def name(self, access: Access) -> ObjectName | None:
        """None: the request is not of an object."""
        if access.bucket is not None:
            return ObjectName(self.bucket or access.bucket, access.key) if access.key else None
        if access.query and any(name in SUBRESOURCES for name, _ in parse_qsl(access.query, keep_blank_values=True)):
            return None
        match = self.pattern.fullmatch(access.path)
        if match is None or not match["key"]:
            return None
        bucket = self.bucket or match["bucket"]
        return ObjectName(bucket, match["key"]) if bucket else None


@dataclass(slots=True)
class ImportReport:
    """What came of an import. ``skipped``: lines that are no read, write or delete, by what they are. ``bad``: lines
    that could not be understood; ``examples`` names the first few."""

    lines: int = 0
    events: int = 0
    bad: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    segments: int = 0

    def complain(self, place: str, why: str) -> None:
        self.bad += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{place}: {why}")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"lines": self.lines, "events": self.events, "segments": self.segments, "bad": self.bad}
        return counts | {"skipped": dict(self.skipped), "examples": self.examples}


class Importer:
    """Reads logs of one ``form`` (of ``FORMATS``) into ``out``.

    ``naming``: owner and folder of a name. ``reason``: whose reads those of a user agent and key are.
    ``progress`` is told the bytes read of all files, as they are on disk. ``window``: seconds, as ``[counting]
    range_window``.
    """

    def __init__(
        self,
        form: str,
        out: SegmentWriter,
        *,
        target: Target,
        naming: Callable[[ObjectName], tuple[str, str]],
        reason: Callable[[str, str], Reason] = lambda agent, key: Reason.PERSON,
        window: float = 60,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.report = ImportReport()
        self._form = form
        self._out = out
        self._target = target
        self._naming = naming
        self._reason = reason
        self._window = int(window * 1_000_000)
        self._progress = progress
        self._done = 0
        self._read_at: OrderedDict[tuple[str, ObjectName], int] = OrderedDict()

    def run(self, paths: Iterable[Path]) -> ImportReport:
        """All of ``paths``, in the given order; the last segment is written. Raises DiskError for what cannot be
        written, TierproxyError for a file that cannot be opened."""
        for path in paths:
            self._file(path)
        self._out.close()
        self.report.events = self._out.events
        self.report.segments = len(self._out.written)
        return self.report

    def _file(self, path: Path) -> None:
        try:
            raw = path.open("rb")
        except OSError as error:
            raise TierproxyError(f"cannot read {path}: {error.strerror or error}") from error
        with raw:
            lines = _Lines(path, raw, self.report, lambda done: self._progress(self._done + done))
            try:
                if self._form in PARSERS:
                    self._access_log(lines)
                else:
                    self._records(lines)
            except BadLine as error:
                self.report.complain(lines.place, str(error))
            self._done += raw.tell()
        self._progress(self._done)

    def _access_log(self, lines: _Lines) -> None:
        parse = PARSERS[self._form]
        for line in lines:
            try:
                access = parse(line)
            except BadLine as error:
                self.report.complain(lines.place, str(error))
                continue
            self._take(access)

    def _take(self, access: Access) -> None:
        kind = KINDS.get((access.method, access.status))
        name = self._target.name(access) if kind is not None else None
        if kind is None or name is None:
            self.report.skipped[_what(access, kind)] += 1
            return
        read = kind is EventKind.READ
        if read and not access.sent and (access.size or access.status == 206):
            self.report.skipped["GET that delivered nothing"] += 1
            return
        owner, folder = self._naming(name)
        reason = self._reason(access.agent, name.key) if read else ""
        first = not read or self._first(access, name)
        self._out.add_row((
            access.at, str(kind), name.bucket, name.key, owner, folder, access.size, access.sent if read else 0,
            access.outcome if read else "", str(reason), access.client, "", first,
        ))  # fmt: skip

    def _first(self, access: Access, name: ObjectName) -> bool:
        """Whether it is a read of its own: whole objects are, ranges when the client has not just read it."""
        place = access.client, name
        before = self._read_at.pop(place, None)
        self._read_at[place] = access.at
        if len(self._read_at) > RECENT:
            self._read_at.popitem(last=False)
        return access.status == 200 or before is None or access.at - before >= self._window

    def _records(self, lines: _Lines) -> None:
        rows = jsonl(lines) if self._form == "jsonl" else csv_rows(f"{line}\n" for line in lines)
        for row in rows:
            if isinstance(row, BadLine):
                self.report.complain(lines.place, str(row))
            else:
                self._out.add_row(row)


def _what(access: Access, kind: EventKind | None) -> str:
    """A class of lines that are left out; few, whatever a log holds."""
    if kind is not None:
        return f"{access.method} of something else than an object"
    known = access.method in {"GET", "PUT", "POST", "HEAD", "DELETE"}
    return f"{access.method} {access.status}" if known else "other requests"


class _Lines:
    """The lines of a file, plain or gzip, without their ends; ``place`` names the last one."""

    def __init__(self, path: Path, raw: IO[bytes], report: ImportReport, progress: Callable[[int], None]) -> None:
        self._path = path
        self._raw = raw
        self._report = report
        self._progress = progress
        self._number = 0

    @property
    def place(self) -> str:
        return f"{self._path} line {self._number}"

    def __iter__(self) -> Iterator[str]:
        reported = 0
        for line in self._checked(self._stream()):
            yield line
            if self._raw.tell() - reported >= REPORT:
                reported = self._raw.tell()
                self._progress(reported)

    def _stream(self) -> Any:
        zipped = self._raw.read(2) == GZIP
        self._raw.seek(0)
        return io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if zipped else self._raw

    def _checked(self, stream: Any) -> Iterator[str]:
        """Lines of a bearable length. A file that ends in the middle, or is damaged, ends there."""
        try:
            while line := stream.readline(LONGEST + 1):
                self._number += 1
                self._report.lines += 1
                if len(line) > LONGEST and not line.endswith(b"\n"):
                    self._report.complain(self.place, "too long")
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(LONGEST)
                    continue
                text = line.rstrip(b"\r\n").decode(errors="replace")
                text = text.removeprefix(BOM) if self._number == 1 else text
                if text:
                    yield text
                else:
                    self._report.skipped["empty lines"] += 1
        except (EOFError, OSError, zlib.error) as error:
            self._report.complain(f"{self._path} after line {self._number}", f"cannot be read: {error}")
