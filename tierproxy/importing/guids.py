"""GUIDs of mails: what makes two copies the same mail, for Dovecot's dsync among others."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[!-~]{1,250}")


def guid_of(text: str) -> str:
    """A GUID as an sdbox file can have it. That of a mail in a maildir is its base name unless the uidlist has another
    one, and Dovecot itself writes it into an sdbox file as it is (``doveadm backup`` of 2.3.19): so a mail copied by
    Dovecot and one imported here are the same mail. A name that does not fit in a line of text becomes the first half
    of its SHA-1, as in Dovecot's ``mail_generate_guid_128_hash``."""
    if _PLAIN.fullmatch(text):
        return text
    return hashlib.sha1(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()[:32]
