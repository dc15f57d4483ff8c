"""Where a folder's mails go: the directory of keys, by the layout of the target.

``LAYOUT=fs``: ``OWNER/mailboxes/<folder>/dbox-Mails/``. ``LAYOUT=index``: ``OWNER/mailboxes/<GUID>/``, where
GUIDs are Dovecot's own and must be asked for. Both as Dovecot 2.3.19 writes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tierproxy.importing.folders import INBOX, Name
from tierproxy.importing.letters import BadMail, NotASource
from tierproxy.mail.mutf7 import decoded

_GUID = re.compile(r"[0-9a-f]{32}")


class Place(NamedTuple):
    """``directory``: the beginning of keys, with a slash at its end. ``next_uid``: lower UIDs are or were taken."""

    directory: str
    next_uid: int = 1


class Places(Protocol):
    """A layout."""

    def of(self, folder: Name) -> Place:
        """Raises BadMail where the owner has no such folder."""
        ...


@dataclass(frozen=True, slots=True)
class ByName:
    """LAYOUT=fs."""

    owner: str

    def of(self, folder: Name) -> Place:
        if _GUID.fullmatch(folder[0]):
            raise BadMail("the source names its folders by GUIDs (LAYOUT=index): say what they are called there")
        return Place(f"{self.owner}/mailboxes/{'/'.join(folder)}/dbox-Mails/")


class Mailbox(NamedTuple):
    """What Dovecot says of one."""

    guid: str
    next_uid: int


@dataclass(frozen=True, slots=True)
class ByGuid:
    """LAYOUT=index. ``mailboxes`` by their names as people read them, components joined by a slash."""

    owner: str
    mailboxes: Mapping[str, Mailbox]

    def of(self, folder: Name) -> Place:
        if len(folder) == 1 and _GUID.fullmatch(folder[0]):  # a source of the same layout
            return self._place(Mailbox(folder[0], self._next_of(folder[0])))
        name = "/".join(decoded(component) for component in folder)
        found = self.mailboxes.get(name)
        if found is None:
            raise BadMail(f"Dovecot has no mailbox {name!r}: make it first (doveadm mailbox create), then ask again")
        return self._place(found)

    def _next_of(self, guid: str) -> int:
        return max((box.next_uid for box in self.mailboxes.values() if box.guid == guid), default=1)

    def _place(self, mailbox: Mailbox) -> Place:
        return Place(f"{self.owner}/mailboxes/{mailbox.guid}/", mailbox.next_uid)


def mailboxes_in(text: str, separator: str = "/") -> dict[str, Mailbox]:
    """What ``doveadm -f tab mailbox status -u OWNER 'guid uidnext' '*'`` prints: a line of column names, then one per
    mailbox. ``uidnext`` may be missing. Raises NotASource."""
    head, *lines = text.splitlines() or [""]
    columns = head.split("\t")
    if not {"mailbox", "guid"} <= set(columns):
        raise NotASource("the first line of a list of folders names its columns: mailbox, guid and maybe uidnext")
    found: dict[str, Mailbox] = {}
    for number, line in enumerate(lines, 2):
        if line.strip():
            row = dict(zip(columns, line.split("\t"), strict=False))
            name = _unescaped(row.get("mailbox", "")).replace(separator, "/")
            found[INBOX if name.upper() == INBOX else name] = _mailbox(row, number)
    return found


def _mailbox(row: Mapping[str, str], number: int) -> Mailbox:
    guid, following = row.get("guid", ""), row.get("uidnext", "") or "1"
    if not _GUID.fullmatch(guid) or not following.isdigit():
        raise NotASource(f"line {number} of the list of folders has no GUID of 32 hex digits, or a strange uidnext")
    return Mailbox(guid, int(following))


_ESCAPES = {"\x011": "\x01", "\x01t": "\t", "\x01n": "\n", "\x01r": "\r", "\x010": "\x00"}


def _unescaped(text: str) -> str:
    """Dovecot's tab escaping."""
    return re.sub("\x01[1tnr0]", lambda found: _ESCAPES[found[0]], text)
