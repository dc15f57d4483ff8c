"""A mail as the sdbox file it will be, ready to be sent.

The same mail makes the same bytes in every run: create stamp and received date are those of the mail, never "now". So
the ETag of the object says whether it is there already.

Content is read twice: to measure it (size, line ends, MD5), and to send it. Small mails are kept in between. A mail
that changes in between is told by the MD5 that goes with the request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tierproxy.mail.dbox import Start, Trailer

KEPT = 256 * 1024
"""Bytes of a file that stay in memory between packing and sending."""

Blocks = Callable[[], Iterator[bytes]]
"""The bytes of something, from their beginning, each time it is called. Blocking; raises BadMail."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """An sdbox file. ``md5`` in hex: the ETag it will have. ``received``: seconds since the epoch; 0 where it is not
    said."""

    size: int
    md5: str
    guid: str
    received: int
    blocks: Blocks


def wrapped(content: Blocks, received: int, guid: str, uidl: str = "") -> Parcel:
    """The sdbox file of a mail (RFC 5322, line ends CRLF or LF). ``guid``: a line of text. ``uidl``: how POP3 called
    it, if that is to stay."""
    measure, kept = _Measure(), bytearray()
    for block in lines_lf(content()):
        measure.add(block)
        if measure.size <= KEPT:
            kept += block
    body: Blocks = partial(_once, bytes(kept)) if measure.size <= KEPT else partial(_again, content)
    head = bytes(Start(f"{received:x}", 0, measure.size))
    lines = (("R", f"{received:x}"), ("V", f"{measure.virtual_size:x}"), ("G", guid))
    tail = bytes(Trailer(lines + ((("P", uidl),) if uidl else ())))
    digest = hashlib.md5(head, usedforsecurity=False)
    for block in body():
        digest.update(block)
    digest.update(tail)

    def blocks() -> Iterator[bytes]:
        yield head
        yield from body()
        yield tail

    return Parcel(len(head) + measure.size + len(tail), digest.hexdigest(), guid, received, blocks)


def verbatim(content: Blocks, guid: str, received: int) -> Parcel:
    """An sdbox file as it is."""
    digest, size, kept = hashlib.md5(usedforsecurity=False), 0, bytearray()
    for block in content():
        digest.update(block)
        size += len(block)
        if size <= KEPT:
            kept += block
    blocks: Blocks = partial(_once, bytes(kept)) if size <= KEPT else content
    return Parcel(size, digest.hexdigest(), guid, received, blocks)


def _once(content: bytes) -> Iterator[bytes]:
    yield content


def _again(content: Blocks) -> Iterator[bytes]:
    return lines_lf(content())


def lines_lf(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """CRLF becomes LF, as Dovecot stores mail (``mail_save_crlf = no``); a CR that ends no line stays."""
    held = b""
    for block in blocks:
        text = held + block
        held = b"\r" if text.endswith(b"\r") else b""
        if held:
            text = text[:-1]
        if text:
            yield text.replace(b"\r\n", b"\n")
    if held:
        yield held


class _Measure:
    """Sizes of a mail whose line ends are LF."""

    def __init__(self) -> None:
        self.size = 0
        self._bare = 0  # LFs without a CR before them
        self._last = b""

    def add(self, block: bytes) -> None:
        self.size += len(block)
        pairs = block.count(b"\r\n") + (self._last == b"\r" and block.startswith(b"\n"))
        self._bare += block.count(b"\n") - pairs
        self._last = block[-1:]

    @property
    def virtual_size(self) -> int:
        """Its size with CRLF line ends, which is what IMAP calls RFC822.SIZE."""
        return self.size + self._bare
