"""Whose mail an object is, and in which kind of folder, from its key.

The built-in shapes are taken apart by slashes, not by regular expressions: a key takes time in proportion to its
length, whatever a client wrote into it. Sources: dbox and Maildir layouts of the Dovecot documentation
("Mailbox formats", "Mail location"), Maildir++ (courier-mta.org), and the object names that Dovecot Pro's obox shows
its S3 server (``<8 hex digits of md5(user)>/<user>/mailboxes/<folder GUID>/<object id>``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import fields
from fnmatch import fnmatchcase, translate
from functools import lru_cache

from tierproxy.config.sections import FoldersSection, NamingSection
from tierproxy.mail.mutf7 import decoded
from tierproxy.model import ObjectName

OTHER = "other"
"""The class of a folder that is in no other class, or that the key names by a number only."""

SHAPES = 2
"""Version of the built-in shapes: a part of the fingerprint, so that rows are classified again when they change."""

REMEMBERED = 20_000  #: names
Found = tuple[str, str]
NOTHING: Found = "", ""

_GUID = re.compile(r"[0-9a-f]{32}")
_SHORT_HEX = re.compile(r"[0-9a-f]{1,8}")
_DISPERSION = re.compile(r"[0-9a-f]{8}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z][A-Za-z0-9-]+")
_MAILDIR_FILE = re.compile(r"[0-9]+\.[^/]+")
_MAIL_DIRECTORIES = frozenset({"maildir", ".maildir", "mail", ".mail", "mails", "sdbox", "mdbox", "dbox"})
_MAX_HASHES = 4  #: directories between a domain and its user that may be hashes of the user


class Naming:
    """``of`` is owner and folder class of an object. Safe to call from any thread."""

    def __init__(self, patterns: Sequence[NamingSection], folders: FoldersSection) -> None:
        """``patterns``: those of the configuration, which compile and have a group ``owner`` (it is checked there);
        without any the built-in shapes hold."""
        self._patterns = [(pattern.bucket, re.compile(pattern.pattern)) for pattern in patterns]
        self._classes = [(kind.name, _any_of(getattr(folders, kind.name))) for kind in fields(folders)]
        self._text = repr(([(one.bucket, one.pattern) for one in patterns], folders, SHAPES))
        self.of = lru_cache(REMEMBERED)(self._of)

    def __repr__(self) -> str:
        return f"<Naming by {f'{len(self._patterns)} patterns' if self._patterns else 'the built-in shapes'}>"

    def fingerprint(self) -> int:
        """63 bits of everything that decides what ``of`` says; never 0."""
        return int.from_bytes(hashlib.sha256(self._text.encode()).digest()[:8]) >> 1 or 1

    def said(self, name: ObjectName) -> Found:
        """Owner and folder, the folder by its own name as people read it; "" for what the key does not say."""
        owner, folder = self._by_pattern(name) if self._patterns else built_in(name.key)
        return owner, decoded(folder)

    def folder_class(self, folder: str) -> str:
        """The class of a folder by the name it has on disk (modified UTF-7) or to people; "" for no name."""
        if not folder:
            return ""
        if _GUID.fullmatch(folder):
            return OTHER
        name = decoded(folder).lower()
        return next((kind for kind, pattern in self._classes if pattern.fullmatch(name)), OTHER)

    def _of(self, name: ObjectName) -> Found:
        owner, folder = self._by_pattern(name) if self._patterns else built_in(name.key)
        return owner, self.folder_class(folder)

    def _by_pattern(self, name: ObjectName) -> Found:
        for bucket, pattern in self._patterns:
            match = pattern.fullmatch(name.key) if fnmatchcase(name.bucket, bucket) else None
            if match is not None:
                said = match.groupdict()
                return said["owner"] or "", said.get("folder") or ""
        return NOTHING


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """Shell patterns as one expression; none matches nothing."""
    return re.compile("|".join(translate(pattern.lower()) for pattern in patterns) or r"(?!)")


def built_in(key: str) -> Found:
    """Owner and folder as it is called on disk, by the built-in shapes; "" for what the key does not say."""
    steps = key.split("/")
    if len(steps) < 3 or not all(steps):
        return NOTHING
    found = _dbox(steps, steps.index("mailboxes", 1)) if "mailboxes" in steps[1:-1] else NOTHING
    if found != NOTHING:
        return found
    if steps[-2] in {"cur", "new", "tmp"} and _MAILDIR_FILE.fullmatch(steps[-1]):
        return _maildir(steps[:-2])
    if "idx" in steps[2:-1] and _DISPERSION.fullmatch(steps[steps.index("idx", 2) - 2]):
        return owner_of(steps[: steps.index("idx", 2)]), ""  # obox: an index bundle of the user
    return NOTHING


def _dbox(steps: list[str], at: int) -> Found:
    """``.../mailboxes/<folder>/dbox-Mails/u.N`` and ``.../mailboxes/<folder GUID>/...`` (LAYOUT=index, obox)."""
    owner, inner = owner_of(steps[:at]), steps[at + 1 : -1]
    if len(inner) > 1 and inner[-1] == "dbox-Mails":
        return owner, "/".join(inner[:-1])
    if inner and _GUID.fullmatch(inner[0]):
        return owner, inner[0]
    return NOTHING


def _maildir(steps: list[str]) -> Found:
    """What is before ``cur``: ``alice/Maildir`` (INBOX), ``alice/Maildir/.Sent`` (Maildir++), ``alice/Maildir/Sent``
    (LAYOUT=fs)."""
    last = steps[-1]
    if last.startswith(".") and last.lower() not in _MAIL_DIRECTORIES:
        return owner_of(steps[:-1]), last[1:]
    for at in range(len(steps) - 1, 0, -1):
        if steps[at].lower() in {"maildir", ".maildir"}:
            return owner_of(steps[:at]), "/".join(steps[at + 1 :]) or "INBOX"
    return owner_of(steps), "INBOX"


def owner_of(steps: list[str]) -> str:
    """The user a mail location belongs to: its last directory that is not the name of a mail format. With the domain
    before it, also over hashed directories (``%d/%n``, ``%d/%1n/%n``), ``user@domain``."""
    while len(steps) > 1 and steps[-1].lower() in _MAIL_DIRECTORIES:
        steps = steps[:-1]
    user = steps[-1] if steps else ""
    if not user or user.lower() in _MAIL_DIRECTORIES or "@" in user:
        return user if "@" in user else ""
    for step in reversed(steps[-2 - _MAX_HASHES : -1]):
        if _DOMAIN.fullmatch(step):
            return f"{user}@{step}"
        if not (_SHORT_HEX.fullmatch(step) or (len(step) <= 2 and user.lower().startswith(step.lower()))):
            break
    return user
