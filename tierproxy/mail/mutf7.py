"""Modified UTF-7: how IMAP writes the names of mailboxes, and Dovecot their directories (RFC 3501, 5.1.3)."""

from __future__ import annotations

import base64
import re

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")


def decoded(name: str) -> str:
    """``Entw&APw-rfe`` -> ``Entwürfe``. What is no modified UTF-7 stays as it is."""
    return _SHIFTED.sub(_letters, name) if "&" in name else name


def _letters(shifted: re.Match[str]) -> str:
    text = shifted[1]
    if not text:
        return "&"
    try:
        raw = base64.b64decode(text.replace(",", "/") + "=" * (-len(text) % 4), validate=True)
        return raw.decode("utf-16-be")
    except ValueError:  # not base64, or half a character
        return shifted[0]


_PLAIN = re.compile(r"[ -~]+|[^ -~]+")


def encoded(name: str) -> str:
    """``Entwürfe`` -> ``Entw&APw-rfe``."""
    return "".join(_shifted(run[0]) for run in _PLAIN.finditer(name))


def _shifted(run: str) -> str:
    if " " <= run[0] <= "~":
        return run.replace("&", "&-")
    letters = base64.b64encode(run.encode("utf-16-be", "surrogatepass")).rstrip(b"=").replace(b"/", b",")
    return f"&{letters.decode()}-"
