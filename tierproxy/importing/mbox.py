"""mbox as a source: a file, or a directory of them.

A mail begins at a ``From `` line with a date, after an empty line or at the beginning of the file. Where a mail has a
``Content-Length`` that leads to the next such line (or the end), it is believed (mboxcl, mboxcl2): nothing inside is a
beginning, and nothing is unquoted. Elsewhere ``>From `` at the beginning of a line loses one ``>`` (mboxrd; what mboxo
wrote cannot be told from it). Headers that mbox programs use for themselves are left out, as Dovecot does; flags are
taken from them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path

from tierproxy.importing.folders import INBOX, Name, checked
from tierproxy.importing.fromline import LONGEST, date_in
from tierproxy.importing.letters import Bad, BadMail, Folder, Letter, Letters, NotASource, Source
from tierproxy.importing.parcels import Parcel, lines_lf, wrapped
from tierproxy.importing.reading import entries, is_directory, opened, printable

HEADER = 1 << 20  #: bytes of a mail in which its header must end
OWN_HEADERS = frozenset({b"content-length", b"status", b"x-status", b"x-keywords", b"x-uid", b"x-imap", b"x-imapbase"})
_HEADER_LINE = re.compile(rb"([!-9;-~]+)[ \t]*:")
_QUOTED = re.compile(rb"(?m)^>(>*From )")
_FLAGS = {b"R": "\\Seen", b"A": "\\Answered", b"F": "\\Flagged", b"D": "\\Deleted", b"T": "\\Draft"}
_SKIPPED = (".lock", ".msf", ".index", ".dat")


class Quoting(StrEnum):
    """How ``From `` inside mails was quoted. ``auto``: by Content-Length where it is right, else mboxrd."""

    AUTO = "auto"
    MBOXRD = "mboxrd"
    MBOXCL2 = "mboxcl2"


def folders(root: Path, quoting: Quoting = Quoting.AUTO, folder: Name = (INBOX,)) -> Source:
    """``folder`` is the name of a single file. Raises NotASource."""
    if root.is_dir():
        found = list(_below(root, (), quoting))
        if not found:
            raise NotASource(f"{printable(root)} has no mbox files in it")
        return iter(found)
    _check(root)
    return iter([_folder(root, folder, quoting)])


def _check(file: Path) -> None:
    """Raises NotASource, when there is no reason to go on."""
    try:
        with opened(file) as fd:
            begin = os.pread(fd, LONGEST, 0)
    except BadMail as error:
        raise NotASource(f"{printable(file)}: {error}") from error
    if begin and date_in(_line(begin)) is None:
        raise NotASource(f"{printable(file)} is not an mbox: it does not begin with a From line")


def _below(directory: Path, above: Name, quoting: Quoting) -> Iterator[Folder | Bad]:
    """Files are folders; a directory ``X``, or Thunderbird's ``X.sbd``, has those below."""
    listed, bad = entries(directory)
    yield from bad
    for entry in listed:
        if entry.name.startswith(".") or entry.name.endswith(_SKIPPED):
            continue
        yield from _one(entry, above, quoting)


def _one(entry: os.DirEntry[str], above: Name, quoting: Quoting) -> Iterator[Folder | Bad]:
    path = Path(entry.path)
    if entry.is_symlink():
        yield Bad(printable(path), "a symbolic link, which is not followed")
        return
    try:
        name = checked((*above, entry.name.removesuffix(".sbd")))
        if is_directory(entry):
            yield from _below(path, name, quoting)
        else:
            _check(path)
            yield _folder(path, name, quoting)
    except (BadMail, NotASource) as error:
        yield Bad(printable(path), str(error))


def _folder(file: Path, name: Name, quoting: Quoting) -> Folder:
    return Folder(name, printable(file), file.stat().st_size, lambda: _Mbox(file, quoting).letters())


@dataclass(slots=True)
class _Mbox:
    """One reading of a file, from its beginning. Mails that are byte for byte the same are told apart by their turn."""

    path: Path
    quoting: Quoting
    _turns: Counter[str] = field(default_factory=Counter)

    def letters(self) -> Letters:
        try:
            with opened(self.path) as fd:
                yield from self._walk(fd)
        except BadMail as error:
            yield Bad(printable(self.path), str(error))

    def _walk(self, fd: int) -> Iterator[Letter | Bad]:
        end, at = os.fstat(fd).st_size, 0
        while at < end:
            line = _line(os.pread(fd, LONGEST, at))
            begin = at + len(line)
            header = _Header.at(fd, begin)
            counted = self._counted(fd, begin, header, end)
            stop = counted[1] if counted else _next_mail(fd, begin, end)
            last = counted[0] if counted else _without_blank(fd, begin, stop)
            raw = counted is not None or self.quoting is Quoting.MBOXCL2
            if b"x-imap" not in header.names or at:  # else Dovecot's own first mail, which is none
                yield self._letter(fd, at, date_in(line) or 0, header, _Span(begin, last, raw))
            at = stop

    def _counted(self, fd: int, begin: int, header: _Header, end: int) -> tuple[int, int] | None:
        """Where the mail ends and where the next begins, as Content-Length says; None if no mail begins there."""
        if header.length is None or header.end is None or self.quoting is Quoting.MBOXRD:
            return None
        stop = header.end + header.length
        if not begin <= stop <= end:
            return None
        after = os.pread(fd, LONGEST + 2, stop)
        blank = len(after) - len(after.lstrip(b"\r\n"))
        if blank > 4 or (after[blank:] and date_in(_line(after[blank:])) is None):
            return None
        return stop, stop + blank

    def _letter(self, fd: int, at: int, received: int, header: _Header, span: _Span) -> Letter | Bad:
        origin = f"{printable(self.path)}:{at}"
        if span.end <= span.begin:
            return Bad(origin, "an empty mail")
        if header.end is None:
            return Bad(origin, f"its header does not end within {HEADER} bytes")
        digest = hashlib.sha1(f"{received} ".encode(), usedforsecurity=False)
        for block in span.read(fd):
            digest.update(block)
        self._turns[digest.hexdigest()] += 1
        digest.update(str(self._turns[digest.hexdigest()]).encode())
        guid = digest.hexdigest()[:32]
        pack = partial(_packed, self.path, span, received, guid)
        return Letter(origin, 0, span.end - span.begin, guid, pack, header.flags(), header.keywords())


@dataclass(frozen=True, slots=True)
class _Span:
    """A mail in its file. ``raw``: nothing in it is quoted."""

    begin: int
    end: int
    raw: bool

    def read(self, fd: int) -> Iterator[bytes]:
        """As the mail was before it came into the mbox. Raises BadMail."""
        for block in lines_lf(_without_own_headers(_lines(fd, self.begin, self.end))):
            yield block if self.raw else _QUOTED.sub(rb"\1", block)


def _packed(path: Path, span: _Span, received: int, guid: str) -> Parcel:
    def content() -> Iterator[bytes]:
        with opened(path) as fd:
            yield from span.read(fd)

    return wrapped(content, received, guid)


# ------------------------------------------------------------ pieces of the file


def _line(text: bytes) -> bytes:
    """The first line, with its end."""
    at = text.find(b"\n")
    return text[: at + 1] if at >= 0 else text


def _lines(fd: int, begin: int, end: int) -> Iterator[bytes]:
    """Blocks that end with a line's end, but for the last, and for a line that is longer than a block."""
    held, at, size = b"", begin, 1 << 18
    while at < end:
        block = os.pread(fd, min(size, end - at), at)
        if not block:
            raise BadMail("has become shorter")
        at += len(block)
        whole, newline, rest = (held + block).rpartition(b"\n")
        if newline:
            yield whole + newline
            held = rest
        elif len(rest) > size * 4:
            yield rest
            held = b""
        else:
            held = rest
    if held:
        yield held


def _next_mail(fd: int, begin: int, end: int) -> int:
    """The offset of the next From line after an empty line, or the end."""
    at, blank = begin, True
    for block in _lines(fd, begin, end):
        search = 0
        while (found := block.find(b"From ", search)) >= 0:
            if _after_blank(block, found, blank) and date_in(_line(block[found : found + LONGEST])) is not None:
                return at + found
            search = found + 5
        at += len(block)
        blank = block.endswith((b"\n\n", b"\n\r\n")) or block in {b"\n", b"\r\n"}
    return end


def _after_blank(block: bytes, at: int, blank_before: bool) -> bool:
    if at == 0:
        return blank_before
    return block[:at].endswith((b"\n\n", b"\n\r\n")) or (blank_before and block[:at] in {b"\n", b"\r\n"})


def _without_blank(fd: int, begin: int, stop: int) -> int:
    """The end of a mail without the empty line that belongs to the mbox."""
    first = max(begin, stop - 4)
    tail = os.pread(fd, stop - first, first)
    if tail.endswith(b"\n\r\n") or tail == b"\r\n":
        return stop - 2
    return stop - 1 if tail.endswith(b"\n\n") or tail == b"\n" else stop


def _without_own_headers(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The header of a mail without the lines of mbox programs, then the rest."""
    inside, leaving = True, False
    for block in blocks:
        if not inside:
            yield block
            continue
        kept: list[bytes] = []
        at = 0
        while inside and at < len(block):
            line = _line(block[at:] if len(block) - at < HEADER else block[at : at + HEADER])
            at += len(line)
            inside = bool(line.strip(b"\r\n"))
            if line[:1] not in {b" ", b"\t"}:
                leaving = _name(line) in OWN_HEADERS
            if not leaving:
                kept.append(line)
        yield b"".join(kept) + block[at:]


def _name(line: bytes) -> bytes:
    found = _HEADER_LINE.match(line)
    return found[1].lower() if found else b""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a mail's header says to mbox programs. ``end``: the offset of its body, None: not found."""

    end: int | None
    values: dict[bytes, bytes]

    @classmethod
    def at(cls, fd: int, begin: int) -> _Header:
        text = os.pread(fd, 1 << 14, begin)
        if not _BODY.search(text):
            text = os.pread(fd, HEADER, begin)
        body = _BODY.search(text)
        length = os.fstat(fd).st_size - begin
        end = begin + body.end() if body else begin + length if length <= len(text) else None
        values: dict[bytes, bytes] = {}
        for line in text[: body.start() + 1 if body else len(text)].split(b"\n"):
            name = _name(line)
            if name in OWN_HEADERS:
                values.setdefault(name, line.partition(b":")[2].strip())
        return cls(end, values)

    @property
    def names(self) -> frozenset[bytes]:
        return frozenset(self.values)

    @property
    def length(self) -> int | None:
        text = self.values.get(b"content-length", b"")
        return int(text) if text.isdigit() and len(text) < 16 else None

    def flags(self) -> tuple[str, ...]:
        letters = self.values.get(b"status", b"") + self.values.get(b"x-status", b"")
        return tuple(flag for letter, flag in _FLAGS.items() if letter in letters)

    def keywords(self) -> tuple[str, ...]:
        return tuple(self.values.get(b"x-keywords", b"").decode("utf-8", "replace").split())


_BODY = re.compile(rb"(?:^|\n)\r?\n")
