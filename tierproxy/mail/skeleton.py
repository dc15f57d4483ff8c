"""The ends of an sdbox file made again from what its metadata says, byte for byte.

Dovecot rebuilds an index from the name of a file and its first 46 bytes; dates, sizes and the GUID it reads from the
last 55 or so. All of that is in the metadata (``mail.metadata``), with a digest of the two pieces: ends that do not
have it are not used. So an empty host needs no body for a rebuild.
"""

from __future__ import annotations

from collections.abc import Mapping

import xxhash

from tierproxy.mail.dbox import Start, Trailer
from tierproxy.model import Stub

USUAL = "RVG"  #: lines of a trailer, in order, unless a fact says otherwise
LINES = {"Z": "unpacked", "R": "received", "V": "vsize", "G": "guid", "P": "pop3-uidl", "O": "pop3-order"}
"""The fact behind each letter of a trailer. Z, R and V are numbers, hexadecimal in the file and decimal among facts."""

ORDER = "lines"
"""Name of the letters in their order among the facts of a mail, where that is not ``USUAL``."""

_MOST = 8  #: lines
_LONGEST = 100  #: bytes of a value

DIGEST = "ends"
"""Name of the digest among the facts of a mail."""


def ends(facts: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The bytes before and behind the message, of facts as metadata has them: ``created`` in hex, sizes and times in
    decimal. Raises KeyError, ValueError."""
    head = bytes(Start(facts["created"], 0, int(facts["size"])))
    lines = tuple((letter, _line(letter, facts[LINES[letter]])) for letter in facts.get(ORDER, USUAL)[:_MOST])
    return head, bytes(Trailer(lines))


def _line(letter: str, fact: str) -> str:
    return f"{int(fact):x}" if letter in "ZRV" else fact


def digest(head: bytes, tail: bytes) -> str:
    """XXH3-64 of both pieces, 16 hex digits. Against mistakes, not against forgers: who may write an object's metadata
    may write its body."""
    return xxhash.xxh3_64_hexdigest(head + b"\0" + tail)


def proof(facts: Mapping[str, str], head: bytes, tail: bytes) -> str | None:
    """The digest, if ``facts`` make exactly ``head`` and ``tail`` again; None: they do not, a stub cannot be made of
    them."""
    made = _made(facts)
    return digest(head, tail) if made == (head, tail) else None


def skeleton(facts: Mapping[str, str], size: int) -> Stub | None:
    """The stub of an object of ``size`` bytes; None unless the facts prove it right."""
    made = _made(facts)
    if made is None or facts.get(DIGEST) != digest(*made):
        return None
    head, tail = made
    return Stub(size, head, tail) if len(head) + int(facts["size"]) + len(tail) == size else None


def _made(facts: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    if any(len(facts.get(name, "")) > _LONGEST for name in ("created", "size", *LINES.values())):
        return None
    try:
        return ends(facts)
    except (KeyError, ValueError):
        return None
