"""Names of folders: what a source calls them, and whether that can be a directory of ours.

A name is a tuple of components in modified UTF-7, as Dovecot writes directories. Names come from strangers: one that
would lead elsewhere (``..``), that Dovecot could not open, or that is no key of S3, is refused.
"""

from __future__ import annotations

import re

from tierproxy.importing.letters import BadMail
from tierproxy.mail.mutf7 import encoded

INBOX = "INBOX"
LONGEST = 255  #: bytes of a component; what a file system allows
MOST = 16  #: components
RESERVED = frozenset({"dbox-Mails", "mailboxes"})
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
Name = tuple[str, ...]


def checked(name: Name) -> Name:
    """``name``, which can be a folder. Raises BadMail."""
    if not name or len(name) > MOST:
        raise BadMail(f"a folder is 1 to {MOST} names deep")
    for component in name:
        _check(component)
    name = tuple(one if one.isascii() else encoded(one) for one in name)  # some servers write UTF-8
    return (INBOX, *name[1:]) if name[0].upper() == INBOX else name


def _check(component: str) -> None:
    shown = repr(component)
    if component in {"", ".", ".."} or "/" in component or _CONTROLS.search(component):
        raise BadMail(f"{shown} cannot be a folder's name")
    if component in RESERVED:
        raise BadMail(f"{shown} is a directory of sdbox itself")
    try:
        size = len(component.encode())
    except UnicodeEncodeError as error:
        raise BadMail(f"a folder's name is not UTF-8: {component.encode(errors='surrogateescape')!r}") from error
    if size > LONGEST:
        raise BadMail(f"a folder's name has {size} bytes; {LONGEST} are possible")


def parts(text: str, separator: str) -> Name:
    """``Archive.2024`` -> its components, checked. Raises BadMail."""
    return checked(tuple(text.split(separator)))


def owner_path(text: str) -> str:
    """OWNER as the beginning of keys: ``alice``, ``example.org/alice``. Raises BadMail."""
    for component in text.strip("/").split("/"):
        _check(component)
    return text.strip("/")
