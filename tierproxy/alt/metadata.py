"""What is kept beside an object in alt: HTTP headers, user metadata, and reserved names.

``tierproxy-etag`` is the ETag the client was shown when alt's differs, ``tierproxy-parts`` the part sizes of a
multipart object ("2x5242880,300"), ``tierproxy-checksums`` the client's checksums ("crc32=... type=FULL_OBJECT"), and
``tierproxy-expires`` the Expires header, which obstore cannot set. A client's name that would be taken for one of
these, or by obstore for an HTTP header, is kept as ``tierproxy-name-<name>``. Values that an HTTP header cannot carry
are RFC 2047 encoded words, as S3 itself shows them. What a mail says of itself (``tierproxy.mail.metadata``) is such
words already.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tierproxy.logs import event
from tierproxy.mail.metadata import PREFIX as MAIL
from tierproxy.model import Headers

logger = logging.getLogger(__name__)

USER_LIMIT = 2048  #: bytes of user metadata, names and values (S3 user guide, "Working with object metadata")
RESERVED = "tierproxy-"
ETAG, PARTS, CHECKSUMS, EXPIRES, NAME = (RESERVED + word for word in ("etag", "parts", "checksums", "expires", "name-"))
DROPPED_FIRST = (PARTS, CHECKSUMS, EXPIRES, ETAG)
SYSTEM = {
    "content_type": "Content-Type",
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "content_encoding": "Content-Encoding",
    "content_language": "Content-Language",
}
_TAKEN = {*(name.lower() for name in SYSTEM.values()), "storage-class", "expires"}
_WORD = re.compile(r"=\?utf-8\?b\?([A-Za-z0-9+/=]*)\?=", re.IGNORECASE)
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Stored:
    """Metadata in alt's form: HTTP headers by their names, and user metadata."""

    system: dict[str, str]
    user: dict[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Metadata in tierproxy's form."""

    headers: Headers
    client_etag: str | None
    parts: tuple[int, ...]


def to_alt(headers: Headers, etag: str | None, parts: tuple[int, ...], subject: object) -> Stored:
    """``headers``, the client's ETag and part sizes in alt's form. What of our own does not fit beside the client's
    metadata is left out, part sizes first, with a log line."""
    system = {name: value for field, name in SYSTEM.items() if (value := getattr(headers, field)) is not None}
    user = {_escaped(name): _sent(name, value) for name, value in headers.metadata.items()}
    own = {
        ETAG: etag or "",
        PARTS: _show_parts(parts),
        CHECKSUMS: _show_checksums(headers),
        EXPIRES: encoded(headers.expires) if headers.expires else "",
    }
    return Stored(system, user | _fitting({name: value for name, value in own.items() if value}, user, subject))


def from_alt(system: Mapping[str, str], user: Mapping[str, str]) -> Facts:
    """The reverse. Names of ``user`` in any case."""
    stored = {name.lower(): value for name, value in user.items()}
    checksums, kind = _read_checksums(stored[CHECKSUMS]) if CHECKSUMS in stored else ({}, None)
    expires = stored.get(EXPIRES)
    headers = Headers(
        **{field: system.get(name) for field, name in SYSTEM.items()},
        expires=decoded(expires) if expires is not None else system.get("Expires"),
        metadata={_unescaped(name): decoded(value) for name, value in stored.items() if _is_the_clients(name)},
        checksums=checksums,
        checksum_type=kind,
    )
    return Facts(headers, stored.get(ETAG), _read_parts(stored.get(PARTS, "")))


def _sent(name: str, value: str) -> str:
    """A mail's text is encoded once: ``decoded`` leaves it alone, as it is not one word in base64."""
    ready = name.startswith(MAIL) and _PLAIN.fullmatch(value) is not None and _WORD.fullmatch(value) is None
    return value if ready else encoded(value)


def encoded(value: str) -> str:
    """``value`` as a header can carry it. Reversed by ``decoded``, whatever it is."""
    if _PLAIN.fullmatch(value) and "=?" not in value:
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def decoded(value: str) -> str:
    """The text behind one encoded word; anything else as it is (another writer's)."""
    found = _WORD.fullmatch(value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _escaped(name: str) -> str:
    lower = name.lower()
    return NAME + lower if lower in _TAKEN or lower.startswith(RESERVED) else lower


def _unescaped(name: str) -> str:
    return name.removeprefix(NAME)


def _is_the_clients(name: str) -> bool:
    return not name.startswith(RESERVED) or name.startswith(NAME)


def _fitting(own: dict[str, str], user: Mapping[str, str], subject: object) -> dict[str, str]:
    for name in DROPPED_FIRST:
        if _bytes(user) + _bytes(own) <= USER_LIMIT:
            break
        if own.pop(name, None) is not None:
            event(logger, logging.WARNING, "metadata does not fit in alt", object=str(subject), left_out=name)
    return own


def _bytes(pairs: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in pairs.items())


def _show_parts(parts: tuple[int, ...]) -> str:
    runs = [(size, len(list(run))) for size, run in itertools.groupby(parts)]
    return ",".join(f"{count}x{size}" if count > 1 else str(size) for size, count in runs)


def _read_parts(text: str) -> tuple[int, ...]:
    """Anything that is not part sizes (at most S3's 10,000) counts as none."""
    parts: list[int] = []
    try:
        for run in filter(None, text.split(",")):
            count, _, size = run.rpartition("x")
            parts += [int(size)] * min(int(count or 1), 10_000)
    except ValueError:
        return ()
    return tuple(parts) if len(parts) <= 10_000 else ()


def _show_checksums(headers: Headers) -> str:
    words = [f"{name}={value}" for name, value in sorted(headers.checksums.items())]
    return " ".join([*words, f"type={headers.checksum_type}"] if words and headers.checksum_type else words)


def _read_checksums(text: str) -> tuple[dict[str, str], str | None]:
    pairs = dict(word.split("=", 1) for word in text.split() if "=" in word)
    kind = pairs.pop("type", None)
    return pairs, kind
