"""The header lines of a mail that somebody looks for (RFC 5322), of bytes whoever wrote them made as bad as he could.

One pass over what is given: lines that were folded are put together again only for the wanted names, the first of each
name counts, and no more than ``LONGEST`` bytes of a value are taken. The standard library's parser was refused: it
builds an object of every line, and has been quadratic before.
"""

from __future__ import annotations

import re
from collections.abc import Collection

LONGEST = 4096  #: bytes of one value
LONGEST_NAME = 80  #: bytes of a name with the white space behind it and the colon
MOST = 1000  #: header lines that are looked at
_FOLDED = (b" ", b"\t")
_NAME = re.compile(rb"([!-9;-~]{1,76})[ \t]*:")


def fields(block: bytes, wanted: Collection[bytes]) -> dict[bytes, bytes]:
    """The first value of each of the ``wanted`` names (lower case), unfolded; of ``block``, which begins with the
    first header line and may go on with the body, or end in the middle. Names that are not there are left out, and so
    is a line that may go on behind the end of the block, unless more of it is here than is taken."""
    found: dict[bytes, bytes] = {}
    at = fields_seen = 0
    for line in block[: _end_of_head(block)].split(b"\n"):
        if line[:1] not in _FOLDED:
            fields_seen += 1
            if fields_seen > MOST:
                break
            name, colon, _ = line.partition(b":")
            lower = name.rstrip(b" \t").lower()
            if colon and lower in wanted and lower not in found and len(name) < LONGEST_NAME:
                end = _end_of_field(block, at)
                if end < len(block) or end - at > LONGEST:
                    begin = at + len(name) + 1
                    found[lower] = _unfolded(block[begin : min(end, begin + LONGEST)])
                if len(found) == len(wanted):
                    break
        at += len(line) + 1
    return found


def telling(block: bytes) -> dict[bytes, bytes] | None:
    """``fields`` of what every mail has; None when ``block``, the beginning of a file, does not look like a mail: it
    has fewer than two of them (RFC 5322 asks for Date and From; Received and Return-Path are put on top by whoever
    delivers)."""
    first = block.partition(b"\n")[0]
    if _NAME.match(first) is None and not first.startswith(b"From "):
        return None
    found = fields(block, _TELLING)
    return found if len(found) >= 2 else None


_TELLING = frozenset({
    b"date", b"from", b"received", b"return-path", b"message-id", b"to", b"subject", b"mime-version", b"delivered-to",
})  # fmt: skip


def _end_of_head(block: bytes) -> int:
    """Where the first empty line begins, or the end of ``block``."""
    if block.startswith((b"\r", b"\n")):
        return 0
    found = block.find(b"\n\r")
    end = len(block) if found < 0 else found
    found = block.find(b"\n\n", 0, end)
    return end if found < 0 else found


def _end_of_field(block: bytes, at: int) -> int:
    """Behind the field that begins at ``at``: behind its last folded line, or the end of ``block``."""
    while True:
        at = block.find(b"\n", at) + 1
        if at == 0 or at == len(block):
            return len(block)
        if block[at] not in b" \t":
            return at


def _unfolded(value: bytes) -> bytes:
    """On one line (RFC 5322, 2.2.3)."""
    return value.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\r", b" ").replace(b"\0", b" ").strip()
