"""What a name is, by its looks: scratch, mail, something that has no place here, or just a file.

Mail names are immutable once there: a rename onto one of them creates and never overwrites. Sources: the system calls
of Dovecot's sdbox (``u.<uid>``, written as ``.temp.*``) and of maildir (``tmp/``, then ``new/`` and ``cur/``).
"""

from __future__ import annotations

import errno
import re
from enum import Enum, auto

from tierproxy.mount.failures import refusal

LONGEST_NAME = 255  #: bytes, as everywhere on Linux
LONGEST_KEY = 1024  #: bytes, of S3
LONGEST_MAIL = len("u.4294967295")  #: bytes of a mail's name in sdbox: the largest UID (RFC 9051)

_DBOX = re.compile(r"u\.[0-9]+\Z")
_MDBOX = re.compile(r"m\.[0-9]+\Z")
_INDEX = re.compile(r"dovecot\.(index|list\.index|map\.index|mailbox\.log)|dovecot-uidlist")


MAILDIR = frozenset({"tmp", "new", "cur"})
"""Names of the three directories of a maildir, which are beside one another."""


class Kind(Enum):
    SCRATCH = auto()  #: a local file until it is renamed to another name
    MAIL = auto()  #: created once, never overwritten
    REFUSED = auto()  #: indexes and mdbox storage, which need a real local file system
    OTHER = auto()


def text(name: bytes) -> str:
    """Raises OSError: EILSEQ for what is no UTF-8 (an S3 key must be), ENAMETOOLONG."""
    if len(name) > LONGEST_NAME:
        raise refusal(errno.ENAMETOOLONG)
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise refusal(errno.EILSEQ) from None


def joined(directory: str, name: str) -> str:
    """The key of ``name`` in ``directory`` ("" or a key that ends in a slash). Raises OSError: ENAMETOOLONG; never for
    a name that is no key, as Dovecot's scratch names are longer than the mails they become."""
    key = directory + name
    if too_long(key) and not name.startswith(".temp."):
        raise refusal(errno.ENAMETOOLONG)
    return key


def directory_in(directory: str, name: str) -> str:
    """The key of a directory ``name`` in ``directory``. Raises OSError: ENAMETOOLONG if no mail would have room in it;
    EACCES for a name that is never looked for in S3."""
    if name.startswith(".temp."):
        raise refusal(errno.EACCES)
    key = f"{directory}{name}/"
    if too_long(key, LONGEST_KEY - LONGEST_MAIL):
        raise refusal(errno.ENAMETOOLONG)
    return key


def too_long(key: str, longest: int = LONGEST_KEY) -> bool:
    return len(key) > longest // 4 and len(key.encode()) > longest


def parted(key: str) -> tuple[str, str]:
    """The directory a key is in, and its name there. Of a directory's key too: ``a/b/`` is ``b`` in ``a/``."""
    directory, slash, name = key.removesuffix("/").rpartition("/")
    return directory + slash, name


def kind_of(directory: str, name: str, *, maildir: bool = False) -> Kind:
    """``maildir``: ``directory`` is the ``tmp/``, ``new/`` or ``cur/`` of a maildir."""
    if name.startswith(".") or (maildir and _last(directory) == "tmp"):
        return Kind.SCRATCH
    if maildir or _DBOX.match(name):
        return Kind.MAIL
    if _INDEX.match(name) or (_MDBOX.match(name) and _last(directory) == "storage"):
        return Kind.REFUSED
    return Kind.OTHER


def never_an_object(directory: str, name: str, *, maildir: bool = False) -> bool:
    """The node need not be asked: whoever makes such a name makes it here. Other dot names may be directories
    (Maildir++ folders), or files another client of the node has put."""
    return name.startswith(".temp.") or (maildir and _last(directory) == "tmp")


def in_sdbox(directory: str) -> bool:
    """Whether it is a folder of an sdbox, or below one: their root is called so (Dovecot's DBOX_MAILBOX_DIR_NAME)."""
    return "/mailboxes/" in directory


def _last(directory: str) -> str:
    return parted(directory)[1]
