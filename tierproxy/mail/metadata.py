"""What a mail says of itself, as user metadata of its object: names with ``mail-``, at most 2 KiB with the client's.

Facts come first, texts after them, in the order in which they are worth having when there is no room for all. Facts are
whole or are left out (half a Message-ID names nothing), texts are cut at a character. What the client stored itself
always wins, is never cut, and what it left of the 2 KiB is all there is. Values are ASCII: text in other alphabets is
encoded words (RFC 2047). ``docs/mail.md`` has the table of names.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import mktime_tz, parsedate_tz

from tierproxy.mail import dbox
from tierproxy.mail.encoding import decoded, encoded, shown, visible
from tierproxy.mail.headers import fields, telling
from tierproxy.mail.skeleton import DIGEST, LINES, ORDER, USUAL, proof
from tierproxy.model import Stub

PREFIX = "mail-"
LIMIT = 2048  #: bytes of names and values (S3 user guide, "Working with object metadata")
OWN = 256  #: of these, left for what the proxy stores beside an object in alt (ETag, checksums)
HEAD = 32 * 1024  #: bytes of an object's beginning that are looked at
TAIL = dbox.TAIL  #: and of its end

FACTS = (
    "format", "created", "size", "received", "vsize", "guid", "unpacked", "pop3-uidl", "pop3-order", ORDER, DIGEST,
    "uid", "saved", "owner", "folder", "message-id", "date",
)  # fmt: skip
TEXTS = {"from": 200, "subject": 400, "to": 200}
"""With the most bytes each may take."""

OF_THE_KEY = ("owner", "folder", "uid")
"""What a copy under another key has otherwise."""

_WORTH = 16  #: bytes of a text that are worth a name
_LONGEST_ID = 300
_NUMBER = re.compile(r"[0-9]{1,20}")
_GZIP = b"\x1f\x8b\x08"
_GZIP_WINDOW = 31  #: zlib's word for gzip with any window
_UID = re.compile(r"u\.([0-9]{1,10})")
_MAILDIR = re.compile(r"([0-9]{9,11})\.[^/:]{1,200}(?::2,[A-Za-z]{0,52})?")
_MAILDIR_SIZES = re.compile(r",([SW])=([0-9]{1,15})(?=[,:]|$)")
_FORMS = {
    "G": re.compile(r"[0-9a-f]{32}"), "P": re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?"), "O": re.compile(r"[0-9]{1,10}"),
}  # fmt: skip
_ID = re.compile(r"<[!-~]+>")
_HEADERS = frozenset({b"message-id", b"date", b"from", b"to", b"subject"})


@dataclass(frozen=True, slots=True)
class Whose:
    """What only the key, or the request, can say. ``folder`` as people read it; "" for what nobody knows."""

    owner: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a mail says of itself: facts and texts by their names without the prefix, texts readable and uncut."""

    facts: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def said(key: str, ends: Stub) -> Said | None:
    """What the object ``key`` with these ``ends`` (``HEAD`` and ``TAIL`` bytes, or less) says of itself: an sdbox file,
    a maildir's, any mail. None when it is none of these. Raises nothing."""
    found = _sdbox(key, ends) or _plain(key, ends)
    if found is None:
        return None
    facts, lines = found
    return Said(facts | _exact(lines), _texts(lines))


def described(mail: Said, whose: Whose, saved: float, client: Mapping[str, str]) -> dict[str, str]:
    """All user metadata of the object: the ``client``'s and what has room beside it. ``saved``: seconds since the
    epoch. The digest alone is never the client's: it may be of another body."""
    facts = mail.facts | {"saved": str(int(saved))} | _whole({"owner": whose.owner, "folder": whose.folder})
    return _fitted(facts, mail.texts, undigested(client))


def undigested(client: Mapping[str, str]) -> dict[str, str]:
    """What a client stores with a body, without the digest of another body that it may have taken it from."""
    return {name: value for name, value in client.items() if name != PREFIX + DIGEST}


def copied(
    source: Mapping[str, str], given: Mapping[str, str] | None, key: str, whose: Whose
) -> dict[str, str]:  # fmt: skip
    """The metadata of a copy under ``key`` of an object with that of ``source``. ``given``: what the client stores
    with the copy instead of what it stored with the source, None: the same. What the mail says of itself stays, but
    for owner, folder and UID, which are the new key's."""
    known = {PREFIX + name: name for name in (*FACTS, *TEXTS)}
    if PREFIX + "format" not in source:
        return dict(source if given is None else given)
    client = {name: value for name, value in source.items() if name not in known} if given is None else given
    client = undigested(client)
    kept = {known[name]: value for name, value in source.items() if name in known and known[name] not in OF_THE_KEY}
    facts = kept | _whole({"owner": whose.owner, "folder": whose.folder})
    return _fitted(facts | (_uid(key) if kept["format"] == "sdbox" else {}), {}, client)


def facts_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """The reverse: what is stored of a mail, by names without the prefix, readable."""
    found = {name.removeprefix(PREFIX): value for name, value in metadata.items() if name.startswith(PREFIX)}
    return {name: visible(decoded(value)) for name, value in found.items() if name in {*FACTS, *TEXTS}}


def cost(metadata: Mapping[str, str]) -> int:
    """Bytes of ``metadata`` as S3 counts them and alt is sent them: names and values, a value that is not plain ASCII
    in base64."""
    return sum(len(name.encode()) + _length(name, value) for name, value in metadata.items())


# ---------------------------------------------------------------- what it is


def _sdbox(key: str, ends: Stub) -> tuple[dict[str, str], dict[bytes, bytes]] | None:
    """Facts, and the header lines of ``_HEADERS``."""
    try:
        start = dbox.start_of(ends.head)
        trailer = dbox.trailer_in(start, ends.size, _end(ends))
    except dbox.NotDbox:
        return None
    facts = {"format": "sdbox", "created": start.created, "size": str(start.size)} | _uid(key)
    if trailer is not None:
        facts |= _of_trailer(trailer)
        whole = proof(facts, ends.head[: start.begin], _end(ends)[start.end - ends.size :])
        facts |= {DIGEST: whole} if whole else {}
    return facts, fields(_unpacked(ends.head[start.begin : start.end]), _HEADERS)


def _unpacked(block: bytes) -> bytes:
    """The beginning of a message that Dovecot compressed with gzip; of any other what is there."""
    if not block.startswith(_GZIP):
        return block
    try:
        return zlib.decompressobj(_GZIP_WINDOW).decompress(block, HEAD)
    except zlib.error:
        return b""


def _end(ends: Stub) -> bytes:
    """The last bytes: of a small object all of it."""
    return ends.tail if len(ends.head) + len(ends.tail) < ends.size else ends.head + ends.tail


def _of_trailer(trailer: dbox.Trailer) -> dict[str, str]:
    numbers = {LINES[letter]: trailer.number(letter) for letter in "RVZ"}
    facts = {name: str(number) for name, number in numbers.items() if number is not None}
    for letter, form in _FORMS.items():
        value = trailer.value(letter) or ""
        facts |= {LINES[letter]: value} if form.fullmatch(value) else {}
    letters = "".join(letter for letter, _ in trailer.lines)
    # The first character of a line is what stands there: as a header's value only a letter will do.
    known = letters.isascii() and letters.isalpha() and len(letters) <= len(LINES)
    return facts | ({ORDER: letters} if known and letters != USUAL else {})


def _plain(key: str, ends: Stub) -> tuple[dict[str, str], dict[bytes, bytes]] | None:
    """A file that is the message itself; in a maildir its name says more."""
    lines = telling(ends.head)
    if lines is None:
        return None
    name = _MAILDIR.fullmatch(_last_step(key))
    if name is None:
        return {"format": "rfc5322", "size": str(ends.size)}, lines
    sizes = dict(_MAILDIR_SIZES.findall(_last_step(key)))
    facts = {"format": "maildir", "size": str(ends.size), "received": str(int(name[1]))}
    return facts | ({"vsize": sizes["W"]} if "W" in sizes else {}), lines


def _uid(key: str) -> dict[str, str]:
    found = _UID.fullmatch(_last_step(key))
    return {"uid": found[1]} if found else {}


def _last_step(key: str) -> str:
    return key.rpartition("/")[2]


# ---------------------------------------------------------------- what its header lines say


def _exact(lines: Mapping[bytes, bytes]) -> dict[str, str]:
    id, at = visible(_ascii(lines.get(b"message-id", b""))), _seconds(_ascii(lines.get(b"date", b"")))
    facts = {"message-id": id} if _ID.fullmatch(id) and len(id) <= _LONGEST_ID else {}
    return facts | ({"date": at} if at else {})


def _texts(lines: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name: text for name in TEXTS if (text := shown(lines.get(name.encode(), b"")))}


def _ascii(raw: bytes) -> str:
    return raw[:1000].decode("ascii", "replace")


def _seconds(text: str) -> str:
    """A Date as seconds since the epoch; "" for what is none."""
    try:
        parsed = parsedate_tz(text[:100])
        seconds = mktime_tz(parsed) if parsed is not None else -1
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
    return str(int(seconds)) if 0 <= seconds < 10**11 else ""


# ---------------------------------------------------------------- what has room


def _whole(texts: Mapping[str, str]) -> dict[str, str]:
    """Texts that name something: encoded, and not cut."""
    found = {name: (visible(text), encoded(visible(text), LIMIT)) for name, text in texts.items() if text}
    return {name: value for name, (text, value) in found.items() if value == text or decoded(value) == text}


def _fitted(facts: Mapping[str, str], texts: Mapping[str, str], client: Mapping[str, str]) -> dict[str, str]:
    """``client`` and, in the order of ``FACTS`` and ``TEXTS``, what fits. ``facts``: values as they are stored."""
    kept = dict(client)
    room = LIMIT - OWN - cost(client)
    for name in (one for one in (*FACTS, *TEXTS) if one in facts and PREFIX + one not in kept):
        needed = len(PREFIX) + len(name) + len(facts[name])
        if needed <= room:
            kept[PREFIX + name], room = facts[name], room - needed
    for name in (one for one in TEXTS if one in texts and PREFIX + one not in kept):
        free = min(room - len(PREFIX) - len(name), TEXTS[name])
        value = encoded(texts[name], free) if free >= _WORTH else ""
        if value:
            kept[PREFIX + name], room = value, room - len(PREFIX) - len(name) - len(value)
    return kept


def _length(name: str, value: str) -> int:
    """Of ``value`` as ``tierproxy.alt.metadata`` sends it."""
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if plain and ("=?" not in value or name.startswith(PREFIX)):
        return len(value)
    return len("=?UTF-8?B??=") + (len(value.encode()) + 2) // 3 * 4
