"""What happens to mail in the demo with Dovecot, step by step, and what of it is checked."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from rich.table import Table

from tierproxy.cli.demo.dovecot_host import BUCKET, DIRECTORY, USER, Host
from tierproxy.cli.outcome import out
from tierproxy.errors import TierproxyError
from tierproxy.testing.imap import Gone, Imap, Ledger, Letter, Refused, letter
from tierproxy.testing.mails import mail

INBOX, FOLDER = "INBOX", "Archive"
SIZES = range(20_000, 200_000)
"""Bytes of a mail: more than a stub holds, so that a body that is only in S3 must be fetched."""
HEADERS = "BODY.PEEK[HEADER]"
WHEN_DOWN = 3  #: mails delivered while S3 is down


class Wrong(Exception):
    """Something is not as it was promised."""


@dataclass
class Step:
    """One line. ``wanted``: requests S3 must have seen, None: any but those that carry mail (GET, PUT). ``retried``:
    what failed meanwhile was tried again, so there may be more of each. ``said``: what was checked."""

    name: str
    mails: int
    wanted: Counter[str] | None
    requests: Counter[str] = field(default_factory=Counter)
    retried: bool = False
    said: str = ""
    failed: str = ""

    def judge(self) -> None:
        """Compare requests with what they must be."""
        if self.wanted is None:
            held, wish = not self.requests["GET"] + self.requests["PUT"], "no mail fetched or stored"
        elif self.retried:
            held, wish = self.requests >= self.wanted, f"{told(self.wanted)}, or more while it was starting"
        else:
            held, wish = self.requests == self.wanted, told(self.wanted)
        if not held:
            self.failed = self.failed or f"S3 should have seen {wish}"


def told(requests: Counter[str]) -> str:
    """``1 COPY, 1 DELETE``."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(requests.items()) if number) or "nothing"


class Story:
    """Plays every step. ``steps`` is what happened so far."""

    def __init__(self, host: Host, mails: int) -> None:
        self.steps: list[Step] = []
        self._host = host
        self._letters = made(mails + WHEN_DOWN)
        self._mails = mails
        self._ledger = Ledger()
        self._cold = 0
        self._console = out()

    @property
    def held(self) -> bool:
        """Every step did, to the last."""
        return len(self.steps) == len(self._chapters()) and not any(step.failed for step in self.steps)

    def play(self) -> None:
        """To the end, or to the first step that cannot be played."""
        self._host.requests()
        for name, mails, wanted, chapter in self._chapters():
            with self._step(name, mails, wanted) as step:
                step.said = chapter()
            if step.failed and not step.said:
                return

    def _chapters(self) -> Sequence[tuple[str, int, Counter[str] | None, Callable[[], str]]]:
        n, none = self._mails, Counter[str]()
        return (
            ("first login", 0, Counter({DIRECTORY: 6}), self._begin),
            ("deliver by LMTP", n, Counter(PUT=n), self._deliver),
            ("read by IMAP, on disk", n, none, self._read),
            ("copy", 1, Counter(COPY=1), self._copy),
            ("move", 1, Counter(COPY=1, DELETE=1), self._move),
            ("expunge", 1, Counter(DELETE=1), self._expunge),
            ("flags, list, select", n, none, self._flags),
            ("purge from disk", n, none, self._purge),
            ("headers of purged mail", n - 2, none, self._headers),
            ("bodies of purged mail", n - 2, Counter(GET=n - 2), self._bodies),
            ("node restarted", n - 2, None, self._node),
            ("mount restarted", n - 2, None, self._mount),
            ("S3 stopped", WHEN_DOWN, Counter(), self._s3_down),
            ("S3 started again", WHEN_DOWN, Counter(PUT=WHEN_DOWN, GET=1), self._s3_up),
            ("index lost and rebuilt", n + WHEN_DOWN, None, self._index),
            ("every mail compared", n + WHEN_DOWN, Counter(GET=2), self._compare),
        )

    @contextmanager
    def _step(self, name: str, mails: int, wanted: Counter[str] | None) -> Iterator[Step]:
        step = Step(name, mails, wanted)
        self.steps.append(step)
        try:
            yield step
            step.requests = self._host.requests() if self._host.server.running else Counter()
            step.judge()
        except (Wrong, Refused, Gone, TierproxyError, OSError) as error:
            step.failed = str(error) or type(error).__name__
        self._tell(step)

    def _tell(self, step: Step) -> None:
        mark, style = ("FAILED", "red") if step.failed else ("ok", "green")
        self._console.print(f"{mark:<7}", style=style, end="", markup=False)
        self._console.print(f"{step.name}: {step.said or '-'}; S3: {told(step.requests)}", markup=False)
        if step.failed:
            self._console.print(f"       {step.failed}", style="red", markup=False)

    # ------------------------------------------------------------ chapters

    def _begin(self) -> str:
        with self._host.imap() as session:
            session.select()
            session.create(FOLDER)
            found = session.folders()
        return f"folders {', '.join(sorted(found))}"

    def _deliver(self) -> str:
        self._send(self._letters[: self._mails])
        return f"{self._mails} mails answered 250; each is on disk and in S3"

    def _send(self, letters: Sequence[Letter]) -> None:
        with self._host.lmtp() as session:
            for one in letters:
                session.deliver(USER, one)
                self._ledger.add(USER, INBOX, one)

    def _read(self) -> str:
        size = self._bodies_of(self._uids())
        return f"{self._mails} bodies, {size} bytes, are what was sent"

    def _copy(self) -> str:
        with self._inbox() as session:
            session.copy("1", FOLDER)
        self._ledger.copied(USER, FOLDER, self._letters[0].number)
        return f"into {FOLDER}; no bytes were moved"

    def _move(self) -> str:
        with self._inbox() as session:
            session.move("2", FOLDER)
        self._ledger.moved(USER, INBOX, FOLDER, self._letters[1].number)
        return f"into {FOLDER}; no bytes were moved"

    def _expunge(self) -> str:
        with self._inbox() as session:
            session.expunge("3")
            if 3 in session.uids():
                raise Wrong("an expunged mail is still there")
        self._ledger.removed(USER, INBOX, self._letters[2].number)
        return "gone from both tiers"

    def _flags(self) -> str:
        with self._inbox() as session:
            session.store("1,4:*", "\\Seen")
            if session.uids("UNSEEN"):
                raise Wrong("flags were not kept")
            names = session.folders()
        return f"flags of {self._mails - 2} mails set and read, {len(names)} folders listed"

    def _purge(self) -> str:
        self._host.node.purge(f"{BUCKET}/")
        return "bodies are in S3 only"

    def _headers(self) -> str:
        with self._inbox() as session:
            rows = session.fetch(session.uids(), HEADERS)
        if any(not row.get("BODY[HEADER]", b"").strip() for row in rows.values()) or len(rows) != self._mails - 2:
            raise Wrong("headers are missing")
        return f"{len(rows)} whole headers, from stubs"

    def _bodies(self) -> str:
        size = self._bodies_of(self._uids())
        return f"{self._mails - 2} bodies, {size} bytes, fetched once each"

    def _node(self) -> str:
        self._host.node.stop()
        self._host.node.start()
        self._host.dovecot.doveadm("mailbox", "status", "-u", USER, "messages", "*")
        return f"{self._bodies_of(self._uids())} bytes read from disk again"

    def _mount(self) -> str:
        self._host.mount.stop()
        self._host.mount.start()
        return f"{self._bodies_of(self._uids())} bytes read from disk again"

    def _s3_down(self) -> str:
        cold = self._cold = _alone(self._uids())
        self._host.node.purge(f"{BUCKET}/{USER}/mailboxes/{INBOX}/dbox-Mails/u.{cold}")
        self._host.requests()
        self._host.server.stop()
        mark = self._host.dovecot.mark()
        self._send(self._letters[self._mails :])
        hot = self._bodies_of([uid for uid in self._uids() if uid != cold])
        refused = self._refused(cold)
        rebuilt = self._host.dovecot.rebuilds(mark)
        if rebuilt:
            raise Wrong(f"Dovecot made an index again: {rebuilt[0]}")
        return f"{WHEN_DOWN} deliveries and {hot} bytes of hot mail went on; a cold mail: {refused}"

    def _refused(self, uid: int) -> str:
        """How a mail program is told that a mail cannot be read now."""
        try:
            with self._inbox() as session:
                session.body(uid)
        except Refused as error:
            return f"refused ({str(error)[:60]})"
        except Gone:
            return "disconnected, to try again"
        raise Wrong("a mail that is only in S3 was read without S3")

    def _s3_up(self) -> str:
        self.steps[-1].retried = True
        self._host.server.start()
        self._host.node.drained()
        with self._inbox() as session:
            self._check(session.body(self._cold))
        return f"the queue is empty: {WHEN_DOWN} mails uploaded; the cold mail is read"

    def _index(self) -> str:
        self._host.dovecot.stop()
        shutil.rmtree(self._host.index)
        self._host.dovecot.start()
        self._host.dovecot.doveadm("force-resync", "-u", USER, "*")
        with self._host.imap() as session:
            found = {folder: session.select(folder) for folder in (INBOX, FOLDER)}
        wanted = {folder: self._ledger.folder(USER, folder).total() for folder in (INBOX, FOLDER)}
        if found != wanted:
            raise Wrong(f"found {found}, not {wanted}")
        return f"{sum(found.values())} mails are back after doveadm force-resync"

    def _compare(self) -> str:
        with self._host.imap() as session:
            wrong = self._ledger.differences(session, USER)
        if wrong:
            raise Wrong("; ".join(wrong[:5]))
        return f"{self._ledger.total()} mails: none lost, none twice, none changed, none brought back"

    # ------------------------------------------------------------ mail

    @contextmanager
    def _inbox(self) -> Iterator[Imap]:
        with self._host.imap() as session:
            session.select(INBOX)
            yield session

    def _uids(self) -> list[int]:
        with self._inbox() as session:
            return session.uids()

    def _bodies_of(self, uids: Sequence[int]) -> int:
        """Read them and compare each with what was sent. Returns their size."""
        with self._inbox() as session:
            return sum(self._check(session.body(uid)) for uid in uids)

    def _check(self, content: bytes) -> int:
        """A delivery puts lines on top; below them everything is as it was sent."""
        if not any(content.endswith(one.content) for one in self._letters):
            raise Wrong(f"a mail of {len(content)} bytes is none that was sent")
        return len(content)


def _alone(uids: Sequence[int]) -> int:
    """One whose file's name is the beginning of no other's: a purge takes every key that begins so."""
    return next(uid for uid in uids if sum(str(other).startswith(str(uid)) for other in uids) == 1)


def made(number: int) -> list[Letter]:
    """Letters of the sizes wanted, the same in every run."""
    fitting = (content for one in count() if len(content := mail(one).content) in SIZES)
    return [letter(at, content) for at, content in enumerate(islice(fitting, number), 1)]


def steps_table(steps: Sequence[Step]) -> Table:
    """S3 requests of each action."""
    table = Table(title="S3 requests", title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("action", no_wrap=True)
    for column in ("mails", "requests to S3", "held"):
        table.add_column(column, justify="right")
    for step in steps:
        table.add_row(step.name, str(step.mails), told(step.requests), "no" if step.failed else "yes")
    return table


def logs_of(home: Path) -> str:
    """Where to look after a failure."""
    return f"logs: {home}/node/node.log {home}/mount.log {home}/dovecot/dovecot.log {home}/s3/weed.log"
