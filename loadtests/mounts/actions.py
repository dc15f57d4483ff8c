"""What Dovecot is asked to do, timed from the client's side, and what each action asked of S3."""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from served import Failed

from mounts.contenders import Contender
from tierproxy.testing.imap import Gone, Imap, Letter, Refused
from tierproxy.testing.s3relay import counted

DELIVER, ON_DISK, COLD, HEADERS = "deliver (LMTP)", "read, on disk", "read, not on disk", "headers, not on disk"
COPY, MOVE, EXPUNGE, SELECT, FLAGS, ALTMOVE = "COPY", "MOVE", "expunge", "SELECT", "set a flag", "altmove"
ACTIONS = (DELIVER, ON_DISK, COLD, HEADERS, COPY, MOVE, EXPUNGE, SELECT, FLAGS, ALTMOVE)
USER = "u1"
T = TypeVar("T")


@dataclass
class Measured:
    """Of one contender: milliseconds of each operation, and requests to S3, by action. ``broken``: what a client was
    told where an action does not work."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    requests: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    operations: Counter[str] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)

    def median(self, action: str) -> float | None:
        found = self.milliseconds.get(action)
        return statistics.median(found) if found else None

    def late(self, action: str, share: float = 0.95) -> float | None:
        """What ``share`` of the operations did not exceed."""
        found = sorted(self.milliseconds.get(action, []))
        return found[min(len(found) - 1, int(len(found) * share))] if found else None

    def each(self, action: str) -> dict[str, float]:
        """Requests per operation, by kind."""
        done = self.operations[action]
        return {kind: number / done for kind, number in sorted(self.requests[action].items())} if done else {}


class Stage:
    """One contender's rounds. Every contender is given the same letters in the same order."""

    def __init__(self, contender: Contender, letters: Sequence[Letter]) -> None:
        self.contender = contender
        self.measured = Measured()
        self._letters = iter(letters)
        self._made: set[str] = set()

    def round(self, size: int) -> None:
        """One of each action, ``size`` times; half of it for what removes mail. Mail of earlier rounds stays."""
        contender = self.contender
        letters = [next(self._letters) for _ in range(size)]
        self._deliver(letters)
        with contender.imap(USER) as session:
            session.select()
            uids = session.uids()[-size:]
            self._read(ON_DISK, session, dict(zip(uids, letters, strict=True)))
            self._each(SELECT, lambda _: again(session), uids)
            self._each(FLAGS, lambda uid: session.store(str(uid), r"\Seen"), uids)
        if contender.keeps_bodies:
            contender.evict()
        with contender.imap(USER) as session:
            session.select()
            self._each(HEADERS, lambda uid: self._headers(session, uid), uids)
        if contender.keeps_bodies:
            contender.evict()
        with contender.imap(USER) as session:
            session.select()
            if contender.relay is not None:
                self._read(COLD, session, dict(zip(uids, letters, strict=True)))
            half = uids[: size // 2]
            self._folder(session, "Copies")
            self._each(COPY, lambda uid: session.copy(str(uid), "Copies"), half)
            self._each(MOVE, lambda uid: session.move(str(uid), "Copies"), half)
            self._each(EXPUNGE, lambda uid: session.expunge(str(uid)), uids[size // 2 :])
        self._altmove(letters)

    def warm(self) -> None:
        """Directories, folders and connections are there when the first round begins."""
        letters = [next(self._letters) for _ in range(2)]
        for dovecot in (self.contender.main, self.contender.alt):
            with self.contender.lmtp(dovecot) as post:
                for one in letters:
                    post.deliver(USER, one)
        self.contender.alt.doveadm("altmove", "-u", USER, "all")
        with self.contender.imap(USER) as session:
            session.create("Copies")
            session.append("Copies", letters[0])
        self.contender.settle()
        self.contender.take()

    def _deliver(self, letters: Sequence[Letter]) -> None:
        with self.contender.lmtp() as post:
            self._each(DELIVER, lambda one: post.deliver(USER, one), letters)

    def _read(self, action: str, session: Imap, wanted: dict[int, Letter]) -> None:
        def read(uid: int) -> None:
            if not session.body(uid).endswith(wanted[uid].content):
                raise Failed(f"{self.contender.name} gives mail {uid} changed")

        self._each(action, read, list(wanted))

    @staticmethod
    def _headers(session: Imap, uid: int) -> None:
        if not session.fetch(uid, "RFC822.SIZE INTERNALDATE BODY.PEEK[HEADER]"):
            raise Failed(f"no mail {uid}")

    def _folder(self, session: Imap, name: str) -> None:
        if name not in session.folders():
            session.create(name)

    def _altmove(self, letters: Sequence[Letter]) -> None:
        """One command for the batch: the time is that of the command, by mail."""
        contender = self.contender
        with contender.lmtp(contender.alt) as post:
            for one in letters:
                post.deliver(USER, one)
        with self._counted(ALTMOVE, len(letters)):
            begin = time.perf_counter()
            contender.alt.doveadm("altmove", "-u", USER, "mailbox", "INBOX", "all")
            self.measured.milliseconds[ALTMOVE].append((time.perf_counter() - begin) * 1000 / len(letters))

    def _each(self, action: str, operation: Callable[[T], object], items: Sequence[T]) -> None:
        if action in self.measured.broken:
            return
        with self._counted(action, len(items)):
            for item in items:
                begin = time.perf_counter()
                try:
                    operation(item)
                except Refused as error:
                    self.measured.broken[action] = str(error)
                    return
                except Gone as error:
                    raise Failed(f"{self.contender.name}, {action}: {error}") from error
                self.measured.milliseconds[action].append((time.perf_counter() - begin) * 1000)

    @contextmanager
    def _counted(self, action: str, operations: int) -> Iterator[None]:
        """What is done meanwhile, and what goes on behind it, by requests to S3."""
        self.contender.settle()
        self.contender.take()
        yield
        self.contender.settle()
        self.measured.requests[action] += counted(self.contender.take())
        self.measured.operations[action] += operations


def again(session: Imap) -> None:
    session.unselect()
    session.select()
