"""Twenty users at once who read and receive: what a slow S3 does to those whose mail is on disk."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from served import Failed

from mounts.contenders import Tierproxy
from tierproxy.testing.imap import Gone, Letter, Refused

HITS_PER_MISS = 5
THINKING = 0.25  #: seconds between two actions of a user, on the average
OLD, NEW = 20, 10  #: mails of each user that are not on disk, and that are


@dataclass
class Lived:
    """Milliseconds of each read and delivery of all users."""

    hits: list[float] = field(default_factory=list)
    misses: list[float] = field(default_factory=list)
    deliveries: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def prepare(contender: Tierproxy, users: Sequence[str], letters: Sequence[Letter]) -> None:
    """Each user has old mail, which is only in S3, and new mail, which is on disk."""
    waiting = iter(letters)
    for how_many, purge in ((OLD, True), (NEW, False)):
        with contender.lmtp() as post:
            for user in users:
                for _ in range(how_many):
                    post.deliver(user, next(waiting))
        if purge:
            contender.evict()
    contender.settle()


def live(
    contender: Tierproxy, users: Sequence[str], letters: Iterator[Letter], seconds: float, first_old: int
) -> Lived:
    """Everybody reads new mail, now and then an old one that nobody has read yet (from UID ``first_old`` on), and gets
    new mail: for so many seconds, and each of it once at least."""
    found, lock = Lived(), threading.Lock()
    end = time.perf_counter() + seconds

    def timed(kept: list[float], begin: float) -> None:
        with lock:
            kept.append((time.perf_counter() - begin) * 1000)

    def one(number: int, user: str) -> None:
        chance = random.Random(f"{user}/{first_old}")
        old = iter(range(first_old, OLD + 1))
        with contender.imap(user) as session, contender.lmtp() as post:
            session.select()
            turn = number
            while time.perf_counter() < end or turn < number + HITS_PER_MISS + 2:
                threading.Event().wait(chance.uniform(0, 2 * THINKING))
                turn += 1
                begin = time.perf_counter()
                if turn % (HITS_PER_MISS + 2) == 0:
                    with lock:
                        letter = next(letters)
                    post.deliver(user, letter)
                    timed(found.deliveries, begin)
                elif turn % (HITS_PER_MISS + 2) == 1 and (uid := next(old, None)) is not None:
                    session.body(uid)
                    timed(found.misses, begin)
                else:
                    session.body(chance.randint(OLD + 1, OLD + NEW))
                    timed(found.hits, begin)

    def guarded(number: int, user: str) -> None:
        try:
            one(number, user)
        except (Refused, Gone) as error:
            found.failed.append(f"{user}: {error}")

    threads = [threading.Thread(target=guarded, args=pair) for pair in enumerate(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if found.failed:
        raise Failed(f"{len(found.failed)} users failed: {found.failed[0]}")
    return found


def late(values: Sequence[float], share: float = 0.99) -> float:
    """What ``share`` of them did not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
