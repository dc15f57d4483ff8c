"""``dovecot-uidlist`` and ``dovecot-keywords`` of a maildir: UIDs, GUIDs, POP3 names, names of keywords.

Source: Dovecot's documentation, "Maildir format", and the files of 2.3.19. Version 3::

    3 V1763772000 N7 G<mailbox GUID>
    1 G<mail GUID> W1234 :1763772000.M1P2.host,S=1200
    2 :1763772001.M1P3.host

Version 1 has ``1 <uidvalidity> <next>`` and lines of ``<uid> <name>``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tierproxy.importing.letters import BadMail
from tierproxy.importing.reading import blocks

LARGEST = 256 * 1024 * 1024
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Known:
    """What a uidlist says of a mail. ``guid`` and ``uidl`` "": nothing."""

    uid: int
    guid: str = ""
    uidl: str = ""


def known_mails(directory: Path) -> dict[str, Known]:
    """By base name (without flags). No file: nothing is known. Raises BadMail when it is there and of no use."""
    lines = _lines(directory / "dovecot-uidlist")
    if not lines:
        return {}
    head = lines[0].split(" ")
    if head[0] not in {"1", "3"}:
        raise BadMail(f"dovecot-uidlist has version {head[0]!r}; 1 and 3 are known")
    found = (_known(line, head[0] == "3") for line in lines[1:])
    return {base_of(name): known for name, known in found if known.uid}


def _known(line: str, extended: bool) -> tuple[str, Known]:
    """A line; UID 0 is one that says nothing (a torn last line)."""
    before, _, name = line.partition(" :") if extended and " :" in line else line.partition(" ")
    uid, *said = before.split(" ")
    values = {one[:1]: one[1:] for one in said if one}
    return name.removeprefix(":"), Known(int(uid) if uid.isdigit() else 0, values.get("G", ""), values.get("P", ""))


def keyword_names(directory: Path) -> dict[str, str]:
    """The letter of a keyword in file names -> its name."""
    found: dict[str, str] = {}
    for line in _lines(directory / "dovecot-keywords"):
        number, _, name = line.partition(" ")
        if number.isdigit() and int(number) < len(LETTERS) and name:
            found[LETTERS[int(number)]] = name
    return found


def base_of(name: str) -> str:
    """A file's name without its flags: what stays as long as the mail does."""
    return name.partition(":")[0]


FLAGS = {"S": "\\Seen", "R": "\\Answered", "F": "\\Flagged", "T": "\\Deleted", "D": "\\Draft"}


def flags_of(name: str, keywords: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Flags and keywords in a file's name (``:2,FS``)."""
    _, _, letters = name.partition(":2,")
    letters = letters.partition(",")[0]
    return (
        tuple(flag for letter, flag in FLAGS.items() if letter in letters),
        tuple(keywords[letter] for letter in letters if letter in keywords),
    )


def _lines(path: Path) -> list[str]:
    """Of a file that need not be there. Raises BadMail."""
    if not path.exists():
        return []
    if path.stat().st_size > LARGEST:
        raise BadMail(f"{path.name} is larger than {LARGEST} bytes")
    return b"".join(blocks(path)).decode("utf-8", "surrogateescape").splitlines()
