"""sdbox as a source: files are taken as they are, with their UIDs, once they have been looked through.

``SRC/mailboxes/<folder>/dbox-Mails/u.N`` (LAYOUT=fs), ``SRC/mailboxes/<GUID>/u.N`` (LAYOUT=index). Flags are
in Dovecot's index, not in these files: ``doveadm backup`` keeps them, this does not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tierproxy.importing.folders import Name, checked
from tierproxy.importing.guids import guid_of
from tierproxy.importing.letters import Bad, BadMail, Folder, Letter, Letters, NotASource, Source
from tierproxy.importing.parcels import Parcel, verbatim
from tierproxy.importing.reading import blocks, entries, fingerprint, is_directory, opened, printable, why
from tierproxy.importing.uids import HIGHEST
from tierproxy.mail.dbox import HEAD, NotDbox, Trailer, start_of, trailer_of

MAILS = "dbox-Mails"
LONGEST_TRAILER = 64 * 1024
_MAIL = re.compile(r"u\.([0-9]+)")
_GUID = re.compile(r"[0-9a-f]{32}")


def folders(root: Path, names: Mapping[str, Name] | None = None) -> Source:
    """Every folder of an sdbox. ``names``: folders by their GUIDs, for a source of LAYOUT=index. Raises NotASource."""
    top = root / "mailboxes" if (root / "mailboxes").is_dir() else root
    if not top.is_dir():
        raise NotASource(f"{printable(root)} is not a directory")
    found = list(_below(top, (), names or {}))
    if not found:
        hint = "give the directory that has `mailboxes` in it; mdbox (storage/m.N) is not read: use doveadm backup"
        raise NotASource(f"{printable(root)} has no sdbox mail: no {MAILS} with u.N in it", hint=hint)
    return iter(found)


def _below(directory: Path, name: Name, names: Mapping[str, Name]) -> Iterator[Folder | Bad]:
    listed, bad = entries(directory)
    yield from bad
    mails = [entry for entry in listed if _MAIL.fullmatch(entry.name)]
    if mails and name:
        yield from _folder(directory, name, mails, names)
    for entry in listed:
        if entry.is_symlink() and Path(entry.path).is_dir():
            yield Bad(printable(entry.path), "a symbolic link, which is not followed")
        elif is_directory(entry) and not entry.name.startswith("."):
            yield from _child(entry, name, names)


def _child(entry: os.DirEntry[str], above: Name, names: Mapping[str, Name]) -> Iterator[Folder | Bad]:
    if entry.name == MAILS:
        yield from _below(Path(entry.path), above, names)
        return
    try:
        name = checked((*above, entry.name))
    except BadMail as error:
        yield Bad(printable(entry.path), str(error))
        return
    yield from _below(Path(entry.path), name, names)


def _folder(
    directory: Path, name: Name, mails: list[os.DirEntry[str]], names: Mapping[str, Name]
) -> Iterator[Folder | Bad]:
    known = names.get(name[0]) if len(name) == 1 and _GUID.fullmatch(name[0]) else name
    if names and known is None:
        yield Bad(printable(directory), "the list of the source's folders does not name this GUID")
        return
    found = [_file(entry) for entry in mails]
    files = sorted((one for one in found if isinstance(one, _File)), key=lambda one: one.uid)
    bad = [one for one in found if isinstance(one, Bad)]

    def letters() -> Letters:
        yield from bad
        for file in files:
            yield file.letter()

    highest = max((file.uid for file in files), default=0)
    yield Folder(known or name, printable(directory), sum(file.size for file in files), letters, highest)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    uid: int
    size: int
    fingerprint: str

    def letter(self) -> Letter:
        mark = f"u.{self.uid}:{self.fingerprint}"
        return Letter(printable(self.path), self.uid, self.size, mark, partial(packed, self.path))


def _file(entry: os.DirEntry[str]) -> _File | Bad:
    if entry.is_symlink():
        return Bad(printable(entry.path), "a symbolic link, which is not followed")
    uid = entry.name.removeprefix("u.")
    if uid.startswith("0") or not 0 < int(uid[:12]) <= HIGHEST:
        return Bad(printable(entry.path), "its name is no UID")
    try:
        stat = entry.stat(follow_symlinks=False)
    except OSError as error:
        return Bad(printable(entry.path), why(error))
    return _File(Path(entry.path), int(uid), stat.st_size, fingerprint(stat))


def packed(path: Path) -> Parcel:
    """The file as it is. Raises BadMail when it is not a whole sdbox file with everything inside."""
    try:
        trailer = _trailer(path)
    except NotDbox as error:
        raise BadMail(f"not a whole sdbox file: {error}") from error
    if trailer.value("X") is not None:
        raise BadMail("its attachments are stored outside (mail_attachment_dir): let Dovecot copy it (doveadm backup)")
    return verbatim(lambda: blocks(path), guid_of(trailer.value("G") or path.name), trailer.number("R") or 0)


def _trailer(path: Path) -> Trailer:
    with opened(path) as fd:
        size = os.fstat(fd).st_size
        start = start_of(os.pread(fd, HEAD, 0))
        if not 0 <= size - start.end <= LONGEST_TRAILER:
            raise NotDbox("the message does not end within the file")
        return trailer_of(os.pread(fd, LONGEST_TRAILER + 1, start.end))
