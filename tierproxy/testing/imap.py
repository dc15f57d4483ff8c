"""Mail programs: an IMAP session, an LMTP session, and a ledger of every mail that was acknowledged.

A letter carries its number in a header line of its own, so that the ledger can say of every mail found whether it
belongs there, once, and whether each of its bytes is what was sent.
"""

from __future__ import annotations

import hashlib
import imaplib
import re
import smtplib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

SECONDS = 60.0  #: how long a program waits for an answer
NUMBER = re.compile(rb"^X-Number: (\d+)\r?$", re.MULTILINE | re.IGNORECASE)
ITEM = re.compile(rb"((?:BODY|BINARY|RFC822)\S*?(?:\[[^\]]*\])?(?:<\d+>)?) (?:\{\d+\}|\"\"|NIL)")
SENDER = "sender@example.org"


class Refused(Exception):
    """The server said NO or BAD, or a 4xx or 5xx."""


class Gone(Exception):
    """The server ended the connection."""


@dataclass(frozen=True, slots=True)
class Letter:
    """``content``: as it is given to a server, with CRLF."""

    number: int
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def letter(number: int, content: bytes) -> Letter:
    """``content`` with a line on top that says its number."""
    return Letter(number, b"X-Number: %d\r\n" % number + content)


def number_of(content: bytes) -> int:
    """Of a letter that was found; -1: it has none."""
    found = NUMBER.search(content[:65536])
    return int(found[1]) if found else -1


@dataclass(frozen=True, slots=True)
class Quota:
    """How many messages there are, and may be."""

    used: int
    limit: int


# ---------------------------------------------------------------- sessions


class Lmtp:
    """Deliveries over one connection (RFC 2033)."""

    def __init__(self, port: int, seconds: float = SECONDS) -> None:
        try:
            self._session = smtplib.LMTP("127.0.0.1", port, timeout=seconds)
        except (OSError, smtplib.SMTPException) as error:
            raise Gone(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def deliver(self, user: str, one: Letter) -> None:
        """Raises Refused with what the server said (an MTA tries again), Gone."""
        try:
            self._session.sendmail(SENDER, [user], one.content)
        except smtplib.SMTPRecipientsRefused as error:
            raise Refused(str(error.recipients)) from error
        except smtplib.SMTPResponseException as error:
            raise Refused(f"{error.smtp_code} {error.smtp_error!r}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Gone(str(error)) from error


class Imap:
    """A user's session (RFC 9051). Every method raises Refused and Gone."""

    def __init__(self, port: int, user: str, password: str, seconds: float = SECONDS) -> None:
        try:
            self._session = imaplib.IMAP4("127.0.0.1", port, timeout=seconds)
        except (OSError, imaplib.IMAP4.error) as error:
            raise Gone(str(error)) from error
        self._command("login", user, password)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """LOGOUT."""
        try:
            self._session.logout()
        except (OSError, imaplib.IMAP4.error):
            self._session.shutdown()

    def select(self, folder: str = "INBOX") -> int:
        """How many mails it has."""
        return int(self._command("select", _quoted(folder))[0])

    def status(self, folder: str, items: str = "MESSAGES UIDNEXT UNSEEN") -> dict[str, int]:
        """STATUS by item."""
        text = self._command("status", _quoted(folder), f"({items})")[0].decode()
        words = text[text.rindex("(") + 1 : text.rindex(")")].split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}

    def uids(self, *criteria: str) -> list[int]:
        """UID SEARCH, by default of all."""
        found = self._command("uid", "SEARCH", *(criteria or ("ALL",)))
        return [int(word) for line in found if line for word in line.split()]

    def fetch(self, uids: int | str | Iterable[int], items: str = "BODY.PEEK[]") -> dict[int, dict[str, bytes]]:
        """UID FETCH: by UID what was sent by name, with "" for everything that came in line (flags, dates, sizes)."""
        wanted = str(uids) if isinstance(uids, (int, str)) else ",".join(map(str, uids))
        found: dict[int, dict[str, bytes]] = {}
        for row in _messages(self._command("uid", "FETCH", wanted, f"(UID {items})")):
            if uid := re.search(rb"UID (\d+)", row[""]):
                found.setdefault(int(uid[1]), {}).update(row)
        return found

    def body(self, uid: int) -> bytes:
        """The whole mail. Raises Refused if there is none."""
        rows = self.fetch(uid)
        if uid not in rows or "BODY[]" not in rows[uid]:
            raise Refused(f"no mail {uid}: {rows}")
        return rows[uid]["BODY[]"]

    def append(self, folder: str, one: Letter, flags: str = "", date: str | None = None) -> None:
        """``date``: INTERNALDATE with its quotes."""
        self._command("append", _quoted(folder), f"({flags})", date, one.content)

    def copy(self, uids: str, folder: str) -> None:
        self._command("uid", "COPY", uids, _quoted(folder))

    def move(self, uids: str, folder: str) -> None:
        self._command("uid", "MOVE", uids, _quoted(folder))

    def store(self, uids: str, flags: str, how: str = "+FLAGS") -> None:
        self._command("uid", "STORE", uids, how, f"({flags})")

    def expunge(self, uids: str) -> None:
        r"""Mark them \Deleted and expunge them (UIDPLUS, RFC 4315)."""
        self.store(uids, r"\Deleted")
        self._command("uid", "EXPUNGE", uids)

    def folders(self, *, subscribed: bool = False) -> list[str]:
        """LIST or LSUB: names."""
        found = self._command("lsub" if subscribed else "list")
        lines = [line.decode() for line in found if isinstance(line, bytes)]
        return [match[1] or match[2] for line in lines if (match := re.search(r'"." (?:"(.*)"|(\S+))$', line))]

    def create(self, folder: str) -> None:
        self._command("create", _quoted(folder))

    def rename(self, folder: str, name: str) -> None:
        self._command("rename", _quoted(folder), _quoted(name))

    def delete(self, folder: str) -> None:
        self._command("delete", _quoted(folder))

    def subscribe(self, folder: str) -> None:
        self._command("subscribe", _quoted(folder))

    def unsubscribe(self, folder: str) -> None:
        self._command("unsubscribe", _quoted(folder))

    def quota(self) -> Quota:
        """Messages in all folders that INBOX's quota is of (RFC 9208)."""
        _, (root, *_) = self._command("getquotaroot", "INBOX")
        found = re.search(rb"MESSAGE (\d+) (\d+)", root)
        if found is None:
            raise Refused(f"no quota of messages: {root!r}")
        return Quota(int(found[1]), int(found[2]))

    def noop(self) -> None:
        """See what others did meanwhile."""
        self._command("noop")

    def unselect(self) -> None:
        """Back to no folder, nothing expunged (RFC 3691)."""
        self._command("unselect")

    def _command(self, name: str, *words: Any) -> list[Any]:
        try:
            status, found = getattr(self._session, name)(*words)
        except imaplib.IMAP4.abort as error:
            raise Gone(str(error)) from error
        except imaplib.IMAP4.error as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Gone(str(error)) from error
        if status != "OK":
            raise Refused(f"{name}: {found!r}")
        return list(found)


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _messages(answer: Sequence[Any]) -> list[dict[str, bytes]]:
    """imaplib gives a pair for each literal and what is between them as it came."""
    rows: list[dict[str, bytes]] = []
    for piece in answer:
        if piece is None:
            continue
        text, literal = piece if isinstance(piece, tuple) else (piece, None)
        if re.match(rb"\d+ \(", text):
            rows.append({"": b""})
        if not rows:
            continue
        rows[-1][""] += text
        names = ITEM.findall(text)
        if literal is not None and names:
            rows[-1][names[-1].decode()] = literal
    return rows


# ---------------------------------------------------------------- what must be there


class Ledger:
    """Every acknowledged mail, by user and folder, and what is not as it must be."""

    def __init__(self) -> None:
        self.letters: dict[int, Letter] = {}
        self.folders: dict[tuple[str, str], Counter[int]] = {}

    def add(self, user: str, folder: str, one: Letter) -> None:
        """It was acknowledged."""
        self.letters[one.number] = one
        self.folder(user, folder)[one.number] += 1

    def copied(self, user: str, folder: str, number: int) -> None:
        self.folder(user, folder)[number] += 1

    def removed(self, user: str, folder: str, number: int) -> None:
        counts = self.folder(user, folder)
        counts[number] -= 1
        if counts[number] <= 0:
            del counts[number]

    def moved(self, user: str, folder: str, target: str, number: int) -> None:
        self.removed(user, folder, number)
        self.copied(user, target, number)

    def renamed(self, user: str, folder: str, name: str) -> None:
        self.folders[user, name] = self.folders.pop((user, folder), Counter())

    def folder(self, user: str, folder: str) -> Counter[int]:
        """Numbers of the mails that must be in it, and how often."""
        return self.folders.setdefault((user, folder), Counter())

    def users(self) -> list[str]:
        return sorted({user for user, _ in self.folders})

    def total(self) -> int:
        """Mails of all folders."""
        return sum(sum(counts.values()) for counts in self.folders.values())

    def differences(self, session: Imap, user: str, *, at_once: int = 50) -> list[str]:
        """Read every mail of ``user`` and say what is not as it must be: lost, twice, brought back, changed."""
        wrong: list[str] = []
        folders = {folder for owner, folder in self.folders if owner == user} | set(session.folders())
        for folder in sorted(folders):
            found: Counter[int] = Counter()
            try:
                session.select(folder)
            except Refused as error:
                if self.folder(user, folder):
                    wrong.append(f"{user}/{folder}: {error}")
                continue
            uids = session.uids()
            for first in range(0, len(uids), at_once):
                for uid, row in session.fetch(uids[first : first + at_once]).items():
                    content = row.get("BODY[]", b"")
                    number = number_of(content)
                    found[number] += 1
                    wrong += self._changed(f"{user}/{folder}/{uid}", number, content)
            wrong += _compared(f"{user}/{folder}", self.folder(user, folder), found)
        return wrong

    def _changed(self, where: str, number: int, content: bytes) -> list[str]:
        """A delivery puts lines on top; below them everything is as it was sent."""
        one = self.letters.get(number)
        if one is None:
            return [f"{where}: nobody sent {number}"]
        below = content[-len(one.content) :]
        return [] if hashlib.sha256(below).hexdigest() == one.sha256 else [f"{where}: mail {number} is changed"]


def _compared(where: str, wanted: Counter[int], found: Counter[int]) -> list[str]:
    lost, more = wanted - found, found - wanted
    return [f"{where}: mail {number} is lost" for number in sorted(lost)] + [
        f"{where}: mail {number} is there {found[number]} times, not {wanted[number]}" for number in sorted(more)
    ]
