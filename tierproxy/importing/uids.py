"""UIDs of one target folder: which are taken, and which a mail gets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from tierproxy.importing.letters import BadMail
from tierproxy.model import Listed

HIGHEST = 2**32 - 2  #: IMAP's UIDs are 32 bits, and the next one must fit as well (RFC 3501, 2.3.1.1)
_MAIL = re.compile(r"u\.([1-9][0-9]{0,9})")


@dataclass
class Uids:
    """``lowest``: UIDs below are or were in use. ``reserved``: the highest UID that letters of the source keep, so that
    a letter without one does not take it from a later one."""

    lowest: int = 1
    reserved: int = 0
    _taken: dict[int, tuple[str, int]] = field(default_factory=dict)
    _there: dict[tuple[str, int], int] = field(default_factory=dict)
    _last: int = 0

    @classmethod
    def of(cls, directory: str, objects: Iterable[Listed], lowest: int = 1) -> Uids:
        """From a listing below ``directory``; what is no mail there is left alone."""
        found = cls(lowest)
        for one in objects:
            match = _MAIL.fullmatch(one.key.removeprefix(directory))
            if match is not None:
                found.take(int(match[1]), one.etag, one.size)
        return found

    def take(self, uid: int, etag: str, size: int) -> None:
        """It has this content now, or will have."""
        self._taken[uid] = (etag, size)
        self._there[etag, size] = uid
        self._last = max(self._last, uid)

    def where(self, etag: str, size: int) -> int:
        """The UID of this very content, 0: it is not there."""
        return self._there.get((etag, size), 0)

    def holds(self, uid: int, etag: str) -> bool:
        """Whether ``uid`` is this content."""
        return self._taken.get(uid, ("", 0))[0] == etag

    def reserve(self, uid: int) -> None:
        self.reserved = max(self.reserved, uid)

    def choose(self, wanted: int, etag: str, size: int) -> int:
        """The UID for this content: the wanted one (0: none is) if it never was another mail's, else the next one that
        nobody has or keeps. It is taken at once. Raises BadMail when there are no more."""
        uid = wanted if wanted >= self.lowest and wanted not in self._taken else self._next()
        if uid > HIGHEST:
            raise BadMail("the folder has no free UID left")
        self.take(uid, etag, size)
        return uid

    def _next(self) -> int:
        return max(self._last, self.reserved, self.lowest - 1) + 1

    def lose(self, uid: int, etag: str, size: int) -> None:
        """It was not stored after all, or somebody else has taken the UID: that stays taken."""
        if self._there.get((etag, size)) == uid:
            del self._there[etag, size]
        self._taken[uid] = ("", 0)
