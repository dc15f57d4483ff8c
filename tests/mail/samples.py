"""Mails as bytes, plain and as sdbox files."""

from __future__ import annotations

from tierproxy.mail.dbox import written
from tierproxy.mail.metadata import HEAD, TAIL
from tierproxy.model import Stub

GUID = "5f1a0b72c3d4e5f60718293a4b5c6d7e"
RECEIVED = 0x6B01D1DF
MAIL = (
    b"Received: from a by b\n\twith LMTP\nMessage-ID: <1@example.org>\nDate: Sun, 22 Nov 2026 03:49:02 +0100\n"
    b"From: =?iso-8859-1?Q?J=F6rg?= <joerg@example.org>\nTo: alice@example.org\n"
    b"Subject: =?utf-8?B?R3LDvMOfZQ==?=\n =?utf-8?B?IGF1cw==?= Bonn\n\nDear Alice,\n"
)
KEY = "alice/mailboxes/INBOX/dbox-Mails/u.7"


def sdbox(message: bytes = MAIL, received: int = RECEIVED, guid: str = GUID) -> bytes:
    """As Dovecot writes it."""
    return written(message, created=received - 1, received=received, guid=guid)


def ends(content: bytes) -> Stub:
    """What a write looks at."""
    return Stub(len(content), content[:HEAD], content[max(HEAD, len(content) - TAIL) :])
