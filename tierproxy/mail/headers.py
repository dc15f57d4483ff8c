"""The header lines of a mail that somebody looks for (RFC 5322), of bytes whoever wrote them made as bad as he could.

One pass over what is given: lines that were folded are put together again only for the wanted names, the first of each
name counts, and no more than ``LONGEST`` bytes of a value are taken. The standard library's parser was refused: it
builds an object of every line, and has been quadratic before.
"""

from __future__ import annotations

import re
from collections.abc import Collection

LONGEST = 4096  #: bytes of one value
MOST = 1000  #: header lines that are looked at
_NAME = re.compile(rb"([!-9;-~]{1,76})[ \t]*:")


def fields(block: bytes, wanted: Collection[bytes]) -> dict[bytes, bytes]:
    """The first value of each of the ``wanted`` names (lower case), unfolded; of ``block``, which begins with the
    first header line and may go on with the body, or end in the middle. Names that are not there are left out, and so
    is a line that may go on behind the end of the block, unless more of it is here than is taken."""
    found: dict[bytes, bytes] = {}
    at, lines, missing = 0, 0, set(wanted)
    while missing and at < len(block) and lines < MOST:
        end = _end_of_field(block, at)
        name = _NAME.match(block, at, min(end, at + 80))
        if block[at] in b"\r\n":
            break
        if name is not None and name[1].lower() in missing and (end < len(block) or end - at > LONGEST):
            found[name[1].lower()] = _unfolded(block[name.end() : min(end, name.end() + LONGEST)])
            missing.discard(name[1].lower())
        at, lines = end, lines + 1
    return found


def is_mail(block: bytes) -> bool:
    """Whether ``block``, the beginning of a file, looks like a mail: two different header lines of those every mail
    has (RFC 5322 asks for Date and From; Received and Return-Path are put on top by whoever delivers)."""
    first = block.split(b"\n", 1)[0]
    if _NAME.match(first) is None and not first.startswith(b"From "):
        return False
    return len(fields(block, _TELLING)) >= 2


_TELLING = frozenset({
    b"date", b"from", b"received", b"return-path", b"message-id", b"to", b"subject", b"mime-version", b"delivered-to",
})  # fmt: skip


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
