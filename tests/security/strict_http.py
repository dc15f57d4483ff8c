"""HTTP/1.1 requests read by the letter of RFC 9112, by nobody's parser but this one: the judge in tests of smuggling.

It takes only what every program on the way must read alike. What it refuses may be refused; what it reads must be read
as it does, or be refused. Where a request ends nobody can doubt in three things that the letter forbids and llhttp lets
pass: lone line feeds before a request, several spaces in its first line, and "RTSP" or "ICE" where "HTTP" should be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_LINE = re.compile(rb"([A-Z-]+) +([!-~]+) +(?:HTTP|RTSP|ICE)/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?")


class Verdict(StrEnum):
    """How a stream ended."""

    OVER = "over"  #: with a request that ends the connection
    BAD = "bad"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Seen:
    """One request. ``target`` as it came."""

    method: str
    target: str
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.body.hex()}"


class Bad(Exception):
    """Not HTTP/1.1."""


class Incomplete(Exception):
    """More has to come."""


class _Stream:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        line = self._data[self._at : end if end >= 0 else len(self._data)]
        if end < 0:
            raise Incomplete
        self._at = end + 1
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Bad("a line that does not end in CRLF")
        return line[:-1]

    def skip_empty_lines(self) -> None:
        """ "At least one" before a request is to be ignored (2.2)."""
        while self._data[self._at : self._at + 1] in (b"\r", b"\n"):
            self._at += 1

    def take(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise Incomplete
        self._at += size
        return found


def read(data: bytes) -> tuple[list[Seen], Verdict]:
    """The requests in ``data``, and what came behind them."""
    stream, found = _Stream(data), list[Seen]()
    while True:
        try:
            seen, over = _request(stream)
        except Incomplete:
            return found, Verdict.INCOMPLETE
        except Bad:
            return found, Verdict.BAD
        found.append(seen)
        if over:
            return found, Verdict.OVER


def _request(stream: _Stream) -> tuple[Seen, bool]:
    stream.skip_empty_lines()
    line = stream.line()
    first = _LINE.fullmatch(line)
    if first is None:
        raise Bad("no request line")
    fields = _fields(stream)
    body = _body(stream, fields, first[3] == b"1")
    tokens = [token.strip().lower() for value in fields.get(b"connection", []) for token in value.split(b",")]
    return Seen(first[1].decode(), first[2].decode(), body), b"close" in tokens or first[3] == b"0"


def _fields(stream: _Stream) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    while line := stream.line():
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Bad("no field line")
        found.setdefault(field[1].lower(), []).append(field[2].strip(b" \t"))
    return found


def _body(stream: _Stream, fields: dict[bytes, list[bytes]], chunks: bool) -> bytes:
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if codings:
        if lengths or not chunks or [coding.lower() for coding in codings] != [b"chunked"]:
            raise Bad("a length that two programs could read in two ways")
        return _chunks(stream)
    if not lengths:
        return b""
    if len(lengths) > 1 or re.fullmatch(rb"[0-9]{1,18}", lengths[0]) is None:
        raise Bad("no length")
    return stream.take(int(lengths[0]))


def _chunks(stream: _Stream) -> bytes:
    body = b""
    while True:
        chunk = _CHUNK.fullmatch(stream.line())
        if chunk is None:
            raise Bad("no chunk")
        size = int(chunk[1], 16)
        if size == 0:
            _fields(stream)  # trailers, which are nobody's headers
            return body
        body += stream.take(size)
        if stream.take(2) != b"\r\n":
            raise Bad("a chunk that does not end where it says")
