"""Text of mail headers in ASCII and back: encoded words (RFC 2047), bounded against hostile ones.

``shown`` makes readable text of what a mail says, ``encoded`` makes of text what an HTTP header and S3 metadata can
carry. Only charsets of a fixed list are decoded: Python would look for a module of any name a stranger writes, and
remember each that is not there.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from itertools import groupby

WORD = 75  #: characters of an encoded word, at most (RFC 2047, section 2)
EMPTY = len("=?UTF-8?Q??=")

_ENCODED = re.compile(r"=\?([A-Za-z0-9_.:-]{2,24})(?:\*[A-Za-z0-9-]{0,16})?\?([BbQq])\?([^?\s]*)\?=")
_QUOTED = re.compile(rb"=([0-9A-Fa-f]{2})")
_SPACE = re.compile(r"\s+")
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/")
_CHARSETS = re.compile(
    r"utf-?8|us-ascii|ascii|iso-8859-1?\d|iso-8859-8-[ie]|windows-125\d|cp125\d|cp(?:437|85\d|866|932|936|949|950)"
    r"|koi8-[ru]|gb2312|gbk|gb18030|big5|big5-hkscs|shift_jis|euc-jp|euc-kr|iso-2022-jp|iso-2022-kr|ks_c_5601-1987"
    r"|tis-620|macintosh",
    re.IGNORECASE,
)
_ALIASES = {"iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "iso-8859-12": "iso-8859-1"}
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}
"""Categories of characters that move, hide or break text instead of being read."""


def shown(raw: bytes) -> str:
    """The text of a header's value: encoded words decoded, 8-bit bytes as UTF-8 or else Latin-1, line ends and
    characters that are not to be seen as single spaces. Takes time in proportion to ``raw``; raises nothing."""
    return visible(decoded(_text(raw)))


def decoded(text: str) -> str:
    """``text`` with its encoded words read. Words one after the other in one charset are read together: a character
    may begin in one and end in the next (which RFC 2047 forbids, and mail programs do)."""
    if "=?" not in text:
        return text
    out: list[str] = []
    for charset, pieces in groupby(_pieces(text), key=lambda piece: piece[0]):
        if charset:
            out.append(_read(charset, b"".join(content for _, content, _ in pieces)))
        else:
            out.extend(plain for _, _, plain in pieces)
    return "".join(out)


def visible(text: str) -> str:
    """``text`` on one line without control characters."""
    if text.isprintable() and "  " not in text:
        return text.strip()
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(one) in _UNSEEN else one for one in text)
    return _SPACE.sub(" ", text).strip()


def encoded(text: str, room: int) -> str:
    """``text`` in at most ``room`` ASCII characters, cut at a character: as it is, or as encoded words in UTF-8."""
    if text.isascii() and "=?" not in text:
        return text[:room].rstrip()
    quoted = _cut(text, room, _quoted_size, _same)
    if len(quoted) == 1 and len(quoted[0]) == len(text):
        return _show(quoted, "Q")
    based = _cut(text, room, _byte_count, _base64_size)
    # One word in base64 would be taken for the proxy's own encoding of a client's value (``tierproxy.alt.metadata``).
    if len(based) > 1 and _better(based, _show(based, "B"), quoted, _show(quoted, "Q")):
        return _show(based, "B")
    return _show(quoted, "Q")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        cut_off = error.reason == "unexpected end of data" and error.start > len(raw) - 4
        return raw[: error.start].decode() if cut_off else raw.decode("latin-1")


def _pieces(text: str) -> list[tuple[str, bytes, str]]:
    """(charset, bytes, "") for encoded words that can be read, ("", b"", text) for the rest. White space between two
    words is none (RFC 2047, section 6.2)."""
    found: list[tuple[str, bytes, str]] = []
    at, after_word = 0, False
    for word in _ENCODED.finditer(text):
        content = _content(word)
        if content is None:
            continue
        between = text[at : word.start()]
        if between and not (after_word and between.isspace()):
            found.append(("", b"", between))
        found.append((word[1].lower(), content, ""))
        at, after_word = word.end(), True
    if at < len(text):
        found.append(("", b"", text[at:]))
    return found


def _content(word: re.Match[str]) -> bytes | None:
    """The bytes of an encoded word; None when it cannot be read and stays as it is."""
    charset, kind, text = word.groups()
    if not _CHARSETS.fullmatch(charset) or not text.isascii():
        return None
    if kind in "qQ":
        return _QUOTED.sub(lambda found: bytes([int(found[1], 16)]), text.replace("_", " ").encode())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None


def _read(charset: str, content: bytes) -> str:
    try:
        return content.decode(_ALIASES.get(charset, charset), "replace")
    except (LookupError, ValueError):  # a codec this Python does not have, or one that gives up
        return content.decode("latin-1")


# ---------------------------------------------------------------- to ASCII


def _cut(text: str, room: int, weight: Callable[[str], int], size: Callable[[int], int]) -> list[str]:
    """``text`` in pieces of whole characters, each for one encoded word, as much of it as has room. ``weight`` is what
    a character adds, ``size`` the length of what is encoded of so much."""
    pieces = _packed(text, room, weight, size)
    kept = end = sum(map(len, pieces))
    while 0 < end < len(text) and unicodedata.combining(text[end]):
        end -= 1  # not between a letter and its accent
    return pieces if end == kept else _packed(text[:end], room, weight, size)


def _packed(text: str, room: int, weight: Callable[[str], int], size: Callable[[int], int]) -> list[str]:
    pieces: list[str] = []
    held, held_weight = "", 0
    for letter in text:
        more = held_weight + weight(letter)
        if held and size(more) > WORD - EMPTY:
            pieces.append(held)
            room -= EMPTY + size(held_weight) + 1
            held, more = "", weight(letter)
        if EMPTY + size(more) > room:
            break
        held, held_weight = held + letter, more
    return [*pieces, held] if held else pieces


def _better(based: list[str], in_base64: str, quoted: list[str], in_quoted: str) -> bool:
    """More text, or as much in fewer characters."""
    return (sum(map(len, based)), -len(in_base64)) > (sum(map(len, quoted)), -len(in_quoted))


def _show(pieces: list[str], kind: str) -> str:
    return " ".join(f"=?UTF-8?{kind}?{_base64(one) if kind == 'B' else _quoted(one)}?=" for one in pieces)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _quoted(text: str) -> str:
    return "".join(_quoted_letter(letter) for letter in text)


def _quoted_letter(letter: str) -> str:
    if letter == " ":
        return "_"
    return letter if letter in _SAFE else "".join(f"={byte:02X}" for byte in letter.encode("utf-8", "replace"))


def _quoted_size(letter: str) -> int:
    return 1 if letter == " " or letter in _SAFE else 3 * _byte_count(letter)


def _byte_count(letter: str) -> int:
    return len(letter.encode("utf-8", "replace"))


def _base64_size(size: int) -> int:
    return (size + 2) // 3 * 4


def _same(size: int) -> int:
    return size
