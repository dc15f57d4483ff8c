"""aws-chunked bodies: ``<hex size>[;chunk-signature=<hex>]`` CRLF data CRLF, again and again, then size 0 and trailers.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and "... with
trailing headers" in the Amazon S3 API reference. Each chunk's signature covers its bytes and the signature before it.

Chunks are not held back until their signature is known: the bytes of a bad chunk have gone on by then, and the error
that follows makes the whole write void, because nothing is published before its body has ended without one.

Chunks are read strictly. At the end clients differ, and S3 takes them all: trailers may end in LF alone, an empty line
may come before them, be doubled behind them, or be missing. Size, signatures and trailers tell that all is here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from enum import Enum, auto
from typing import Protocol

from tierproxy.errors import BadBody
from tierproxy.s3api.auth import EMPTY_SHA256, ChunkSeed, Payload, sign

MAX_LINE = 1024
MAX_TRAILERS = 16
MAX_BLANK_LINES = 2
FEW = 1000  #: chunks of any size
LEAST = 1024
"""Bytes of a chunk beyond those, on the average: each costs a hundred times what a byte does, and one packet holds tens
of thousands of the smallest. S3 itself takes none below 8 KiB but the last."""
SIGNATURE_TRAILER = "x-amz-trailer-signature"
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_LINE = re.compile(r"([A-Za-z0-9-]+):[ \t]*([!-~]*)")
_PREFIX = "x-amz-checksum-"


class Expecting(Protocol):
    """Who is told the checksums in the trailers: ``checksums.ContentCheck``."""

    def expect(self, algorithm: str, value: str) -> None: ...


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    DONE = auto()


class ChunkDecoder:
    """Takes an aws-chunked body apart, however it was cut on the way. ``feed`` it, then ``finish``.

    ``size`` is x-amz-decoded-content-length. ``seed`` None: signatures are not checked. ``trailers`` are the announced
    algorithms (``checksums.trailing_algorithms``), whose values go to ``check``.
    """

    def __init__(
        self, payload: Payload, size: int, *, check: Expecting, seed: ChunkSeed | None, trailers: Collection[str] = ()
    ) -> None:
        self._payload = payload
        self._size = self._left = size
        self._chunks = 0
        self._check = check
        self._signatures = None if seed is None else _Chain(seed)
        self._missing = {_PREFIX + algorithm for algorithm in trailers}
        self._state = _State.SIZE
        self._line = bytearray()
        self._chunk_left = 0
        self._signature = ""
        self._trailers: list[tuple[str, str]] = []
        self._blank_lines = 0

    def __repr__(self) -> str:
        return f"<ChunkDecoder {self._state.name}, {self._left} bytes to come>"

    def feed(self, data: bytes) -> list[bytes]:
        """The decoded pieces in ``data``. Raises BadBody: IncompleteBody, InvalidRequest, SignatureDoesNotMatch,
        MalformedTrailerError."""
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            if self._state is _State.DATA:
                piece = data[at : at + self._chunk_left]
                self._take(piece)
                pieces.append(piece)
                at += len(piece)
            else:
                at = self._read_line(data, at)
        return pieces

    def finish(self) -> None:
        """The raw body has ended. Raises BadBody if the decoded one has not: IncompleteBody, MalformedTrailerError,
        SignatureDoesNotMatch."""
        if self._line or self._state not in {_State.TRAILER, _State.DONE}:
            raise BadBody("The body ended before its last chunk.", code="IncompleteBody")
        if self._missing:
            raise BadBody("A trailer that was announced is missing.", code="MalformedTrailerError")
        if not self._complete:
            raise BadBody("The trailers are not signed.", code="SignatureDoesNotMatch")

    def _take(self, piece: bytes) -> None:
        if self._signatures is not None:
            self._signatures.update(piece)
        self._chunk_left -= len(piece)
        if self._chunk_left == 0:
            self._state = _State.DATA_END

    def _read_line(self, data: bytes, at: int) -> int:
        """Collects a line; at its end does what the state asks. Returns the offset behind what was used."""
        end = data.find(b"\n", at)
        stop = len(data) if end < 0 else end + 1
        self._line += data[at:stop]
        if len(self._line) > MAX_LINE:
            raise BadBody("A chunk's header is too long.", code="InvalidRequest")
        if end >= 0:
            line = bytes(self._line[:-1])
            self._line.clear()
            if not line.endswith(b"\r") and self._state is not _State.TRAILER:
                raise BadBody("A chunk's header must end in CRLF.", code="InvalidRequest")
            self._on_line(line.removesuffix(b"\r"))
        return stop

    def _on_line(self, line: bytes) -> None:
        if self._state is _State.SIZE:
            self._begin_chunk(line)
        elif self._state is _State.DATA_END:
            if line:
                raise BadBody("A chunk is longer than its header says.", code="InvalidRequest")
            self._end_chunk()
            self._state = _State.SIZE
        elif line:
            self._add_trailer(line)
        else:
            self._blank_line()

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None or (match[2] is None and self._payload.signed_chunks):
            raise BadBody("A chunk's header is malformed.", code="InvalidRequest")
        self._chunk_left = int(match[1], 16)
        self._signature = (match[2] or b"").decode()
        if self._chunk_left > self._left:
            raise BadBody("The chunks hold more than x-amz-decoded-content-length.", code="IncompleteBody")
        self._left -= self._chunk_left
        self._chunks += 1
        if self._size - self._left < (self._chunks - FEW) * LEAST and self._chunk_left:
            raise BadBody("The chunks are too many and too small.", code="InvalidRequest")
        self._state = _State.DATA
        if self._chunk_left == 0:
            self._end_chunk()
            self._end_data()

    def _end_data(self) -> None:
        if self._left:
            raise BadBody("The chunks hold less than x-amz-decoded-content-length.", code="IncompleteBody")
        self._state = _State.TRAILER

    def _end_chunk(self) -> None:
        if self._signatures is not None:
            self._signatures.close_chunk(self._signature)

    def _add_trailer(self, line: bytes) -> None:
        if self._state is _State.DONE:
            raise BadBody("There are bytes after the last chunk.", code="InvalidRequest")
        match = _TRAILER_LINE.fullmatch(line.decode("latin-1"))
        if match is None or len(self._trailers) >= MAX_TRAILERS:
            raise BadBody("A trailer is malformed.", code="MalformedTrailerError")
        name, value = match[1].lower(), match[2]
        if self._payload is Payload.CHUNKS_SIGNED or SIGNATURE_TRAILER in dict(self._trailers):
            raise BadBody("There are trailers where there must be none.", code="MalformedTrailerError")
        if name == SIGNATURE_TRAILER and self._payload is Payload.CHUNKS_SIGNED_TRAILER:
            if self._signatures is not None:
                self._signatures.close_trailers(self._trailers, value)
        elif name in self._missing:
            self._missing.remove(name)
            self._check.expect(name.removeprefix(_PREFIX), value)
        else:
            raise BadBody("There is a trailer that was not announced.", code="MalformedTrailerError")
        self._trailers.append((name, value))

    def _blank_line(self) -> None:
        self._blank_lines += 1
        if self._blank_lines > MAX_BLANK_LINES:
            raise BadBody("There are bytes after the last chunk.", code="InvalidRequest")
        if self._complete:
            self._state = _State.DONE

    @property
    def _complete(self) -> bool:
        """Nothing that was announced is still to come."""
        unsigned = self._payload is Payload.CHUNKS_SIGNED_TRAILER and SIGNATURE_TRAILER not in dict(self._trailers)
        return not self._missing and not unsigned


class _Chain:
    """The chain of signatures: each is made with the one before it."""

    def __init__(self, seed: ChunkSeed) -> None:
        self._seed = seed
        self._last = seed.signature
        self._hash = hashlib.sha256()

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def close_chunk(self, claimed: str) -> None:
        self._compare("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY_SHA256}\n{self._hash.hexdigest()}", claimed)
        self._hash = hashlib.sha256()

    def close_trailers(self, trailers: list[tuple[str, str]], claimed: str) -> None:
        canonical = "".join(f"{name}:{value}\n" for name, value in trailers)
        self._compare("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(canonical.encode()).hexdigest(), claimed)

    def _compare(self, kind: str, digests: str, claimed: str) -> None:
        seed = self._seed
        text = f"{kind}\n{seed.timestamp}\n{seed.scope}\n{self._last}\n{digests}"
        expected = sign(seed.signing_key, text.encode())
        if not hmac.compare_digest(expected.encode(), claimed.encode()):
            raise BadBody("A chunk's signature does not match its content.", code="SignatureDoesNotMatch")
        self._last = expected


async def decode(raw: AsyncIterator[bytes], decoder: ChunkDecoder) -> AsyncGenerator[bytes, None]:
    """The decoded bytes of an aws-chunked body, in the pieces it came in, however small its chunks are. Ends only if
    all of it was in order; else BadBody.

    Read it to its end: the last signature and the trailers come after the last byte.
    """
    async for data in raw:
        pieces = decoder.feed(data)
        if pieces:
            yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
    decoder.finish()
