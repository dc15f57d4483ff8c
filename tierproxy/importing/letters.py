"""What a source yields: folders, letters, and what is bad about one of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from tierproxy.errors import TierproxyError
from tierproxy.importing.parcels import Parcel


class BadMail(TierproxyError):
    """This mail, or this folder, cannot be imported; the others can."""


class NotASource(TierproxyError):
    """What is to be imported is not what was said, or cannot be read at all."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A mail or a folder that is left out, and why. ``origin``: its path, with ``:offset`` inside an mbox."""

    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail that can be packed.

    ``uid``: its IMAP UID, 0 where the source has none. ``size``: bytes in the source. ``fingerprint``: what tells it
    from all others of its folder, in every run, however its flags change. ``flags`` as IMAP calls them (``\\Seen``).
    ``pack`` reads it, blocking, and raises BadMail.
    """

    origin: str
    uid: int
    size: int
    fingerprint: str
    pack: Callable[[], Parcel]
    flags: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


Letters = Generator[Letter | Bad, None, None]
"""Read on demand; to be closed by who does not go to the end."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A mailbox. ``name``: its components as Dovecot's directories have them (modified UTF-7). ``size``: bytes of its
    mails, for a progress bar. ``letters`` reads the directory, blocking; in the order in which UIDs are given.
    ``highest_uid``: of its letters, 0 where none has one."""

    name: tuple[str, ...]
    origin: str
    size: int
    letters: Callable[[], Letters]
    highest_uid: int = 0

    @property
    def title(self) -> str:
        """For people and reports: ``Archive/2024``."""
        return "/".join(self.name)


Source = Iterator[Folder | Bad]
