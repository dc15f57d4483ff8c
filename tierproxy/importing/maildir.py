"""Maildir as a source: Maildir++ (``.Sent.2024``) and ``LAYOUT=fs`` (``Sent/2024``) below one root.

UIDs come from ``dovecot-uidlist`` where there is one, else mails are numbered in the order of their delivery. A mail is
received when its file was last modified, which is what Dovecot says of it. Its GUID is that of the uidlist, else
its base name, as Dovecot has it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tierproxy.importing.folders import INBOX, MOST, Name, checked, parts
from tierproxy.importing.guids import guid_of
from tierproxy.importing.letters import Bad, BadMail, Folder, Letter, Letters, NotASource, Source
from tierproxy.importing.parcels import Parcel, wrapped
from tierproxy.importing.reading import blocks, entries, is_directory, printable, why
from tierproxy.importing.uidlist import Known, base_of, flags_of, keyword_names, known_mails

MAIL_DIRECTORIES = ("cur", "new")
_DELIVERED = re.compile(r"([0-9]{1,12})\.")
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"Dovecot-LZ4")


def folders(root: Path, control: Path | None = None) -> Source:
    """Every folder of a maildir. ``control``: where Dovecot keeps its control files (CONTROL=), if not in the maildir
    itself. Raises NotASource."""
    for directory in (root, control or root):
        if not directory.is_dir():
            raise NotASource(f"{printable(directory)} is not a directory")
    found = list(_Maildir(root, control or root).below(root, (INBOX,), top=True))
    if not found:
        raise NotASource(
            f"{printable(root)} is not a maildir: neither it nor a folder in it has a directory cur or new"
        )
    return iter(found)


@dataclass(frozen=True, slots=True)
class _Maildir:
    root: Path
    control: Path

    def below(self, directory: Path, name: Name, *, top: bool = False) -> Iterator[Folder | Bad]:
        """The folder that ``directory`` is, and those in it."""
        listed, bad = entries(directory)
        yield from bad
        if any(entry.name in MAIL_DIRECTORIES for entry in listed):
            yield self._folder(directory, name)
        for entry in listed:
            if entry.name in {"cur", "new", "tmp"} or (entry.name.startswith(".") and not top):
                continue
            if entry.is_symlink() and _looks_like_a_folder(entry):
                yield Bad(printable(entry.path), "a symbolic link, which is not followed")
            elif is_directory(entry):
                yield from self._child(entry, () if top else name)

    def _child(self, entry: os.DirEntry[str], above: Name) -> Iterator[Folder | Bad]:
        """A directory in a maildir: a folder of Maildir++, or of LAYOUT=fs, or nothing of the mail's."""
        plus = entry.name.startswith(".")
        if plus and not _looks_like_a_folder(entry):
            return
        try:
            name = parts(entry.name[1:], ".") if plus else checked((*above, entry.name))
        except BadMail as error:
            if _looks_like_a_folder(entry) or len(above) >= MOST:
                yield Bad(printable(entry.path), str(error))
            return
        if plus:
            yield self._folder(Path(entry.path), name)
        else:
            yield from self.below(Path(entry.path), name)

    def _folder(self, directory: Path, name: Name) -> Folder:
        files, bad = _files(directory)
        known, keywords, unread = _noted(self._control_of(directory))
        bad += unread
        uids = {file.base: known[file.base].uid for file in files if file.base in known}
        files.sort(key=lambda file: (uids.get(file.base, 2**32), file.delivered, file.turn))

        def letters() -> Letters:
            yield from bad
            for file in files:
                yield file.letter(known.get(file.base, Known(0)), keywords)

        size = sum(file.size for file in files)
        return Folder(name, printable(directory), size, letters, max(uids.values(), default=0))

    def _control_of(self, directory: Path) -> Path:
        """With CONTROL= that of INBOX has a name of its own."""
        inbox = self.control / ".INBOX"
        if directory == self.root and self.control != self.root and inbox.is_dir():
            return inbox
        return self.control / directory.relative_to(self.root)


def _looks_like_a_folder(entry: os.DirEntry[str]) -> bool:
    return any(Path(entry.path, one).is_dir() for one in MAIL_DIRECTORIES)


def _noted(control: Path) -> tuple[dict[str, Known], dict[str, str], list[Bad]]:
    """What Dovecot has noted of a folder's mails: UIDs and GUIDs, names of keywords."""
    try:
        return known_mails(control), keyword_names(control), []
    except (BadMail, OSError) as error:
        return {}, {}, [Bad(printable(control), f"{error}: UIDs and keywords of this folder are not kept")]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str
    size: int
    modified: int
    delivered: int

    @property
    def base(self) -> str:
        return base_of(self.name)

    @property
    def turn(self) -> list[str | int]:
        """Names of one second sort by the numbers in them. (Text and numbers take turns, so they compare.)"""
        return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", self.name)]

    def letter(self, known: Known, keywords: dict[str, str]) -> Letter:
        flags, names = flags_of(self.name, keywords)
        pack = partial(_packed, self.path, self.modified, guid_of(known.guid or self.base), known.uidl)
        mark = printable(f"{self.base}:{self.size}")
        return Letter(printable(self.path), known.uid, self.size, mark, pack, flags, names)


def _files(directory: Path) -> tuple[list[_File], list[Bad]]:
    """The mails of a folder, and what lies there and is none."""
    files: list[_File] = []
    bad: list[Bad] = []
    for name in MAIL_DIRECTORIES:
        if not (directory / name).exists():
            continue
        listed, unreadable = entries(directory / name)
        bad += unreadable
        for entry in listed:
            if not entry.name.startswith("."):
                found = _file(entry)
                files.append(found) if isinstance(found, _File) else bad.append(found)
    return files, bad


def _file(entry: os.DirEntry[str]) -> _File | Bad:
    if entry.is_symlink():
        return Bad(printable(entry.path), "a symbolic link, which is not followed")
    try:
        stat = entry.stat(follow_symlinks=False)
    except OSError as error:
        return Bad(printable(entry.path), why(error))
    if not entry.is_file(follow_symlinks=False):
        return Bad(printable(entry.path), "not a regular file")
    modified = max(0, int(stat.st_mtime))
    said = _DELIVERED.match(entry.name)
    return _File(Path(entry.path), entry.name, stat.st_size, modified, int(said[1]) if said else modified)


def _packed(path: Path, received: int, guid: str, uidl: str) -> Parcel:
    begin = next(blocks(path, 0), b"")
    if not begin:
        raise BadMail("an empty file")
    if begin.startswith(COMPRESSED):
        raise BadMail("compressed by Dovecot: let Dovecot copy this mailbox (doveadm backup)")
    return wrapped(lambda: blocks(path), received, guid, uidl)
