"""The file of one mail in Dovecot's sdbox format, from its two ends.

::

    2 M1e C6b01d1df\\n                    version, size of the message header, create stamp (hex)
    \\x01\\x02N          000000000000952F\\n  message header: magic, type, size of the message (hex), 30 bytes
    <message>
    \\n\\x01\\x03\\n                        magic of the metadata
    R6b01d1df\\n V9729\\n G<32 hex>\\n      one line each: a letter and its value
    \\n                                   the end

Source: Dovecot 2.3.19 and 2.4.1 (``dbox-file.h``, ``dbox-save.c``), and the files both wrote. The beginning and the end
of a file are enough: nothing here looks at more than it is given, and everything takes time in proportion to that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

VERSION = 2
MAGIC_BEFORE = b"\x01\x02"
MAGIC_AFTER = b"\n\x01\x03\n"
MESSAGE_HEADER = 0x1E  #: bytes of the message header that is written today
LONGEST_HEADER = 256  #: bytes of the first line and of a message header, at most; Dovecot writes 16 and 30
HEAD = 8 * 1024  #: bytes of the beginning that are always enough
TAIL = 1024  #: bytes of the end that are enough unless a line is very long

_FIRST_LINE = re.compile(rb"(\d{1,3})((?: [A-Z][0-9A-Fa-f]{1,16}){1,8})\n")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")


class NotDbox(ValueError):
    """These are not the ends of an sdbox file."""


@dataclass(frozen=True, slots=True)
class Start:
    """What stands before the message. ``created``: the create stamp (seconds since the epoch, as it was written, hex).
    ``begin`` is the offset of the message, ``size`` its bytes as they are in the file."""

    created: str
    begin: int
    size: int

    @property
    def end(self) -> int:
        """Offset of the byte behind the message."""
        return self.begin + self.size

    def __bytes__(self) -> bytes:
        """As Dovecot writes it."""
        first = f"{VERSION} M{MESSAGE_HEADER:x} C{self.created}\n".encode()
        return first + MAGIC_BEFORE + b"N" + b" " * 10 + f"{self.size:016X}\n".encode()


@dataclass(frozen=True, slots=True)
class Trailer:
    """What stands behind the message: ``lines`` as letter and value, in order. R received (hex), G GUID, V virtual size
    (hex), Z size before compression (hex), B original mailbox, X external attachment, P POP3 UIDL, O POP3 order."""

    lines: tuple[tuple[str, str], ...]

    def value(self, letter: str) -> str | None:
        """Of the first line of that letter."""
        return next((value for one, value in self.lines if one == letter), None)

    def number(self, letter: str) -> int | None:
        """A value that is a hexadecimal number; None where it is none."""
        text = (self.value(letter) or "").encode("ascii", "replace")
        return int(text, 16) if _HEX.fullmatch(text) else None

    def __bytes__(self) -> bytes:
        """As Dovecot writes it."""
        lines = "".join(f"{letter}{value}\n" for letter, value in self.lines)
        return MAGIC_AFTER + lines.encode("utf-8", "surrogateescape") + b"\n"


def start_of(head: bytes) -> Start:
    """What ``head``, the first bytes of a file, says. Raises NotDbox."""
    line = _FIRST_LINE.match(head, 0, LONGEST_HEADER)
    if line is None or int(line[1]) != VERSION:
        raise NotDbox("no first line of version 2")
    fields = {field[:1]: field[1:].decode() for field in line[2].split()}
    length = int(fields.get(b"M", "0"), 16)
    header = head[line.end() : line.end() + min(length, LONGEST_HEADER)]
    if not MESSAGE_HEADER <= length <= LONGEST_HEADER or len(header) < length:
        raise NotDbox("no message header")
    if not header.startswith(MAGIC_BEFORE) or not header.endswith(b"\n"):
        raise NotDbox("a message header without its magic")
    size = header[13:29]
    if len(size) != 16 or not _HEX.fullmatch(size):
        raise NotDbox("a message header without a size")
    return Start(fields.get(b"C", ""), line.end() + length, int(size, 16))


def trailer_of(after: bytes) -> Trailer:
    """What ``after``, everything behind the message, says. Raises NotDbox."""
    if not after.startswith(MAGIC_AFTER) or not after.endswith(b"\n\n"):
        raise NotDbox("no metadata, or not all of it")
    lines = after[len(MAGIC_AFTER) : -1].split(b"\n")[:-1]
    if not all(lines):
        raise NotDbox("something behind the end of the metadata")
    texts = [line.decode("utf-8", "surrogateescape") for line in lines]
    return Trailer(tuple((text[0], text[1:]) for text in texts))


def trailer_in(start: Start, size: int, tail: bytes) -> Trailer | None:
    """The metadata of a file of ``size`` bytes that ends with ``tail``; None when it begins before that. Raises
    NotDbox, also when ``start`` and ``size`` do not fit."""
    length = size - start.end
    if length < len(MAGIC_AFTER):
        raise NotDbox("the message does not end within the file")
    return None if length > len(tail) else trailer_of(tail[len(tail) - length :])


def written(message: bytes, *, created: int, received: int, guid: str, virtual: int | None = None) -> bytes:
    """A whole file. ``virtual``: the size with CRLF line ends, counted here unless given; times are seconds since the
    epoch, ``guid`` 32 hex digits."""
    size = virtual_size(message) if virtual is None else virtual
    trailer = Trailer((("R", f"{received:x}"), ("V", f"{size:x}"), ("G", guid)))
    return bytes(Start(f"{created:x}", 0, len(message))) + message + bytes(trailer)


def virtual_size(message: bytes) -> int:
    """Bytes of ``message`` once every line ends with CRLF."""
    return len(message) + message.count(b"\n") - message.count(b"\r\n")
